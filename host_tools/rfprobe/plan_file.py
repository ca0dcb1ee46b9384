"""A treatment plan: what to reach, how fast, for how long, and the limits of the run. One TOML file.

Every number is checked against the hard limits of `rfprobe_core.plan.PARAMETERS`, and the whole against that
module's contradictions, so that nothing is sent which the device would refuse.
"""

import math
from array import array
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from rfprobe.errors import BadInput, EnvironmentProblem, reason_of
from rfprobe.toml_source import TOLD, KeyPath, Quantity, Source, load, quantities, quantity_keys
from rfprobe_core import plan as device

BASE_RATE_HZ = 100
TICK_MS = 1000 // BASE_RATE_HZ
"""The controller's tick; telemetry goes out every so many ticks."""
RAMP_FROM_C = 20.0
"""Where the ramp is taken to start for the default of `max_rf_on_s`: room temperature, the longest ramp."""
WARMEST_START_C = 37.0
"""Where the shortest ramp starts: perfused tissue."""
RAMP_ALLOWANCE = 1.5
RF_ON_ALLOWANCE_S = 60.0


class Table(BaseModel):
    """Base of every table in a plan or profile: no unknown keys, no conversion between types, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def one_line(text: str) -> str:
    """Text that fits a file name, a table and a title."""
    if not text.strip() or not text.isprintable():
        raise PydanticCustomError(TOLD, "must be one line of printable text")
    return text.strip()


Title = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(one_line)]


def _available_mode(mode: str) -> str:
    available = ", ".join(device.MODE_NAMES[index] for index in device.MODES_AVAILABLE)
    if mode not in device.MODE_NAMES:
        raise PydanticCustomError(
            TOLD, "there is no mode '{mode}'; available: {available}", {"mode": mode, "available": available}
        )
    if device.MODE_NAMES.index(mode) not in device.MODES_AVAILABLE:
        raise PydanticCustomError(
            TOLD,
            "the mode '{mode}' is not available in this firmware; available: {available}",
            {"mode": mode, "available": available},
        )
    return mode


def _an_end(by: str) -> str:
    if by not in device.END_NAMES:
        raise PydanticCustomError(
            TOLD, "a run cannot end by '{by}', only by {all}", {"by": by, "all": ", ".join(device.END_NAMES)}
        )
    return by


def _divides_the_tick(rate_Hz: float) -> float:
    if rate_Hz < 1 or BASE_RATE_HZ % rate_Hz != 0:
        rates = ", ".join(str(rate) for rate in range(1, BASE_RATE_HZ + 1) if BASE_RATE_HZ % rate == 0)
        raise PydanticCustomError(
            TOLD, "out of range: {rate} Hz; must be one of {all} Hz", {"rate": f"{rate_Hz:.6g}", "all": rates}
        )
    return rate_Hz


def _fitted_channels(channels: list[int]) -> list[int]:
    known = range(1, device.CHANNELS + 1)
    if not channels or len(set(channels)) < len(channels) or not set(channels) <= set(known):
        raise PydanticCustomError(TOLD, "must be [1], [2] or [1, 2]: the channels that run, together")
    return sorted(channels)


class PlanTable(Table):
    """`[plan]`: what this is called, how energy is delivered, and by which channels of the device."""

    name: Title
    mode: Annotated[str, AfterValidator(_available_mode)]
    channels: Annotated[list[int], AfterValidator(_fitted_channels)] = [1]


class TargetTable(Table):
    """`[target]`: what to reach, how fast, and for how long.

    In the modes that deliver a power, `power_W`, the temperature is a ceiling at the control thermocouple.
    """

    temperature_C: Annotated[float, Quantity("target_mC", 1000, "°C")]
    power_W: Annotated[float | None, Quantity("power_mW", 1000, "W")] = None
    ramp_C_per_s: Annotated[float, Quantity("ramp_mC_per_s", 1000, "°C/s")]
    hold_s: Annotated[float, Quantity("hold_ms", 1000, "s")]
    cooldown_s: Annotated[float, Quantity("cooldown_ms", 1000, "s")] = 30.0


class StartTable(Table):
    """`[start]`: what unheated tissue reads. Else ARM is refused: a thermocouple is elsewhere, off, or still warm."""

    coolest_C: Annotated[float, Quantity("start_min_mC", 1000, "°C")] = 10.0
    warmest_C: Annotated[float, Quantity("start_max_mC", 1000, "°C")] = 40.0
    difference_C: Annotated[float, Quantity("start_spread_mC", 1000, "°C")] = 3.0


class EndTable(Table):
    """`[end]`: what the run is for; by anything but time, `hold_s` is the ceiling in time."""

    by: Annotated[str, AfterValidator(_an_end)] = device.END_NAMES[device.END_TIME]
    dose_min: Annotated[float | None, Quantity("boundary_dose_ms", 60_000, "min CEM43")] = None
    boundary_temperature_C: Annotated[float | None, Quantity("boundary_end_mC", 1000, "°C")] = None
    rolloffs: Annotated[int | None, Quantity("rolloffs", 1, "")] = None


class ImpedanceTable(Table):
    """`[impedance]`: what a roll-off is, how long RF rests after it, and with what share of the power it resumes."""

    rolloff_step_ohm: Annotated[float, Quantity("rolloff_step_mohm", 1000, "Ω")] = 30.0
    rest_s: Annotated[float, Quantity("rest_ms", 1000, "s")] = 15.0
    resume_share: Annotated[float, Quantity("resume_permille", 1000, "")] = 0.8


def _whole_ticks(time_ms: float) -> float:
    if time_ms % TICK_MS:
        raise PydanticCustomError(TOLD, "must be a multiple of the device's tick of {tick} ms", {"tick": TICK_MS})
    return time_ms


class PulsesTable(Table):
    """`[pulses]`: length and period of the bursts, in whole ticks of the device."""

    burst_ms: Annotated[float, Quantity("burst_ms", 1, "ms"), AfterValidator(_whole_ticks)] = 20.0
    period_ms: Annotated[float, Quantity("burst_period_ms", 1, "ms"), AfterValidator(_whole_ticks)] = 500.0


class LimitsTable(Table):
    """`[limits]`: what ends the run. `guard_trip_C` may be left out only where no guard is needed."""

    max_power_W: Annotated[float, Quantity("max_power_mW", 1000, "W")]
    max_temperature_C: Annotated[float, Quantity("max_temperature_mC", 1000, "°C")]
    min_impedance_ohm: Annotated[float, Quantity("min_impedance_mohm", 1000, "Ω")]
    max_impedance_ohm: Annotated[float, Quantity("max_impedance_mohm", 1000, "Ω")]
    guard_needed: bool = True
    guard_trip_C: Annotated[float | None, Quantity("guard_trip_mC", 1000, "°C")] = None
    guard_governor: bool = True
    max_rf_on_s: Annotated[float | None, Quantity("max_rf_on_ms", 1000, "s")] = None
    max_energy_J: Annotated[float | None, Quantity("max_energy_mJ", 1000, "J")] = None


class TelemetryTable(Table):
    """`[telemetry]`: how often the device reports; a divisor of its 100 Hz tick."""

    rate_Hz: Annotated[float, AfterValidator(_divides_the_tick)] = 20.0


class Plan(Table):
    """A whole plan, as written in the file."""

    plan: PlanTable
    target: TargetTable
    start: StartTable = StartTable()
    end: EndTable = EndTable()
    impedance: ImpedanceTable = ImpedanceTable()
    pulses: PulsesTable = PulsesTable()
    limits: LimitsTable
    telemetry: TelemetryTable = TelemetryTable()


PLAN_KEYS: dict[str, KeyPath] = {
    **{parameter: key for parameter, (key, _) in quantity_keys(Plan).items()},
    "mode": ("plan", "mode"),
    "channels": ("plan", "channels"),
    "end_by": ("end", "by"),
    "guard_needed": ("limits", "guard_needed"),
    "guard_governor": ("limits", "guard_governor"),
    "telemetry_ticks": ("telemetry", "rate_Hz"),
}
"""The TOML key of each parameter of the device's PLAN group."""


