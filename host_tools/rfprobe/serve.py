"""A virtual device behind a port, so that every host tool meets it as it meets a board; and its pacing.

`ByteServer` has the doors: a pty where there is one, and a TCP listener. `serve` runs a lock-step device
behind them at the wall clock's pace.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from rfprobe.errors import EnvironmentProblem, reason_of

BACKLOG_BYTES: Final = 16_384  # what a host that does not read may be behind before the oldest is dropped
RX_PER_TICK: Final = 64
_KERNEL_BYTES = 2_048  # left unread in the pty itself: few enough that it never holds more than its queue
_SEND_BUFFER_BYTES = 16_384
_LOOPBACK = "127.0.0.1"
_SLACK_S = 0.002


class LockStepDevice(Protocol):
    """What is served: one tick an `exchange`, at most 64 bytes in, whatever it has to say out."""

    @property
    def tick_us(self) -> int:
        """The length of a tick."""
        ...

    def exchange(self, rx: bytes) -> bytes:
        """Run one tick."""
        ...


class _Backlog:
    """What waits to be taken by the host: whole chunks, the oldest dropped when there is too much."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._begun = b""  # the rest of a chunk of which a part is gone: it is not dropped
        self._size = 0

    def add(self, data: bytes) -> None:
        if not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        while self._size > self._limit and len(self._chunks) > 1:
            self._size -= len(self._chunks.popleft())
            self.dropped += 1

    def clear(self) -> None:
        self._chunks.clear()
        self._begun = b""
        self._size = 0

    def give(self, take: Callable[[bytes], int]) -> None:
        """Hand out chunks to `take`, which returns how many bytes it took, until it takes only a part."""
        while self._begun or self._chunks:
            if not self._begun:
                self._begun = self._chunks.popleft()
                self._size -= len(self._begun)
            taken = take(self._begun)
            self._begun = self._begun[taken:]  # nothing, if `take` cleared it all
            if self._begun:
                return


class _Door(Protocol):
    backlog: _Backlog

    def link(self) -> str: ...
    def read(self, limit: int) -> bytes: ...
    def pump(self) -> None: ...
    def present(self) -> bool: ...
    def close(self) -> None: ...


class _TcpDoor:
    """One host at a time; a second is turned away at once, the next after the first has gone is let in."""

    def __init__(self, number: int, backlog_bytes: int) -> None:
        self.backlog = _Backlog(backlog_bytes)
        self._listener = _listen(number)
        self._host: socket.socket | None = None

    def link(self) -> str:
        return f"socket://{_LOOPBACK}:{self._listener.getsockname()[1]}"

    def present(self) -> bool:
        return self._host is not None

    def read(self, limit: int) -> bytes:
        data = self._receive(limit)
        self._answer_the_door()
        return data

    def pump(self) -> None:
        if self._host is not None:
            self.backlog.give(self._send)

    def close(self) -> None:
        self._hang_up()
        self._listener.close()

    def _receive(self, limit: int) -> bytes:
        if self._host is None:
            return b""
        try:
            data = self._host.recv(limit)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""  # reset by the host: the same as closed
        if not data:
            self._hang_up()
        return data

    def _send(self, data: bytes) -> int:
        if self._host is None:
            return len(data)
        try:
            return self._host.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._hang_up()
            return len(data)

    def _hang_up(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None
        self.backlog.clear()

    def _answer_the_door(self) -> None:
        try:
            caller, _ = self._listener.accept()
        except OSError:
            return  # nobody is there, or not any more
        if self._host is not None:
            caller.close()
            return
        caller.setblocking(False)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.backlog.clear()
        self._host = caller


def _listen(number: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two listen on one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, number))
    except OSError as problem:
        listener.close()
        raise EnvironmentProblem(f"cannot listen on {_LOOPBACK}:{number}: {reason_of(problem)}") from problem
    listener.listen(4)
    listener.setblocking(False)
    return listener


