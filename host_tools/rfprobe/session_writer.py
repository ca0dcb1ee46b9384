"""Writing a session: what is handed in is on the disk within 250 ms, whatever becomes of this process.

The caller appends to lists and never waits for the disk; one thread owns the database and commits ten times a
second. What goes wrong there (a full disk) is raised by the caller's next call.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rfprobe.errors import EnvironmentProblem, reason_of
from rfprobe.session_format import (
    APPLICATION_ID,
    BOX_TABLE,
    CLOSED,
    DECODED_TABLES,
    EDGES_TABLES,
    LATE_TABLES,
    PINS_TABLE,
    SCHEMA,
    TABLES,
    TRUTH_COLUMNS,
    TRUTH_TABLES,
    Json,
    create_statements,
    insert_statement,
    session_name,
)
from rfprobe_core import protocol

COMMIT_EVERY_S = 0.1
"""Pause between commits. With the commit itself, fsync included, it stays well within the 250 ms promised."""
MOST_PENDING = 20_000
"""Rows of one table in memory before the caller waits for the disk."""
_STUCK_S = 60.0

Row = tuple[int | float | str | bytes | None, ...]


class FrameLike(Protocol):
    """What of a frame is recorded; `rfprobe.wire.Frame` is one."""

    @property
    def type(self) -> int: ...
    @property
    def channel(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def tick(self) -> int: ...
    @property
    def values(self) -> tuple[int, ...]: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def hello(self) -> dict[str, str]: ...
    @property
    def records(self) -> tuple[tuple[int, ...], ...]: ...


class SessionWriter:
    """One session being written. Use it as a context manager, or call `close`.

    A session in which no frame ever came is removed again: nothing was started. Every method may be called
    from any thread; all raise EnvironmentProblem once the file cannot be written.
    """

    def __init__(self, path: Path, meta: Mapping[str, Json]) -> None:
        """Make the file, which must not be there yet (FileExistsError), and its directory if need be."""
        self.path = path
        self.frames = 0
        self._made_directory = not path.parent.exists()
        self._lock = threading.Lock()
        self._rows: dict[str, list[Row]] = _no_rows()
        self._meta: dict[str, Json] = {}
        self._armed = False
        self._made_late: set[str] = set()
        self._failure: EnvironmentProblem | None = None
        self._closing = False
        self._finished = False
        self._wake = threading.Event()
        self._committed = threading.Condition(self._lock)
        self._flushes_asked = 0
        self._flushes_done = 0
        self._database = self._create({"session_id": path.stem, **meta, "schema": SCHEMA, CLOSED: False})
        self._thread = threading.Thread(target=self._write_until_closed, name="session writer", daemon=True)
        self._thread.start()

    @classmethod
    def create(
        cls,
        directory: Path,
        plan_name: str,
        sample: str,
        meta: Mapping[str, Json],
        started: datetime | None = None,
    ) -> Self:
        """A new session in `directory`, named for the time, plan and sample. Two never get the same name."""
        while True:
            moment = started or datetime.now(UTC)
            started = None
            try:
                path = directory / session_name(moment, plan_name, sample)
                return cls(path, {"started_utc": moment.astimezone(UTC).isoformat(), **meta})
            except FileExistsError:
                continue  # taken within this millisecond: the next one is free

    def _create(self, meta: Mapping[str, Json]) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            if not self.path.parent.is_dir():
                raise EnvironmentProblem(f"{self.path.parent}: not a directory") from None
            raise
        except OSError as error:
            raise EnvironmentProblem(f"{self.path}: cannot be created: {reason_of(error)}") from None
        try:
            return self._make_tables(meta)
        except sqlite3.Error as error:
            self._remove()
            raise _cannot_write(self.path, error) from None

    def _make_tables(self, meta: Mapping[str, Json]) -> sqlite3.Connection:
        """Tables and meta come before the WAL begins: a copy without its WAL still says what it is."""
        database = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=10.0)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
        database.execute("BEGIN")
        for statement in create_statements():
            database.execute(statement)
        database.executemany(_META_INSERT, _meta_rows(meta))
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    def frame(self, frame: FrameLike, host_ns: int) -> None:
        """Record a frame, raw and decoded. `host_ns`: when it came, in ns since 1970 (UTC)."""
        kind = frame.type
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self.frames += 1
            ident = self.frames
            head = (ident, frame.tick, frame.channel, frame.state)
            self._rows["frames"].append(
                (ident, host_ns, frame.channel, kind, frame.state, frame.sequence, frame.tick, frame.raw)
            )
            if kind in DECODED_TABLES:
                self._rows[DECODED_TABLES[kind]].append(head + frame.values)
            elif kind == protocol.BLACKBOX:
                self._rows[BOX_TABLE].extend(box_rows(ident, frame))
            elif kind == protocol.HELLO:
                self._rows["hellos"].append((*head, json.dumps(frame.hello)))
                self._meta["hello"] = dict(frame.hello)
            full = ident % MOST_PENDING == 0
        if full:
            self.flush()

    def command(self, host_ns: int, direction: str, text: str) -> None:
        """Record a command line sent (`tx`) or its answer in words (`rx`)."""
        self._add("commands", [(host_ns, direction, text)])

    def text(self, host_ns: int, text: str) -> None:
        """Record text that came between the frames: a banner, a traceback."""
        self._add("text", [(host_ns, text)])

    def note(self, host_ns: int, text: str) -> None:
        """Record what the operator had to say."""
        self._add("notes", [(host_ns, text)])

    def truth_rows(self, rows: Sequence[Row], channel: int = 0) -> None:
        """Record what the simulation knows of a channel, as TRUTH_COLUMNS. t_s counts from meta's `tick_zero`."""
        if rows and len(rows[0]) != len(TRUTH_COLUMNS):
            raise ValueError(f"a row of truth has {len(TRUTH_COLUMNS)} columns, not {len(rows[0])}")
        self._add(TRUTH_TABLES[channel], rows)

    def enable_edge(self, t_s: float, level: bool, channel: int = 0) -> None:
        """Record when a channel's simulated enable pin changed, finer than the rows of truth can tell."""
        self._add(EDGES_TABLES[channel], [(t_s, int(level))])

    def pins(self, chunk: int, ticks: int, data: bytes) -> None:
        """Record what the firmware's pins saw in `ticks` ticks."""
        self._add(PINS_TABLE, [(chunk, ticks, data)])

    def set_meta(self, key: str, value: Json) -> None:
        """Set or replace one entry of `meta`. Raises TypeError for what is no JSON."""
        json.dumps(value)
        with self._lock:
            self._raise_failure()
            self._meta[key] = value

    def armed(self, armed: bool, wait: bool = True) -> None:
        """While armed every commit reaches the disk itself (synchronous=FULL).

        In force when this returns; without `wait` (for a loop that must not wait for a disk) with the next commit.
        """
        with self._lock:
            self._armed = armed
        if wait:
            self.flush()

    def flush(self) -> None:
        """Wait until everything handed in so far is committed."""
        with self._committed:
            self._raise_failure()
            self._flushes_asked += 1
            mine = self._flushes_asked
            self._wake.set()
            done = self._committed.wait_for(
                lambda: self._flushes_done >= mine or self._failure is not None or self._finished, _STUCK_S
            )
            self._raise_failure()
        if not done:
            raise EnvironmentProblem(f"{self.path}: cannot be written: no answer from the disk in {_STUCK_S:g} s")

    def close(self) -> None:
        """Commit, mark the session as closed and make it one file. Without a frame: remove it."""
        if self._finished:
            return
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._finished = True
        try:
            if self._failure is None and self.frames:
                self._finish()
        finally:
            self._database.close()
        if not self.frames:
            self._remove()
        self._raise_failure()

    def discard(self) -> None:
        """Close, and remove the file whatever is in it."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._finished = True
        self._database.close()
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self.close()
        except EnvironmentProblem as problem:
            # the exception under way is the one to be told; this one becomes its note
            if error is not None and error is not problem:
                error.add_note(str(problem))

    def _add(self, table: str, rows: Sequence[Row]) -> None:
        with self._lock:
            self._raise_failure()
            self._rows[table].extend(rows)
            full = len(self._rows[table]) >= MOST_PENDING
        if full:
            self.flush()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write_until_closed(self) -> None:
        try:
            last = False
            full_sync = False
            while not last:
                self._wake.wait(COMMIT_EVERY_S)
                self._wake.clear()
                last = self._closing
                full_sync = self._follow_armed(full_sync)
                self._commit()
        except sqlite3.Error as error:
            with self._committed:
                self._failure = _cannot_write(self.path, error)
                self._committed.notify_all()

    def _follow_armed(self, full_sync: bool) -> bool:
        if self._armed != full_sync:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if self._armed else 'NORMAL'}")
        return self._armed

    def _commit(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, _no_rows()
            meta, self._meta = self._meta, {}
            asked = self._flushes_asked
        if meta or any(rows.values()):
            self._database.execute("BEGIN IMMEDIATE")
            for table, pending in rows.items():
                if pending:
                    if table in LATE_TABLES and table not in self._made_late:
                        self._database.execute(LATE_TABLES[table][1])
                        self._made_late.add(table)
                    self._database.executemany(_INSERTS[table], pending)
            self._database.executemany(_META_INSERT, _meta_rows(meta))
            self._database.execute("COMMIT")
        with self._committed:
            self._flushes_done = asked
            self._committed.notify_all()

    def _finish(self) -> None:
        try:
            self._database.execute(_META_INSERT, (CLOSED, "true"))
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._failure = _cannot_write(self.path, error)
            return
        try:
            self._database.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError:
            # Somebody is reading it: it stays in WAL mode, complete, and its last reader tidies up.
            return

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        if self._made_directory and self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


_META_INSERT = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_INSERTS = {table: insert_statement(table) for table in TABLES} | {
    table: f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
    for table, (columns, _) in LATE_TABLES.items()
}


def box_rows(ident: int, frame: FrameLike) -> list[tuple[int, ...]]:
    """The rows of `BOX_COLUMNS` for a BLACKBOX frame that is recorded under this id."""
    last_tick, _, first = frame.values
    return [(ident, first + place, last_tick, *record) for place, record in enumerate(frame.records)]


def _no_rows() -> dict[str, list[Row]]:
    return {table: [] for table in (*TABLES, *LATE_TABLES)}


def _meta_rows(meta: Mapping[str, Json]) -> list[tuple[str, str]]:
    return [(key, json.dumps(value)) for key, value in meta.items()]


def _cannot_write(path: Path, error: sqlite3.Error) -> EnvironmentProblem:
    return EnvironmentProblem(f"{path}: cannot be written: {error}")
