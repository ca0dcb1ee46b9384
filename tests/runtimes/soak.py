"""A device that is never switched off: `make soak`, or `python -m tests.runtimes.soak --hours 1 --seed 3`.

Run after run in every mode, with faults and without, by chance and a seed, on one VM; every counter wraps on the way.
The device is held to an account of its own time, pin, RF-on time, energy, frames and faults. A day takes a quarter of
an hour.
"""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

import rfprobe_core
from rfprobe.client import OVER, FetchBox, RunClient
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.onboard import replay
from rfprobe.sim.plant import CLOCK_WRAP, Plant
from rfprobe.sim.runtimes import Runtime, VmRuntime
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, SHORT_BY_MODE, UID, probe, short_values

TICKS_PER_H = 360_000
WRAP = protocol.U32_MAX + 1
SEQUENCE_WRAP = 1 << 16
START_US = CLOCK_WRAP - 30_000_000
FIRST_TICK = WRAP - 700  # the tick count wraps in the first run
MOST_RUN_TICKS = 12_000
BEHIND_TICKS = 340  # while the port is away frames wait, and that is for three seconds at most
PIN_KEPT_TICKS = 512
HEAP_SLACK_BYTES = 4_096
NOTICED_WITHIN_S = 2.5  # a run may come to its own end while a fault is being made sure of
ENERGISED = (protocol.RAMP, protocol.HOLD)

FRAMES_ARE_LOST = ("usb_unplugged", "host_flood")  # each refused line of a flood is answered; what is lost is counted

# How a run without a fault ends, by its mode.
ENDS = {
    "temperature": ("hold_complete",),
    "power": ("boundary_reached", "end_point_missed"),
    "impedance": ("rolloffs_complete", "end_point_missed"),
    "pulsed": ("hold_complete",),
}


@dataclass(frozen=True)
class Trouble:
    """A fault for so long (0: to the end of the run), and the causes of which one must end the run.

    With none the run must go on to its own end. `seen_with_rf_alone`: it may pass unseen while RF rests.
    """

    fault: str = ""
    lasts_s: float = 0.0
    causes: tuple[str, ...] = ()
    seen_with_rf_alone: bool = False
    missed_ticks: int = 0


TROUBLES = (
    Trouble(),
    Trouble("open:control", causes=("thermocouple_open",)),
    Trouble("open:guard", causes=("thermocouple_open",)),
    Trouble("short_gnd:boundary", causes=("thermocouple_short",)),
    Trouble("jump:control", causes=("thermocouple_jump",)),
    Trouble("bus_zeros:control", causes=("thermocouple_bus", "thermocouple_config_lost")),
    Trouble("bus_ones:guard", causes=("thermocouple_bus", "thermocouple_config_lost")),
    Trouble("chip_reset:control", causes=("thermocouple_config_lost",)),
    Trouble("cold_junction:boundary", causes=("cold_junction_range",)),
    Trouble("stale:control", causes=("sample_stale", "energy_without_temperature", "not_heating")),
    Trouble("spikes:control", 2.0),
    Trouble("impedance_open", causes=("impedance_high",), seen_with_rf_alone=True),
    Trouble("impedance_short", causes=("impedance_low", "over_current", "over_power"), seen_with_rf_alone=True),
    Trouble("stage_off", causes=("stage_weak", "impedance_high"), seen_with_rf_alone=True),
    Trouble("enable_high", causes=("enable_stuck_high", "safe_off_unverified")),
    Trouble("enable_low", causes=("enable_stuck_low",), seen_with_rf_alone=True),
    Trouble("deadman_deaf", causes=("deadman_refused", "enable_stuck_low"), seen_with_rf_alone=True),
    Trouble("interlock", causes=("interlock_open",)),
    Trouble("interlock_bounce", 1.0),
    Trouble("host_silence", 3.0, ("lease_lost",)),
    Trouble("usb_unplugged", 3.0, ("lease_lost",)),
    Trouble("host_garbage", 0.3),
    Trouble("host_flood", 0.5),
    Trouble("host_replay", 1.0),
    Trouble("second_host", 1.0),
    Trouble("late", 0.5, ("tick_late",), seen_with_rf_alone=True),
    Trouble("missed=4", missed_ticks=4),
    Trouble("missed=30", causes=("ticks_missed",), seen_with_rf_alone=True, missed_ticks=30),
    Trouble("upset_limit", 1.0, ("memory_corrupted",)),
    Trouble("operator_stop", causes=("operator_stop",)),
)


