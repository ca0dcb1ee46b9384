"""How well a temperature is held, beside others: the same tissues, sensors, ramp and ceiling of power.

The others get the gains that a grid search on the training tissues likes best for each; ours are those of the
shipped probes. Judged on 200 other tissues, by the tissue at the sensor's place. The objective of the search is the
largest of the five figures' shares of their bounds, and a tenth of their sum. Unrest is the root mean square of the
change of power from one conversion to the next: what a loop makes of the sensor's noise.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from statistics import median

from rich.progress import Progress

from tests.bench.control.closed_loop import Quality, Task
from tests.bench.control.closed_loop import run as run_one
from tests.bench.control.controllers import Controller, Firmware, OnOff, PlainPi, SimplePid
from tests.bench.control.worlds import JUDGED, TRAINING, World, world

TASKS = (
    Task("tip", "vertebra-70C", "bone-10mm", 70.0, 1.0, 60.0, 15.0, 1.91, 1.91),
    Task("zone edge", "zone-50C", "bone-10mm-zone", 50.0, 0.3, 150.0, 15.0, 1.91, 4.0),
)
BOUNDS = {"tip": (0.33, 0.6, 2.0, 5.0, 0.1), "zone edge": (0.5, 0.5, 25.0, 45.0, 0.1)}
"""Overshoot median and worst °C, settling median and worst s, steady error worst °C."""
TIP_CEILING_C = 95.0

KP = {"tip": (1.0, 2.0, 4.0, 8.0, 16.0), "zone edge": (1.0, 2.0, 4.0, 8.0, 16.0)}
KI = {"tip": (0.05, 0.1, 0.2, 0.4), "zone edge": (0.02, 0.05, 0.1, 0.2)}
KD = {"tip": (0.0, 0.5, 1.5), "zone edge": (0.0, 3.0, 9.0)}
ON_W = (2.0, 4.0, 8.0)
BAND_C = (0.02, 0.1, 0.5)
UNSETTLED_s = 300.0

Make = Callable[[World], Controller]
KEPT = Path(__file__).resolve().parents[2] / "build" / "control_gains"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "control-quality.md"


def ours(task: Task, changed: tuple[tuple[str, int], ...], given: World) -> Controller:
    return Firmware(task.plan, task.probe, given.lag_believed_s, **dict(changed))


def _pi(gains: Sequence[float], ceiling_W: float, given: World) -> Controller:
    return PlainPi(gains[0], gains[1], ceiling_W)


def _simple_pid(gains: Sequence[float], ceiling_W: float, given: World) -> Controller:
    return SimplePid(gains[0], gains[1], gains[2], ceiling_W)


def _on_off(gains: Sequence[float], ceiling_W: float, given: World) -> Controller:
    return OnOff(min(gains[0], ceiling_W), gains[1])


PEERS = (
    ("simple-pid 2.0.1", _simple_pid, lambda name: tuple(product(KP[name], KI[name], KD[name]))),
    ("plain PI", _pi, lambda name: tuple(product(KP[name], KI[name]))),
    ("on/off, hysteresis", _on_off, lambda name: tuple(product(ON_W, BAND_C))),
)
OURS = (
    ("ours", ()),
    ("ours, no feed-forward", (("feedforward_mW_s_per_C", 0),)),
    ("ours, ramp's end not rounded", (("rounding_ms", 0),)),
    ("ours, gains not scheduled", (("gain_mC_per_W", 0),)),
)


def one(task: Task, make: Make, seed: int) -> Quality:
    given = world(seed, task.place_mm, task.electrode_radius_mm)
    return run_one(given, task, make(given))


def figures(qualities: Sequence[Quality]) -> tuple[float, float, float, float, float]:
    """In the order of BOUNDS."""
    over = [each.overshoot_C for each in qualities]
    settling = [each.settling_s for each in qualities]
    return median(over), max(over), median(settling), max(settling), max(each.steady_error_C for each in qualities)


def objective(task: Task, qualities: Sequence[Quality]) -> float:
    """How far the worst of the five figures is beyond its bound, and a little of all of them."""
    found = [min(each, UNSETTLED_s) for each in figures(qualities)]
    shares = [figure / bound for figure, bound in zip(found, BOUNDS[task.name], strict=True)]
    return max(shares) + 0.1 * sum(shares)


def best_gains(
    pool: ProcessPoolExecutor, task: Task, maker: Callable[..., Controller], grid: Sequence[Sequence[float]], told: str
) -> Sequence[float]:
    """The grid's gains with the smallest objective on the training tissues; kept while nothing of it changes."""
    sources = [Path(__file__), *sorted(Path(__file__).parent.glob("control/*.py"))]
    asked = sha256(b"".join(path.read_bytes() for path in sources) + f"{task} {told} {grid}".encode()).hexdigest()[:16]
    kept = KEPT / f"{asked}.json"
    if kept.exists():
        return tuple(json.loads(kept.read_text()))
    jobs = {
        tuple(gains): [pool.submit(one, task, partial(maker, gains, task.ceiling_W), seed) for seed in TRAINING]
        for gains in grid
    }
    with Progress(transient=True) as progress:
        tried = {
            gains: objective(task, [job.result() for job in runs])
            for gains, runs in progress.track(jobs.items(), description=f"{task.name}, {told}")
        }
    best = min(tried, key=lambda gains: tried[gains])
    KEPT.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(best))
    return best


