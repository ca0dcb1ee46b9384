"""Reading a session: pandas frames in SI units, with the unit in each column's name.

    s = open_session("last")
    s.df          one row for each telemetry frame: t_s, utc, control_C, setpoint_C, power_W, impedance_ohm, …
    s.truth       in a simulation: what the tissue really did
    s.blackbox    after a fault: its last 10 s, a row for each tick
    s.channels    the channels that ran, by the wire's number: (0,) but where a device with two used its second
    s.channel(1)  a session of that channel alone
    s.events, s.dose, s.health, s.commands, s.notes, s.text, s.meta, s.summary, s.verify()

Where a run had two channels, `s.df`, `s.truth` and so on have the rows of both, told apart by the column `channel`; a
plot or a mean of those mixes them, which one of `s.channel(n)` does not.

`t_s` counts from the tick in meta's `tick_zero` (the first tick of a simulation), else from the first frame.
A reading that is not known is NaN, never 0.
"""

import json
import sqlite3
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from rfprobe import words
from rfprobe.errors import BadInput, EnvironmentProblem, ExpectedError
from rfprobe.session_format import (
    APPLICATION_ID,
    BOX_COLUMNS,
    BOX_TABLE,
    CHANNELS,
    CLOSED,
    DEFAULT_DIRECTORY,
    SCHEMA,
    SUFFIX,
    TABLES,
    TRUTH_COLUMNS,
    Json,
    decoded_columns,
)
from rfprobe.session_writer import SessionWriter
from rfprobe_core import plan, protocol, safety

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from rfprobe.session_verify import Verification

__all__ = ["DEFAULT_DIRECTORY", "Session", "SessionWriter", "list_sessions", "open_session"]

TICK_S = protocol.TICK_US / 1e6
TICK_WRAP = protocol.U32_MAX + 1
"""The device's tick count begins again at 0 after this many: 124 days."""
_NEAR_WRAP = 1 << 20
_AGE_UNKNOWN = 255
_IMPEDANCE_UNKNOWN = 65_535
OTHER_CHANNEL = "other_channel"
"""The cause on the channel that was stopped because the other had a fault; its event's value is the other's cause."""
_DUTY_FULL = 65_535