@dataclass
class Seen:
    """What came of the day, for people and for `check`."""

    ticks: int = 0
    runs: Counter[str] = field(default_factory=Counter[str])  # by mode
    tried: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])  # by mode and fault
    stopped: Counter[str] = field(default_factory=Counter[str])  # by fault: runs it ended
    causes: Counter[str] = field(default_factory=Counter[str])
    frames: int = 0
    frames_lost: int = 0
    faults: int = 0
    missed_ticks: int = 0
    health: Frame | None = None


class Soak:
    """One device and, one after the other, the worlds it meets. Whatever it says is held against what was so."""

    def __init__(self, runtime: Runtime, seed: int, start_us: int, first_tick: int) -> None:
        self.runtime = runtime
        self.chance = random.Random(seed)
        self.start_us = start_us
        self.first_tick = first_tick
        self.seen = Seen()
        self._pins: list[int | None] = [0] * PIN_KEPT_TICKS  # after each of the last ticks; None: the CPU was away
        self._kept_tick = 0
        self._rf_on_ms = 0
        self._fault_s = 0.0
        self._deaf = False
        self._ended_by = ""
        self._least_behind = BEHIND_TICKS
        self._energy_mJ = 0
        self._last_health: Frame | None = None

    def one_run(self) -> None:
        """A run in some mode, with a fault by chance, and some idle time after it."""
        chance = self.chance
        mode = chance.choice(tuple(SHORT_BY_MODE))
        trouble = chance.choice(TROUBLES)
        plant = self._world(mode, trouble)
        client = self._host(mode)
        device = LockStep(plant, self.runtime)
        told: list[str] = []
        self._least_behind = BEHIND_TICKS
        self._ended_by = ""
        self._kept_tick = 0
        self._deaf = trouble.fault == "deadman_deaf"
        idle_ticks = chance.choice((350, 400, 500, 3_000))  # what took the port away is over then
        while idle_ticks:
            assert plant.tick < MOST_RUN_TICKS, self._where(mode, trouble, client)
            if plant.host.stop:
                client.request_stop()
            sent = device.exchange(client.poll(plant.t_s))
            self._keep_pin(plant)
            for item in client.feed(sent, plant.t_s):
                assert isinstance(item, Frame), item
                self._hear(item, plant.tick, told)
            if client.over:
                idle_ticks -= 1
                assert not (plant.enable or plant.duty), self._where(mode, trouble, client)
        self._account(mode, trouble, plant, client, told)

    def _keep_pin(self, plant: Plant) -> None:
        self._kept_tick += 1
        away = plant.tick > self._kept_tick
        while self._kept_tick < plant.tick:
            self._pins[self._kept_tick % PIN_KEPT_TICKS] = None
            self._kept_tick += 1
        self._pins[plant.tick % PIN_KEPT_TICKS] = None if away else plant.enable

    def _world(self, mode: str, trouble: Trouble) -> Plant:
        chance = self.chance
        at_s = self._fault_s = round(chance.uniform(2.5, 9.0), 2)
        lasts = f"+{trouble.lasts_s}" if trouble.lasts_s else ""
        asked = [parse_fault(f"{trouble.fault}@{at_s}{lasts}", probe().roles)] if trouble.fault else []
        tissue = SHORT_BY_MODE[mode].get("tissue") or chance.choice(("vertebra", "phantom"))
        return Plant(load_tissue(tissue), probe(), chance.randrange(1 << 20), asked, self._now_us())

    def _host(self, mode: str) -> RunClient:
        chance = self.chance
        changes = {key: value for key, value in SHORT_BY_MODE[mode].items() if key != "tissue"}
        if "hold_ms" not in changes or mode == "pulsed":
            changes["hold_ms"] = chance.randrange(6_000, 20_000)
        changes["telemetry_ticks"] = chance.choice((5, 10, 20))
        return RunClient(
            short_values(**changes),
            protocol.protocol_digest(),
            acknowledge=OVER,
            black_box=chance.choice(list(FetchBox)),
            first_id=chance.randrange(1, 1 << 28),
        )

    def _now_us(self) -> int:
        return (self.start_us + self.seen.ticks * protocol.TICK_US) % CLOCK_WRAP

    def _where(self, mode: str, trouble: Trouble, client: RunClient) -> str:
        return (
            f"run {self.seen.runs.total() + 1}, {mode}, {trouble.fault or 'no fault'}: {client.phase.value}, "
            f"{client.result}, {client.cause} {client.refusal}"
        )

    # ---- what the device says, against what was so ------------------------------------------------------------

    def _hear(self, frame: Frame, plant_tick: int, told: list[str]) -> None:
        seen = self.seen
        seen.frames += 1
        now = (self.first_tick + seen.ticks + plant_tick - 1) % WRAP  # the first tick is due 10 ms after the start
        behind = (now - frame.tick) % WRAP
        assert behind <= BEHIND_TICKS, f"tick {frame.tick} is told at {now}"
        self._least_behind = min(behind, self._least_behind)
        if frame.type == protocol.TELEMETRY:
            self._hear_telemetry(frame, plant_tick - behind)
        elif frame.type == protocol.DOSE:
            self._rf_on_ms = frame.value("rf_on_ms")
        elif frame.type == protocol.HEALTH:
            self._hear_health(frame)
        elif frame.type == protocol.EVENT and frame.value("code") == protocol.EVENT_FAULT:
            told.append(protocol.CAUSES[frame.value("cause")])
        elif frame.type == protocol.EVENT and frame.value("code") == protocol.EVENT_END:
            self._ended_by = protocol.CAUSES[frame.value("cause")]

    def _hear_telemetry(self, frame: Frame, plant_tick: int) -> None:
        """Enable and state as told are the pin as it was in that very tick; a deaf dead-man leaves it off, at most."""
        on = bool(frame.value("flags") & protocol.FLAG_ENABLE)
        pin = self._pins[plant_tick % PIN_KEPT_TICKS]
        if plant_tick > 0 and pin is not None:
            assert on == bool(pin) or (on and self._deaf), f"the enable is told as {on:d} and was {pin}"
        assert not on or frame.state in ENERGISED, protocol.STATE_NAMES[frame.state]
        self._energy_mJ = frame.value("energy_mJ")

    def _hear_health(self, frame: Frame) -> None:
        last, self._last_health = self._last_health, frame
        self.seen.health = frame
        if last is not None:
            for name in ("frames_sent", "frames_dropped", "ticks_missed", "lines_refused", "faults"):
                assert frame.value(name) >= last.value(name), f"{name} went back"

    def _account(self, mode: str, trouble: Trouble, plant: Plant, client: RunClient, told: list[str]) -> None:
        """The run is over: its verdict, its time and its energy are those of the world."""
        seen, where = self.seen, self._where(mode, trouble, client)
        stopped = client.cause in trouble.causes
        own_end = client.cause in ENDS[mode]
        may_pass = not trouble.causes or (trouble.seen_with_rf_alone and mode in ("impedance", "pulsed"))
        over_before = plant.enable_edges[-1][0] <= self._fault_s + NOTICED_WITHIN_S
        assert stopped or (own_end and (may_pass or over_before)), where
        # the run was over before its host was missed, and the host, which had waited in vain, learns of it too late
        unheard = trouble.fault == "usb_unplugged" and not told and self._ended_by in ENDS[mode]
        faulted = not own_end and not unheard and client.cause != "operator_stop"
        assert told[-1:] == [client.cause] * faulted and set(told) <= set(trouble.causes), (where, told)
        assert client.decoder.lost == 0 or trouble.fault in FRAMES_ARE_LOST, where
        assert self._least_behind == 0, (where, "the device counts other ticks than have passed")
        if client.box is not None and client.cause != "lease_lost":  # there is nobody to ask, for a while
            assert client.box.done, where
        spare_ms = 20 + 10 * trouble.missed_ticks
        assert abs(self._rf_on_ms - 1000.0 * plant.rf_on_s) <= spare_ms, (where, self._rf_on_ms, plant.rf_on_s)
        if own_end and not trouble.fault:
            assert abs(self._energy_mJ / 1000.0 - plant.energy_J) <= 0.05 * plant.energy_J + 0.5, where
        seen.ticks += plant.tick
        seen.faults += len(told)
        seen.frames_lost += client.decoder.lost
        seen.missed_ticks += trouble.missed_ticks * (plant.t_s > self._fault_s)
        seen.runs[mode] += 1
        seen.tried[mode, trouble.fault] += 1
        seen.stopped[trouble.fault] += stopped
        seen.causes[client.cause] += 1


