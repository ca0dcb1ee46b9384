"""Sessions: what is written can be read, kill -9 loses nothing, and verify finds what was tampered with."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode
from rfprobe.session import Session, find_session, list_sessions, open_session, ticks_between, unwrap_ticks
from rfprobe.session_format import DECODED_TABLES, TABLES, TRUTH_COLUMNS, session_name, slug
from rfprobe.session_verify import decode_frame, verify_path
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import FIELD_NAMES, Frame, FrameDecoder, encode_frame
from rfprobe_core import protocol
from tests.host.synthetic_run import EPOCH_NS, HELLO, STARTED, SyntheticRun, alter, truth_C

# Writes frames in real time, noting each one's host time in a second file before it hands in the next.
CHILD = """
import os, sys, time
from pathlib import Path
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import FrameDecoder, encode_frame
from rfprobe_core import protocol
telemetry = (0,) * len(protocol.FRAMES[protocol.TELEMETRY][2])
noted = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY)
decoder = FrameDecoder()
writer = SessionWriter(Path(sys.argv[1]), {"plan_name": "killed"})
writer.armed(sys.argv[3] == "armed")
for number in range(1_000_000):
    raw = encode_frame(protocol.TELEMETRY, telemetry, sequence=number & 0xFFFF, tick=number)
    (frame,) = decoder.feed(raw)
    now_ns = time.time_ns()
    writer.frame(frame, now_ns)
    os.pwrite(noted, now_ns.to_bytes(8, "little"), 0)
    if number == 100:
        print("under way", flush=True)
    time.sleep(0.001)
