"""One process owns a port; others attach to it through a local socket, and Stop goes through it.

The owner leaves a record in the user's state directory (who, which socket, a token); what reads it connects to
the loopback and says the token first. The talk is one JSON object a line:

    → {"token": …}                      ← {"facts": {…}}, again whenever they change
    → {"do": "stop"}                    ← {"done": "stop"}
    → {"do": "note", "text": …}         ← {"done": "note"}
    → {"do": "watch"}                   ← {"host_ns": …, "raw": base64 of what came from the device}, on and on
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

from rfprobe.errors import EnvironmentProblem, reason_of
from rfprobe.ports import Port, open_port

ANSWER_WITHIN_S: Final = 2.0
VIEWER_BEHIND_BYTES: Final = 4_000_000  # a viewer that is further behind is let go of
GIVES_WAY_BY: Final = 10  # of the 19 that `nice` has
_LINE_BYTES = 1 << 16
_LOOPBACK = "127.0.0.1"

Facts = dict[str, Any]


class _Busy(EnvironmentProblem):
    """It is there, and has not answered in time."""


class PortOwned(EnvironmentProblem):
    """Another process of ours has the port; the message names it."""


@dataclass(frozen=True)
class Record:
    """Where an owner is found."""

    port: str
    what: str
    pid: int
    address: int
    token: str

    def told(self) -> str:
        return f"`{self.what}` (process {self.pid})"


def records_directory() -> Path:
    from platformdirs import user_state_path

    return user_state_path("rfprobe", appauthor=False) / "owners"


def same_port(name: str) -> str:
    """A name that is the same for all names of one port."""
    if "://" in name:
        parts = urlsplit(name.lower())
        host = _LOOPBACK if parts.hostname == "localhost" else parts.hostname
        return f"{parts.scheme}://{host}:{parts.netloc.rpartition(':')[2]}"
    return os.path.realpath(name)


def _record_path(port: str) -> Path:
    return records_directory() / f"{sha256(same_port(port).encode()).hexdigest()[:16]}.json"


def _read_record(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # being written, or already gone


def owners() -> list[Record]:
    """Every owner that answers; what is left of one that was killed is cleared away."""
    directory = records_directory()
    paths = sorted(directory.glob("*.json")) if directory.is_dir() else []
    return [record for path in paths if (record := _living(path)) is not None]


def give_way() -> None:
    """Where a device is being driven, let that go first: this process then takes what the others leave of a core."""
    if sys.platform != "win32" and owners():
        os.nice(GIVES_WAY_BY)


def find_owner(port: str) -> Record | None:
    """The process of ours that has this port, if there is one; also if the name has come to mean another tty."""
    known = _living(_record_path(port))
    return known or next((each for each in owners() if each.port == port), None)


def _living(path: Path) -> Record | None:
    record = _read_record(path)
    if record is None:
        return None
    try:
        with Attached(record):
            return record
    except EnvironmentProblem as problem:
        if isinstance(problem, _Busy) and _is_alive(record.pid):
            return record
        path.unlink(missing_ok=True)
        return None


def _is_alive(pid: int) -> bool:
    """Whether there is such a process. Windows has no question that does not end it: there it is taken to be."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def take_port(name: str) -> Port:
    """Open a port that is nobody's. Raises PortOwned, which names the owner, or what `open_port` raises."""
    owner = find_owner(name)
    if owner is not None:
        raise PortOwned(
            f"{name} is owned by {owner.told()}: attach with `rfprobe monitor --port {name}`, "
            f"or end it with `rfprobe stop --port {name}`"
        )
    return open_port(name)


