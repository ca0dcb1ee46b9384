"""What a watcher knows of a device: everything by the wire, kept so that an hour of it is drawn in no time."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rfprobe import words
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import plan, protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMARKS: Final = 500
_AGE_UNKNOWN = 255
_IMPEDANCE_UNKNOWN = 65_535
_NAN = float("nan")


@dataclass
class WatchedChannel:
    """One channel: `series` has a column for each name of `names`, `t_s` since the device's first frame.

    `parameters` says which thermocouples are fitted and where the limits are; without them there is the first.
    """

    parameters: Mapping[str, int] = field(default_factory=dict[str, int])
    state: str = ""
    last: Frame | None = None
    dose_min: dict[str, float] = field(default_factory=dict[str, float])
    number: int = 0
    """As the wire counts: 0, 1."""

    def __post_init__(self) -> None:
        from rfprobe.session import named_places

        known = dict(self.parameters) or {"thermocouples": 1, "tc0_role": plan.ROLE_CONTROL}
        self.places = named_places(known)
        self.names = ("setpoint_C", *(f"{name}_C" for name in self.places), "power_W", "impedance_ohm")
        self.t_s = array("d")
        self.series = {name: array("d") for name in self.names}

    def row(self, frame: Frame) -> dict[str, float]:
        """A telemetry frame of this channel in SI units; NaN for what is not known."""
        setpoint, impedance = frame.value("setpoint_mC"), frame.value("impedance_dohm")
        values = {"setpoint_C": setpoint / 1000 if setpoint else _NAN}
        for name, place in self.places.items():
            known = frame.value(f"tc{place}_age") < _AGE_UNKNOWN
            values[f"{name}_C"] = frame.value(f"tc{place}_mC") / 1000 if known else _NAN
        values["power_W"] = frame.value("power_mW") / 1000
        values["impedance_ohm"] = _NAN if impedance == _IMPEDANCE_UNKNOWN else impedance / 10
        return values

    def add(self, t_s: float, values: Mapping[str, float]) -> None:
        """Append one row to the series."""
        self.t_s.append(t_s)
        for name in self.names:
            self.series[name].append(values[name])

    def latest(self, name: str) -> float:
        """The newest value of a series, NaN where there is none."""
        column = self.series[name]
        return column[-1] if column else _NAN

    def limits_C(self) -> dict[str, float]:
        """Name → temperature of each limit to be drawn."""
        wanted = {"guard trip": "guard_trip_mC", "highest": "max_temperature_mC"}
        return {name: self.parameters[key] / 1000 for name, key in wanted.items() if key in self.parameters}

    def take(self, frame: Frame, now_s: float) -> None:
        """A frame of this channel."""
        self.state = words.name_of(protocol.STATE_NAMES, frame.state)
        if frame.type == protocol.TELEMETRY:
            self.last = frame
            self.add(now_s, self.row(frame))
        elif frame.type == protocol.DOSE:
            self.dose_min = {name: frame.value(f"tc{place}_cem43_ms") / 60_000 for name, place in self.places.items()}


_OF_A_CHANNEL: Final = (protocol.TELEMETRY, protocol.DOSE, protocol.EVENT)
"""Frames that are about the channel they name; the others are about the device."""


@dataclass
class Watched(WatchedChannel):
    """A device: feed it what came. It is the first channel itself, and has the `second` once that has said something.

    `second_parameters` are the second's; without them they are taken to be as the first's.
    """

    dropped: int | None = None
    heard_ns: int = 0
    another_protocol: str = ""
    """What is to be said of a device whose frames may mean something else here; empty for any other."""
    second_parameters: Mapping[str, int] = field(default_factory=dict[str, int])
    second: WatchedChannel | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.remarks: deque[tuple[float, str]] = deque(maxlen=REMARKS)
        """(t_s, text) of events, and of what the device printed."""
        self.remarks_made = 0
        self.decoder = FrameDecoder()
        self._first_ns = 0
        self._result = 0

    @property
    def now_s(self) -> float:
        return (self.heard_ns - self._first_ns) / 1e9

    @property
    def channels(self) -> list[WatchedChannel]:
        """Those that have said something, the first always."""
        return [self] if self.second is None else [self, self.second]

    def channel(self, number: int) -> WatchedChannel:
        """The channel that a frame names."""
        if not number:
            return self
        if self.second is None:
            self.second = WatchedChannel(dict(self.second_parameters) or dict(self.parameters), number=number)
        return self.second

    def feed(self, host_ns: int, data: bytes) -> list[Frame]:
        """Take bytes that came at `host_ns`; returns the telemetry frames in them, of whatever channel."""
        if data and not self._first_ns:
            self._first_ns = host_ns
        self.heard_ns = host_ns if data else self.heard_ns
        found: list[Frame] = []
        for item in self.decoder.feed(data):
            if isinstance(item, str):
                self._remark(item.rstrip())
            else:
                self._hear(item)
                if item.type == protocol.TELEMETRY:
                    found.append(item)
        return found

    def begin_live(self) -> None:
        """What came so far was read from a record: from here on, what is lost is counted anew."""
        self.decoder = FrameDecoder()

    def _hear(self, frame: Frame) -> None:
        if frame.type in _OF_A_CHANNEL:
            self.channel(frame.channel).take(frame, self.now_s)
        elif not frame.channel:
            self.take(frame, self.now_s)
        if frame.type == protocol.HEALTH:
            self.dropped = frame.value("frames_dropped")
        elif frame.type == protocol.HELLO:
            state = frame.hello.get("cal", "").partition(" ")[2]
            if state in ("none", "expired", "corrupt"):
                self._remark(f"the device's calibration: {state}; its power is limited")
            self._compare(str(frame.hello.get("proto")))
        elif frame.type == protocol.EVENT:
            from rfprobe.session import event_text

            told = event_text(*(frame.value(name) for name in ("code", "cause", "row", "value", "limit")))
            self._remark(told if self.second is None else f"channel {frame.channel + 1}: {told}")

    def _compare(self, theirs: str) -> None:
        ours = protocol.protocol_digest()
        if theirs != ours and not self.another_protocol:
            self.another_protocol = f"it speaks protocol {theirs}, these host tools {ours}: values may be misread"
            self._remark(self.another_protocol)

    def _remark(self, text: str) -> None:
        if text:
            self.remarks.append((self.now_s, text))
            self.remarks_made += 1


def decimated(
    t_s: NDArray[Any], values: NDArray[Any], from_s: float, to_s: float, columns: int
) -> tuple[list[float], list[float]]:
    """At most two points a column, its smallest and its largest: what a plot of that width can show."""
    import numpy as np

    first, last = np.searchsorted(t_s, (from_s, to_s), side="left")
    times, shown = t_s[first:last], values[first:last]
    if len(times) <= 2 * columns:
        known = ~np.isnan(shown)
        return times[known].tolist(), shown[known].tolist()
    starts = np.unique(np.searchsorted(times, np.linspace(from_s, to_s, columns + 1)[:-1], side="left"))
    starts = starts[starts < len(times)]
    # fmin and fmax pass over what is not known; a column in which nothing is known stays so
    low, high = np.fmin.reduceat(shown, starts), np.fmax.reduceat(shown, starts)
    known = ~np.isnan(low)
    return np.repeat(times[starts][known], 2).tolist(), np.column_stack((low, high))[known].ravel().tolist()
