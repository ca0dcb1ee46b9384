"""The controller: what a tick does, in order. Everything it needs is handed in.

sense → judge → decide → act → report. Each tick is 10 ms; nothing in it blocks, allocates or is left to chance.
Slow things (HELLO, CONFIGURE) wait for `rest`, between ticks and with RF off.
"""

import sys
from array import array

from rfprobe_core import calibration, plan, protocol, safety, thermometry
from rfprobe_core.blackbox import BlackBox
from rfprobe_core.commands import Commands
from rfprobe_core.constant import const
from rfprobe_core.counting import add_up
from rfprobe_core.endpoint import COMPLETING, EndPoint
from rfprobe_core.governor import Governor
from rfprobe_core.heatwatch import HeatWatch
from rfprobe_core.integrity import Integrity
from rfprobe_core.kernels import EMITTER, write_ages
from rfprobe_core.meter import TickMeter
from rfprobe_core.modes import MODES
from rfprobe_core.pid import TemperatureLoop
from rfprobe_core.plan import INDEX, ROLE_CONTROL, ROLE_NONE, THERMOCOUPLES
from rfprobe_core.power import PowerLoop
from rfprobe_core.protocol import CAUSE, NO_ROW, U32_MAX
from rfprobe_core.reporter import Reporter
from rfprobe_core.safety import POLL_START, SIZE, TIP_START, VALUE_START, LimitTable
from rfprobe_core.sequence import Sequence
from rfprobe_core.setpoint import SetpointRamp
from rfprobe_core.startcheck import StartCheck
from rfprobe_core.thermometry import REPEAT, Thermocouple
from rfprobe_core.version import VERSION

HEALTH_TICKS = 100
DOSE_TICKS = 50
FRESH_ENOUGH_TICKS = 50
WATCHDOG_MS = 100  # behind the dead-man, and only while energised
ON_SETTLED_TICKS = 10  # after enabling, before impedance is believed
OFF_SETTLED_TICKS = 3  # after disabling, before what is sensed counts as RF
LATE_MAX_US = 1_000_000

RESET_NAMES = ("power_on", "watchdog", "software")

INTERLOCK = 0
FOOTSWITCH = 1

# Constants of other modules, as numbers in the bytecode (tests/unit/test_constants.py holds them together).
_RAMP = const(3)
_HOLD = const(4)
_REST = const(5)
_REPEAT = const(1)
_CONFIG_LOST = const(5)
_JUMP = const(7)
_AGE_MAX = const(100_000)
_TICK_MS = const(10)
_TICK_MASK = const((1 << 30) - 1)
_BIAS = const(1 << 29)
_HIGHEST = const((1 << 29) - 1)
_INTERLOCK = const(0)
_FOOTSWITCH = const(1)
_ON_SETTLED_TICKS = const(10)
_OFF_SETTLED_TICKS = const(3)
_LATE_MAX_US = const(1_000_000)
_DOSE_TICKS = const(50)
_HEALTH_TICKS = const(100)
_SPARING_TICKS = const(4)  # where telemetry comes more often, ticks cost what they cost
_GUARD_LOOK_AHEAD_S = const(6)
_LEASE_TICKS = const(100)
_RESULT_LIMITED = const(2)
_FLAG_ENABLE = const(1)
_FLAG_INTERLOCK_CLOSED = const(2)
_FLAG_FOOTSWITCH = const(4)
_FLAG_LEASE = const(8)
_FLAG_CONFIGURED = const(16)
_FLAG_SATURATED = const(32)
_FLAG_LIMITED = const(64)
_FLAG_PROBE_CHECK = const(256)
# Places in the power loop's state.
_VOLTAGE_mV = const(0)
_CURRENT_uA = const(1)
_POWER_mW = const(2)
_IMPEDANCE_mohm = const(3)
_IMPEDANCE_KNOWN = const(4)
_GAIN = const(5)
_ENERGY_mJ = const(6)
# Rows of the limit table, by name.
_RF_WHILE_DISABLED = const(0)
_ENABLE_STUCK_HIGH = const(1)
_ENABLE_STUCK_LOW = const(2)
_INTERLOCK_OPEN = const(3)
_LEASE_AGE = const(4)
_DEADMAN_REFUSED = const(5)
_OVER_VOLTAGE = const(6)
_OVER_CURRENT = const(7)
_OVER_POWER = const(8)
_IMPEDANCE_LOW = const(9)
_IMPEDANCE_HIGH = const(10)
_STAGE_GAIN = const(11)
_TICK_LATE = const(12)
_TICKS_MISSED = const(13)
_HEAP_FREE = const(14)
_TC0_AGE = const(15)
_EVERY_TICK_ROWS = const(19)
# The place whose chip is polled, by the tick's phase among 10 or 12; none (9) where at 10 the frames of
# telemetry fall, and the checks of the chips' configuration.
_POLL_AT = (9, 0, 9, 1, 9, 9, 2, 9, 3, 9, 9, 9)
_CHECK_PHASE = const(7)
# Rows within a thermocouple's two groups.
_STATUS = const(0)
_NOT_BELIEVED = const(1)
_COLD_JUNCTION_ROW = const(2)
_OVER = const(0)
_UNDER = const(1)
_GUARD = const(2)
_LOOK_AHEAD = const(3)
_GUARD_DOSE = const(4)
_VALUE_ROWS = const(5)
# Rows of the tip, from TIP_START.
_NOT_HEATING = const(0)
_ENERGY_WITHOUT_TEMPERATURE = const(1)
_HEATING_TOO_FAST = const(2)
_THERMOCOUPLES_DISAGREE = const(3)
_HEATING_WHEN_OFF = const(4)
_MEMORY = const(5)
_NOT_COOLING_WHEN_OFF = const(6)
_GRAVEST = CAUSE["rf_while_disabled"]
# Ceilings in time that are told as the guard's where its governor had held the run back.
_FOR_THE_GUARD = (CAUSE["rf_on_time_ceiling"], CAUSE["end_point_missed"])


