"""What a disturbance in mid-hold does, beside others: a vessel opens, or the impedance doubles in half a second.

The same tasks and controllers as in bench_control, on the first tissues of those it judges; the deviation and the
recovery are the tissue's, at the sensor's place.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from rfprobe.sim.tissue import SphereTissue
from tests.bench.bench_control import OURS, PEERS, TASKS, Make, best_gains, ours
from tests.bench.control.closed_loop import Disturbance, Quality, Task
from tests.bench.control.closed_loop import run as run_one
from tests.bench.control.worlds import JUDGED, PERFUSION_MAX_per_s, world

TISSUES = JUDGED[:40]
AT_s = {"tip": 25.0, "zone edge": 70.0}
"""After the reference ramp's end: when the slowest has settled."""


def vessel_opens(tissue: SphereTissue, share: float) -> None:
    """The largest perfusion of the judged tissues comes on top of what flows already."""
    flows_per_s = max(tissue.preset.layers[0].perfusion_per_s, PERFUSION_MAX_per_s / 50.0)
    tissue.set_perfusion_scale(1.0 + share * PERFUSION_MAX_per_s / flows_per_s)


def impedance_doubles(tissue: SphereTissue, share: float) -> None:
    tissue.set_sigma_scale(1.0 / (1.0 + share))


KINDS = (
    ("perfusion", 0.05, vessel_opens),
    ("impedance × 2 in 0.5 s", 0.5, impedance_doubles),
)


Apply = Callable[[SphereTissue, float], None]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "control-disturbances.md"


def one(task: Task, make: Make, name: str, for_s: float, apply: Apply, seed: int) -> Quality:
    given = world(seed, task.place_mm, task.electrode_radius_mm)
    return run_one(given, task, make(given), Disturbance(name, AT_s[task.name], for_s, apply))


def row(task: Task, kind: str, name: str, qualities: Sequence[Quality]) -> dict[str, object]:
    deviation = [each.disturbed_C for each in qualities]
    recovery = [each.recovery_s for each in qualities]
    return {
        "task": task.name,
        "disturbance": kind,
        "controller": name,
        "deviation °C median / worst": f"{median(deviation):.2f} / {max(deviation):.2f}",
        "back in ±2 % after s median / worst": f"{median(recovery):.1f} / {max(recovery):.1f}",
    }


def run() -> list[dict[str, object]]:
    """One row a task, disturbance and controller."""
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor() as pool:
        for task in TASKS:
            makers: dict[str, Make] = {name: partial(ours, task, changed) for name, changed in OURS[:2]}
            for name, maker, grid in PEERS:
                makers[name] = partial(maker, best_gains(pool, task, maker, grid(task.name), name), task.ceiling_W)
            for kind, for_s, apply in KINDS:
                for name, make in makers.items():
                    found = list(pool.map(partial(one, task, make, kind, for_s, apply), TISSUES, chunksize=4))
                    rows.append(row(task, kind, name, found))
    return rows