class Attached:
    """A connection to an owner, as a context. Raises EnvironmentProblem where there is none any more."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.facts: Facts = {}
        try:
            self._socket = socket.create_connection((_LOOPBACK, record.address), timeout=ANSWER_WITHIN_S)
            self._lines = self._socket.makefile("rb")
            self._say({"token": record.token})
            self.facts = self._answer("facts")
        except TimeoutError as error:
            raise _Busy(f"{record.told()} does not answer: {reason_of(error)}") from None
        except OSError as error:
            raise EnvironmentProblem(f"{record.told()} does not answer: {reason_of(error)}") from None

    def stop(self) -> None:
        """RF off: what Ctrl-C at the owner does."""
        self._ask({"do": "stop"})

    def note(self, text: str) -> None:
        """Leave a note in the session."""
        self._ask({"do": "note", "text": text})

    def watch(self) -> Iterator[tuple[int, bytes] | None]:
        """(host's time in ns, bytes) as they come, None every 0.1 s without any; ends with the owner."""
        self._say({"do": "watch"})
        self._socket.settimeout(0.1)
        pending = b""
        while True:
            try:
                data = self._socket.recv(_LINE_BYTES)
            except TimeoutError:
                yield None
                continue
            except OSError:
                return
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                said = _message(line)
                if "facts" in said:
                    self.facts = said["facts"]
                elif "raw" in said:
                    yield said["host_ns"], base64.b64decode(said["raw"])

    def wait_for_end(self, within_s: float) -> bool:
        """Whether the owner's run is over, or the owner gone, within that time."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                with Attached(self.record) as again:
                    if again.facts.get("over"):
                        return True
            except EnvironmentProblem:
                return True
            time.sleep(0.02)
        return False

    def close(self) -> None:
        """Let go of it; the owner goes on."""
        with suppress(OSError):
            self._lines.close()
            self._socket.close()

    def _ask(self, request: Facts) -> None:
        try:
            self._say(request)
            self._answer("done")
        except OSError as error:
            raise EnvironmentProblem(f"{self.record.told()} does not answer: {reason_of(error)}") from None

    def _say(self, message: Facts) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _answer(self, wanted: str) -> Any:
        while True:
            line = self._lines.readline(_LINE_BYTES)
            if not line:
                raise ConnectionResetError(None, "it hung up")
            said = _message(line)
            if wanted in said:
                return said[wanted]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _message(line: bytes) -> Facts:
    """One line of the talk; what is no object is an empty one."""
    try:
        said: object = json.loads(line)
    except ValueError:
        return {}
    return cast(Facts, said) if isinstance(said, dict) else {}


class Owner:
    """The owner's side: a context around the time in which this process has the port.

    `stop_asked` is set by anybody who says stop; `take_notes` gives what was noted since the last call;
    `publish` hands what came from the device to all who watch, and never waits for them.
    """

    def __init__(self, port: str, what: str, facts: Mapping[str, Any]) -> None:
        self.stop_asked = threading.Event()
        self._port = port
        self._facts: Facts = dict(facts)
        self._token = secrets.token_hex(16)
        self._notes: deque[tuple[int, str]] = deque()
        self._watching: set[asyncio.StreamWriter] = set()
        self._talking: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._talk, _LOOPBACK, 0, limit=_LINE_BYTES))
        self.record = Record(port, what, os.getpid(), self._server.sockets[0].getsockname()[1], self._token)
        self._path = _record_path(port)
        self._thread = threading.Thread(target=self._loop.run_forever, name="port owner", daemon=True)

    @property
    def watchers(self) -> int:
        return len(self._watching)

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self._path.with_suffix(f".{os.getpid()}")
            beside.touch(mode=0o600)
            beside.write_text(json.dumps(vars(self.record)), encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            raise EnvironmentProblem(f"{self._path}: cannot be written: {reason_of(error)}") from None
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def tell(self, **facts: Any) -> None:
        """Add to the facts, and say them to everybody who is attached."""
        self._facts.update(facts)
        self._loop.call_soon_threadsafe(self._say_to, self._talking, _line({"facts": self._facts}))

    def publish(self, host_ns: int, data: bytes) -> None:
        """What came from the device."""
        if data and self._watching:
            line = _line({"host_ns": host_ns, "raw": base64.b64encode(data).decode()})
            self._loop.call_soon_threadsafe(self._say_to, self._watching, line)

    def take_notes(self) -> list[tuple[int, str]]:
        """(host's time in ns, text) of each new note."""
        taken: list[tuple[int, str]] = []
        while self._notes:
            taken.append(self._notes.popleft())
        return taken

    def _say_to(self, whom: set[asyncio.StreamWriter], line: bytes) -> None:
        for writer in list(whom):
            if writer.transport.get_write_buffer_size() > VIEWER_BEHIND_BYTES:
                writer.transport.abort()
            else:
                writer.write(line)

    async def _end(self) -> None:
        self._server.close()
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            said = _message(await asyncio.wait_for(reader.readline(), ANSWER_WITHIN_S))
            if not secrets.compare_digest(str(said.get("token")), self._token):
                return
            self._talking.add(writer)
            writer.write(_line({"facts": self._facts}))
            while line := await reader.readline():
                self._do(_message(line), writer)
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError):
            return  # it hung up, or says what is no line: its own affair; or the owner ends
        finally:
            self._talking.discard(writer)
            self._watching.discard(writer)
            writer.close()

    def _do(self, said: Facts, writer: asyncio.StreamWriter) -> None:
        what = said.get("do")
        if what == "stop":
            self.stop_asked.set()
        elif what == "note":
            self._notes.append((time.time_ns(), str(said.get("text"))[:2000]))
        elif what == "watch":
            self._watching.add(writer)
        writer.write(_line({"done": what}))


def _line(message: Facts) -> bytes:
    return json.dumps(message).encode() + b"\n"
