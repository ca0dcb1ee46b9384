"""The state machine: what state a run is in, how long it has left, and how it ended."""

from rfprobe_core.constant import const
from rfprobe_core.protocol import (
    ARMED,
    CAUSE,
    COOLDOWN,
    DONE,
    FAULT,
    HOLD,
    IDLE,
    RAMP,
    REST,
    RESULT_COMPLETED,
    RESULT_FAULT,
    RESULT_LIMITED,
    RESULT_LINK_LOST,
    RESULT_NONE,
    RESULT_STOPPED,
    SELF_TEST,
    STOPPED,
    TICK_MS,
)

_RAMP = const(3)
_HOLD = const(4)
_REST = const(5)
SELF_TEST_TICKS = 20
ARM_TICKS = 3_000  # an ARM that is not used expires after 30 s
PROBE_CHECK_TICKS = 50  # at test power, before the set-point moves

# The state a result leads to. Heat is over in each; a completed or limited run is watched while it cools.
_AFTER = {
    RESULT_COMPLETED: COOLDOWN,
    RESULT_LIMITED: COOLDOWN,
    RESULT_STOPPED: STOPPED,
    RESULT_LINK_LOST: FAULT,
    RESULT_FAULT: FAULT,
}


class Sequence:
    """`state`, `result` and `cause` say where the run is; the controller asks and tells, and keeps RF in step."""

    def __init__(self):
        self.state = SELF_TEST
        self.previous = SELF_TEST
        self.changed = True  # the state has changed and nobody has reported it yet
        self.result = RESULT_NONE
        self.cause = 0
        self.rf_on_ticks = 0
        self.left_ticks = SELF_TEST_TICKS
        self.probe_check_ticks = 0
        self.between_bursts = False  # REST, but heat is being delivered all the same: in bursts
        self._hold_ticks = 0
        self._hold_cause = CAUSE["hold_complete"]
        self._cooldown_ticks = 0
        self._max_rf_on_ticks = 0
        self._max_energy_mJ = 0

    def configure(self, hold_ms, cooldown_ms, max_rf_on_ms, max_energy_mJ, hold_cause=CAUSE["hold_complete"]):
        """`hold_cause` is what the end of the hold is: the plan's end, or its ceiling in time."""
        self._hold_cause = hold_cause
        self._hold_ticks = hold_ms // TICK_MS
        self._cooldown_ticks = cooldown_ms // TICK_MS
        self._max_rf_on_ticks = max_rf_on_ms // TICK_MS
        self._max_energy_mJ = max_energy_mJ

    def energised(self):
        return self.state == RAMP or self.state == HOLD

    def under_way(self):
        """Between START and the end: RF is on, or rests and will come again."""
        return _RAMP <= self.state <= _REST

    def heats(self):
        """Heat is being delivered: RF is on, or between two bursts."""
        return self.energised() or self.between_bursts

    def at_rest(self):
        """No run is armed or under way: values may change, slow work may be done."""
        return self.state != ARMED and not self.under_way()

    def watched_off(self):
        """RF is off, and the tissue is watched all the same."""
        return self.state == ARMED or self.state == REST or self.state == COOLDOWN

    def _go(self, state, ticks):
        self.previous = self.state
        self.state = state
        self.left_ticks = ticks
        self.changed = True
        self.between_bursts = False

    def arm(self):
        self._go(ARMED, ARM_TICKS)

    def start(self):
        self.rf_on_ticks = 0
        self.result = RESULT_NONE
        self.cause = 0
        self.probe_check_ticks = PROBE_CHECK_TICKS
        self._go(RAMP, 0)

    def hold(self):
        self._go(HOLD, self._hold_ticks)

    def rest(self):
        """RF off, while the time of the hold goes on; out of RAMP it begins here."""
        self._go(REST, self.left_ticks if self.state == _HOLD else self._hold_ticks)

    def resume(self):
        """RF on again, after `rest`."""
        self._go(HOLD, self.left_ticks)

    def burst(self, on):
        """Within the hold: RF on for a burst, or off until the next. Far too many to be told one by one."""
        self.state = HOLD if on else REST
        self.between_bursts = not on

    def finish(self, result, cause):
        """The run (or whatever state it is in) ends. A later, graver end overrides an earlier one."""
        self.result = result
        self.cause = cause
        self._go(_AFTER[result], self._cooldown_ticks)

    def settle(self):
        """A verdict that stands, while nothing more is to be watched: COOLDOWN is cut short."""
        self._go(DONE, 0)

    def acknowledge(self):
        self.result = RESULT_NONE
        self.cause = 0
        self._go(IDLE, 0)

    def advance(self, ticks, energy_mJ, near_target=True):
        """`ticks` further; returns the cause of an end that is due now, or 0. Hold counts only `near_target`."""
        state = self.state
        if state == _RAMP or state == _HOLD:
            return self._advance_energised(ticks, energy_mJ, near_target)
        if state == _REST:
            return self._count_hold(ticks)
        if self.left_ticks > ticks:
            self.left_ticks -= ticks
            return 0
        self.left_ticks = 0
        if state == SELF_TEST or state == ARMED:
            self._go(IDLE, 0)
        elif state == COOLDOWN:
            self._go(DONE, 0)
        return 0

    def _advance_energised(self, ticks, energy_mJ, near_target):
        rf_on_ticks = self.rf_on_ticks + ticks
        self.rf_on_ticks = rf_on_ticks
        if self.probe_check_ticks > 0:
            self.probe_check_ticks -= min(ticks, self.probe_check_ticks)
        if energy_mJ >= self._max_energy_mJ:
            return CAUSE["energy_ceiling"]
        if self.state == _HOLD and near_target and self._count_hold(ticks):
            return self._hold_cause
        if rf_on_ticks >= self._max_rf_on_ticks:
            return CAUSE["rf_on_time_ceiling"]
        return 0

    def _count_hold(self, ticks):
        left = self.left_ticks - ticks
        if left > 0:
            self.left_ticks = left
            return 0
        self.left_ticks = 0
        return self._hold_cause
