"""Gains for the temperature loop from a step of power: what the tissue's answer is, and what follows from it.

The answer is two first-order terms behind a lag, fitted to the reading with the power that was measured. Rules make
gains of it. What a rule's gains would do is predicted by the firmware's own set-point, thermometry and loop, run on
that model.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from rfprobe.errors import CheckFailed
from rfprobe_core import plan as device
from rfprobe_core import thermometry
from rfprobe_core.pid import TemperatureLoop
from rfprobe_core.setpoint import SetpointRamp
from rfprobe_core.thermometry import Thermocouple

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONVERSION_S = 0.1
CONVERSION_TICKS = 10
SETTLED_SHARE = 0.02
LEAST_RISE_C = 3.0
"""What a step must warm at least: of less, too much is noise."""
POOR_FIT_SHARE = 0.05
"""A residual above this share of the rise is no fit."""
WINDOW_S = 0.45
"""Half of the slope's eight readings, and a conversion: how late a corrected reading is at the least."""
LAG_DOUBT = 0.3
"""By how much a sensor's lag may differ from the profile's."""
GAIN_DOUBT = 0.25
"""By how much the next tissue may answer more, or less."""


@dataclass(frozen=True)
class StepModel:
    """Two first-order terms behind a lag: the reading's rise by power. `lag_s` has the sensor's own lag in it."""

    lag_s: float
    fast_C_per_W: float
    fast_s: float
    slow_C_per_W: float
    slow_s: float

    @property
    def steepest_C_per_Ws(self) -> float:
        """Slope of the rise after a step, once the lag is over, °C/s per watt."""
        return self.fast_C_per_W / self.fast_s + self.slow_C_per_W / self.slow_s

    def scaled(self, gain: float, lag_s: float) -> "StepModel":
        """The same with other answers and another lag."""
        changed = {"fast_C_per_W": self.fast_C_per_W * gain, "slow_C_per_W": self.slow_C_per_W * gain}
        return replace(self, lag_s=lag_s, **changed)

    def rise_C(self, power_W: "NDArray[np.float64]", step_s: float) -> "NDArray[np.float64]":
        """The rise after each step of `step_s` with this power."""
        from scipy.signal import lfilter

        def filtered(values: "NDArray[np.float64]", tau_s: float) -> "NDArray[np.float64]":
            kept = math.exp(-step_s / tau_s)
            return np.asarray(lfilter([1.0 - kept], [1.0, -kept], values), dtype=float)

        lagged = filtered(power_W, self.lag_s)
        return self.fast_C_per_W * filtered(lagged, self.fast_s) + self.slow_C_per_W * filtered(lagged, self.slow_s)


@dataclass(frozen=True)
class Fit:
    """A model, and how well it tells what was measured."""

    model: StepModel
    residual_C: float
    """Root of the mean square."""
    time_s: "NDArray[np.float64]"
    measured_C: "NDArray[np.float64]"
    modelled_C: "NDArray[np.float64]"


