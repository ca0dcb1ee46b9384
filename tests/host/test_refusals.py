"""Each command, given what it cannot use: one clear line, the contract's exit code, and nothing lost."""

import errno
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import serial
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.dashboard.link import Link
from rfprobe.dashboard.moment import moment
from rfprobe.owner import Owner
from rfprobe.ports import open_port
from rfprobe.serve import ByteServer, LockStepDevice
from rfprobe_core import protocol
from tests.host.scripted_device import ScriptedDevice
from tests.host.synthetic_run import SyntheticRun
from tests.host.test_plan_file import GOOD
from tests.host.virtual_bench import behind, rfprobe, until

pytestmark = [
    pytest.mark.slow,  # left to `make test`
    pytest.mark.skipif(sys.platform == "win32", reason="needs pty"),
]

CALIBRATE_TC = ["calibrate", "tc", "--reference", "Pt100", "--point", "20", "--point", "60", "--yes"]
CALIBRATE_RF = [
    *["calibrate", "rf", "--reference", "wattmeter", "--load", "50", "--yes", "--wattmeter", "echo 1"],
    *(part for power in range(1, 6) for part in ("--point", str(power))),
]
PORT_COMMANDS = (
    ["run", "plan.toml", "--yes"],
    ["stop"],
    ["monitor", "--lines"],
    ["console"],
    ["deploy"],
    ["flash", "image.bin", "--board", "esp32_generic"],
    CALIBRATE_TC,
    CALIBRATE_RF,
    ["calibrate", "show"],
    ["dashboard", "--web-port", "0"],
)
ATTACHES = ("stop", "monitor", "dashboard")  # to the owner of the port
TAKES_THE_PORT = [each for each in PORT_COMMANDS if each[0] not in ATTACHES]
SESSION_COMMANDS = (
    ["report"],
    ["export"],
    ["replay"],
    ["replay", "--through"],
    ["monitor", "--lines", "--replay"],
    ["sessions", "verify"],
    ["dashboard", "--web-port", "0", "--replay"],
    ["bundle"],
)


def told(command: list[str]) -> str:
    """A test's name: the command, without what every one of its kind has."""
    return " ".join(command[:2])


def run(*arguments: str) -> tuple[int, str, list[str]]:
    """(exit code, stdout, lines of stderr) of a command in this process."""
    result = CliRunner().invoke(app, list(arguments), prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr.splitlines()


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RFPROBE_PORT", raising=False)
    Path("plan.toml").write_text(GOOD, encoding="utf-8")
    Path("image.bin").write_bytes(b"\xe9" + bytes(4095))
    Path("file.txt").write_text("no port and no session", encoding="utf-8")


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[str]:
    name = str(tmp_path / "port")
    with ByteServer(symlink=tmp_path / "port"), Owner(name, "rfprobe run somebody's plan", {}):
        yield name


@pytest.mark.parametrize("command", PORT_COMMANDS, ids=told)
@pytest.mark.parametrize(
    ("port", "code", "says"),
    [
        ("nowhere", 6, "there is no port nowhere"),
        ("file.txt", 6, "not a serial port"),
        ("socket://127.0.0.1:1", 6, "nobody listens"),
        ("socket://a:b", 2, "socket://a:b"),
        ("id:0815", 6, "no board with this serial number"),
        ("@left", 2, "no such name under [ports]"),
        ("", 2, "--port"),
    ],
)
def test_a_port_that_cannot_be_used(command: list[str], port: str, code: int, says: str) -> None:
    found = run(*command, "--port", port)
    assert (found[0], found[1], len(found[2])) == (code, "", 1), found
    assert says in found[2][0]
    assert not Path("sessions").exists()


@pytest.mark.parametrize("command", PORT_COMMANDS, ids=told)
def test_no_port_named_and_none_found(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfprobe.port_names.usb_ports", list)
    found = run(*command)
    assert (found[0], found[1]) == (2, ""), found
    assert found[2] == ["no board was found: name its port with --port or RFPROBE_PORT"]


@pytest.mark.parametrize("command", TAKES_THE_PORT, ids=told)
def test_a_port_that_is_owned_names_its_owner(command: list[str], owned: str) -> None:
    code, stdout, stderr = run(*command, "--port", owned)
    assert (code, stdout, len(stderr)) == (6, "", 1)
    assert "`rfprobe run somebody's plan` (process " in stderr[0]


@pytest.mark.parametrize("command", PORT_COMMANDS, ids=told)
def test_a_port_that_another_program_holds_names_it(command: list[str]) -> None:
    with ByteServer(symlink=Path("port").absolute()), open_port("port"):
        code, stdout, stderr = run(*command, "--port", "port")
    assert (code, stdout, len(stderr)) == (6, "", 1)
    assert f"in use by process {os.getpid()}" in stderr[0]


@pytest.mark.parametrize("command", PORT_COMMANDS, ids=told)
def test_a_port_without_permission_names_the_group(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open everything, so the system's answer is put in its place."""

    def denied(_tty: serial.Serial) -> None:
        raise serial.SerialException(errno.EACCES, "denied")

    monkeypatch.setattr(serial.Serial, "open", denied)
    code, stdout, stderr = run(*command, "--port", "file.txt")
    assert (code, stdout, len(stderr)) == (6, "", 1)
    assert "no permission to open file.txt: it belongs to the group" in stderr[0]


class Silent:
    """A board that runs something else, or nothing."""

    tick_us = 10_000

    def exchange(self, _received: bytes) -> bytes:
        return b""


@contextmanager
def port_of(device: LockStepDevice) -> Generator[str]:
    with ByteServer(symlink=Path("port").absolute()) as server, behind(device, server):
        yield "port"


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["run", "plan.toml", "--yes"], 4, "no HELLO came within 5 s"),
        (["stop"], 4, "nothing showed that it was heard: remove power"),
        (["console"], 2, "stdin is no terminal"),
        (["deploy"], 6, "no MicroPython prompt answers"),
        (["flash", "image.bin", "--board", "esp32_generic"], 6, "BOOT"),
        (CALIBRATE_TC, 4, "no HELLO came within 5 s"),
        (CALIBRATE_RF, 4, "no HELLO came within 5 s"),
        (["calibrate", "show"], 4, "no HELLO came within 5 s"),
    ],
    ids=lambda each: told(each) if isinstance(each, list) else "",
)
def test_a_port_where_nothing_of_ours_answers(command: list[str], code: int, says: str) -> None:
    with port_of(Silent()) as port:
        found = run(*command, "--port", port)
    assert (found[0], found[1]) == (code, ""), found
    assert says in found[2][-1], found
    assert not any("Traceback" in line for line in found[2])


