"""The set-point's way from the tissue to the target."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.setpoint import SetpointRamp


def ramp(start_mC: int, target_mC: int, rate_mC_per_s: int, rounding_ms: int = 0) -> SetpointRamp:
    made = SetpointRamp()
    made.configure(rounding_ms)
    made.begin(start_mC, target_mC, rate_mC_per_s)
    return made


@pytest.mark.parametrize(("rate_mC_per_s", "ticks"), [(1_000, 3_300), (10, 330_000), (5_000, 660), (7, 471_429)])
def test_it_takes_as_long_as_the_rate_says(rate_mC_per_s: int, ticks: int) -> None:
    made = ramp(37_000, 70_000, rate_mC_per_s)
    for _ in range(ticks - 1):
        made.advance(1)
    assert not made.at_target()
    made.advance(1)
    assert made.at_target()
    assert made.value_mC == 70_000


def test_missed_ticks_are_made_up_for() -> None:
    one, other = ramp(37_000, 70_000, 1_000), ramp(37_000, 70_000, 1_000)
    for _ in range(30):
        one.advance(1)
    other.advance(30)
    assert one.value_mC == other.value_mC == 37_300


def test_rate_is_told_while_it_moves() -> None:
    made = ramp(69_980, 70_000, 1_000)
    rates = []
    for _ in range(4):
        made.advance(1)
        rates.append(made.rate_mC_per_s)
    assert rates == [1_000, 0, 0, 0]


@given(
    st.integers(-300_000, 500_000),
    st.integers(38_000, 95_000),
    st.integers(10, 5_000),
    st.integers(0, 60_000),
    st.lists(st.integers(1, 100)),
)
def test_it_rises_and_never_passes_the_target(
    start_mC: int, target_mC: int, rate: int, rounding_ms: int, steps: list[int]
) -> None:
    made = ramp(start_mC, target_mC, rate, rounding_ms)
    values = [made.value_mC]
    for ticks in steps:
        made.advance(ticks)
        values.append(made.value_mC)
    assert values == sorted(values)
    assert values[0] >= 0
    assert values[-1] <= target_mC


def test_tissue_above_the_target_starts_at_the_target() -> None:
    assert ramp(80_000, 70_000, 1_000).at_target()


def ticks_to_target(made: SetpointRamp) -> int:
    for ticks in range(1, 100_000):
        made.advance(1)
        if made.at_target():
            return ticks
    raise AssertionError("the target was never reached")


@pytest.mark.parametrize("rounding_ms", [500, 1_000, 8_000])
def test_a_rounded_end_takes_twice_its_time_constant_and_a_little(rounding_ms: int) -> None:
    """From where it begins, ⅞ τ · rate below the target, τ · ln 8 in place of ⅞ τ: 1.2 τ longer than without."""
    later = ticks_to_target(ramp(37_000, 70_000, 1_000, rounding_ms)) - ticks_to_target(ramp(37_000, 70_000, 1_000))
    assert later == pytest.approx(1.204 * rounding_ms / 10, rel=0.05)


def test_a_rounded_end_slows_down_step_by_step_to_an_eighth_of_the_rate() -> None:
    made = ramp(60_000, 70_000, 1_000, 2_000)
    rates = []
    while not made.at_target():
        made.advance(1)
        rates.append(made.rate_mC_per_s)
    assert rates[0] == 1_000
    assert rates[-1] == 0
    assert rates == sorted(rates, reverse=True)
    assert 125 <= rates[-2] < 135
    assert max(before - after for before, after in pairwise(rates[:-1])) <= 6


def test_the_slowest_ramp_reaches_its_target_too() -> None:
    assert ticks_to_target(ramp(69_990, 70_000, 7, 60_000)) <= 10 * 100


@given(st.integers(40_000, 70_000), st.integers(10, 5_000), st.integers(0, 60_000), st.integers(-3_000, -1))
def test_the_way_back_is_never_slowed_by_the_rounding(
    start_mC: int, rate: int, rounding_ms: int, permille: int
) -> None:
    """The guard's governor takes the set-point back: at the target, where the rounding is, as fast as anywhere."""
    plain, rounded = ramp(start_mC, 70_000, rate), ramp(start_mC, 70_000, rate, rounding_ms)
    for made in (plain, rounded):
        made.advance(7, permille)
    assert (plain.value_mC, plain.rate_mC_per_s) == (rounded.value_mC, rounded.rate_mC_per_s)


@given(st.integers(0, 60_000), st.integers(1, 999))
def test_the_guards_share_of_the_rate_is_never_exceeded(rounding_ms: int, permille: int) -> None:
    made = ramp(37_000, 70_000, 1_000, rounding_ms)
    for _ in range(50):
        made.advance(100, permille)
        assert made.rate_mC_per_s <= max(permille, 1)
