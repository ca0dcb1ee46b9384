"""A session's tables in the formats that other tools read: CSV, Parquet in hive partitions, MCAP.

The columns are those of `rfprobe.session.Session`: SI units, the unit in the name and again in the schema. Beside
the data stand `manifest.json` (what was exported, from what, with hashes) and `schema.json` (columns and units).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from rfprobe.errors import BadInput, EnvironmentProblem, reason_of
from rfprobe.session import Session
from rfprobe_core.version import VERSION

if TYPE_CHECKING:
    import pandas as pd

MANIFEST: Final = "manifest.json"
SCHEMA: Final = "schema.json"
UNITS: Final = {
    "C": "°C",
    "W": "W",
    "V": "V",
    "A": "A",
    "ohm": "Ω",
    "s": "s",
    "J": "J",
    "min": "min",
    "us": "µs",
    "bytes": "B",
}
"""What the last part of a column's name says; `cost_us_mean` has it before the last."""

Tables = dict[str, "pd.DataFrame"]


@dataclass
class Written:
    """What one session's export left on the disk, with the number of rows of each table."""

    files: list[Path] = field(default_factory=list[Path])
    rows: dict[str, int] = field(default_factory=dict[str, int])


def tables_of(session: Session) -> Tables:
    """Every table that has a row, by name, and `session`: one row that says what this was."""
    import pandas as pd

    found: Tables = {
        "telemetry": session.df,
        "dose": session.dose,
        "health": session.health,
        "events": session.events,
        "commands": session.commands,
        "notes": session.notes,
        "text": session.text,
    }
    if session.simulated:
        found["truth"] = session.truth
        found["enable_edges"] = session.enable_edges
    return {
        "session": pd.DataFrame([session_row(session)]),
        **{name: each for name, each in found.items() if len(each)},
    }


def session_row(session: Session) -> dict[str, Any]:
    """What a query over many sessions groups and filters by."""
    summary = session.summary
    peaks, doses = summary["peak_C"], summary["cem43_min"]
    row = {
        name: summary[name]
        for name in (
            "session_id",
            "plan",
            "probe",
            "tissue",
            "runtime",
            "seed",
            "started_utc",
            "result",
            "stop_reason",
            "target_C",
            "overshoot_C",
            "settling_s",
            "steady_error_C",
            "energy_J",
            "rf_on_s",
        )
    }
    row |= {f"{role}_peak_C": value for role, value in peaks.items()}
    row |= {f"{role}_cem43_min": value for role, value in doses.items()}
    row["sample"] = json.dumps(summary["sample"], ensure_ascii=False) if summary["sample"] else None
    row["sample_id"] = (summary["sample"] or {}).get("id")
    return {name: _typed(name, value) for name, value in row.items()}


def _typed(name: str, value: Any) -> Any:
    """Numbers as floats and the rest as text, so that a column has one type in every session."""
    if value is None:
        return float("nan") if unit_of(name) else None
    return float(value) if unit_of(name) else str(value)


def unit_of(column: str) -> str:
    """`control_C` → `°C`; empty for a column without a unit."""
    return next((UNITS[part] for part in reversed(column.split("_")[1:]) if part in UNITS), "")


def device_of(session: Session) -> str:
    """The unique id in HELLO, as part of a path."""
    hello = session.meta.get("hello")
    uid = str(hello.get("uid", "")) if isinstance(hello, dict) else ""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", uid) or "unknown"


def date_of(session: Session) -> str:
    """The day it was begun, UTC: `2026-11-25`."""
    return str(session.meta.get("started_utc") or "unknown")[:10]