"""


def telemetry(sequence: int, tick: int | None = None) -> Frame:
    values = (0,) * len(FIELD_NAMES[protocol.TELEMETRY])
    raw = encode_frame(protocol.TELEMETRY, values, sequence=sequence & 0xFFFF, tick=sequence if tick is None else tick)
    (frame,) = FrameDecoder().feed(raw)
    assert isinstance(frame, Frame)
    return frame


def killed_session(directory: Path, armed: str, lasts_s: float) -> tuple[Path, int]:
    """(a session whose writer was killed with SIGKILL, host time of the last frame it had handed in)."""
    path, noted = directory / "killed.rfp", directory / "noted"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(path), str(noted), armed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "under way\n"
        time.sleep(lasts_s)
        child.send_signal(signal.SIGKILL)
    return path, int.from_bytes(noted.read_bytes(), "little")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SyntheticRun(end="fault").record(tmp_path_factory.mktemp("sessions"))


@pytest.fixture
def tampered(recorded: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copy(recorded, tmp_path))


def test_every_frame_is_there_raw_and_decoded(recorded: Path) -> None:
    expected = list(SyntheticRun(end="fault").frames())
    with Session(recorded) as session:
        rows = session.rows("SELECT host_ns, type, sequence, tick, raw FROM frames ORDER BY id")
        assert rows == [(ns, f.type, f.sequence, f.tick, f.raw) for f, ns in expected]
        for kind, table in DECODED_TABLES.items():
            stored = session.rows(f"SELECT * FROM {table} ORDER BY frame")
            assert [row[4:] for row in stored] == [f.values for f, _ in expected if f.type == kind]
        ((fields,),) = session.rows("SELECT fields FROM hellos")
        assert json.loads(fields) == HELLO
        assert session.meta["hello"] == HELLO


def test_the_decoded_tables_are_the_protocols(recorded: Path) -> None:
    with closing(sqlite3.connect(recorded)) as database:
        for table, columns in TABLES.items():
            assert tuple(row[1] for row in database.execute(f"PRAGMA table_info({table})")) == columns
    assert TABLES["telemetry"][4:] == FIELD_NAMES[protocol.TELEMETRY]


def test_telemetry_in_si_units(recorded: Path) -> None:
    df = Session(recorded).df
    row = df[df["t_s"] == 10.0].iloc[0]
    assert row["utc"].isoformat() == "2026-03-04T05:06:17+00:00"
    assert row["state"] == "RAMP"
    assert row["control_C"] == pytest.approx(truth_C(1_000) - 0.5)
    assert row["control_age_s"] == pytest.approx(0.03)
    assert row["guard_C"] == 37.5
    assert row["setpoint_C"] == pytest.approx(45.0)
    assert row["power_W"] == 4.0
    assert row["voltage_V"] == 20.0
    assert row["current_A"] == 0.2
    assert row["impedance_ohm"] == 123.4
    assert row["duty"] == pytest.approx(30_000 / 65_535)
    assert bool(row["enable"]) is True
    assert row["energy_J"] == pytest.approx(32.0)
    before = df[df["t_s"] == 1.0].iloc[0]
    assert np.isnan(before["setpoint_C"])
    assert np.isnan(before["impedance_ohm"])
    assert list(df.columns[:4]) == ["t_s", "utc", "channel", "state"]
    assert not any(column.startswith("tc") for column in df.columns)


def test_a_reading_too_old_is_nan(tmp_path: Path) -> None:
    fields = dict.fromkeys(FIELD_NAMES[protocol.TELEMETRY], 0) | {"tc0_mC": 37_000, "tc0_age": 255}
    raw = encode_frame(protocol.TELEMETRY, tuple(fields.values()), tick=1)
    (frame,) = FrameDecoder().feed(raw)
    assert isinstance(frame, Frame)
    with SessionWriter(tmp_path / "x.rfp", SyntheticRun().meta()) as writer:
        writer.frame(frame, EPOCH_NS)
    df = Session(tmp_path / "x.rfp").df
    assert np.isnan(df["control_C"].iloc[0])
    assert np.isnan(df["control_age_s"].iloc[0])


def test_events_dose_health_and_the_rest(recorded: Path) -> None:
    session = Session(recorded)
    events = session.events
    fault = events[events["kind"] == "fault"].iloc[0]
    assert (fault["cause"], fault["row"], fault["t_s"], fault["first_t_s"]) == (
        "interlock_open",
        "interlock_open",
        20.0,
        19.99,
    )
    assert fault["text"].startswith("Fault: The interlock was opened.")
    assert events["text"].iloc[-1] == "State: stopped by a fault."
    assert session.dose["control_cem43_min"].iloc[-1] == pytest.approx(0.12)
    assert session.dose["rf_on_s"].iloc[-1] == pytest.approx(18.0)
    assert session.health["cost_us_mean"].iloc[-1] == 800
    assert session.health["lease_left_s"].iloc[-1] == 0.9
    assert session.commands["text"].tolist() == ["5 ARM 1 7*ABCD"]
    assert session.commands["t_s"].tolist() == [1.0]
    assert session.notes["text"].tolist() == ["sample moved"]
    assert session.text["t_s"].tolist() == [3.0]
    assert list(session.truth.columns) == list(TRUTH_COLUMNS)
    assert session.truth["duty"].max() == pytest.approx(30_000 / 65_535)
    assert session.enable_edges["level"].tolist() == [1.0, 0.0]


def test_what_is_not_measured_is_nan(tmp_path: Path) -> None:
    values = (protocol.NOT_MEASURED, 0, 0, protocol.NOT_MEASURED, 1, 0, 0, 0, 0, 0)
    (frame,) = FrameDecoder().feed(encode_frame(protocol.HEALTH, values, tick=1))
    assert isinstance(frame, Frame)
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        writer.frame(frame, EPOCH_NS)
    session = Session(tmp_path / "x.rfp")
    assert session.health[["cost_us_mean", "heap_free_bytes"]].isna().all(axis=None)
    assert session.df.empty
    assert session.summary["result"] is None


def test_two_thermocouples_of_one_role_have_two_columns(tmp_path: Path) -> None:
    session = SyntheticRun(duplicate_guard=True).session(tmp_path)
    assert {"guard_C", "guard_2_C", "guard_2_cem43_min"} <= {*session.df.columns, *session.dose.columns}


def test_a_session_without_parameters_names_its_places(tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        writer.frame(telemetry(0), EPOCH_NS)
    assert {"tc0_C", "tc3_C"} <= set(Session(tmp_path / "x.rfp").df.columns)


@pytest.mark.parametrize("first_tick", [0, 77, protocol.U32_MAX - 900])
def test_time_counts_from_tick_zero_through_the_wrap(tmp_path: Path, first_tick: int) -> None:
    session = SyntheticRun(end="fault", first_tick=first_tick).session(tmp_path)
    assert session.df["t_s"].tolist() == pytest.approx([n * 0.05 for n in range(len(session.df))])
    assert session.truth["t_s"].iloc[0] == 0.0


def test_time_goes_on_through_a_restart_of_the_device() -> None:
    ticks = np.array([1000, 1010, 5, 15], dtype=np.int64)
    host_ns = np.array([0, 100, 2_100, 2_200], dtype=np.int64) * 1_000_000
    assert unwrap_ticks(ticks, host_ns).tolist() == [0, 10, 210, 220]
    assert ticks_between(protocol.U32_MAX, 0) == 1
    assert ticks_between(5_000, 4) is None
    assert unwrap_ticks(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_names_tell_time_plan_and_sample_and_sort() -> None:
    name = session_name(STARTED, "L3 phantom, 70 °C", "Größe 7/β")
    assert name == "20260304T050607000Z_l3-phantom-70-c_grosse-7.rfp" or name.startswith(
        "20260304T050607000Z_l3-phantom-70-c_gro"
    )
    assert slug("§$%", "plan") == "plan"
    assert len(slug("x" * 100, "plan")) == 40
    assert "/" not in slug("../../etc", "plan")


def test_sessions_of_the_same_moment_never_collide(tmp_path: Path) -> None:
    def one(number: int) -> Path:
        with SessionWriter.create(tmp_path, "plan", "sample", {"number": number}, STARTED) as writer:
            writer.frame(telemetry(number), EPOCH_NS)
        return writer.path

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(one, range(32)))
    assert len(set(paths)) == 32
    assert sorted(str(Session(path).meta["number"]) for path in paths) == sorted(map(str, range(32)))
    assert all(verify_path(path).passed for path in paths)


def test_what_never_got_a_frame_leaves_nothing_behind(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "sessions"
    directory.parent.mkdir()
    with SessionWriter.create(directory, "plan", "sample", {}) as writer:
        assert writer.path.exists()
        writer.note(0, "nothing came")
    assert not directory.exists()
    writer = SessionWriter.create(directory, "plan", "sample", {})
    writer.frame(telemetry(0), EPOCH_NS)
    writer.discard()
    assert not directory.exists()


def test_a_directory_that_was_there_stays(tmp_path: Path) -> None:
    with SessionWriter.create(tmp_path, "plan", "sample", {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_exception_keeps_what_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SessionWriter(tmp_path / "x.rfp", {}) as writer:
        writer.frame(telemetry(0), EPOCH_NS)
        _ = 1 // 0
    assert verify_path(tmp_path / "x.rfp").passed
    assert [path.name for path in tmp_path.iterdir()] == ["x.rfp"]


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "x.rfp", {})
    writer.frame(telemetry(0), EPOCH_NS)
    writer.close()
    writer.close()
    assert Session(tmp_path / "x.rfp").closed


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.rfp").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError):
        SessionWriter(tmp_path / "x.rfp", {})
    assert (tmp_path / "x.rfp").read_text(encoding="utf-8") == "mine"


def test_a_place_that_is_no_directory_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EnvironmentProblem, match="not a directory") as raised:
        SessionWriter(tmp_path / "file" / "x.rfp", {})
    assert raised.value.exit_code == ExitCode.ENVIRONMENT


def test_a_full_disk_is_told_and_what_was_committed_stays(tmp_path: Path) -> None:
    limited = """
