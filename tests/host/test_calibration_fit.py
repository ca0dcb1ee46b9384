"""The line through a calibration's points: what it finds, and what it refuses."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfprobe.calibration_fit import (
    BathPoint,
    LoadPoint,
    check_bath_temperatures,
    check_powers,
    fit_rf,
    fit_thermocouple,
    left_over_C,
)
from rfprobe.errors import BadInput, CheckFailed

FULL_SCALE = (100.0, 1.2)
LOAD_OHM = 100.0
POWERS_W = (1.0, 2.0, 4.0, 6.0, 10.0)


def baths(gain: float, offset_C: float, at_C: Sequence[float] = (0.0, 40.0, 80.0)) -> list[BathPoint]:
    """What a thermocouple of this error shows in these baths."""
    return [BathPoint(each, each * gain + offset_C, 40, 0.05) for each in at_C]


def loads(v_gain: float, v_offset: float, i_gain: float, i_offset: float) -> list[LoadPoint]:
    return [
        LoadPoint(
            each,
            each,
            math.sqrt(each * LOAD_OHM) * v_gain + v_offset,
            math.sqrt(each / LOAD_OHM) * i_gain + i_offset,
            20,
        )
        for each in POWERS_W
    ]


@settings(deadline=None)
@given(st.floats(0.97, 1.03), st.floats(-2.0, 2.0), st.floats(0.0, 100.0))
def test_a_thermocouple_is_right_between_its_points(gain: float, offset_C: float, true_C: float) -> None:
    line, residuals = fit_thermocouple("control", baths(gain, offset_C))
    assert line.true(true_C * gain + offset_C) == pytest.approx(true_C, abs=1e-6)
    assert max(map(abs, residuals)) < 1e-6


@settings(deadline=None)
@given(st.floats(0.75, 1.35), st.floats(-1.2, 1.2), st.floats(0.75, 1.35), st.floats(-0.015, 0.015))
def test_a_sense_is_right_at_every_power(v_gain: float, v_offset: float, i_gain: float, i_offset: float) -> None:
    zero = (max(v_offset, 0.0), max(i_offset, 0.0))  # below it the converter shows nothing
    fit = fit_rf(loads(v_gain, v_offset, i_gain, i_offset), zero, LOAD_OHM, FULL_SCALE)
    assert fit.worst < 1e-6
    assert fit.voltage.true(40.0 * v_gain + v_offset) == pytest.approx(40.0)
    assert fit.current.true(0.4 * i_gain + i_offset) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (baths(1.08, 0.0), "gain of 0.9259"),
        (baths(1.0, 6.0), "-6.00 °C"),
        (baths(1.045, 3.0), "in the baths"),
        ([*baths(1.0, 0.0), BathPoint(50.0, 51.0, 40, 0.05)], "off any line"),
    ],
)
def test_a_thermocouple_that_is_not_in_order_is_not_calibrated_away(points: list[BathPoint], told: str) -> None:
    with pytest.raises(CheckFailed, match=told.replace("+", r"\+")) as raised:
        fit_thermocouple("control", points)
    assert str(raised.value).startswith("control: ")


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ((1.5, 0.0, 1.0, 0.0), "voltage: a gain of 0.667"),
        ((1.0, 0.0, 0.6, 0.0), "current: a gain of 1.667"),
        ((1.0, 3.0, 1.0, 0.0), "voltage: an offset of -3 V"),
        ((1.0, 0.0, 1.0, 0.03), "current: an offset of -0.03 A"),
    ],
)
def test_a_sense_that_is_not_in_order_is_not_calibrated_away(
    errors: tuple[float, float, float, float], told: str
) -> None:
    with pytest.raises(CheckFailed, match=told):
        fit_rf(loads(*errors), (max(errors[1], 0.0), max(errors[3], 0.0)), LOAD_OHM, FULL_SCALE)


def test_powers_that_fit_no_line_are_refused() -> None:
    points = loads(1.0, 0.0, 1.0, 0.0)
    points[2] = LoadPoint(4.0, 4.5, points[2].shown_V, points[2].shown_A, 20)
    with pytest.raises(CheckFailed, match="% off in power"):
        fit_rf(points, (0.0, 0.0), LOAD_OHM, FULL_SCALE)


def test_two_points_do_not_pretend_to_leave_nothing() -> None:
    points = baths(1.0, 0.5, (10.0, 60.0))
    assert left_over_C(points, (0.0, 0.0)) == pytest.approx(2 * 0.05 / math.sqrt(40))
    assert left_over_C(points, (0.1, -0.15)) == 0.15


@pytest.mark.parametrize("given_C", [(), (20.0,), (20.0, 30.0), (20.0, 120.0), (20.0, math.nan)])
def test_baths_that_tell_no_gain_are_refused(given_C: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="--point"):
        check_bath_temperatures(given_C)


@pytest.mark.parametrize("given_W", [(), (1, 2, 3, 4), (1, 2, 3, 4, 11), (0, 2, 3, 4, 5), (4, 5, 6, 7, 8)])
def test_powers_that_tell_no_line_are_refused(given_W: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="--point"):
        check_powers(given_W, 10.0)
