"""The device behind the dashboard: one thread takes in what comes, another passes Stop on, and neither waits for pages.

What is read from here is read under `lock`, which is held for the time of a chunk; Stop never takes it.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from rfprobe.dashboard.columns import Columns
from rfprobe.errors import ExpectedError
from rfprobe.owner import Attached, find_owner
from rfprobe.session import Session
from rfprobe.sources import Chunk, OwnerSource, PortSource, ReplaySource, Source, past_of
from rfprobe.watched import Watched, WatchedChannel

LOOK_EVERY_s: Final = 0.3
LET_GO_WITHIN_s: Final = 5.0
QUIET_s: Final = 3.0  # a board says something twenty times a second
WHAT: Final = "rfprobe dashboard"
SPANS: Final = {"all": (0.1, True), "10 min": (1.0, False), "2 min": (0.2, False)}
"""What can be plotted: (a column's first width in s, whether it holds everything)."""

Pictures = dict[str, Columns]
"""One channel's, by span."""


class Link:
    """A context. Opening raises what is wrong with the port; later troubles are told in `told`, and tried again."""

    def __init__(self, port: str | None, session: Session | None, speed: float, directory: Path) -> None:
        self.lock = threading.Lock()
        self.watched = Watched()
        self.pictures: list[Pictures] = [{}]
        """By channel, of those that have said something."""
        self.source_count = 0
        """How many sources there were: with each, everything begins anew."""
        self.heard_s: float | None = None
        """When something last came, by the monotonic clock: what is replayed has its own time."""
        self._begun_s = time.monotonic()
        self.told = ""
        self.stops = 0
        """How many times Stop was passed on."""
        self._port = port
        self._directory = directory
        self._stop_asked: SimpleQueue[bool] = SimpleQueue()
        self._closing = threading.Event()
        self._lent = threading.Event()
        self._let_go = threading.Event()
        self._source: Source | None = ReplaySource(session, speed) if session is not None else self._open()
        self._owns = isinstance(self._source, PortSource)
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._listen, "dashboard's link"), (self._pass_stops, "dashboard's stop"))
        ]
        self._begin(self._source)

    def __enter__(self) -> Link:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._stop_asked.put(False)
        for thread in self._threads:
            thread.join(LET_GO_WITHIN_s)
        if self._source is not None:
            self._source.close()

    @property
    def live(self) -> bool:
        return self._source is not None

    @property
    def age_s(self) -> float | None:
        """How long ago something came."""
        return None if self.heard_s is None else time.monotonic() - self.heard_s

    @property
    def silence(self) -> str:
        """What is to be said of a source from which nothing has come so far; empty where something has."""
        if self._source is None or self.heard_s is not None or time.monotonic() - self._begun_s < QUIET_s:
            return ""
        return f"{self.title}: nothing is heard; still listening"

    @property
    def title(self) -> str:
        """Where it comes from."""
        source = self._source
        return source.title if source is not None else f"{self._port}: nobody owns it just now"

    def stop(self) -> None:
        """RF off, as soon as can be; returns at once."""
        self._stop_asked.put(True)

    def note(self, text: str) -> None:
        """Leave a note in the session, or say why not."""
        source = self._source
        if source is None:
            self.told = "there is no session to note it in"
            return
        try:
            self.told = source.note(text)
        except ExpectedError as error:
            self.told = str(error)

    def lend(self) -> bool:
        """Let go of the port, so that a run can own it, and attach to that; whether that is done (in seconds)."""
        if isinstance(self._source, OwnerSource):
            return False
        self._let_go.clear()
        self._lent.set()
        return self._let_go.wait(LET_GO_WITHIN_s)

    def take_back(self) -> None:
        """The run is over: own the port again, if it was owned before."""
        self._lent.clear()

    # In the threads

    def _open(self) -> Source | None:
        """Attached to the owner; else the port itself, unless it is lent or belongs to others."""
        assert self._port is not None
        owner = find_owner(self._port)
        if owner is not None:
            return OwnerSource(owner)
        may_own = not self._lent.is_set() and (not self.source_count or self._owns)
        return PortSource(self._port, self._directory, WHAT) if may_own else None

    def _begin(self, source: Source | None) -> None:
        self._show(*_nothing_heard(source))

    def _show(self, watched: Watched, pictures: list[Pictures]) -> None:
        """Instead of what was shown before."""
        with self.lock:
            self.watched, self.pictures = watched, pictures
            self.heard_s = None
            self._begun_s = time.monotonic()
            self.source_count += 1

    def _listen(self) -> None:
        while not self._closing.is_set():
            if self._source is not None:
                self._follow(self._source)
            if self._port is None:
                return  # a session that was replayed stays as it ended
            self._closing.wait(LOOK_EVERY_s)
            self._look_for_another()

    def _look_for_another(self) -> None:
        if self._closing.is_set():
            return
        if self._lent.is_set():
            self._let_go.set()
        try:
            source = self._open()
        except ExpectedError as error:
            self.told = str(error)
            return
        if source is not None:
            self.told = ""
            self._begin(source)
            self._source = source

    def _follow(self, source: Source) -> None:
        """Take in what comes until the source ends, or is to be let go of."""
        try:
            live = source.chunks()
            begun = [next(live, None)] if source.past is not None else []  # from now on nothing is missed
            known_ns = self._take_past(source)
            for chunk in chain(begun, live):
                if chunk is not None and chunk[0] > known_ns:
                    self._take(chunk)
                    self.heard_s = time.monotonic()
                if self._closing.is_set() or (self._lent.is_set() and isinstance(source, PortSource)):
                    break
        except ExpectedError as error:
            self.told = str(error)
        if not self._closing.is_set():
            self._source = None
            source.close()

    def _take_past(self, source: Source) -> int:
        """What was recorded before; returns the host's time of the last of it, in ns."""
        if source.past is None:
            return 0
        known_ns = 0
        watched, pictures = _nothing_heard(source)  # apart, without the lock: who shows the present does not wait
        try:
            for chunk in past_of(source):
                _add(watched, pictures, chunk)
                known_ns = chunk[0]
                if self._closing.is_set():
                    break
        except ExpectedError as error:
            self.told = f"the past cannot be shown: {error}"
        watched.begin_live()
        self._show(watched, pictures)
        return known_ns

    def _take(self, chunk: Chunk) -> None:
        with self.lock:
            _add(self.watched, self.pictures, chunk)

    def _pass_stops(self) -> None:
        while self._stop_asked.get():
            with suppress(Empty):
                while self._stop_asked.get_nowait():
                    continue  # one Stop answers all who asked before it
            try:
                self.told = self._stop_now()
                self.stops += 1
            except ExpectedError as error:
                self.told = f"STOP NOT PASSED ON: {error}"

    def _stop_now(self) -> str:
        source = self._source
        if self._port is None:
            return source.stop() if source is not None else "a replay has nothing to stop"
        try:
            if source is not None:
                return source.stop()
        except ExpectedError as error:
            self.told = str(error)  # and now the long way round
        owner = find_owner(self._port)
        if owner is not None:
            with Attached(owner) as attached:
                attached.stop()
            return "STOP passed to the owner"
        from rfprobe.commands_run import stop_directly

        return stop_directly(self._port)


def _nothing_heard(source: Source | None) -> tuple[Watched, list[Pictures]]:
    """What is known of a source before anything came, and its empty plots."""
    parameters, second = (source.parameters, source.second) if source is not None else ({}, {})
    watched = Watched(dict(parameters), second_parameters=dict(second))
    return watched, [_empty_pictures(watched)]


def _empty_pictures(channel: WatchedChannel) -> Pictures:
    return {span: Columns(channel.names, width_s, whole=whole) for span, (width_s, whole) in SPANS.items()}


def _add(watched: Watched, pictures: list[Pictures], chunk: Chunk) -> None:
    """Take in a chunk, and plot what telemetry there is in it, each channel's into its own pictures."""
    known = [len(channel.t_s) for channel in watched.channels]
    watched.feed(*chunk)
    channels = watched.channels
    if len(channels) > len(pictures):
        pictures.append(_empty_pictures(channels[-1]))
        known.append(0)
    for channel, mine, first in zip(channels, pictures, known, strict=True):
        series = [channel.series[name] for name in channel.names]
        for at in range(first, len(channel.t_s)):
            row = [column[at] for column in series]
            for columns in mine.values():
                columns.add(channel.t_s[at], row)
