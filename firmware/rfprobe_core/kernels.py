"""Chooses the inner loops: viper where the port has a native emitter, plain Python everywhere else."""

try:
    from rfprobe_core.kernels_viper import EMITTER, cobs_encode, crc16, crc16_byte, isqrt, judge_rows
except (ImportError, SyntaxError):  # CPython has no `micropython`; some ports have no native emitter
    from rfprobe_core.kernels_plain import EMITTER, cobs_encode, crc16, crc16_byte, isqrt, judge_rows

__all__ = ("EMITTER", "cobs_encode", "crc16", "crc16_byte", "isqrt", "judge_rows")
