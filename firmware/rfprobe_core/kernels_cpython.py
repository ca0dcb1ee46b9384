"""The inner loops as CPython runs them fastest: C for the CRC and for rows that are all in bounds. Allocates freely."""

from binascii import crc_hqx
from math import isqrt
from operator import le

from rfprobe_core.kernels_plain import (
    cobs_encode,
    crc16_byte,
    drive_fraction,
    impedance_mohm,
    measure_power,
    power_mW,
    push_slope,
    same_bytes,
    slope_mC_per_s,
    write_ages,
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


def crc16(data, count, crc):
    return crc_hqx(memoryview(data)[:count], crc)


def crc16_words(words, start, stop, crc):
    return crc_hqx(memoryview(words).cast("B")[4 * start : 4 * stop], crc)


def judge_rows(table, size, start, stop, phase_bit):
    values = table[start:stop]
    low = table[size + start : size + stop]
    high = table[2 * size + start : 2 * size + stop]
    counted = table[5 * size + start : 5 * size + stop]
    if all(map(le, low, values)) and all(map(le, values, high)) and not any(counted):
        return -1  # as nearly always: nothing is out of bounds, and nothing was
    return judge_each_row(table, size, start, stop, phase_bit)
