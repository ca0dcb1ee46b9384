"""A bit of the firmware's memory flips, as radiation or a stray write would have it: what no pin can bring about."""

from rfprobe_core.plan import INDEX
from rfprobe_core.safety import ROW, SIZE

PLAN = 1
PROFILE = 2
CALIBRATION = 3
LIMIT = 4
_BIT = 1 << 12


def upset(controller, what):
    """Flip one bit of `what` (PLAN … LIMIT)."""
    if what == LIMIT:
        controller.limits.table[2 * SIZE + ROW["tc0_over_temperature"]] ^= _BIT
        return
    name = ("max_temperature_mC", "max_voltage_mV", "v_gain_ppm")[what - PLAN]
    controller.values[INDEX[name]] ^= _BIT
