"""The set-point's way from the tissue to the target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.setpoint import SetpointRamp


def ramp(start_mC: int, target_mC: int, rate_mC_per_s: int) -> SetpointRamp:
    made = SetpointRamp()
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
    st.lists(st.integers(1, 100)),
)
def test_it_rises_and_never_passes_the_target(start_mC: int, target_mC: int, rate: int, steps: list[int]) -> None:
    made = ramp(start_mC, target_mC, rate)
    values = [made.value_mC]
    for ticks in steps:
        made.advance(ticks)
        values.append(made.value_mC)
    assert values == sorted(values)
    assert values[0] >= 0
    assert values[-1] <= target_mC


def test_tissue_above_the_target_starts_at_the_target() -> None:
    assert ramp(80_000, 70_000, 1_000).at_target()