import resource, sys
from pathlib import Path
sys.argv = ["", "", "", ""]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from rfprobe.errors import EnvironmentProblem
from rfprobe.session_writer import SessionWriter
from tests.host.test_session import telemetry
writer = SessionWriter(Path("full.rfp"), {})
try:
    for number in range(100_000):
        writer.frame(telemetry(number), number)
        if number == 99:
            writer.flush()
except EnvironmentProblem as problem:
    print("told:", problem)
try:
    writer.close()
except EnvironmentProblem as problem:
    print("again:", problem)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.getcwd()])}
    done = subprocess.run(
        [sys.executable, "-c", limited],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("told: full.rfp: cannot be written: ")
    assert "\nagain: full.rfp: cannot be written: " in done.stdout
    assert done.stderr == ""
    (tmp_path / "full.rfp-shm").unlink(missing_ok=True)
    assert verify_path(tmp_path / "full.rfp").frames >= 100


def test_it_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "x.rfp", {"plan_name": "live"}) as writer:
        for number in range(50):
            writer.frame(telemetry(number), EPOCH_NS + number)
        writer.flush()
        reader = Session(tmp_path / "x.rfp")
        assert len(reader.df) == 50
        assert not reader.closed
        assert verify_path(tmp_path / "x.rfp").notes
        writer.frame(telemetry(50), EPOCH_NS + 50)
    reader.close()
    assert len(Session(tmp_path / "x.rfp").df) == 51
    assert Session(tmp_path / "x.rfp").closed


