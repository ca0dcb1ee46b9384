"""The power loop, every tick: power demand → voltage by the measured impedance → drive fraction.

The outer loop is linear in power; this one takes the impedance out, which in tissue halves and doubles within
a second. It starts from the smallest impedance allowed, so that an unknown load gets too little, never too much.
"""

from rfprobe_core.constant import const
from rfprobe_core.kernels import impedance_mohm, isqrt, power_mW

FRACTION_FULL = 65_535
_FRACTION_FULL = const(65_535)
GAIN_ONE = 4_096  # stage gain (measured / commanded voltage), ×4096
_GAIN_ONE = const(4_096)
_GAIN_LOW = const(1_024)
_GAIN_HIGH = const(8_192)
_GAIN_MIN_CV = const(200)  # below 2 V the ratio is noise
_IMPEDANCE_USED_MAX_OHM = const(2_100)  # 5e4 mW · 2100 Ω · 10 < 2^30
IMPEDANCE_MAX_MOHM = 500_000_000  # where the kernels saturate
POWER_MAX_MW = 1_000_000
_ACHIEVED_MOST = const(1_000)  # samples in one mean: · 1e6 mW < 2^30


class PowerLoop:
    """What the stage delivers, and what to ask of it next. `measure` first, then `drive`."""

    def __init__(self):
        self.voltage_mV = 0
        self.current_uA = 0
        self.power_mW = 0
        self.impedance_mohm = 0
        self._load_mohm = 0
        self.impedance_known = False  # the current is large enough to divide by
        self.gain = GAIN_ONE
        self.fraction = 0
        self.energy_mJ = 0
        self._energy_uJ = 0
        self._commanded_cV = 0
        self._achieved_sum_mW = 0
        self._achieved_count = 0
        self._full_scale_cV = 100
        self._max_voltage_cV = 0
        self._max_current_mA = 0
        self._min_current_uA = 1
        self._min_impedance_mohm = 0
        self._fraction_scale = 0
        self._fraction_shift = 0

    def configure(self, full_scale_mV, max_voltage_mV, max_current_uA, min_current_uA, min_impedance_mohm):
        self._full_scale_cV = full_scale_mV // 10
        self._max_voltage_cV = max_voltage_mV // 10
        self._max_current_mA = max_current_uA // 1000
        self._min_current_uA = min_current_uA
        self._min_impedance_mohm = min_impedance_mohm
        # fraction = cV · 65535 / full_scale as one multiplication and a shift: scale < 2^14, cV < 2^15
        shift = 0
        while (FRACTION_FULL << (shift + 1)) // self._full_scale_cV < 16_384:
            shift += 1
        self._fraction_scale = (FRACTION_FULL << shift) // self._full_scale_cV
        self._fraction_shift = shift
        self.begin_run()

    def begin_run(self):
        self.impedance_mohm = self._min_impedance_mohm
        self._load_mohm = self._min_impedance_mohm
        self.impedance_known = False
        self.gain = GAIN_ONE
        self.energy_mJ = 0
        self._energy_uJ = 0
        self._achieved_sum_mW = 0
        self._achieved_count = 0
        self.release()

    def release(self):
        """Nothing is asked of the stage any more."""
        self.fraction = 0
        self._commanded_cV = 0

    def measure(self, voltage_mV, current_uA, ticks, limit_mJ):
        """Take this tick's RMS voltage and current; `ticks` (1…100) have passed since the last."""
        self.voltage_mV = voltage_mV
        self.current_uA = current_uA
        power = power_mW(voltage_mV, current_uA)
        self.power_mW = power
        energy = self._energy_uJ + power * 10 * ticks  # ≤ 1e9 + 1e3 < 2^30
        total = self.energy_mJ + energy // 1000
        self._energy_uJ = energy % 1000
        self.energy_mJ = total if total < limit_mJ else limit_mJ
        count = self._achieved_count
        if count < _ACHIEVED_MOST:
            self._achieved_sum_mW += power
            self._achieved_count = count + 1
        if self._commanded_cV:
            self._update_impedance(voltage_mV, current_uA)
        self._update_gain(voltage_mV)

    def take_achieved_mW(self):
        """The mean power since the last call; begins a new mean."""
        if self._achieved_count == 0:
            return self.power_mW
        mean = self._achieved_sum_mW // self._achieved_count
        self._achieved_sum_mW = 0
        self._achieved_count = 0
        return mean

    def _update_impedance(self, voltage_mV, current_uA):
        known = current_uA >= self._min_current_uA
        # too little current to divide by: all that is known is that the impedance is at least V / I_min
        measured = impedance_mohm(voltage_mV, current_uA if known else self._min_current_uA)
        self.impedance_known = known
        self.impedance_mohm = measured  # what the limits judge: N samples in a row, no memory
        load = self._load_mohm
        if known and measured < load // 2:
            self._load_mohm = measured  # a short: the drive follows at once
        elif known or measured > load:
            most = load + load // 2  # one lost reading may not raise the drive
            self._load_mohm = load + ((measured if measured < most else most) - load) // 2

    def _update_gain(self, voltage_mV):
        """What the stage makes of its drive, not of what is wanted: the drive has the gain taken out already."""
        driven_cV = (self.fraction >> 1) * self._full_scale_cV // (_FRACTION_FULL >> 1)  # ≤ 32 767 · 32 000 < 2^30
        if driven_cV < _GAIN_MIN_CV:
            return
        measured = voltage_mV // 10 * _GAIN_ONE // driven_cV  # 5e4 · 4096 < 2^28
        gain = self.gain
        gain += (measured - gain) // 8
        if gain < _GAIN_LOW:
            gain = _GAIN_LOW
        self.gain = gain if gain < _GAIN_HIGH else _GAIN_HIGH

    def drive(self, demand_mW):
        """The drive fraction (0…65535 of full-scale voltage) that gives `demand_mW` (0…50 000) now."""
        ohm = self._load_mohm // 1000
        if ohm > _IMPEDANCE_USED_MAX_OHM:
            ohm = _IMPEDANCE_USED_MAX_OHM
        volts_cV = isqrt(demand_mW * ohm * 10)
        most_cV = self._max_voltage_cV
        if volts_cV > most_cV:
            volts_cV = most_cV
        most_cV = self._max_current_mA * ohm // 10
        if volts_cV > most_cV:
            volts_cV = most_cV
        self._commanded_cV = volts_cV
        # the shift is undone before the gain is divided out: 65535 · 4096 < 2^28
        fraction = (volts_cV * self._fraction_scale >> self._fraction_shift) * _GAIN_ONE // self.gain
        if fraction > _FRACTION_FULL:
            fraction = _FRACTION_FULL
        self.fraction = fraction
        return fraction
