"""Opening a port by its name: what works, what is said when it does not, and which lines are set before."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from rfprobe import ports
from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode, ExpectedError
from rfprobe.ports import Port, PortLost, control_lines, open_port
from rfprobe.serve import ByteServer

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="needs pty")
DOORS = [pytest.param(True, marks=needs_pty, id="pty"), pytest.param(False, id="socket")]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ByteServer]:
    pty = bool(request.param)
    with ByteServer(pty=pty, tcp_port=None if pty else 0) as made:
        yield made


def collect(port: Port, server: ByteServer, count: int) -> bytes:
    data = b""
    until = time.monotonic() + 5
    while len(data) < count and time.monotonic() < until:
        server.read()
        server.write(b"")
        data += port.read()
    return data


def refused(name: str, kind: type[ExpectedError], code: ExitCode) -> str:
    """The one line that opening gives."""
    with pytest.raises(kind) as told:
        open_port(name)
    assert told.value.exit_code == code
    assert str(told.value) and "\n" not in str(told.value)
    return str(told.value)


@needs_pty
def test_a_process_that_had_no_turn_while_it_wrote_has_not_lost_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def written_and_then_no_turn(file: int, data: bytes) -> int:
        taken = write(file, data)
        time.sleep(ports.WRITE_WITHIN_S + 0.05)
        return taken

    with ByteServer(tcp_port=None) as server, open_port(server.links()[0]) as port:
        with monkeypatch.context() as busy:
            busy.setattr(os, "write", written_and_then_no_turn)
            port.write(b"LEASE\n")
        assert server.read() == b"LEASE\n"


@pytest.mark.parametrize("server", DOORS, indirect=True)
def test_bytes_go_both_ways_and_reading_never_waits(server: ByteServer) -> None:
    every = bytes(range(256)) * 8
    with open_port(server.links()[0]) as port:
        begun = time.monotonic()
        assert [port.read() for _ in range(20)] == [b""] * 20
        assert time.monotonic() - begun < 0.2
        server.read()
        server.write(every)
        assert collect(port, server, len(every)) == every
        port.write(b"")
        port.write(b"STOP\n")
        heard = b""
        until = time.monotonic() + 5
        while heard != b"STOP\n" and time.monotonic() < until:
            heard += server.read()
        assert heard == b"STOP\n"


@pytest.mark.parametrize("server", DOORS, indirect=True)
def test_a_port_that_goes_away_is_lost_and_can_be_closed(server: ByteServer) -> None:
    port = open_port(server.links()[0])
    server.read()
    server.unplug()
    with pytest.raises(PortLost, match="lost the port") as told:
        for _ in range(100):
            port.read()
            time.sleep(0.01)
    assert told.value.exit_code == ExitCode.LINK_LOST
    with pytest.raises(PortLost):
        for _ in range(100):
            port.write(b"STOP\n")
            time.sleep(0.01)
    port.close()
    port.close()


@pytest.mark.parametrize("server", DOORS, indirect=True)
def test_what_was_said_last_is_read_before_the_loss_is_told(server: ByteServer) -> None:
    port = open_port(server.links()[0])
    server.read()
    server.write(b"last words")
    assert collect(port, server, 10) == b"last words"
    server.write(b"and a few more")
    time.sleep(0.05)
    if server.links()[0].startswith("socket://"):  # a pty's queue goes with it
        server.unplug()
        assert port.read() == b"and a few more"
    server.unplug()
    with pytest.raises(PortLost):
        for _ in range(100):
            port.read()
            time.sleep(0.01)


@pytest.mark.parametrize("server", DOORS, indirect=True)
def test_a_device_that_takes_nothing_does_not_hold_the_host_up(server: ByteServer) -> None:
    with open_port(server.links()[0]) as port:
        server.read()
        begun = time.monotonic()
        with pytest.raises(PortLost):
            for _ in range(1_000):
                port.write(b"x" * 65_536)
        assert time.monotonic() - begun < 3


def test_no_such_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "comports", list)
    assert refused("/dev/no-such-port", EnvironmentProblem, ExitCode.ENVIRONMENT) == (
        "there is no port /dev/no-such-port; no serial port was found"
    )
    found = [SimpleNamespace(device="/dev/ttyACM1", vid=1), SimpleNamespace(device="/dev/ttyACM0", vid=1)]
    monkeypatch.setattr(ports, "comports", lambda: found)
    assert refused("COM77", EnvironmentProblem, ExitCode.ENVIRONMENT).endswith("; found: /dev/ttyACM0, /dev/ttyACM1")


@needs_pty
@pytest.mark.parametrize("server", [True], indirect=True)
def test_a_port_in_use_names_who_has_it(server: ByteServer) -> None:
    name = server.links()[0]
    with open_port(name):
        line = refused(name, EnvironmentProblem, ExitCode.ENVIRONMENT)
    assert line.startswith(f"{name} is in use by ")
    if sys.platform == "linux":
        assert f"process {os.getpid()} (" in line
    open_port(name).close()


@needs_pty
def test_a_file_is_no_port(tmp_path: Path) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("x")
    assert refused(str(place), EnvironmentProblem, ExitCode.ENVIRONMENT) == f"{place} is not a serial port"
    assert "is not a serial port" in refused(str(tmp_path), EnvironmentProblem, ExitCode.ENVIRONMENT)


class FakeTty:
    """Writes down in which order its attributes are set and it is opened."""

    problem: OSError | None = None
    log: list[tuple[str, object]]

    def __init__(self) -> None:
        object.__setattr__(self, "log", [])

    def __setattr__(self, name: str, value: object) -> None:
        self.log.append((name, value))

    def open(self) -> None:
        self.log.append(("open", None))
        if self.problem is not None:
            raise self.problem


def fake_tty(monkeypatch: pytest.MonkeyPatch, problem: OSError | None = None) -> FakeTty:
    made = FakeTty()
    monkeypatch.setattr(FakeTty, "problem", problem)
    monkeypatch.setattr(serial, "Serial", lambda: made)
    return made


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (serial.SerialException(errno.EACCES, "denied"), "no permission to open"),
        (serial.SerialException(errno.EBUSY, "busy"), "is in use by another program"),
        (
            serial.SerialException("could not open port 'COM3': PermissionError(13, 'Access is denied.')"),
            "is in use",
        ),
        (
            serial.SerialException("could not open port 'COM3': FileNotFoundError(2, 'no file')"),
            "there is no port",
        ),
        (serial.SerialException(errno.EIO, "Input/output error"), "cannot open"),
        (serial.SerialException("something else"), "something else"),
    ],
)
def test_what_the_system_says_becomes_one_line(monkeypatch: pytest.MonkeyPatch, problem: OSError, says: str) -> None:
    fake_tty(monkeypatch, problem)
    assert says in refused("/dev/null", EnvironmentProblem, ExitCode.ENVIRONMENT)


@needs_pty
def test_a_port_without_permission_names_the_group_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import grp

    fake_tty(monkeypatch, serial.SerialException(errno.EACCES, "denied"))
    group = grp.getgrgid(os.stat("/dev/null").st_gid).gr_name
    assert f"the group {group}," in refused("/dev/null", EnvironmentProblem, ExitCode.ENVIRONMENT)


@pytest.mark.parametrize(
    ("vendor", "lines"),
    [
        (0x10C4, (False, False)),
        (0x1A86, (False, False)),
        (0x0403, (False, False)),
        (0x303A, (True, False)),
        (0x2E8A, (True, True)),
        (None, (True, True)),
    ],
)
def test_the_control_lines_stand_before_the_port_opens(
    monkeypatch: pytest.MonkeyPatch, vendor: int | None, lines: tuple[bool, bool]
) -> None:
    found = [
        SimpleNamespace(device="/dev/other", vid=0x10C4),
        SimpleNamespace(device="/dev/null", vid=vendor),
    ]
    monkeypatch.setattr(ports, "comports", lambda: found)
    made = fake_tty(monkeypatch)
    open_port("/dev/null")
    before = made.log[: made.log.index(("open", None))]
    assert [("dtr", lines[0]), ("rts", lines[1])] == [entry for entry in before if entry[0] in ("dtr", "rts")]
    assert ("exclusive", True) in before


@needs_pty
def test_a_board_is_known_by_a_link_to_its_device_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "comports", lambda: [SimpleNamespace(device="/dev/null", vid=0x10C4)])
    (tmp_path / "by-id").symlink_to("/dev/null")
    assert control_lines(str(tmp_path / "by-id")) == (False, False)


def test_nobody_listens() -> None:
    with ByteServer(pty=False) as server:
        name = server.links()[0]
    assert refused(name, EnvironmentProblem, ExitCode.ENVIRONMENT) == f"nobody listens at {name}"


@pytest.mark.parametrize(
    "name",
    [
        "socket://",
        "socket://127.0.0.1",
        "socket://127.0.0.1:x",
        "socket://127.0.0.1:70000",
        "socket://[::1:5",
        "socket://127.0.0.1:5/path",
        "rfc2217://127.0.0.1:5",
    ],
)
def test_a_malformed_name_is_bad_input(name: str) -> None:
    assert refused(name, BadInput, ExitCode.BAD_INPUT).startswith(name)


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: tuple[str, int], timeout: float) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(ports.socket, "create_connection", fail)
    line = refused("socket://probe.invalid:5", EnvironmentProblem, ExitCode.ENVIRONMENT)
    assert line == "cannot open socket://probe.invalid:5: no route to host"


def test_our_own_mistakes_are_not_dressed_up_as_a_lost_port() -> None:
    class Broken:
        def read(self) -> bytes:
            raise ValueError("a bug")

        def write(self, data: bytes) -> None: ...
        def close(self) -> None: ...

    with pytest.raises(ValueError):
        Port("x", Broken()).read()