def test_meta_must_be_json(tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        writer.frame(telemetry(0), EPOCH_NS)
        writer.set_meta("list", [1, {"a": None}])
        with pytest.raises(TypeError):
            writer.set_meta("object", cast(Any, object()))
        with pytest.raises(ValueError, match="11 columns"):
            writer.truth_rows([(0.0,)])
    assert Session(tmp_path / "x.rfp").meta["list"] == [1, {"a": None}]


@pytest.mark.parametrize("armed", ["armed", "at rest"])
def test_a_killed_writer_leaves_a_good_session(tmp_path: Path, armed: str) -> None:
    path, _ = killed_session(tmp_path, armed, 0.5)
    found = verify_path(path)
    assert found.passed, found.problems
    assert found.frames > 100
    assert any("not closed" in note for note in found.notes)
    with Session(path) as session:
        assert session.summary["result"] is None
        assert session.rows("SELECT max(sequence) - count(*) FROM frames") == [(-1,)]


@pytest.mark.bench
@pytest.mark.parametrize("armed", ["armed", "at rest"])
def test_a_killed_writer_loses_no_more_than_250_ms(tmp_path: Path, armed: str) -> None:
    path, handed_in_ns = killed_session(tmp_path, armed, 2.0)
    ((last_ns,),) = Session(path).rows("SELECT max(host_ns) FROM frames")
    assert (handed_in_ns - last_ns) / 1e6 <= 250.0


@pytest.mark.bench
def test_it_takes_20_000_frames_a_second(tmp_path: Path) -> None:
    frames = [telemetry(number) for number in range(20_000)]
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        writer.armed(True)
        began = time.perf_counter()
        for number, frame in enumerate(frames):
            writer.frame(frame, number)
        writer.flush()
        took_s = time.perf_counter() - began
    assert len(frames) / took_s >= 20_000


def test_a_good_session_passes(recorded: Path) -> None:
    found = verify_path(recorded)
    assert (found.problems, found.notes) == ([], [])
    assert found.frames == len(list(SyntheticRun(end="fault").frames()))


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "UPDATE frames SET raw = CAST(substr(raw, 1, 9) || x'55' AS BLOB) WHERE id = 40",
            "its CRC or its form",
        ),
        ("UPDATE frames SET raw = substr(raw, 1, 20) WHERE id = 40", "its CRC or its form"),
        ("UPDATE frames SET raw = CAST(raw || raw AS BLOB) WHERE id = 40", "its CRC or its form"),
        ("UPDATE frames SET tick = tick + 1 WHERE id = 40", "its row does not say what its bytes say"),
        (
            "UPDATE frames SET sequence = sequence + 1 WHERE id = 40",
            "its row does not say what its bytes say",
        ),
        ("UPDATE telemetry SET tc0_mC = tc0_mC + 1 WHERE tick = 40", "its decoded telemetry is not what"),
        ('UPDATE events SET "value" = 1 WHERE code = 3', "its decoded event is not what"),
        ("UPDATE dose SET state = 1 WHERE frame > 0", "its decoded dose is not what"),
        ("UPDATE hellos SET fields = '{}'", "its decoded hello is not what"),
        ("DELETE FROM telemetry WHERE tick = 40", "its decoded telemetry is not what"),
        ("DELETE FROM hellos", "its decoded hello is not what"),
        ("DELETE FROM frames WHERE id = 40", "a row for frame 40, which is not there"),
        ("DELETE FROM frames", "there is not one frame in it"),
        ("DROP TABLE health", "table health has the columns ()"),
        ("ALTER TABLE dose ADD COLUMN x INTEGER", "table dose has the columns"),
    ],
)
def test_tampering_is_found(tampered: Path, statement: str, problem: str) -> None:
    alter(tampered, statement)
    found = verify_path(tampered)
    assert not found.passed
    assert any(problem in each for each in found.problems), found.problems


