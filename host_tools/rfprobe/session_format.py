"""The session file: what its tables are, how it is named, and what marks it as one.

One SQLite file for each run. `frames` holds every frame as it came, with the host's time; the other tables
hold the same frames decoded (integers, as on the wire), and what did not come as a frame: commands, text,
notes, and in a simulation the tissue's truth. `meta` holds the rest as JSON:

| key | what |
|---|---|
| `schema`, `session_id`, `started_utc`, `closed` | the file itself, by its writer |
| `plan`, `plan_name`, `profile`, `profile_name` | the text of both files, and their names |
| `parameters`, `roles` | every parameter as the device was sent it; the role of each thermocouple |
| `tissue`, `runtime`, `seed`, `faults` | of a simulation |
| `versions`, `digests`, `host` | what took part |
| `tick_zero` | the tick at which `t_s` is 0, for frames and truth alike |
| `hello` | the last HELLO, by the session's writer |
| `result`, `cause`, `refusal` | the verdict as the host heard it, or had to give it itself |
| `pins` | how the board was powered up, where its pins were recorded |
| `black_box` | how many records the device's black box had, and how many came; null where it was not asked for |
| `sample`, `port` | of a run on a board: what was ablated, and behind which port |
| `truth_final` | `peak_C` and `cem43_min` by role, finer than the rows of truth |
| `channels` | of a run of two channels, or of the second alone: an object for each that ran, see `CHANNELS` |
| `start_us`, `first_tick`, `stop_tick` | the simulated board's counters at boot; when the operator's stop was heard |
| `simulated_s`, `wall_s` | how long it took, in the simulation and on the wall |
"""

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from rfprobe_core import protocol

SCHEMA = 1
APPLICATION_ID = 0x52465042  # "RFPB", at offset 68 of the file: what `file` and others tell formats by
SUFFIX = ".rfp"
DEFAULT_DIRECTORY = Path("sessions")
CLOSED = "closed"
"""Key in `meta`: whether the writer came to its end. False in a session that is under way or was cut off."""

CHANNELS = "channels"
"""Key in `meta`: a list with one object for each channel that ran, in order. `channel` is 0 or 1; `parameters`,
`roles`, `profile`, `profile_name`, `calibration`, `digests`, `tissue`, `faults`, `result`, `cause`, `truth_final` are
what the keys of the same names are of a run of one channel. Those stay the first's: see `Session.channel`."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

DECODED_TABLES = {
    protocol.TELEMETRY: "telemetry",
    protocol.DOSE: "dose",
    protocol.HEALTH: "health",
    protocol.EVENT: "events",
    protocol.ACK: "acks",
}
"""The table that each type of frame is decoded into. HELLO is text, and goes into `hellos` as JSON."""

TRUTH_COLUMNS = (
    "t_s",
    "control_C",
    "boundary_C",
    "guard_C",
    "peak_C",
    "enable",
    "duty",
    "power_W",
    "voltage_V",
    "current_A",
    "impedance_ohm",
)
"""What a simulation knows of tissue and stage. NULL for a role that is not fitted.

`peak_C` is the hottest point of the tissue, `duty` what is on the pin, 0 … 65535.
"""

_FRAME_COLUMNS = ("frame", "tick", "channel", "state")


def decoded_columns(kind: int) -> tuple[str, ...]:
    """Columns of a decoded table: the frame's id and header, then the fields of `protocol.FRAMES`."""
    return (*_FRAME_COLUMNS, *(field for field, _, _ in protocol.FRAMES[kind][2]))


PLAIN_TABLES: dict[str, tuple[str, ...]] = {
    "frames": ("id", "host_ns", "channel", "type", "state", "sequence", "tick", "raw"),
    "hellos": (*_FRAME_COLUMNS, "fields"),
    "commands": ("host_ns", "direction", "text"),
    "text": ("host_ns", "text"),
    "notes": ("host_ns", "text"),
    "truth": TRUTH_COLUMNS,
    "enable_edges": ("t_s", "level"),
}
TABLES: dict[str, tuple[str, ...]] = {
    **PLAIN_TABLES,
    **{table: decoded_columns(kind) for kind, table in DECODED_TABLES.items()},
}
"""Every table but `meta`, with its columns."""

