"""Exports: other programs read them, the numbers are the session's, and a folder that has some takes more."""

import csv
import json
import math
import re
import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet
import pytest
from mcap.reader import make_reader
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode
from rfprobe.export import FORMATS, describe_column, export, tables_of
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import FIELD_NAMES, Frame, FrameDecoder, encode_frame
from rfprobe_core import protocol
from tests.conftest import ROOT
from tests.host.synthetic_run import HELLO, SyntheticRun

DOCS = ROOT / "docs" / "data.md"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return SyntheticRun(end="fault").session(tmp_path_factory.mktemp("sessions"))


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


def same(mine: object, theirs: object) -> bool:
    """Equal as numbers, texts or times; both unknown counts as equal."""
    if pd.isna(mine):  # pyright: ignore[reportArgumentType]
        return theirs in ("", None) or (isinstance(theirs, float) and math.isnan(theirs))
    if isinstance(mine, pd.Timestamp):
        return mine == pd.Timestamp(theirs)  # pyright: ignore[reportArgumentType]
    if isinstance(mine, bool):
        return str(mine) == str(theirs)
    if isinstance(mine, (int, float)):
        return float(mine) == float(theirs)  # pyright: ignore[reportArgumentType]
    return str(mine) == theirs


def assert_equal(frame: pd.DataFrame, rows: list[dict[str, Any]], name: str) -> None:
    assert len(rows) == len(frame), name
    for column in frame:
        for mine, row in zip(frame[column].tolist(), rows, strict=True):
            assert same(mine, row[str(column)]), (name, column, mine, row[str(column)])


def test_csv_has_the_sessions_numbers(session: Session, tmp_path: Path) -> None:
    written = export(session, "csv", tmp_path)
    tables = tables_of(session)
    assert {each.table for each in written} == set(tables)
    assert {"telemetry", "dose", "health", "events", "truth", "enable_edges", "notes", "runs"} <= set(tables)
    for each in written:
        with each.path.open(newline="", encoding="utf-8") as file:
            assert_equal(tables[each.table], list(csv.DictReader(file)), each.table)


def test_parquet_has_the_sessions_numbers_and_units(session: Session, tmp_path: Path) -> None:
    tables = tables_of(session)
    for each in export(session, "parquet", tmp_path):
        table = pyarrow.parquet.ParquetFile(each.path).read()
        assert_equal(tables[each.table].drop(columns="session_id", errors="ignore"), table.to_pylist(), each.table)
        for column in table.schema:
            unit, meaning = describe_column(column.name)
            assert column.metadata == {b"unit": unit.encode(), b"meaning": meaning.encode()}
        place = each.path.relative_to(tmp_path).parts
        assert place[1:4] == ("device=unknown", "date=2026-03-04", f"session={session.id}")
    telemetry = pyarrow.parquet.read_schema(next((tmp_path / "telemetry").rglob("*.parquet")))
    assert telemetry.field("guard_C").metadata[b"unit"] == "°C".encode()
    assert telemetry.field("impedance_ohm").metadata[b"unit"] == "Ω".encode()


def test_mcap_has_the_sessions_numbers(session: Session, tmp_path: Path) -> None:
    (written,) = export(session, "mcap", tmp_path)
    found: dict[str, list[dict[str, Any]]] = {}
    with written.path.open("rb") as file:
        reader = make_reader(file)
        for schema, channel, message in reader.iter_messages():
            assert schema is not None and schema.encoding == "jsonschema"
            row = json.loads(message.data)
            assert set(row) == set(json.loads(schema.data)["properties"])
            if "utc" in row:
                assert message.log_time == pd.Timestamp(row["utc"]).value
            found.setdefault(channel.topic.removeprefix("/"), []).append(row)
        (meta,) = [each for each in reader.iter_metadata() if each.name == "session"]
    assert json.loads(meta.metadata["seed"]) == 7
    assert found.keys() == tables_of(session).keys()
    for name, frame in tables_of(session).items():
        assert_equal(frame, found[name], name)


