"""The guard's governor: slows the set-point, and takes it back, so that the guard settles at its goal.

v = 0.5 · (42 − predicted), within −3 … 1, of the ramp's rate; predicted = T + 6 s · dT/dt by least squares over 15
samples. A trip is the last resort behind it: tissue goes on warming after RF has ended.
"""

from rfprobe_core.constant import const
from rfprobe_core.plan import ROLE_GUARD, THERMOCOUPLES

GOAL_MC = 42_000
_GOAL_MC = const(42_000)
_FULL_PERMILLE = const(1_000)
_BACK_PERMILLE = const(-3_000)
_HELD_BACK_PERMILLE = const(500)


class Governor:
    """`permille` of the ramp's rate that every guard allows; `held_back` once it has been below a half."""

    def __init__(self):
        self.permille = _FULL_PERMILLE
        self.held_back = False
        self._used = True
        self._each = [_FULL_PERMILLE] * THERMOCOUPLES

    def configure(self, used):
        self._used = used
        self.begin()

    def begin(self):
        self.permille = _FULL_PERMILLE
        self.held_back = False
        for place in range(THERMOCOUPLES):
            self._each[place] = _FULL_PERMILLE

    def take(self, place, role, ahead_mC):
        """A reading of `place` that was believed; `ahead_mC` is what it will be in 6 s (−2^28 … 2^28)."""
        if role != ROLE_GUARD or not self._used:
            return
        permille = (_GOAL_MC - ahead_mC) // 2  # 0.5 per °C
        if permille > _FULL_PERMILLE:
            permille = _FULL_PERMILLE
        elif permille < _BACK_PERMILLE:
            permille = _BACK_PERMILLE
        each = self._each
        each[place] = permille
        for other in range(THERMOCOUPLES):
            if each[other] < permille:
                permille = each[other]
        self.permille = permille
        if permille < _HELD_BACK_PERMILLE:
            self.held_back = True