if sys.platform != "win32":
    import fcntl
    import struct
    import termios
    import tty

    class _PtyDoor:
        """A pty whose slave stays open here, so that a host may come and go without the pty's end.

        Packet mode tells when a host that opens the port flushes it (pyserial does): it begins with what is
        said from then on, as on USB.
        """

        def __init__(self, backlog_bytes: int, symlink: Path | None) -> None:
            self.backlog = _Backlog(backlog_bytes)
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            fcntl.ioctl(self._master, termios.TIOCPKT, struct.pack("i", 1))
            self._path = os.ttyname(self._slave)
            self._symlink = symlink
            if symlink is not None:
                self._point(symlink)

        def link(self) -> str:
            return str(self._symlink or self._path)

        def present(self) -> bool:
            """A pty cannot tell: it is written to in any case."""
            return True

        def read(self, limit: int) -> bytes:
            data = b""
            while len(data) < limit:
                try:
                    packet = os.read(self._master, limit - len(data) + 1)
                except BlockingIOError:
                    break
                if packet[:1] == b"\0":
                    data += packet[1:]
                elif packet[0] & termios.TIOCPKT_FLUSHREAD:
                    self.backlog.clear()
            return data

        def pump(self) -> None:
            self.backlog.give(self._send)

        def _was_flushed(self) -> bool:
            """Ask for a packet of one byte: it says what happened and has no room for data."""
            try:
                packet = os.read(self._master, 1)
            except BlockingIOError:
                return False
            flushed = bool(packet[0] & termios.TIOCPKT_FLUSHREAD)
            if flushed:
                self.backlog.clear()
            return flushed

        def close(self) -> None:
            os.close(self._master)
            os.close(self._slave)
            if self._symlink is not None and self._symlink.is_symlink():
                self._symlink.unlink()

        def _point(self, symlink: Path) -> None:
            """Make or move the symlink in one step; anything else of that name is left alone."""
            beside = symlink.with_name(f"{symlink.name}.{os.getpid()}")
            try:
                if symlink.exists() and not symlink.is_symlink():
                    raise FileExistsError(errno.EEXIST, "it is there and is not a link")
                beside.symlink_to(self._path)
                beside.replace(symlink)
            except OSError as problem:
                self._symlink = None
                self.close()
                raise EnvironmentProblem(f"cannot make the link {symlink}: {reason_of(problem)}") from problem

        def _send(self, data: bytes) -> int:
            unread: int = struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, bytes(4)))[0]
            room = _KERNEL_BYTES - unread
            if room <= 0:
                return 0
            # In this order: room made by a flush is not filled with what should have gone with it.
            if self._was_flushed():
                return len(data)
            try:
                return os.write(self._master, data[:room])
            except BlockingIOError:
                return 0

    def _open_pty(backlog_bytes: int, symlink: Path | None) -> _Door | None:
        return _PtyDoor(backlog_bytes, symlink)

else:

    def _open_pty(backlog_bytes: int, symlink: Path | None) -> _Door | None:
        return None


