"""A port by its name: a serial device, the path of a pty, or `socket://HOST:PORT`."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import serial
from serial.tools import list_ports

from rfprobe.errors import EnvironmentProblem, ExitCode, ExpectedError

BAUD: Final = 115_200  # for boards with a UART; USB CDC takes no notice of it
WRITE_WITHIN_S: Final = 0.25
SOCKET_PREFIX: Final = "socket://"
_READ_AT_ONCE = 65_536

# (DTR, RTS) as they stand when the port opens, by USB vendor. On the bridges of ESP32 boards the two lines drive
# EN and BOOT: asserted, they reset the board or hold it in its loader. On a USB CDC of its own the device takes
# DTR for "somebody listens" and throws its output away without it.
LINES_OF_VENDOR: Final[dict[int | None, tuple[bool, bool]]] = {
    0x10C4: (False, False),  # Silicon Labs CP210x
    0x1A86: (False, False),  # WCH CH34x
    0x0403: (False, False),  # FTDI
    0x303A: (True, False),  # Espressif's own USB: RTS is its reset
}
OTHER_LINES: Final = (True, True)

_BUSY = frozenset((errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK))
_ABSENT = frozenset((errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOTDIR))
_REFUSED = frozenset((errno.EACCES, errno.EPERM))


class PortLost(ExpectedError):
    """The port was there and is gone: pulled out, closed at the other end, or taking nothing any more."""

    exit_code = ExitCode.LINK_LOST


class Port:
    """An open port whose `read` never waits and whose `write` waits 0.25 s at the most."""

    def __init__(self, name: str, device: serial.SerialBase) -> None:
        self.name = name
        self._device = device

    def read(self) -> bytes:
        """What has come, perhaps nothing. Raises PortLost."""
        return self._guarded(self._read_all)

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises PortLost, also when the other end takes nothing for 0.25 s."""
        if data:
            self._guarded(lambda: self._device.write(data))

    def close(self) -> None:
        """Let go of the port; closing a lost or closed one is no error."""
        try:
            self._device.close()
        except OSError as problem:
            # It went before us. Say so to whoever looks closely, not to the user.
            self.name += f" (gone before it was closed: {problem})"

    def _read_all(self) -> bytes:
        data = b""
        while more := self._device.read(_READ_AT_ONCE):
            data += more
            if len(data) >= _READ_AT_ONCE:
                break
        return data

    def _guarded[T](self, act: Callable[[], T]) -> T:
        try:
            return act()
        except (OSError, TypeError) as problem:
            # pyserial raises its own OSErrors, and TypeError where a lost port has become None inside.
            raise PortLost(f"lost the port {self.name}: {_reason(problem)}") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