def row(task: Task, name: str, gains: str, grid: str, qualities: Sequence[Quality]) -> dict[str, object]:
    found = figures(qualities)
    within = all(figure <= bound for figure, bound in zip(found, BOUNDS[task.name], strict=True))
    peak_C = max(each.peak_C for each in qualities)
    return {
        "task": task.name,
        "controller": name,
        "gains kp W/°C, ki W/°C/s, kd": gains,
        "grid": grid,
        "overshoot °C median / worst": f"{found[0]:.2f} / {found[1]:.2f}",
        "±2 % after s median / worst": f"{found[2]:.1f} / {found[3]:.1f}",
        "steady error °C worst": f"{found[4]:.3f}",
        "tissue's peak °C": f"{peak_C:.1f}",
        "power's unrest W median": f"{median(each.restless_W for each in qualities):.2f}",
        "within bounds": "yes" if within and peak_C <= TIP_CEILING_C else "no",
    }


def run() -> list[dict[str, object]]:
    """One row a task and controller; the bounds in a row of their own."""
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor() as pool:
        for task in TASKS:

            def judged(make: Make, task: Task = task) -> list[Quality]:
                return list(pool.map(partial(one, task, make), JUDGED, chunksize=10))

            rows.append(_bounds_row(task))
            for name, changed in OURS:
                rows.append(row(task, name, "shipped", "", judged(partial(ours, task, changed))))
            for name, maker, grid_of in PEERS:
                grid = grid_of(task.name)
                gains = best_gains(pool, task, maker, grid, name)
                told = " ".join(f"{gain:g}" for gain in gains)
                rows.append(row(task, name, told, _told(grid), judged(partial(maker, gains, task.ceiling_W))))
    return rows


def _told(grid: Sequence[Sequence[float]]) -> str:
    """The values tried of each gain: `0.5 1 2 × 0.1 0.2`."""
    return " × ".join(" ".join(f"{value:g}" for value in sorted({*values})) for values in zip(*grid, strict=True))


def _bounds_row(task: Task) -> dict[str, object]:
    over, over_worst, settling, settling_worst, steady = BOUNDS[task.name]
    return {
        "task": task.name,
        "controller": "bounds",
        "gains kp W/°C, ki W/°C/s, kd": "",
        "grid": "",
        "overshoot °C median / worst": f"{over:.2f} / {over_worst:.2f}",
        "±2 % after s median / worst": f"{settling:.1f} / {settling_worst:.1f}",
        "steady error °C worst": f"{steady:.3f}",
        "tissue's peak °C": f"{TIP_CEILING_C:.1f}",
        "power's unrest W median": "",
        "within bounds": "",
    }
