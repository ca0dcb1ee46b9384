"""One run: tissue, thermocouple and RF stage around a controller, and what came of it by the tissue's truth.

The tissue and the thermocouple are the simulator's. The stage follows in the next tick; voltage and current are
measured as they are. No limit of the table trips here: control is judged, and the tissue's peak is told.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from rfprobe.sim.sensors import TC_CODES_PER_C, ThermocoupleModel
from rfprobe.sim.tissue import SphereTissue
from rfprobe_core.power import FRACTION_FULL, PowerLoop
from tests.bench.control.controllers import CONVERSION_S, CONVERSION_TICKS, Controller, Firmware
from tests.bench.control.worlds import World

TICK_S = 0.01
STEP_TICKS = 5
ENERGY_MAX_mJ = 500_000_000
SETTLED_SHARE = 0.02  # of the step


@dataclass(frozen=True)
class Task:
    """What is asked: a ramp from the tissue's temperature to the target, and to hold it there."""

    name: str
    plan: str
    probe: str
    target_C: float
    ramp_C_per_s: float
    hold_s: float
    ceiling_W: float
    electrode_radius_mm: float
    place_mm: float


@dataclass(frozen=True)
class Quality:
    """One run, on the tissue at the sensor's place. Settling counts from the reference ramp's end."""

    overshoot_C: float
    settling_s: float
    steady_error_C: float
    peak_C: float
    restless_W: float
    """Root mean square of the change of power from one conversion to the next, in the hold."""
    disturbed_C: float = 0.0
    """The largest deviation after the disturbance, °C."""
    recovery_s: float = 0.0
    """From the disturbance until it is within 2 % of the step to stay."""


@dataclass(frozen=True)
class Disturbance:
    """Something that happens `at_s` after the reference ramp's end, over `for_s`."""

    name: str
    at_s: float
    for_s: float
    apply: Callable[[SphereTissue, float], None]
    """Called with the share, 0 to 1, that has happened."""


class _Stage:
    """The RF stage behind the firmware's power loop, in an impedance that the loop does not know."""

    def __init__(self, firmware: Firmware | None, full_scale_V: float, max_V: float) -> None:
        self.loop = firmware.power if firmware else PowerLoop()
        self._full_scale_V = full_scale_V
        self.loop.configure(round(full_scale_V * 1000), round(max_V * 1000), 1_000_000, 5_000, 20_000)
        self._voltage_V = 0.0

    def tick(self, demand_mW: int, impedance_ohm: float) -> float:
        """The power that flows in this tick, W."""
        voltage_V = self._voltage_V
        current_A = voltage_V / impedance_ohm
        self.loop.measure(round(voltage_V * 1000), round(current_A * 1e6), 1, ENERGY_MAX_mJ)
        self._voltage_V = self.loop.drive(demand_mW) / FRACTION_FULL * self._full_scale_V
        return self._voltage_V**2 / impedance_ohm


def run(world: World, task: Task, controller: Controller, disturbance: Disturbance | None = None) -> Quality:
    """The whole run; what is not reached within it is infinite."""
    tissue = SphereTissue(world.tissue, world.electrode_radius_mm, [world.place_mm], STEP_TICKS * TICK_S)
    start_C = world.tissue.start_C
    sensor = ThermocoupleModel(world.seed, start_C=start_C, tau_s=world.lag_s, sigma_C=world.noise_C)
    stage = _Stage(controller if isinstance(controller, Firmware) else None, 80.0, 75.0)
    ramp_s = (task.target_C - start_C) / task.ramp_C_per_s
    ticks = round((ramp_s + task.hold_s) / TICK_S)
    code, _, _ = sensor.update(start_C, STEP_TICKS * TICK_S)
    controller.begin(code / TC_CODES_PER_C)
    demand_mW = 0
    energy_J = 0.0
    truth: list[float] = []
    asked_mW: list[int] = []
    peak_C = start_C
    for tick in range(1, ticks + 1):
        energy_J += stage.tick(demand_mW, tissue.impedance_ohm) * TICK_S
        if tick % STEP_TICKS:
            continue
        if disturbance is not None:
            since_s = tick * TICK_S - ramp_s - disturbance.at_s
            if -TICK_S < since_s <= disturbance.for_s + STEP_TICKS * TICK_S:
                disturbance.apply(tissue, min(max(since_s / disturbance.for_s, 0.0), 1.0))
        tissue.step(energy_J / (STEP_TICKS * TICK_S))
        energy_J = 0.0
        code, _, _ = sensor.update(tissue.sensor_C[0], STEP_TICKS * TICK_S)
        truth.append(tissue.sensor_C[0])
        peak_C = max(peak_C, tissue.peak_C)
        if tick % CONVERSION_TICKS == 0:
            reference_C = min(start_C + task.ramp_C_per_s * tick * TICK_S, task.target_C)
            demand_mW = round(controller.power_W(code / TC_CODES_PER_C, reference_C) * 1000)
            asked_mW.append(demand_mW)
    restless_W = _restless_W(asked_mW[round(ramp_s / CONVERSION_S) :])
    return replace(_judge(truth, task, start_C, ramp_s, peak_C, disturbance), restless_W=restless_W)


def _restless_W(asked_mW: list[int]) -> float:
    changes = [after - before for before, after in pairwise(asked_mW)]
    return math.sqrt(sum(change**2 for change in changes) / len(changes)) / 1000


def _settled_s(errors_C: list[float], tolerance_C: float) -> float:
    """After how long the error is within the tolerance to stay."""
    outside = [index for index, error in enumerate(errors_C) if abs(error) > tolerance_C]
    if not outside:
        return 0.0
    return math.inf if outside[-1] + 1 == len(errors_C) else (outside[-1] + 1) * STEP_TICKS * TICK_S


def _judge(
    truth: list[float], task: Task, start_C: float, ramp_s: float, peak_C: float, disturbance: Disturbance | None
) -> Quality:
    tolerance_C = SETTLED_SHARE * (task.target_C - start_C)
    errors_C = [each - task.target_C for each in truth]
    at = round(ramp_s / (STEP_TICKS * TICK_S))
    end = len(errors_C)
    disturbed_C = recovery_s = 0.0
    if disturbance is not None:
        end = at + round(disturbance.at_s / (STEP_TICKS * TICK_S))
        after = errors_C[end:]
        disturbed_C = max(map(abs, after))
        recovery_s = _settled_s(after, tolerance_C)
    before = errors_C[:end]
    held = before[(at + end) // 2 :]
    return Quality(
        overshoot_C=max(0.0, *before),
        settling_s=_settled_s(before[at:], tolerance_C),
        steady_error_C=abs(sum(held) / len(held)),
        peak_C=peak_C,
        restless_W=0.0,
        disturbed_C=disturbed_C,
        recovery_s=recovery_s,
    )
