"""`simulate`: a whole run, from power-up to the last cooling second, in virtual time, into a session."""

import gc
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from rfprobe.client import FetchBox, Phase, RunClient
from rfprobe.pin_record import META, PinRecorder
from rfprobe.plan_file import PlanFile
from rfprobe.probe_file import ProbeFile, device_values
from rfprobe.progress import Progress, ProgressView
from rfprobe.run_meta import digest_of, ended_meta, firmware_digest, group_digests, told_meta, understood_meta
from rfprobe.session import Session, open_session
from rfprobe.session_format import Json
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.bench_setup import BenchSetup
from rfprobe.sim.faults import parse_fault, start_of_clock
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


@dataclass
class SimulationInput:
    """All that decides a simulated run; the same input gives the same bytes."""

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
    values: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.setup.check_roles(self.probe.roles)
        self.values = device_values(self.plan, self.probe)

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
    faults = [parse_fault(each, given.probe.roles) for each in given.faults]
    start_us = start_of_clock(faults, given.start_us)
    plant = Plant(given.tissue, given.probe, given.seed, faults, start_us, given.setup)
    uid = f"sim{given.seed & 0xFFFFFFFF:08x}"
    kept = given.setup.calibration
    runtime = make_runtime(given.runtime, given.nonce_seed, uid, start_us, given.first_tick, kept)
    if given.record_pins:
        runtime = PinRecorder(runtime, given.nonce_seed, uid, start_us, given.first_tick, kept)

    def boot(now_us: int) -> Runtime:
        return make_runtime(given.runtime, given.nonce_seed + 1, uid, now_us, 0, kept)

    return LockStep(plant, runtime, boot)


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
) -> Session:
    """Run the plan on the virtual probe and return its session, closed and complete.

    `black_box` fetches the device's last 10 s after any run, not only after one that ended by a fault.
    Nothing is written before all input is checked; then one `.rfp` file in `out_dir`. Raises BadInput.
    """
    preset = load_tissue(tissue) if isinstance(tissue, str) else tissue
    runtime = runtime or default_runtime()[0]
    given = SimulationInput(plan, probe, preset, runtime, seed, faults, start_us, first_tick, record_pins, black_box)
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


def _meta(given: SimulationInput) -> dict[str, Json]:
    return {
        **told_meta(given.plan, given.probe, given.values),
        "kind": "simulation",
        "runtime": given.runtime,
        "seed": given.seed,
        "tissue": given.tissue.model_dump(),
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
        self._client = RunClient(given.values, protocol.protocol_digest(), black_box=fetch, first_id=first_id)
        self._view = ProgressView(given.probe.roles, given.values)
        self._commands_told = 0
        self._edges_told = 0
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
        self._writer.truth_rows(self._plant.take_rows())
        edges = self._plant.enable_edges
        for t_s, level in edges[self._edges_told :]:
            self._writer.enable_edge(t_s, bool(level))
        self._edges_told = len(edges)

    def _tell_commands(self) -> None:
        told = self._client.commands
        for now_s, direction, text in told[self._commands_told :]:
            self._writer.command(self._host_ns(now_s), direction, text)
        self._commands_told = len(told)

    def _finish(self) -> None:
        plant, client = self._plant, self._client
        self._tell_truth(everything=True)
        if isinstance(self._device.runtime, PinRecorder):
            self._writer.set_meta(META, _json(self._device.runtime.facts))
        self._tell_commands()
        facts: dict[str, Json] = {
            "truth_final": {
                "peak_C": _json(plant.peak_C),
                "cem43_min": {role: dose.minutes for role, dose in plant.dose.items()},
                "energy_J": plant.energy_J,
                "rf_on_s": plant.rf_on_s,
                "tissue_peak_C": plant.tissue_peak_C,
            },
            **ended_meta(client),
            **understood_meta(client, _digests(self._given)),
            "stop_tick": self._stop_tick,
            "simulated_s": plant.t_s,
            "wall_s": time.perf_counter() - self._began,
        }
        for key, fact in facts.items():
            self._writer.set_meta(key, fact)
