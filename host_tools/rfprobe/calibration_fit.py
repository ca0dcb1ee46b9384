"""A line through what a sensor shows and what is there: offset, gain, what is left over, and whether to believe it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rfprobe.errors import BadInput, CheckFailed

TC_LEAST_SPREAD_C: Final = 15.0
TC_OFFSET_MAX_C: Final = 5.0
TC_GAIN_RANGE: Final = (0.95, 1.05)
TC_RESIDUAL_MAX_C: Final = 0.2
RF_LEAST_POINTS: Final = 5
RF_LEAST_RATIO: Final = 3.0  # highest to lowest power
RF_OFFSET_MAX_PERMILLE: Final = 20  # of the sense's full scale: RF counts as sensed from 30 on (safety.py)
RF_GAIN_RANGE: Final = (0.71, 1.4)
RF_RESIDUAL_MAX: Final = 0.02
RF_ZERO_SHOWS_PERMILLE: Final = 2  # a zero that reads less may be one that the converter cannot show


@dataclass(frozen=True)
class Line:
    """What is there = offset + gain · what is shown."""

    offset: float
    gain: float

    def true(self, shown: float) -> float:
        return self.offset + self.gain * shown


@dataclass(frozen=True)
class BathPoint:
    """One bath, °C: what the reference read and what the thermocouple showed, the mean of `samples`."""

    reference_C: float
    shown_C: float
    samples: int
    spread_C: float
    """Standard deviation of the samples."""


@dataclass(frozen=True)
class LoadPoint:
    """One power into the dummy load: what the wattmeter read, and what the device showed on its nominal values."""

    set_W: float
    meter_W: float
    shown_V: float
    shown_A: float
    samples: int


@dataclass(frozen=True)
class RfFit:
    """Lines for voltage (V) and current (A), and by how much each point's power is off by them."""

    voltage: Line
    current: Line
    residuals: tuple[float, ...]

    @property
    def worst(self) -> float:
        return max(abs(each) for each in self.residuals)


def line_through(shown: Sequence[float], true: Sequence[float], weights: Sequence[float] | None = None) -> Line:
    """The least-squares line; two points or more, not all alike."""
    import numpy as np

    gain, offset = np.polyfit(shown, true, 1, w=None if weights is None else np.asarray(weights))
    return Line(float(offset), float(gain))


def check_bath_temperatures(references_C: Sequence[float]) -> None:
    """Raises BadInput unless they are two or more, and far enough apart to tell a gain."""
    if len(references_C) < 2:
        raise BadInput(f"--point: a line needs two bath points or more, not {len(references_C)}")
    for each in references_C:
        if not (math.isfinite(each) and 0.0 <= each <= 100.0):
            raise BadInput(f"--point {each:g}: a bath is at 0 to 100 °C")
    spread_C = max(references_C) - min(references_C)
    if spread_C < TC_LEAST_SPREAD_C:
        raise BadInput(
            f"--point: the baths are {spread_C:g} °C apart; for a gain it takes {TC_LEAST_SPREAD_C:g} °C or more"
        )


def fit_thermocouple(place: str, points: Sequence[BathPoint]) -> tuple[Line, tuple[float, ...]]:
    """(line, residuals in °C). Raises CheckFailed for a fit that no thermocouple in order has."""
    line = line_through([point.shown_C for point in points], [point.reference_C for point in points])
    residuals = tuple(line.true(point.shown_C) - point.reference_C for point in points)
    worst_C = max(abs(each) for each in residuals)
    low, high = TC_GAIN_RANGE
    # where it is used, not at 0 °C: the largest correction over the baths
    correction_C = max((line.true(point.shown_C) - point.shown_C for point in points), key=abs)
    if not low <= line.gain <= high:
        raise CheckFailed(
            f"{place}: a gain of {line.gain:.4f} is outside {low:g} to {high:g}: type, place or reference?"
        )
    if abs(line.offset) > TC_OFFSET_MAX_C or abs(correction_C) > TC_OFFSET_MAX_C:
        raise CheckFailed(
            f"{place}: {line.offset:+.2f} °C at 0 °C, up to {correction_C:+.2f} °C in the baths; "
            f"more than ±{TC_OFFSET_MAX_C:g} °C is a fault, not an error to be calibrated away"
        )
    if worst_C > TC_RESIDUAL_MAX_C:
        raise CheckFailed(
            f"{place}: the points are up to {worst_C:.2f} °C off any line; {TC_RESIDUAL_MAX_C:g} °C is allowed"
        )
    return line, residuals


