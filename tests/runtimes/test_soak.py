"""A device that is never switched off: run after run, with faults and without, through every wrap of its counters."""

import os
import random
from pathlib import Path

import pytest

import rfprobe_core
from rfprobe.client import OVER, FetchBox, RunClient
from rfprobe.errors import EnvironmentProblem
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.onboard import replay
from rfprobe.sim.plant import CLOCK_WRAP, Plant
from rfprobe.sim.runtimes import VmRuntime, micropython_path
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, probe, short_values

HOURS = float(os.environ.get("HOURS", "24"))
SHORT_H = 0.05
WRAP = protocol.U32_MAX + 1
# (fault, causes one of which must end the run; none where it must go on)
FAULTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ()),
    ("open:control", ("thermocouple_open",)),
    ("jump:control", ("thermocouple_jump",)),
    ("short_gnd:boundary", ("thermocouple_short",)),
    ("bus_ones:guard", ("thermocouple_bus",)),
    ("chip_reset:control", ("thermocouple_config_lost",)),
    ("stale:control", ("sample_stale",)),
    ("spikes:control", ()),
    ("impedance_open", ("impedance_high",)),
    ("stage_off", ("stage_weak",)),
    ("interlock", ("interlock_open",)),
    ("host_silence", ("lease_lost",)),
    ("late", ("tick_late",)),
    ("operator_stop", ("operator_stop",)),
)


class Soak:
    """One VM and, one after the other, the worlds it meets."""

    def __init__(self, heap: Path) -> None:
        onboard = Path(replay.__file__).parent
        firmware = Path(rfprobe_core.__file__).parent.parent
        program = Path(__file__).parent / "soak_main.py"
        self.start_us = CLOCK_WRAP - 30_000_000
        arguments = [str(program), str(NONCE_SEED), UID, str(self.start_us), str(WRAP - 2_000), str(heap)]
        self.runtime = VmRuntime(arguments, f"{firmware}:{onboard.parent}")
        self.ticks = 0
        self.frames = 0
        self.faults = 0
        self.last_tick = WRAP - 2_000
        self.health: Frame | None = None

    def one_run(self, chance: random.Random) -> None:
        """A run, with a fault by chance, and some idle time after it; everything the device says is checked."""
        fault, causes = chance.choice(FAULTS)
        at_s = round(chance.uniform(4.5, 7.5), 2)
        lasts = "+0.5" if not causes or "host" in fault or fault == "late" else ""
        asked = (
            [parse_fault(f"{fault}@{at_s}{lasts if fault != 'host_silence' else '+3'}", probe().roles)] if fault else []
        )
        plant = Plant(
            load_tissue(chance.choice(("vertebra", "phantom"))),
            probe(),
            chance.randrange(1 << 20),
            asked,
            self._now_us(),
        )
        device = LockStep(plant, self.runtime)
        values = short_values(hold_ms=chance.randrange(6_000, 20_000))
        client = RunClient(
            values,
            protocol.protocol_digest(),
            acknowledge=OVER,
            black_box=chance.choice(list(FetchBox)),
            first_id=chance.randrange(1, 1 << 28),
        )
        told: list[str] = []
        tail = chance.randrange(120, 400)
        while tail:
            assert plant.tick < 12_000, (fault, client.phase, client.refusal)
            if plant.host.stop:
                client.request_stop()
            for item in client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s):
                if isinstance(item, Frame):
                    self._hear(item, told)
            tail -= client.over
        self.ticks += plant.tick
        self.faults += len(told)
        assert client.decoder.lost == 0
        if causes:
            assert client.cause in causes, (fault, client.cause, client.refusal)
        else:
            assert (client.cause, told) == ("hold_complete", []), (fault, client.refusal)
        if client.box is not None and fault != "host_silence":
            assert client.box.done

    def _now_us(self) -> int:
        return (self.start_us + self.ticks * protocol.TICK_US) % CLOCK_WRAP

    def _hear(self, frame: Frame, told: list[str]) -> None:
        """Ticks only go on; the device's own counters are what was seen."""
        self.frames += 1
        ahead = (frame.tick - self.last_tick) % WRAP
        assert ahead < 3_000 or ahead > WRAP - 50, "the tick count jumped"
        self.last_tick = frame.tick
        if frame.type == protocol.EVENT and frame.value("code") == protocol.EVENT_FAULT:
            told.append(protocol.CAUSES[frame.value("cause")])
        if frame.type == protocol.HEALTH:
            self.health = frame


def soak(hours: float, heap: Path) -> Soak:
    """So many simulated hours on one VM."""
    try:
        micropython_path()
    except EnvironmentProblem as problem:
        pytest.skip(f"needs the MicroPython VM: {problem}")
    made, chance = Soak(heap), random.Random(7)
    try:
        while made.ticks < hours * 360_000:
            made.one_run(chance)
    finally:
        made.runtime.close()
    return made


def check(made: Soak, heap: Path) -> None:
    health = made.health
    assert health is not None
    assert health.value("faults") == min(made.faults, 0xFFFF)
    assert health.value("frames_dropped") == 0
    assert made.frames - 40 <= health.value("frames_sent") <= made.frames
    used = [int(line) for line in heap.read_text().split()]
    print(
        f"{made.ticks / 360_000:.2f} h, {made.frames} frames, {made.faults} faults, "
        f"the clock wrapped {(made.start_us + made.ticks * protocol.TICK_US) // CLOCK_WRAP} times, "
        f"heap {used[0]} B after a minute, {max(used)} B at most"
    )
    assert max(used) <= used[0] + 4_096


def test_minutes_of_runs_leave_the_heap_as_it_was(tmp_path: Path) -> None:
    check(soak(SHORT_H, tmp_path / "heap"), tmp_path / "heap")


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_a_day_of_runs_leaves_the_heap_as_it_was(tmp_path: Path) -> None:
    check(soak(HOURS, tmp_path / "heap"), tmp_path / "heap")