def identify(time_s: Sequence[float], power_W: Sequence[float], reading_C: Sequence[float]) -> Fit:
    """Fit the model to a run that began at rest. Raises CheckFailed where the run tells too little."""
    from scipy.optimize import least_squares

    time = np.arange(time_s[0], time_s[-1], CONVERSION_S)
    power = np.interp(time, time_s, power_W)
    reading = np.interp(time, time_s, reading_C)
    start_C = float(np.median(reading[:5]))
    rise = reading - start_C
    if rise.max() < LEAST_RISE_C:
        raise CheckFailed(
            f"tune: the step warmed it by {rise.max():.1f} °C, which tells too little; {LEAST_RISE_C:g} °C are needed: "
            "more power_W, or longer, in the plan of the step"
        )

    def model_of(logs: "NDArray[np.float64]") -> StepModel:
        return StepModel(*[float(value) for value in np.exp(logs)])

    def residuals(logs: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return model_of(logs).rise_C(power, CONVERSION_S) - rise

    gain = rise.max() / max(power.max(), 1e-3)
    lower, upper = np.log([0.1, gain / 100, 1.0, gain / 100, 10.0]), np.log([8.0, gain * 20, 60.0, gain * 20, 600.0])
    starts = [
        (lag_s, gain * 0.4, fast_s, gain * 0.8, slow_s) for lag_s, fast_s, slow_s in ((0.8, 5, 30), (2.0, 15, 80))
    ]
    found = [least_squares(residuals, np.log(start), bounds=(lower, upper), x_scale="jac") for start in starts]
    best = min(found, key=lambda each: each.cost)
    model = model_of(best.x)
    modelled = model.rise_C(power, CONVERSION_S)
    residual_C = float(np.sqrt(np.mean((modelled - rise) ** 2)))
    if residual_C > POOR_FIT_SHARE * rise.max():
        raise CheckFailed(
            f"tune: this is no step response: the fit is off by {residual_C:.2f} °C of {rise.max():.1f} °C: "
            "the tissue was disturbed, or not at rest when it began"
        )
    return Fit(model, residual_C, time - time[0], reading, modelled + start_C)


@dataclass(frozen=True)
class Gains:
    """`[control]` of a profile."""

    kp_mW_per_C: int
    ki_mW_per_C_s: int
    feedforward_mW_s_per_C: int
    gain_C_per_W: float
    rounding_s: float

    def within_limits(self) -> "Gains":
        """The nearest that a profile may have."""
        limits = {name: device.PARAMETERS[device.INDEX[name]][2:4] for name in self.device_values()}
        kept = {name: min(max(value, limits[name][0]), limits[name][1]) for name, value in self.device_values().items()}
        return Gains(
            kept["kp_mW_per_C"],
            kept["ki_mW_per_C_s"],
            kept["feedforward_mW_s_per_C"],
            kept["gain_mC_per_W"] / 1000,
            kept["rounding_ms"] / 1000,
        )

    def device_values(self) -> dict[str, int]:
        """As the device keeps them."""
        return {
            "kp_mW_per_C": self.kp_mW_per_C,
            "ki_mW_per_C_s": self.ki_mW_per_C_s,
            "feedforward_mW_s_per_C": self.feedforward_mW_s_per_C,
            "gain_mC_per_W": round(self.gain_C_per_W * 1000),
            "rounding_ms": round(self.rounding_s * 1000),
        }


STEP_GAINS = Gains(20_000, 0, 0, 0.0, 0.0)
"""For the step itself: as much as may be asked for, so that the plan's power is there at once."""


@dataclass(frozen=True)
class Goal:
    """What the gains are for: the ramp and the hold that are predicted, and the profile's lag of the sensor."""

    start_C: float
    target_C: float
    ramp_C_per_s: float
    ceiling_W: float
    sensor_lag_s: float
    hold_s: float = 40.0


@dataclass(frozen=True)
class Prediction:
    """One run on the model. Settling counts from the end that the ramp would have had without its rounding."""

    overshoot_C: float
    settling_s: float
    scale: float
    """By which the loop had scaled its gains when the ramp ended."""
    time_s: "NDArray[np.float64]"
    temperature_C: "NDArray[np.float64]"


def predict(model: StepModel, gains: Gains, goal: Goal) -> Prediction:
    """The firmware's set-point, thermometry and loop on the model. Judged before the sensor's own lag."""
    keeps = [math.exp(-CONVERSION_S / tau) for tau in (model.lag_s, model.fast_s, model.slow_s)]
    lagged = fast = slow = 0.0
    loop, ramp, thermocouple = TemperatureLoop(), SetpointRamp(), Thermocouple()
    values = gains.device_values()
    loop.configure(*[values[n] for n in ("kp_mW_per_C", "ki_mW_per_C_s", "feedforward_mW_s_per_C", "gain_mC_per_W")])
    ramp.configure(values["rounding_ms"])
    thermocouple.lag_ms = round(goal.sensor_lag_s * 1000)
    start_mC = round(goal.start_C * 1000)
    for index in range(10):  # at rest, so that its windows are full
        thermocouple.take(thermometry.FRESH, start_mC, 100, index)
    loop.begin(start_mC)
    ramp.begin(start_mC, round(goal.target_C * 1000), round(goal.ramp_C_per_s * 1000))
    ramp_s = (goal.target_C - goal.start_C) / goal.ramp_C_per_s
    steps = round((ramp_s + goal.hold_s) / CONVERSION_S)
    temperature = np.empty(steps)
    demand_mW: int = 0
    scale: float = 1.0
    ceiling_mW = round(goal.ceiling_W * 1000)
    for index in range(steps):
        before = fast + slow
        lagged = demand_mW / 1000 + (lagged - demand_mW / 1000) * keeps[0]
        fast = model.fast_C_per_W * lagged + (fast - model.fast_C_per_W * lagged) * keeps[1]
        slow = model.slow_C_per_W * lagged + (slow - model.slow_C_per_W * lagged) * keeps[2]
        rise = fast + slow
        temperature[index] = goal.start_C + rise + (rise - before) / CONVERSION_S * min(goal.sensor_lag_s, model.lag_s)
        thermocouple.take(thermometry.FRESH, start_mC + round(rise * 1000), 100, index)
        ramp.advance(CONVERSION_TICKS)
        set_mC, rate = cast("int", ramp.value_mC), cast("int", ramp.rate_mC_per_s)
        read_mC = cast("int", thermocouple.corrected_mC)
        demand_mW = cast("int", loop.update(set_mC, rate, read_mC, CONVERSION_TICKS, ceiling_mW, demand_mW))
        if index * CONVERSION_S <= ramp_s:
            scale = cast("int", loop.scale_16th) / 16_384
    errors = temperature - goal.target_C
    after = np.abs(errors[round(ramp_s / CONVERSION_S) :]) > SETTLED_SHARE * (goal.target_C - goal.start_C)
    outside = np.flatnonzero(after)
    settling_s = (int(outside[-1]) + 1) * CONVERSION_S if len(outside) else 0.0
    return Prediction(
        max(0.0, float(errors.max())), settling_s, scale, CONVERSION_S * np.arange(steps, dtype=np.float64), temperature
    )


def dead_time_s(model: StepModel, goal: Goal) -> float:
    """What stays of the lag when the sensor's share of it is taken out, and how late and doubtful the correction is."""
    return max(model.lag_s - goal.sensor_lag_s, 0.0) + LAG_DOUBT * goal.sensor_lag_s + WINDOW_S


def simc(model: StepModel, goal: Goal, tau_c: float = 1.0) -> Gains:
    """Skogestad's SIMC rules for an integrating process with dead time θ, whose slope the steepest answer is.

    `tau_c` is the wanted time constant in θ: 1 is his tight setting. The feed-forward is what the slope asks for.
    """
    theta_s = dead_time_s(model, goal)
    kp_W = 1.0 / (model.steepest_C_per_Ws * theta_s * (1.0 + tau_c))
    ki_W = kp_W / (4.0 * theta_s * (1.0 + tau_c))
    feedforward_W = 1.0 / model.steepest_C_per_Ws
    numbers = [round(value * 1000) for value in (kp_W, ki_W, feedforward_W)]
    return Gains(numbers[0], numbers[1], numbers[2], 0.0, round(theta_s * (1.0 + tau_c) / 2, 2)).within_limits()


def _doubted(model: StepModel, goal: Goal) -> Iterator[StepModel]:
    """The model, and what the next tissue and sensor may be."""
    doubt_s = LAG_DOUBT * min(goal.sensor_lag_s, model.lag_s)
    yield model
    for gain, lag_s in ((1 - GAIN_DOUBT, doubt_s), (1 + GAIN_DOUBT, -doubt_s), (1 + GAIN_DOUBT, doubt_s)):
        yield model.scaled(gain, max(model.lag_s + lag_s, 0.05))


def no_overshoot(model: StepModel, goal: Goal, tell: Callable[[float], None] = lambda _share: None) -> Gains:
    """The gains with which nothing that is in doubt overshoots, and that settle soonest: searched for, from SIMC on.

    kp stays below half as much again as SIMC's, for the noise's sake.
    """
    from scipy.optimize import minimize

    start = simc(model, goal)
    step_C = goal.target_C - goal.start_C
    theta_s = dead_time_s(model, goal)
    scaled = replace(start, gain_C_per_W=_expected_gain(model, start, goal))
    budget = 160
    tried = 0

    def gains_of(logs: "NDArray[np.float64]") -> Gains:
        factors = np.exp(logs)
        return replace(
            scaled,
            kp_mW_per_C=round(start.kp_mW_per_C * min(float(factors[0]), 1.5)),
            ki_mW_per_C_s=round(start.ki_mW_per_C_s * float(factors[1])),
            feedforward_mW_s_per_C=round(start.feedforward_mW_s_per_C * float(factors[2])),
            rounding_s=round(start.rounding_s * float(factors[3]), 2),
        ).within_limits()

    def cost(logs: "NDArray[np.float64]") -> float:
        nonlocal tried
        tried += 1
        tell(min(tried / budget, 1.0))
        gains = gains_of(logs)
        found = [predict(each, gains, goal) for each in _doubted(model, goal)]
        overshoot = max(each.overshoot_C for each in found) / (0.005 * step_C)
        settling = max(each.settling_s for each in found) / (2.0 * theta_s)
        missed = max(_missed(each, goal) for each in found) / (0.01 * step_C)
        return overshoot + settling + missed + 0.05 * float(np.abs(logs).sum())

    begin = np.log([1.0, 2.0, 1.0, 1.0])
    simplex = np.vstack([begin, begin + np.diag([0.3, 0.5, 0.25, 0.4])])
    found = minimize(
        cost,
        begin,
        method="Nelder-Mead",
        options={"maxfev": budget, "initial_simplex": simplex, "xatol": 0.02, "fatol": 0.01},
    )
    tell(1.0)
    gains = gains_of(np.asarray(found.x, dtype=float))
    return replace(gains, gain_C_per_W=_expected_gain(model, gains, goal)).within_limits()


def _missed(run: Prediction, goal: Goal) -> float:
    """The mean distance from the target after the ramp, °C."""
    after = round((goal.target_C - goal.start_C) / goal.ramp_C_per_s / CONVERSION_S)
    return float(np.mean(np.abs(run.temperature_C[after:] - goal.target_C)))


def _expected_gain(model: StepModel, gains: Gains, goal: Goal) -> float:
    """The rise per watt that the loop measures in this tissue when its ramp ends: with it, the scale is 1 there."""
    guess_C_per_W = 0.25 * (model.fast_C_per_W + model.slow_C_per_W)
    for _ in range(3):
        guess_C_per_W = round(guess_C_per_W / predict(model, replace(gains, gain_C_per_W=guess_C_per_W), goal).scale, 2)
    return min(max(guess_C_per_W, 0.1), 16.0)


Rule = Callable[[StepModel, Goal, Callable[[float], None]], Gains]
RULES: dict[str, tuple[str, Rule]] = {
    "no-overshoot": ("searched on the model: nothing in doubt overshoots", no_overshoot),
    "simc": ("Skogestad's SIMC, tight: τc = θ", lambda model, goal, _tell: simc(model, goal)),
    "simc-smooth": ("Skogestad's SIMC, smooth: τc = 3 θ", lambda model, goal, _tell: simc(model, goal, 3.0)),
}
"""By name: what it is, and how it makes gains."""


_KEYS = ("kp_mW_per_C", "ki_mW_per_C_s", "feedforward_mW_s_per_C", "gain_C_per_W", "rounding_s")


def with_gains(profile_text: str, gains: Gains) -> str:
    """The profile's text with these gains in `[control]`; comments and all else stay."""
    head, table, rest = _control_table(profile_text)
    for key in _KEYS:
        value = getattr(gains, key)
        line, count = re.subn(rf"(?m)^(\s*{key}\s*=\s*)[^\s#]+", rf"\g<1>{value}", table)
        table = line if count else table.rstrip("\n") + f"\n{key} = {value}\n" + "\n" * (table.endswith("\n\n"))
    return head + table + rest


def _control_table(text: str) -> tuple[str, str, str]:
    """What is before `[control]`, the table, and what is after it."""
    found = re.search(r"(?m)^\[control\][^\n]*\n(?:(?!\s*\[)[^\n]*\n?)*", text)
    if found is None:
        raise CheckFailed("tune: the profile has no [control] table on lines of its own")
    return text[: found.start()], found.group(), text[found.end() :]
