"""The tables of a session as MCAP: a channel each, a JSON message for each row, logged at the host's time."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from mcap.writer import CompressionType, Writer

from rfprobe.export import describe_column, utc_texts
from rfprobe.session import Session
from rfprobe_core.version import VERSION

if TYPE_CHECKING:
    import pandas as pd

_NS_PER_S = 1_000_000_000
_JSON_TYPES = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}


def write_mcap(session: Session, tables: Mapping[str, "pd.DataFrame"], file: IO[bytes]) -> int:
    """Write the whole file; returns how many messages are in it. What is not known is null."""
    writer = Writer(file, compression=CompressionType.ZSTD)
    writer.start(profile="", library=f"rfprobe {VERSION}")
    writer.add_metadata("session", {key: json.dumps(value) for key, value in session.meta.items()})
    start_ns = _start_ns(session)
    count = 0
    for name, frame in _topics(session, tables):
        channel = _add_channel(writer, name, frame)
        for sequence, (log_ns, row) in enumerate(_messages(frame, start_ns)):
            writer.add_message(channel, log_ns, row, log_ns, sequence)
        count += len(frame)
    writer.finish()
    return count


def _topics(session: Session, tables: Mapping[str, "pd.DataFrame"]) -> Iterator[tuple[str, "pd.DataFrame"]]:
    """(topic, rows). A viewer draws a topic as one curve: of a device with two channels, each has its own topics."""
    for name, frame in tables.items():
        if "channel" not in frame or name in OF_THE_DEVICE or len(session.telling) < _SEVERAL:
            yield name, frame
            continue
        for number, rows in frame.groupby("channel", sort=True):
            yield f"channel_{int(str(number)) + 1}/{name}", rows


OF_THE_DEVICE = ("health",)
_SEVERAL = 2


def _add_channel(writer: Writer, name: str, frame: "pd.DataFrame") -> int:
    properties: dict[str, Any] = {}
    for column in frame:
        unit, meaning = describe_column(str(column))
        kind = _JSON_TYPES.get(frame[column].dtype.kind, "string")
        properties[str(column)] = {"type": [kind, "null"], "unit": unit, "description": meaning}
    schema = {"title": name, "type": "object", "properties": properties}
    ident = writer.register_schema(f"rfprobe.{name}", "jsonschema", json.dumps(schema).encode())
    return writer.register_channel(f"/{name}", "json", ident)


def _start_ns(session: Session) -> int:
    """The host's time at `t_s` 0."""
    _, t_s, host_ns = session.clock
    if len(t_s):
        return int(host_ns[0]) - round(float(t_s[0]) * _NS_PER_S)
    return int(datetime.fromisoformat(str(session.meta["started_utc"])).timestamp()) * _NS_PER_S


def _messages(frame: "pd.DataFrame", start_ns: int) -> Iterator[tuple[int, bytes]]:
    """(time, JSON) of each row. A table without the host's time is told by the device's."""
    if "utc" in frame:
        times = [int(value) for value in frame["utc"].astype("datetime64[ns, UTC]").astype("int64")]
    elif "t_s" in frame:
        times = [start_ns + round(float(value) * _NS_PER_S) for value in frame["t_s"]]
    else:
        times = [start_ns] * len(frame)
    names = [str(name) for name in frame]
    columns = [_plain(frame[name]) for name in frame]
    for time_ns, values in zip(times, zip(*columns, strict=True), strict=True):
        yield time_ns, json.dumps(dict(zip(names, values, strict=True))).encode()


def _plain(column: "pd.Series[Any]") -> "list[Any]":
    """Python's own values; None for what is not known."""
    if column.dtype.kind == "M":
        return utc_texts(column)
    if not column.isna().any():
        return list(column.tolist())
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