class ByteServer:
    """The host's side of a virtual device: a pty, a TCP port on the loopback, or both, taken for one wire.

    `tcp_port` 0 takes any free one, None has none. `symlink` gives the pty a name that outlives it. Where
    there is no pty there is the TCP port alone. Raises EnvironmentProblem when the port is taken or nothing
    can be opened.
    """

    def __init__(
        self,
        *,
        pty: bool = True,
        tcp_port: int | None = 0,
        symlink: Path | None = None,
        backlog_bytes: int = BACKLOG_BYTES,
    ) -> None:
        self._pty = pty
        self._tcp_port = tcp_port
        self._symlink = symlink
        self._backlog_bytes = backlog_bytes
        self._doors: list[_Door] = []
        self._dropped_before = 0
        self._turn = 0
        self._lock = threading.RLock()  # the cable may be pulled by another thread than the one that serves
        self.replug()

    @property
    def dropped(self) -> int:
        """Chunks that were dropped because a host did not read."""
        return self._dropped_before + sum(door.backlog.dropped for door in self._doors)

    def links(self) -> list[str]:
        """The names to open it by, the pty first; none while it is unplugged."""
        return [door.link() for door in self._doors]

    def read(self, limit: int = RX_PER_TICK) -> bytes:
        """What came from the host, at most `limit` bytes; more stays where it is and holds the host up.

        The doors are asked in turn, so that a flood through one does not keep a STOP out of the other.
        """
        data = b""
        with self._lock:
            self._turn += 1
            for place in range(len(self._doors)):
                if len(data) < limit:
                    data += self._doors[(self._turn + place) % len(self._doors)].read(limit - len(data))
        return data

    def write(self, data: bytes) -> None:
        """Say `data` to whoever listens; never waits. Call it with nothing to hand out what waits."""
        with self._lock:
            for door in self._doors:
                if door.present():
                    door.backlog.add(data)
                    door.pump()

    def unplug(self) -> None:
        """As if the cable were pulled: whoever has the port open loses it."""
        with self._lock:
            self._dropped_before = self.dropped
            for door in self._doors:
                door.close()
            self._doors = []

    def replug(self) -> None:
        """Plug it in again: the TCP port and the symlink stay the same, the pty's own name may not."""
        with self._lock:
            if not self._doors:
                self._open_doors()

    def _open_doors(self) -> None:
        door = _open_pty(self._backlog_bytes, self._symlink) if self._pty else None
        if door is not None:
            self._doors.append(door)
        if self._tcp_port is not None:
            self._doors.append(self._open_tcp(self._tcp_port))
        if not self._doors:
            raise EnvironmentProblem("there is no pty on this system: serve on a TCP port")

    def close(self) -> None:
        """Close all doors and take the symlink away."""
        self.unplug()

    def _open_tcp(self, number: int) -> _Door:
        try:
            door = _TcpDoor(number, self._backlog_bytes)
        except EnvironmentProblem:
            self.unplug()
            raise
        self._tcp_port = int(door.link().rpartition(":")[2])
        return door

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Served:
    """What became of the pace: ticks run, seconds on the wall clock, and seconds given up for late ticks."""

    ticks: int
    wall_s: float
    given_up_s: float


class Pace:
    """When each tick is due, on an absolute grid: no drift, and no burst after a delay.

    A tick that is late by less than one period (or 2 ms) is followed by one that is due on the grid; after a
    longer delay the grid moves, and the time is given up instead of caught up.
    """

    def __init__(self, period_s: float, now_s: float) -> None:
        self.given_up_s = 0.0
        self._period_s = period_s
        self._slack_s = max(period_s, _SLACK_S)
        self._due_s = now_s + period_s

    def wait_s(self, now_s: float) -> float:
        """How long until the next tick is due; 0 if it is."""
        late_s = now_s - self._due_s
        if late_s > self._slack_s:
            self._due_s += late_s
            self.given_up_s += late_s
        return max(self._due_s - now_s, 0.0)

    def ticked(self) -> None:
        """The tick that was due has been run."""
        self._due_s += self._period_s


def serve(
    device: LockStepDevice,
    server: ByteServer,
    *,
    speed: float = 1.0,
    stop: Callable[[], bool],
    on_tick: Callable[[int, bytes, bytes], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Served:
    """Run `device` behind `server` until `stop()`, `speed` times as fast as the wall clock (0.01 … 1000).

    The device's time runs with it: at speed 5 its 1 s lease lasts 200 ms, so a host that is to keep it counts
    its time at the same speed. `on_tick(tick, received, sent)` is called after each tick; the first is 1.
    ValueError for other speeds.
    """
    if not 0.01 <= speed <= 1000:
        raise ValueError(f"a speed of {speed} is outside 0.01 … 1000")
    begun_s = clock()
    pace = Pace(device.tick_us / 1e6 / speed, begun_s)
    ticks = 0
    while not stop():
        wait_s = pace.wait_s(clock())
        if wait_s > 0:
            sleep(wait_s)
            continue
        pace.ticked()
        received = server.read(RX_PER_TICK)
        sent = device.exchange(received)
        server.write(sent)
        ticks += 1
        if on_tick is not None:
            on_tick(ticks, received, sent)
    return Served(ticks, clock() - begun_s, pace.given_up_s)
