"""Thermal dose: cumulative equivalent time at 43 °C (CEM43, Sapareto & Dewey 1984), in integers.

Each sample adds dt · R^(43 − T), R = 0.5 from 43 °C up, 0.25 below, nothing below 39 °C. What is less than a
millisecond is carried in 1/2^20 ms: at 39 °C a 100 ms step is worth only 0.39 ms.
"""

from array import array

from rfprobe_core.constant import const

_DOSE_MAX_MS = const((1 << 29) - 1)
DOSE_MAX_MS = (1 << 29) - 1  # 8 947 min, far above any limit: the sum saturates here, one step never passes 2^30
_BREAK_MC = const(43_000)
_FLOOR_MC = const(39_000)
_ONE = const(1024)
_STEP_MC = const(1_000)
_STEPS = const(32)

# 1024 · 2^(i/32), i = 0…32: the fraction of a degree, interpolated linearly (error < 0.01 %).
_POWER_OF_TWO = array("H", [int(_ONE * 2 ** (i / _STEPS) + 0.5) for i in range(_STEPS + 1)])


def _two_to(fraction_mC):
    """1024 · 2^(fraction/1000), 0 ≤ fraction < 1000."""
    scaled = fraction_mC * _STEPS  # < 32 000
    index = scaled // _STEP_MC
    low = _POWER_OF_TWO[index]
    return low + (_POWER_OF_TWO[index + 1] - low) * (scaled - index * _STEP_MC) // _STEP_MC


def dose_rate(temperature_mC):
    """Milliseconds at 43 °C per millisecond, in 1/2^20 below 43 °C (≤ 2^20) and in 1/2^10 from there up (≤ 2^27).

    From 60 °C up the rate stays at 2^17 ms/ms: there the ablation threshold of 240 min takes 0.11 s.
    """
    if temperature_mC < _FLOOR_MC:
        return 0
    if temperature_mC >= _BREAK_MC:
        above = temperature_mC - _BREAK_MC
        whole = above // _STEP_MC
        if whole >= 17:
            return _ONE << 17
        return _two_to(above - whole * _STEP_MC) << whole
    below = 2 * (_BREAK_MC - temperature_mC)  # 0.25^x = 0.5^2x; 0 < below ≤ 8000
    whole = (below + _STEP_MC - 1) // _STEP_MC
    return _two_to(whole * _STEP_MC - below) << 10 >> whole


class Dose:
    """CEM43 of one thermocouple in this run: `total_ms`, saturating at DOSE_MAX_MS."""

    def __init__(self):
        self.total_ms = 0
        self._fraction = 0  # 1/2^20 ms

    def reset(self):
        self.total_ms = 0
        self._fraction = 0

    def add(self, temperature_mC, dt_ms):
        """One sample further: `temperature_mC` held for `dt_ms` (0…255)."""
        if temperature_mC < _FLOOR_MC:
            return
        rate = dose_rate(temperature_mC)
        if temperature_mC < _BREAK_MC:
            whole_ms = 0
            carry = self._fraction + rate * dt_ms  # ≤ 2^20 + 2^20 · 255 < 2^29
        else:
            whole_ms = (rate >> 10) * dt_ms  # ≤ 2^17 · 255 < 2^25
            carry = self._fraction + ((rate & 1023) * dt_ms << 10)  # < 2^20 + 2^28
        total = self.total_ms + whole_ms + (carry >> 20)  # < 2^29 + 2^26
        self._fraction = carry & 0xFFFFF
        self.total_ms = total if total < _DOSE_MAX_MS else _DOSE_MAX_MS
