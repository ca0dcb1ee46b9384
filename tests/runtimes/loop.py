"""A host, a plant and a device in closed loop, with everything a test may want to look at kept."""

import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rfprobe.client import FetchBox, RunClient
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, device_values, read_probe
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import Runtime
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import plan, protocol

ROOT = Path(__file__).resolve().parents[2]
NONCE_SEED = 4711
UID = "sim00000001"
TAIL_TICKS = 20


SHORT_BY_MODE: dict[str, dict[str, Any]] = {
    "temperature": {},
    "power": {
        "mode": plan.MODE_POWER,
        "power_mW": 6_000,
        "hold_ms": 20_000,
        "end_by": plan.END_BOUNDARY,
        "boundary_end_mC": 38_500,
        "telemetry_ticks": 20,
    },
    "impedance": {
        "tissue": "phantom",
        "telemetry_ticks": 20,
        "mode": plan.MODE_IMPEDANCE,
        "power_mW": 15_000,
        "target_mC": 104_000,
        "max_temperature_mC": 105_000,
        "hold_ms": 60_000,
        "rest_ms": 2_000,
        "rolloff_step_mohm": 10_000,
        "end_by": plan.END_ROLLOFFS,
        "rolloffs": 2,
        "guard_trip_mC": 45_000,
    },
    "pulsed": {
        "mode": plan.MODE_PULSED,
        "power_mW": 10_000,
        "target_mC": 41_000,
        "max_temperature_mC": 45_000,
        "hold_ms": 4_000,
    },
}
"""What makes of the short plan one of each mode, that still is short."""


@cache
def probe() -> ProbeFile:
    return read_probe(ROOT / "probes" / "bone-10mm.toml")


@cache
def probe_with_both_chips() -> ProbeFile:
    """The same with a MAX31855 for control and for the guard, and a MAX31856 between them."""
    text = (ROOT / "probes" / "bone-10mm.toml").read_text()
    for role in ("control", "guard"):
        text = text.replace(f'role = "{role}"', f'chip = "max31855"\nrole = "{role}"')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both-chips.toml"
        path.write_text(text)
        return read_probe(path)


def short_values(fitted: ProbeFile | None = None, **changes: int) -> dict[str, int]:
    """The vertebra plan with a ramp of 3 °C/s to 50 °C and a hold of two seconds."""
    values = device_values(read_plan(ROOT / "plans" / "vertebra-70C.toml"), fitted or probe())
    short = {"target_mC": 50_000, "ramp_mC_per_s": 3_000, "hold_ms": 2_000, "cooldown_ms": 500}
    return values | short | changes


def digest(values: dict[str, int]) -> int:
    return plan.digest(array("i", [values[name] for name in plan.NAMES]))


@dataclass
class Run:
    """What came of a run: the plant with its truth, the host's client, and every frame in order."""

    plant: Plant
    client: RunClient
    frames: list[Frame] = field(default_factory=list[Frame])

    def bytes_of(self, *left_out: int) -> bytes:
        """All frames as sent, but for these types."""
        return b"".join(frame.raw for frame in self.frames if frame.type not in left_out)

    def events(self, code: int) -> list[Frame]:
        return [f for f in self.frames if f.type == protocol.EVENT and f.value("code") == code]

    @property
    def rf_off_s(self) -> float:
        """When the simulated enable pin went low for the last time."""
        t_s, level = self.plant.enable_edges[-1]
        assert level == 0
        return t_s


def run(
    runtime: Runtime,
    faults: Sequence[str] = (),
    *,
    tissue: str = "vertebra",
    seed: int = 1,
    start_us: int = 0,
    most_ticks: int = 4000,
    stop_at_s: float | None = None,
    fitted: ProbeFile | None = None,
    black_box: FetchBox = FetchBox.NEVER,
    **changes: int,
) -> Run:
    """Run the short plan with `changes` on `runtime` to its verdict."""
    fitted = fitted or probe()
    schedule = [parse_fault(each, fitted.roles) for each in faults]
    plant = Plant(load_tissue(tissue), fitted, seed, schedule, start_us)
    device = LockStep(plant, runtime)
    client = RunClient(short_values(fitted, **changes), protocol.protocol_digest(), black_box=black_box)
    done = Run(plant, client)
    tail = TAIL_TICKS
    try:
        while tail and plant.tick < most_ticks:
            if stop_at_s is not None and plant.t_s >= stop_at_s:
                client.request_stop()
            for item in client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s):
                assert isinstance(item, Frame), item
                done.frames.append(item)
            tail -= client.over
    finally:
        device.close()
    return done
