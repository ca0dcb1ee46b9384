"""Checking a session against itself: is it whole, and is what it says still what came over the wire?"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from rfprobe.errors import EnvironmentProblem
from rfprobe.session import Session, ticks_between, wal_of
from rfprobe.session_format import BOX_TABLE, DECODED_TABLES, LATE_TABLES, TABLES, decoded_columns
from rfprobe.session_writer import box_rows
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol

_WAL_FORMAT = 2  # bytes 18 and 19 of an SQLite file whose last writes may be in its -wal
_TOLD_AT_MOST = 5
_HALF_SEQUENCE = 1 << 15


@dataclass
class Verification:
    """What was found. `problems` make it fail; `notes` are worth knowing."""

    path: Path
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    frames: int = 0
    dropped: int = 0
    lost: int = 0

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Gaps:
    """Sequence numbers that never came, beside what the device says it dropped itself."""

    missing: int
    dropped: int
    restarts: int

    @property
    def lost(self) -> int:
        """Frames that the device sent and the host did not get."""
        return max(0, self.missing - self.dropped)


def verify_session(session: Session) -> Verification:
    """Every check, in order; a file too damaged for one of them is a problem, not an exception."""
    found = Verification(session.path)
    for check in (_check_structure, _check_whole, _check_frames, _check_box, _check_gaps):
        try:
            check(session, found)
        except EnvironmentProblem as error:
            found.problems.extend(_unreadable(session.path, error))
            break
    return found


def _unreadable(path: Path, error: Exception) -> list[str]:
    """Why it cannot be read; without its -wal, a file whose checkpoint was under way is not even a database."""
    told = [str(error).removeprefix(f"{path}: ")]
    return [*told, _missing_wal(path)] if path.is_file() and lacks_wal(path) else told


def _missing_wal(path: Path) -> str:
    return (
        f"{wal_of(path).name} is missing: the session was not closed by its writer and was copied or moved "
        "without it, so its last rows are gone"
    )


def lacks_wal(path: Path) -> bool:
    """Whether the last writes of an SQLite file would be in a -wal that is not there, or empty."""
    wal = wal_of(path)
    return is_wal_format(path) and not (wal.exists() and wal.stat().st_size)


def _check_structure(session: Session, found: Verification) -> None:
    report = [str(row[0]) for row in session.rows("PRAGMA integrity_check")]
    if report != ["ok"]:
        found.problems.append(f"the database is damaged: {'; '.join(report[:_TOLD_AT_MOST])}")
    late = {table: columns for table, (columns, _) in LATE_TABLES.items()}
    for table, columns in {"meta": ("key", "value"), **TABLES, **late}.items():
        there = tuple(str(row[1]) for row in session.rows(f"PRAGMA table_info({table})"))
        if there != columns and (there or table not in LATE_TABLES):
            found.problems.append(f"table {table} has the columns {there}, not {columns}")


def _check_whole(session: Session, found: Verification) -> None:
    """A session that its writer did not close is fine while its -wal, with something in it, is beside it."""
    if session.closed:
        return
    if lacks_wal(session.path):
        found.problems.append(_missing_wal(session.path))
        return
    found.notes.append("not closed by its writer: still under way, or cut off; what is here was committed")


def _check_frames(session: Session, found: Verification) -> None:
    """Every frame's CRC again, its header against its row, and every decoded row against its frame."""
    seen: set[int] = set()
    wrong: list[str] = []
    decoded = {kind: _decoded_rows(session, kind) for kind in DECODED_TABLES}
    hellos = {row[0]: row[1:] for row in session.rows("SELECT frame, tick, channel, state, fields FROM hellos")}
    for row in session.rows(f"SELECT {', '.join(TABLES['frames'])} FROM frames ORDER BY id"):
        ident, _, channel, kind, state, sequence, tick, raw = row
        found.frames += 1
        frame = decode_frame(raw)
        if frame is None:
            wrong.append(f"frame {ident}: its CRC or its form is wrong")
            continue
        seen.add(ident)
        head = (frame.channel, frame.type, frame.state, frame.sequence, frame.tick)
        if head != (channel, kind, state, sequence, tick):
            wrong.append(f"frame {ident}: its row does not say what its bytes say")
        expected = (frame.tick, frame.channel, frame.state, *frame.values)
        if frame.type == protocol.HELLO:
            wrong.extend(_hello_complaint(ident, frame, hellos.pop(ident, None)))
        elif frame.type == protocol.BLACKBOX:
            continue  # see `_check_box`
        elif decoded[frame.type].pop(ident, None) != expected:
            wrong.append(f"frame {ident}: its decoded {frame.name} is not what its bytes say")
    for kind, left in decoded.items():
        wrong.extend(f"{DECODED_TABLES[kind]}: a row for frame {ident}, which is not there" for ident in left)
    wrong.extend(f"hellos: a row for frame {ident}, which is not there" for ident in hellos)
    if found.frames == 0:
        found.problems.append("there is not one frame in it")
    found.problems.extend(_some(wrong))


