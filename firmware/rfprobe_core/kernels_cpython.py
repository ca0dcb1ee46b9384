"""The inner loops as CPython runs them fastest: C for the CRC, slices and `zip` for the rows. Allocates freely."""

from binascii import crc_hqx
from math import isqrt

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
)

EMITTER = "cpython"

__all__ = (
    "EMITTER",
    "cobs_encode",
    "crc16",
    "crc16_byte",
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
)


def crc16(data, count, crc):
    return crc_hqx(memoryview(data)[:count], crc)


def judge_rows(table, size, start, stop, phase_bit):
    tripped = -1
    sections = [table[section * size + start : section * size + stop] for section in range(6)]
    row = start
    for value, low, high, phases, needed, counted in zip(*sections):
        if low <= value <= high or not phases & phase_bit:
            if counted:
                table[5 * size + row] = 0
        else:
            table[5 * size + row] = counted + 1
            if counted + 1 >= needed and tripped < 0:
                tripped = row
        row += 1
    return tripped
