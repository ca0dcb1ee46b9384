"""What a run shows of itself while it goes on. Everything here came over the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rfprobe.wire import Frame
from rfprobe_core import protocol

_AGE_UNKNOWN = 255
_TICK_S = protocol.TICK_US / 1e6


@dataclass(frozen=True)
class Progress:
    """One moment of a run, in SI units; None where the device has not said it, or where it is not defined."""

    t_s: float
    """Since the device's first tick in this session."""
    state: str = ""
    """A name of `rfprobe_core.protocol.STATE_NAMES`; empty until the device has said it."""
    setpoint_C: float | None = None
    control_C: float | None = None
    boundary_C: float | None = None
    guard_C: float | None = None
    power_W: float | None = None
    impedance_ohm: float | None = None
    remaining_s: float | None = None
    """Of the hold or of the cool-down, as the device counts it."""
    expected_s: float | None = None
    """The whole run from its start, as planned: probe check, ramp, hold and cool-down."""


class ProgressView:
    """What a person is shown while it runs: from the wire alone."""

    def __init__(self, roles: Sequence[str], values: Mapping[str, int], channel: int = 0) -> None:
        """`channel` is the one that is shown, of a device that has two."""
        self._channel = channel
        self._places = {role: place for place, role in enumerate(roles)}
        self._expected_s = _expected_s(values)
        self._last: Frame | None = None

    def see(self, frame: Frame) -> None:
        if frame.type == protocol.TELEMETRY and frame.channel == self._channel:
            self._last = frame

    def _temperature_C(self, frame: Frame, role: str) -> float | None:
        place = self._places.get(role)
        if place is None or frame.value(f"tc{place}_age") == _AGE_UNKNOWN:
            return None
        return frame.value(f"tc{place}_mC") / 1000

    def progress(self, t_s: float) -> Progress:
        frame = self._last
        if frame is None:
            return Progress(t_s=t_s, expected_s=self._expected_s)
        setpoint = frame.value("setpoint_mC")
        impedance = frame.value("impedance_dohm")
        return Progress(
            t_s=t_s,
            state=protocol.STATE_NAMES[frame.state],
            setpoint_C=setpoint / 1000 if setpoint else None,
            control_C=self._temperature_C(frame, "control"),
            boundary_C=self._temperature_C(frame, "boundary"),
            guard_C=self._temperature_C(frame, "guard"),
            power_W=frame.value("power_mW") / 1000,
            impedance_ohm=None if impedance == 0xFFFF else impedance / 10,
            remaining_s=frame.value("remaining_ticks") * _TICK_S,
            expected_s=self._expected_s,
        )


def _expected_s(values: Mapping[str, int]) -> float:
    ramp_s = max(0, values["target_mC"] - 37_000) / values["ramp_mC_per_s"]
    return 3.0 + ramp_s + (values["hold_ms"] + values["cooldown_ms"]) / 1000
