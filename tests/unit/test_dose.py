"""CEM43 in integers against its definition in floating point."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.dose import DOSE_MAX_MS, Dose, dose_rate

STEPS = 500


def cem43_ms(temperature_C: float, dt_ms: float) -> float:
    """Sapareto & Dewey: dt · R^(43 − T), R = 0.5 from 43 °C up, 0.25 below, nothing below 39 °C."""
    if temperature_C < 39.0:
        return 0.0
    ratio = 0.5 if temperature_C >= 43.0 else 0.25
    return dt_ms * ratio ** (43.0 - temperature_C)


def accumulated_ms(temperature_mC: int, dt_ms: int, steps: int = STEPS) -> int:
    dose = Dose()
    for _ in range(steps):
        dose.add(temperature_mC, dt_ms)
    return dose.total_ms


@pytest.mark.parametrize("dt_ms", [100, 120])
def test_dose_is_within_one_per_cent_from_39_to_60_degrees(dt_ms: int) -> None:
    wrong = {}
    for temperature_mC in range(39_000, 60_001, 125):
        exact = min(cem43_ms(temperature_mC / 1000, dt_ms) * STEPS, DOSE_MAX_MS)
        got = accumulated_ms(temperature_mC, dt_ms)
        if abs(got - exact) > exact * 0.01 + 1:
            wrong[temperature_mC] = (got, exact)
    assert wrong == {}


def test_what_is_less_than_a_millisecond_is_carried() -> None:
    assert accumulated_ms(39_000, 100, 1) == 0
    assert accumulated_ms(39_000, 100, 10_000) == pytest.approx(cem43_ms(39.0, 100) * 10_000, rel=1e-3)


def test_the_carry_is_kept_from_one_temperature_to_the_next() -> None:
    dose, exact = Dose(), 0.0
    for step in range(2_000):
        temperature_mC = 39_000 + 137 * (step % 60)
        dose.add(temperature_mC, 100)
        exact += cem43_ms(temperature_mC / 1000, 100)
    assert dose.total_ms == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(
    ("temperature_mC", "rate"),
    [(38_999, 0), (-100_000, 0), (43_000, 1 << 10), (44_000, 2 << 10), (60_000, 1 << 27), (300_000, 1 << 27)],
)
def test_rate_at_the_marks(temperature_mC: int, rate: int) -> None:
    assert dose_rate(temperature_mC) == rate


@given(st.integers(38_000, 299_999))
def test_a_warmer_moment_never_counts_less(temperature_mC: int) -> None:
    def worth(at_mC: int) -> int:
        return dose_rate(at_mC) << (0 if at_mC < 43_000 else 10)

    assert worth(temperature_mC) <= worth(temperature_mC + 1)


def test_dose_saturates() -> None:
    dose = Dose()
    for _ in range(60):
        dose.add(90_000, 120)
    assert dose.total_ms == DOSE_MAX_MS


def test_reset_forgets_the_carry_too() -> None:
    dose, fresh = Dose(), Dose()
    dose.add(42_999, 99)
    dose.reset()
    for each in (dose, fresh):
        each.add(39_000, 200)
        each.add(39_000, 200)
    assert dose.total_ms == fresh.total_ms == 1
