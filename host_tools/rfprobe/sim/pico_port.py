"""The emulated chip's serial port as a real one: `socket://127.0.0.1:N`, or a pty where there is one.

The chip runs in a thread of its own, never ahead of the wall clock: a host's lease is renewed in real time.
"""

import contextlib
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from rfprobe.sim.emulated_pico import EmulatedPico

_Result = TypeVar("_Result")

_SLICE_us = 1000
_CHUNK_bytes = 4096
_BACKLOG_bytes = 65536
"""What the program at the other end may leave unread before the host stops taking packets from the chip."""
_FORGIVEN_s = 0.02
"""Falling behind by more is forgotten: the chip does not run fast to catch up."""


class Wire(Protocol):
    """A byte stream to at most one program at a time."""

    @property
    def url(self) -> str:
        """What pyserial's `serial_for_url` opens."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether a program has it open."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when something may have come in, or after the time."""

    def receive(self) -> bytes:
        """Return what has come in, b"" if nothing; never block."""
        ...

    def send(self, data: bytes) -> int:
        """Send what goes out at once and return how many bytes that was; never block."""
        ...

    def close(self) -> None:
        """Give up the port."""


class TcpWire:
    """A TCP port on the loopback interface; a second connection is refused while one is open."""

    def __init__(self, port: int = 0) -> None:
        """Listen; port 0 takes a free one. OSError if the port is taken."""
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self._client: socket.socket | None = None

    @property
    def url(self) -> str:
        """What pyserial's `serial_for_url` opens."""
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def is_open(self) -> bool:
        """Whether a program is connected."""
        self._accept()
        return self._client is not None

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            if self._client is not None:
                client.close()
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client

    def wait(self, timeout_s: float) -> None:
        """Return when something may have come in, or after the time."""
        sources = [self._listener] if self._client is None else [self._listener, self._client]
        select.select(sources, [], [], timeout_s)

    def receive(self) -> bytes:
        """Return what has come in, b"" if nothing."""
        if self._client is None:
            return b""
        try:
            data = self._client.recv(_CHUNK_bytes)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def send(self, data: bytes) -> int:
        """Send what goes out at once; without a program it is lost, as on an unplugged cable."""
        if self._client is None:
            return len(data)
        try:
            return self._client.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._hang_up()
            return len(data)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Stop listening."""
        self._hang_up()
        self._listener.close()


class PtyWire:
    """A pseudo-terminal; `url` is the path of the end that programs open."""

    def __init__(self) -> None:
        """Open the pair. OSError where there are no pseudo-terminals."""
        import tty

        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.url = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN)

    @property
    def is_open(self) -> bool:
        """Whether a program has the terminal open."""
        return not any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def wait(self, timeout_s: float) -> None:
        """Return when something may have come in, or after the time."""
        if not self.is_open:  # a terminal that nobody has open is always "ready"
            time.sleep(timeout_s)
            return
        self._poll.poll(timeout_s * 1000)

    def receive(self) -> bytes:
        """Return what has come in, b"" if nothing."""
        try:
            return os.read(self._master, _CHUNK_bytes)
        except OSError:
            return b""

    def send(self, data: bytes) -> int:
        """Send what goes out at once."""
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def close(self) -> None:
        """Close the terminal."""
        os.close(self._master)


class PicoPort:
    """Runs a chip in a thread, its serial port on a wire. While it runs, touch the chip through `call`."""

    def __init__(self, pico: EmulatedPico, wire: Wire) -> None:
        """Start at once; until a program opens the wire, the chip's port is closed."""
        self._pico = pico
        self._wire = wire
        self._to_program = bytearray()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="emulated-pico", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What pyserial's `serial_for_url` and mpremote's `connect` open."""
        return self._wire.url

    def call(self, function: Callable[[EmulatedPico], _Result], timeout_s: float = 10.0) -> _Result:
        """Run a function on the chip between two slices of its time and return what it returns.

        TimeoutError after `timeout_s`; what the function raises is raised here.
        """
        done = threading.Event()
        results: list[_Result] = []
        faults: list[BaseException] = []

        def job() -> None:
            try:
                results.append(function(self._pico))
            except BaseException as fault:
                faults.append(fault)
            done.set()

        self._calls.put(job)
        if not done.wait(timeout_s):
            raise self._crash or TimeoutError(f"the emulated chip did not answer within {timeout_s} s")
        if faults:
            raise faults[0]
        return results[0]

    def close(self) -> None:
        """Stop the chip and close the wire; an exception that ended the chip's thread is raised here."""
        self._closing.set()
        self._thread.join()
        self._wire.close()
        if self._crash is not None:
            raise self._crash

    def __enter__(self) -> "PicoPort":
        """Return the port itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _run(self) -> None:
        try:
            self._run_paced()
        except BaseException as crash:  # told to whoever calls or closes
            self._crash = crash

    def _run_paced(self) -> None:
        pico = self._pico
        origin_s = time.monotonic() - pico.time_us / 1e6
        while not self._closing.is_set():
            ahead_s = pico.time_us / 1e6 - (time.monotonic() - origin_s)
            if ahead_s < -_FORGIVEN_s:
                origin_s -= ahead_s
            self._wire.wait(max(0.0, ahead_s))
            self._exchange()
            while not self._calls.empty():
                self._calls.get()()
            pico.run_us(_SLICE_us)

    def _exchange(self) -> None:
        pico, wire = self._pico, self._wire
        opened = wire.is_open
        if opened != pico.dtr:
            pico.dtr = opened
        if pico.serial.unsent < _BACKLOG_bytes:
            pico.write(wire.receive())
        self._to_program += pico.read()
        if self._to_program:
            del self._to_program[: wire.send(bytes(self._to_program))]
        pico.reading = len(self._to_program) < _BACKLOG_bytes


def serve_tcp(pico: EmulatedPico, port: int = 0) -> PicoPort:
    """Put the chip's serial port on a TCP port of the loopback interface; 0 takes a free one."""
    return PicoPort(pico, TcpWire(port))


def serve_pty(pico: EmulatedPico) -> PicoPort:
    """Put the chip's serial port on a pseudo-terminal."""
    return PicoPort(pico, PtyWire())
