"""Faults on demand: `KIND[:TARGET][=VALUE][@START_s[+DURATION_s]]`, as a table of what each does to the plant.

Every kind is something that happens outside the firmware: to a wire, a chip, the stage, the tissue or the host.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rfprobe.errors import BadInput
from rfprobe.sim.onboard import exchange, max31856_chip

if TYPE_CHECKING:
    from rfprobe.sim.plant import Plant

DEFAULT_START_S = 20.0
CLOCK_WRAP_US = 1 << 30
ROLES = ("control", "boundary", "guard")
Apply = Callable[["Plant", int, float, bool], None]


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault. `value` is the default, NaN where the kind takes none."""

    name: str
    targets: tuple[str, ...]
    value: float
    unit: str
    text: str
    apply: Apply


@dataclass(frozen=True)
class Fault:
    """One fault as asked for: `place` is the thermocouple's place, −1 where the kind has no target."""

    kind: FaultKind
    target: str
    place: int
    value: float
    start_s: float
    end_s: float
    text: str


def _knob(attribute: str, *, as_value: bool) -> Apply:
    def apply(plant: "Plant", place: int, value: float, on: bool) -> None:
        setattr(plant.thermocouples[place], attribute, (value if as_value else 1.0) if on else 0.0)

    return apply


def _chip(mode: int) -> Apply:
    def apply(plant: "Plant", place: int, _value: float, on: bool) -> None:
        plant.set_chip_mode(place, mode if on else max31856_chip.BUS_GOOD)

    return apply


def _input(bit: int, *, raise_it: bool) -> Apply:
    def apply(plant: "Plant", _place: int, _value: float, on: bool) -> None:
        plant.force_input(bit, on == raise_it)

    return apply


def _stage(attribute: str, healthy: float) -> Apply:
    def apply(plant: "Plant", _place: int, value: float, on: bool) -> None:
        setattr(plant.stage, attribute, value if on else healthy)

    return apply


def _stage_flag(attribute: str) -> Apply:
    def apply(plant: "Plant", _place: int, _value: float, on: bool) -> None:
        setattr(plant.stage, attribute, on)

    return apply


def _adc(channel: int, attribute: str) -> Apply:
    def apply(plant: "Plant", _place: int, value: float, on: bool) -> None:
        adc = plant.adcs[channel]
        if attribute == "stuck_u16":
            adc.stuck_u16 = int(value) if on else None
        else:
            adc.offset = value if on else 0.0

    return apply


def _spikes(plant: "Plant", place: int, value: float, on: bool) -> None:
    plant.thermocouples[place].spike_C = value if on else 0.0
    plant.thermocouples[place].spike_probability = 0.02 if on else 0.0


def _cold_junction(plant: "Plant", place: int, value: float, on: bool) -> None:
    plant.thermocouples[place].cold_junction_C = value if on else 25.0


def _displaced(plant: "Plant", place: int, value: float, on: bool) -> None:
    plant.displace(place, value if on else None)


def _swapped(plant: "Plant", _place: int, _value: float, on: bool) -> None:
    plant.swap_control_and_guard(on)


def _impedance(plant: "Plant", _place: int, value: float, on: bool) -> None:
    plant.fixed_impedance_ohm = value if on else None


def _impedance_rise(plant: "Plant", _place: int, value: float, on: bool) -> None:
    plant.impedance_rise_per_s = value if on else 0.0


def _clock(attribute: str) -> Apply:
    def apply(plant: "Plant", _place: int, value: float, on: bool) -> None:
        setattr(plant, attribute, int(value) if on else 0)

    return apply


def _host(attribute: str) -> Apply:
    def apply(plant: "Plant", _place: int, _value: float, on: bool) -> None:
        setattr(plant.host, attribute, on)

    return apply


def _bounce(plant: "Plant", _place: int, value: float, on: bool) -> None:
    plant.interlock_bounce_ticks = max(1, round(value / 10)) if on else 0


def _plug(plant: "Plant", _place: int, _value: float, on: bool) -> None:
    """The port is gone, both ways."""
    plant.host.silent = on
    plant.force_input(exchange.LINK_READY, not on)


