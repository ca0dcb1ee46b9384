"""How energy is delivered: one class for each mode of a plan, all of the same shape (docs/modes.md draws them).

While RF is on or rests, the controller calls `step` once a tick, and then drives `demand_mW`. A mode moves the
sequence between RAMP, HOLD and REST, and says when the run has done what it was for. All of them heat through the
same temperature loop: in `temperature` the tip's target is what is wanted and power is the ceiling; in the others
power is what is wanted, and the tip's target is the ceiling. So the guard's governor, which moves the set-point,
and every row of the limit table work in each.
"""

from rfprobe_core.calibration import allowed_power_mW
from rfprobe_core.constant import const
from rfprobe_core.plan import INDEX

_RAMP = const(3)
_REST = const(5)
# Places in the power loop's state.
_IMPEDANCE_mohm = const(3)
_IMPEDANCE_KNOWN = const(4)
NEAR_TARGET_MC = 1_000
_NEAR_TARGET_MC = const(1_000)
_CONTROL_TICKS_MAX = const(25)


class TemperatureMode:
    """The tip follows a ramp to its target and is held there.

    `counts` says whether the time that passes now is hold time; `demand_mW` is what shall flow; `rolloffs` have
    been counted in this run (in `impedance` alone).
    """

    def __init__(self, sequence, ramp, loop, governor, power, end_point, control):
        self.demand_mW = 0
        self.counts = False
        self.rolloffs = 0
        self._sequence = sequence
        self._ramp = ramp
        self._loop = loop
        self._governor = governor
        self._power = power
        self._end_point = end_point
        self._control = control
        self._ceiling_mW = 0
        self._target_mC = 0
        self._rate_mC_per_s = 0
        self._test_power_mW = 0
        self._since_control_ticks = 0

    def configure(self, values, control):
        """Take the plan; `control` is the thermocouple that is controlled. At rest."""
        self._control = control
        self._target_mC = values[INDEX["target_mC"]]
        self._rate_mC_per_s = values[INDEX["ramp_mC_per_s"]]
        self._ceiling_mW = min(allowed_power_mW(values), values[INDEX["stage_power_mW"]])
        self._test_power_mW = values[INDEX["test_power_mW"]]
        self._loop.learns = True

    def begin(self):
        """A run begins."""
        self.demand_mW = 0
        self.counts = False
        self.rolloffs = 0
        self._end_point.begin()
        self._begin_ramp()

    def _begin_ramp(self):
        self._since_control_ticks = 0
        self._ramp.begin(self._control.corrected_mC, self._target_mC, self._rate_mC_per_s)

    def step(self, elapsed, fresh, tick):
        """One tick, `elapsed` (1…100) after the last; `fresh`: the control thermocouple has a new sample.

        Returns the cause of an end that is due now, or 0.
        """
        self._since_control_ticks += elapsed
        if self._sequence.probe_check_ticks > 0:
            return self._check_probe()
        self._ramp.advance(elapsed, self._governor.permille)
        ended = self._control_step() if fresh else 0
        if self.counts and self._sequence.state == _RAMP and self._there():
            self._sequence.hold()
        return ended

    def _check_probe(self):
        """At the test power, before the set-point moves; the limit table judges what it shows."""
        self.demand_mW = self._test_power_mW
        self._begin_ramp()
        self._power.take_achieved_mW()
        return 0

    def _control_step(self):
        """One control interval: a new sample of the control thermocouple is there."""
        corrected_mC = self._control.corrected_mC
        self._bound_ramp(corrected_mC)
        self.demand_mW = self._loop.update(
            self._ramp.value_mC,
            self._ramp.rate_mC_per_s,
            corrected_mC,
            min(self._since_control_ticks, _CONTROL_TICKS_MAX),
            self._ceiling_mW,
            self._power.take_achieved_mW(),
        )
        self._since_control_ticks = 0
        # whether the tissue, not only the set-point, is where it shall be: only such time counts as held
        self.counts = self._as_planned(corrected_mC)
        return self._end_point.reached(self.rolloffs)

    def _bound_ramp(self, corrected_mC):
        """Nothing holds the set-point here but the plan and the guard."""

    def _as_planned(self, corrected_mC):
        return abs(corrected_mC - self._target_mC) <= _NEAR_TARGET_MC

    def _there(self):
        """Whether the ramp has ended, so that the hold begins."""
        return self._ramp.at_target()


LEAD_MC = 5_000
_LEAD_MC = const(5_000)


class PowerMode(TemperatureMode):
    """Constant power, until the tip comes to its ceiling: from there on what holds it there.

    The set-point is never more than LEAD_MC above the tip: enough for the loop to ask for all the power, and near
    enough for the guard's governor to find it at once when it takes it back.
    """

    def configure(self, values, control):
        TemperatureMode.configure(self, values, control)
        # the plan is refused where plan or stage allow less; only a missing calibration makes it less here
        self._ceiling_mW = min(self._ceiling_mW, values[INDEX["power_mW"]])
        self._loop.learns = False

    def _bound_ramp(self, corrected_mC):
        self._ramp.keep_below(corrected_mC + _LEAD_MC)

    def _as_planned(self, corrected_mC):
        return self.demand_mW >= self._ceiling_mW or abs(corrected_mC - self._target_mC) <= _NEAR_TARGET_MC

    def _there(self):
        return True


SETTLED_TICKS = 50
_SETTLED_TICKS = const(50)  # after RF has come on, before an impedance counts as baseline
_POWER_MIN_MW = const(100)


