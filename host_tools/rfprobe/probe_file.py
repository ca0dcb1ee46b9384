"""A hardware profile: the probe, its thermocouples and the RF stage. One TOML file.

What the device needs becomes the PROFILE group of `rfprobe_core.plan.PARAMETERS`; the rest (where the thermocouples
sit, the carrier) is for the simulator and the record. The calibration is the device's own.
"""

from array import array
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from rfprobe.errors import BadInput
from rfprobe.plan_file import (
    PLAN_KEYS,
    PLAN_QUANTITIES,
    PlanFile,
    Table,
    Title,
    contradiction_told,
    group_digest,
)
from rfprobe.toml_source import TOLD, KeyPath, Quantity, Source, load, quantities, quantity_keys
from rfprobe_core import plan as device

Length = Annotated[float, Field(ge=0.1, le=100.0)]
Role = Literal["none", "control", "boundary", "guard"]
ThermocoupleType = Literal["B", "E", "J", "K", "N", "R", "S", "T"]
Chip = Literal["max31856", "max31855"]
DriveLaw = Literal["envelope", "supply", "sin2"]


class ProbeTable(Table):
    """`[probe]`. `electrode_radius_mm` is that of the sphere whose impedance the electrode has."""

    name: Title
    tip_mm: Length
    diameter_mm: Length
    electrode_radius_mm: Length
    source: Annotated[str, Field(min_length=1, max_length=2000)]


class ThermocoupleTable(Table):
    """One `[[thermocouple]]`, in the order of the chip selects; `place_mm` from the electrode's centre."""

    role: Role
    type: ThermocoupleType
    chip: Chip = "max31856"
    place_mm: Length
    lag_s: Annotated[float, Quantity("tc0_lag_ms", 1000, "s")]


class RfStageTable(Table):
    """`[rf_stage]`: what the drive PWM means, and what the stage may give. Volts and amperes are RMS."""

    carrier_kHz: Annotated[float, Field(ge=100.0, le=5000.0)]
    drive_pwm_kHz: Annotated[float, Field(ge=1.0, le=500.0)]
    drive_law: DriveLaw
    inverted: bool
    max_duty: Annotated[float, Quantity("max_duty", 65_535, "")]
    full_scale_voltage_V: Annotated[float, Quantity("full_scale_voltage_mV", 1000, "V")]
    max_voltage_V: Annotated[float, Quantity("max_voltage_mV", 1000, "V")]
    max_current_A: Annotated[float, Quantity("max_current_uA", 1_000_000, "A")]
    max_power_W: Annotated[float, Quantity("stage_power_mW", 1000, "W")]
    test_power_W: Annotated[float, Quantity("test_power_mW", 1000, "W")]
    min_current_A: Annotated[float, Quantity("min_current_uA", 1_000_000, "A")]


class SenseTable(Table):
    """`[sense]`: RMS voltage and current at the largest ADC code."""

    v_full_scale_V: Annotated[float, Quantity("v_sense_full_scale_mV", 1000, "V")]
    i_full_scale_A: Annotated[float, Quantity("i_sense_full_scale_uA", 1_000_000, "A")]


def _is_a_mains_frequency(frequency_Hz: int) -> int:
    if frequency_Hz not in (50, 60):
        raise PydanticCustomError(TOLD, "must be 50 or 60, is {given}", {"given": frequency_Hz})
    return frequency_Hz


class MainsTable(Table):
    """`[mains]`: which hum the thermocouple chips filter out."""

    Hz: Annotated[int, AfterValidator(_is_a_mains_frequency)]


class FootswitchTable(Table):
    """`[footswitch]`: whether RF runs only while it is held."""

    used: bool


class ControlTable(Table):
    """`[control]`: gains of the temperature loop for this probe.

    The gains are for tissue that rises by `gain_C_per_W` while it warms; the device scales them, within a half and
    twice, by the rise that it measures. 0: it does not. `rounding_s` is the time constant with which the set-point
    comes to its target; 0: at the full rate.
    """

    kp_mW_per_C: Annotated[float, Quantity("kp_mW_per_C", 1, "mW/°C")]
    ki_mW_per_C_s: Annotated[float, Quantity("ki_mW_per_C_s", 1, "mW/(°C·s)")]
    feedforward_mW_s_per_C: Annotated[float, Quantity("feedforward_mW_s_per_C", 1, "mW·s/°C")]
    gain_C_per_W: Annotated[float, Quantity("gain_mC_per_W", 1000, "°C/W")] = 0.0
    rounding_s: Annotated[float, Quantity("rounding_ms", 1000, "s")] = 0.0


