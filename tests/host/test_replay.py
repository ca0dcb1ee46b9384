"""`rfprobe replay`: a session behind a port as it was, and through today's control core, which must decide the same."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rfprobe_core
from rfprobe.pin_record import PinTick, recorded_ticks, replay_through
from rfprobe.plan_file import read_plan
from rfprobe.ports import open_port
from rfprobe.probe_file import read_probe
from rfprobe.replay import Replayed
from rfprobe.resources import find
from rfprobe.session import Session
from rfprobe.sim.engine import simulate
from rfprobe.wire import HELLO_LINE
from tests.host.synthetic_run import SyntheticRun
from tests.host.virtual_bench import QUICK_PLAN, finished, rfprobe

pytestmark = pytest.mark.slow  # seconds each: left to `make test`


def recorded(folder: Path, runtime: str | None, *faults: str) -> Path:
    (folder / "quick.toml").write_text(QUICK_PLAN, encoding="utf-8")
    probe = read_probe(find("probes", "bone-10mm"))
    with simulate(
        read_plan(folder / "quick.toml"),
        probe,
        "vertebra",
        runtime=runtime,
        faults=faults,
        out_dir=folder,
        record_pins=True,
    ) as session:
        return session.path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(recorded(tmp_path_factory.mktemp("sessions"), None)) as made:
        yield made


def core_with(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of the firmware in which one thing is changed."""
    firmware = folder / "firmware"
    shutil.copytree(Path(rfprobe_core.__file__).parents[1], firmware)
    source = firmware / "rfprobe_core" / file
    text = source.read_text(encoding="utf-8")
    assert text.count(before) == 1, before
    source.write_text(text.replace(before, after), encoding="utf-8")
    return firmware


def through(session: Session, firmware: Path | None = None) -> tuple[int, dict[str, object]]:
    """(exit code, JSON) of the command, with another firmware in front of ours."""
    environment = {"PYTHONPATH": str(firmware)} if firmware else {}
    done = subprocess.run(
        [sys.executable, "-m", "rfprobe.cli", "replay", str(session.path), "--through", "--json"],
        capture_output=True,
        env=environment,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_an_unchanged_core_decides_the_same_over_the_whole_session(session: Session) -> None:
    code, told = through(session)
    assert (code, told["difference"]) == (0, None)
    assert told["ticks"] == round(session.summary["simulated_s"] * 100)


@pytest.mark.parametrize("fault", ["open:control@4", "interlock@5", "bus_zeros:guard@4"])
def test_so_it_does_where_the_run_was_broken(tmp_path: Path, fault: str) -> None:
    with Session(recorded(tmp_path, "cpython", fault)) as broken:
        assert broken.summary["result"] == "fault"
        assert replay_through(broken).difference is None


def test_one_changed_gain_is_named_by_its_first_tick(session: Session, tmp_path: Path) -> None:
    firmware = core_with(tmp_path, "controller.py", 'value("kp_mW_per_C"), ', 'value("kp_mW_per_C") + 500, ')
    code, told = through(session, firmware)
    difference = told["difference"]
    assert code == 8 and isinstance(difference, dict)
    # Until the temperature loop first asks for power nothing depends on the gain; telemetry comes every 50 ms.
    first_heat_s = float(session.df["t_s"][session.df["demand_W"] > 0.3].iloc[0])
    assert abs(float(difference["t_s"]) - first_heat_s) < 0.06
    assert "duty" in str(difference["text"])


def test_what_is_said_at_another_time_is_a_difference_too(session: Session, tmp_path: Path) -> None:
    firmware = core_with(tmp_path, "controller.py", "_DOSE_TICKS = const(50)", "_DOSE_TICKS = const(51)")
    code, told = through(session, firmware)
    assert code == 8 and isinstance(told["difference"], dict)
    assert 52 <= told["difference"]["tick"] < 102  # the frame waits behind the acks of CONFIGURE
    assert "dose" in told["difference"]["text"] or "frames instead" in told["difference"]["text"]


def test_a_difference_of_one_count_in_the_record_is_found(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = list(recorded_ticks(session))
    heated = next(number for number, tick in enumerate(ticks) if tick.duty)
    tick = ticks[heated + 5]
    ticks[heated + 5] = PinTick(tick.stimulus, tick.spi, tick.enable, tick.duty ^ 16, tick.sent)
    monkeypatch.setattr("rfprobe.pin_record.recorded_ticks", lambda _: iter(ticks))
    found = replay_through(session).difference
    assert found is not None
    assert (found.tick, found.text) == (heated + 6, f"duty {tick.duty} instead of {tick.duty ^ 16}")


def test_a_pinned_session_is_a_test_that_passes_and_that_can_fail(session: Session, tmp_path: Path) -> None:
    assert finished("replay", str(session.path), "--through", "--pin", str(tmp_path / "pinned"))[0] == 0
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "pinned")]
    assert subprocess.run(pytest_run, capture_output=True, check=False).returncode == 0
    firmware = core_with(tmp_path, "controller.py", 'value("kp_mW_per_C"), ', 'value("kp_mW_per_C") + 500, ')
    failed = subprocess.run(pytest_run, capture_output=True, env={"PYTHONPATH": str(firmware)}, check=False, text=True)
    assert failed.returncode == 1 and "Difference(tick=" in failed.stdout


def test_a_session_without_its_pins_says_how_to_get_them(tmp_path: Path) -> None:
    path = SyntheticRun().record(tmp_path)
    code, stdout, stderr = finished("replay", str(path), "--through")
    assert (code, stdout) == (2, "")
    assert "--record-pins" in stderr and len(stderr.splitlines()) == 1


def test_frames_come_in_the_rhythm_they_had(session: Session) -> None:
    now_s = [0.0]
    played: list[tuple[float, int, bytes]] = []
    for chunk in Replayed(session, speed=4.0).chunks(clock=lambda: now_s[0]):
        if chunk is None:
            now_s[0] += 0.001
        else:
            played.append((now_s[0], *chunk))
    rows = session.rows("SELECT host_ns, raw FROM frames ORDER BY id")
    assert [(host_ns, raw) for _, host_ns, raw in played] == rows
    late = [at_s - (host_ns - rows[0][0]) / 4e9 for at_s, host_ns, _ in played]
    assert min(late) >= 0 and max(late) < 0.002


def test_the_port_gives_the_very_bytes_of_the_session(session: Session) -> None:
    process = rfprobe("replay", str(session.path), "--speed", "20")
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    data = b""
    with open_port(name) as port:
        port.write(HELLO_LINE)
        expected = b"".join(raw for (raw,) in session.rows("SELECT raw FROM frames ORDER BY id"))
        until = time.monotonic() + 20
        while len(data) < len(expected) and time.monotonic() < until:
            data += port.read()
            time.sleep(0.001)
    assert data == expected
    assert process.wait(timeout=20) == 0
    process.communicate()