def test_a_damaged_page_is_found(tampered: Path) -> None:
    content = bytearray(tampered.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 64] = bytes(64)
    tampered.write_bytes(content)
    assert not verify_path(tampered).passed


def test_a_truncated_file_is_found(tampered: Path) -> None:
    tampered.write_bytes(tampered.read_bytes()[:-8192])
    assert not verify_path(tampered).passed


def test_many_complaints_are_cut_short(tampered: Path) -> None:
    alter(tampered, "UPDATE telemetry SET tc0_mC = 1")
    found = verify_path(tampered)
    assert len(found.problems) == 6
    assert "more of this kind" in found.problems[-1]


def test_lost_frames_fail_and_dropped_ones_do_not(tmp_path: Path) -> None:
    lost = verify_path(SyntheticRun(lost=frozenset({50, 51})).record(tmp_path))
    assert lost.lost == 2
    assert "2 frames are lost: 2 sequence numbers are missing" in lost.problems[0]
    dropped = verify_path(SyntheticRun(dropped=frozenset({50, 51}), dropped_before=9).record(tmp_path))
    assert dropped.passed
    assert (dropped.dropped, dropped.lost) == (2, 0)
    both = verify_path(SyntheticRun(dropped=frozenset({50}), lost=frozenset({700})).record(tmp_path))
    assert (both.dropped, both.lost) == (1, 1)


def test_sequence_numbers_may_wrap(tmp_path: Path) -> None:
    assert verify_path(SyntheticRun(first_sequence=65_530).record(tmp_path)).passed


def test_a_frame_that_was_overtaken_is_not_lost(tmp_path: Path) -> None:
    frames = [telemetry(number) for number in range(20)]
    frames[7], frames[9] = frames[9], frames[7]
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        for frame in frames:
            writer.frame(frame, EPOCH_NS)
    assert verify_path(tmp_path / "x.rfp").passed


