"""What the firmware's pins saw and what it decided, tick by tick: recorded in a simulation, fed to today's core.

One record a tick: the stimulus (`sim/onboard/exchange.py`: time, ADC counts, inputs, host bytes), the SPI frames
(u16 count, then select, length, bytes sent, bytes answered), and the response (enable, duty, bytes to the host).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from rfprobe.errors import BadInput
from rfprobe.session import Session
from rfprobe.session_format import PINS_TABLE
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.onboard.device import VirtualDevice
from rfprobe.sim.onboard.exchange import RESPONSE, RESPONSE_HEAD, STIMULUS_SIZE
from rfprobe.sim.onboard.replay import RecordingBoard, ReplayBoard
from rfprobe.sim.runtimes import EXACT, Runtime
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol

CHUNK_TICKS: Final = 200
META: Final = "pins"
_COUNT = struct.Struct("<H")
_HEAD = struct.Struct(RESPONSE)


class PinRecorder:
    """A runtime whose pins are written down. The SPI words are those of the same chip models, fed the same."""

    def __init__(
        self,
        runtime: Runtime,
        nonce_seed: int,
        uid: str,
        start_us: int,
        first_tick: int,
        calibration: str = EXACT,
    ) -> None:
        self.name = runtime.name
        self.facts: dict[str, int | str] = {
            "nonce_seed": nonce_seed,
            "uid": uid,
            "start_us": start_us,
            "first_tick": first_tick,
            "calibration": calibration,
        }
        self._runtime = runtime
        self._board = RecordingBoard(nonce_seed, uid, calibration)
        self._shadow = VirtualDevice(self._board, start_us, first_tick)
        self._records: list[bytes] = []
        self._chunks = 0

    def exchange(self, stimulus: bytes) -> bytes | bytearray:
        """One tick, noted."""
        response = self._runtime.exchange(stimulus)
        frames: bytearray = self._board.frames
        frames.clear()
        self._shadow.run(stimulus)
        said = bytes(response[: RESPONSE_HEAD + _HEAD.unpack_from(response)[3]])
        self._records.append(stimulus + _COUNT.pack(len(frames)) + frames + said)
        return response

    def tell(self, writer: SessionWriter, everything: bool) -> None:
        """Hand whole chunks to the session; at the end the rest."""
        while len(self._records) >= CHUNK_TICKS or (everything and self._records):
            taken, self._records = self._records[:CHUNK_TICKS], self._records[CHUNK_TICKS:]
            writer.pins(self._chunks, len(taken), zlib.compress(b"".join(taken), 6))
            self._chunks += 1

    def close(self) -> None:
        """Power off."""
        self._runtime.close()


@dataclass(frozen=True)
class PinTick:
    """One tick as it was."""

    stimulus: bytes
    spi: bytes
    enable: int
    duty: int
    sent: bytes


def recorded_ticks(session: Session) -> Iterator[PinTick]:
    """Every tick of the record. Raises BadInput where the session has none."""
    there = session.rows("SELECT count(*) FROM sqlite_master WHERE name = ?", (PINS_TABLE,))[0][0]
    if not there or META not in session.meta:
        raise BadInput(f"{session.path}: its pins were not recorded; `rfprobe simulate --record-pins` does that")
    for (data,) in session.rows(f"SELECT data FROM {PINS_TABLE} ORDER BY chunk"):
        yield from _unpacked(zlib.decompress(data))


def _unpacked(data: bytes) -> Iterator[PinTick]:
    at = 0
    while at < len(data):
        stimulus = data[at : at + STIMULUS_SIZE]
        at += STIMULUS_SIZE
        (size,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        spi = data[at : at + size]
        at += size
        enable, _, duty, count = _HEAD.unpack_from(data, at)
        at += RESPONSE_HEAD
        yield PinTick(stimulus, spi, enable, duty, data[at : at + count])
        at += count


@dataclass(frozen=True)
class Difference:
    """The first tick in which today's core decides otherwise."""

    tick: int
    t_s: float
    text: str


@dataclass(frozen=True)
class Through:
    """What came of feeding a record to today's core."""

    ticks: int
    difference: Difference | None


def replay_through(session: Session) -> Through:
    """Feed the session's record to today's control core, tick by tick, until it decides otherwise or all is played."""
    facts: Any = session.meta.get(META)
    ticks = recorded_ticks(session)
    first = next(ticks)
    board = ReplayBoard(facts["nonce_seed"], facts["uid"], facts.get("calibration", EXACT))
    device = VirtualDevice(board, facts["start_us"], facts["first_tick"])
    number = 0
    then, now = FrameDecoder(), FrameDecoder()
    for number, tick in enumerate(_all(first, ticks), start=1):
        told = _played(device, board, tick, then, now)
        if told:
            at = facts["first_tick"] + number
            return Through(number, Difference(at, number * protocol.TICK_US / 1e6, told))
    return Through(number, None)


def _all(first: PinTick, rest: Iterator[PinTick]) -> Iterator[PinTick]:
    yield first
    yield from rest


def _played(device: VirtualDevice, board: ReplayBoard, tick: PinTick, then: FrameDecoder, now: FrameDecoder) -> str:
    """What differs in this tick; empty if nothing does."""
    board.play(tick.spi)
    try:
        response = cast(bytearray, device.run(tick.stimulus))
    except ValueError as error:
        return str(error)
    enable, _, duty, count = _HEAD.unpack_from(response)
    sent = bytes(response[RESPONSE_HEAD : RESPONSE_HEAD + count])
    differences = [
        f"{name} {today} instead of {recorded}"
        for name, today, recorded in (("enable", enable, tick.enable), ("duty", duty, tick.duty))
        if today != recorded
    ]
    if sent != tick.sent:
        differences += _frame_differences(then.feed(tick.sent), now.feed(sent))
    return ", ".join(differences)


def _frame_differences(then: list[Frame | str], now: list[Frame | str]) -> Iterator[str]:
    """HELLO may differ: it names the interpreter."""
    for old, new in zip(then, now, strict=False):
        if isinstance(old, Frame) and isinstance(new, Frame):
            yield from _fields_that_differ(old, new)
    if len(then) != len(now):
        yield f"{len(now)} frames instead of {len(then)}"


def _fields_that_differ(old: Frame, new: Frame) -> Iterator[str]:
    if old.type != new.type:
        yield f"a frame {new.name} instead of {old.name}"
    elif old.type != protocol.HELLO:
        before, after = _told(old), _told(new)
        yield from (
            f"{new.name} {name} {after[name]} instead of {before[name]}"
            for name in before
            if before[name] != after[name]
        )


def _told(frame: Frame) -> dict[str, int]:
    return {"tick": frame.tick, "sequence": frame.sequence, "state": frame.state, **frame.fields()}


def pin(session: Session, folder: Path) -> list[Path]:
    """Make a pytest of this session's record: the file and the session beside it."""
    name = "test_" + "".join(letter if letter.isalnum() else "_" for letter in session.id.lower())
    test, data = folder / f"{name}.py", folder / f"{name}.rfp"
    folder.mkdir(parents=True, exist_ok=True)
    data.write_bytes(session.path.read_bytes())
    test.write_text(_PINNED.format(plan=session.meta.get("plan_name")), encoding="utf-8")
    return [test, data]


_PINNED = '''"""The control core decides as it did when "{plan}" was recorded (`rfprobe replay --through --pin`)."""

from pathlib import Path

from rfprobe.pin_record import replay_through
from rfprobe.session import Session


def test_the_core_still_decides_as_recorded() -> None:
    with Session(Path(__file__).with_suffix(".rfp")) as session:
        assert replay_through(session).difference is None
'''
