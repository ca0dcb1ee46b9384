"""A run made up for tests, in real frames: every figure of its summary is known beforehand.

Power-up at 0 s, armed at 1 s, ramp from 37 °C at 2 s and 1 °C/s, so the set-point meets 70 °C at 35 s. There
the tissue is 0.9 °C too hot for 2 s and 0.1 °C from then on, until the hold's end at 95 s; the reading is 0.5
°C lower.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rfprobe.plan_file import read_plan
from rfprobe.probe_file import device_values, read_probe
from rfprobe.resources import shipped
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import Frame, FrameDecoder, encode_frame
from rfprobe_core import protocol, safety

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EPOCH_NS = int(STARTED.timestamp()) * 1_000_000_000
RAMP_TICK = 200
RAMP_END_TICK = 3_500
HOLD_END_TICK = 9_500
OFF_LATER_S = 0.004
TOO_HOT_TICKS = 200
READS_LOW_C = 0.5
TARGET_C, START_C = 70.0, 37.0
COST_US = 800
HEAP_FREE = 100_000
DOSE_MS = 7_200
HELLO = {
    "fw": "0.1.0",
    "mp": "micropython 1.29.0",
    "proto": protocol.protocol_digest(),
    "schema": "1",
    "nonce": "7",
}

ENDS = {
    "completed": (protocol.RESULT_COMPLETED, "hold_complete", HOLD_END_TICK),
    "limited": (protocol.RESULT_LIMITED, "energy_ceiling", 5_000),
    "stopped": (protocol.RESULT_STOPPED, "operator_stop", 4_000),
    "fault": (protocol.RESULT_FAULT, "interlock_open", 2_000),
    "link_lost": (protocol.RESULT_LINK_LOST, "lease_lost", 2_500),
}
"""end → (result, cause, tick of it)."""
_AFTER = {
    protocol.RESULT_COMPLETED: protocol.COOLDOWN,
    protocol.RESULT_LIMITED: protocol.COOLDOWN,
    protocol.RESULT_STOPPED: protocol.STOPPED,
    protocol.RESULT_FAULT: protocol.FAULT,
    protocol.RESULT_LINK_LOST: protocol.FAULT,
}
_ROWS = {"interlock_open": "interlock_open", "lease_lost": "lease_age"}


def truth_C(tick: int) -> float:
    """The tissue at the control thermocouple's place."""
    if tick < RAMP_TICK:
        return START_C
    if tick < RAMP_END_TICK:
        return START_C + (tick - RAMP_TICK) / 100
    if tick < RAMP_END_TICK + TOO_HOT_TICKS:
        return TARGET_C + 0.9
    return TARGET_C + 0.1


def alter(path: Path, statement: str, *values: object) -> None:
    """Change a recorded session behind its back; fails where nothing was changed."""
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement, values).rowcount != 0


