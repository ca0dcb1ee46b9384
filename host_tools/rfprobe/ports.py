"""A port by its name: a serial device, the path of a pty, or `socket://HOST:PORT`."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import serial
from serial.tools.list_ports import comports

from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode, ExpectedError, reason_of

BAUD: Final = 115_200  # for boards with a UART; USB CDC takes no notice of it
WRITE_WITHIN_S: Final = 0.25
CONNECT_WITHIN_S: Final = 5.0
SOCKET_SCHEME: Final = "socket"
_READ_AT_ONCE = 65_536

# (DTR, RTS) as they stand when the port opens, by USB vendor. On the bridges of ESP32 boards the two lines
# drive EN and BOOT: asserted, they can reset the board or hold it in its loader. A USB CDC of the chip's own
# takes DTR for "somebody listens", and throws its output away without it.
LINES_OF_VENDOR: Final[dict[int | None, tuple[bool, bool]]] = {
    0x10C4: (False, False),  # Silicon Labs CP210x
    0x1A86: (False, False),  # WCH CH34x
    0x0403: (False, False),  # FTDI
    0x303A: (True, False),  # Espressif's own USB: RTS is its reset
}
OTHER_LINES: Final = (True, True)

_T = TypeVar("_T")


class PortLost(ExpectedError):  # noqa: N818
    """The port was there and is gone: pulled out, closed at the other end, or it takes nothing any more."""

    exit_code = ExitCode.LINK_LOST


class _Device(Protocol):
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class Port:
    """An open port: `read` never waits, `write` waits 0.25 s at the most. Both raise PortLost."""

    def __init__(self, name: str, device: _Device) -> None:
        self.name = name
        self._device = device

    def read(self) -> bytes:
        """What has come, perhaps nothing. What came before the port was lost is given before PortLost."""
        return self._guarded(self._device.read)

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        if data:
            self._guarded(lambda: self._device.write(data))

    def close(self) -> None:
        """Let go of the port, lost or not; closing twice is no error."""
        with suppress(OSError):  # a port that was pulled out cannot be closed properly, and need not be
            self._device.close()

    def _guarded(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except OSError as problem:  # pyserial's own exceptions are OSErrors too
            raise PortLost(f"lost the port {self.name}: {reason_of(problem)}") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _SerialDevice:
    """A tty, through pyserial."""

    def __init__(self, tty: serial.Serial) -> None:
        self._tty = tty

    def read(self) -> bytes:
        # Never more than is there: a tty lost in the middle of a read loses what that read had gathered.
        return self._tty.read(min(self._tty.in_waiting, _READ_AT_ONCE) or 1)

    def write(self, data: bytes) -> None:
        if sys.platform == "win32":
            self._tty.write(data)
        else:
            _write_all(self._tty.fileno(), data)

    def close(self) -> None:
        self._tty.close()


def _write_all(file: int, data: bytes) -> None:
    """Raises TimeoutError where it is not taken in time.

    pyserial's own write says that also where all was taken and this process had no turn for so long: on a busy
    machine a run lost its port that way before it had begun.
    """
    left = memoryview(data)
    until_s = time.monotonic() + WRITE_WITHIN_S
    while True:
        with suppress(BlockingIOError):
            left = left[os.write(file, left) :]
        left_s = until_s - time.monotonic()
        if not left:
            return
        if left_s <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "write timeout")
        select.select([], [file], [], left_s)


class _SocketDevice:
    """A TCP connection. pyserial's own would lose what came just before the other end closed it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._connection = connection

    def read(self) -> bytes:
        try:
            data = self._connection.recv(_READ_AT_ONCE)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the other end closed it")
        return data

    def write(self, data: bytes) -> None:
        self._connection.settimeout(WRITE_WITHIN_S)
        try:
            self._connection.sendall(data)
        finally:
            self._connection.setblocking(False)

    def close(self) -> None:
        self._connection.close()