def watched(device: LockStepDevice) -> tuple[int, list[str], str]:
    """(exit code, lines of stdout, first line of stderr) of `monitor --lines`, ended two seconds after that line."""
    with port_of(device) as port:
        process = rfprobe("monitor", "--lines", "--port", port)
        assert process.stderr is not None
        complaint = process.stderr.readline()
        time.sleep(2.0)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
    return process.returncode, stdout.splitlines(), complaint


def test_a_monitor_says_that_nothing_is_heard_and_goes_on() -> None:
    code, lines, complaint = watched(Silent())
    assert (code, len(lines)) == (5, 1)
    assert complaint == "port, watched: nothing is heard; still listening (Ctrl-C ends it)\n"


def other_protocol() -> ScriptedDevice:
    device = ScriptedDevice()
    device.proto = "0123beef"
    return device


def test_a_monitor_says_that_the_board_speaks_another_protocol_and_goes_on() -> None:
    code, lines, complaint = watched(other_protocol())
    assert code == 5
    assert len(lines) > 10
    assert f"it speaks protocol 0123beef, these host tools {protocol.protocol_digest()}" in complaint


@pytest.mark.parametrize(
    "command", [["run", "plan.toml", "--yes"], CALIBRATE_TC, CALIBRATE_RF, ["calibrate", "show"]], ids=told
)
def test_a_board_with_another_protocol_is_not_armed(command: list[str]) -> None:
    device = other_protocol()
    with port_of(device) as port:
        code, stdout, stderr = run(*command, "--port", port)
    assert (code, stdout) == (6, ""), stderr
    assert "it may be watched, not armed" in stderr[-1]
    assert not device.acted["ARM"] and not device.acted["STORE"]


def test_the_dashboard_says_that_the_board_speaks_another_protocol() -> None:
    with port_of(other_protocol()) as port, Link(port, None, 1.0, Path("sessions")) as link:
        until(lambda: any("it speaks protocol 0123beef" in text for _, text in list(link.watched.remarks)))


def test_the_dashboard_says_that_nothing_is_heard_and_does_not_say_that_rf_is_off() -> None:
    with port_of(Silent()) as port, Link(port, None, 1.0, Path("sessions")) as link:
        until(lambda: link.silence == "port, watched: nothing is heard; still listening")
        shown = moment(link.watched, link.age_s, link.silence, link.live)
    assert (shown.state, shown.rf) == ("waiting for the device", "RF unknown")
    assert "nothing is heard" in shown.link


def broken(kind: str) -> str:
    """A file that is no whole session, by name."""
    path = SyntheticRun().record(Path("kept"))
    target = Path(f"{kind}.rfp")
    data = path.read_bytes()
    if kind == "truncated":
        target.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        target.touch()
    elif kind == "other":
        with closing(sqlite3.connect(target)) as database:
            database.execute("CREATE TABLE a (b)")
    elif kind == "text":
        return "file.txt"
    elif kind == "newer":
        target.write_bytes(data)
        with closing(sqlite3.connect(target)) as database:
            database.execute("PRAGMA user_version = 99")
    return str(target)


@pytest.mark.parametrize("command", SESSION_COMMANDS, ids=told)
@pytest.mark.parametrize(
    ("kind", "codes", "says"),
    [
        ("absent", {2}, "no such session file"),
        ("text", {2}, "not a session file"),
        ("empty", {2}, "not a session file"),
        ("other", {2}, "not a session file"),
        ("newer", {2}, "schema 99"),
        ("truncated", {6, 8}, "truncated.rfp"),
    ],
)
def test_what_is_no_session(command: list[str], kind: str, codes: set[int], says: str) -> None:
    name = broken(kind)
    before = Path(name).read_bytes() if Path(name).exists() else None
    code, stdout, stderr = run(*command, name)
    assert code in codes, (stdout, stderr)
    assert stdout == "" and len(stderr) == 1 and says in stderr[0], stderr
    assert (Path(name).read_bytes() if Path(name).exists() else None) == before
    assert not Path("export").exists() or not list(Path("export").rglob("*.csv"))


@pytest.mark.parametrize("command", SESSION_COMMANDS, ids=told)
def test_no_session_of_that_name(command: list[str]) -> None:
    code, stdout, stderr = run(*command, "20990101")
    assert (code, stdout, len(stderr)) == (2, "", 1)
    assert "no session of that name" in stderr[0]
