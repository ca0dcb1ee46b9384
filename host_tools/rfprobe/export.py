"""A session as files that other programs read: CSV, Parquet, MCAP. The numbers are those of `Session`'s frames.

CSV: one folder a session, one file a table, `manifest.json` and `schema.json` in it. Parquet: one folder a table,
below it the hive partitions `device=…/date=…/session=…`, so that DuckDB, Dask and Spark take any number of sessions as
one table; `manifest.json` and `schema.json` at the top. MCAP: one file a session, one channel a table.

`schema.json` tells type, unit and meaning of every column; Parquet carries them in its own schema as well. A file is
written beside its place and moved there whole: an export that fails leaves the files of the one before.
"""

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rfprobe.errors import BadInput, EnvironmentProblem
from rfprobe.session import Session
from rfprobe.session_format import Json
from rfprobe.whole_files import written_whole
from rfprobe_core.version import VERSION

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
MANIFEST, SCHEMA_FILE = "manifest.json", "schema.json"
PARTITIONS = ("device", "date", "session")
RUN_TABLE = "runs"

UNITS = (
    ("_cem43_min", "min", "equivalent minutes at 43 °C"),
    ("_C_per_s", "°C/s", "slope"),
    ("_C", "°C", "temperature"),
    ("_W", "W", "RF power"),
    ("_V", "V", "RF voltage, RMS"),
    ("_A", "A", "RF current, RMS"),
    ("_ohm", "Ω", "impedance at the carrier"),
    ("_J", "J", "RF energy since the run began"),
    ("_us_mean", "µs", "time, mean"),
    ("_us_max", "µs", "time, worst"),
    ("_us", "µs", "time"),
    ("_permille", "‰", "share of full scale"),
    ("_bytes", "byte", "memory"),
    ("_s", "s", "time"),
)
"""Ending of a column's name → unit and what it measures: names carry their units."""

MEANINGS = {
    "t_s": ("s", "time since the session's first tick, by the device's tick count"),
    "utc": ("", "the host's clock as the frame came"),
    "first_t_s": ("s", "when what the event tells of began"),
    "duty": ("1", "share of full drive, 0 to 1"),
    "channel": ("", "RF channel"),
    "state": ("", "state of the sequence"),
    "enable": ("", "whether RF is enabled"),
    "level": ("", "the simulated enable pin"),
    "flags": ("", "bits of the telemetry frame"),
    "value": ("", "what tripped or was told, in `unit`"),
    "limit": ("", "the bound it was held against, in `unit`"),
    "plan": ("", "name in the plan's file"),
    "result": ("", "how the run ended"),
    "stop_reason": ("", "why it ended"),
}


@dataclass(frozen=True)
class Written:
    """One file of an export."""

    path: Path
    table: str
    rows: int


def tables_of(session: Session) -> dict[str, "pd.DataFrame"]:
    """Every table that has a row, in SI units; `runs` has one row: what the run was and how it ended.

    Of a run of two channels `runs` has a row for each, and every table of theirs a column `channel`: 0, 1.
    """
    frames = {
        RUN_TABLE: _run_rows(session),
        "telemetry": session.df,
        "blackbox": session.blackbox,
        "dose": session.dose,
        "health": session.health,
        "events": session.events,
        "commands": session.commands,
        "notes": session.notes,
        "text": session.text,
        "truth": session.truth,
        "enable_edges": session.enable_edges,
    }
    return {name: frame for name, frame in frames.items() if len(frame)}


def _run_rows(session: Session) -> "pd.DataFrame":
    import pandas as pd

    runs = session.runs()
    if len(runs) == 1:
        return _run_row(runs[0])
    rows = [_run_row(each) for each in runs]
    for each, row in zip(runs, rows, strict=True):
        row.insert(0, "channel", each.channel_number or 0)
    return pd.concat(rows, ignore_index=True)


