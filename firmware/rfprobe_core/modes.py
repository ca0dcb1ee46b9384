"""How energy is delivered: one class for each mode of a plan, all of the same shape (docs/modes.md draws them).

While RF is on or rests, the controller calls `step` once a tick, and then drives `demand_mW`. A mode moves the
sequence between RAMP, HOLD and REST, and says when the run has done what it was for. All of them heat through the
same temperature loop: in `temperature` the tip's target is what is wanted and power is the ceiling; in the others
power is what is wanted, and the tip's target is the ceiling. So the guard's governor, which moves the set-point,
and every row of the limit table work in each.
"""

from rfprobe_core.constant import const
from rfprobe_core.plan import INDEX

_RAMP = const(3)
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
        self._ceiling_mW = min(values[INDEX["max_power_mW"]], values[INDEX["stage_power_mW"]])
        self._test_power_mW = values[INDEX["test_power_mW"]]

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

    def step(self, elapsed, fresh):
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
        self._ceiling_mW = values[INDEX["power_mW"]]  # the plan is refused where plan or stage allow less

    def _bound_ramp(self, corrected_mC):
        self._ramp.keep_below(corrected_mC + _LEAD_MC)

    def _as_planned(self, corrected_mC):
        return self.demand_mW >= self._ceiling_mW or abs(corrected_mC - self._target_mC) <= _NEAR_TARGET_MC

    def _there(self):
        return True