def _python():
    """The interpreter and its version, for HELLO: `micropython 1.25.0`."""
    return "%s %d.%d.%d" % ((sys.implementation.name,) + tuple(sys.implementation.version[:3]))


class Controller:
    """`board` has inputs and the link, `sense` and `stage` the RF, `converters` for each place a driver of each kind.

    The kinds are in the order of plan.CHIP_NAMES; which is fitted, the profile says.
    """

    channels = 1  # of the device

    def __init__(self, board, sense, stage, converters, first_tick=0):
        self.box = BlackBox()  # first: where the firmware is loaded from files, so much in one piece is rare
        self.board = board
        self.sense = sense
        self.stage = stage
        self.converters = converters
        self.chips = [kinds[plan.CHIP_MAX31856] for kinds in converters]
        self.values = plan.default_values()
        self.calibration = calibration.Calibration(board)
        self.calibration.load(self.values)
        self.thermocouples = tuple([Thermocouple() for _ in range(THERMOCOUPLES)])
        self.power = PowerLoop()
        self.loop = TemperatureLoop()
        self.ramp = SetpointRamp()
        self.governor = Governor()
        self.end_point = EndPoint(self.thermocouples)
        self.start_check = StartCheck(self.thermocouples)
        self.watch = HeatWatch()
        self.integrity = Integrity()
        self.limits = LimitTable()
        self.sequence = Sequence()
        self.reporter = Reporter()
        self.meter = TickMeter()
        self.commands = Commands(board.nonce_seed())
        self.tick_count = first_tick & U32_MAX
        self.digest = -1  # no CONFIGURE yet: nothing can quote it
        self.demand_mW = 0
        self.faults = 0
        self.heap_free_bytes = safety.HIGHEST  # not measured
        self._elapsed = 1
        self._late_us = 0
        self._fresh_ticks = array("i", [-1] * THERMOCOUPLES)
        self._footswitch_used = False
        self._polled = -1  # the place whose chip was polled in this tick
        self._believed = False
        self._config_place = 0
        self._fitted = 0
        self._control = self.thermocouples[0]
        self._control_place = 0
        parts = (self.sequence, self.ramp, self.loop, self.governor, self.power, self.end_point, self._control)
        self.modes = tuple([mode(*parts) for mode in MODES])  # in the order of plan.MODE_NAMES
        self.mode = self.modes[0]
        self._watch_due = False
        self._watched_tick = 0
        self._off_ticks = 0
        self._missed = 0
        self._rested = False
        self._footswitch_up_ticks = 0
        self._tripped = -1
        self._stop_asked = False
        self._ramp_mC_per_s = 0
        self._max_energy_mJ = 0
        self._telemetry_ticks = 5
        self._poll_ticks = 10
        self._telemetry_due = False
        self._dose_due = False
        self._health_due = False
        self._take_values()

    # ---- the tick -------------------------------------------------------------------------------------------

    def tick(self, elapsed, late_us):
        """One tick: `elapsed` periods after the last (1, or more when some were missed), `late_us` after it was due."""
        self._elapsed = elapsed if elapsed < 100 else 100
        self._late_us = late_us
        self.tick_count = (self.tick_count - _TICK_MASK + elapsed - 1) & _TICK_MASK  # counting.wrap
        self._sense()
        self._judge()
        self._decide()
        self._act()
        self.box.note(self)
        self._report()

    def _sense(self):
        """Read what is due: RF voltage and current, at most one thermocouple chip, the inputs' ages."""
        sense = self.sense
        sense.read()
        self.power.measure(sense.voltage_mV, sense.current_uA, self._elapsed, self._max_energy_mJ)
        self._polled = -1
        self._believed = False
        phase = self.tick_count % self._poll_ticks
        place = _POLL_AT[phase]
        if place < self._fitted:
            self._poll(place)
        elif phase == _CHECK_PHASE:
            self._check_config(self._config_place)

    def _poll(self, place):
        chip = self.chips[place]
        thermocouple = self.thermocouples[place]
        status = thermocouple.status
        if status != _CONFIG_LOST:
            period_ms = self._poll_ticks * _TICK_MS
            status = thermocouple.take(chip.poll(), chip.temperature_mC, period_ms, self.tick_count)
            if status == _JUMP:
                chip.question()
        self._polled = place
        self._believed = status <= _REPEAT
        if not self._believed and thermocouple.role:
            self._config_place = place  # its configuration is looked at next: that names the cause
        if status == _JUMP and self.sequence.at_rest():
            thermocouple.restart()  # somebody has moved the probe: begin anew from where it is
        self._fresh_ticks[place] = thermocouple.fresh_tick

    def _check_config(self, place):
        """A chip that has lost its configuration may still send plausible words: it is not believed again."""
        self._config_place = place + 1 if place + 1 < self._fitted else 0
        if self.chips[place].check_config() == thermometry.CONFIG_LOST:
            self.thermocouples[place].status = thermometry.CONFIG_LOST

    def _judge(self):
        """Fill in the limit table and judge what is due; the first row that trips stands until it is acted on."""
        state = self.sequence.state
        self.box.judged = state
        self._fill_every_tick(state == _RAMP or state == _HOLD)
        tripped = self.limits.judge(0, _EVERY_TICK_ROWS, state)
        if tripped < 0 and self._polled >= 0:
            tripped = self._judge_thermocouple(self._polled, state)
        elif self._watch_due:
            tip = self._judge_tip(state)
            tripped = tip if tripped < 0 else tripped
        self._tripped = tripped

    def _fill_every_tick(self, energised):
        """Each value is within ±2^29 where it comes from, or is limited here."""
        table = self.limits.table
        tick = self.tick_count
        on = self.stage.enabled
        high = self.board.read_enable()
        lease_age = self.commands.lease_age_ticks(tick)
        table[_ENABLE_STUCK_HIGH] = _BIAS + 1 if high and not on else _BIAS
        table[_INTERLOCK_OPEN] = _BIAS if self.board.read_input(_INTERLOCK) else _BIAS + 1
        table[_LEASE_AGE] = _BIAS + (lease_age if lease_age < _AGE_MAX else _AGE_MAX) * _TICK_MS
        table[_HEAP_FREE] = _BIAS + self.heap_free_bytes
        write_ages(table, _TC0_AGE, self._fresh_ticks, self._fitted, tick, _AGE_MAX)
        if self._elapsed > 1 or self._missed:
            self._count_missed()
        if on:
            self._off_ticks = 0
        elif self._off_ticks < _OFF_SETTLED_TICKS:
            self._off_ticks += 1
        if energised:
            self._fill_with_rf_on(table, on, high)
        else:
            leak = self.sense.permille() if self._off_ticks >= _OFF_SETTLED_TICKS else 0
            table[_RF_WHILE_DISABLED] = _BIAS + leak

    def _fill_with_rf_on(self, table, on, high):
        """The rows that apply in RAMP and HOLD alone."""
        power = self.power.state
        late_us = self._late_us
        table[_ENABLE_STUCK_LOW] = _BIAS + 1 if on and not high else _BIAS
        table[_DEADMAN_REFUSED] = _BIAS + self.stage.feeds_refused
        table[_OVER_VOLTAGE] = _BIAS + power[_VOLTAGE_mV]
        table[_OVER_CURRENT] = _BIAS + power[_CURRENT_uA]
        table[_OVER_POWER] = _BIAS + power[_POWER_mW]
        impedance = power[_IMPEDANCE_mohm]
        settled = self.sequence.rf_on_ticks >= _ON_SETTLED_TICKS
        # only a measured impedance can be too low; the bound used for want of current cannot
        table[_IMPEDANCE_LOW] = _BIAS + (impedance if settled and power[_IMPEDANCE_KNOWN] else _HIGHEST)
        table[_IMPEDANCE_HIGH] = _BIAS + impedance if settled else _BIAS
        table[_STAGE_GAIN] = _BIAS + power[_GAIN]
        table[_TICK_LATE] = _BIAS + (late_us if late_us < _LATE_MAX_US else _LATE_MAX_US)
        table[_TICKS_MISSED] = _BIAS + self._missed

    def _count_missed(self):
        """Missed ticks, forgotten at one a second: now and then is bad luck, often is a fault."""
        if self._elapsed > 1:
            self._missed = min(self._missed + self._elapsed - 1, 1000)
        elif self.tick_count % 100 == 0:
            self._missed -= 1

    def _judge_thermocouple(self, place, state):
        limits = self.limits
        table = limits.table
        thermocouple = self.thermocouples[place]
        row = POLL_START[place]
        status = thermocouple.status
        doubted = status >= _JUMP
        table[row + _STATUS] = _BIAS if doubted else _BIAS + status
        table[row + _NOT_BELIEVED] = _BIAS + 1 if doubted else _BIAS
        table[row + _COLD_JUNCTION_ROW] = _BIAS + self.chips[place].cold_junction_mC
        tripped = limits.judge(row, VALUE_START[place], state)
        if tripped >= 0 or not self._believed:
            return tripped
        row = VALUE_START[place]
        temperature = _BIAS + thermocouple.temperature_mC
        # after the jump filter |slope| < 2^24: six seconds of it stay within 2^27
        ahead = _GUARD_LOOK_AHEAD_S * thermocouple.long_slope_mC_per_s
        table[row + _OVER] = temperature
        table[row + _UNDER] = temperature
        table[row + _GUARD] = temperature
        table[row + _LOOK_AHEAD] = temperature + ahead
        table[row + _GUARD_DOSE] = _BIAS + thermocouple.dose.total_ms
        self.governor.take(place, thermocouple.role, thermocouple.temperature_mC + ahead)
        self._watch_due = place == self._control_place  # in the next tick: this one has done enough
        return limits.judge(row, row + _VALUE_ROWS, state)

    def _judge_tip(self, state):
        """Whether the control thermocouple, which has just been read, is where the heat is."""
        self._watch_due = False
        watch = self.watch
        control = self._control
        tick = self.tick_count
        ticks = (tick - self._watched_tick) & _TICK_MASK
        self._watched_tick = tick
        if self.sequence.heats():
            watch.update(control.temperature_mC, self.power.state[_ENERGY_mJ], ticks)
        else:
            watch.rest(control.temperature_mC, ticks, self.sequence.watched_off())
        table = self.limits.table
        table[TIP_START + _NOT_HEATING] = _BIAS + watch.not_moved_mC
        table[TIP_START + _ENERGY_WITHOUT_TEMPERATURE] = _BIAS + watch.shortfall_mC
        table[TIP_START + _HEATING_TOO_FAST] = _BIAS + control.long_slope_mC_per_s - 3 * self._ramp_mC_per_s
        table[TIP_START + _THERMOCOUPLES_DISAGREE] = _BIAS + self._hottest_other_mC() - control.temperature_mC
        table[TIP_START + _HEATING_WHEN_OFF] = _BIAS + watch.rise_when_off_mC
        table[TIP_START + _NOT_COOLING_WHEN_OFF] = _BIAS + watch.not_cooled_mC
        if self.sequence.under_way():
            self.integrity.step()
        table[TIP_START + _MEMORY] = _BIAS + self.integrity.broken
        return self.limits.judge(TIP_START, SIZE, state)

    def _hottest_other_mC(self):
        """The hottest of the thermocouples that are not the tip's; the tip's where there is no other."""
        hottest = thermometry.LOWEST_MC
        for thermocouple in self.thermocouples:
            if thermocouple.role > ROLE_CONTROL and thermocouple.temperature_mC > hottest:
                hottest = thermocouple.temperature_mC
        return hottest

    def _coolest_mC(self):
        coolest = self._control.temperature_mC
        for thermocouple in self.thermocouples:
            if thermocouple.role and thermocouple.temperature_mC < coolest:
                coolest = thermocouple.temperature_mC
        return coolest

    def _decide(self):
        """What ends, what begins, how much power is wanted."""
        sequence = self.sequence
        if self._tripped >= 0:
            self._trip(self._tripped)
        elif self._stop_asked:
            self._end_by_operator(CAUSE["operator_stop"])
        elif self._footswitch_used and self._footswitch_released():
            self._end_by_operator(CAUSE["footswitch_released"])
        self._stop_asked = False
        before = sequence.state
        mode = self.mode
        ended = sequence.advance(self._elapsed, self.power.state[_ENERGY_mJ], mode.counts)
        state = sequence.state
        if not ended and _RAMP <= state <= _REST:
            fresh = self._believed and self._polled == self._control_place
            ended = mode.step(self._elapsed, fresh, self.tick_count)
        if ended:
            self._end(ended)
        state = sequence.state
        if state == _RAMP or state == _HOLD:
            self.demand_mW = mode.demand_mW
            return
        self.demand_mW = 0
        if before == protocol.ARMED and state == protocol.IDLE:
            self._power_down()  # an ARM that was not used gives the pins back

    def _end(self, cause):
        """The run has come to the end of its plan, or to one of its ceilings."""
        if cause in COMPLETING:
            self._finish(protocol.RESULT_COMPLETED, cause)
            return
        if self.governor.held_back and cause in _FOR_THE_GUARD:
            cause = CAUSE["guard_limited"]
        self._finish(protocol.RESULT_LIMITED, cause)

    def _act(self):
        """Put it on the pins. Anything but an energised state is off."""
        stage = self.stage
        state = self.sequence.state
        if state == _RAMP or state == _HOLD:
            if self._rested:
                self._rested = False
                self.board.rf_connect()
            stage.drive(self.power.drive(self.demand_mW))
            stage.feed()
            self.board.watchdog_feed()
        elif state == _REST:
            self._rest()
        elif stage.enabled or stage.duty:
            self._power_down()

    def _rest(self):
        """RF off between two deliveries; the run goes on, and so does the watchdog. The limit table verifies it."""
        if self.stage.enabled or self.stage.duty:
            self.stage.off()
            self.power.release()
            self._rested = True
        self.board.watchdog_feed()

    def _report(self):
        """Make what is due, and send one frame if the link is ready.

        While energised a tick that polls does nothing here, one that judges the tip may make a frame, any other makes
        one or seals and sends one. One that has switched RF off sends none: it has done enough. What is due and not
        done waits for the next tick.
        """
        sequence = self.sequence
        reporter = self.reporter
        tick = self.tick_count
        if sequence.changed:
            sequence.changed = False
            self._event(protocol.EVENT_STATE, sequence.cause, NO_ROW, sequence.state, sequence.previous, tick)
            self.board.set_phase(sequence.state)  # survives a reset: HELLO tells in which state it came
        if tick % self._telemetry_ticks == 0:
            self._telemetry_due = True
        if tick % _DOSE_TICKS == 2:
            self._dose_due = True
        elif tick % _HEALTH_TICKS == 4:
            self._health_due = True
        if not sequence.energised():
            self._make_due()
            if self._off_ticks or self._telemetry_ticks < _SPARING_TICKS:
                reporter.pump(self.board)
        elif self._telemetry_ticks < _SPARING_TICKS:
            self._make_due()
            reporter.pump(self.board)
        elif self._polled < 0 and not self._make_due() and self._watched_tick != tick:
            reporter.pump(self.board)

    def _make_due(self):
        """Make at most one frame, the rare ones first: telemetry may come in every tick. Returns if one was made."""
        reporter = self.reporter
        if self._dose_due:
            self._dose_due = False
            reporter.dose(self)
        elif self._health_due:
            self._health_due = False
            reporter.health(self)
            self.meter.begin_period()
        elif self._telemetry_due and not reporter.behind():
            self._telemetry_due = False
            reporter.telemetry(self)
        else:
            return False
        return True

    # ---- endings --------------------------------------------------------------------------------------------

    def _power_down(self):
        """RF off, verified. A stage that does not read back low is the end of trust in it."""
        self.power.release()
        self.loop.reset()
        self.board.free_heap()
        if self.stage.safe_off():
            self.board.watchdog_stop()
        elif not _GRAVEST <= self.sequence.cause <= CAUSE["safe_off_unverified"]:
            self._fault(CAUSE["safe_off_unverified"], NO_ROW, 1, 0, self.tick_count)

    def _finish(self, result, cause):
        self.sequence.finish(result, cause)
        self._event(protocol.EVENT_END, cause, NO_ROW, result, 0, self.tick_count)
        self._power_down()

    def _fault(self, cause, row, value, limit, first_tick):
        self.faults = add_up(self.faults, 1)
        result = safety.CAUSE_RESULT.get(cause, protocol.RESULT_FAULT)
        self._event(protocol.EVENT_FAULT, cause, row, value, limit, first_tick)
        self.sequence.finish(result, cause)
        self._event(protocol.EVENT_END, cause, row, result, 0, self.tick_count)

    def _trip(self, row):
        """A row of the table has tripped. A fault latches: only the first is the cause."""
        limits = self.limits
        value = limits.value(row)
        cause = safety.cause_of(row, value)
        if self.sequence.state == protocol.FAULT and _GRAVEST <= self.sequence.cause <= cause:
            return
        period = 1 if row < _EVERY_TICK_ROWS else self._poll_ticks
        first = self.tick_count - (limits.samples(row) - 1) * period
        self.stage.off()
        self._fault(cause, row, value, limits.limit(row), first & U32_MAX)
        self._power_down()

    def _end_by_operator(self, cause):
        sequence = self.sequence
        if sequence.state == protocol.COOLDOWN:
            sequence.settle()
        elif not sequence.at_rest():
            self._finish(protocol.RESULT_STOPPED, cause)

    def _footswitch_released(self):
        if not self.sequence.under_way():
            self._footswitch_up_ticks = 0
            return False
        pressed = self.board.read_input(_FOOTSWITCH)
        self._footswitch_up_ticks = 0 if pressed else self._footswitch_up_ticks + 1
        return self._footswitch_up_ticks >= 2

    def interrupted(self):
        """Called on the way out of the main loop by Ctrl-C: RF off, and a run that was under way has been stopped."""
        self.stage.off()
        self._end_by_operator(CAUSE["operator_stop"])
        self._power_down()

    def unexpected(self):
        """Called on any other way out of the main loop: RF off and a latched, named cause."""
        self.stage.off()
        if self.sequence.state != protocol.FAULT:
            self._fault(CAUSE["unexpected_error"], NO_ROW, 0, 0, self.tick_count)
        self._power_down()

    def _event(self, code, cause, row, value, limit, first_tick):
        self.reporter.event(self.sequence.state, self.tick_count, code, cause, row, value, limit, first_tick)

    # ---- what a host may ask (commands.py decides whether it may) ---------------------------------------------

    def listen(self, most):
        """Take at most `most` bytes from the link; in the slack, never in the tick. Returns how many came."""
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
        """Slow work between ticks; nothing while a run is armed or under way."""
        self.commands.check_lease(self)
        if self.commands.slow_verb >= 0:
            self.commands.do_slow(self)

    def stop(self):
        """RF off at once, whatever the state; the run is ended by the next tick. Returns if it was asked before."""
        if self.stage.enabled:
            self.stage.off()
        asked = self._stop_asked
        self._stop_asked = True
        return asked

    def set_parameter(self, key, value):
        """A value in range; whatever was configured is configured no more."""
        self.values[key] = value
        self.digest = -1

    def configure(self):
        """Check all values together, with the calibration kept, and take them; their digest, or −1 − contradiction."""
        self.calibration.load(self.values)
        broken = plan.contradiction(self.values, self.channels)
        if broken >= 0:
            self.digest = -1
            return -1 - broken
        self._take_values()
        chip_index = INDEX["tc0_chip"]
        type_index = INDEX["tc0_type"]
        mains_hz = self.values[INDEX["mains_hz"]]
        for place in range(self._fitted):
            thermocouple = self.thermocouples[place]
            thermocouple.restart()
            self._fresh_ticks[place] = thermocouple.fresh_tick
            chip = self.converters[place][self.values[chip_index + place]]
            thermocouple.status = chip.configure(self.values[type_index + place], mains_hz)
            self.chips[place] = chip
        self._poll_ticks = max([chip.poll_ticks for chip in self.chips[: self._fitted]])
        self.digest = plan.digest(self.values)
        return self.digest

    def store_calibration(self):
        """Keep the calibration that was SET, with RF seen off; an ACK code. Whatever was configured is so no more."""
        self.digest = -1
        if not self.stage.safe_off():
            return protocol.ACK_STAGE
        return protocol.ACK_OK if self.calibration.save(self.values) else protocol.ACK_NOT_KEPT

    def arm(self):
        """The first step towards heat; an ACK code. Nothing is energised yet."""
        if self.sequence.state != protocol.IDLE:
            return protocol.ACK_WRONG_STATE
        if not self.board.read_input(INTERLOCK):
            return protocol.ACK_INTERLOCK
        if self.limits.beyond(_RF_WHILE_DISABLED) or self.limits.beyond(_ENABLE_STUCK_HIGH):
            return protocol.ACK_STAGE
        if not self._sensors_ready():
            return protocol.ACK_SENSOR
        implausible = self.start_check.judge()
        if implausible:
            self._tell_start(self.start_check)
            return implausible
        broken = self.board.test_dead_man()  # RF pins at rest before and after, the drive at zero
        if broken:
            self._fault(CAUSE["self_test_failed"], NO_ROW, broken, 0, self.tick_count)
            self._power_down()
            return protocol.ACK_STAGE
        self.heap_free_bytes = self.board.quiet_heap()
        self.board.rf_connect()
        self.limits.clear()
        self.box.begin()
        self.sequence.arm()
        return protocol.ACK_OK

    def _sensors_ready(self):
        for place in range(self._fitted):
            thermocouple = self.thermocouples[place]
            ready = thermocouple.status <= REPEAT and thermocouple.age_ticks(self.tick_count) < FRESH_ENOUGH_TICKS
            if thermocouple.role != ROLE_NONE and not ready:
                return False
        return True

    def _tell_start(self, check):
        row = VALUE_START[check.place] + (_UNDER if check.reading_mC < check.against_mC else _OVER)
        self._event(protocol.EVENT_REFUSED, check.cause, row, check.reading_mC, check.against_mC, self.tick_count)

    def start(self):
        """The second step: from ARMED to RAMP; an ACK code."""
        if self.sequence.state != protocol.ARMED:
            return protocol.ACK_WRONG_STATE
        if self.values[INDEX["footswitch_used"]] and not self.board.read_input(FOOTSWITCH):
            return protocol.ACK_FOOTSWITCH
        for thermocouple in self.thermocouples:
            thermocouple.begin_run()
        self._missed = 0
        self._rested = False
        self.governor.begin()
        self.watch.begin(self._control.temperature_mC, self._coolest_mC())
        self._watched_tick = self.tick_count
        self.power.begin_run()
        self.loop.begin(self.watch.base_mC)
        self.mode.begin()
        self.board.watchdog_start(WATCHDOG_MS)
        self.meter.begin_period()  # the dead-man's test at ARM has made ticks late, and nobody was heated then
        self.sequence.start()
        return protocol.ACK_OK

    def acknowledge(self):
        """Clear a latched fault or the last result; an ACK code. Enables nothing."""
        state = self.sequence.state
        if state == protocol.IDLE:
            return protocol.ACK_OK
        if state < protocol.DONE:
            return protocol.ACK_WRONG_STATE
        self.limits.clear()
        self.sequence.acknowledge()
        return protocol.ACK_OK

    def say_hello(self):
        """Queue HELLO; allocates, so only at rest."""
        self.reporter.hello(self.sequence.state, self.tick_count, protocol.hello_text(self.hello_fields()))

    def hello_fields(self):
        """What HELLO tells of the device, as (key, value)."""
        board = self.board
        commands = self.commands
        return (
            ("fw", VERSION),
            ("mp", _python()),
            ("proto", protocol.protocol_digest()),
            ("schema", protocol.SCHEMA),
            ("board", board.name),
            ("uid", board.unique_id()),
            ("reset", RESET_NAMES[board.reset_cause()]),
            ("phase", board.last_phase()),
            ("nonce", 0 if commands.owned else commands.nonce),
            ("tick", self.tick_count),
            ("cal", "%07x %s" % (self.calibration.digest, calibration.STATE_NAMES[self._value("calibration_state")])),
            ("emitter", EMITTER),
            ("dead_man", board.dead_man),
            ("caps", ",".join([plan.MODE_NAMES[mode][:5] for mode in plan.MODES_AVAILABLE])),
        )

    # ---- small facts ----------------------------------------------------------------------------------------

    def flags(self):
        """The FLAG_… bits of a telemetry frame."""
        sequence = self.sequence
        flags = _FLAG_ENABLE if self.stage.enabled else 0
        if self.limits.table[_INTERLOCK_OPEN] == _BIAS:
            flags |= _FLAG_INTERLOCK_CLOSED
        if self.board.read_input(_FOOTSWITCH):
            flags |= _FLAG_FOOTSWITCH
        if self.commands.lease_age_ticks(self.tick_count) <= _LEASE_TICKS:
            flags |= _FLAG_LEASE
        if self.digest >= 0:
            flags |= _FLAG_CONFIGURED
        if self.loop.saturated:
            flags |= _FLAG_SATURATED
        if sequence.result == _RESULT_LIMITED:
            flags |= _FLAG_LIMITED
        if sequence.probe_check_ticks > 0 and sequence.energised():
            flags |= _FLAG_PROBE_CHECK
        return flags

    def setpoint_mC(self):
        return self.ramp.value_mC if self.sequence.energised() else 0

    def _take_values(self):
        """Hand the values to the parts that use them. At rest only."""
        value = self._value
        self._fitted = value("thermocouples")
        fitted = plan.roles(self.values)
        for place in range(THERMOCOUPLES):
            thermocouple = self.thermocouples[place]
            thermocouple.role = fitted[place]
            thermocouple.lag_ms = self.values[INDEX["tc0_lag_ms"] + place]
            thermocouple.offset_mC, thermocouple.gain = calibration.thermocouple(self.values, place)
        self._control_place = fitted.index(ROLE_CONTROL)
        self._control = self.thermocouples[self._control_place]
        self._config_place = 0
        self._ramp_mC_per_s = value("ramp_mC_per_s")
        self._max_energy_mJ = value("max_energy_mJ")
        self._footswitch_used = value("footswitch_used") == 1
        self._telemetry_ticks = value("telemetry_ticks")
        v_gain_ppm, v_offset_mV, i_gain_ppm, i_offset_uA = calibration.sense(self.values)
        self.sense.configure(
            value("v_sense_full_scale_mV"),
            value("i_sense_full_scale_uA"),
            v_gain_ppm,
            v_offset_mV,
            i_gain_ppm,
            i_offset_uA,
        )
        self.stage.configure(value("drive_law"), value("drive_inverted") == 1, value("max_duty"))
        self.power.configure(
            value("full_scale_voltage_mV"),
            value("max_voltage_mV"),
            value("max_current_uA"),
            value("min_current_uA"),
            value("min_impedance_mohm"),
        )
        self.loop.configure(
            value("kp_mW_per_C"), value("ki_mW_per_C_s"), value("feedforward_mW_s_per_C"), value("gain_mC_per_W")
        )
        self.ramp.configure(value("rounding_ms"))
        self.end_point.configure(self.values)
        self.start_check.configure(self.values)
        self.sequence.configure(
            value("hold_ms"),
            value("cooldown_ms"),
            value("max_rf_on_ms"),
            value("max_energy_mJ"),
            self.end_point.hold_cause,
        )
        self.mode = self.modes[value("mode")]
        self.mode.configure(self.values, self._control)
        self.governor.configure(value("guard_governor") == 1)
        self.watch.configure(
            value("tip_lag_ms"),
            value("tip_fast_mC_per_W"),
            value("tip_fast_ms"),
            value("tip_slow_mC_per_W"),
            value("tip_slow_ms"),
            value("mode") == plan.MODE_IMPEDANCE,
        )
        self.limits.configure(self.values)
        self.integrity.take(self.values, self.limits.table, SIZE, 5 * SIZE)

    def _value(self, name):
        return self.values[INDEX[name]]