@dataclass
class SyntheticRun:
    """What to make up. `lost` and `dropped` sequence numbers never come; the device counts the latter."""

    end: str = "completed"
    first_tick: int = 0
    first_sequence: int = 0
    lost: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    dropped_before: int = 0
    truth: bool = True
    edges: bool = True
    verdict_told: bool = True
    duplicate_guard: bool = False

    def __post_init__(self) -> None:
        plan = read_plan(shipped("plans") / "vertebra-70C.toml")
        probe = read_probe(shipped("probes") / "bone-10mm.toml")
        self.plan, self.probe = plan, probe
        self.parameters = device_values(plan, probe)
        self.result, self.cause, self.end_tick = ENDS[self.end]
        self._sequence = self.first_sequence
        self._dropped = self.dropped_before
        self._decoder = FrameDecoder()

    @property
    def last_tick(self) -> int:
        return self.end_tick + 520

    def state(self, tick: int) -> int:
        if tick < 20:
            return protocol.SELF_TEST
        if tick < 100:
            return protocol.IDLE
        if tick < RAMP_TICK:
            return protocol.ARMED
        if tick < min(RAMP_END_TICK, self.end_tick):
            return protocol.RAMP
        return protocol.HOLD if tick < self.end_tick else _AFTER[self.result]

    def energised(self, tick: int) -> bool:
        return RAMP_TICK <= tick < self.end_tick

    def frames(self) -> Iterator[tuple[Frame, int]]:
        """(frame, host time in ns) of every frame that arrives."""
        for tick in range(self.last_tick + 1):
            for kind, values in self._due(tick):
                raw = self._encode(kind, tick, values)
                if raw is None:
                    continue
                (frame,) = self._decoder.feed(raw)
                assert isinstance(frame, Frame)
                yield frame, EPOCH_NS + tick * 10_000_000

    def _encode(self, kind: int, tick: int, values: tuple[int, ...]) -> bytes | None:
        sequence = self._sequence
        self._sequence += 1
        number = sequence - self.first_sequence
        if number in self.dropped:
            self._dropped += 1
        if number in self.dropped or number in self.lost:
            return None
        wrapped = (self.first_tick + tick) & protocol.U32_MAX
        hello = HELLO if kind == protocol.HELLO else None
        return encode_frame(kind, values, hello=hello, state=self.state(tick), sequence=sequence & 0xFFFF, tick=wrapped)

    def _due(self, tick: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """What is said in this tick.

        A value that depends on what was dropped is taken as the frame is made.
        """
        if tick == 1:
            yield protocol.HELLO, ()
        if self.state(tick) != self.state(max(tick - 1, 0)):
            yield from self._events(tick)
        if tick % 5 == 0:
            yield protocol.TELEMETRY, self._telemetry(tick)
        elif tick % 50 == 1:
            yield protocol.DOSE, self._dose(tick)
        elif tick % 100 == 2:
            counts = (tick, self._dropped, 0, 0, 900, 0)
            yield protocol.HEALTH, (COST_US, COST_US + 50, 7, HEAP_FREE, *counts)

    def _events(self, tick: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        cause = protocol.CAUSE[self.cause]
        if tick == self.end_tick:
            row = safety.ROW[_ROWS[self.cause]] if self.cause in _ROWS else protocol.NO_ROW
            if self.result in (protocol.RESULT_FAULT, protocol.RESULT_LINK_LOST):
                first = (self.first_tick + tick - 1) & protocol.U32_MAX
                yield protocol.EVENT, (protocol.EVENT_FAULT, cause, row, 1, 0, first)
            if self.verdict_told:
                yield protocol.EVENT, (protocol.EVENT_END, cause, row, self.result, 0, tick)
        states = (self.state(tick), self.state(tick - 1))
        yield protocol.EVENT, (protocol.EVENT_STATE, 0, protocol.NO_ROW, *states, tick)

    def _telemetry(self, tick: int) -> tuple[int, ...]:
        on = self.energised(tick)
        over = tick >= self.end_tick and self.verdict_told
        setpoint_C = TARGET_C if tick >= RAMP_END_TICK else truth_C(tick)
        setpoint = round(1000 * setpoint_C) if on else 0
        reading = round(1000 * (truth_C(tick) - READS_LOW_C))
        flags = protocol.FLAG_ENABLE if on else 0
        power = 4_000 if on else 0
        return (
            flags,
            protocol.CAUSE[self.cause] if over else 0,
            self.result if over else 0,
            *(reading, 40_000, 37_500, 0),
            *(3, 5, 7, 255),
            setpoint,
            *(power, power, power // 2, power // 2),
            1_234 if on else 65_535,
            30_000 if on else 0,
            max(0, min(tick, self.end_tick) - RAMP_TICK) * 40,
            max(0, self.end_tick - tick),
        )

    def _dose(self, tick: int) -> tuple[int, ...]:
        on_ms = max(0, min(tick, self.end_tick) - RAMP_TICK) * 10
        return (DOSE_MS, 600, 60, 0, 70_400, 40_000, 37_500, 0, on_ms)

    def truth_rows(self) -> list[tuple[float | None, ...]]:
        """The tissue every 50 ms, as SessionWriter takes it."""
        rows: list[tuple[float | None, ...]] = []
        for tick in range(0, self.last_tick, 5):
            on = self.energised(tick)
            temperatures = (truth_C(tick), 40.0, 37.5, truth_C(tick) + 0.2)
            rows.append((tick / 100, *temperatures, float(on), 30_000.0 if on else 0.0, 4.0 * on, 20.0, 0.2, 123.4))
        return rows

    def meta(self) -> dict[str, Any]:
        parameters = dict(self.parameters)
        if self.duplicate_guard:
            parameters.update(thermocouples=4, tc3_role=3)
        return {
            "kind": "simulation" if self.truth else "board",
            "plan": self.plan.text,
            "plan_name": self.plan.name,
            "profile": self.probe.text,
            "profile_name": self.probe.name,
            "parameters": parameters,
            "roles": list(self.probe.roles),
            "runtime": "cpython",
            "seed": 7,
            "tick_zero": self.first_tick,
            "simulated_s": self.last_tick / 100,
            "wall_s": 1.5,
        }

    def write(self, writer: SessionWriter) -> None:
        """Hand everything to a session."""
        for frame, host_ns in self.frames():
            writer.frame(frame, host_ns)
        writer.command(EPOCH_NS + 1_000_000_000, "tx", "5 ARM 1 7*ABCD")
        writer.text(EPOCH_NS + 3_000_000_000, "Traceback: <b>none</b>\n")
        writer.note(EPOCH_NS + 4_000_000_000, "sample moved")
        if self.truth:
            writer.truth_rows(self.truth_rows())
            if self.edges:
                writer.enable_edge(RAMP_TICK / 100, True)
                writer.enable_edge(self.end_tick / 100 + OFF_LATER_S, False)

    def record(self, directory: Path) -> Path:
        """A closed session file in `directory`."""
        meta = self.meta()
        with SessionWriter.create(directory, self.plan.name, "sample", meta, STARTED) as writer:
            self.write(writer)
        return writer.path

    def session(self, directory: Path) -> Session:
        return Session(self.record(directory))
