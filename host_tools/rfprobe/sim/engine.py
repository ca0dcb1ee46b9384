"""`simulate`: a whole run, from power-up to the last cooling second, in virtual time, into a session."""

import gc
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from rfprobe.client import FetchBox, Phase, RunClient
from rfprobe.pin_record import META, PinRecorder
from rfprobe.plan_file import PlanFile
from rfprobe.probe_file import ProbeFile, device_values
from rfprobe.progress import Progress, ProgressView
from rfprobe.run_meta import (
    channel_ended,
    channel_meta,
    channel_understood,
    digest_of,
    ended_meta,
    firmware_digest,
    group_digests,
    told_meta,
    understood_meta,
)
from rfprobe.session import Session, open_session
from rfprobe.session_format import Json
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.bench_setup import BenchSetup
from rfprobe.sim.faults import Fault, of_channel, parse_fault, start_of_clock
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import TICK_S, Plant
from rfprobe.sim.runtimes import Runtime, default_runtime, make_runtime
from rfprobe.sim.tissue import TissuePreset, load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol

__all__ = ["default_runtime", "simulate"]

POLL_EVERY_TICKS = 5
PROGRESS_EVERY_TICKS = 25
TAIL_TICKS = 30  # after the verdict: the last frames still come
ACCEPTED_LIMIT_S = 60.0  # HELLO, claim, configure, arm: never longer than this
SECOND_SEED = 1_000_003  # added to the seed: noise of the second channel is not that of the first


@dataclass(frozen=True)
class ChannelInput:
    """What one channel of the device is in."""

    number: int
    """From 0, as on the wire."""
    probe: ProbeFile
    tissue: TissuePreset
    seed: int
    values: dict[str, int]
    faults: tuple[str, ...]


@dataclass
class SimulationInput:
    """All that decides a simulated run; the same input gives the same bytes.

    Where the plan uses the second channel, it is in `second_tissue` with `second_probe`, or as the first where they
    are not given. A fault that begins with `2/` happens to it.
    """

    plan: PlanFile
    probe: ProbeFile
    tissue: TissuePreset
    runtime: str
    seed: int
    faults: Sequence[str] = ()
    start_us: int = 0
    first_tick: int = 0
    record_pins: bool = False
    black_box: bool = False
    setup: BenchSetup = field(default_factory=BenchSetup)
    second_probe: ProbeFile | None = None
    second_tissue: TissuePreset | None = None
    values: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.setup.check_roles(self.probe.roles)
        self.values = device_values(self.plan, self.probe)

    @property
    def channels_fitted(self) -> int:
        """How many channels the virtual device has: no more than the plan needs."""
        return max(self.plan.channels)

    @cached_property
    def fitted(self) -> tuple[ChannelInput, ...]:
        """What each channel of the device is in, whether it runs or not."""
        first = ChannelInput(0, self.probe, self.tissue, self.seed, self.values, of_channel(self.faults, 1))
        if self.channels_fitted == 1:
            return (first,)
        probe = self.second_probe or self.probe
        tissue = self.second_tissue or self.tissue
        values = device_values(self.plan, probe)
        return first, ChannelInput(1, probe, tissue, self.seed + SECOND_SEED, values, of_channel(self.faults, 2))

    @property
    def running(self) -> tuple[ChannelInput, ...]:
        """Those that run."""
        return tuple(each for each in self.fitted if each.number + 1 in self.plan.channels)

    @property
    def nonce_seed(self) -> int:
        """What the board's random source gives at boot; from the seed, and never 0."""
        return int.from_bytes(sha256(b"nonce %d" % self.seed).digest()[:3], "big") & 0xFFFFF or 1


def simulation_digest() -> str:
    """Twelve hex digits over the source of the simulation: the same digest simulates the same."""
    here = Path(__file__).parent
    return digest_of(sorted(here.rglob("*.py")) + sorted(here.rglob("*.toml")))


def build(given: SimulationInput) -> LockStep:
    """The virtual probe of this input, powered and at its first tick."""
    first, *others = given.fitted
    start_us = start_of_clock(_parsed(first), given.start_us)
    plant = Plant(given.tissue, given.probe, given.seed, _parsed(first), start_us, given.setup)
    second = [Plant(each.tissue, each.probe, each.seed, _parsed(each), start_us) for each in others]
    uid = f"sim{given.seed & 0xFFFFFFFF:08x}"
    kept = given.setup.calibration
    fitted = given.channels_fitted
    runtime = make_runtime(given.runtime, given.nonce_seed, uid, start_us, given.first_tick, kept, fitted)
    if given.record_pins:
        runtime = PinRecorder(runtime, given.nonce_seed, uid, start_us, given.first_tick, kept)

    def boot(now_us: int) -> Runtime:
        return make_runtime(given.runtime, given.nonce_seed + 1, uid, now_us, 0, kept, fitted)

    return LockStep(plant, runtime, boot, *second)