class Session:
    """One session file, opened for reading; also while it is being written.

    Close it, or use it as a context.
    """

    def __init__(self, path: Path) -> None:
        """Raises BadInput for what is no session of ours, EnvironmentProblem for what cannot be read."""
        self.path = path
        self._database = _connect(path)
        # In a notebook nobody closes anything: the file is let go of with the object.
        self._release = weakref.finalize(self, self._database.close)
        self._views: dict[int, Session] = {}

    def __repr__(self) -> str:
        return f"<Session {self.id}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. What was read stays."""
        for view in self._views.values():
            view.close()
        self._release()

    # ---- channels -------------------------------------------------------------------------------------------

    @property
    def channel_number(self) -> int | None:
        """Of the view of one channel: which, as the wire counts (0, 1)."""
        return None

    @property
    def whole(self) -> "Session":
        """The session of the whole device: itself, but where this is a view of one channel."""
        return self

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """The channels that ran, in order, as the wire counts them; of what only was watched, those that told."""
        told = self.meta.get(CHANNELS)
        ran = [each.get("channel") for each in told if isinstance(each, dict)] if isinstance(told, list) else []
        known = tuple(sorted(number for number in ran if isinstance(number, int)))
        if known:
            return known
        bits = self.parameters().get("channels")
        if bits is None:
            return self.telling or (0,)
        return tuple(number for number, bit in enumerate(plan.CHANNEL_BITS) if bits & bit) or (0,)

    @cached_property
    def telling(self) -> tuple[int, ...]:
        """The channels of which there is telemetry: on a device with two, also the one that rested."""
        return tuple(int(row[0]) for row in self.rows("SELECT DISTINCT channel FROM telemetry ORDER BY channel"))

    def channel(self, number: int) -> "Session":
        """One channel alone (0 or 1), as a session; closed with this one. Itself, where the file has no other.

        Raises BadInput for a channel of which there is nothing.
        """
        if (number, self.channels) == (0, (0,)) and self.telling in ((), (0,)):
            return self
        if number not in self._views:
            from rfprobe.session_channel import ChannelSession

            if number not in (*self.channels, *self.telling):
                raise BadInput(f"{self.path}: channel {number + 1} had no part in it")
            self._views[number] = ChannelSession(self, number)
        return self._views[number]

    def runs(self) -> "list[Session]":
        """One session for each channel that has a say in how the run ended; itself, where there was only ever one.

        Those are the channels that ran, and one that rested but had a fault, which ends the other's run too.
        """
        return [self.channel(number) for number in self._concerned]

    @cached_property
    def _concerned(self) -> tuple[int, ...]:
        if self.telling in ((), self.channels):
            return self.channels
        tripped = self.rows("SELECT DISTINCT channel FROM events WHERE code = ?", (protocol.EVENT_FAULT,))
        return tuple(sorted({*self.channels, *(int(row[0]) for row in tripped)}))

    def told_of_channel(self, number: int) -> dict[str, Json]:
        """What `meta["channels"]` says of a channel; nothing where there is no word of it."""
        from rfprobe.session_channel import told_of_channel

        return told_of_channel(self.meta, number)

    def _labelled(self, name: str, own: "Callable[[], pd.DataFrame]") -> "pd.DataFrame":
        """A table that has no channel of its own: of a run of both, each one's rows after another, with its number.

        `own` makes it, where there is nothing to be told apart.
        """
        import pandas as pd

        if self.runs() == [self]:
            return own()
        parts: list[pd.DataFrame] = []
        for view in self.runs():
            part: pd.DataFrame = getattr(view, name).copy()
            after = "utc" if "utc" in part else "t_s"
            part.insert(list(part.columns).index(after) + 1, "channel", view.channel_number or 0)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def _by_channel(self, kind: int, make: "Callable[[pd.DataFrame, dict[str, int]], pd.DataFrame]") -> "pd.DataFrame":
        """A decoded table in SI units, each channel's thermocouples by its own names; in order of arrival."""
        import pandas as pd

        table = self._decoded(kind)
        if self.runs() == [self]:
            return make(table, self.places())
        known = {number: self.channel(number).places() for number in self._concerned}
        parts = [make(table[table["channel"] == number], known.get(number, self.places())) for number in self.telling]
        if not parts:
            return make(table, self.places())
        return pd.concat(parts).sort_index(kind="stable")

    @property
    def id(self) -> str:
        """The session's name, which is also the file's unless that was renamed."""
        return str(self.meta.get("session_id", self.path.stem))

    @cached_property
    def meta(self) -> dict[str, Json]:
        """Everything said about the run: plan, probe, tissue, runtime, seed, versions, digests, times, …"""
        rows = self.rows("SELECT key, value FROM meta ORDER BY key")
        return {str(key): json.loads(value) for key, value in rows}

    @property
    def closed(self) -> bool:
        """Whether its writer came to its end. If not, it is under way, or was cut off."""
        return self.meta.get(CLOSED) is True

    @property
    def simulated(self) -> bool:
        """Whether the tissue's truth is known."""
        return len(self.truth) > 0

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run in figures: the object that `--json` prints."""
        from rfprobe.summary import summarise

        return summarise(self)

    def verify(self) -> "Verification":
        """Check the file against itself: structure, CRCs, decoded rows, gaps.

        See `rfprobe.session_verify`.
        """
        from rfprobe.session_verify import verify_session

        return verify_session(self)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises EnvironmentProblem where the file is damaged or gone."""
        try:
            return self._database.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise EnvironmentProblem(f"{self.path}: cannot be read: {error}") from None

    def parameters(self) -> dict[str, int]:
        """What the device was configured with (`rfprobe_core.plan.PARAMETERS`); empty if not recorded."""
        recorded = self.meta.get("parameters")
        return cast(dict[str, int], recorded) if isinstance(recorded, dict) else {}

    def places(self) -> dict[str, int]:
        """Name of each fitted thermocouple → its place 0…3, see `named_places`."""
        return named_places(self.parameters())

    @cached_property
    def df(self) -> "pd.DataFrame":
        """Telemetry."""
        return self._by_channel(protocol.TELEMETRY, self._telemetry)

    def _telemetry(self, table: "pd.DataFrame", places: dict[str, int]) -> "pd.DataFrame":
        import numpy as np

        frame = self._head(table)
        frame["setpoint_C"] = _milli(table["setpoint_mC"], unknown=0)
        for name, place in places.items():
            age = table[f"tc{place}_age"]
            known = age < _AGE_UNKNOWN
            frame[f"{name}_C"] = np.where(known, table[f"tc{place}_mC"] / 1000, np.nan)
            frame[f"{name}_age_s"] = np.where(known, age * TICK_S, np.nan)
        frame["demand_W"] = table["demand_mW"] / 1000
        frame["power_W"] = table["power_mW"] / 1000
        frame["voltage_V"] = table["voltage_cV"] / 100
        frame["current_A"] = table["current_dmA"] / 10_000
        impedance = table["impedance_dohm"]
        frame["impedance_ohm"] = np.where(impedance == _IMPEDANCE_UNKNOWN, np.nan, impedance / 10)
        frame["duty"] = table["duty"] / _DUTY_FULL
        frame["energy_J"] = table["energy_mJ"] / 1000
        frame["remaining_s"] = table["remaining_ticks"] * TICK_S
        frame["enable"] = (table["flags"] & protocol.FLAG_ENABLE) != 0
        frame["flags"] = table["flags"]
        frame["cause"] = _names(protocol.CAUSES, table["cause"])
        frame["result"] = _names(protocol.RESULT_NAMES, table["result"])
        return frame

    @cached_property
    def dose(self) -> "pd.DataFrame":
        """CEM43 and peak of each thermocouple, and the time RF was on, as the device counts them."""
        return self._by_channel(protocol.DOSE, self._doses)

    def _doses(self, table: "pd.DataFrame", places: dict[str, int]) -> "pd.DataFrame":
        frame = self._head(table)
        for name, place in places.items():
            frame[f"{name}_cem43_min"] = table[f"tc{place}_cem43_ms"] / 60_000
            frame[f"{name}_peak_C"] = table[f"tc{place}_peak_mC"] / 1000
        frame["rf_on_s"] = table["rf_on_ms"] / 1000
        return frame

    @cached_property
    def health(self) -> "pd.DataFrame":
        """What differs from machine to machine: cost and lateness of a tick, free heap, counters."""
        import numpy as np

        table = self._decoded(protocol.HEALTH)
        frame = self._head(table)
        for name in ("cost_us_mean", "cost_us_max", "late_us_max", "heap_free_bytes"):
            measured = table[name] != protocol.NOT_MEASURED
            frame[name] = np.where(measured, table[name].astype(float), np.nan)
        for name in ("frames_sent", "frames_dropped", "ticks_missed", "lines_refused", "faults"):
            frame[name] = table[name]
        frame["lease_left_s"] = table["lease_left_ms"] / 1000
        return frame

    @cached_property
    def events(self) -> "pd.DataFrame":
        """What happened: changes of state, faults, ends, refusals; `text` says it in words."""
        table = self._decoded(protocol.EVENT)
        frame = self._head(table)
        frame["kind"] = _names(protocol.EVENT_NAMES, table["code"])
        frame["cause"] = _names(protocol.CAUSES, table["cause"])
        rows = [int(row) for row in table["row"]]
        frame["row"] = [words.row_name(row) for row in rows]
        for column in ("value", "limit"):
            stored = [int(value) for value in table[column]]
            frame[column] = [float(words.row_value(row, value)) for row, value in zip(rows, stored, strict=True)]
        frame["unit"] = [words.row_unit(row)[0] for row in rows]
        ticks = zip(table["first_tick"], table["tick"], strict=True)
        behind = [ticks_between(int(first), int(last)) or 0 for first, last in ticks]
        frame["first_t_s"] = frame["t_s"] - [count * TICK_S for count in behind]
        columns = zip(*(table[name] for name in ("code", "cause", "row", "value", "limit")), strict=True)
        frame["text"] = [event_text(*(int(each) for each in row)) for row in columns]
        return frame

    def box_rows(self) -> list[tuple[int, ...]]:
        """The black box as it came, as `session_format.BOX_COLUMNS`, in order; empty where it was not fetched."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE name = ?", (BOX_TABLE,)):
            return []
        told = ", ".join(f'"{name}"' for name in BOX_COLUMNS)
        return self.rows(f"SELECT {told} FROM {BOX_TABLE} ORDER BY frame, record")

    @cached_property
    def blackbox(self) -> "pd.DataFrame":
        """The last 10 s before the run's end, a row for each tick, as the device kept them: see `rfprobe.blackbox`.

        No rows where the device's black box was not fetched.
        """
        from rfprobe.blackbox import black_box_frame

        return self._labelled("blackbox", lambda: black_box_frame(self))

    @cached_property
    def truth(self) -> "pd.DataFrame":
        """What the simulation knows; no rows where the run was real."""
        return self._labelled("truth", self._truth)

    def _truth(self) -> "pd.DataFrame":
        import pandas as pd

        columns = ", ".join(TRUTH_COLUMNS)
        rows = self.rows(f"SELECT {columns} FROM truth ORDER BY t_s")
        frame = pd.DataFrame(rows, columns=list(TRUTH_COLUMNS), dtype=float)
        frame["duty"] /= _DUTY_FULL
        return frame

    @cached_property
    def enable_edges(self) -> "pd.DataFrame":
        """When the simulated enable pin changed: `t_s`, `level`."""
        return self._labelled("enable_edges", self._enable_edges)

    def _enable_edges(self) -> "pd.DataFrame":
        import pandas as pd

        rows = self.rows("SELECT t_s, level FROM enable_edges ORDER BY t_s")
        return pd.DataFrame(rows, columns=["t_s", "level"], dtype=float)

    @cached_property
    def commands(self) -> "pd.DataFrame":
        """Lines sent to the device (`tx`), its answers in words (`rx`), and what became of the port (`link`)."""
        return self._by_host_time("commands")

    @cached_property
    def notes(self) -> "pd.DataFrame":
        """What the operator had to say."""
        return self._by_host_time("notes")

    @cached_property
    def text(self) -> "pd.DataFrame":
        """Text that came between the frames."""
        return self._by_host_time("text")

    @cached_property
    def clock(self) -> "tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]":
        """(frame id, t_s, host_ns) of every frame, in order of id."""
        import numpy as np

        rows = np.array(self.rows("SELECT id, tick, host_ns FROM frames ORDER BY id"), dtype=np.int64)
        ids, ticks, host_ns = rows.reshape(-1, 3).T
        t_s = unwrap_ticks(ticks, host_ns).astype(np.float64) * TICK_S
        zero = self.meta.get("tick_zero")
        if len(ticks) and isinstance(zero, int):
            t_s += (ticks_between(zero, int(ticks[0])) or 0) * TICK_S
        return ids, t_s, host_ns

    def _decoded(self, kind: int) -> "pd.DataFrame":
        """A decoded table as integers, in order of arrival."""
        import numpy as np
        import pandas as pd

        columns = decoded_columns(kind)
        table = next(name for name, theirs in TABLES.items() if theirs == columns)
        told = ", ".join(f'"{name}"' for name in columns)
        rows = np.array(self.rows(f"SELECT {told} FROM {table} ORDER BY frame"), dtype=np.int64)
        return pd.DataFrame(rows.reshape(-1, len(columns)), columns=list(columns))

    def _head(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """The columns every decoded table begins with: t_s, utc, channel, state."""
        import numpy as np
        import pandas as pd

        ids, t_s, host_ns = self.clock
        at = cast("NDArray[np.int64]", np.searchsorted(ids, table["frame"].to_numpy(dtype=np.int64)))
        return pd.DataFrame(
            {
                "t_s": t_s[at],
                "utc": pd.to_datetime(host_ns[at], unit="ns", utc=True),
                "channel": table["channel"],
                "state": _names(protocol.STATE_NAMES, table["state"]),
            }
        )

    def _by_host_time(self, name: str) -> "pd.DataFrame":
        """A table that has the host's time only, with `t_s` between the frames around it."""
        import numpy as np
        import pandas as pd

        columns = list(TABLES[name])
        rows = self.rows(f"SELECT {', '.join(columns)} FROM {name} ORDER BY rowid")
        _, t_s, host_ns = self.clock
        host = np.array([row[0] for row in rows], dtype=np.int64)
        order = np.argsort(host_ns, kind="stable")
        times = np.interp(host, host_ns[order], t_s[order]) if len(t_s) else np.full(len(host), np.nan)
        frame = pd.DataFrame({"t_s": times, "utc": pd.to_datetime(host, unit="ns", utc=True)})
        for index, column in enumerate(columns[1:], start=1):
            frame[column] = [str(row[index]) for row in rows]
        return frame


