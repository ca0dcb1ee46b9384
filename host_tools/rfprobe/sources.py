"""Where a watcher gets its bytes: from the owner of a port, from a port that nobody owns, from a session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from rfprobe.client import SECOND
from rfprobe.errors import BadInput, EnvironmentProblem, ExpectedError
from rfprobe.owner import Attached, Owner, Record, find_owner, take_port
from rfprobe.ports import Port
from rfprobe.replay import Replayed
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import HELLO_LINE, STOP_LINE, Frame, FrameDecoder
from rfprobe_core import plan, protocol

PAUSE_S = 0.005
ASK_WITHIN_S = 1.5
WATCHED_PARAMETERS = (
    "thermocouples",
    *(f"tc{place}_role" for place in range(plan.THERMOCOUPLES)),
    "guard_trip_mC",
    "max_temperature_mC",
)

Chunk = tuple[int, bytes]


class Source(Protocol):
    """`chunks` gives (host's time in ns, bytes), or None now and then while nothing comes; it ends with the source.

    `second` has the parameters of the device's second channel, where it has one and they are known.
    """

    title: str
    parameters: dict[str, int]
    second: dict[str, int]
    past: Path | None

    def chunks(self) -> Iterator[Chunk | None]: ...
    def stop(self) -> str: ...
    def note(self, text: str) -> str: ...
    def close(self) -> None: ...


class OwnerSource:
    """Attached to the process that owns the port."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._attached = Attached(record)
        self._beside = Attached(record)  # open already when Stop is said: to connect anew takes two more turns of both
        facts: dict[str, Any] = self._attached.facts
        self.title = f"{record.port}, {record.told()}"
        self.parameters: dict[str, int] = facts.get("parameters") or {}
        self.past = Path(facts["session"]) if facts.get("session") else None
        self.second = _second_of_record(self.past)

    def chunks(self) -> Iterator[Chunk | None]:
        return self._attached.watch()

    def stop(self) -> str:
        try:
            self._beside.stop()
        except EnvironmentProblem:
            with Attached(self._record) as anew:
                anew.stop()
        return "STOP passed to the owner"

    def note(self, text: str) -> str:
        with Attached(self._record) as beside:
            beside.note(text)
        return "noted in the session"

    def close(self) -> None:
        self._attached.close()
        self._beside.close()


class PortSource:
    """Owns the port: watches and records, claims nothing and heats nothing. Stop is always possible."""

    past: Path | None = None

    def __init__(self, name: str, directory: Path, what: str = "rfprobe monitor") -> None:
        self.title = f"{name}, watched"
        self.parameters: dict[str, int] = {}
        self.second: dict[str, int] = {}
        self._port: Port = take_port(name)
        self._begun: list[Chunk] = []
        self._has_second = False
        with ExitStack() as undone:
            undone.callback(self._port.close)
            self._ask()
            told = dict(self.parameters)
            meta: dict[str, Any] = {"kind": "watch", "port": name, "runtime": "board", "parameters": told}
            if self.second:
                meta["channels"] = [{"channel": number, "parameters": each} for number, each in self._told()]
            self._writer = SessionWriter.create(directory, "watch", "watch", meta)
            undone.callback(self._writer.close)
            facts = {"parameters": told, "session": str(self._writer.path.resolve()), "over": False}
            self._owner = Owner(name, what, facts)
            self._owner.__enter__()
            undone.pop_all()
        self._decoder = FrameDecoder()

    def _told(self) -> list[tuple[int, dict[str, int]]]:
        return [(0, dict(self.parameters)), (1, dict(self.second))]

    def _ask(self) -> None:
        """HELLO, and which thermocouples there are: read-only verbs, which need no claim."""
        decoder = FrameDecoder()
        self._port.write(HELLO_LINE)
        self._ask_channel(decoder, "GET", self.parameters)
        if self._has_second:
            self._ask_channel(decoder, f"GET{SECOND}", self.second)

    def _ask_channel(self, decoder: FrameDecoder, verb: str, told: dict[str, int]) -> None:
        wanted = list(WATCHED_PARAMETERS)
        until = time.monotonic() + ASK_WITHIN_S
        while wanted and time.monotonic() < until:
            self._port.write(f"{verb} {wanted[0]}\n".encode("ascii"))
            again = time.monotonic() + 0.2
            while wanted and time.monotonic() < again and not self._answered(decoder, wanted, told):
                time.sleep(PAUSE_S)

    def _answered(self, decoder: FrameDecoder, wanted: list[str], told: dict[str, int]) -> bool:
        data = self._port.read()
        if data:
            self._begun.append((time.time_ns(), data))
        of = 1 if told is self.second else 0
        for item in decoder.feed(data):
            if not isinstance(item, Frame):
                continue
            if item.type == protocol.HELLO:
                self._has_second = item.hello.get("channels", "1") != "1"
            elif item.type == protocol.ACK and item.channel == of and item.value("key") < len(plan.NAMES):
                told[plan.NAMES[item.value("key")]] = item.value("value")
        if wanted[0] not in told:
            return False
        wanted.pop(0)
        return True

    def chunks(self) -> Iterator[Chunk | None]:
        for chunk in self._begun:
            self._record(*chunk)
            yield chunk
        while True:
            if self._owner.stop_asked.is_set():
                self._owner.stop_asked.clear()
                self.stop()
            for host_ns, text in self._owner.take_notes():
                self._writer.note(host_ns, text)
            data = self._port.read()
            if not data:
                time.sleep(PAUSE_S)
                yield None
                continue
            now_ns = time.time_ns()
            self._record(now_ns, data)
            yield now_ns, data

    def _record(self, host_ns: int, data: bytes) -> None:
        self._owner.publish(host_ns, data)
        for item in self._decoder.feed(data):
            if isinstance(item, Frame):
                self._writer.frame(item, host_ns)
            else:
                self._writer.text(host_ns, item)

    def stop(self) -> str:
        self._port.write(STOP_LINE)
        self._writer.command(time.time_ns(), "tx", "STOP")
        return "STOP sent"

    def note(self, text: str) -> str:
        self._writer.note(time.time_ns(), text)
        return "noted in the session"

    def close(self) -> None:
        self._port.close()
        self._owner.tell(over=True)
        self._owner.__exit__(None, None, None)
        self._writer.close()


class ReplaySource:
    """A recorded session."""

    past: Path | None = None

    def __init__(self, session: Session, speed: float) -> None:
        self.title = f"{session.id}, replayed"
        self.parameters = session.parameters()
        self.second = _second_of(session)
        self._session = session
        self._played = Replayed(session, speed)

    def chunks(self) -> Iterator[Chunk | None]:
        for chunk in self._played.chunks():
            if chunk is None:
                time.sleep(PAUSE_S)
            yield chunk

    def stop(self) -> str:
        return "a replay has nothing to stop"

    def note(self, text: str) -> str:
        return "a recorded session takes no notes"

    def close(self) -> None:
        self._session.close()


def _second_of(session: Session) -> dict[str, int]:
    """The second channel's parameters, where the session tells them."""
    told = session.told_of_channel(1).get("parameters")
    return cast(dict[str, int], told) if isinstance(told, dict) else {}


def _second_of_record(path: Path | None) -> dict[str, int]:
    """The same of what the owner records; what cannot be read is told when its past is shown."""
    if path is None:
        return {}
    try:
        with Session(path) as session:
            return _second_of(session)
    except ExpectedError:
        return {}


def past_of(source: Source) -> Iterator[Chunk]:
    """What the owner has recorded so far. Raises ExpectedError where that cannot be read."""
    if source.past is None:
        return
    with Session(source.past) as session:
        yield from session.rows("SELECT host_ns, raw FROM frames ORDER BY id")


class Watching:
    """A source as a context: the owner's, or the port itself where nobody owns it, or a session."""

    def __init__(self, port: str | None, session: Session | None, speed: float, directory: Path) -> None:
        if session is not None:
            self.source: Source = ReplaySource(session, speed)
            return
        if port is None:
            raise BadInput("rfprobe monitor: neither a port nor a session to watch")
        owner = find_owner(port)
        self.source = OwnerSource(owner) if owner is not None else PortSource(port, directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()