class TipResponseTable(Table):
    """`[tip_response]`: how the tip warms at least, by power, in the coldest tissue the probe is for.

    Two first-order terms, `fast` and `slow`, behind a lag. The device takes a tip that warms by less than 70 % of
    it for a thermocouple that is not at the tip.
    """

    lag_s: Annotated[float, Quantity("tip_lag_ms", 1000, "s")]
    fast_C_per_W: Annotated[float, Quantity("tip_fast_mC_per_W", 1000, "°C/W")]
    fast_s: Annotated[float, Quantity("tip_fast_ms", 1000, "s")]
    slow_C_per_W: Annotated[float, Quantity("tip_slow_mC_per_W", 1000, "°C/W")]
    slow_s: Annotated[float, Quantity("tip_slow_ms", 1000, "s")]


class GuardTable(Table):
    """`[guard]`: the longest lag of a guard thermocouple that its governor is good for."""

    largest_lag_s: Annotated[float, Quantity("guard_lag_max_ms", 1000, "s")] = 3.0


def _is_elsewhere(_table: object) -> None:
    raise PydanticCustomError(TOLD, "a calibration is kept on the device, not in its profile: see `rfprobe calibrate`")


Thermocouples = Annotated[
    tuple[ThermocoupleTable, ...], Field(min_length=1, max_length=device.THERMOCOUPLES, strict=False)
]


class Profile(Table):
    """A whole hardware profile, as written in the file."""

    probe: ProbeTable
    thermocouple: Thermocouples
    rf_stage: RfStageTable
    sense: SenseTable
    mains: MainsTable
    footswitch: FootswitchTable
    control: ControlTable
    tip_response: TipResponseTable
    guard: GuardTable = GuardTable()
    calibration: Annotated[None, BeforeValidator(_is_elsewhere)] = None


PROFILE_KEYS: dict[str, KeyPath] = {
    **{parameter: key for parameter, (key, _) in quantity_keys(Profile).items()},
    **{f"tc{place}_role": ("thermocouple", place, "role") for place in range(device.THERMOCOUPLES)},
    **{f"tc{place}_chip": ("thermocouple", place, "chip") for place in range(device.THERMOCOUPLES)},
    "thermocouples": ("thermocouple",),
    "drive_law": ("rf_stage", "drive_law"),
    "drive_inverted": ("rf_stage", "inverted"),
    "mains_hz": ("mains", "Hz"),
    "footswitch_used": ("footswitch", "used"),
}
"""The TOML key of a parameter of the PROFILE group."""

QUANTITIES = {**PLAN_QUANTITIES, **{name: quantity for name, (_, quantity) in quantity_keys(Profile).items()}}

SIMULATED_DAY = 9_497
"""2026-01-01, in days since 2000-01-01: the day of every simulation. Whoever has a board tells it the real one."""


