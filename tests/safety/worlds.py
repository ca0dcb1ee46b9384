"""Whole runs in tissue of any kind, for the safety case: what happened by the plant's own truth."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rfprobe.client import RunClient
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, device_values, read_probe
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import make_runtime
from rfprobe.sim.tissue import TissuePreset, load_tissue
from rfprobe.wire import Frame
from rfprobe_core import plan, protocol

ROOT = Path(__file__).resolve().parents[2]
NONCE_SEED = 4711
UID = "sim00000001"
TAIL_TICKS = 20
MOST_TICKS = 60_000


def tissue(name: str, perfusion: float = 1.0, sigma: float = 1.0) -> TissuePreset:
    """A preset with its perfusion and its conductivity multiplied."""
    preset = load_tissue(name)
    layers = tuple(
        layer.model_copy(
            update={"perfusion_per_s": layer.perfusion_per_s * perfusion, "sigma_S_m": layer.sigma_S_m * sigma}
        )
        for layer in preset.layers
    )
    return preset.model_copy(update={"layers": layers})


@cache
def probe() -> ProbeFile:
    return read_probe(ROOT / "probes" / "bone-10mm.toml")


def probe_with_guard(folder: Path, place_mm: float, lag_s: float) -> ProbeFile:
    """The shipped probe with its guard elsewhere, and as slow as told."""
    text = (ROOT / "probes" / "bone-10mm.toml").read_text(encoding="utf-8")
    changed = text.replace("place_mm = 14.0\nlag_s = 0.7", f"place_mm = {place_mm}\nlag_s = {lag_s}")
    assert changed != text
    path = folder / f"guard-{place_mm:g}-{lag_s:g}.toml"
    path.write_text(changed, encoding="utf-8")
    return read_probe(path)


def values(of: ProbeFile, **changes: int) -> dict[str, int]:
    """The vertebra plan on this probe, but for `changes`."""
    return device_values(read_plan(ROOT / "plans" / "vertebra-70C.toml"), of) | changes


@dataclass
class Outcome:
    """How a run ended by the client, and what the plant knows of it."""

    result: str
    cause: str
    plant: Plant
    frames: list[Frame]

    def faults(self) -> list[str]:
        """The causes of all faults told, in order."""
        told = [f for f in self.frames if f.type == protocol.EVENT and f.value("code") == protocol.EVENT_FAULT]
        return [protocol.CAUSES[frame.value("cause")] for frame in told]


def run(
    given: dict[str, int],
    world: TissuePreset,
    faults: Sequence[str] = (),
    *,
    of: ProbeFile | None = None,
    seed: int = 1,
    runtime: str = "cpython",
    sigma_C: float | None = None,
    control_lag_s: float | None = None,
) -> Outcome:
    """Run to the verdict. `sigma_C` is the noise of every thermocouple, `control_lag_s` the true lag of the first."""
    fitted = of or probe()
    plant = Plant(world, fitted, seed, [parse_fault(each, fitted.roles) for each in faults])
    if sigma_C is not None:
        for model in plant.thermocouples:
            model.sigma_C = sigma_C
    if control_lag_s is not None:
        plant.thermocouples[0].set_lag(control_lag_s)
    device = LockStep(plant, make_runtime(runtime, NONCE_SEED, UID))
    client = RunClient(given, protocol.protocol_digest())
    frames: list[Frame] = []
    tail = TAIL_TICKS
    try:
        while tail and plant.tick < MOST_TICKS:
            found = client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s)
            frames += [item for item in found if isinstance(item, Frame)]
            tail -= client.over
    finally:
        device.close()
    return Outcome(client.result, client.cause, plant, frames)


def device_table(given: dict[str, int]) -> "array[int]":
    return array("i", [given[name] for name in plan.NAMES])