def _parsed(channel: ChannelInput) -> list[Fault]:
    return [parse_fault(each, channel.probe.roles) for each in channel.faults]


def simulate(
    plan: PlanFile,
    probe: ProbeFile,
    tissue: str | TissuePreset,
    runtime: str | None = None,
    seed: int = 1,
    faults: Sequence[str] = (),
    out_dir: Path = Path("sessions"),
    progress: Callable[[Progress], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
    sample: str = "",
    start_us: int = 0,
    first_tick: int = 0,
    record_pins: bool = False,
    black_box: bool = False,
    setup: BenchSetup | None = None,
    second_probe: ProbeFile | None = None,
    second_tissue: str | TissuePreset | None = None,
) -> Session:
    """Run the plan on the virtual probe and return its session, closed and complete.

    Where the plan uses the second channel: that is in `second_tissue` with `second_probe`, else as the first.
    `black_box` fetches the device's last 10 s after any run, not only after one that ended by a fault.
    Nothing is written before all input is checked; then one `.rfp` file in `out_dir`. Raises BadInput.
    """
    preset = load_tissue(tissue) if isinstance(tissue, str) else tissue
    runtime = runtime or default_runtime()[0]
    given = SimulationInput(plan, probe, preset, runtime, seed, faults, start_us, first_tick, record_pins, black_box)
    given.second_probe = second_probe
    given.second_tissue = load_tissue(second_tissue) if isinstance(second_tissue, str) else second_tissue
    if setup is not None:
        given = replace(given, setup=setup)
    with _powered(given) as device:
        writer = SessionWriter.create(out_dir, plan.name, sample or preset.name, _meta(given))
        try:
            with _no_collections():
                _Run(given, device, writer, progress, stop_requested).go()
        finally:
            writer.close()
    return open_session(writer.path)


@contextmanager
def _powered(given: SimulationInput) -> Generator[LockStep]:
    device = build(given)
    try:
        yield device
    finally:
        device.close()


@contextmanager
def _no_collections() -> Generator[None]:
    """A run makes hundreds of thousands of rows and no cycles: looking for some costs a thirtieth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _json(table: Mapping[str, int | float | str]) -> dict[str, Json]:
    """A flat table as JSON takes it."""
    return dict(table)


def _digests(given: SimulationInput) -> dict[str, str]:
    return {
        "firmware": firmware_digest(),
        **group_digests(given.values),
        "tissue": given.tissue.digest(),
        "simulation": simulation_digest(),
    }


def _channels_meta(given: SimulationInput) -> list[dict[str, Json]]:
    """What is said of each channel that runs."""
    return [
        {
            **channel_meta(each.number, each.probe, each.values),
            "tissue": each.tissue.model_dump(),
            "faults": list(each.faults),
        }
        for each in given.running
    ]


def _meta(given: SimulationInput) -> dict[str, Json]:
    first = given.running[0]
    channels: dict[str, Json] = {"channels": [*_channels_meta(given)]} if given.channels_fitted > 1 else {}
    return {
        **told_meta(given.plan, first.probe, first.values),
        **channels,
        "kind": "simulation",
        "runtime": given.runtime,
        "seed": given.seed,
        "tissue": first.tissue.model_dump(),
        "faults": list(given.faults),
        "bench_setup": given.setup.meta(),
        "tick_zero": given.first_tick,
        "digests": _json(_digests(given)),
        "start_us": given.start_us,
        "first_tick": given.first_tick,
    }


class _Run:
    """The loop of one simulated run."""

    def __init__(
        self,
        given: SimulationInput,
        device: LockStep,
        writer: SessionWriter,
        progress: Callable[[Progress], None] | None,
        stop_requested: Callable[[], bool] | None,
    ) -> None:
        self._given = given
        self._device = device
        self._plant = device.plant
        self._writer = writer
        self._progress = progress
        self._stop_requested = stop_requested
        first_id = 1 + (given.nonce_seed & 0xFFFF)
        fetch = FetchBox.ALWAYS if given.black_box else FetchBox.AFTER_FAULT
        second = given.fitted[1].values if given.channels_fitted > 1 else None
        digest = protocol.protocol_digest()
        self._client = RunClient(given.values, digest, black_box=fetch, first_id=first_id, second=second)
        first = given.running[0]
        self._view = ProgressView(first.probe.roles, first.values, first.number)
        self._commands_told = 0
        self._edges_told = [0] * len(device.plants)
        self._stop_tick: int | None = None
        self._epoch_ns = time.time_ns()  # virtual time is told as if the run had begun now
        self._began = time.perf_counter()

    def go(self) -> None:
        client, device = self._client, self._device
        limit = round((self._given.values["max_rf_on_ms"] + self._given.values["cooldown_ms"]) / 10)
        limit += round(ACCEPTED_LIMIT_S / TICK_S)
        tail = TAIL_TICKS
        heard = False
        while tail and self._plant.tick < limit:
            now_s = self._plant.t_s
            tick = self._plant.tick
            out = client.poll(now_s) if heard or tick % POLL_EVERY_TICKS == 0 else b""
            tx = device.exchange(out)
            heard = bool(tx)
            if tx:
                self._take(client.feed(tx, now_s), now_s)
            if tick % PROGRESS_EVERY_TICKS == 0:
                self._look_around(now_s)
            if client.phase in (Phase.ENDED, Phase.FAILED):
                tail -= 1
        self._finish()

    def _take(self, items: "Sequence[Frame | str]", now_s: float) -> None:
        host_ns = self._host_ns(now_s)
        for item in items:
            if isinstance(item, Frame):
                self._writer.frame(item, host_ns)
                self._view.see(item)
            else:
                self._writer.text(host_ns, item)

    def _look_around(self, now_s: float) -> None:
        self._tell_truth()
        self._tell_commands()
        client = self._client
        asked = self._stop_requested is not None and self._stop_requested()
        if asked and self._stop_tick is None:
            self._stop_tick = self._plant.tick
        if self._plant.host.stop or asked:
            client.request_stop()
        if self._progress is not None:
            self._progress(self._view.progress(now_s))

    def _host_ns(self, now_s: float) -> int:
        return self._epoch_ns + round(now_s * 1e9)

    def _tell_truth(self, everything: bool = False) -> None:
        if isinstance(self._device.runtime, PinRecorder):
            self._device.runtime.tell(self._writer, everything)
        for channel, plant in enumerate(self._device.plants):
            self._writer.truth_rows(plant.take_rows(), channel)
            edges = plant.enable_edges
            for t_s, level in edges[self._edges_told[channel] :]:
                self._writer.enable_edge(t_s, bool(level), channel)
            self._edges_told[channel] = len(edges)

    def _tell_commands(self) -> None:
        told = self._client.commands
        for now_s, direction, text in told[self._commands_told :]:
            self._writer.command(self._host_ns(now_s), direction, text)
        self._commands_told = len(told)

    def _finish(self) -> None:
        plant, client, given = self._plant, self._client, self._given
        first = given.running[0]
        self._tell_truth(everything=True)
        if isinstance(self._device.runtime, PinRecorder):
            self._writer.set_meta(META, _json(self._device.runtime.facts))
        self._tell_commands()
        facts: dict[str, Json] = {
            "truth_final": _truth_final(self._device.plants[first.number]),
            **ended_meta(client),
            **understood_meta(client, _digests(given)),
            "stop_tick": self._stop_tick,
            "simulated_s": plant.t_s,
            "wall_s": time.perf_counter() - self._began,
        }
        if given.channels_fitted > 1:
            facts["channels"] = [
                {
                    **told,
                    **channel_understood(channel),
                    **channel_ended(channel),
                    "truth_final": _truth_final(self._device.plants[channel.number]),
                }
                for told, channel in zip(_channels_meta(given), client.channels, strict=True)
            ]
        for key, fact in facts.items():
            self._writer.set_meta(key, fact)


def _truth_final(plant: Plant) -> dict[str, Json]:
    return {
        "peak_C": _json(plant.peak_C),
        "cem43_min": {role: dose.minutes for role, dose in plant.dose.items()},
        "energy_J": plant.energy_J,
        "rf_on_s": plant.rf_on_s,
        "tissue_peak_C": plant.tissue_peak_C,
    }
