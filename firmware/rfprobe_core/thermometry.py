"""What is believed about one thermocouple: value, age, slope, dose, peak, and why a sample was not believed."""

from array import array

from rfprobe_core.constant import const
from rfprobe_core.dose import Dose
from rfprobe_core.kernels import push_slope, slope_mC_per_s

# Status of one poll, told by the driver. 0 and 1 carry a value; the rest name why there is none.
FRESH = 0
REPEAT = 1  # a valid word, but the same bits as last time: no proof of a new conversion
OPEN = 2
SHORT = 3
BUS = 4
CONFIG_LOST = 5
COLD_JUNCTION = 6
JUMP = 7  # decided here, not by the driver
QUESTIONED = 8  # a reading was in doubt, and the chip is looking for an open circuit

LOWEST_MC = -100_000
HIGHEST_MC = 300_000
AGE_MAX = 100_000  # ticks
TICK_MASK = (1 << 30) - 1
_LOWEST_MC = const(-100_000)
_HIGHEST_MC = const(300_000)
_AGE_MAX = const(100_000)
_TICK_MASK = const((1 << 30) - 1)
_FRESH = const(0)
_REPEAT = const(1)
_JUMP_MC = const(5_000)


class SlopeWindow:
    """Least-squares slope over the last n samples, kept up to date in constant time, exact in integers."""

    def __init__(self, points):
        self.window = array("i", [points, 0, 0, 1 << 28] + [0] * points)

    def reset(self, value_mC):
        """Fill the window with one value: slope 0."""
        window = self.window
        points = window[0]
        value = value_mC - LOWEST_MC
        for index in range(points):
            window[4 + index] = value
        window[1] = 0
        window[2] = value * points
        window[3] = 1 << 28

    def push(self, value_mC):
        push_slope(self.window, value_mC)

    def slope_mC_per_s(self, period_ms):
        """m°C per second, for samples `period_ms` apart (10…250)."""
        return slope_mC_per_s(self.window, period_ms)


class Thermocouple:
    """One place. `take` is called at each poll; `temperature_mC` is the last value believed."""

    def __init__(self):
        self.role = 0
        self.lag_ms = 0
        self.offset_mC = 0
        self.gain = 0  # what the calibration adds to 1, in 2^-14
        self.temperature_mC = 0
        self.status = BUS
        self.valid = False  # has there been a value since `restart`
        self.fresh_tick = -1  # of the last sample that was believed and proved a new conversion; −1: none
        self.slope_mC_per_s = 0
        self.peak_mC = 0
        self.dose = Dose()
        self._short = SlopeWindow(8)
        self._long = SlopeWindow(15)
        self.long_slope_mC_per_s = 0
        self.corrected_mC = 0

    def restart(self):
        """Forget everything: after CONFIGURE the chip may be another one."""
        self.status = BUS
        self.valid = False
        self.fresh_tick = -1
        self.slope_mC_per_s = 0
        self.long_slope_mC_per_s = 0
        self.begin_run()

    def begin_run(self):
        self.peak_mC = self.temperature_mC if self.valid else 0
        self.dose.reset()

    def age_ticks(self, tick):
        """Ticks since the last sample that was believed and proved a new conversion; AGE_MAX if there was none."""
        fresh = self.fresh_tick
        if fresh < 0:
            return _AGE_MAX
        age = (tick - fresh) & _TICK_MASK
        return age if age < _AGE_MAX else _AGE_MAX

    def age_byte(self, tick):
        """The age as a telemetry frame tells it: 255 for 255 and more."""
        fresh = self.fresh_tick
        age = (tick - fresh) & _TICK_MASK if fresh >= 0 else 255
        return age if age < 255 else 255

    def take(self, status, measured_mC, period_ms, tick):
        """One poll of the chip in this `tick`, `period_ms` (10…250) after the one before; the status as judged."""
        if status <= _REPEAT:
            # |measured| < 2^21 (19 bits of 1/128 °C) and |gain| < 2^11: the product stays within 2^29
            value_mC = measured_mC + self.offset_mC + ((measured_mC >> 3) * self.gain >> 11)
            status = self._believe(status, value_mC, period_ms, tick)
        self.status = status
        if self.valid:
            self.dose.add(self.temperature_mC, period_ms)
        return status

    def _believe(self, status, value_mC, period_ms, tick):
        if value_mC < _LOWEST_MC:
            value_mC = _LOWEST_MC
        elif value_mC > _HIGHEST_MC:
            value_mC = _HIGHEST_MC
        if not self.valid:
            self._short.reset(value_mC)
            self._long.reset(value_mC)
            self.valid = True
            self.peak_mC = value_mC
            status = _REPEAT  # of the first word nobody knows how old it is: the next one that differs is new
        elif abs(value_mC - self.temperature_mC) > _JUMP_MC:
            return JUMP
        self.temperature_mC = value_mC
        if value_mC > self.peak_mC:
            self.peak_mC = value_mC
        window = self._long.window
        push_slope(window, value_mC)
        self.long_slope_mC_per_s = slope_mC_per_s(window, period_ms)
        window = self._short.window
        push_slope(window, value_mC)
        slope = slope_mC_per_s(window, period_ms)
        self.slope_mC_per_s = slope
        # the sensor lags by lag_ms: |slope| < 2^29 / 10, limited so that the product stays small
        if slope < -40_000:
            slope = -40_000
        elif slope > 40_000:
            slope = 40_000
        self.corrected_mC = value_mC + slope * self.lag_ms // 1000  # 4e4 · 5e3 < 2^28
        if status == _FRESH:
            self.fresh_tick = tick
        return status
