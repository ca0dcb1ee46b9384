"""Thermocouple voltage by ITS-90 (NIST Monograph 175), types K and T, in integers: 10 nV and m°C.

A value every 10 °C from −40 to 200 °C, straight lines between: at most 0.03 °C beside the reference function.
What lies beyond reads as the nearer end: both are far outside the limits of every plan.
"""

from array import array

from rfprobe_core.constant import const

_FIRST_MC = const(-40_000)
_LAST_MC = const(200_000)
_STEP_MC = const(10_000)
_LAST_LINE = const(23)

K = array(
    "i",
    (
        -152695, -115613, -77754, -39185, 0, 39686, 79812, 120327, 161179,
        202308, 243647, 285125, 326664, 368188, 409623, 450906, 491988, 532839,
        573451, 613834, 654022, 694059, 734002, 773912, 813847,
    ),
)  # fmt: skip
T = array(
    "i",
    (
        -147499, -112087, -75684, -38305, 0, 39100, 78961, 119645, 161179,
        203572, 246815, 290890, 335772, 381435, 427852, 474997, 522845, 571375,
        620569, 670409, 720880, 771968, 823661, 875946, 928810,
    ),
)  # fmt: skip


def _held(value, lowest, highest):
    return lowest if value < lowest else value if value < highest else highest


def _line(temperature_mC):
    """The line of the table that holds this temperature, 0 … 23."""
    return _held((temperature_mC - _FIRST_MC) // _STEP_MC, 0, _LAST_LINE)


def emf(table, temperature_mC):
    """Voltage against 0 °C of a junction at `temperature_mC`, in 10 nV."""
    temperature_mC = _held(temperature_mC, _FIRST_MC, _LAST_MC)
    index = _line(temperature_mC)
    low = table[index]
    above = temperature_mC - _FIRST_MC - index * _STEP_MC
    return low + (table[index + 1] - low) * above // _STEP_MC  # 5.3e4 · 1e4 = 5.3e8


def temperature_mC(table, emf_10nV, near_mC):
    """Temperature of a junction with this voltage against 0 °C; the search begins `near_mC`."""
    emf_10nV = _held(emf_10nV, table[0], table[_LAST_LINE + 1])
    index = _line(near_mC)
    while index > 0 and emf_10nV < table[index]:
        index -= 1
    while index < _LAST_LINE and emf_10nV >= table[index + 1]:
        index += 1
    low = table[index]
    return _FIRST_MC + index * _STEP_MC + (emf_10nV - low) * _STEP_MC // (table[index + 1] - low)
