"""What a run shows of itself while it goes on. Everything here came over the wire."""

from dataclasses import dataclass


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
