"""Two sessions held against one another: what they were given, then frame by frame what the device said.

Frames are compared byte for byte. Left out is what differs from machine to machine and says so (HELLO names the
interpreter, HEALTH has cost and lateness), and the host's own clock. Two simulations of the same input must not
differ in anything else, whatever ran the firmware.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rfprobe.session import TICK_S, Session
from rfprobe.session_format import Json
from rfprobe.session_verify import decode_frame
from rfprobe.wire import FRAME_NAMES, Frame
from rfprobe_core import protocol

LEFT_OUT = (protocol.HELLO, protocol.HEALTH)
GIVEN = ("parameters", "roles", "tissue", "seed", "faults", "tick_zero")
"""Keys of `meta` that decide what the device does."""
GIVEN_TO_CHANNEL = ("parameters", "roles", "tissue", "faults")
"""The same of each channel, where both took part."""
_HEAD = ("type", "schema", "channel", "state", "sequence", "tick")


@dataclass(frozen=True)
class Differences:
    """What was found: `given` by what was put in, `first` where the frames part, `frames` how many differ or lack."""

    given: tuple[str, ...]
    first: str
    frames: int
    compared: int

    @property
    def none(self) -> bool:
        return not self.given and not self.first

    @property
    def first_told(self) -> str:
        """The first difference, in one line; empty where there is none."""
        return self.given[0] if self.given else self.first


def diff_sessions(ours: Session, theirs: Session, left_out: Sequence[int] = LEFT_OUT) -> Differences:
    """Compare; `left_out` are the types of frames that may differ."""
    given = tuple(_differently_given(ours, theirs))
    first, differing, compared = "", 0, 0
    pairs = zip_longest(frame_bytes(ours, left_out), frame_bytes(theirs, left_out))
    for number, (mine, other) in enumerate(pairs, start=1):
        compared = number
        if mine != other:
            differing += 1
            first = first or describe_difference(number, mine, other)
    return Differences(given, first, differing, compared)


def _differently_given(ours: Session, theirs: Session) -> Iterator[str]:
    for key in GIVEN:
        yield from _differing(key, ours.meta.get(key), theirs.meta.get(key))
    if ours.channels != theirs.channels:
        yield f"channels that ran: {_numbers(ours)} in the first, {_numbers(theirs)} in the second"
        return
    for number in ours.channels:
        mine, other = ours.told_of_channel(number), theirs.told_of_channel(number)
        for key in GIVEN_TO_CHANNEL:
            yield from _differing(f"channel {number + 1}: {key}", mine.get(key), other.get(key))


def _numbers(session: Session) -> str:
    return " and ".join(str(number + 1) for number in session.channels)


def frame_bytes(session: Session, left_out: Sequence[int] = LEFT_OUT) -> Iterator[bytes]:
    """The frames of a session as they came over the wire, in order, without some types."""
    marks = ", ".join("?" * len(left_out))
    rows = session.rows(f"SELECT raw FROM frames WHERE type NOT IN ({marks}) ORDER BY id", tuple(left_out))
    return (bytes(row[0]) for row in rows)


def describe_difference(number: int, ours: bytes | None, theirs: bytes | None) -> str:
    """One line on the first thing that differs between two frames, either of which may be missing (None)."""
    mine, other = (None if raw is None else decode_frame(raw) for raw in (ours, theirs))
    for there, lacking in ((mine, "second"), (other, "first")):
        if there is not None and (other if lacking == "second" else mine) is None:
            return f"frame {number} ({_where(there)}): the {lacking} has ended or has none like it"
    if mine is None or other is None:
        return f"frame {number}: the bytes are no whole frame"
    place = f"frame {number} ({_where(mine)})"
    for name, left, right in _fields(mine, other):
        if left != right:
            return f"{place}: {name} is {left} in the first, {right} in the second"
    return f"{place}: the same fields in other bytes"


def _where(frame: Frame) -> str:
    of = f" of channel {frame.channel + 1}" if frame.channel else ""
    return f"{FRAME_NAMES.get(frame.type, frame.type)}{of} at tick {frame.tick}, {frame.tick * TICK_S:.2f} s"


def _fields(mine: Frame, other: Frame) -> Iterator[tuple[str, object, object]]:
    """(name, ours, theirs): what the frame is first, then what it says."""
    tellers: dict[str, Callable[[int], object]] = {
        "type": lambda kind: FRAME_NAMES.get(kind, kind),
        "state": lambda state: protocol.STATE_NAMES[state] if state < len(protocol.STATE_NAMES) else state,
    }
    for name in _HEAD:
        told = tellers.get(name, int)
        yield name, told(getattr(mine, name)), told(getattr(other, name))
    for name, left in mine.fields().items() if mine.type != protocol.HELLO else mine.hello.items():
        right = other.value(name) if mine.type != protocol.HELLO else other.hello.get(name)
        yield f"{mine.name}.{name}", left, right


def _differing(key: str, ours: Json, theirs: Json) -> Iterator[str]:
    """A line for each part of a value that differs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            yield from _differing(f"{key}.{name}", ours.get(name), theirs.get(name))
    elif ours != theirs:
        yield f"{key} is {_told(ours)} in the first, {_told(theirs)} in the second"


def _told(value: Json) -> str:
    return "not there" if value is None else str(value)
