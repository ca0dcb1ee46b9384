"""The black box: the last 10 s before a run's end at full tick rate, in RAM, for the host to fetch afterwards.

Its ring is allocated at boot and written in place, a record a tick; nothing else happens to it while a run is armed
or under way. It is closed by the end of a run, whatever ended it, and begun anew by the next ARM.
"""

from rfprobe_core.constant import const
from rfprobe_core.kernels import write_poll, write_record, write_tip
from rfprobe_core.protocol import RECORD_SIZE, RECORDS_PER_FRAME

RECORDS = 1_000  # 10 s of ticks: 32 000 bytes

_RECORDS = const(1_000)
_RAMP = const(3)
_HOLD = const(4)
_DONE = const(7)
# Rows of the limit table, by number (tests/unit/test_blackbox.py holds them against their names).
_ROW_NOT_HEATING = const(51)
_ROW_SHORTFALL = const(52)
_ROW_DISAGREE = const(54)
_ROW_HEATING_WHEN_OFF = const(55)
_ROW_NOT_COOLING = const(57)


class BlackBox:
    """`note` each tick; once `closed`, its `count` records may be taken, the oldest first."""

    def __init__(self):
        self.closed = False
        self.count = 0
        self.last_tick = 0
        self.judged = 0  # the state this tick was judged in
        self.send_from = 0
        self._send_to = 0
        self._ring = bytearray(RECORDS * RECORD_SIZE)
        self._next = 0

    def begin(self):
        """A run is armed: what is here is of no interest any more."""
        self.closed = False
        self.count = 0
        self.send_from = 0
        self._send_to = 0
        self._next = 0

    def note(self, c):
        """The tick that the controller `c` has just done, but for what it reports."""
        if self.closed:
            return
        ring = self._ring
        record = self._next
        tick = c.tick_count
        state = c.sequence.state
        judged = self.judged
        energised = judged == _RAMP or judged == _HOLD
        stage = c.stage
        write_record(
            ring,
            record,
            c.power.state,
            c.limits.table,
            tick,
            judged,
            state,
            c._elapsed,
            c._late_us,
            1 if stage.enabled else 0,
            stage.duty,
            c.demand_mW,
            c.ramp.value_mC if energised else 0,
        )
        place = c._polled
        if place >= 0:
            thermocouple = c.thermocouples[place]
            seen_mC = thermocouple.temperature_mC if c._believed else c.chips[place].temperature_mC
            write_poll(ring, record, place, thermocouple.status, seen_mC, thermocouple.long_slope_mC_per_s)
        elif c._watched_tick == tick:
            if energised:
                write_tip(ring, record, c.limits.table, _ROW_NOT_HEATING, _ROW_SHORTFALL, _ROW_DISAGREE)
            else:
                write_tip(ring, record, c.limits.table, _ROW_HEATING_WHEN_OFF, _ROW_NOT_COOLING, _ROW_DISAGREE)
        record += 1
        self._next = record if record < _RECORDS else 0
        if self.count < _RECORDS:
            self.count += 1
        if state >= _DONE:
            self.closed = True
            self.last_tick = tick

    def send(self, first, most):
        """Records `first` … are wanted, `most` of them; False if there are none such."""
        if not 0 <= first <= self.count or most < 0:
            return False
        self.send_from = first
        self._send_to = min(first + most, self.count)
        return True

    def left(self):
        """How many records are still to be sent; none once the next run is armed."""
        return self._send_to - self.send_from

    def take(self, target, at):
        """The next records, at most a frame of them, into `target` from `at`. At rest only: it allocates."""
        first = self.send_from
        stop = min(first + RECORDS_PER_FRAME, self.count)
        oldest = self._next - self.count
        for place in range(first, stop):
            source = (oldest + place) % RECORDS * RECORD_SIZE
            target[at : at + RECORD_SIZE] = memoryview(self._ring)[source : source + RECORD_SIZE]
            at += RECORD_SIZE
        self.send_from = stop