def test_every_quantity_has_its_unit(session: Session) -> None:
    units = {column: describe_column(str(column))[0] for frame in tables_of(session).values() for column in frame}
    assert units["control_cem43_min"] == "min"
    assert units["guard_age_s"] == "s"
    assert units["cost_us_max"] == "µs"
    assert units["setpoint_C"] == "°C"
    assert units["duty"] == "1"
    assert units["state"] == ""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_manifest_and_schema_tell_what_is_there(session: Session, tmp_path: Path, kind: str) -> None:
    written = export(session, kind, tmp_path)
    folder = tmp_path / session.id if kind == "csv" else tmp_path
    entry = json.loads((folder / "manifest.json").read_text())["sessions"][session.id]
    assert entry["plan"] == "vertebra 70 °C"
    assert {folder / name for name in entry["files"]} == {each.path for each in written}
    for name, told in entry["files"].items():
        assert told["sha256"] == sha256((folder / name).read_bytes()).hexdigest()
    schema = json.loads((folder / "schema.json").read_text())["tables"]
    assert schema["telemetry"]["guard_C"] == {"type": "number", "unit": "°C", "meaning": "temperature, guard"}
    assert schema["telemetry"]["utc"]["type"] == "timestamp, UTC"
    assert schema["telemetry"]["enable"]["type"] == "boolean"


def brief_session(directory: Path, plan: str, number: int, guard_mC: list[int], uid: str) -> Path:
    """A session of a few telemetry frames with these guard readings."""
    started = datetime(2026, 3, 4, tzinfo=UTC) + timedelta(hours=number)
    parameters = {"thermocouples": 3, "tc0_role": 1, "tc1_role": 2, "tc2_role": 3}
    meta: dict[str, Any] = {"plan_name": plan, "parameters": parameters, "kind": "board"}
    decoder = FrameDecoder()
    with SessionWriter.create(directory, plan, f"s{number}", meta, started) as writer:
        hello = encode_frame(protocol.HELLO, hello={**HELLO, "uid": uid}, sequence=0)
        told = [(name, 0) for name in FIELD_NAMES[protocol.TELEMETRY]]
        frames = [hello]
        for index, value in enumerate(guard_mC, start=1):
            values = [value if name == "tc2_mC" else zero for name, zero in told]
            frames.append(encode_frame(protocol.TELEMETRY, values, sequence=index, tick=5 * index))
        for index, raw in enumerate(frames):
            (frame,) = decoder.feed(raw)
            assert isinstance(frame, Frame)
            writer.frame(frame, round(started.timestamp() * 1e9) + index * 50_000_000)
    return writer.path


