"""The ITS-90 reference functions of type K and T thermocouples: voltage in mV against 0 °C, in floats.

Coefficients from NIST Monograph 175 (thermocouple database, SRD 60), as facts. Kept apart from the integer tables of
`rfprobe_drivers.its90`, so that the driver is judged by something it does not share.
"""

import math

_K_BELOW = (
    0.0, 0.394501280250e-01, 0.236223735980e-04, -0.328589067840e-06, -0.499048287770e-08, -0.675090591730e-10,
    -0.574103274280e-12, -0.310888728940e-14, -0.104516093650e-16, -0.198892668780e-19, -0.163226974860e-22,
)  # fmt: skip
_K_ABOVE = (
    -0.176004136860e-01, 0.389212049750e-01, 0.185587700320e-04, -0.994575928740e-07, 0.318409457190e-09,
    -0.560728448890e-12, 0.560750590590e-15, -0.320207200030e-18, 0.971511471520e-22, -0.121047212750e-25,
)  # fmt: skip
_K_MAGNETIC = (0.118597600000, -0.118343200000e-03, 126.9686)  # a0 · exp(a1 · (t − a2)²), above 0 °C
_T_BELOW = (
    0.0, 0.387481063640e-01, 0.441944343470e-04, 0.118443231050e-06, 0.200329735540e-07, 0.901380195590e-09,
    0.226511565930e-10, 0.360711542050e-12, 0.384939398830e-14, 0.282135219250e-16, 0.142515947790e-18,
    0.487686622860e-21, 0.107955392700e-23, 0.139450270620e-26, 0.797951539270e-30,
)  # fmt: skip
_T_ABOVE = (
    0.0, 0.387481063640e-01, 0.332922278800e-04, 0.206182434040e-06, -0.218822568460e-08, 0.109968809280e-10,
    -0.308157587720e-13, 0.454791352900e-16, -0.275129016730e-19,
)  # fmt: skip
_FUNCTIONS = {"K": (_K_BELOW, _K_ABOVE), "T": (_T_BELOW, _T_ABOVE)}


def emf_mV(kind: str, temperature_C: float) -> float:
    """Voltage of a junction of type `kind` (K or T; KeyError for others) at −200 … 400 °C."""
    below, above = _FUNCTIONS[kind]
    total = 0.0
    for coefficient in reversed(above if temperature_C >= 0.0 else below):
        total = total * temperature_C + coefficient
    if kind == "K" and temperature_C >= 0.0:
        scale, rate, centre_C = _K_MAGNETIC
        total += scale * math.exp(rate * (temperature_C - centre_C) ** 2)
    return total