def named_places(parameters: dict[str, int]) -> dict[str, int]:
    """Name → place of each fitted thermocouple: `control`, `boundary`, `guard`, `guard_2`, or `tc3`."""
    fitted = parameters.get("thermocouples", plan.THERMOCOUPLES)
    places: dict[str, int] = {}
    for place in range(fitted):
        role = words.name_of(plan.ROLE_NAMES, parameters.get(f"tc{place}_role", plan.ROLE_NONE))
        alike = sum(1 for name in places if name.split("_")[0] == role)
        name = role if alike == 0 else f"{role}_{alike + 1}"
        places[f"tc{place}" if role == "none" else name] = place
    return places


def ticks_between(earlier: int, later: int) -> int | None:
    """Ticks from one count to another that came after it; None if the device began anew in between."""
    difference = later - earlier
    if difference >= 0:
        return difference
    return difference + TICK_WRAP if earlier > TICK_WRAP - _NEAR_WRAP else None


def unwrap_ticks(ticks: "NDArray[np.int64]", host_ns: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Ticks since the first frame, through the count's wrap and through restarts.

    Frames may overtake one another by a few ticks. After a restart of the device the host's clock says how
    long it was away.
    """
    import numpy as np

    steps = np.diff(ticks)
    for index in np.flatnonzero(steps < -_OVERTAKING):
        known = ticks_between(int(ticks[index]), int(ticks[index + 1]))
        away = max(1, round((int(host_ns[index + 1]) - int(host_ns[index])) / (protocol.TICK_US * 1000)))
        steps[index] = away if known is None else known
    return np.concatenate((np.zeros(min(1, len(ticks)), dtype=np.int64), np.cumsum(steps)))


_OVERTAKING = 50


def event_text(code: int, cause: int, row: int, value: int, limit: int) -> str:
    """An event in words."""
    why = words.cause_sentence(words.name_of(protocol.CAUSES, cause))
    if code == protocol.EVENT_STATE:
        now = words.name_of(protocol.STATE_NAMES, value)
        return f"State: {words.STATES.get(now, now)}."
    if code == protocol.EVENT_FAULT and protocol.CAUSES[cause : cause + 1] == (OTHER_CHANNEL,):
        return f"Fault: {why} Its cause: {words.cause_sentence(words.name_of(protocol.CAUSES, value))}"
    if code == protocol.EVENT_FAULT:
        measured = "" if row == protocol.NO_ROW else f" ({_measured(row, value, limit)})"
        return f"Fault: {why}{measured}"
    if code == protocol.EVENT_END:
        return f"{words.result_title(words.name_of(protocol.RESULT_NAMES, value))}. {why}"
    if code == protocol.EVENT_REFUSED:
        place = (words.row_name(row) or "").partition("_")[0]
        return f"Refused: {why} ({place}: {_measured(row, value, limit)})"
    return f"Event {code}."


def _measured(row: int, value: int, limit: int) -> str:
    stored: tuple[Any, ...] = safety.ROWS[row] if row < len(safety.ROWS) else ()
    if not stored or not words.row_unit(row)[0]:
        return f"row {words.row_name(row)}"
    return f"{words.told_row(row, value)}, limit {words.told_row(row, limit)}"


def _names(names: tuple[str, ...], column: "pd.Series[int]") -> Any:
    """Each number's name: looked up once for each number that occurs, not for each of an hour's rows."""
    import numpy as np
    import pandas as pd

    numbers, places = np.unique(column.to_numpy(), return_inverse=True)
    return pd.array([words.name_of(names, int(number)) for number in numbers], dtype="str").take(places)


def _milli(column: "pd.Series[int]", unknown: int) -> "NDArray[np.float64]":
    """Thousandths as units; NaN where the device says `unknown`."""
    import numpy as np

    return np.where(column == unknown, np.nan, column / 1000)


def _connect(path: Path) -> sqlite3.Connection:
    """Open read-only, and leave nothing beside the file."""
    if not path.is_file():
        raise BadInput(f"{path}: there is no such session file")
    # Without a -wal nobody is writing. SQLite is told so, as it would make an empty one and hide the lack.
    way = "mode=ro" if wal_of(path).exists() else "mode=ro&immutable=1"
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?{way}", uri=True, check_same_thread=False)
    except sqlite3.Error as error:
        raise EnvironmentProblem(f"{path}: cannot be read: {error}") from None
    try:
        _require_session(database, path)
    except ExpectedError:
        database.close()
        raise
    return database


def wal_of(path: Path) -> Path:
    """Where SQLite keeps the last commits of a session that is not closed."""
    return path.with_name(path.name + "-wal")


def _require_session(database: sqlite3.Connection, path: Path) -> None:
    try:
        (mark,) = database.execute("PRAGMA application_id").fetchone()
        (schema,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise BadInput(f"{path}: not a session file") from None
        raise EnvironmentProblem(f"{path}: cannot be read: {error}") from None
    if mark != APPLICATION_ID:
        raise BadInput(f"{path}: not a session file")
    if schema != SCHEMA:
        raise BadInput(f"{path}: a session of schema {schema}; this rfprobe reads schema {SCHEMA}")


def list_sessions(directory: Path = DEFAULT_DIRECTORY) -> list[Path]:
    """The session files of a directory, the newest last (their names sort by time)."""
    return sorted(directory.glob(f"*{SUFFIX}")) if directory.is_dir() else []


def open_session(which: str | Path = "last", directory: Path = DEFAULT_DIRECTORY) -> Session:
    """Open a session by path, by id (or the unambiguous beginning of one), or the newest with "last"."""
    return Session(find_session(which, directory))


def find_session(which: str | Path, directory: Path = DEFAULT_DIRECTORY) -> Path:
    """The file that `which` means. Raises BadInput if there is none, or more than one."""
    if isinstance(which, Path) or Path(which).is_file() or which.endswith(SUFFIX):
        given = Path(which)
        return given if given.exists() or given.is_absolute() else _beside_or_in(given, directory)
    known = list_sessions(directory)
    if which == "last":
        if not known:
            raise BadInput(f"{directory}: there are no sessions here")
        return known[-1]
    exactly = [path for path in known if path.stem == which]
    found = exactly or [path for path in known if which and path.stem.startswith(which)]
    if len(found) == 1:
        return found[0]
    told = "no session" if not found else f"{len(found)} sessions"
    raise BadInput(f"{which}: {told} of that name in {directory}")


def _beside_or_in(given: Path, directory: Path) -> Path:
    inside = directory / given
    return inside if len(given.parts) == 1 and inside.is_file() else given
