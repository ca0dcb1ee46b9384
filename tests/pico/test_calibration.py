"""The calibration in the flash of the emulated chip: written by the firmware, and there after a soft reset."""

import pytest

from rfprobe.calibration_kept import kept
from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.pico_runtime import PicoRuntime
from rfprobe.sim.plant import Plant
from rfprobe.sim.tissue import load_tissue
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


def test_a_calibration_survives_a_soft_reset() -> None:
    try:
        image = build_image(collect_inputs("rpi_pico"), default_cache()).path
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    device = LockStep(Plant(load_tissue("phantom"), PROBE, 1), PicoRuntime(image))
    found = stored(bench_of(device), CHANGES)
    assert (found.copies, found.sensors[0].state) == (("in use", "whole"), "valid")
    device.exchange(b"\x03")
    until_said(device, b">>> ")  # the firmware has ended
    until_said(device, b"soft reboot", b"\x04")
    again = bench_of(device).configured({**resting_values(PROBE), "today_day": TODAY})
    assert {name: again.values[name] for name in CHANGES} == CHANGES
    assert kept(again.values).sensors[0].state == "valid"
    assert not device.plant.enable_edges
