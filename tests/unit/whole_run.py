"""A short ablation in closed loop, for tests that want every part at work: plant, host and any device."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from rfprobe.client import RunClient
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, device_values, read_probe
from rfprobe.sim.onboard import exchange
from rfprobe.sim.plant import Plant
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol

ROOT = Path(__file__).resolve().parents[2]
MOST_TICKS = 6_000
TAIL_TICKS = 20


@cache
def vertebra_probe() -> ProbeFile:
    return read_probe(ROOT / "probes" / "bone-10mm.toml")


def short_values(**changes: int) -> dict[str, int]:
    """The vertebra plan with a steep ramp to 50 °C and a hold of one second."""
    values = device_values(read_plan(ROOT / "plans" / "vertebra-70C.toml"), vertebra_probe())
    return values | {"target_mC": 50_000, "ramp_mC_per_s": 5_000, "hold_ms": 1_000, "cooldown_ms": 500} | changes


def closed_loop(device: Callable[[bytes], bytes | bytearray], start_us: int = 0, **changes: int) -> RunClient:
    """Run the short plan on `device` (a stimulus in, a response out) to its verdict; the client has it."""
    plant = Plant(load_tissue("vertebra"), vertebra_probe(), seed=1, start_us=start_us)
    client = RunClient(short_values(**changes), protocol.protocol_digest())
    head, size = exchange.RESPONSE_HEAD, exchange.RX_MAX
    tail = TAIL_TICKS
    waiting = b""
    while tail and plant.tick < MOST_TICKS:
        waiting += client.poll(plant.t_s)
        response = device(plant.stimulus(waiting[:size]))
        waiting = waiting[size:]
        plant.take(response[0], int.from_bytes(response[2:4], "little"))
        count = int.from_bytes(response[4:6], "little")
        found = client.feed(bytes(response[head : head + count]), plant.t_s)
        assert all(isinstance(item, Frame) for item in found), found
        tail -= client.over
    return client