def _lease_late(plant: "Plant", _place: int, value: float, on: bool) -> None:
    plant.host.late_ticks = round(value / 10) if on else 0


def _gone(plant: "Plant", _place: int, _value: float, on: bool) -> None:
    plant.gone = on


def _reset(plant: "Plant", _place: int, _value: float, on: bool) -> None:
    plant.reset_wanted = on


def _upset(what: int) -> Apply:
    def apply(plant: "Plant", _place: int, _value: float, on: bool) -> None:
        plant.upset = what if on else 0

    return apply


def _sluggish(plant: "Plant", place: int, value: float, on: bool) -> None:
    plant.slow_down(place, value if on else None)


def _wrap(_plant: "Plant", _place: int, _value: float, _on: bool) -> None:
    """The clock is set when the board is switched on: see `start_of_clock`."""


_NONE = math.nan
_HIGH = exchange.ENABLE_READS_HIGH
_LOW = exchange.ENABLE_READS_LOW
_FOOT = exchange.FOOTSWITCH_PRESSED
_HEAP = exchange.HEAP_LOW

FAULT_KINDS = (
    FaultKind("open", ROLES, _NONE, "", "the thermocouple's wire breaks", _knob("open", as_value=False)),
    FaultKind("short_gnd", ROLES, _NONE, "", "an input is shorted to ground", _knob("short_gnd", as_value=False)),
    FaultKind("short_vcc", ROLES, _NONE, "", "an input is shorted to supply", _knob("short_vcc", as_value=False)),
    FaultKind("reversed", ROLES, _NONE, "", "the wires are swapped", _knob("reversed", as_value=False)),
    FaultKind("drift", ROLES, -0.2, "°C/s", "the reading drifts away", _knob("drift_C_per_s", as_value=True)),
    FaultKind("stale", ROLES, _NONE, "", "the chip answers, but converts no more", _chip(max31856_chip.FROZEN)),
    FaultKind("spikes", ROLES, 30.0, "°C", "single readings are far off", _spikes),
    FaultKind("jump", ROLES, 20.0, "°C", "the reading jumps and stays off", _knob("jump_C", as_value=True)),
    FaultKind("pickup", ROLES, 3.0, "°C", "the reading is off while RF is on", _knob("rf_pickup_C", as_value=True)),
    FaultKind("displaced", ROLES, 4.0, "mm", "the junction sits elsewhere (from the centre)", _displaced),
    FaultKind("swapped", (), _NONE, "", "control and guard are plugged into each other's place", _swapped),
    FaultKind("cold_junction", ROLES, 95.0, "°C", "the converter gets this hot", _cold_junction),
    FaultKind("bus_zeros", ROLES, _NONE, "", "the chip answers all zeros", _chip(max31856_chip.BUS_ZEROS)),
    FaultKind("bus_ones", ROLES, _NONE, "", "the chip answers all ones", _chip(max31856_chip.BUS_ONES)),
    FaultKind("stuck_bit", ROLES, _NONE, "", "one bit of the bus reads high", _chip(max31856_chip.BUS_STUCK_BIT)),
    FaultKind("chip_reset", ROLES, _NONE, "", "the chip forgets its configuration", _chip(max31856_chip.RESET)),
    FaultKind("voltage_stuck", (), 300.0, "counts", "the voltage sense reads this", _adc(0, "stuck_u16")),
    FaultKind("current_stuck", (), 300.0, "counts", "the current sense reads this", _adc(1, "stuck_u16")),
    FaultKind("voltage_offset", (), 5.0, "V", "the voltage sense is off by this", _adc(0, "offset")),
    FaultKind("current_offset", (), 0.05, "A", "the current sense is off by this", _adc(1, "offset")),
    FaultKind("stage_on", (), _NONE, "", "the stage stays on whatever the enable says", _stage_flag("stuck_on")),
    FaultKind("stage_off", (), _NONE, "", "the stage gives nothing", _stage_flag("stuck_off")),
    FaultKind("stage_gain", (), 0.3, "", "the stage gives this much of what is asked", _stage("gain", 1.0)),
    FaultKind("drive_inverted", (), _NONE, "", "the drive acts upside down", _stage_flag("inverted")),
    FaultKind("enable_high", (), _NONE, "", "the enable pin reads high, come what may", _input(_HIGH, raise_it=True)),
    FaultKind("enable_low", (), _NONE, "", "the enable pin reads low, come what may", _input(_LOW, raise_it=True)),
    FaultKind("impedance_short", (), 5.0, "Ω", "the electrode is shorted", _impedance),
    FaultKind("impedance_open", (), 1e6, "Ω", "the electrode loses contact", _impedance),
    FaultKind("impedance_rise", (), 1.0, "1/s", "the impedance grows by this factor a second", _impedance_rise),
    FaultKind("interlock", (), _NONE, "", "the interlock opens", _input(exchange.INTERLOCK_CLOSED, raise_it=False)),
    FaultKind("interlock_bounce", (), 10.0, "ms", "the interlock opens for moments this long", _bounce),
    FaultKind("host_silence", (), _NONE, "", "the host says nothing any more", _host("silent")),
    FaultKind("host_garbage", (), _NONE, "", "noise arrives instead of commands", _host("garbage")),
    FaultKind("host_flood", (), _NONE, "", "noise arrives besides the commands, at full rate", _host("flood")),
    FaultKind("operator_stop", (), _NONE, "", "the operator presses Stop", _host("stop")),
    FaultKind("late", (), 8000.0, "µs", "every tick is this late", _clock("late_us")),
    FaultKind("missed", (), 30.0, "ticks", "the CPU is away for this many ticks", _clock("missed_ticks")),
    FaultKind("deadman_deaf", (), _NONE, "", "the dead-man is deaf", _input(exchange.DEADMAN_DEAF, raise_it=True)),
    FaultKind("sluggish", ROLES, 15.0, "s", "the junction has lost contact, and follows this slowly", _sluggish),
    FaultKind("other_chip", ROLES, _NONE, "", "a chip of another kind answers", _chip(max31856_chip.OTHER_CHIP)),
    FaultKind("config_bit", ROLES, _NONE, "", "a bit of the chip's setting flips", _chip(max31856_chip.CONFIG_BIT)),
    FaultKind("roll_off", (), 20.0, "1/s", "the tissue boils dry: the impedance shoots up", _impedance_rise),
    FaultKind("footswitch", (), _NONE, "", "the foot-switch is let go", _input(_FOOT, raise_it=False)),
    FaultKind("lease_late", (), 1010.0, "ms", "the lease is renewed this long after the last time", _lease_late),
    FaultKind("host_replay", (), _NONE, "", "old commands arrive again", _host("replay")),
    FaultKind("host_reorder", (), _NONE, "", "commands arrive in another order", _host("reorder")),
    FaultKind("host_corrupt", (), _NONE, "", "three commands in ten have a wrong bit", _host("corrupt")),
    FaultKind("second_host", (), _NONE, "", "a second host wants the device too", _host("second_host")),
    FaultKind("usb_unplugged", (), _NONE, "", "the cable is pulled, the board has another supply", _plug),
    FaultKind("usb_suspended", (), _NONE, "", "the host sleeps: the port is there and dead", _plug),
    FaultKind("port_closed", (), _NONE, "", "the program closes the port (DTR drops)", _plug),
    FaultKind("power_lost", (), _NONE, "", "the board loses its supply", _gone),
    FaultKind("boot_loader", (), _NONE, "", "the port is opened at 1200 baud: the boot loader runs", _gone),
    FaultKind("reset", (), _NONE, "", "the chip resets: brown-out or watchdog", _reset),
    FaultKind("clock_wrap", (), _NONE, "", "the microsecond counter wraps", _wrap),
    FaultKind("heap_low", (), _NONE, "", "little memory is free when it is armed", _input(_HEAP, raise_it=True)),
    FaultKind("upset_plan", (), _NONE, "", "a bit of the plan flips in memory", _upset(1)),
    FaultKind("upset_profile", (), _NONE, "", "a bit of the profile flips in memory", _upset(2)),
    FaultKind("upset_calibration", (), _NONE, "", "a bit of the calibration flips in memory", _upset(3)),
    FaultKind("upset_limit", (), _NONE, "", "a bit of the limit table flips in memory", _upset(4)),
    FaultKind("link_stalled", (), _NONE, "", "nothing reads the port", _input(exchange.LINK_READY, raise_it=False)),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in FAULT_KINDS}