def test_a_restart_of_the_device_is_noted_and_is_no_loss(tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        for sequence, tick in ((100, 5_000), (101, 5_005), (0, 5), (1, 10)):
            writer.frame(telemetry(sequence, tick), EPOCH_NS)
    found = verify_path(tmp_path / "x.rfp")
    assert found.passed
    assert any("restarted 1 times" in note for note in found.notes)


def test_a_copy_without_its_wal_says_so(tmp_path: Path) -> None:
    path, _ = killed_session(tmp_path, "at rest", 0.3)
    (tmp_path / "copies").mkdir()
    alone = Path(shutil.copy(path, tmp_path / "copies" / "alone.rfp"))
    found = verify_path(alone)
    assert not found.passed
    assert any("alone.rfp-wal is missing" in problem for problem in found.problems)
    assert sorted(each.name for each in alone.parent.iterdir()) == ["alone.rfp"], "verify left files behind"
    alone.with_name("alone.rfp-wal").touch()
    assert not verify_path(alone).passed, "an empty -wal hides that it is missing"
    whole = Path(shutil.copy(path, tmp_path / "copies" / "whole.rfp"))
    shutil.copy(path.with_name("killed.rfp-wal"), whole.with_name("whole.rfp-wal"))
    assert verify_path(whole).passed


def test_a_copy_without_its_wal_says_so_even_where_it_is_no_database_any_more(tmp_path: Path) -> None:
    """Copied while a checkpoint moved pages into it: what it refers to is in the -wal alone."""
    path, _ = killed_session(tmp_path, "at rest", 0.3)
    for kept in (4096 * 3, 4096):
        torn = tmp_path / f"torn-{kept}.rfp"
        torn.write_bytes(path.read_bytes()[:kept])
        problems = verify_path(torn).problems
        assert any(f"{torn.name}-wal is missing" in problem for problem in problems), problems


def test_sessions_are_found_by_path_id_beginning_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "sessions"
    first = SyntheticRun(end="fault").record(directory)
    second = SyntheticRun(end="fault").record(directory)
    monkeypatch.chdir(tmp_path)
    assert list_sessions(directory) == sorted([first, second])
    assert open_session().path == Path("sessions") / max(first, second).name
    assert find_session("last", directory) == max(first, second)
    assert find_session(first, directory) == first
    assert find_session(str(first), directory) == first
    assert find_session(first.name, directory) == first
    assert find_session(first.stem, directory) == first
    assert find_session(first.stem[:18] if first.stem[:18] != second.stem[:18] else first.stem, directory) == first
    with pytest.raises(BadInput, match="2 sessions of that name"):
        find_session("2026", directory)
    with pytest.raises(BadInput, match="no session of that name"):
        find_session("2027", directory)
    with pytest.raises(BadInput, match="no session of that name"):
        find_session("", directory)
    with pytest.raises(BadInput, match="there are no sessions here"):
        find_session("last", tmp_path / "none")


def test_other_files_are_not_taken_for_sessions(tmp_path: Path, recorded: Path) -> None:
    text = tmp_path / "text.rfp"
    text.write_text("not a database at all, but longer than the header of one " * 10, encoding="utf-8")
    with pytest.raises(BadInput, match="not a session file"):
        Session(text)
    foreign = tmp_path / "foreign.rfp"
    alter(foreign, "CREATE TABLE x (y)")
    with pytest.raises(BadInput, match="not a session file"):
        Session(foreign)
    newer = Path(shutil.copy(recorded, tmp_path / "newer.rfp"))
    alter(newer, "PRAGMA user_version = 99")
    with pytest.raises(BadInput, match="schema 99; this rfprobe reads schema 1"):
        Session(newer)
    with pytest.raises(BadInput, match="no such session file"):
        Session(tmp_path / "none.rfp")
    with pytest.raises(BadInput, match="no such session file"):
        Session(tmp_path)


def test_decode_frame_takes_one_whole_frame_only() -> None:
    raw = telemetry(3).raw
    frame = decode_frame(raw)
    assert frame is not None
    assert frame.sequence == 3
    for wrong in (b"", b"\0", raw[:-1], raw + b"\0", raw + raw, b"\0" + raw, raw[1:]):
        assert decode_frame(wrong) is None, wrong