def left_over_C(points: Sequence[BathPoint], residuals: Sequence[float]) -> float:
    """What is told as left over: the largest residual, or two standard errors of a mean where that is more.

    Through two points there is always a line without residuals, which says nothing.
    """
    noise_C = max(2.0 * point.spread_C / math.sqrt(point.samples) for point in points)
    return max(noise_C, *(abs(each) for each in residuals))


def check_powers(powers_W: Sequence[float], most_W: float) -> None:
    """Raises BadInput unless they are enough, within reach, and far enough apart."""
    if len(powers_W) < RF_LEAST_POINTS:
        raise BadInput(f"--point: it takes {RF_LEAST_POINTS} powers or more, not {len(powers_W)}")
    for each in powers_W:
        if not (math.isfinite(each) and 0.5 <= each <= most_W):
            raise BadInput(f"--point {each:g}: must be 0.5 to {most_W:g} W, the most that is given uncalibrated")
    if max(powers_W) < RF_LEAST_RATIO * min(powers_W):
        raise BadInput(f"--point: the highest power must be {RF_LEAST_RATIO:g} times the lowest, or more")


def fit_rf(
    points: Sequence[LoadPoint], zero: tuple[float, float], load_ohm: float, full_scale: tuple[float, float]
) -> RfFit:
    """Lines for voltage and current; `zero` is what they show with RF off, `full_scale` the sense's, V and A.

    Points count by their relative error, as the power does. Raises CheckFailed for a fit that no sense in order has.
    """
    true_V = [math.sqrt(point.meter_W * load_ohm) for point in points]
    true_A = [math.sqrt(point.meter_W / load_ohm) for point in points]
    voltage = _sense_line("voltage", [point.shown_V for point in points], true_V, zero[0], full_scale[0], "V")
    current = _sense_line("current", [point.shown_A for point in points], true_A, zero[1], full_scale[1], "A")
    residuals = tuple(
        voltage.true(point.shown_V) * current.true(point.shown_A) / point.meter_W - 1.0 for point in points
    )
    fit = RfFit(voltage, current, residuals)
    if fit.worst > RF_RESIDUAL_MAX:
        raise CheckFailed(
            f"the points are up to {100 * fit.worst:.1f} % off in power; {100 * RF_RESIDUAL_MAX:g} % is allowed: "
            "a load that warms, a meter that had not settled?"
        )
    return fit


def _sense_line(
    name: str, shown: Sequence[float], true: Sequence[float], zero: float, full_scale: float, unit: str
) -> Line:
    weights = [1.0 / each for each in true]
    pairs = [*zip(shown, true, weights, strict=True)]
    if zero > full_scale * RF_ZERO_SHOWS_PERMILLE / 1000:
        pairs.append((zero, 0.0, max(weights)))
    line = line_through(*([pair[at] for pair in pairs] for at in range(3)))
    low, high = RF_GAIN_RANGE
    if not low <= line.gain <= high:
        raise CheckFailed(
            f"{name}: a gain of {line.gain:.3f} is outside {low:g} to {high:g}: load, wattmeter or full scale?"
        )
    most = full_scale * RF_OFFSET_MAX_PERMILLE / 1000
    if abs(line.offset) > most:
        raise CheckFailed(f"{name}: an offset of {line.offset:+.3g} {unit} is more than ±{most:.3g} {unit}")
    return line