_FORM = re.compile(
    r"(?P<kind>[a-z_]+)(?::(?P<target>[a-z0-9_]+))?(?:=(?P<value>[-+0-9.eE]+))?"
    r"(?:@(?P<start>[0-9.]+)(?:\+(?P<duration>[0-9.]+))?)?"
)


def start_of_clock(faults: Sequence[Fault], start_us: int) -> int:
    """Where the microsecond counter stands at power-up, so that it wraps when a `clock_wrap` is due."""
    for fault in faults:
        if fault.kind.name == "clock_wrap":
            return (CLOCK_WRAP_US - round(fault.start_s * 1e6)) % CLOCK_WRAP_US
    return start_us


def list_faults() -> list[FaultKind]:
    """Every kind, in the order of the table."""
    return list(FAULT_KINDS)


def _number(text: str | None, default: float, asked: str) -> float:
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        raise BadInput(f"--fault {asked}: {text!r} is not a number") from None
    if not math.isfinite(number):
        raise BadInput(f"--fault {asked}: {text!r} is not a finite number")
    return number


# What happens to the device, its clock or its host, and so to both channels: said of the first.
OF_THE_DEVICE = (
    "host_silence", "host_garbage", "host_flood", "operator_stop", "late", "missed", "footswitch", "lease_late",
    "host_replay", "host_reorder", "host_corrupt", "second_host", "usb_unplugged", "usb_suspended", "port_closed",
    "power_lost", "boot_loader", "reset", "clock_wrap", "heap_low", "link_stalled",
)  # fmt: skip
_SECOND = "2/"