def query_of_the_docs() -> str:
    (query,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return str(query)


@pytest.mark.slow
def test_the_query_of_the_docs_answers_over_a_hundred_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worst guard temperature by plan, held against the same from the sessions themselves."""
    plans = ("vertebra 70 °C", "phantom", "liver 80 °C")
    worst: dict[str, tuple[float, str, int]] = {}
    for number in range(100):
        plan = plans[number % 3]
        readings = [37_000, 37_000 + 61 * (number * 37 % 101), 37_500]
        path = brief_session(tmp_path / "sessions", plan, number, readings, f"board{number % 2}")
        hottest, session, count = worst.get(plan, (-math.inf, "", 0))
        ours = max(readings) / 1000
        worst[plan] = (max(hottest, ours), path.stem if ours > hottest else session, count + 1)
    code, stdout, stderr = run(
        "export", "--all", "-d", str(tmp_path / "sessions"), "--format", "parquet", "-o", str(tmp_path / "out")
    )
    assert (code, stderr) == (0, "")
    assert len(stdout.splitlines()) == 200  # of each session the run and its telemetry
    monkeypatch.chdir(tmp_path / "out")
    rows = duckdb.sql(query_of_the_docs()).fetchall()
    assert {plan: (value, session, count) for plan, value, session, count in rows} == worst
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    by_device = duckdb.sql(
        "SELECT device, count(*) FROM read_parquet('runs/**/*.parquet', hive_partitioning = true) GROUP BY ALL"
    )
    assert sorted(by_device.fetchall()) == [("board0", 50), ("board1", 50)]


def test_a_folder_takes_further_sessions_and_replaces_the_same_one(tmp_path: Path) -> None:
    first = brief_session(tmp_path, "phantom", 1, [40_000], "b")
    second = brief_session(tmp_path, "phantom", 2, [41_000, 42_000], "b")
    for path in (first, second, first):
        with Session(path) as session:
            export(session, "parquet", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["sessions"]) == {first.stem, second.stem}
    found = pyarrow.parquet.ParquetDataset(tmp_path / "out" / "telemetry").read()
    assert sorted(found["guard_C"].to_pylist()) == [40.0, 41.0, 42.0]
    assert list((tmp_path / "out").rglob(".*")) == []


def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("not.rfp").write_bytes(b"not a session")
    for arguments, told in (
        (["last", "--format", "xls"], "--format xls: must be one of csv, parquet, mcap"),
        (["last"], "sessions: there are no sessions here"),
        (["--all"], "sessions: there are no sessions here"),
        (["none"], "none: no session of that name in sessions"),
        (["not.rfp"], "not.rfp: not a session file"),
        (["not.rfp", "-o", "file"], "file: not a directory"),
    ):
        code, stdout, stderr = run("export", *arguments)
        assert (code, stdout, stderr) == (ExitCode.BAD_INPUT, "", told + "\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "not.rfp"]


def test_a_truncated_session_is_one_line(session: Session, tmp_path: Path) -> None:
    cut = tmp_path / "cut.rfp"
    cut.write_bytes(session.path.read_bytes()[:20_000])
    code, stdout, stderr = run("export", str(cut), "-o", str(tmp_path / "out"))
    assert (code, stdout, stderr.count("\n")) == (ExitCode.ENVIRONMENT, "", 1)
    assert stderr.startswith(f"{cut}: cannot be read: ")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_leaves_what_was_there(session: Session, tmp_path: Path) -> None:
    export(session, "csv", tmp_path)
    folder = tmp_path / session.id
    before = (folder / "runs.csv").read_bytes()
    (folder / "telemetry.csv").unlink()
    (folder / "telemetry.csv").mkdir()
    with pytest.raises(EnvironmentProblem, match=re.escape(f"{folder / 'telemetry.csv'}: cannot be written: ")):
        export(session, "csv", tmp_path)
    assert (folder / "runs.csv").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_foreign_manifest_is_left_alone(session: Session, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web application"}')
    with pytest.raises(BadInput, match="not one of our exports"):
        export(session, "parquet", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert (tmp_path / "manifest.json").read_text() == '{"name": "a web application"}'


def test_a_session_under_way_is_exported_as_far_as_it_goes(tmp_path: Path) -> None:
    run_ = SyntheticRun()
    with SessionWriter.create(tmp_path, run_.plan.name, "s", run_.meta()) as writer:
        run_.write(writer)
        writer.flush()
        code, _, stderr = run("export", str(writer.path), "-o", str(tmp_path / "out"))
    assert code == 0
    assert stderr == f"{writer.path}: note: not closed by its writer; exported as far as it goes\n"


@pytest.mark.parametrize("kind", FORMATS)
def test_exporting_twice_gives_the_same_bytes(session: Session, tmp_path: Path, kind: str) -> None:
    first = {each.path: each.path.read_bytes() for each in export(session, kind, tmp_path)}
    shutil.rmtree(tmp_path / session.id, ignore_errors=True)
    assert {each.path: each.path.read_bytes() for each in export(session, kind, tmp_path)} == first
