"""One channel's part of a board that has two: what its controller finds where the only one finds the whole board.

The board has `rf`, for each channel what holds its enable, its drive and its sense, and its other seams for both: chip
selects and interlocks one channel after the other. What they share is done when the last of them wants it.
"""

from rfprobe_core.plan import THERMOCOUPLES

COPIES = 2  # of each channel's calibration
FOOTSWITCH = 1
INTERLOCKS = (0, 2)  # inputs of the board: the foot-switch is between them, and both channels'


class Shared:
    """What both want of the board, by channel."""

    def __init__(self, board):
        self.board = board
        self.watched = 0
        self.quiet = 0
        self.phases = [0, 0]


class ChannelBoard:
    """As the board of a single channel."""

    def __init__(self, shared, channel):
        board = shared.board
        rf = board.rf[channel]
        self._shared = shared
        self._board = board
        self._rf = rf
        self._channel = channel
        self._bit = 1 << channel
        self._first_select = THERMOCOUPLES * channel
        self._interlock = INTERLOCKS[channel]
        self.name = board.name
        self.dead_man = board.dead_man
        self.ticks_us = board.ticks_us
        self.link_ready = board.link_ready
        self.link_write = board.link_write
        self.nonce_seed = board.nonce_seed
        self.unique_id = board.unique_id
        self.reset_cause = board.reset_cause
        self.last_phase = board.last_phase
        self.watchdog_feed = board.watchdog_feed
        self.read_adc = rf.read_adc
        self.feed = rf.feed
        self.set_duty = rf.set_duty
        self.read_enable = rf.read_enable
        self.rf_connect = rf.rf_connect
        self.test_dead_man = rf.test_dead_man
        self.enable_low = rf.enable_low
        self.safe_off = rf.safe_off

    def spi_transfer(self, place, buf):
        self._board.spi_transfer(self._first_select + place, buf)

    def read_input(self, which):
        return self._board.read_input(which if which == FOOTSWITCH else self._interlock)

    def watchdog_start(self, timeout_ms):
        self._shared.watched |= self._bit
        self._board.watchdog_start(timeout_ms)

    def watchdog_stop(self):
        """Stopped when neither channel is energised."""
        shared = self._shared
        shared.watched &= ~self._bit
        if shared.watched == 0:
            self._board.watchdog_stop()

    def quiet_heap(self):
        self._shared.quiet |= self._bit
        return self._board.quiet_heap()

    def free_heap(self):
        """Collections run again when neither channel is armed or under way."""
        shared = self._shared
        shared.quiet &= ~self._bit
        if shared.quiet == 0:
            self._board.free_heap()

    def set_phase(self, phase):
        """What survives a reset is the state of the channel that is furthest from rest."""
        phases = self._shared.phases
        phases[self._channel] = phase
        other = phases[1 - self._channel]
        self._board.set_phase(phase if _under_way(phase) or not _under_way(other) else other)

    def calibration_read(self, copy):
        return self._board.calibration_read(COPIES * self._channel + copy)

    def calibration_write(self, copy, data):
        self._board.calibration_write(COPIES * self._channel + copy, data)


def _under_way(phase):
    return 2 <= phase <= 5  # ARMED, RAMP, HOLD, REST of protocol.STATE_NAMES