def of_channel(asked: Sequence[str], number: int) -> tuple[str, ...]:
    """Those of the faults asked for that happen to channel 1 or 2; of the second they begin with `2/`."""
    second = tuple(each.removeprefix(_SECOND) for each in asked if each.startswith(_SECOND))
    return second if number == 2 else tuple(each for each in asked if not each.startswith(_SECOND))


def check_channel(asked: str, channels: Sequence[int]) -> None:
    """Raises BadInput for a fault of the second channel that cannot be."""
    if not asked.startswith(_SECOND):
        return
    if 2 not in channels:
        raise BadInput(f"--fault {asked}: the plan does not use the second channel")
    kind = asked.removeprefix(_SECOND).partition("@")[0].partition(":")[0].partition("=")[0]
    if kind in OF_THE_DEVICE:
        raise BadInput(f"--fault {asked}: {kind} happens to the whole device: leave out the {_SECOND}")


def parse_fault(asked: str, roles: tuple[str, ...]) -> Fault:
    """Read one `--fault`. `roles` are those of the fitted thermocouples, in order. Raises BadInput."""
    match = _FORM.fullmatch(asked)
    if match is None:
        raise BadInput(f"--fault {asked}: not of the form KIND[:TARGET][=VALUE][@START_s[+DURATION_s]]")
    kind = BY_NAME.get(match["kind"])
    if kind is None:
        raise BadInput(f"--fault {asked}: no such kind; `rfprobe simulate --list-faults` lists them")
    target = match["target"] or (kind.targets[0] if kind.targets else "")
    if target and target not in kind.targets:
        choice = "takes no target" if not kind.targets else f"target must be one of {', '.join(kind.targets)}"
        raise BadInput(f"--fault {asked}: {choice}")
    if target and target not in roles:
        raise BadInput(f"--fault {asked}: the probe has no {target} thermocouple")
    if match["value"] is not None and math.isnan(kind.value):
        raise BadInput(f"--fault {asked}: {kind.name} takes no value")
    start_s = _number(match["start"], DEFAULT_START_S, asked)
    end_s = start_s + _number(match["duration"], math.inf, asked)
    value = _number(match["value"], kind.value, asked)
    return Fault(kind, target, roles.index(target) if target else -1, value, start_s, end_s, asked)
