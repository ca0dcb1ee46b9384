"""The power loop, every tick: power demand → voltage by the measured impedance → drive fraction.

The outer loop is linear in power; this one takes the impedance out, which in tissue halves and doubles within
a second. It starts from the smallest impedance allowed, so that an unknown load gets too little, never too much.
"""

from rfprobe_core.kernels import isqrt

FRACTION_FULL = 65_535
GAIN_ONE = 4_096  # stage gain (measured / commanded voltage), ×4096
_GAIN_LOW = 1_024
_GAIN_HIGH = 8_192
_GAIN_MIN_CV = 200  # below 2 V the ratio is noise
_IMPEDANCE_USED_MAX_OHM = 2_100  # 5e4 mW · 2100 Ω · 10 < 2^30
IMPEDANCE_MAX_MOHM = 500_000_000
POWER_MAX_MW = 1_000_000  # 15 times the largest trip
_ACHIEVED_MOST = 1_000  # samples in one mean: · 1e6 mW < 2^30


def power_mW(voltage_mV, current_uA):
    """V · I for V ≤ 500 V and I < 2^22 µA (what the sense can give), at most POWER_MAX_MW."""
    product = (voltage_mV >> 4) * (current_uA >> 7)  # ≤ 31 250 · 32 767 < 2^30, in 2.048e-3 mW
    power = product // 125 * 32 // 125  # · 2048 / 1e6
    return power if power < POWER_MAX_MW else POWER_MAX_MW


def impedance_mohm(voltage_mV, current_uA):
    """V / I in mΩ (current ≥ 100 µA); saturates at IMPEDANCE_MAX_MOHM."""
    sixteenths = voltage_mV * 1000 // (current_uA >> 4)  # 5e8 / (≥ 6): Ω · 16
    if sixteenths >= IMPEDANCE_MAX_MOHM // 1000 * 16:
        return IMPEDANCE_MAX_MOHM
    return (sixteenths >> 4) * 1000 + ((sixteenths & 15) * 1000 >> 4)


class PowerLoop:
    """What the stage delivers, and what to ask of it next. `measure` first, then `drive`."""

    def __init__(self):
        self.voltage_mV = 0
        self.current_uA = 0
        self.power_mW = 0
        self.impedance_mohm = 0
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
        if self._achieved_count < _ACHIEVED_MOST:
            self._achieved_sum_mW += power
            self._achieved_count += 1
        self._update_impedance()
        self._update_gain()

    def take_achieved_mW(self):
        """The mean power since the last call; begins a new mean."""
        if self._achieved_count == 0:
            return self.power_mW
        mean = self._achieved_sum_mW // self._achieved_count
        self._achieved_sum_mW = 0
        self._achieved_count = 0
        return mean

    def _update_impedance(self):
        if self._commanded_cV == 0:
            return
        if self.current_uA >= self._min_current_uA:
            measured = impedance_mohm(self.voltage_mV, self.current_uA)
            if self.impedance_known:
                measured = self.impedance_mohm + (measured - self.impedance_mohm) // 4  # 5e8 fits
            self.impedance_mohm = measured
            self.impedance_known = True
            return
        # too little current to divide by: all that is known is that the impedance is at least V / I_min
        at_least = impedance_mohm(self.voltage_mV, self._min_current_uA)
        if at_least > self.impedance_mohm:
            self.impedance_mohm = at_least

    def _update_gain(self):
        """What the stage makes of its drive, not of what is wanted: the drive has the gain taken out already."""
        driven_cV = (self.fraction >> 1) * self._full_scale_cV // (FRACTION_FULL >> 1)  # ≤ 32 767 · 32 000 < 2^30
        if driven_cV < _GAIN_MIN_CV:
            return
        measured = self.voltage_mV // 10 * GAIN_ONE // driven_cV  # 5e4 · 4096 < 2^28
        gain = self.gain + (measured - self.gain) // 8
        self.gain = min(max(gain, _GAIN_LOW), _GAIN_HIGH)

    def drive(self, demand_mW):
        """The drive fraction (0…65535 of full-scale voltage) that gives `demand_mW` (0…50 000) now."""
        ohm = min(self.impedance_mohm // 1000, _IMPEDANCE_USED_MAX_OHM)
        volts_cV = isqrt(demand_mW * ohm * 10)
        volts_cV = min(volts_cV, self._max_voltage_cV, self._max_current_mA * ohm // 10)
        self._commanded_cV = volts_cV
        # the shift is undone before the gain is divided out: 65535 · 4096 < 2^28
        fraction = (volts_cV * self._fraction_scale >> self._fraction_shift) * GAIN_ONE // self.gain
        self.fraction = fraction if fraction < FRACTION_FULL else FRACTION_FULL
        return self.fraction
