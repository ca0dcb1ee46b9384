"""How well the temperature is held, on a sample of the bench's tissues, and that the whole firmware holds it as well.

`make bench` judges all 200 of them and the others' control too (tests/bench/bench_control.py).
"""

from functools import partial
from pathlib import Path

import pytest

from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, device_values, read_probe
from rfprobe.resources import find
from tests.bench.bench_control import BOUNDS, TASKS, TIP_CEILING_C, figures, one, ours
from tests.bench.bench_disturbance import KINDS
from tests.bench.bench_disturbance import one as disturbed
from tests.bench.control.closed_loop import Task
from tests.bench.control.worlds import JUDGED, World, world
from tests.safety.worlds import run

SAMPLE = JUDGED[10:26:2]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_bounds_are_kept_on_a_sample_of_the_judged_tissues(task: Task) -> None:
    qualities = [one(task, partial(ours, task, ()), seed) for seed in SAMPLE]
    for figure, bound in zip(figures(qualities), BOUNDS[task.name], strict=True):
        assert figure <= bound
    assert max(each.peak_C for each in qualities) <= TIP_CEILING_C


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_without_its_means_it_is_worse(task: Task) -> None:
    """The sample can tell: no feed-forward, and the tip overshoots by more."""
    whole = [one(task, partial(ours, task, ()), seed) for seed in SAMPLE]
    without = [one(task, partial(ours, task, (("feedforward_mW_s_per_C", 0),)), seed) for seed in SAMPLE]
    assert figures(without)[0] > 1.5 * figures(whole)[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_disturbance_moves_it_by_less_than_half_a_degree(task: Task, kind: tuple[str, float, object]) -> None:
    assert callable(kind[2])
    for seed in SAMPLE[:3]:
        quality = disturbed(task, partial(ours, task, ()), kind[0], kind[1], kind[2], seed)
        assert quality.disturbed_C <= 0.5
        assert quality.recovery_s <= 30.0


def probe_of(given: World, task: Task, folder: Path) -> ProbeFile:
    """The shipped probe as this world has it: where its sensor is, how much of its tip touches."""
    text = find("probes", task.probe).read_text(encoding="utf-8")
    radius_mm = f"{given.electrode_radius_mm:.4f}"
    text = text.replace(f"place_mm = {task.place_mm}", f"place_mm = {given.place_mm:.4f}", 1)
    text = text.replace(f"electrode_radius_mm = {task.electrode_radius_mm}", f"electrode_radius_mm = {radius_mm}")
    text = text.replace("lag_s = 0.7", f"lag_s = {given.lag_believed_s:.4f}", 1)
    path = folder / "world.toml"
    path.write_text(text, encoding="utf-8")
    return read_probe(path)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("seed", SAMPLE[:2])
def test_the_whole_firmware_holds_it_as_the_bench_says(task: Task, seed: int, tmp_path: Path) -> None:
    given = world(seed, task.place_mm, task.electrode_radius_mm)
    fitted = probe_of(given, task, tmp_path)
    told = one(task, partial(ours, task, ()), seed)
    values = device_values(read_plan(find("plans", task.plan)), fitted)
    values |= {"max_power_mW": round(task.ceiling_W * 1000), "guard_needed": 0, "hold_ms": 40_000, "cooldown_ms": 0}
    done = run(values, given.tissue, of=fitted, seed=seed, sigma_C=given.noise_C, control_lag_s=given.lag_s)
    assert (done.result, done.cause) == ("completed", "hold_complete")
    assert done.plant.peak_C["control"] - task.target_C == pytest.approx(told.overshoot_C, abs=0.1)