@dataclass(frozen=True)
class ProbeFile:
    """A profile that was read and found usable: its tables, its text, and the values for the device."""

    source: Source
    profile: Profile

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def text(self) -> str:
        """The file as written, comments and all: it is kept in the session."""
        return self.source.text

    @property
    def name(self) -> str:
        return self.profile.probe.name

    @property
    def roles(self) -> tuple[str, ...]:
        """Role of each fitted thermocouple, in the order of the chips."""
        return tuple(each.role for each in self.profile.thermocouple)

    @cached_property
    def _values(self) -> dict[str, int]:
        profile = self.profile
        values = {
            "thermocouples": len(profile.thermocouple),
            "drive_law": device.LAW_NAMES.index(profile.rf_stage.drive_law),
            "drive_inverted": int(profile.rf_stage.inverted),
            "mains_hz": profile.mains.Hz,
            "footswitch_used": int(profile.footswitch.used),
        }
        tables = (
            profile.rf_stage,
            profile.sense,
            profile.control,
            profile.tip_response,
            profile.guard,
        )
        for table in tables:
            values.update({note.parameter: note.stored(value) for _, note, value in quantities(table)})
        for place, each in enumerate(profile.thermocouple):
            values[f"tc{place}_role"] = device.ROLE_NAMES.index(each.role)
            values[f"tc{place}_type"] = device.THERMOCOUPLE_TYPES.index(each.type)
            values[f"tc{place}_chip"] = device.CHIP_NAMES.index(each.chip)
            values[f"tc{place}_lag_ms"] = round(each.lag_s * 1000)
        return {name: values.get(name, row[3]) for name, *row in device.PARAMETERS if row[0] == device.PROFILE}

    def values(self) -> dict[str, int]:
        """The PROFILE group of `rfprobe_core.plan.PARAMETERS`, in the table's order."""
        return dict(self._values)

    @property
    def profile_digest(self) -> str:
        return group_digest(self._values, device.PROFILE)

    @property
    def text_sha256(self) -> str:
        return sha256(self.text.encode()).hexdigest()


def _with_a_harmless_plan(values: dict[str, int]) -> "array[int]":
    """The values beside a plan that contradicts no profile: no guard, all power, the lowest impedances."""
    table = device.default_values()
    beside = {name: device.PARAMETERS[device.INDEX[name]][2] for name in ("min_impedance_mohm", "max_impedance_mohm")}
    beside.update(guard_needed=0, max_power_mW=device.PARAMETERS[device.INDEX["max_power_mW"]][3])
    for name, value in {**beside, **values}.items():
        table[device.INDEX[name]] = value
    return table


def _contradictions(profile: Profile) -> tuple[KeyPath, str] | None:
    """What the device cannot see, because it knows neither places nor what it cannot measure."""
    radius_mm = profile.probe.electrode_radius_mm
    for place, each in enumerate(profile.thermocouple):
        if each.place_mm < radius_mm:
            reason = f"inside the electrode: {each.place_mm:g} mm is less than its radius of {radius_mm:g} mm"
            return ("thermocouple", place, "place_mm"), reason
    stage, sense = profile.rf_stage, profile.sense
    pairs = (
        ("v_full_scale_V", sense.v_full_scale_V, "max_voltage_V", stage.max_voltage_V, "V"),
        ("i_full_scale_A", sense.i_full_scale_A, "max_current_A", stage.max_current_A, "A"),
    )
    for key, measurable, limit_key, limit, unit in pairs:
        if measurable * 1000 < limit * 1100:  # the device trips at 1.1 times the limit
            reason = f"too small to see an excess: below 1.1 × {limit_key} = {1.1 * limit:g} {unit}"
            return ("sense", key), reason
    return None


def read_probe(path: Path) -> ProbeFile:
    """Read and check a hardware profile. Raises BadInput with one line for each thing wrong with it."""
    source, profile = load(path, Profile, "probe")
    file = ProbeFile(source, profile)
    told = contradiction_told(_with_a_harmless_plan(file.values()), QUANTITIES)
    found = _contradictions(profile) if told is None else (PROFILE_KEYS[told[0]], told[1])
    if found is not None:
        raise source.complain(*found)
    return file


def device_values(plan: PlanFile, probe: ProbeFile) -> dict[str, int]:
    """All parameters of the device for a plan on a probe, in a simulation. Raises BadInput where they do not fit."""
    values = {**plan.values(), **probe.values(), "today_day": SIMULATED_DAY}
    table = device.default_values()
    for name, value in values.items():
        table[device.INDEX[name]] = value
    found = contradiction_told(table, QUANTITIES)
    if found is None:
        return {name: table[device.INDEX[name]] for name in device.NAMES}
    parameter, reason = found
    raise _blame(plan, probe, parameter, f"{reason} (plan {plan.path}, probe {probe.path})")


def _blame(plan: PlanFile, probe: ProbeFile, parameter: str, reason: str) -> BadInput:
    if parameter in PLAN_KEYS:
        return plan.source.complain(PLAN_KEYS[parameter], reason)
    return probe.source.complain(PROFILE_KEYS[parameter], reason)
