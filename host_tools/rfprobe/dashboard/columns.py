"""What a plot shows, kept as it comes: the smallest and the largest of each series in each column of time.

Half an hour at 20 Hz costs a viewer no more than its first minute, and news are the last columns alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

COLUMNS: Final = 600

Extent = float | None


class Columns:
    """At most `most` columns of `width_s` each: the newest of them, or, where `whole`, all of them, made wider."""

    def __init__(self, names: Sequence[str], width_s: float, *, whole: bool, most: int = COLUMNS) -> None:
        self.names = tuple(names)
        self.width_s = width_s
        self.most = most
        self.remade = 0
        """How many times all columns became others."""
        self._whole = whole
        self._index: list[int] = []
        self._low: dict[str, list[Extent]] = {name: [] for name in self.names}
        self._high: dict[str, list[Extent]] = {name: [] for name in self.names}

    def __len__(self) -> int:
        return len(self._index)

    @property
    def last(self) -> int:
        """The number of the newest column, −1 where there is none."""
        return self._index[-1] if self._index else -1

    def add(self, t_s: float, values: Sequence[float]) -> None:
        """One row, not earlier than the one before; NaN is passed over."""
        index = int(t_s / self.width_s)
        if index > self.last:
            self._index.append(index)
            for name in self.names:
                self._low[name].append(None)
                self._high[name].append(None)
            self._limit()
        for name, value in zip(self.names, values, strict=True):
            if value == value:
                _widen(self._low[name], self._high[name], value)

    def since(self, index: int) -> dict[str, Any]:
        """The columns from number `index` on, to be put in the place of those that were known."""
        start = len(self._index)
        while start and self._index[start - 1] >= index:
            start -= 1
        return {
            "from": index,
            "width_s": self.width_s,
            "index": self._index[start:],
            "low": {name: self._low[name][start:] for name in self.names},
            "high": {name: self._high[name][start:] for name in self.names},
        }

    def _limit(self) -> None:
        if self._whole:
            if self.last >= self.most:
                self._double()
        elif len(self._index) > self.most:
            # a tenth at once: to take one from the front of a list moves all others
            self._cut(max(1, self.most // 10))

    def _cut(self, count: int) -> None:
        del self._index[:count]
        for name in self.names:
            del self._low[name][:count]
            del self._high[name][:count]

    def _double(self) -> None:
        """Make one column of each two, until all fit."""
        while self.last >= self.most:
            index, low, high = self._index, self._low, self._high
            self.width_s *= 2
            self.remade += 1
            self._index = sorted({each // 2 for each in index})
            place = {each: at for at, each in enumerate(self._index)}
            self._low = {name: [None] * len(self._index) for name in self.names}
            self._high = {name: [None] * len(self._index) for name in self.names}
            for at, each in enumerate(index):
                new = place[each // 2]
                for name in self.names:
                    _join(self._low[name], new, low[name][at], min)
                    _join(self._high[name], new, high[name][at], max)


def _widen(low: list[Extent], high: list[Extent], value: float) -> None:
    lowest, highest = low[-1], high[-1]
    if lowest is None or value < lowest:
        low[-1] = value
    if highest is None or value > highest:
        high[-1] = value


def _join(column: list[Extent], at: int, value: Extent, choose: Any) -> None:
    known = column[at]
    if value is not None:
        column[at] = value if known is None else choose(known, value)
