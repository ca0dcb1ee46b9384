"""Two channels on one board: two controllers, one host, one link. They run together, and one fault stops both.

Each channel has a controller of its own, with its own thermocouples, RF stage, interlock, limits, plan values and
black box, which ticks as if it were alone. Here is what they share: the session and its commands, the frames' way to
the host, and the end of whatever the other did not survive.
"""

from rfprobe_core import plan, protocol
from rfprobe_core.constant import const
from rfprobe_core.controller import Controller
from rfprobe_core.meter import TickMeter
from rfprobe_core.pair_commands import PairCommands
from rfprobe_core.plan import CHANNELS, INDEX
from rfprobe_core.protocol import ACK_OK, ACK_WRONG_STATE, CAUSE, NO_ROW
from rfprobe_core.reporter import Reporter

_FAULT = const(9)
_CHECK_PHASE = const(7)
_POLL_AT = (9, 0, 9, 1, 9, 9, 2, 9, 3, 9, 9, 9)  # as in controller.py


class PairReporter(Reporter):
    """Frames of both channels in one ring, counted as one stream; each names its channel."""

    def __init__(self):
        Reporter.__init__(self)
        self.channel = 0

    def _header(self, kind, state, tick):
        payload = Reporter._header(self, kind, state, tick)
        payload[2] = self.channel
        return payload


# What has happened to both, whichever of them has found it first.
OF_THE_DEVICE = (CAUSE["lease_lost"], CAUSE["tick_late"], CAUSE["ticks_missed"], CAUSE["heap_low"])


class Channel(Controller):
    """One of two."""

    channels = CHANNELS

    def stop_with(self, other):
        """End what is under way, because the other has ended by a fault."""
        if self.sequence.at_rest():
            return
        self.stage.off()
        cause = other.sequence.cause
        told = cause if cause in OF_THE_DEVICE else CAUSE["other_channel"]
        self._fault(told, NO_ROW, cause, 0, self.tick_count)
        self._power_down()

    def disarm(self):
        """ARMED, and not wanted: the other was refused."""
        self.sequence.acknowledge()
        self._power_down()


class SecondChannel(Channel):
    """Polls its chips where the first does not, so that of two ticks in a row neither does everything."""

    def stop_with(self, other):
        """It has yet to tick when the first trips: it ends in the first's tick, and says so."""
        own = self.tick_count
        self.tick_count = other.tick_count
        Channel.stop_with(self, other)
        self.tick_count = own

    def _sense(self):
        sense = self.sense
        sense.read()
        self.power.measure(sense.voltage_mV, sense.current_uA, self._elapsed, self._max_energy_mJ)
        self._polled = -1
        self._believed = False
        phase = self.tick_count % self._poll_ticks + 1  # one tick ahead, and there the count may not go
        if phase == self._poll_ticks:
            phase = 0
        place = _POLL_AT[phase]
        if place < self._fitted:
            self._poll(place)
        elif phase == _CHECK_PHASE:
            self._check_config(self._config_place)

    def _make_due(self):
        self._health_due = False  # the first tells the device's health
        return Channel._make_due(self)


class PairSequence:
    """What a host sees of both where it asks about the device."""

    def __init__(self, first, second):
        self._first = first
        self._second = second

    @property
    def state(self):
        """The first's: frames of the whole device are its."""
        return self._first.state

    @property
    def cause(self):
        return self._first.cause

    def at_rest(self):
        return self._first.at_rest() and self._second.at_rest()


