"""Exports: what other tools read is what the session says, to the last digit, with units and a manifest."""

import csv
import json
import math
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader

from rfprobe.errors import BadInput, EnvironmentProblem
from rfprobe.export import export, tables_of, unit_of
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import FrameDecoder, encode_frame
from rfprobe_core import protocol
from tests.host.synthetic_run import EPOCH_NS, HELLO, SyntheticRun

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with SyntheticRun().session(tmp_path_factory.mktemp("sessions")) as made:
        yield made


def test_csv_reads_back_as_the_same_numbers(session: Session, tmp_path: Path) -> None:
    export(session, "csv", tmp_path)
    with (tmp_path / session.id / "telemetry.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("t_s", "control_C", "power_W", "impedance_ohm"):
        read = [float(row[name]) if row[name] else math.nan for row in rows]
        assert pd.Series(read).equals(session.df[name].astype(float)), name


def test_parquet_has_the_same_columns_and_units_in_its_schema(session: Session, tmp_path: Path) -> None:
    export(session, "parquet", tmp_path)
    for name, table in tables_of(session).items():
        (path,) = (tmp_path / name).rglob("*.parquet")
        read = pq.ParquetFile(path).read()
        assert read.to_pandas().equals(table), name
        for each in read.schema:
            assert each.metadata[b"unit"].decode() == unit_of(each.name)
    assert (path.parent.name, path.parent.parent.name) == (f"session={session.id}", "date=2026-03-04")


def test_mcap_opens_with_its_reader_and_says_the_same(session: Session, tmp_path: Path) -> None:
    export(session, "mcap", tmp_path)
    with (tmp_path / f"{session.id}.mcap").open("rb") as file:
        reader = make_reader(file)
        messages = [
            (message.log_time, json.loads(message.data)) for _, _, message in reader.iter_messages("/telemetry")
        ]
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
    df = session.df
    assert [at for at, _ in messages] == [int(each) for each in df["utc"].astype("int64")]
    assert [said["control_C"] for _, said in messages] == list(df["control_C"])
    impedance = [said["impedance_ohm"] for _, said in messages]
    assert [math.nan if each is None else each for each in impedance] == pytest.approx(
        list(df["impedance_ohm"]), nan_ok=True
    )
    assert json.loads(metadata["rfprobe"]["plan_name"]) == session.meta["plan_name"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "mcap"])
def test_the_manifest_vouches_for_every_file(session: Session, tmp_path: Path, kind: str) -> None:
    export(session, kind, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in export(session, kind, tmp_path)}  # twice is once
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    (entry,) = manifest["sessions"].values()
    listed = {tmp_path / name for name in entry["files"]}
    assert listed | {tmp_path / "manifest.json", tmp_path / "schema.json"} == set(files)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(files)
    for name, digest in entry["files"].items():
        assert sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert entry["rows"]["telemetry"] == len(session.df)
    schema = json.loads((tmp_path / "schema.json").read_text(encoding="utf-8"))
    assert schema["telemetry"]["guard_C"] == {"unit": "°C"}


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("guard_C", "°C"),
        ("impedance_ohm", "Ω"),
        ("guard_cem43_min", "min"),
        ("cost_us_mean", "µs"),
        ("flags", ""),
        ("state", ""),
    ],
)
def test_units_are_read_from_the_names(column: str, unit: str) -> None:
    assert unit_of(column) == unit


def test_what_is_wrong_is_said_and_nothing_is_overwritten(session: Session, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="must be one of csv, parquet, mcap"):
        export(session, "xls", tmp_path)
    (tmp_path / "manifest.json").write_text("somebody else's", encoding="utf-8")
    with pytest.raises(BadInput, match="choose another folder"):
        export(session, "csv", tmp_path)
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == "somebody else's"
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        export(session, "csv", tmp_path / "file")


def small_session(folder: Path, number: int) -> tuple[str, float]:
    """A session of one second; (plan, its hottest guard reading)."""
    plan = f"plan {number % 4}"
    worst_C = 37.0 + (number * 7919 % 1000) / 200
    decoder = FrameDecoder()
    parameters = SyntheticRun().parameters
    meta = {"plan_name": plan, "parameters": dict(parameters), "hello": dict(HELLO) | {"uid": f"board{number % 3}"}}
    with SessionWriter.create(folder, plan, "s", meta) as writer:
        for index in range(20):
            guard_mC = round(1000 * (worst_C - (0.0 if index == 11 else 0.5)))
            values = (0, 0, 0, 60_000, 40_000, guard_mC, 0, 1, 1, 1, 255, 0, 0, 0, 0, 0, 65_535, 0, 0, 0)
            raw = encode_frame(protocol.TELEMETRY, values, sequence=index, tick=index * 5, state=protocol.RAMP)
            for frame in decoder.feed(raw):
                assert not isinstance(frame, str)
                writer.frame(frame, EPOCH_NS + index * 50_000_000)
    return plan, round(worst_C * 1000) / 1000


def test_a_hundred_sessions_answer_the_query_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    worst: dict[str, list[float]] = {}
    for number in range(100):
        plan, worst_C = small_session(tmp_path / "sessions", number)
        worst.setdefault(plan, []).append(worst_C)
    for path in sorted((tmp_path / "sessions").glob("*.rfp")):
        with Session(path) as session:
            export(session, "parquet", tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    answer = duckdb.sql(query).fetchall()
    expected = sorted(((plan, max(each), len(each)) for plan, each in worst.items()), key=lambda row: -row[1])
    assert answer == expected
