"""Who holds the temperature: the firmware's own control, and others, on the same readings.

All get the reading, the reference ramp and the power's ceiling once a conversion, and answer with a power; all
drive the stage through the firmware's power loop.
"""

from array import array
from typing import Protocol

from simple_pid import PID

from rfprobe.plan_file import read_plan
from rfprobe.probe_file import device_values, read_probe
from rfprobe.resources import find
from rfprobe_core import calibration, plan, thermometry
from rfprobe_core.modes import TemperatureMode
from rfprobe_core.pid import TemperatureLoop
from rfprobe_core.power import PowerLoop
from rfprobe_core.setpoint import SetpointRamp
from rfprobe_core.thermometry import Thermocouple

CONVERSION_S = 0.1
CONVERSION_TICKS = 10
_RAMP, _HOLD = 3, 4


class Controller(Protocol):
    """One run's controller."""

    def begin(self, reading_C: float) -> None:
        """Before the first reading."""
        ...

    def power_W(self, reading_C: float, reference_C: float) -> float:
        """What to ask for until the next conversion."""
        ...


def plain_limits(power_W: float, ceiling_W: float) -> float:
    return min(max(power_W, 0.0), ceiling_W)


class PlainPi:
    """Textbook PI; the integral stands still while a limit holds the power (conditional integration)."""

    def __init__(self, kp: float, ki: float, ceiling_W: float) -> None:
        self.kp, self.ki, self.ceiling_W = kp, ki, ceiling_W
        self._integral_W = 0.0

    def begin(self, reading_C: float) -> None:
        self._integral_W = 0.0

    def power_W(self, reading_C: float, reference_C: float) -> float:
        error_C = reference_C - reading_C
        step_W = self.ki * error_C * CONVERSION_S
        wanted_W = self.kp * error_C + self._integral_W + step_W
        power_W = plain_limits(wanted_W, self.ceiling_W)
        if power_W == wanted_W or (wanted_W > power_W) != (step_W > 0):
            self._integral_W += step_W
        return power_W


class SimplePid:
    """simple-pid (PyPI), derivative on the measurement, its own limits on output and integral."""

    def __init__(self, kp: float, ki: float, kd: float, ceiling_W: float) -> None:
        self._pid = PID(kp, ki, kd, sample_time=None, output_limits=(0.0, ceiling_W))

    def begin(self, reading_C: float) -> None:
        self._pid.reset()

    def power_W(self, reading_C: float, reference_C: float) -> float:
        self._pid.setpoint = reference_C
        power_W = self._pid(reading_C, dt=CONVERSION_S)
        assert power_W is not None
        return power_W


class OnOff:
    """Full power below the reference, none above, with a band between."""

    def __init__(self, power_W: float, band_C: float) -> None:
        self._power_W, self._band_C = power_W, band_C
        self._on = False

    def begin(self, reading_C: float) -> None:
        self._on = False

    def power_W(self, reading_C: float, reference_C: float) -> float:
        if reading_C < reference_C - self._band_C / 2:
            self._on = True
        elif reading_C > reference_C + self._band_C / 2:
            self._on = False
        return self._power_W if self._on else 0.0


class _Underway:
    """A run in its ramp, as far as a mode asks: no probe check, no guard, no end."""

    state = _RAMP
    probe_check_ticks = 0
    permille = 1_000

    def hold(self) -> None:
        self.state = _HOLD

    def reached(self, rolloffs: int) -> int:
        return 0

    def begin(self) -> None:
        pass

    def configure(self, values: object) -> None:
        pass


class Firmware:
    """The firmware's thermometry, set-point, loop and mode, from a shipped plan and probe, `changed` as told."""

    def __init__(self, plan_name: str, probe_name: str, lag_believed_s: float, **changed: int) -> None:
        given = device_values(read_plan(find("plans", plan_name)), read_probe(find("probes", probe_name)))
        given.update(changed, calibration_state=calibration.VALID)
        self.values = array("i", [given[name] for name in plan.NAMES])
        self.power = PowerLoop()
        self._thermocouple = Thermocouple()
        self._thermocouple.lag_ms = round(lag_believed_s * 1000)
        self._loop = TemperatureLoop()
        self._loop.configure(
            *[given[name] for name in ("kp_mW_per_C", "ki_mW_per_C_s", "feedforward_mW_s_per_C", "gain_mC_per_W")]
        )
        self._ramp = SetpointRamp()
        self._ramp.configure(given["rounding_ms"])
        underway = _Underway()
        self._mode = TemperatureMode(
            underway, self._ramp, self._loop, underway, self.power, underway, self._thermocouple
        )
        self._mode.configure(self.values, self._thermocouple)
        self._tick = 0

    def begin(self, reading_C: float) -> None:
        self._thermocouple.take(thermometry.FRESH, round(reading_C * 1000), 10 * CONVERSION_TICKS, self._tick)
        self._loop.begin(self._thermocouple.temperature_mC)
        self._mode.begin()

    def power_W(self, reading_C: float, reference_C: float) -> float:
        """The reference is not looked at: the firmware makes its own from the plan's start, rate and target."""
        self._tick += CONVERSION_TICKS
        self._thermocouple.take(thermometry.FRESH, round(reading_C * 1000), 10 * CONVERSION_TICKS, self._tick)
        self._mode.step(CONVERSION_TICKS, True, self._tick)
        return self._mode.demand_mW / 1000
