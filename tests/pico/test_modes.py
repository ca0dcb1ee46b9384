"""Each mode, shortened, by `rfprobe simulate --runtime pico`: the image that is flashed completes it as others do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rfprobe
from rfprobe.errors import EnvironmentProblem, ExitCode
from rfprobe.image import build_image, collect_inputs, default_cache

from .short_plans import SHORT_PLANS, probe_with_a_near_boundary

pytestmark = [pytest.mark.pico, pytest.mark.slow, pytest.mark.timeout(1500)]
# One for every `make test`; they differ in modes.py alone.
NAMES = [name if name == "pulsed" else pytest.param(name, marks=pytest.mark.long) for name in SHORT_PLANS]
MEDIAN_us, WORST_us, LATE_us = 1_000, 1_500, 50


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    """Built before the clock of a test runs."""
    try:
        build_image(collect_inputs("rpi_pico"), default_cache())
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")


def simulated(name: str, runtime: str, folder: Path, *more: str) -> dict[str, Any]:
    """What `rfprobe simulate … --json` prints of a completed run."""
    short = SHORT_PLANS[name]
    folder.mkdir(exist_ok=True)
    options = ["--runtime", runtime, "-o", str(folder), "--json", *more]
    options += [word for fault in short.faults for word in ("--fault", fault)]
    if name == "dose":
        options += ["--probe", str(probe_with_a_near_boundary(folder))]
    command = [sys.executable, "-m", "rfprobe.cli", "simulate", str(short.write(name, folder)), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.COMPLETED, done.stderr[-500:] + done.stdout[-500:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def worst_under_way_us(told: dict[str, Any]) -> float:
    """Of the ticks between START and the end, by the HEALTH frames told meanwhile: the last tick of a run does more."""
    health = rfprobe.open(told["log"]).health
    return float(health[health["state"].isin(("RAMP", "HOLD", "REST"))]["cost_us_max"].max())


def figures(told: dict[str, Any]) -> str:
    frames, tick = told["frames"], told["tick"]
    return (
        f"{told['result']} by {told['stop_reason']}, {frames['received']} frames, {frames['lost']} lost, "
        f"tick median {tick['cost_us_median']:.0f} µs, worst {worst_under_way_us(told):.0f} "
        f"({tick['cost_us_max']:.0f} with ARM and the end), late {tick['late_us_max']:.0f} at most, "
        f"heap {tick['heap_bytes']} B, {told['energy_J']:.2f} J in {told['rf_on_s']:.2f} s"
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_completes_on_the_chip_as_it_does_elsewhere(name: str, tmp_path: Path) -> None:
    told = simulated(name, "pico", tmp_path / "pico")
    there = simulated(name, "cpython", tmp_path / "cpython")
    print(f"\n{name}: {figures(told)}; on cpython {there['energy_J']:.2f} J in {there['rf_on_s']:.2f} s")
    assert (told["result"], told["stop_reason"]) == ("completed", SHORT_PLANS[name].cause)
    assert (there["result"], there["stop_reason"]) == ("completed", SHORT_PLANS[name].cause)
    assert told["calibration"]["state"] == "valid"
    assert told["frames"]["lost"] == told["frames"]["dropped"] == 0
    assert told["tick"]["heap_bytes"] in (0.0, None)  # bursts leave no two HEALTH frames in one state
    assert told["tick"]["cost_us_median"] <= MEDIAN_us
    assert worst_under_way_us(told) <= WORST_us
    assert told["tick"]["late_us_max"] is None or told["tick"]["late_us_max"] <= LATE_us
    # the same plan in the same tissue, met in another phase of the chips' conversions
    assert told["energy_J"] == pytest.approx(there["energy_J"], rel=0.15)
    assert told["peak_C"]["control"] == pytest.approx(there["peak_C"]["control"], abs=1.0)
    states = rfprobe.open(told["log"]).df["state"].unique()
    assert set(states) >= set(SHORT_PLANS[name].states)


@pytest.mark.long
def test_without_a_calibration_it_says_so_and_halves_the_power(tmp_path: Path) -> None:
    told = simulated("power", "pico", tmp_path / "pico", "--calibration", "none")
    there = simulated("power", "cpython", tmp_path / "cpython", "--calibration", "none")
    assert told["calibration"] == there["calibration"]
    assert told["calibration"]["state"] == "none"
    assert "limited to 7.5 W" in told["calibration"]["sentence"]
    assert told["energy_J"] == pytest.approx(there["energy_J"], rel=0.15)