def _check_box(session: Session, found: Verification) -> None:
    """Every record against its frame, and whether the black box is whole."""
    there = session.box_rows()
    expected: list[tuple[int, ...]] = []
    for ident, raw in session.rows("SELECT id, raw FROM frames WHERE type = ? ORDER BY id", (protocol.BLACKBOX,)):
        frame = decode_frame(raw)
        if frame is not None:
            expected.extend(box_rows(ident, frame))
    if there != expected:
        differing = sum(mine != other for mine, other in zip_longest(there, expected))
        found.problems.append(f"{BOX_TABLE}: {differing} rows are not what the bytes of their frames say")
    told = session.meta.get("black_box")
    if isinstance(told, dict) and told.get("records") != told.get("received"):
        found.notes.append(f"the black box is not whole: {told.get('received')} records of {told.get('records')} came")


def _decoded_rows(session: Session, kind: int) -> dict[int, tuple[int, ...]]:
    told = ", ".join(f'"{name}"' for name in decoded_columns(kind))
    return {row[0]: row[1:] for row in session.rows(f"SELECT {told} FROM {DECODED_TABLES[kind]}")}


def _hello_complaint(ident: int, frame: Frame, row: tuple[object, ...] | None) -> Iterator[str]:
    if row is None or row[:3] != (frame.tick, frame.channel, frame.state) or json.loads(str(row[3])) != frame.hello:
        yield f"frame {ident}: its decoded hello is not what its bytes say"


def decode_frame(raw: bytes) -> Frame | None:
    """The one whole frame that these bytes are, or None."""
    found = FrameDecoder().feed(raw)
    whole = len(found) == 1 and isinstance(found[0], Frame) and found[0].raw == raw
    return found[0] if whole and isinstance(found[0], Frame) else None


def _some(complaints: list[str]) -> list[str]:
    more = len(complaints) - _TOLD_AT_MOST
    return complaints[:_TOLD_AT_MOST] + ([f"and {more} more of this kind"] if more > 0 else [])


def _check_gaps(session: Session, found: Verification) -> None:
    gaps = count_gaps(session)
    found.dropped = gaps.dropped
    found.lost = gaps.lost
    if gaps.lost:
        found.problems.append(
            f"{gaps.lost} frames are lost: {gaps.missing} sequence numbers are missing, "
            f"and the device dropped {gaps.dropped}"
        )
    if gaps.restarts:
        found.notes.append(f"the device was restarted {gaps.restarts} times while this was recorded")


def count_gaps(session: Session) -> Gaps:
    """Sequence numbers missing over the session, and how many of them the device's own counter explains."""
    rows = session.rows("SELECT type, sequence, tick, id FROM frames ORDER BY id")
    dropped = dict(session.rows("SELECT frame, frames_dropped FROM health"))
    missing = explained = 0
    boots = list(_boots(rows))
    for boot in boots:
        counts = [(place, dropped[ident]) for place, ident in boot if ident in dropped]
        places = sorted({place for place, _ in boot})
        gaps = places[-1] - places[0] + 1 - len(places)
        missing += gaps
        if counts:
            explained += min(gaps, _dropped_since(places, counts))
    return Gaps(missing, explained, max(0, len(boots) - 1))


def _dropped_since(places: list[int], counts: list[tuple[int, int]]) -> int:
    """Frames that the device dropped since the first one here.

    The counter runs from boot. What is missing before the first HEALTH frame was dropped if the counter had
    got that far by then; whatever else it counted was dropped before this session.
    """
    first_place, first_count = min(counts)
    _, last_count = max(counts)
    before = [place for place in places if place <= first_place]
    missing_before = first_place - before[0] + 1 - len(before)
    return min(missing_before, first_count) + last_count - first_count


def _boots(rows: list[tuple[int, int, int, int]]) -> Iterator[list[tuple[int, int]]]:
    """(unwrapped sequence number, frame id) of each frame, in one list for each boot of the device."""
    boot: list[tuple[int, int]] = []
    last_place = last_tick = 0
    for _, sequence, tick, ident in rows:
        if boot and tick < last_tick - _OVERTAKING_TICKS and ticks_between(last_tick, tick) is None:
            yield boot
            boot = []
        if not boot:
            last_place = sequence
        step = (sequence - last_place) & 0xFFFF
        place = last_place + (step if step < _HALF_SEQUENCE else step - 0x10000)
        boot.append((place, ident))
        last_place, last_tick = place, tick
    if boot:
        yield boot


_OVERTAKING_TICKS = 50


def is_wal_format(path: Path) -> bool:
    """Whether the last writes of an SQLite file may be in its -wal."""
    with path.open("rb") as file:
        return file.read(20)[18:] == bytes((_WAL_FORMAT, _WAL_FORMAT))


def verify_path(path: Path) -> Verification:
    """Open and verify. What cannot even be opened as a session is a problem too."""
    try:
        with Session(path) as session:
            return verify_session(session)
    except (EnvironmentProblem, sqlite3.Error) as error:
        return Verification(path, problems=_unreadable(path, error))