@dataclass(frozen=True)
class PlanFile:
    """A plan that was read and found usable: its tables, its text, and the values for the device."""

    source: Source
    plan: Plan

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def text(self) -> str:
        """The file as written, comments and all: it is kept in the session."""
        return self.source.text

    @property
    def name(self) -> str:
        return self.plan.plan.name

    @property
    def channels(self) -> tuple[int, ...]:
        """The numbers of the channels that run, as people count them: from 1."""
        return tuple(self.plan.plan.channels)

    @property
    def max_rf_on_s(self) -> float:
        """As given, or one and a half ramps from 20 °C, the hold and a minute (within the device's limit)."""
        if self.plan.limits.max_rf_on_s is not None:
            return self.plan.limits.max_rf_on_s
        longest_s = RAMP_ALLOWANCE * self.ramp_s() + self.plan.target.hold_s + RF_ON_ALLOWANCE_S
        return _within("max_rf_on_ms", longest_s)

    @property
    def max_energy_J(self) -> float:
        """As given, or full power for the whole of `max_rf_on_s` (within the device's limit)."""
        if self.plan.limits.max_energy_J is not None:
            return self.plan.limits.max_energy_J
        return _within("max_energy_mJ", self.plan.limits.max_power_W * self.max_rf_on_s)

    def ramp_s(self, start_C: float = RAMP_FROM_C) -> float:
        """How long the ramp takes from `start_C`, in s."""
        return max(0.0, self.plan.target.temperature_C - start_C) / self.plan.target.ramp_C_per_s

    def setpoint_C(self, t_s: float, start_C: float) -> float | None:
        """The planned set-point `t_s` after the start of the ramp; None before it and after the hold."""
        target = self.plan.target
        if not 0.0 <= t_s <= self.ramp_s(start_C) + target.hold_s:
            return None
        return min(target.temperature_C, start_C + t_s * target.ramp_C_per_s)

    @cached_property
    def _values(self) -> dict[str, int]:
        plan = self.plan
        tables = (plan.target, plan.start, plan.end, plan.limits, plan.impedance, plan.pulses)
        given = {note.parameter: (note, value) for table in tables for _, note, value in quantities(table)}
        values = {name: note.stored(value) for name, (note, value) in given.items() if value is not None}
        values["mode"] = device.MODE_NAMES.index(self.plan.plan.mode)
        values["channels"] = sum(device.CHANNEL_BITS[number - 1] for number in self.channels)
        values["end_by"] = device.END_NAMES.index(self.plan.end.by)
        values["guard_needed"] = int(self.plan.limits.guard_needed)
        values["guard_governor"] = int(self.plan.limits.guard_governor)
        values["telemetry_ticks"] = round(BASE_RATE_HZ / self.plan.telemetry.rate_Hz)
        values["max_rf_on_ms"] = round(self.max_rf_on_s * 1000)
        values["max_energy_mJ"] = round(self.max_energy_J * 1000)
        group = [(name, default) for name, group, _, _, default in device.PARAMETERS if group == device.PLAN]
        return {name: values.get(name, default) for name, default in group}

    def values(self) -> dict[str, int]:
        """The PLAN group of `rfprobe_core.plan.PARAMETERS`, every name, in the table's order."""
        return dict(self._values)

    @property
    def digest(self) -> str:
        """Digest of the values, not of the text: comments and order do not change it."""
        return group_digest(self._values, device.PLAN)

    @property
    def text_sha256(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    def remarks(self) -> list[str]:
        """What a plan may say, but whose author should know."""
        remarks: list[str] = []
        needed_s = self.ramp_s(WARMEST_START_C) + self.plan.target.hold_s
        if needed_s > self.max_rf_on_s:
            remarks.append(
                f"the ramp from {WARMEST_START_C:g} °C and the hold take {needed_s:.6g} s, but RF ends after "
                f"{self.max_rf_on_s:.6g} s: this run cannot complete"
            )
        if not self.plan.limits.guard_needed:
            remarks.append("no guard thermocouple is needed: nothing watches the neural structures")
        if not self.plan.limits.guard_governor:
            remarks.append("the guard's governor is off: nothing slows the run before a trip ends it")
        return remarks


def _within(parameter: str, value: float) -> float:
    """`value` (in thousands of the stored unit), no further than the device's hard limits."""
    _, _, low, high, _ = device.PARAMETERS[device.INDEX[parameter]]
    return min(max(math.floor(value * 1000), low), high) / 1000


def group_digest(values: dict[str, int], group: int) -> str:
    """Seven hex digits over one group's values, as the device computes it."""
    table = device.default_values()
    for name, value in values.items():
        table[device.INDEX[name]] = value
    return f"{device.digest(table, group):07x}"


CONTRADICTION_PARTNERS = {
    "target_mC": "max_temperature_mC",
    "min_impedance_mohm": "max_impedance_mohm",
    "max_rf_on_ms": "hold_ms",
    "max_voltage_mV": "full_scale_voltage_mV",
    "test_power_mW": "max_power_mW",
    "max_duty": "max_voltage_mV",
    "power_mW": "max_power_mW",
    "start_min_mC": "start_max_mC",
}
"""The other value of each contradiction between two numbers."""


def contradiction_told(table: "array[int]", shown: dict[str, Quantity]) -> tuple[str, str] | None:
    """(parameter, reason with both values) of the device's first contradiction in `table`, or None."""
    code = device.contradiction(table)
    if code < 0:
        return None
    parameter, text = device.CONTRADICTIONS[code]
    partner = CONTRADICTION_PARTNERS.get(parameter)
    if partner is None or parameter not in shown or partner not in shown:
        return parameter, text
    first = shown[parameter].shown(table[device.INDEX[parameter]])
    second = shown[partner].shown(table[device.INDEX[partner]])
    return parameter, f"{text}: {first} against {second}"


PLAN_QUANTITIES: dict[str, Quantity] = {name: quantity for name, (_, quantity) in quantity_keys(Plan).items()}


def _with_a_harmless_probe(values: dict[str, int]) -> "array[int]":
    """The values beside a profile that contradicts no plan: control, guard, and a stage that can do all."""
    table = device.default_values()
    roles = (device.ROLE_CONTROL, device.ROLE_GUARD, device.ROLE_BOUNDARY)
    beside = {"thermocouples": len(roles), **{f"tc{place}_role": role for place, role in enumerate(roles)}}
    most = ("full_scale_voltage_mV", "max_voltage_mV", "max_current_uA", "max_duty", "stage_power_mW")
    beside.update({name: device.PARAMETERS[device.INDEX[name]][3] for name in most})
    beside.update({name: device.PARAMETERS[device.INDEX[name]][2] for name in ("test_power_mW", "min_current_uA")})
    for name, value in {**beside, **values}.items():
        table[device.INDEX[name]] = value
    return table


def read_plan(path: Path) -> PlanFile:
    """Read and check a plan. Raises BadInput with one line for each thing wrong with it."""
    source, plan = load(path, Plan, "plan")
    if plan.limits.guard_needed and plan.limits.guard_trip_C is None:
        reason = "missing: a plan that needs a guard says where it trips"
        raise source.complain(("limits", "guard_trip_C"), reason)
    file = PlanFile(source, plan)
    missing_or_idle = _belongs(plan)
    if missing_or_idle is not None:
        raise source.complain(*missing_or_idle)
    found = contradiction_told(_with_a_harmless_probe(file.values()), PLAN_QUANTITIES)
    if found is not None:
        raise source.complain(PLAN_KEYS[found[0]], found[1])
    return file


# Keys that belong to some modes, or to some ends, alone: key → (the key that decides, for which of its words).
_BELONGS: dict[KeyPath, tuple[KeyPath, tuple[str, ...]]] = {
    ("target", "power_W"): (("plan", "mode"), ("power", "impedance", "pulsed")),
    ("end", "dose_min"): (("end", "by"), ("dose",)),
    ("end", "boundary_temperature_C"): (("end", "by"), ("boundary",)),
    ("end", "rolloffs"): (("end", "by"), ("rolloffs",)),
}


_TABLE_OF_MODE = {"impedance": "impedance", "pulses": "pulsed"}


def _belongs(plan: Plan) -> tuple[KeyPath, str] | None:
    """A key that this plan's mode or end needs and that is missing, or that is there and would do nothing."""
    for table, mode in _TABLE_OF_MODE.items():
        if table in plan.model_fields_set and plan.plan.mode != mode:
            return (table,), f'not used with mode = "{plan.plan.mode}": take the table out'
    for key, (decider, words) in _BELONGS.items():
        word = _looked_up(plan, decider)
        given = _looked_up(plan, key) is not None
        if given == (word in words):
            continue
        decides = f'{decider[-1]} = "{word}"'
        return key, f"not used with {decides}: take it out" if given else f"missing: needed with {decides}"
    return None


def _looked_up(plan: Plan, key: KeyPath) -> object:
    table, name = key
    return getattr(getattr(plan, str(table)), str(name))


TEMPLATE = """\
# A plan: what to reach, how fast, for how long, and the limits of the run.
# Bench, phantom and ex-vivo use. Not a medical device.

[plan]
name = {name}
mode = "temperature"          # one of {modes}: docs/modes.md

[target]
temperature_C = 70.0          # at the control thermocouple; {target_mC}
ramp_C_per_s = 1.0            # how fast the set-point rises; {ramp_mC_per_s}
hold_s = 60.0                 # counted from reaching the target; {hold_ms}
cooldown_s = 30.0             # watched after RF has ended; {cooldown_ms}

# [start]                     # what the thermocouples read before anything is heated, or ARM is refused
# coolest_C = 10.0            # {start_min_mC}
# warmest_C = 40.0            # {start_max_mC}
# difference_C = 3.0          # between any two of them; {start_spread_mC}

# [end]                       # left out: the run ends when hold_s is over
# by = "dose"                 # or "boundary": then hold_s is the ceiling in time
# dose_min = 240.0            # at the boundary thermocouple; {boundary_dose_ms}

[limits]
max_power_W = 15.0            # {max_power_mW}
max_temperature_C = 90.0      # any thermocouple above it ends the run; {max_temperature_mC}
min_impedance_ohm = 20.0      # below: a short; {min_impedance_mohm}
max_impedance_ohm = 2000.0    # above: no contact, or charred tissue; {max_impedance_mohm}
guard_needed = true           # false only where there is nothing to protect
guard_trip_C = 44.0           # at the guard thermocouple; {guard_trip_mC}
# max_rf_on_s = 200.0         # default: 1.5 ramps from 20 °C, the hold and 60 s; {max_rf_on_ms}
# max_energy_J = 2000.0       # default: max_power_W for all of max_rf_on_s; {max_energy_mJ}

[telemetry]
rate_Hz = 20                  # a divisor of 100
"""


def template(name: str) -> str:
    """A commented plan to start from, with the device's own limits in the comments."""
    ranges = {parameter: quantity.limits_told() for parameter, quantity in PLAN_QUANTITIES.items()}
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return TEMPLATE.format(name=quoted, modes=", ".join(device.MODE_NAMES), **ranges)


def write_template(path: Path, name: str, overwrite: bool) -> None:
    """Write `template(name)` to `path`. Never overwrites unless told to."""
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(template(name))
    except FileExistsError:
        raise BadInput(f"{path}: the file is there already; --force overwrites it") from None
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be written: {reason_of(error)}") from None