def _run_row(session: Session) -> "pd.DataFrame":
    import pandas as pd

    summary = session.summary
    plain = {key: value for key, value in summary.items() if not isinstance(value, dict) and key not in _LEFT_OUT}
    peaks = {f"{role}_peak_C": value for role, value in summary["peak_C"].items()}
    doses = {f"{role}_cem43_min": value for role, value in summary["cem43_min"].items()}
    sample = session.meta.get("sample")
    row = {**plain, **peaks, **doses, "sample": sample if isinstance(sample, str) else None}
    frame = pd.DataFrame([row])
    for name in frame:
        # a column of nothing but None has no type of its own, and one session may lack what the next one has
        frame[name] = frame[name].astype(_run_type(str(name)))
    return frame


_LEFT_OUT = ("schema", "log", "stop_text")


def _run_type(name: str) -> Any:
    if name == "seed":
        return "Int64"
    return "float64" if unit_of(name) else "str"


def unit_of(column: str) -> str:
    """The unit of a column, by its name; empty where there is none."""
    return describe_column(column)[0]


def describe_column(column: str) -> tuple[str, str]:
    """(unit, what it is) of a column."""
    if column in MEANINGS:
        return MEANINGS[column]
    for ending, unit, meaning in UNITS:
        if column.endswith(ending):
            return unit, f"{meaning}, {column.removesuffix(ending).replace('_', ' ')}"
    return "", column.replace("_", " ")


def schema_of(tables: Mapping[str, "pd.DataFrame"]) -> dict[str, Json]:
    """What `schema.json` says of these tables."""
    told: dict[str, Json] = {}
    for name, frame in tables.items():
        columns: dict[str, Json] = {}
        for column in frame:
            unit, meaning = describe_column(str(column))
            columns[str(column)] = {"type": _type_name(frame[column]), "unit": unit, "meaning": meaning}
        told[name] = columns
    return told


def _type_name(column: "pd.Series[Any]") -> str:
    from pandas.api import types

    judged: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (types.is_bool_dtype, "boolean"),
        (types.is_datetime64_any_dtype, "timestamp, UTC"),
        (types.is_integer_dtype, "integer"),
        (types.is_float_dtype, "number"),
    )
    return next((name for is_of, name in judged if is_of(column)), "text")


def device_of(session: Session) -> str:
    """The device's unique id as HELLO told it, fit to be part of a path."""
    hello = session.meta.get("hello")
    told = hello.get("uid") if isinstance(hello, dict) else None
    return re.sub(r"[^A-Za-z0-9._-]", "_", str(told or "")) or "unknown"


def date_of(session: Session) -> str:
    """The day the session began, UTC: `2026-03-04`."""
    told = session.meta.get("started_utc")
    try:
        return f"{datetime.fromisoformat(str(told)):%Y-%m-%d}"
    except ValueError:
        return "unknown"


def require_session_with_frames(session: Session) -> None:
    """Raises BadInput where there is nothing to export."""
    if not session.rows("SELECT 1 FROM frames LIMIT 1"):
        raise BadInput(f"{session.path}: there is not one frame in it")


def export(session: Session, kind: str, directory: Path) -> list[Written]:
    """Write the session into `directory` in a format of FORMATS; returns what was written. Raises BadInput, and
    EnvironmentProblem where it cannot be written."""
    require_session_with_frames(session)
    return FORMATS[kind](session, directory)


def export_csv(session: Session, directory: Path) -> list[Written]:
    """`DIR/<session>/<table>.csv`: a line of names, then the values; what is not known is empty."""
    tables = tables_of(session)
    folder = directory / session.id
    written: list[Written] = []
    for name, frame in tables.items():
        plain = frame.assign(utc=utc_texts(frame["utc"])) if "utc" in frame else frame
        text = plain.to_csv(index=False)
        written.append(_write(folder / f"{name}.csv", name, len(frame), text.encode()))
    _tell_contents(folder, session, written, tables)
    return written


def utc_texts(column: "pd.Series[Any]") -> list[str]:
    """Times as ISO 8601 to the nanosecond, all at once: one at a time takes seconds for an hour's."""
    import numpy as np

    stamps = column.astype("datetime64[ns, UTC]").astype("int64").to_numpy().astype("datetime64[ns]")
    return [f"{text}Z" for text in np.datetime_as_string(stamps, unit="ns").tolist()]