def soak(hours: float, seed: int, runtime: Runtime, watch: Callable[[int], None] = lambda _ticks: None) -> Seen:
    """So many simulated hours on a `runtime` that `vm` has made. Raises AssertionError with the run that was wrong."""
    made = Soak(runtime, seed, START_US, FIRST_TICK)
    try:
        while made.seen.ticks < hours * TICKS_PER_H:
            made.one_run()
            watch(made.seen.ticks)
    finally:
        runtime.close()
    return made.seen


def vm(heap: Path, leak: bool = False) -> Runtime:
    """The VM, which tells the bytes in use in the file `heap`, once a minute after a collection."""
    firmware = Path(rfprobe_core.__file__).parent.parent
    onboard = Path(replay.__file__).parent
    program = Path(__file__).with_name("soak_main.py")
    arguments = [program, NONCE_SEED, UID, START_US, FIRST_TICK, heap, *(["leak"] if leak else [])]
    return VmRuntime([str(each) for each in arguments], f"{firmware}:{onboard.parent}")


def check(seen: Seen, heap_bytes: Sequence[int]) -> list[str]:
    """What is wrong with the day as a whole: counters, heap, and what was not tried."""
    health = seen.health
    if health is None:
        return ["the device has never told its health"]
    told = {name: health.value(name) for name in ("faults", "frames_dropped", "ticks_missed", "frames_sent")}
    wrong: list[str] = []
    if told["faults"] != min(seen.faults, 0xFFFF):
        wrong.append(f"{seen.faults} faults were heard, {told['faults']} are told")
    if told["frames_dropped"] != seen.frames_lost:
        wrong.append(f"{seen.frames_lost} frames were lost, {told['frames_dropped']} are told as dropped")
    if not seen.frames - 40 <= told["frames_sent"] <= seen.frames:
        wrong.append(f"{seen.frames} frames came, {told['frames_sent']} are told as sent")
    if told["ticks_missed"] != seen.missed_ticks:
        wrong.append(f"{seen.missed_ticks} ticks were missed, {told['ticks_missed']} are told")
    if max(heap_bytes) > heap_bytes[0] + HEAP_SLACK_BYTES:
        wrong.append(f"the heap has grown: {heap_bytes[0]} B after a minute, {max(heap_bytes)} B at most")
    return wrong