PINS_TABLE = "pins"
PINS_COLUMNS = ("chunk", "ticks", "data")
"""Only in a session of `simulate --record-pins`: what the firmware's pins saw, see `rfprobe.pin_record`."""
BOX_TABLE = "blackbox"
BOX_COLUMNS = ("frame", "record", "last_tick", *(name for name, _, _ in protocol.RECORD_FIELDS))
"""Only in a session for which the device's black box was fetched: a row for each record of each frame that came."""
CREATE_BOX = (
    f"CREATE TABLE {BOX_TABLE} (frame INTEGER NOT NULL REFERENCES frames(id), "
    + "".join(f'"{name}" INTEGER NOT NULL, ' for name in BOX_COLUMNS[1:])
    + "PRIMARY KEY (frame, record)) STRICT"
)
SECOND_TRUTH_TABLE = "truth_2"
SECOND_EDGES_TABLE = "enable_edges_2"
"""Only in a simulation in which the second channel took part: as `truth` and `enable_edges`, of what it is in."""
TRUTH_TABLES = ("truth", SECOND_TRUTH_TABLE)
EDGES_TABLES = ("enable_edges", SECOND_EDGES_TABLE)
"""The tables of the simulation's own knowledge, by channel."""
CREATE_SECOND_TRUTH = (
    f"CREATE TABLE {SECOND_TRUTH_TABLE} (" + ", ".join(f'"{name}" REAL' for name in TRUTH_COLUMNS) + ") STRICT"
)
CREATE_SECOND_EDGES = f'CREATE TABLE {SECOND_EDGES_TABLE} ("t_s" REAL, "level" REAL) STRICT'
CREATE_PINS = (
    f"CREATE TABLE {PINS_TABLE} (chunk INTEGER PRIMARY KEY, ticks INTEGER NOT NULL, data BLOB NOT NULL) STRICT"
)

LATE_TABLES: dict[str, tuple[tuple[str, ...], str]] = {
    PINS_TABLE: (PINS_COLUMNS, CREATE_PINS),
    BOX_TABLE: (BOX_COLUMNS, CREATE_BOX),
    SECOND_TRUTH_TABLE: (TRUTH_COLUMNS, CREATE_SECOND_TRUTH),
    SECOND_EDGES_TABLE: (("t_s", "level"), CREATE_SECOND_EDGES),
}
"""Tables that are made when there is something to put into them: (columns, the SQL that makes one)."""

_COLUMN_TYPES = {
    ("frames", "id"): "INTEGER PRIMARY KEY",
    ("frames", "raw"): "BLOB NOT NULL",
    ("hellos", "fields"): "TEXT NOT NULL",
    ("commands", "direction"): "TEXT NOT NULL",
    ("commands", "text"): "TEXT NOT NULL",
    ("text", "text"): "TEXT NOT NULL",
    ("notes", "text"): "TEXT NOT NULL",
}
_REAL_TABLES = ("truth", "enable_edges")


def create_statements() -> list[str]:
    """The SQL that makes an empty session."""
    statements = ["CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID"]
    for table, columns in TABLES.items():
        told = ", ".join(f'"{name}" {_column_type(table, name)}' for name in columns)
        statements.append(f"CREATE TABLE {table} ({told}) STRICT")
    return statements


def _column_type(table: str, column: str) -> str:
    if column == "frame":
        return "INTEGER PRIMARY KEY REFERENCES frames(id)"
    return _COLUMN_TYPES.get((table, column), "REAL" if table in _REAL_TABLES else "INTEGER NOT NULL")


def insert_statement(table: str) -> str:
    """`INSERT INTO table (…) VALUES (?, …)` for a whole row."""
    columns = TABLES[table]
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"


def slug(text: str, otherwise: str) -> str:
    """Text as part of a file name: lower-case ASCII letters, digits and hyphens, at most 40 characters."""
    plain = unicodedata.normalize("NFKD", text.replace("°", "")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-") or otherwise


def session_name(started: datetime, plan_name: str, sample: str) -> str:
    """`<UTC to the millisecond>_<plan>_<sample>.rfp`; names sort by time."""
    utc = started.astimezone(UTC)
    stamp = f"{utc:%Y%m%dT%H%M%S}{utc.microsecond // 1000:03d}Z"
    return f"{stamp}_{slug(plan_name, 'plan')}_{slug(sample, 'sample')}{SUFFIX}"
