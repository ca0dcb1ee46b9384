"""What is believed about a thermocouple, and what is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.thermometry import (
    AGE_MAX,
    BUS,
    FRESH,
    HIGHEST_MC,
    JUMP,
    LOWEST_MC,
    OPEN,
    REPEAT,
    TICK_MASK,
    SlopeWindow,
    Thermocouple,
)

PERIOD_MS = 100
readings = st.lists(st.integers(LOWEST_MC, HIGHEST_MC), min_size=1, max_size=60)


def fed(*polls: tuple[int, int], start_tick: int = 0) -> Thermocouple:
    """A thermocouple after polls of (status, reading), ten ticks apart."""
    thermocouple = Thermocouple()
    for at, (status, measured_mC) in enumerate(polls):
        thermocouple.take(status, measured_mC, PERIOD_MS, (start_tick + 10 * at) & TICK_MASK)
    return thermocouple


@pytest.mark.parametrize("points", [8, 15])
@given(values=readings)
def test_slope_is_the_least_squares_line_of_the_window(points: int, values: list[int]) -> None:
    window = SlopeWindow(points)
    window.reset(values[0])
    for value in values:
        window.push(value)
    seen = ([values[0]] * points + values)[-points:]
    exact = np.polyfit(np.arange(points) * PERIOD_MS / 1000, np.array(seen, dtype=float), 1)[0]
    # three floors: of ·40 by the divisor, then ·25, then by the period
    assert window.slope_mC_per_s(PERIOD_MS) == pytest.approx(exact, abs=25 / PERIOD_MS + 1)


def test_slope_of_a_steady_reading_is_nothing() -> None:
    thermocouple = fed(*[(FRESH, 55_000)] * 30)
    assert (thermocouple.slope_mC_per_s, thermocouple.long_slope_mC_per_s) == (0, 0)


@pytest.mark.parametrize("rate_mC_per_s", [-2_000, -300, 500, 5_000])
def test_correction_takes_the_lag_out_of_a_ramp(rate_mC_per_s: int) -> None:
    thermocouple = Thermocouple()
    thermocouple.lag_ms = 700
    for at in range(30):
        thermocouple.take(FRESH, 100_000 + rate_mC_per_s * at // 10, PERIOD_MS, 10 * at)
    lead_mC = thermocouple.corrected_mC - thermocouple.temperature_mC
    assert lead_mC == pytest.approx(0.7 * rate_mC_per_s, abs=5)


def test_a_single_spike_is_neither_believed_nor_remembered() -> None:
    thermocouple = fed((FRESH, 40_000), (FRESH, 70_000))
    assert (thermocouple.status, thermocouple.temperature_mC, thermocouple.peak_mC) == (JUMP, 40_000, 40_000)
    assert thermocouple.take(FRESH, 40_100, PERIOD_MS, 20) == FRESH
    assert thermocouple.slope_mC_per_s < 500


@pytest.mark.parametrize(("step_mC", "status"), [(5_000, FRESH), (-5_000, FRESH), (5_001, JUMP), (-5_001, JUMP)])
def test_a_jump_is_more_than_five_degrees(step_mC: int, status: int) -> None:
    assert fed((FRESH, 50_000), (FRESH, 50_000 + step_mC)).status == status


def test_a_reading_that_stays_off_stays_unbelieved() -> None:
    assert fed((FRESH, 40_000), *[(FRESH, 70_000)] * 9).temperature_mC == 40_000


@pytest.mark.parametrize(
    ("polls", "age_ticks"),
    [
        ([], AGE_MAX),
        ([(OPEN, 0)], AGE_MAX),
        ([(FRESH, 40_000)], AGE_MAX),
        ([(FRESH, 40_000), (REPEAT, 40_000), (REPEAT, 40_000)], AGE_MAX),
        ([(FRESH, 40_000), (FRESH, 40_001)], 7),
        ([(FRESH, 40_000), (FRESH, 40_001), (REPEAT, 40_001), (REPEAT, 40_001)], 27),
        ([(FRESH, 40_000), (FRESH, 40_001), (OPEN, 0), (BUS, 0)], 27),
        ([(FRESH, 40_000), (FRESH, 40_001), (FRESH, 70_000)], 17),
        ([(FRESH, 40_000), (REPEAT, 40_000), (FRESH, 40_001)], 7),
    ],
    ids=["never", "never good", "first", "frozen", "fresh", "repeats", "faults", "jump", "fresh again"],
)
@pytest.mark.parametrize("start_tick", [0, TICK_MASK - 9])
def test_age_counts_from_the_last_believed_new_conversion(
    polls: list[tuple[int, int]], age_ticks: int, start_tick: int
) -> None:
    last_tick = start_tick + 10 * max(len(polls) - 1, 0)
    assert fed(*polls, start_tick=start_tick).age_ticks((last_tick + 7) & TICK_MASK) == age_ticks


def test_age_stops_growing() -> None:
    assert fed((FRESH, 40_000), (FRESH, 40_001)).age_ticks(AGE_MAX + 15) == AGE_MAX


@pytest.mark.parametrize(
    ("measured_mC", "believed_mC"), [(2_047_992, HIGHEST_MC), (-2_048_000, LOWEST_MC), (36_600, 36_900)]
)
def test_a_reading_is_calibrated_and_kept_within_what_is_computed_with(measured_mC: int, believed_mC: int) -> None:
    thermocouple = Thermocouple()
    thermocouple.offset_mC = 300
    thermocouple.take(FRESH, measured_mC, PERIOD_MS, 0)
    assert thermocouple.temperature_mC == believed_mC


def test_dose_goes_on_at_the_last_value_while_readings_fail() -> None:
    thermocouple = fed((FRESH, 44_000), (OPEN, 0), (BUS, 0), (JUMP, 0))
    assert thermocouple.dose.total_ms == 4 * 2 * PERIOD_MS


def test_peak_is_the_highest_of_this_run() -> None:
    thermocouple = fed((FRESH, 41_000), (FRESH, 44_000), (FRESH, 42_000))
    assert thermocouple.peak_mC == 44_000
    thermocouple.begin_run()
    assert (thermocouple.peak_mC, thermocouple.dose.total_ms) == (42_000, 0)


def test_restart_believes_nothing_of_what_was() -> None:
    thermocouple = fed((FRESH, 41_000))
    thermocouple.restart()
    assert not thermocouple.valid
    assert thermocouple.age_ticks(0) == AGE_MAX
    assert thermocouple.take(FRESH, 80_000, PERIOD_MS, 0) == REPEAT  # of the first word nobody knows how old it is
    assert thermocouple.temperature_mC == 80_000
    assert thermocouple.take(FRESH, 80_001, PERIOD_MS, 10) == FRESH
