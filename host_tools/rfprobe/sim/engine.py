"""`simulate`: a whole run, from power-up to the last cooling second, in virtual time, into a session."""

import platform
import time
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from rfprobe.client import Phase, RunClient
from rfprobe.plan_file import PlanFile
from rfprobe.probe_file import ProbeFile, device_values
from rfprobe.progress import Progress
from rfprobe.session import Session, open_session
from rfprobe.session_format import Json
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.faults import parse_fault, start_of_clock
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import TICK_S, Plant
from rfprobe.sim.runtimes import Runtime, default_runtime, make_runtime
from rfprobe.sim.tissue import TissuePreset, load_tissue
from rfprobe.wire import Frame
from rfprobe_core import plan, protocol
from rfprobe_core.version import VERSION

__all__ = ["default_runtime", "simulate"]

POLL_EVERY_TICKS = 5
PROGRESS_EVERY_TICKS = 25
_AGE_UNKNOWN = 255
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
    values: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.values = device_values(self.plan, self.probe)

    @property
    def nonce_seed(self) -> int:
        """What the board's random source gives at boot; from the seed, and never 0."""
        return int.from_bytes(sha256(b"nonce %d" % self.seed).digest()[:3], "big") & 0xFFFFF or 1


def simulation_digest() -> str:
    """Twelve hex digits over the source of the simulation: the same digest simulates the same."""
    here = Path(__file__).parent
    return _digest_of(sorted(here.rglob("*.py")) + sorted(here.rglob("*.toml")))


def _digest_of(files: Sequence[Path]) -> str:
    """Twelve hex digits over these files' names and contents, in this order."""
    total = sha256()
    for path in files:
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:12]


def build(given: SimulationInput) -> LockStep:
    """The virtual probe of this input, powered and at its first tick."""
    faults = [parse_fault(each, given.probe.roles) for each in given.faults]
    start_us = start_of_clock(faults, given.start_us)
    plant = Plant(given.tissue, given.probe, given.seed, faults, start_us)
    uid = f"sim{given.seed & 0xFFFFFFFF:08x}"

    def boot(now_us: int) -> Runtime:
        return make_runtime(given.runtime, given.nonce_seed + 1, uid, now_us, 0)

    return LockStep(plant, make_runtime(given.runtime, given.nonce_seed, uid, start_us, given.first_tick), boot)


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
) -> Session:
    """Run the plan on the virtual probe and return its session, closed and complete.

    Nothing is written before all input is checked; then one `.rfp` file in `out_dir`. Raises BadInput.
    """
    preset = load_tissue(tissue) if isinstance(tissue, str) else tissue
    given = SimulationInput(plan, probe, preset, runtime or default_runtime()[0], seed, faults, start_us, first_tick)
    with _powered(given) as device:
        writer = SessionWriter.create(out_dir, plan.name, sample or preset.name, _meta(given))
        try:
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


def _json(table: Mapping[str, int | float | str]) -> dict[str, Json]:
    """A flat table as JSON takes it."""
    return dict(table)


def _digests(given: SimulationInput) -> dict[str, str]:
    table = array("i", [given.values[name] for name in plan.NAMES])
    return {
        "firmware": firmware_digest(),
        "protocol": protocol.protocol_digest(),
        "plan": f"{plan.digest(table, plan.PLAN):07x}",
        "profile": f"{plan.digest(table, plan.PROFILE):07x}",
        "calibration": f"{plan.digest(table, plan.CALIBRATION):07x}",
        "tissue": given.tissue.digest(),
        "simulation": simulation_digest(),
    }


def firmware_digest() -> str:
    """Twelve hex digits over the firmware's source files: core and drivers."""
    core = Path(plan.__file__).parent
    return _digest_of(sorted(core.glob("*.py")) + sorted((core.parent / "rfprobe_drivers").glob("*.py")))


