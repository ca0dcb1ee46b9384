"""What a device keeps of its calibration, for people: by sensor, with dates, residuals and state."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, cast

from rfprobe.session_format import Json
from rfprobe_core import calibration, plan

DAY_ZERO: Final = date(2000, 1, 1)
RESIDUAL_UNITS: Final = {"tc": ("°C", 1000), "rf": ("%", 10_000)}

STATE_WORDS: Final = {
    "valid": "valid",
    "none": "never calibrated",
    "expired": "the calibration has expired",
    "corrupt": "both copies of the calibration are corrupt, or of another firmware",
    "undated": "the calibration is of a later day than this computer's date",
}
COPY_NAMES: Final = ("A", "B")


def day_of(when: date) -> int:
    """Days since 2000-01-01."""
    return (when - DAY_ZERO).days


def today_day() -> int:
    """Today in UTC, by this computer's clock."""
    return day_of(datetime.now(UTC).date())


def date_of(day: int) -> str:
    return (DAY_ZERO + timedelta(days=day)).isoformat()


def reference_digest(name: str) -> int:
    """The 28 bits by which a device remembers the name of a reference; never 0."""
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") >> 4 or 1


@dataclass(frozen=True)
class KeptSensor:
    """One sensor's part. `offset` and `gain` are in words, as they are applied where the state is valid."""

    name: str
    role: str
    used: bool
    state: str
    date: str
    expires: str
    residual: str
    reference: str
    correction: str


@dataclass(frozen=True)
class Kept:
    """The whole of it: `state` is a name of `calibration.STATE_NAMES`."""

    state: str
    digest: str
    copies: tuple[str, str]
    sensors: tuple[KeptSensor, ...]
    allowed_power_W: float

    @property
    def valid(self) -> bool:
        return self.state == "valid"

    @property
    def concerned(self) -> list[KeptSensor]:
        """The sensors in use whose calibration does not hold."""
        return [each for each in self.sensors if each.used and each.state != "valid"]

    @property
    def sentence(self) -> str:
        """What is wrong, by name; empty where nothing is."""
        if self.valid:
            return ""
        why = STATE_WORDS[self.state]
        told = [
            f"{each.role} {each.state}" + (f" {each.expires}" if each.state == "expired" else "")
            for each in self.concerned
        ]
        return (
            f"Uncalibrated: {why} ({', '.join(told)}). These sensors are read with nominal values, "
            f"and the power is limited to {self.allowed_power_W:g} W."
        )

    @property
    def copy_note(self) -> str:
        """That one copy is lost, where the other one serves; empty else."""
        if self.state == "corrupt" or "corrupt" not in self.copies:
            return ""
        lost, used = self.copies.index("corrupt"), 1 - self.copies.index("corrupt")
        return f"copy {COPY_NAMES[lost]} of the calibration is corrupt; copy {COPY_NAMES[used]} is used"

    def meta(self) -> dict[str, Json]:
        """As a session keeps it, and `calibrate show --json` prints it."""
        return {
            "state": self.state,
            "digest": self.digest,
            "sentence": self.sentence,
            "note": self.copy_note,
            "copies": dict(zip(COPY_NAMES, self.copies, strict=True)),
            "allowed_power_W": self.allowed_power_W,
            "sensors": [cast("dict[str, Json]", dict(vars(each))) for each in self.sensors],
        }


def kept(values: Mapping[str, int], references: Mapping[int, str] | None = None) -> Kept:
    """Of a device's values, as they were read from it; `references` has names by their digest."""
    table = array("i", [values[name] for name in plan.NAMES])
    used = calibration.used_sensors(table)
    roles = plan.roles(table)
    sensors = [
        _sensor(table, sensor, roles, sensor in used, references or {})
        for sensor, name in enumerate(calibration.SENSORS)
        if name == "rf" or sensor < values["thermocouples"]
    ]
    return Kept(
        calibration.STATE_NAMES[values["calibration_state"]],
        f"{plan.digest(table, plan.CALIBRATION):07x}",
        (
            calibration.COPY_NAMES[values["calibration_copy_a"]],
            calibration.COPY_NAMES[values["calibration_copy_b"]],
        ),
        tuple(sensors),
        calibration.allowed_power_mW(table) / 1000,
    )


def _sensor(
    table: array[int], sensor: int, roles: tuple[int, ...], used: bool, references: Mapping[int, str]
) -> KeptSensor:
    name = calibration.SENSORS[sensor]

    def value(what: str) -> int:
        return table[plan.INDEX[f"{name}_{what}"]]

    day, valid_days, reference = value("cal_day"), value("cal_valid_days"), value("cal_reference")
    kind = name[:2]
    unit, per_unit = RESIDUAL_UNITS[kind]
    residual = value("cal_residual_mC" if kind == "tc" else "cal_residual_ppm") / per_unit
    return KeptSensor(
        name,
        "RF sense" if name == "rf" else plan.ROLE_NAMES[roles[sensor]],
        used,
        calibration.STATE_NAMES[calibration.sensor_state(table, sensor)],
        date_of(day) if day else "",
        "" if not day else "never" if not valid_days else date_of(day + valid_days),
        f"{residual:.2f} {unit}" if day else "",
        references.get(reference, f"#{reference:07x}") if day else "",
        _correction(table, name),
    )


def _correction(table: array[int], name: str) -> str:
    def value(what: str) -> int:
        return table[plan.INDEX[what]]

    if name == "rf":
        return (
            f"{value('v_offset_mV') / 1000:+.3f} V × {value('v_gain_ppm') / 1e6:.4f}, "
            f"{value('i_offset_uA') / 1000:+.1f} mA × {value('i_gain_ppm') / 1e6:.4f}"
        )
    return f"{value(f'{name}_offset_mC') / 1000:+.3f} °C × {value(f'{name}_gain_ppm') / 1e6:.4f}"


def told_in(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The calibration as a session's `meta` has it; empty in one that knows nothing of it."""
    told = meta.get("calibration")
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}
