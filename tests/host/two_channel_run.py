"""A whole run of two channels, simulated: the first in bone, the second in liver, both with the same plan."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rfprobe.client import FetchBox, RunClient
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import device_values, read_probe
from rfprobe.resources import find
from rfprobe.run_meta import ended_meta, group_digests, told_meta
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import make_runtime
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import plan, protocol

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EPOCH_NS = int(STARTED.timestamp()) * 1_000_000_000
PROBES = ("bone-10mm", "bone-20mm")
TISSUES = ("vertebra", "liver")
TAIL_TICKS = 30
MOST_TICKS = 20_000


def two_channel_run(
    path: Path,
    plan_name: str = "check-40C",
    faults: tuple[Sequence[str], Sequence[str]] = ((), ()),
    probes: tuple[str, str] = PROBES,
) -> Session:
    """Simulate it into a session file; `faults` are each channel's."""
    plan_file = read_plan(find("plans", plan_name))
    files = [read_probe(find("probes", name)) for name in probes]
    both = sum(plan.CHANNEL_BITS)
    values = [{**device_values(plan_file, each), "channels": both} for each in files]
    plants = [
        Plant(load_tissue(tissue), each, seed, [parse_fault(fault, each.roles) for fault in told])
        for seed, (tissue, each, told) in enumerate(zip(TISSUES, files, faults, strict=True), start=1)
    ]
    device = LockStep(plants[0], make_runtime("cpython", 77, "simpair", channels=2), second=plants[1])
    client = RunClient(values[0], protocol.protocol_digest(), second=values[1], black_box=FetchBox.AFTER_FAULT)
    meta: dict[str, Any] = {
        "kind": "simulation",
        "started_utc": STARTED.isoformat(),
        "runtime": "cpython",
        "seed": 1,
        "tissue": {"name": TISSUES[0]},
        "faults": list(faults[0]),
        "tick_zero": 0,
        **told_meta(plan_file, files[0], values[0]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with SessionWriter(path, meta) as writer:
        _go(device, client, plants, writer)
        for key, value in ended_meta(client).items():
            writer.set_meta(key, value)
        writer.set_meta("simulated_s", plants[0].t_s)
        told: list[Any] = []
        for channel, plant in zip(client.channels, plants, strict=True):
            number = channel.number
            own = client.values_of(channel)
            word = channel.word or (None, None)
            told.append(
                {
                    "channel": number,
                    "parameters": own,
                    "roles": list(files[number].roles),
                    "profile": files[number].text,
                    "profile_name": files[number].name,
                    "digests": group_digests(own),
                    "tissue": {"name": TISSUES[number]},
                    "faults": list(faults[number]),
                    "result": word[0],
                    "cause": word[1],
                    "truth_final": {
                        "peak_C": dict(plant.peak_C),
                        "cem43_min": {role: dose.minutes for role, dose in plant.dose.items()},
                    },
                }
            )
        writer.set_meta("channels", told)
        writer.set_meta("truth_final", told[0]["truth_final"])
        writer.set_meta("parameters", told[0]["parameters"])
    device.close()
    return Session(path)


def _go(device: LockStep, client: RunClient, plants: Sequence[Plant], writer: SessionWriter) -> None:
    tail = TAIL_TICKS
    while tail and plants[0].tick < MOST_TICKS:
        now_s = plants[0].t_s
        for item in client.feed(device.exchange(client.poll(now_s)), now_s):
            if isinstance(item, Frame):
                writer.frame(item, EPOCH_NS + round(now_s * 1e9))
        if client.over:
            tail -= 1
    for number, plant in enumerate(plants):
        writer.truth_rows(plant.take_rows(), channel=number)
        for t_s, level in plant.enable_edges:
            writer.enable_edge(t_s, bool(level), channel=number)
    for now_s, direction, text in client.commands:
        writer.command(EPOCH_NS + round(now_s * 1e9), direction, text)
