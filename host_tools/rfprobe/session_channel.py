"""One channel of a recorded run of two, with the whole API of `Session`: nothing of the other channel is in it.

The view has a connection of its own, in which temporary views stand in the tables' place and leave the other
channel's rows out; whatever is asked of a session, in SQL too, is then asked of this channel alone. `meta` is
overlaid with what `meta["channels"]` says of it. Of the device as a whole, and so the same in both views: the clock,
HELLO, HEALTH, commands, notes and text.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

from rfprobe.session import Session
from rfprobe.session_format import (
    BOX_COLUMNS,
    BOX_TABLE,
    CHANNELS,
    DECODED_TABLES,
    EDGES_TABLES,
    PLAIN_TABLES,
    TRUTH_TABLES,
    Json,
)
from rfprobe_core import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from rfprobe.session_verify import Verification

_RESTED: dict[str, Json] = {
    "profile": None,
    "profile_name": None,
    "calibration": None,
    "digests": None,
    "tissue": None,
    "faults": None,
    "truth_final": None,
    "result": None,
    "cause": None,
}
"""Of a channel that the plan did not use: nothing was said to it, and what the session says is the other's."""
_OF_THE_DEVICE = (DECODED_TABLES[protocol.HEALTH],)
"""Decoded tables that both views have whole: the first channel tells them for the device."""


class ChannelSession(Session):
    """Made by `Session.channel`. `channel_number` is 0 or 1, `whole` the session it is a part of."""

    def __init__(self, whole: Session, number: int) -> None:
        super().__init__(whole.path)
        self._whole = whole
        self._number = number
        there = {str(row[0]) for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for statement in _temporary_views(number, there):
            self.rows(statement)

    def __repr__(self) -> str:
        return f"<Session {self.id}, channel {self._number + 1}>"

    @property
    def channel_number(self) -> int | None:
        return self._number

    @property
    def whole(self) -> Session:
        return self._whole

    @cached_property
    def meta(self) -> dict[str, Json]:
        """The session's, with this channel's own in the place of the first one's."""
        meta = self._whole.meta
        ran = self._number in self._whole.channels
        own = self._whole.told_of_channel(self._number) if ran else _RESTED
        channels: list[Json] = [{"channel": self._number, **own}]
        return {**meta, **own, CHANNELS: channels}

    @property
    def channels(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self._number,)

    @property
    def telling(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self._number,)

    def channel(self, number: int) -> Session:
        return self if number == self._number else self._whole.channel(number)

    @property
    def clock(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The device's, of all its frames: the two channels have one time."""
        return self._whole.clock

    @property
    def health(self) -> pd.DataFrame:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The device's."""
        return self._whole.health

    def verify(self) -> Verification:
        """Of the whole file."""
        return self._whole.verify()


def _temporary_views(number: int, there: set[str]) -> Iterator[str]:
    """The SQL that puts views in the place of tables. `number` is an int, so nothing foreign comes into it."""
    yield "PRAGMA temp_store = MEMORY"
    of_a_channel = ["frames", *(table for table in DECODED_TABLES.values() if table not in _OF_THE_DEVICE)]
    for table in of_a_channel:
        yield f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE channel = {int(number)}"
    for tables in (TRUTH_TABLES, EDGES_TABLES):
        columns = ", ".join(f'"{name}"' for name in PLAIN_TABLES[tables[0]])
        mine = f"main.{tables[number]}" if tables[number] in there else f"main.{tables[0]} WHERE 0"
        yield f"CREATE TEMP VIEW {tables[0]} AS SELECT {columns} FROM {mine}"
    if BOX_TABLE in there:
        columns = ", ".join(f'box."{name}" AS "{name}"' for name in BOX_COLUMNS)
        yield (
            f"CREATE TEMP VIEW {BOX_TABLE} AS SELECT {columns} FROM main.{BOX_TABLE} AS box "
            f"JOIN main.frames AS came ON came.id = box.frame WHERE came.channel = {int(number)}"
        )


def told_of_channel(meta: dict[str, Json], number: int) -> dict[str, Json]:
    """What `meta["channels"]` says of a channel; nothing where there is no word of it."""
    told = meta.get(CHANNELS)
    for each in told if isinstance(told, list) else ():
        if isinstance(each, dict) and each.get("channel") == number:
            return {key: value for key, value in cast(dict[str, Json], each).items() if key != "channel"}
    return {}
