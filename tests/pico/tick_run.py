"""A run of the product's image on the emulated chip, with each tick's cost and lateness kept on the board."""

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rfprobe.client import RunClient
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, device_values, read_probe
from rfprobe.resources import shipped
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.pico_flash import file_system
from rfprobe.sim.pico_runtime import PicoRuntime
from rfprobe.sim.plant import Plant
from rfprobe.sim.tissue import load_tissue
from rfprobe_core import protocol
from rfprobe_core.plan import CHANNEL_BITS, CHANNELS

MEASURING = Path(__file__).parent / "tick_cost"
SET_UP_TICKS = 1_000
"""Boot, handshake and ARM are over well before."""

FOURTH = """
[[thermocouple]]
role = "boundary"
type = "T"
place_mm = 9.0
lag_s = 0.7

[rf_stage]
"""
PLAN = {"target_mC": 45_000, "ramp_mC_per_s": 1_000, "telemetry_ticks": 5}


@dataclass(frozen=True)
class TickRecord:
    """What the board kept of each tick of RAMP, HOLD and REST, in order."""

    cost_us: npt.NDArray[np.int64]
    late_us: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    missed: int
    heap_bytes: int
    """Growth of the heap in use from the second tick to the Ctrl-C behind the last."""
    telemetry_ticks: tuple[int, ...]


def measuring_image(folder: Path) -> Path:
    """The product's image with the measuring main.py, which keeps each tick's cost and lateness."""
    return image_around_the_product(MEASURING, folder)


def image_around_the_product(around: Path, folder: Path, *beside: Path) -> Path:
    """Stage the firmware in `folder`, with the main.py in `around` before its own and modules beside it; build it."""
    stage = folder / "firmware"
    shutil.copytree(shipped("firmware"), stage, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.move(stage / "main.py", stage / "product_main.py")
    for path in (around / "main.py", *beside):
        shutil.copy(path, stage / path.name)
    return build_image(collect_inputs("rpi_pico", stage), default_cache()).path


def four_thermocouples(folder: Path) -> ProbeFile:
    """The shipped bone probe with a fourth thermocouple."""
    text = (shipped("probes") / "bone-10mm.toml").read_text()
    text = text.replace("\n[rf_stage]\n", FOURTH)
    path = folder / "four.toml"
    path.write_text(text)
    return read_probe(path)


def run_ticks(
    image: Path, probe: ProbeFile, changes: Mapping[str, int], ticks: int, faults: Sequence[str] = (), channels: int = 1
) -> TickRecord:
    """Run a plan until `ticks` ticks after RF came on first, then interrupt it and read what the board kept.

    With two channels both run it, in tissue alike; a tick's cost is that of both, and its state the first's.
    """
    plan = read_plan(shipped("plans") / "vertebra-70C.toml")
    values = device_values(plan, probe) | PLAN | changes
    plant = Plant(load_tissue("vertebra"), probe, 1, [parse_fault(each, probe.roles) for each in faults])
    second = Plant(load_tissue("vertebra"), probe, 2) if channels == CHANNELS else None
    if second is not None:
        values["channels"] = sum(CHANNEL_BITS)
    runtime = PicoRuntime(image, file_system("exact", channels=channels), channels)
    device = LockStep(plant, runtime, second=second)
    client = RunClient(values, protocol.protocol_digest(), second=values)
    told: list[int] = []
    end = math.inf
    while plant.tick < end:
        if plant.rf_on_s and end == math.inf:
            end = plant.tick + ticks
        assert plant.tick < ticks + SET_UP_TICKS, (client.phase, client.refusal)
        for frame in client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s):
            if isinstance(frame, str) or frame.type != protocol.TELEMETRY:
                continue
            if frame.state >= protocol.RAMP and frame.channel == channels - 1:
                told.append(frame.tick)
        assert not client.over, (client.result, client.cause, client.refusal)
    return _read_out(runtime, tuple(told))


def _read_out(runtime: PicoRuntime, told: tuple[int, ...]) -> TickRecord:
    pico = runtime.pico
    pico.write(b"\x03")
    text = bytearray()

    def said(pattern: bytes) -> re.Match[bytes] | None:
        text.extend(pico.read())
        return re.search(pattern, bytes(text), re.DOTALL)

    assert pico.run_until(lambda: said(rb"interrupted.*>>> $") is not None, 1_000_000), bytes(text[-500:])
    text.clear()
    pico.write(b"show()\r")
    assert pico.run_until(lambda: said(rb"\nshown\r") is not None, 60_000_000, 10_000), bytes(text[-500:])
    lines = bytes(text).decode().split("\r\n")
    start = next(at for at, line in enumerate(lines) if line.startswith("kept "))
    count, missed, heap, _free = (int(word) for word in lines[start].split()[1:])
    table = np.array([line.split() for line in lines[start + 1 : start + 1 + count]], dtype=np.int64)
    return TickRecord(table[:, 0], table[:, 1], table[:, 2], missed, heap, told)