def export(session: Session, kind: str, folder: Path) -> list[Path]:
    """Write the session in one format and enter it in the folder's manifest; what was there of it is replaced.

    Raises BadInput for a format that does not exist, EnvironmentProblem for a disk or a library that is missing.
    """
    writers: dict[str, Callable[[Session, Path], Written]] = {"csv": _csv, "parquet": _parquet, "mcap": _mcap}
    if kind not in writers:
        raise BadInput(f"--format {kind}: must be one of {', '.join(writers)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = writers[kind](session, folder)
        _enter(session, kind, folder, written)
    except ModuleNotFoundError as missing:
        raise EnvironmentProblem(f"--format {kind} needs {missing.name}: pip install 'rfprobe[export]'") from None
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: cannot be written: {reason_of(error)}") from None
    return [*written.files, folder / MANIFEST, folder / SCHEMA]


def _csv(session: Session, folder: Path) -> Written:
    written = Written()
    inside = folder / session.id
    inside.mkdir(exist_ok=True)
    for name, table in tables_of(session).items():
        path = inside / f"{name}.csv"
        # repr of a float reads back as the same float
        _replace(path, table.to_csv(index=False).encode("utf-8"))
        written.files.append(path)
        written.rows[name] = len(table)
    return written


def _parquet(session: Session, folder: Path) -> Written:
    pa, pq = _pyarrow()
    written = Written()
    for name, table in tables_of(session).items():
        place = folder / name / f"device={device_of(session)}" / f"date={date_of(session)}" / f"session={session.id}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / "part-0.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(_arrow(table, session), sink, compression="zstd")
        _replace(path, sink.getvalue().to_pybytes())
        written.files.append(path)
        written.rows[name] = len(table)
    return written


def _pyarrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet part, which come without annotations."""
    from importlib import import_module

    return import_module("pyarrow"), import_module("pyarrow.parquet")


def _arrow(table: pd.DataFrame, session: Session) -> Any:
    """The table with each column's unit, and with what the session says of itself."""
    pa, _ = _pyarrow()
    made = pa.Table.from_pandas(table, preserve_index=False)
    fields = [each.with_metadata({"unit": unit_of(each.name)}) for each in made.schema]
    about = {"rfprobe": VERSION, "session_id": session.id, "digests": json.dumps(session.meta.get("digests"))}
    return made.cast(pa.schema(fields, metadata={**(made.schema.metadata or {}), **about}))


def _mcap(session: Session, folder: Path) -> Written:
    import io

    from mcap.writer import Writer

    written = Written()
    sink = io.BytesIO()
    writer = Writer(sink)
    writer.start(profile="", library=f"rfprobe {VERSION}")
    writer.add_metadata("rfprobe", {key: json.dumps(value, ensure_ascii=False) for key, value in session.meta.items()})
    zero_ns = _host_ns_at_zero(session)
    for name, table in tables_of(session).items():
        schema = json.dumps(_json_schema(table)).encode()
        channel = writer.register_channel(f"/{name}", "json", writer.register_schema(name, "jsonschema", schema))
        for number, (at_ns, message) in enumerate(_messages(table, zero_ns)):
            writer.add_message(channel, log_time=at_ns, publish_time=at_ns, sequence=number, data=message)
        written.rows[name] = len(table)
    writer.finish()
    path = folder / f"{session.id}.mcap"
    _replace(path, sink.getvalue())
    written.files.append(path)
    return written


def _host_ns_at_zero(session: Session) -> int:
    """The host's clock at `t_s` 0, for what has no time of the host's own."""
    _, t_s, host_ns = session.clock
    return int(host_ns[0]) - round(float(t_s[0]) * 1e9) if len(t_s) else 0


def _messages(table: pd.DataFrame, zero_ns: int) -> Iterator[tuple[int, bytes]]:
    """(time in ns, JSON) of each row; what is not known is null."""
    import pandas as pd

    if "utc" in table:
        times = [int(each) for each in table["utc"].astype("int64")]
    elif "t_s" in table:
        times = [zero_ns + round(float(t_s) * 1e9) for t_s in table["t_s"]]
    else:
        times = [zero_ns] * len(table)
    plain = table.drop(columns=["utc"], errors="ignore")
    names = [str(name) for name in plain.columns]
    columns = [plain[name].astype(object).where(pd.notna(plain[name]), None).tolist() for name in names]
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode
    for at_ns, values in zip(times, zip(*columns, strict=True), strict=True):
        yield at_ns, encode(dict(zip(names, values, strict=True))).encode("utf-8")


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    return value.item()


_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}


def _json_schema(table: pd.DataFrame) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name in map(str, table.columns):
        if name != "utc":
            kind = _JSON_TYPES.get(table[name].dtype.kind, "string")
            properties[name] = {"type": [kind, "null"], "description": unit_of(name)}
    return {"type": "object", "properties": properties}


def _replace(path: Path, data: bytes) -> None:
    """Write the file whole, or leave what was there."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _enter(session: Session, kind: str, folder: Path, written: Written) -> None:
    """Add this session to the manifest and its columns to the schema."""
    manifest = _read_json(folder / MANIFEST)
    manifest.update(schema=1, rfprobe=VERSION)
    manifest.setdefault("sessions", {})[f"{session.id}.{kind}"] = {
        "session_id": session.id,
        "format": kind,
        "plan": session.meta.get("plan_name"),
        "device": device_of(session),
        "rows": written.rows,
        "files": {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in written.files},
    }
    schema = _read_json(folder / SCHEMA)
    for name, table in tables_of(session).items():
        columns = schema.setdefault(name, {})
        columns.update({str(column): {"unit": unit_of(str(column))} for column in table.columns})
    for path, content in ((folder / MANIFEST, manifest), (folder / SCHEMA, schema)):
        _replace(path, json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8"))


def _read_json(path: Path) -> dict[str, Any]:
    """What is there already; a file that is not ours is not overwritten."""
    if not path.exists():
        return {}
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{path}: is there and is no {path.stem} of an export: choose another folder")
    return cast(dict[str, Any], found)
