"""The ramped set-point: from where the tissue is to the target, and never above it.

Its end is rounded, because heat that is on its way arrives after the power has gone: where the set-point stopped at
once, the tissue would go on.
"""


class SetpointRamp:
    """Kept in µ°C so that 10 m°C/s is not lost to rounding; 95 °C is 9.5e7 < 2^30."""

    def __init__(self):
        self._now_uC = 0
        self._target_uC = 0
        self._rate_mC_per_s = 0
        self._rounding_ms = 0
        self.value_mC = 0
        self.rate_mC_per_s = 0  # as it moves now

    def configure(self, rounding_ms):
        """The end is approached with this time constant (0…60 000; 0: at the full rate), and an eighth of the rate."""
        self._rounding_ms = rounding_ms

    def begin(self, start_mC, target_mC, rate_mC_per_s):
        """Start at `start_mC` (limited to the target) towards `target_mC`."""
        self._target_uC = target_mC * 1000
        self._now_uC = min(max(start_mC, 0), target_mC) * 1000
        self._rate_mC_per_s = rate_mC_per_s
        self.rate_mC_per_s = 0
        self.value_mC = self._now_uC // 1000

    def advance(self, ticks, permille=1_000):
        """Move on by `ticks` (1…100) of 10 ms, at `permille` (−3000…1000) of the rate; 10 µ°C a tick for each m°C/s.

        Backwards it goes no further than freezing.
        """
        now_uC = self._now_uC
        left_uC = self._target_uC - now_uC
        rate = self._rate_mC_per_s * permille // 1_000  # ≤ 5e3 · 3e3
        if rate > 0 and self._rounding_ms:
            most = left_uC // self._rounding_ms + (self._rate_mC_per_s >> 3)  # µ°C / ms is m°C / s
            if rate > most:
                rate = most if most > 0 else 1
        step_uC = rate * 10 * ticks  # ≤ 15e3 · 10 · 100
        if step_uC >= left_uC:
            if left_uC == 0:
                self.rate_mC_per_s = 0
                return
            step_uC = left_uC
            rate = 0
        elif step_uC < -now_uC:
            step_uC = -now_uC
            rate = 0
        self.rate_mC_per_s = rate
        now_uC += step_uC
        self._now_uC = now_uC
        self.value_mC = now_uC // 1000

    def keep_below(self, most_mC):
        """Take the set-point back to `most_mC` (0 and more) where it is above."""
        most_uC = most_mC * 1000 if most_mC > 0 else 0
        if self._now_uC > most_uC:
            self._now_uC = most_uC
            self.value_mC = most_mC if most_mC > 0 else 0

    def at_target(self):
        return self._now_uC == self._target_uC