class Pair:
    """Stands where the only controller stands: for the main loop, and for the commands that are not one channel's."""

    def __init__(self, board, channels):
        first, second = channels
        self.board = board
        self.channels = channels
        self.reporter = PairReporter()
        self.meter = TickMeter()
        self.commands = PairCommands(board.nonce_seed(), self)
        for channel in channels:
            channel.commands = self.commands
            channel.reporter = self.reporter
            channel.meter = self.meter
        self.sequence = PairSequence(first.sequence, second.sequence)
        self.start_check = first.start_check
        self.digest = -1
        self.configured_last = 0
        self._runs = ((first,), (first,), (second,), (first, second))  # by the plan's `channels`
        self._running = self._runs[1]

    @property
    def tick_count(self):
        return self.channels[0].tick_count

    # ---- the tick -------------------------------------------------------------------------------------------

    def tick(self, elapsed, late_us):
        """One tick of each. A fault of either stops the other within it."""
        first, second = self.channels
        reporter = self.reporter
        first.tick(elapsed, late_us)
        reporter.channel = 1
        if first.sequence.state == _FAULT:
            second.stop_with(first)
        second.tick(elapsed, late_us)
        reporter.channel = 0
        if second.sequence.state == _FAULT:
            first.stop_with(second)

    def interrupted(self):
        """Ctrl-C: as Controller.interrupted, of both."""
        self._of_each(Controller.interrupted)

    def unexpected(self):
        """Any other way out of the main loop: as Controller.unexpected, of both."""
        self._of_each(Controller.unexpected)

    def _of_each(self, do):
        for channel in self.channels:
            channel.stage.off()
        for number, channel in enumerate(self.channels):
            self.reporter.channel = number
            do(channel)
        self.reporter.channel = 0

    # ---- what a host may ask --------------------------------------------------------------------------------

    def listen(self, most):
        """As Controller.listen."""
        board = self.board
        taken = 0
        while taken < most:
            byte = board.link_read()
            if byte < 0:
                break
            self.commands.take(self, byte)
            taken += 1
        return taken

    def rest(self):
        """As Controller.rest."""
        self.commands.check_lease(self)
        if self.commands.slow_verb >= 0:
            self.commands.do_slow(self)

    def stop(self):
        """RF off at once on both, whatever their states. Returns if it was asked before."""
        first, second = self.channels
        asked = first.stop()
        return second.stop() and asked

    def take_stock(self):
        """Who runs, and what ARM has to quote: as the channel that was configured last has it, if all agree."""
        wanted = self.channels[self.configured_last].values[INDEX["channels"]]
        running = self._runs[int(wanted)]
        digest = 0
        for channel in running:
            agrees = channel.digest >= 0 and channel.values[INDEX["channels"]] == wanted
            digest = plan.joined(digest, channel.digest) if agrees and digest >= 0 else -1
        self._running = running
        self.digest = digest

    def arm(self):
        """The first step towards heat, of each channel that runs, or of none; an ACK code."""
        for channel in self.channels:
            if channel.sequence.state != protocol.IDLE:
                return ACK_WRONG_STATE
        for channel in self._running:
            self._name(channel)
            code = channel.arm()
            if code != ACK_OK:
                self.start_check = channel.start_check
                self._disarm()
                return code
        self.reporter.channel = 0
        return ACK_OK

    def _name(self, channel):
        """What is reported from now on is this channel's."""
        self.reporter.channel = self.channels.index(channel)

    def _disarm(self):
        for channel in self._running:
            if channel.sequence.state == protocol.ARMED:
                channel.disarm()

    def start(self):
        """The second step, of each channel that runs, or of none; an ACK code."""
        for channel in self._running:
            self._name(channel)
            code = channel.start()
            if code != ACK_OK:
                self.stop()
                return code
        self.reporter.channel = 0
        return ACK_OK

    def acknowledge(self):
        """Clear what both show of their last run; an ACK code. Enables nothing."""
        for channel in self.channels:
            if channel.sequence.state != protocol.IDLE and channel.sequence.state < protocol.DONE:
                return ACK_WRONG_STATE
        for channel in self.channels:
            channel.acknowledge()
        return ACK_OK

    def say_hello(self):
        """As Controller.say_hello, of the first, and that there are two; allocates, so only at rest."""
        first = self.channels[0]
        fields = first.hello_fields() + (("channels", CHANNELS),)
        self.reporter.hello(first.sequence.state, first.tick_count, protocol.hello_text(fields))