def export_parquet(session: Session, directory: Path) -> list[Written]:
    """`DIR/<table>/device=…/date=…/session=…/part-0.parquet`."""
    parquet = _require("pyarrow.parquet", "parquet")
    _read_told(directory / MANIFEST, "sessions")  # nothing is written into a folder of others
    tables = tables_of(session)
    partition = Path(f"device={device_of(session)}") / f"date={date_of(session)}" / f"session={session.id}"
    written: list[Written] = []
    for name, frame in tables.items():
        file = io.BytesIO()
        parquet.write_table(_arrow_table(frame, session), file, compression="zstd")
        target = directory / name / partition / "part-0.parquet"
        written.append(_write(target, name, len(frame), file.getvalue()))
    _tell_contents(directory, session, written, tables)
    return written


def _arrow_table(frame: "pd.DataFrame", session: Session) -> Any:
    """The frame with unit and meaning beside each column, and where it comes from."""
    arrow = _require("pyarrow", "parquet")
    # the partition's own name would be there twice
    plain = arrow.Table.from_pandas(frame.drop(columns="session_id", errors="ignore"), preserve_index=False)
    fields: list[Any] = []
    for column in plain.schema:
        unit, meaning = describe_column(column.name)
        fields.append(column.with_metadata({"unit": unit, "meaning": meaning}))
    about = {"rfprobe": VERSION, "schema": str(SCHEMA), "session_id": session.id}
    return plain.cast(arrow.schema(fields, metadata=about))


def export_mcap(session: Session, directory: Path) -> list[Written]:
    """`DIR/<session>.mcap`: a channel for each table, JSON with a JSON schema; times are the host's."""
    _require("mcap.writer", "mcap")
    from rfprobe.export_mcap import write_mcap

    file = io.BytesIO()
    rows = write_mcap(session, tables_of(session), file)
    return [_write(directory / f"{session.id}.mcap", "", rows, file.getvalue())]


FORMATS: dict[str, Callable[[Session, Path], list[Written]]] = {
    "csv": export_csv,
    "parquet": export_parquet,
    "mcap": export_mcap,
}
"""Format → what writes it."""


def _require(module: str, kind: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise EnvironmentProblem(f"--format {kind} needs more packages: pip install 'rfprobe[export]'") from None


def _tell_contents(
    directory: Path, session: Session, written: list[Written], tables: Mapping[str, "pd.DataFrame"]
) -> None:
    """Add this session to the manifest and its columns to the schema of `directory`."""
    files: dict[str, Json] = {
        each.path.relative_to(directory).as_posix(): {
            "table": each.table,
            "rows": each.rows,
            "sha256": sha256(each.path.read_bytes()).hexdigest(),
        }
        for each in written
    }
    entry: dict[str, Json] = {
        "device": device_of(session),
        "date": date_of(session),
        "plan": session.meta.get("plan_name"),
        "kind": session.meta.get("kind"),
        "digests": session.meta.get("digests"),
        "files": files,
    }
    _merge(directory / MANIFEST, "sessions", {session.id: entry}, deep=False)
    _merge(directory / SCHEMA_FILE, "tables", schema_of(tables), deep=True)


def _merge(path: Path, key: str, more: dict[str, Json], *, deep: bool) -> None:
    """Add to what the file says already: a folder holds many sessions, and columns that only some of them have."""
    told = _read_told(path, key)
    for name, value in more.items():
        together = deep and isinstance(value, dict)
        told[name] = {**told.get(name, {}), **cast(dict[str, Json], value)} if together else value
    content = {"schema": SCHEMA, "rfprobe": VERSION, key: told}
    _write(path, "", 0, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def _read_told(path: Path, key: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))[key] if path.exists() else {}
    except (ValueError, KeyError, TypeError, OSError):
        raise BadInput(f"{path}: not one of our exports; export into another directory") from None


def _write(path: Path, table: str, rows: int, content: bytes) -> Written:
    with written_whole(path) as file:
        file.write(content)
    return Written(path, table, rows)
