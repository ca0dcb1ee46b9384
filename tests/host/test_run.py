"""`rfprobe run` and `rfprobe stop` on the virtual probe behind a port, as a user has them: commands and signals."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfprobe.client import TOLD
from rfprobe.serve import ByteServer
from rfprobe.session import Session, list_sessions
from rfprobe.session_verify import verify_path
from rfprobe.sim.onboard.exchange import INTERLOCK_CLOSED
from rfprobe_core import protocol
from tests.host.scripted_device import ScriptedDevice
from tests.host.virtual_bench import (
    LONG_PLAN,
    QUICK_PLAN,
    VirtualBench,
    behind,
    finished,
    heating_on,
    rfprobe,
    virtual_bench,
)

pytestmark = [
    pytest.mark.slow,  # in real time: left to `make test`
    pytest.mark.skipif(sys.platform == "win32", reason="needs pty and POSIX signals"),
]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RFPROBE_PORT", raising=False)
    (tmp_path / "quick.toml").write_text(QUICK_PLAN, encoding="utf-8")
    (tmp_path / "long.toml").write_text(LONG_PLAN, encoding="utf-8")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[VirtualBench]:
    with virtual_bench(tmp_path) as made:
        yield made


def heating(bench: VirtualBench, *more: str) -> "subprocess.Popen[str]":
    """A long run that has come to heat."""
    process = rfprobe("run", "long.toml", "--port", bench.port, "--yes", "--no-report", "--json", *more)
    heating_on(bench, process)
    return process


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def the_session() -> Path:
    (path,) = list_sessions(Path("sessions"))
    return path


def test_a_run_is_recorded_and_reported_with_its_sample(bench: VirtualBench) -> None:
    Path("s.toml").write_text('[sample]\nid = "L3-07"\nstart_temperature_C = 36.9\nthermocouple_mm = {guard = 9.5}\n')
    arguments = ("--sample", "s.toml", "-m", "batch=B12", "--port", bench.port, "--yes", "--json")
    code, stdout, stderr = finished("run", "quick.toml", *arguments)
    assert code == 0, stderr
    assert json.loads(stdout)["result"] == "completed"
    assert "40 °C" in stderr and f"{len(TOLD)} of {len(TOLD)} values confirmed" in stderr
    path = the_session()
    assert path.with_suffix(".html").is_file()
    assert path.stem.endswith("_l3-07")
    assert verify_path(path).problems == []
    with Session(path) as session:
        assert session.meta["sample"] == {
            "id": "L3-07",
            "start_temperature_C": 36.9,
            "thermocouple_mm": {"guard": 9.5},
            "batch": "B12",
        }
        assert session.closed


def test_a_second_run_follows_without_more_ado(bench: VirtualBench) -> None:
    codes = [finished("run", "quick.toml", "--port", bench.port, "--yes", "--no-report")[0] for _ in range(2)]
    assert codes == [0, 0]


def test_the_second_to_open_a_port_is_told_who_has_it(bench: VirtualBench) -> None:
    first = heating(bench)
    code, stdout, stderr = finished("run", "quick.toml", "--port", bench.port, "--yes")
    assert (code, stdout) == (6, "")
    assert f"owned by `rfprobe run a plan` (process {first.pid})" in stderr.replace("L3 phantom, 10 mm tip", "a plan")
    assert len(stderr.splitlines()) == 1
    assert bench.enabled, "the run that was there goes on"
    first.send_signal(signal.SIGINT)
    assert ended(first)[0] == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_rf_and_leaves_a_whole_session(bench: VirtualBench, number: signal.Signals) -> None:
    process = heating(bench)
    process.send_signal(number)
    code, stdout, _ = ended(process)
    assert (code, json.loads(stdout)["result"], json.loads(stdout)["stop_reason"]) == (5, "stopped", "operator_stop")
    assert not bench.enabled
    assert verify_path(the_session()).problems == []


@pytest.mark.parametrize("all_of_them", [False, True])
def test_stop_goes_through_the_owner(bench: VirtualBench, all_of_them: bool) -> None:
    process = heating(bench)
    code, stdout, stderr = finished("stop", *(["--all"] if all_of_them else ["--port", bench.port]))
    assert (code, stderr) == (0, "")
    assert f"process {process.pid}" in stdout
    assert not bench.enabled
    assert ended(process)[0] == 5


def test_stop_works_where_the_owner_was_killed_and_where_nothing_runs(bench: VirtualBench) -> None:
    process = heating(bench)
    process.kill()
    ended(process)
    found = verify_path(the_session())
    assert found.passed and found.frames > 10, found.problems
    code, stdout, stderr = finished("stop", "--port", bench.port)
    assert (code, stderr) == (0, "")
    assert stdout.startswith(f"stopped {bench.port}: it is in ")
    assert not bench.enabled
    assert finished("stop", "--all") == (0, "nothing runs\n", "")


def test_a_cable_pulled_for_half_a_second_does_not_end_the_run(bench: VirtualBench) -> None:
    process = rfprobe("run", "quick.toml", "--port", bench.port, "--yes", "--no-report", "--json")
    heating_on(bench, process)
    bench.pull(0.4)
    code, stdout, stderr = ended(process)
    assert (code, json.loads(stdout)["result"]) == (0, "completed"), stderr
    with Session(the_session()) as session:
        told = [text for _, direction, text in session.rows("SELECT * FROM commands") if direction == "link"]
    assert told[0].startswith("lost the port") and told[-1] == f"found the port {bench.port} again"


def test_a_cable_pulled_for_longer_than_the_lease_ends_it_and_the_record_says_so(bench: VirtualBench) -> None:
    process = heating(bench)
    bench.pull(2.0)
    code, stdout, _ = ended(process)
    assert (code, json.loads(stdout)["result"], json.loads(stdout)["stop_reason"]) == (4, "link_lost", "lease_lost")
    assert not bench.enabled
    with Session(the_session()) as session:
        states = [row[0] for row in session.rows("SELECT DISTINCT state FROM telemetry ORDER BY frame")]
        assert len(states) > 2, "what came after the reconnect is recorded too"


def test_a_port_that_stays_away_ends_it_within_some_seconds(bench: VirtualBench) -> None:
    process = heating(bench)
    bench.server.unplug()
    code, stdout, _ = ended(process)
    assert (code, json.loads(stdout)["result"]) == (4, "link_lost")


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


def test_a_full_disk_stops_the_run_and_keeps_what_there_is(bench: VirtualBench) -> None:
    process = rfprobe("run", "long.toml", "--port", bench.port, "--yes", "--no-report", preexec_fn=_small_files_only)
    code, stdout, stderr = ended(process)
    assert (code, stdout) == (6, "")
    assert "cannot be written" in stderr.splitlines()[-1] and "The run was stopped" in stderr.splitlines()[-1]
    assert not bench.enabled
    with Session(the_session()) as session:
        assert len(session.df) > 20


@pytest.mark.parametrize(("answer", "code"), [("n\n", 5), ("\n", 5), ("y\n", 0)])
def test_a_terminal_is_asked_before_anything_is_armed(bench: VirtualBench, answer: str, code: int) -> None:
    master, slave = os.openpty()
    process = rfprobe("run", "quick.toml", "--port", bench.port, "--no-report", stdin=slave)
    os.write(master, answer.encode())
    found = ended(process)
    assert found[0] == code, found
    assert "Arm and start?" in found[2]
    assert len(list_sessions(Path("sessions"))) == (1 if code == 0 else 0)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("quick.toml", "--port", "PORT", "-m", "batch=1"), 2, "give --yes"),
        (("quick.toml", "--port", "PORT", "--yes", "-m", "probe_serial=7"), 2, "asks for `batch`"),
        (("quick.toml", "--port", "PORT", "--yes", "-m", "bacth=7"), 2, "`bacth` is no key"),
        (("quick.toml", "--port", "@right", "--yes", "-m", "batch=1"), 2, "@left"),
        (("absent.toml", "--port", "PORT", "--yes", "-m", "batch=1"), 2, "absent.toml"),
        (("quick.toml", "--port", "id:0815", "--yes", "-m", "batch=1"), 6, "0815"),
        (("quick.toml", "--port", "nowhere", "--yes", "-m", "batch=1"), 6, "there is no port nowhere"),
        (("quick.toml", "--port", "quick.toml", "--yes", "-m", "batch=1"), 6, "quick.toml is not a serial port"),
        (("quick.toml", "--port", "socket://127.0.0.1:1", "--yes", "-m", "batch=1"), 6, "nobody listens"),
        (("quick.toml", "--port", "socket://nonsense", "--yes", "-m", "batch=1"), 2, "socket://HOST:PORT"),
    ],
)
def test_bad_input_starts_nothing(bench: VirtualBench, arguments: tuple[str, ...], code: int, says: str) -> None:
    Path("bench.toml").write_text(
        '[ports]\nleft = "PORT"\n[sample]\nrequired = ["batch"]\n'.replace("PORT", bench.port)
    )
    told = finished("run", *(each.replace("PORT", bench.port) for each in arguments))
    assert (told[0], told[1]) == (code, ""), told
    assert says in told[2] and len(told[2].splitlines()) == 1
    assert not Path("sessions").exists() and not bench.enabled


def test_an_alias_of_the_bench_names_a_port(bench: VirtualBench) -> None:
    Path("bench.toml").write_text(f'[ports]\nleft = "{bench.port}"\n')
    assert finished("run", "quick.toml", "--port", "@left", "--yes", "--no-report")[0] == 0


class OneTickDevice(ScriptedDevice):
    """A scripted device that can be served."""

    tick_us = 10_000


def test_another_protocol_may_be_watched_not_armed(tmp_path: Path) -> None:
    device = OneTickDevice()
    device.proto = "00000000"
    with ByteServer(symlink=tmp_path / "port") as server, behind(device, server):
        code, stdout, stderr = finished("run", "quick.toml", "--port", str(tmp_path / "port"), "--yes")
    assert (code, stdout) == (6, "")
    assert "protocol 00000000" in stderr and len(stderr.splitlines()) == 1
    assert not Path("sessions").exists()
    assert {line.split("*")[0] for line in device.lines} == {"HELLO"}


def test_a_fault_is_shown_until_it_is_acknowledged(tmp_path: Path) -> None:
    device = OneTickDevice(protocol.FAULT)
    arguments = ("run", "quick.toml", "--port", str(tmp_path / "port"), "--yes", "--no-report")
    with ByteServer(symlink=tmp_path / "port") as server, behind(device, server):
        code, stdout, stderr = finished(*arguments)
        assert (code, stdout) == (3, "")
        assert "(FAULT)" in stderr and "--acknowledge" in stderr and len(stderr.splitlines()) == 1
        assert not Path("sessions").exists() and not device.acted["ACKNOWLEDGE"]
        assert finished(*arguments, "--acknowledge")[0] == 0
        assert device.acted["ACKNOWLEDGE"] == 1


def test_after_a_fault_the_black_box_is_fetched_into_the_session(bench: VirtualBench) -> None:
    process = heating(bench)
    time.sleep(0.5)
    bench.device.plant.force_input(INTERLOCK_CLOSED, False)
    code, stdout, stderr = ended(process)
    assert (code, json.loads(stdout)["stop_reason"]) == (3, "interlock_open"), stderr
    assert verify_path(the_session()).problems == []
    with Session(the_session()) as session:
        box = session.blackbox
        assert session.meta["black_box"] == {"records": len(box), "received": len(box)}
        assert list(box["interlock_open"])[-3:] == [False, True, True]
        assert list(box["enable"])[-2:] == [True, False]
