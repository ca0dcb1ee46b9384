"""The inner loops as CPython runs them fastest: C where there is some, and calls put in place. Allocates freely.

`kernels_plain.py` says what each does; tests compare them.
"""

from binascii import crc_hqx
from math import isqrt
from operator import le
from types import FunctionType

from rfprobe_core import kernels_plain
from rfprobe_core.kernels_plain import (
    crc16_byte,
    impedance_mohm,
    power_mW,
    push_slope,
    same_bytes,
    slope_mC_per_s,
    write_poll,
    write_record,
    write_tip,
)
from rfprobe_core.kernels_plain import judge_rows as judge_each_row

EMITTER = "cpython"

__all__ = (
    "EMITTER",
    "cobs_encode",
    "crc16",
    "crc16_byte",
    "crc16_words",
    "drive_fraction",
    "impedance_mohm",
    "isqrt",
    "judge_rows",
    "measure_power",
    "power_mW",
    "push_slope",
    "same_bytes",
    "slope_mC_per_s",
    "write_ages",
    "write_poll",
    "write_record",
    "write_tip",
)

_CODES = [bytes([length + 1]) for length in range(255)]

# the plain one, with the root of the C library
drive_fraction = FunctionType(kernels_plain.drive_fraction.__code__, {"isqrt": isqrt})


def crc16(data, count, crc):
    return crc_hqx(memoryview(data)[:count], crc)


def crc16_words(words, start, stop, crc):
    return crc_hqx(memoryview(words).cast("B")[4 * start : 4 * stop], crc)


def cobs_encode(source, count, target):
    encoded = b"".join([_CODES[len(run)] + run for run in bytes(source[:count]).split(b"\0")])
    written = len(encoded) + 1
    target[: written - 1] = encoded
    target[written - 1] = 0
    return written


def judge_rows(table, size, start, stop, phase_bit):
    values = table[start:stop]
    low = table[size + start : size + stop]
    high = table[2 * size + start : 2 * size + stop]
    counted = table[5 * size + start : 5 * size + stop]
    if all(map(le, low, values)) and all(map(le, values, high)) and not any(counted):
        return -1  # as nearly always: nothing is out of bounds, and nothing was
    return judge_each_row(table, size, start, stop, phase_bit)


def write_ages(table, start, fresh_ticks, count, tick, age_max):
    for at, fresh in enumerate(fresh_ticks[:count], start):
        age = (tick - fresh) & 0x3FFFFFFF if fresh >= 0 else age_max
        table[at] = (1 << 29) + 10 * (age if age < age_max else age_max)


def measure_power(state, voltage_mV, current_uA, ticks, limit_mJ):
    state[0] = voltage_mV
    state[1] = current_uA
    power = (voltage_mV >> 4) * (current_uA >> 7) // 125 * 32 // 125
    if power > 1_000_000:
        power = 1_000_000
    state[2] = power
    energy_mJ, energy_uJ = divmod(state[7] + power * 10 * ticks, 1000)
    energy_mJ += state[6]
    state[7] = energy_uJ
    state[6] = energy_mJ if energy_mJ < limit_mJ else limit_mJ
    if state[9] < 1_000:
        state[8] += power
        state[9] += 1
    if state[10]:
        least_uA = state[14]
        known = current_uA >= least_uA
        state[4] = known
        sixteenths = voltage_mV * 1000 // ((current_uA if known else least_uA) >> 4)
        measured = 500_000_000
        if sixteenths < 8_000_000:
            measured = (sixteenths >> 4) * 1000 + ((sixteenths & 15) * 1000 >> 4)
        state[3] = measured
        load = state[11]
        if known and measured < load // 2:
            state[11] = measured
        elif known or measured > load:
            most = load + load // 2
            state[11] = load + ((measured if measured < most else most) - load) // 2
    driven_cV = (state[12] >> 1) * state[13] // 32_767
    if driven_cV >= 200:
        gain = state[5]
        gain += (voltage_mV // 10 * 4_096 // driven_cV - gain) // 8
        state[5] = 1_024 if gain < 1_024 else gain if gain < 8_192 else 8_192
