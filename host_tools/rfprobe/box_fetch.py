"""Fetching the device's black box: which records have come, and what is still to be asked for."""

from __future__ import annotations

from typing import Final

from rfprobe.wire import Frame

MOST: Final = 1_000
"""Records to ask for at first, when nobody knows how many there are: more than a device keeps."""


class BoxFetch:
    """`ask` says which records to ask for; `hear_ack` and `take` what came. A frame is whole or does not count."""

    def __init__(self) -> None:
        self.count = -1
        """Records that the device has; −1 until it has said so."""
        self._last_tick = -1
        self._asked_to = MOST
        self._came: set[int] = set()

    @property
    def done(self) -> bool:
        """Whether every record is here."""
        return len(self._came) == self.count

    @property
    def received(self) -> int:
        return len(self._came)

    def ask(self) -> tuple[int, int]:
        """(first, most) of the first stretch that is missing."""
        if self.count < 0:
            self._asked_to = MOST
            return 0, MOST
        first = next((place for place in range(self.count) if place not in self._came), self.count)
        stop = next((place for place in range(first, self.count) if place in self._came), self.count)
        self._asked_to = stop
        return first, stop - first

    def hear_ack(self, count: int, last_tick: int) -> None:
        """The device has a black box of so many records; whatever came of another one is worth nothing."""
        if last_tick != self._last_tick:
            self._came.clear()
        self.count, self._last_tick = count, last_tick

    def take(self, frame: Frame) -> bool:
        """Take a BLACKBOX frame; whether the last record that was asked for has come with it."""
        if frame.value("last_tick") != self._last_tick:
            self.hear_ack(frame.value("count"), frame.value("last_tick"))
        first = frame.value("first")
        stop = first + len(frame.records)
        self._came.update(range(first, stop))
        return stop >= min(self._asked_to, self.count)
