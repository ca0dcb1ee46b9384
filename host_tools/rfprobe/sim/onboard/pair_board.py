"""The virtual board with two channels: two virtual boards side by side, of which the first has the link."""

from rfprobe_core.plan import CHANNELS, THERMOCOUPLES
from rfprobe_drivers.channel_board import INTERLOCKS

from .board import VirtualBoard
from .exchange import RESPONSE_SIZE, STIMULUS_SIZE


class VirtualPairBoard(VirtualBoard):
    """`load` and `store` take and give a record for each channel, one after the other."""

    channels = CHANNELS

    def __init__(self, nonce_seed, uid, calibration="exact"):
        VirtualBoard.__init__(self, nonce_seed, uid, calibration)
        self._second = VirtualBoard(nonce_seed, uid, calibration)
        self.rf = (_Rf(self), self._second)
        self.flash = self.flash + self._second.flash
        self._response = bytearray(CHANNELS * RESPONSE_SIZE)

    def load(self, stimulus):
        VirtualBoard.load(self, stimulus[:STIMULUS_SIZE])
        self._second.load(stimulus[STIMULUS_SIZE:])

    def store(self):
        response = self._response
        response[:RESPONSE_SIZE] = VirtualBoard.store(self)
        response[RESPONSE_SIZE:] = self._second.store()
        return response

    def spi_transfer(self, select, buffer):
        if select < THERMOCOUPLES:
            VirtualBoard.spi_transfer(self, select, buffer)
        else:
            self._second.spi_transfer(select - THERMOCOUPLES, buffer)

    def read_input(self, which):
        if which == INTERLOCKS[1]:
            return self._second.read_input(0)
        return VirtualBoard.read_input(self, which)

    def link_ready(self):
        """A frame is on its way until the tick is over: there is one link."""
        return self._tx_count == 0 and VirtualBoard.link_ready(self)

    def safe_off(self):
        """Of both: the way out of the main loop."""
        first = VirtualBoard.safe_off(self)
        return self._second.safe_off() and first


class _Rf:
    """The first channel's RF alone."""

    def __init__(self, board):
        self._board = board
        self.read_adc = board.read_adc
        self.feed = board.feed
        self.set_duty = board.set_duty
        self.read_enable = board.read_enable
        self.rf_connect = board.rf_connect
        self.test_dead_man = board.test_dead_man
        self.enable_low = board.enable_low

    def safe_off(self):
        return VirtualBoard.safe_off(self._board)