def _meta(given: SimulationInput) -> dict[str, Json]:
    return {
        "kind": "simulation",
        "runtime": given.runtime,
        "seed": given.seed,
        "tissue": given.tissue.model_dump(),
        "faults": list(given.faults),
        "plan": given.plan.text,
        "plan_name": given.plan.name,
        "plan_path": given.plan.path.name,
        "profile": given.probe.text,
        "profile_name": given.probe.name,
        "roles": list(given.probe.roles),
        "parameters": _json(given.values),
        "tick_zero": given.first_tick,
        "digests": _json(_digests(given)),
        "versions": {
            "rfprobe": VERSION,
            "firmware": VERSION,
            "python": platform.python_version(),
            "micropython": None,
            "numpy": version("numpy"),
        },
        "host": {"system": platform.system(), "machine": platform.machine()},
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
        self._client = RunClient(given.values, protocol.protocol_digest(), first_id=first_id)
        self._view = ProgressView(given.probe, given.values)
        self._commands_told = 0
        self._edges_told = 0
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
        if self._plant.host.stop or (self._stop_requested is not None and self._stop_requested()):
            client.request_stop()
        if self._progress is not None:
            self._progress(self._view.progress(now_s))

    def _host_ns(self, now_s: float) -> int:
        return self._epoch_ns + round(now_s * 1e9)

    def _tell_truth(self) -> None:
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
        self._tell_truth()
        self._tell_commands()
        facts: dict[str, Json] = {
            "truth_final": {
                "peak_C": _json(plant.peak_C),
                "cem43_min": {role: dose.minutes for role, dose in plant.dose.items()},
                "energy_J": plant.energy_J,
                "rf_on_s": plant.rf_on_s,
                "tissue_peak_C": plant.tissue_peak_C,
            },
            "result": client.result,
            "cause": client.cause,
            "refusal": client.refusal,
            "simulated_s": plant.t_s,
            "wall_s": time.perf_counter() - self._began,
            "link": {
                "received": client.decoder.frames,
                "lost": client.decoder.lost,
                "bad_crc": client.decoder.bad_crc,
                "refused": client.decoder.refused,
            },
        }
        for key, fact in facts.items():
            self._writer.set_meta(key, fact)


class ProgressView:
    """What a person is shown while it runs: from the wire alone."""

    def __init__(self, probe: ProbeFile, values: dict[str, int]) -> None:
        self._places = {role: place for place, role in enumerate(probe.roles)}
        self._expected_s = _expected_s(values)
        self._last: Frame | None = None

    def see(self, frame: Frame) -> None:
        if frame.type == protocol.TELEMETRY:
            self._last = frame

    def _temperature_C(self, frame: Frame, role: str) -> float | None:
        place = self._places.get(role)
        if place is None or frame.value(f"tc{place}_age") == _AGE_UNKNOWN:
            return None
        return frame.value(f"tc{place}_mC") / 1000

    def progress(self, t_s: float) -> Progress:
        frame = self._last
        if frame is None:
            return Progress(t_s=t_s, expected_s=self._expected_s)
        setpoint = frame.value("setpoint_mC")
        impedance = frame.value("impedance_dohm")
        return Progress(
            t_s=t_s,
            state=protocol.STATE_NAMES[frame.state],
            setpoint_C=setpoint / 1000 if setpoint else None,
            control_C=self._temperature_C(frame, "control"),
            boundary_C=self._temperature_C(frame, "boundary"),
            guard_C=self._temperature_C(frame, "guard"),
            power_W=frame.value("power_mW") / 1000,
            impedance_ohm=None if impedance == 0xFFFF else impedance / 10,
            remaining_s=frame.value("remaining_ticks") * TICK_S,
            expected_s=self._expected_s,
        )


def _expected_s(values: dict[str, int]) -> float:
    ramp_s = max(0, values["target_mC"] - 37_000) / values["ramp_mC_per_s"]
    return 3.0 + ramp_s + (values["hold_ms"] + values["cooldown_ms"]) / 1000
