"""Thermal dose in floating point: the reference the firmware's integer dose is held against.

CEM43 = Σ Δt · R^(43 − T), R = 0.5 from 43 °C up, 0.25 from 39 up to 43 °C, 0 below 39 °C, in equivalent
minutes at 43 °C (the customary formula, with the customary cut-off at 39 °C).
"""

from math import exp2

ONSET_C = 39.0
REFERENCE_C = 43.0


def cem43_rate(temperature_C: float) -> float:
    """Equivalent minutes at 43 °C gained per minute at this temperature."""
    if temperature_C < ONSET_C:
        return 0.0
    excess_C = temperature_C - REFERENCE_C
    return exp2(excess_C if excess_C >= 0.0 else 2.0 * excess_C)


class Cem43:
    """Dose of one place. `minutes` is the dose so far, in equivalent minutes at 43 °C."""

    __slots__ = ("minutes",)

    def __init__(self) -> None:
        self.minutes = 0.0

    def add(self, temperature_C: float, duration_s: float) -> None:
        """Add this many seconds at this temperature."""
        if temperature_C >= ONSET_C:
            self.minutes += cem43_rate(temperature_C) * duration_s / 60.0