def untried(seen: Seen) -> list[str]:
    """The pairs of mode and fault that have not come, and the faults that have ended no run though they should."""
    pairs = [
        f"{each.fault or 'no fault'} in {mode}"
        for mode in ENDS
        for each in TROUBLES
        if not seen.tried[mode, each.fault]
    ]
    return pairs + [f"{each.fault} to end a run" for each in TROUBLES if each.causes and not seen.stopped[each.fault]]


def words(seen: Seen, heap_bytes: Sequence[int]) -> str:
    """The day, for people."""
    modes = ", ".join(f"{count} {mode}" for mode, count in sorted(seen.runs.items()))
    causes = ", ".join(f"{count} {cause}" for cause, count in seen.causes.most_common())
    clock_wraps = (START_US + seen.ticks * protocol.TICK_US) // CLOCK_WRAP
    tick_wraps = (FIRST_TICK + seen.ticks) // WRAP
    return "\n".join(
        (
            f"{seen.ticks / TICKS_PER_H:.2f} h, {seen.runs.total()} runs: {modes}",
            f"{sum(each > 0 for each in seen.tried.values())} of {len(ENDS) * len(TROUBLES)} pairs of mode and fault",
            f"ended by: {causes}",
            f"{seen.faults} faults told, {seen.missed_ticks} ticks missed, {seen.frames} frames, "
            f"{seen.frames_lost} lost to a port that was away or flooded",
            f"wraps passed: {clock_wraps} of the microsecond counter, {tick_wraps} of the tick count, "
            f"{(seen.frames + seen.frames_lost) // SEQUENCE_WRAP} of the frames' sequence number",
            f"heap in use: {heap_bytes[0]} B after a minute, {heap_bytes[-1]} B at the end, "
            f"{max(heap_bytes)} B at most",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.runtimes.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="simulated, at about 100 a real one")
    parser.add_argument("--seed", type=int, default=1, help="of the runs and their faults")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        heap = Path(folder) / "heap"
        task = progress.add_task("soak", total=asked.hours * TICKS_PER_H)
        seen = soak(asked.hours, asked.seed, vm(heap), lambda ticks: progress.update(task, completed=ticks))
        heap_bytes = [int(line) for line in heap.read_text().split()]
    print(words(seen, heap_bytes))
    missing = untried(seen)
    if missing:
        print(f"not tried, for want of time: {', '.join(missing)}")
    wrong = check(seen, heap_bytes)
    if wrong:
        raise SystemExit("; ".join(wrong))


if __name__ == "__main__":
    main()