def open_port(name: str, *, baud: int = BAUD) -> Port:
    """Open a port exclusively, its control lines set so that no board is reset by it.

    Raises EnvironmentProblem (there is no such port, it is in use, no permission) and BadInput (a malformed
    `socket://`), each with one line for the user.
    """
    scheme = name.partition("://")[0] if "://" in name else ""
    if scheme:
        return Port(name, _SocketDevice(_connect(name)))
    return Port(name, _SerialDevice(_open_tty(name, baud)))


def control_lines(name: str) -> tuple[bool, bool]:
    """(DTR, RTS) for this device, by the vendor of its USB interface."""
    real = os.path.realpath(name)
    for port in comports():
        if real in (port.device, os.path.realpath(port.device)):
            return LINES_OF_VENDOR.get(port.vid, OTHER_LINES)
    return OTHER_LINES


def _open_tty(name: str, baud: int) -> serial.Serial:
    tty = serial.Serial()
    tty.port = name
    tty.baudrate = baud
    tty.timeout = 0
    tty.write_timeout = WRITE_WITHIN_S
    tty.exclusive = True
    tty.dtr, tty.rts = control_lines(name)
    try:
        tty.open()
    except OSError as problem:
        raise EnvironmentProblem(_why_not(name, problem)) from problem
    return tty


def _connect(name: str) -> socket.socket:
    try:
        parts = urlsplit(name)
        host, number = parts.hostname, parts.port
    except ValueError as problem:
        raise BadInput(f"{name}: {problem}") from problem
    if parts.scheme != SOCKET_SCHEME or not host or number is None or parts.path not in ("", "/"):
        raise BadInput(f"{name}: a port is a device, a path, or socket://HOST:PORT")
    try:
        return socket.create_connection((host, number), timeout=CONNECT_WITHIN_S)
    except ConnectionRefusedError as problem:
        raise EnvironmentProblem(f"nobody listens at {name}") from problem
    except OSError as problem:
        raise EnvironmentProblem(f"cannot open {name}: {reason_of(problem)}") from problem


# What stands in the way of a tty: (error numbers, names of the exceptions that Windows wraps, what to say).
_OBSTACLES: Final[tuple[tuple[frozenset[int], str, Callable[[str], str]], ...]] = (
    (
        frozenset((errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOTDIR)),
        "FileNotFoundError",
        lambda name: f"there is no port {name}; {_found()}",
    ),
    (
        frozenset((errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK)),
        "PermissionError",
        lambda name: f"{name} is in use by {_holder(name)}",
    ),
    (
        frozenset((errno.EACCES, errno.EPERM)),
        "",
        lambda name: f"no permission to open {name}: {_permission_advice(name)}",
    ),
    (
        frozenset((errno.ENOTTY, errno.EINVAL, errno.EISDIR)),
        "Could not configure port",
        lambda name: f"{name} is not a serial port",
    ),
)


def _why_not(name: str, problem: OSError) -> str:
    for numbers, wrapped, sentence in _OBSTACLES:
        if problem.errno in numbers or (wrapped and wrapped in str(problem)):
            return sentence(name)
    return f"cannot open {name}: {reason_of(problem)}"


def _found() -> str:
    names = sorted(port.device for port in comports())
    return f"found: {', '.join(names)}" if names else "no serial port was found"


def _permission_advice(name: str) -> str:
    if sys.platform == "win32":
        return "another user may have it"
    import grp

    with suppress(OSError, KeyError):
        group = grp.getgrgid(os.stat(name).st_gid).gr_name
        return f"it belongs to the group {group}, which you can be added to"
    return "it belongs to another user"


def _holder(name: str) -> str:
    """Who holds the port's lock, where the system tells (Linux)."""
    if sys.platform != "linux":
        return "another program"
    with suppress(OSError):
        node = os.stat(name)
        place = f"{os.major(node.st_dev):02x}:{os.minor(node.st_dev):02x}:{node.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5] == place:
                command = Path(f"/proc/{words[4]}/comm").read_text(encoding="utf-8").strip()
                return f"process {words[4]} ({command})"
    return "another program"
