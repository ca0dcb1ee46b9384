"""The calibration in the flash of the emulated chip: there at its first start, written by the firmware, kept by it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rfprobe.calibration_kept import kept
from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.onboard.calibrated import copies_of
from rfprobe.sim.pico_flash import file_system
from rfprobe.sim.pico_runtime import PicoRuntime
from rfprobe.sim.plant import Plant
from rfprobe.sim.tissue import load_tissue
from rfprobe_core import calibration, plan
from tests.host.test_calibrate import PROBE, TODAY, bench_of, resting_values, stored

pytestmark = [pytest.mark.pico]
CHANGES = {"tc0_offset_mC": -1_234, "tc0_gain_ppm": 985_000, "tc0_cal_day": TODAY, "tc0_cal_valid_days": 30}


def until_said(device: LockStep, words: bytes, typed: bytes = b"") -> None:
    """Let the chip run until it has printed these."""
    said = device.exchange(typed)
    for _ in range(500):
        if words in said:
            return
        said += device.exchange(b"")
    raise AssertionError(said[-300:])


@pytest.fixture(scope="module")
def image() -> Path:
    try:
        return build_image(collect_inputs("rpi_pico"), default_cache()).path
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")


def powered(image: Path, calibration: str) -> LockStep:
    return LockStep(Plant(load_tissue("phantom"), PROBE, 1), PicoRuntime(image, file_system(calibration)))


def values_at_start(image: Path, calibration: str) -> Mapping[str, int]:
    return bench_of(powered(image, calibration)).configured({**resting_values(PROBE), "today_day": TODAY}).values


@pytest.mark.long  # that it holds, test_modes.py sees each time
def test_a_simulation_begins_with_the_calibration_that_the_other_runtimes_have(image: Path) -> None:
    values = values_at_start(image, "exact")
    record, _ = copies_of("exact")
    table = plan.default_values()
    for name, value in values.items():
        table[plan.INDEX[name]] = value
    assert calibration.packed(table, 1) == record
    assert kept(values).copies == ("in use", "whole")
    assert [sensor.state for sensor in kept(values).sensors[:3]] == ["valid"] * 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "copies", "state"),
    [
        ("none", ("empty", "empty"), "none"),
        ("expired", ("in use", "whole"), "expired"),
        ("corrupt", ("corrupt", "corrupt"), "corrupt"),
        ("one_corrupt", ("corrupt", "in use"), "valid"),
    ],
)
def test_a_simulation_may_begin_without_one_that_holds(
    image: Path, kind: str, copies: tuple[str, str], state: str
) -> None:
    values = values_at_start(image, kind)
    assert kept(values).copies == copies
    assert calibration.STATE_NAMES[values["calibration_state"]] == state


def test_a_calibration_survives_a_soft_reset(image: Path) -> None:
    device = powered(image, "none")
    found = stored(bench_of(device), CHANGES)
    assert (found.copies, found.sensors[0].state) == (("in use", "whole"), "valid")
    device.exchange(b"\x03")
    until_said(device, b">>> ")  # the firmware has ended
    until_said(device, b"soft reboot", b"\x04")
    again = bench_of(device).configured({**resting_values(PROBE), "today_day": TODAY})
    assert {name: again.values[name] for name in CHANGES} == CHANGES
    assert kept(again.values).sensors[0].state == "valid"
    assert not device.plant.enable_edges
