"""Chooses the inner loops: viper where the port has a native emitter, CPython's own, plain Python elsewhere."""

import sys

if sys.implementation.name == "cpython":
    from rfprobe_core import kernels_cpython as chosen
else:
    try:
        from rfprobe_core import kernels_viper as chosen
    except SyntaxError:  # what a port without a native emitter makes of @micropython.viper
        from rfprobe_core import kernels_plain as chosen

EMITTER = chosen.EMITTER
drive_fraction = chosen.drive_fraction
measure_power = chosen.measure_power
push_slope = chosen.push_slope
slope_mC_per_s = chosen.slope_mC_per_s
cobs_encode = chosen.cobs_encode
crc16 = chosen.crc16
crc16_byte = chosen.crc16_byte
crc16_words = chosen.crc16_words
impedance_mohm = chosen.impedance_mohm
isqrt = chosen.isqrt
judge_rows = chosen.judge_rows
power_mW = chosen.power_mW
same_bytes = chosen.same_bytes
write_ages = chosen.write_ages
write_poll = chosen.write_poll
write_record = chosen.write_record
write_tip = chosen.write_tip
