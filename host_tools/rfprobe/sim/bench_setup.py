"""What a simulated bench has besides tissue: sensors that are off, baths, a dummy load, the device's calibration.

The errors are the simulation's hidden truth: nothing tells the firmware of them, and a calibration has to find them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rfprobe.errors import BadInput
from rfprobe.session_format import Json
from rfprobe.sim.onboard.calibrated import KINDS

SENSE: Final = ("voltage", "current")
OFFSET_MAX: Final = {"voltage": 20.0, "current": 0.2}
OFFSET_MAX_C: Final = 20.0
GAIN_RANGE: Final = (0.5, 1.5)
BATH_RANGE_C: Final = (0.0, 100.0)
BATH_DWELL_S: Final = 13.0
LOAD_RANGE_OHM: Final = (5.0, 5000.0)
COMPANY_S: Final = 0.5  # a bath waits while no host has been heard for so long

_ERROR = re.compile(r"(?P<name>[a-z]+)=(?P<offset>[-+0-9.e]+)(,(?P<gain>[0-9.e]+))?")
_BATHS = re.compile(r"(?P<baths>[-+0-9.,]+)(@(?P<dwell>[0-9.]+))?")


@dataclass(frozen=True)
class SensorError:
    """A sensor shows `gain` times what is there, plus `offset` (°C, V or A)."""

    offset: float = 0.0
    gain: float = 1.0

    def shown(self, true: float) -> float:
        return true * self.gain + self.offset


@dataclass(frozen=True)
class BenchSetup:
    """`errors` by role, or `voltage` and `current`; `calibration` is a kind of onboard/calibrated.py, or hex."""

    calibration: str = "exact"
    errors: tuple[str, ...] = ()
    bath: str = ""
    load_ohm: float | None = None
    _errors: dict[str, SensorError] = field(init=False, compare=False)
    _baths: tuple[tuple[float, ...], float] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Raises BadInput for what cannot be read, or is out of range."""
        if self.calibration not in KINDS and ":" not in self.calibration:
            raise BadInput(f"--calibration {self.calibration}: must be one of {', '.join(KINDS)}")
        if self.load_ohm is not None and not LOAD_RANGE_OHM[0] <= self.load_ohm <= LOAD_RANGE_OHM[1]:
            low, high = LOAD_RANGE_OHM
            raise BadInput(f"--load {self.load_ohm:g}: must be {low:g} to {high:g} Ω")
        object.__setattr__(self, "_errors", dict(_error_told(text) for text in self.errors))
        object.__setattr__(self, "_baths", _baths_told(self.bath))

    def check_roles(self, roles: Sequence[str]) -> BenchSetup:
        """Raises BadInput for the error of a thermocouple that the probe does not have."""
        for name in self._errors:
            if name not in (*SENSE, *roles):
                have = ", ".join(dict.fromkeys((*roles, *SENSE)))
                raise BadInput(f"--sensor-error {name}: this probe has no such sensor; there are {have}")
        return self

    def error(self, name: str) -> SensorError:
        """Of a role, `voltage` or `current`."""
        return self._errors.get(name, SensorError())

    @property
    def baths_C(self) -> tuple[float, ...]:
        """The baths the probe is put into, one after the other, before it is put into the tissue."""
        return self._baths[0]

    @property
    def dwell_s(self) -> float:
        """How long it stays in each, counted while a host is heard."""
        return self._baths[1]

    def meta(self) -> dict[str, Json]:
        """As it is kept in a session; `BenchSetup.from_meta` reads it."""
        return {
            "calibration": self.calibration,
            "errors": list(self.errors),
            "bath": self.bath,
            "load_ohm": self.load_ohm,
        }

    @classmethod
    def from_meta(cls, meta: dict[str, Json] | None) -> BenchSetup:
        """The setup of a recorded simulation; as a new one where it says nothing."""
        if not isinstance(meta, dict):
            return cls()
        errors = meta.get("errors")
        load = meta.get("load_ohm")
        return cls(
            str(meta.get("calibration", "exact")),
            tuple(str(each) for each in errors) if isinstance(errors, list) else (),
            str(meta.get("bath", "")),
            float(load) if isinstance(load, int | float) else None,
        )


def _error_told(text: str) -> tuple[str, SensorError]:
    found = _ERROR.fullmatch(text)
    if found is None:
        raise BadInput(f"--sensor-error {text}: must be NAME=OFFSET[,GAIN], as in control=1.5,1.02")
    offset, gain = _number(text, found["offset"]), _number(text, found["gain"] or "1")
    most = OFFSET_MAX.get(found["name"], OFFSET_MAX_C)
    if abs(offset) > most or not GAIN_RANGE[0] <= gain <= GAIN_RANGE[1]:
        low, high = GAIN_RANGE
        raise BadInput(f"--sensor-error {text}: an offset up to ±{most:g} and a gain of {low:g} to {high:g}")
    return found["name"], SensorError(offset, gain)


def _number(text: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"--sensor-error {text}: {word} is no number")
    return value


def _baths_told(text: str) -> tuple[tuple[float, ...], float]:
    if not text:
        return (), BATH_DWELL_S
    found = _BATHS.fullmatch(text)
    try:
        baths = tuple(float(word) for word in found["baths"].split(",")) if found else ()
        dwell_s = float(found["dwell"] or BATH_DWELL_S) if found else 0.0
    except ValueError:
        baths, dwell_s = (), 0.0
    low, high = BATH_RANGE_C
    if not baths or not all(low <= bath <= high for bath in baths) or not 1.0 <= dwell_s <= 3600.0:
        raise BadInput(f"--bath {text}: must be °C[,°C]…[@SECONDS], each {low:g} to {high:g} °C, as in 20,60@12")
    return baths, dwell_s


class Baths:
    """Where the probe is, before it is in the tissue: there once its baths are over, or a calibration is stored."""

    def __init__(self, setup: BenchSetup, tick_s: float) -> None:
        self._left_C = list(setup.baths_C)
        self._dwell_ticks = round(setup.dwell_s / tick_s)
        self._company_ticks = round(COMPANY_S / tick_s)
        self._in_bath_ticks = 0
        self._silent_ticks = self._company_ticks

    @property
    def left(self) -> bool:
        """Whether the probe is still in one."""
        return bool(self._left_C)

    @property
    def bath_C(self) -> float | None:
        """The bath's temperature; None once the probe is in the tissue."""
        return self._left_C[0] if self._left_C else None

    def pass_tick(self, heard: bytes) -> None:
        """A tick in one of them has passed, in which this was heard of the host."""
        if b" STORE*" in heard:
            self._left_C.clear()
            return
        self._silent_ticks = 0 if heard else self._silent_ticks + 1
        if self._silent_ticks < self._company_ticks:
            self._in_bath_ticks += 1
        if self._in_bath_ticks >= self._dwell_ticks:
            self._in_bath_ticks = 0
            del self._left_C[0]