class ImpedanceMode(PowerMode):
    """Power until the tissue at the electrode boils and the impedance rises; RF rests; then again, with less.

    A roll-off is an impedance, smoothed over 80 ms, that has risen by the plan's step above the lowest that it had
    since RF came on.
    """

    def __init__(self, sequence, ramp, loop, governor, power, end_point, control):
        PowerMode.__init__(self, sequence, ramp, loop, governor, power, end_point, control)
        self._power_mW = 0
        self._step_mohm = 0
        self._resume_permille = 0
        self._rest_ticks = 0
        self._rest_left_ticks = 0
        self._settling_ticks = 0
        self._smooth_mohm = 0
        self._baseline_mohm = 0

    def configure(self, values, control):
        PowerMode.configure(self, values, control)
        self._power_mW = self._ceiling_mW
        self._step_mohm = values[INDEX["rolloff_step_mohm"]]
        self._resume_permille = values[INDEX["resume_permille"]]
        self._rest_ticks = values[INDEX["rest_ms"]] // 10

    def begin(self):
        PowerMode.begin(self)
        self._ceiling_mW = self._power_mW
        self._settling_ticks = _SETTLED_TICKS

    def step(self, elapsed, fresh, tick):
        if self._sequence.state == _REST:
            return self._rest(elapsed, fresh)
        ended = PowerMode.step(self, elapsed, fresh, tick)
        if ended or self._sequence.probe_check_ticks > 0 or not self._rolls_off(elapsed):
            return ended
        self.rolloffs += 1
        ended = self._end_point.reached(self.rolloffs)
        if not ended:
            self._sequence.rest()
            self._rest_left_ticks = self._rest_ticks
            lower_mW = self._ceiling_mW * self._resume_permille // 1000  # 5e4 · 1e3
            self._ceiling_mW = lower_mW if lower_mW > _POWER_MIN_MW else _POWER_MIN_MW
        return ended

    def _rolls_off(self, elapsed):
        state = self._power.state
        if not state[_IMPEDANCE_KNOWN]:
            return False
        measured = state[_IMPEDANCE_mohm]
        if self._settling_ticks > 0:
            self._settling_ticks -= elapsed
            self._smooth_mohm = self._baseline_mohm = measured
            return False
        smooth = self._smooth_mohm + (measured - self._smooth_mohm) // 8
        self._smooth_mohm = smooth
        if smooth < self._baseline_mohm:
            self._baseline_mohm = smooth
        return smooth - self._baseline_mohm >= self._step_mohm

    def _rest(self, elapsed, fresh):
        self._rest_left_ticks -= elapsed
        if fresh:
            ended = self._end_point.reached(self.rolloffs)
            if ended:
                return ended
        if self._rest_left_ticks <= 0:
            self._begin_again()
        return 0

    def _begin_again(self):
        """From where the tip is now, with the power of this round."""
        self._settling_ticks = _SETTLED_TICKS
        self._since_control_ticks = 0
        self._power.take_achieved_mW()
        self._bound_ramp(self._control.corrected_mC)
        if self.demand_mW > self._ceiling_mW:
            self.demand_mW = self._ceiling_mW
        self._sequence.resume()


_TELEMETRY_TICKS = const(5)  # at 20 Hz: a burst begins where the frames see it


class PulsedMode(PowerMode):
    """Bursts of RF that leave the tip cool. Their length and rate are exact; their amplitude holds the temperature.

    The loop runs once a period, on the reading at the end of the pause, and asks for a mean power.
    """

    def __init__(self, sequence, ramp, loop, governor, power, end_point, control):
        PowerMode.__init__(self, sequence, ramp, loop, governor, power, end_point, control)
        self._peak_mW = 0
        self._burst_ticks = 2
        self._period_ticks = 50
        self._phase_ticks = -1  # before the first burst

    def configure(self, values, control):
        PowerMode.configure(self, values, control)
        self._peak_mW = self._ceiling_mW
        self._burst_ticks = values[INDEX["burst_ms"]] // 10
        self._period_ticks = values[INDEX["burst_period_ms"]] // 10
        self._ceiling_mW = self._peak_mW * self._burst_ticks // self._period_ticks  # in the mean; 5e4 · 50

    def step(self, elapsed, fresh, tick):
        self._since_control_ticks += elapsed
        sequence = self._sequence
        if sequence.probe_check_ticks > 0:
            self._phase_ticks = -1
            return self._check_probe()
        if self._phase_ticks < 0:
            return self._await_first(tick)
        self._ramp.advance(elapsed, self._governor.permille)
        self._phase_ticks += elapsed
        if self._phase_ticks >= self._period_ticks:
            self._begin_burst()
        elif self._phase_ticks >= self._burst_ticks:
            sequence.burst(False)
        return 0

    def _await_first(self, tick):
        """The time of the hold begins with a pause, and RF with the first tick whose power telemetry will see."""
        sequence = self._sequence
        if sequence.state == _RAMP:
            sequence.rest()
        elif tick % _TELEMETRY_TICKS == _TELEMETRY_TICKS - 1:
            sequence.resume()
            self._begin_burst()
        return 0

    def _begin_burst(self):
        self._phase_ticks = 0
        self._control_step()
        peak_mW = self.demand_mW * self._period_ticks // self._burst_ticks  # 2.5e4 · 1000
        self.demand_mW = peak_mW if peak_mW < self._peak_mW else self._peak_mW
        self._sequence.burst(True)

    def _as_planned(self, corrected_mC):
        return True


MODES = (TemperatureMode, PowerMode, ImpedanceMode, PulsedMode)  # in the order of plan.MODE_NAMES
