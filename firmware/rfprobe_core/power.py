"""The power loop, every tick: power demand → voltage by the measured impedance → drive fraction.

The outer loop is linear in power; this one takes the impedance out, which in tissue halves and doubles within
a second. It starts from the smallest impedance allowed, so that an unknown load gets too little, never too much.
Its numbers are in one array: the kernels do the arithmetic (kernels_plain.py is the one to read).
"""

from array import array

from rfprobe_core.kernels import drive_fraction, impedance_mohm, measure_power, power_mW

__all__ = ("GAIN_ONE", "IMPEDANCE_MAX_MOHM", "POWER_MAX_MW", "PowerLoop", "impedance_mohm", "power_mW")

FRACTION_FULL = 65_535
GAIN_ONE = 4_096  # stage gain (measured / commanded voltage), ×4096
IMPEDANCE_MAX_MOHM = 500_000_000  # where the kernels saturate
POWER_MAX_MW = 1_000_000

# Places in PowerLoop.state, which the kernels work on.
VOLTAGE_mV = 0
CURRENT_uA = 1
POWER_mW = 2
IMPEDANCE_mohm = 3
IMPEDANCE_KNOWN = 4
GAIN = 5
ENERGY_mJ = 6
ENERGY_uJ = 7
ACHIEVED_SUM_mW = 8
ACHIEVED_COUNT = 9
COMMANDED_cV = 10
LOAD_mohm = 11
FRACTION = 12
FULL_SCALE_cV = 13
MIN_CURRENT_uA = 14
MAX_VOLTAGE_cV = 15
MAX_CURRENT_mA = 16
FRACTION_SCALE = 17
FRACTION_SHIFT = 18
_STATE_SIZE = 19


def _at(place):
    """A number of the state, under its name."""

    def get(loop):
        return loop.state[place]

    def put(loop, value):
        loop.state[place] = value

    return property(get, put)


class PowerLoop:
    """What the stage delivers, and what to ask of it next. `measure` first, then `drive`."""

    voltage_mV = _at(VOLTAGE_mV)
    current_uA = _at(CURRENT_uA)
    power_mW = _at(POWER_mW)
    impedance_mohm = _at(IMPEDANCE_mohm)  # what the limits judge: N samples in a row, no memory
    impedance_known = _at(IMPEDANCE_KNOWN)  # the current is large enough to divide by
    gain = _at(GAIN)
    energy_mJ = _at(ENERGY_mJ)
    fraction = _at(FRACTION)
    _load_mohm = _at(LOAD_mohm)  # what is driven into

    def __init__(self):
        self.state = array("i", [0] * _STATE_SIZE)
        self.state[GAIN] = GAIN_ONE
        self.state[FULL_SCALE_cV] = 100
        self.state[MIN_CURRENT_uA] = 1
        self._min_impedance_mohm = 0

    def configure(self, full_scale_mV, max_voltage_mV, max_current_uA, min_current_uA, min_impedance_mohm):
        state = self.state
        full_scale_cV = full_scale_mV // 10
        state[FULL_SCALE_cV] = full_scale_cV
        state[MAX_VOLTAGE_cV] = max_voltage_mV // 10
        state[MAX_CURRENT_mA] = max_current_uA // 1000
        state[MIN_CURRENT_uA] = min_current_uA
        self._min_impedance_mohm = min_impedance_mohm
        # fraction = cV · 65535 / full_scale as one multiplication and a shift: scale < 2^14, cV < 2^15
        shift = 0
        while (FRACTION_FULL << (shift + 1)) // full_scale_cV < 16_384:
            shift += 1
        state[FRACTION_SCALE] = (FRACTION_FULL << shift) // full_scale_cV
        state[FRACTION_SHIFT] = shift
        self.begin_run()

    def begin_run(self):
        state = self.state
        state[IMPEDANCE_mohm] = self._min_impedance_mohm
        state[LOAD_mohm] = self._min_impedance_mohm
        state[IMPEDANCE_KNOWN] = 0
        state[GAIN] = GAIN_ONE
        state[ENERGY_mJ] = 0
        state[ENERGY_uJ] = 0
        state[ACHIEVED_SUM_mW] = 0
        state[ACHIEVED_COUNT] = 0
        self.release()

    def release(self):
        """Nothing is asked of the stage any more."""
        self.state[FRACTION] = 0
        self.state[COMMANDED_cV] = 0

    def measure(self, voltage_mV, current_uA, ticks, limit_mJ):
        """Take this tick's RMS voltage and current; `ticks` (1…100) have passed since the last."""
        measure_power(self.state, voltage_mV, current_uA, ticks, limit_mJ)

    def take_achieved_mW(self):
        """The mean power since the last call; begins a new mean."""
        state = self.state
        count = state[ACHIEVED_COUNT]
        if count == 0:
            return state[POWER_mW]
        mean = state[ACHIEVED_SUM_mW] // count
        state[ACHIEVED_SUM_mW] = 0
        state[ACHIEVED_COUNT] = 0
        return mean

    def drive(self, demand_mW):
        """The drive fraction (0…65535 of full-scale voltage) that gives `demand_mW` (0…50 000) now."""
        return drive_fraction(self.state, demand_mW)
