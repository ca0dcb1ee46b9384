"""One run on a device behind a port: the wire, the recording, whoever is attached, and the operator, in one loop.

Nothing here decides over heat. The device ends a run by itself when this process is gone; this loop renews the
lease, passes a stop on within milliseconds, and writes down what it hears.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from rfprobe.client import Phase, RunClient
from rfprobe.errors import EnvironmentProblem, ExpectedError
from rfprobe.owner import Owner
from rfprobe.ports import Port, PortLost, open_port
from rfprobe.progress import Progress, ProgressView
from rfprobe.run_meta import channel_ended, channel_understood, ended_meta, understood_meta
from rfprobe.session_format import Json
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import Frame

PAUSE_S: Final = 0.002
LOOK_EVERY_S: Final = 0.05
REOPEN_EVERY_S: Final = 0.1
TAIL_S: Final = 0.3  # after the verdict: the last frames still come
_RUN_PHASES = frozenset((Phase.START, Phase.RUNNING, Phase.BLACK_BOX))


@dataclass
class RunParts:
    """What a run is made of. `names` gives the names under which the port may come back."""

    port: Port
    client: RunClient
    writer: SessionWriter
    owner: Owner
    view: ProgressView
    names: Callable[[], Sequence[str]]
    stop_requested: Callable[[], bool]
    channels: Sequence[dict[str, Json]] = ()
    """What the session says of each channel, where the device has more than one (`run_meta.channel_meta`)."""


class BoardRun:
    """`until_configured`, then, if that is what is wanted, `confirm` and `to_the_end`; `finish` in any case."""

    def __init__(self, parts: RunParts) -> None:
        self._parts = parts
        self._client = parts.client
        self._port: Port | None = parts.port
        self._began_s = time.monotonic()
        self._epoch_ns = time.time_ns()
        self._looked_s = self._reopened_s = -REOPEN_EVERY_S
        self._commands_told = 0
        self._understood_told = False
        self._armed = False
        self.failure: EnvironmentProblem | None = None
        """Why nothing is recorded any more, if that is so."""

    def until_configured(self) -> bool:
        """Whether the device is configured and waits to be armed; if not, the client says why."""
        return any(self._client.phase is Phase.CONFIRM for _ in self._steps())

    def wait_for(self, answer: Callable[[], bool | None]) -> bool:
        """Keep the session alive until `answer` gives one; False also when the client gave up meanwhile."""
        for _ in self._steps():
            given = answer()
            if given is not None:
                return given
        return False

    def to_the_end(self, progress: Callable[[Progress], None]) -> None:
        """Arm, start, and see it through to the verdict and the last frames after it."""
        self._client.confirm()
        for now_s in self._steps():
            progress(self._parts.view.progress(now_s))
        until_s = self._now_s() + TAIL_S
        while self._port is not None and self._now_s() < until_s:
            self._exchange(self._now_s())
            time.sleep(PAUSE_S)

    def finish(self) -> None:
        """Write down how it ended, and let the port go."""
        client = self._client
        self._look_around(self._now_s())
        facts: dict[str, Json] = {**ended_meta(client), **self._channels_told(), "wall_s": self._now_s()}
        for key, fact in facts.items():
            self._record(lambda writer, key=key, fact=fact: writer.set_meta(key, fact))
        self._end_session()
        if self._port is not None:
            self._port.close()

    def _end_session(self) -> None:
        """Close the session; what was never to be armed leaves none."""
        writer = self._parts.writer
        try:
            (writer.close if self._client.arm_asked else writer.discard)()
        except EnvironmentProblem as problem:
            self.failure = problem

    def _steps(self) -> Iterator[float]:
        """Exchange with the device until the client is over; gives the time after each look around."""
        while not self._client.over:
            now_s = self._now_s()
            busy = self._exchange(now_s)
            if now_s >= self._looked_s + LOOK_EVERY_S:
                self._looked_s = now_s
                self._look_around(now_s)
                yield now_s
            if not busy:
                time.sleep(PAUSE_S)

    def _exchange(self, now_s: float) -> bool:
        """Read, answer, record; whether anything came."""
        if self._stop_asked():
            self._client.request_stop()
        if self._port is None:
            self._try_again(now_s)
        data = b""
        try:
            data = b"" if self._port is None else self._port.read()
            self._take(data, now_s)
            out = self._client.poll(now_s)
            if self._port is not None:
                self._port.write(out)
        except PortLost as lost:
            self._bear(lost, now_s)
        return bool(data)

    def _stop_asked(self) -> bool:
        parts = self._parts
        return self.failure is not None or parts.owner.stop_asked.is_set() or parts.stop_requested()

    def _take(self, data: bytes, now_s: float) -> None:
        if not data:
            return
        host_ns = self._host_ns(now_s)
        self._parts.owner.publish(host_ns, data)
        for item in self._client.feed(data, now_s):
            self._keep(item, host_ns)

    def _keep(self, item: Frame | str, host_ns: int) -> None:
        if isinstance(item, Frame):
            self._parts.view.see(item)
            self._record(lambda writer: writer.frame(item, host_ns))
        else:
            self._record(lambda writer: writer.text(host_ns, item))

    def _look_around(self, now_s: float) -> None:
        told = self._client.commands
        for at_s, direction, text in told[self._commands_told :]:
            host_ns = self._host_ns(at_s)
            self._record(lambda writer, ns=host_ns, way=direction, line=text: writer.command(ns, way, line))
        self._commands_told = len(told)
        self._tell_understood()
        for host_ns, text in self._parts.owner.take_notes():
            self._record(lambda writer, ns=host_ns, note=text: writer.note(ns, note))
        armed = self._client.arm_asked and not self._client.over and self._client.device_result == "none"
        if armed != self._armed:
            self._armed = armed
            self._record(lambda writer: writer.armed(armed, wait=False))

    def _tell_understood(self) -> None:
        if self._understood_told or not self._client.configured:
            return
        self._understood_told = True
        self._parts.owner.tell(parameters=self._client.values)
        for key, fact in {**understood_meta(self._client, {}), **self._channels_told()}.items():
            self._record(lambda writer, key=key, fact=fact: writer.set_meta(key, fact))

    def _channels_told(self) -> dict[str, Json]:
        """The entry `channels` of the session's meta, as far as it is known; nothing where there is one channel."""
        told = self._parts.channels
        if not told:
            return {}
        pairs = zip(told, self._client.channels, strict=True)
        return {
            "channels": [{**meta, **channel_understood(each), **channel_ended(each)} for meta, each in pairs],
        }

    def _record(self, act: Callable[[SessionWriter], None]) -> None:
        """Write, or remember why it cannot be written: the run is stopped for that, not broken off."""
        if self.failure is not None:
            return
        try:
            act(self._parts.writer)
        except EnvironmentProblem as problem:
            self.failure = problem

    def _bear(self, lost: PortLost, now_s: float) -> None:
        """A run outlives a lost port for as long as the client waits; before a run there is nothing to save."""
        if self._port is not None:
            self._port.close()
            self._port = None
        if self._client.phase not in _RUN_PHASES:
            raise lost
        for item in self._client.decoder.flush():
            self._keep(item, self._host_ns(now_s))
        self._tell_link(now_s, str(lost))

    def _try_again(self, now_s: float) -> None:
        if now_s < self._reopened_s + REOPEN_EVERY_S:
            return
        self._reopened_s = now_s
        for name in self._parts.names():
            with suppress(ExpectedError):  # still away: the next try tells
                self._port = open_port(name)
                self._tell_link(now_s, f"found the port {name} again")
                return

    def _tell_link(self, now_s: float, text: str) -> None:
        host_ns = self._host_ns(now_s)
        self._record(lambda writer: writer.command(host_ns, "link", text))

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    def _host_ns(self, now_s: float) -> int:
        return self._epoch_ns + round(now_s * 1e9)
