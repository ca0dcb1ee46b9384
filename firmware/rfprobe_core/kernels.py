"""Chooses the inner loops: viper where the port has a native emitter, CPython's own, plain Python elsewhere."""

import sys

if sys.implementation.name == "cpython":
    from rfprobe_core.kernels_cpython import EMITTER, cobs_encode, crc16, crc16_byte, isqrt, judge_rows
else:
    try:
        from rfprobe_core.kernels_viper import EMITTER, cobs_encode, crc16, crc16_byte, isqrt, judge_rows
    except SyntaxError:  # what a port without a native emitter makes of @micropython.viper
        from rfprobe_core.kernels_plain import EMITTER, cobs_encode, crc16, crc16_byte, isqrt, judge_rows

__all__ = ("EMITTER", "cobs_encode", "crc16", "crc16_byte", "isqrt", "judge_rows")
