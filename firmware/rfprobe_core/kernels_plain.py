"""The inner loops in plain Python: the reference, and what runs where there is no native code emitter.

`kernels_viper.py` holds the same functions for MicroPython's viper emitter, `kernels_cpython.py` for CPython;
tests compare them.
"""

from array import array

EMITTER = "plain"


def _crc_table():
    table = array("H", [0] * 256)
    for index in range(256):
        crc = index << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        table[index] = crc & 0xFFFF
    return table


CRC_TABLE = _crc_table()


def crc16(data, count, crc):
    """CRC-16/CCITT-FALSE (polynomial 0x1021, start with 0xFFFF) over data[:count]; check value 0x29B1."""
    table = CRC_TABLE
    for index in range(count):
        crc = ((crc << 8) & 0xFFFF) ^ table[(crc >> 8) ^ data[index]]
    return crc


def crc16_byte(crc, byte):
    """One byte further; the command parser's step."""
    return ((crc << 8) & 0xFFFF) ^ CRC_TABLE[(crc >> 8) ^ (byte & 0xFF)]


def cobs_encode(source, count, target):
    """Encode source[:count] (count ≤ 254) into target and end it with a zero; returns the bytes written."""
    mark = 0
    write = 1
    code = 1
    for index in range(count):
        byte = source[index]
        if byte:
            target[write] = byte
            write += 1
            code += 1
        else:
            target[mark] = code
            mark = write
            write += 1
            code = 1
    target[mark] = code
    target[write] = 0
    return write + 1


def judge_rows(table, size, start, stop, phase_bit):
    """Judge limit rows start..stop-1; returns the first row tripped, or -1.

    `table` is an array of ints with six sections of `size` each: value, low, high, phases, samples needed,
    samples counted. A row outside low..high in a phase it applies to counts one sample more; reaching
    `samples needed` trips it. Values and limits are biased to be positive (see safety.BIAS).
    """
    tripped = -1
    for row in range(start, stop):
        if table[3 * size + row] & phase_bit == 0:
            table[5 * size + row] = 0
        elif table[size + row] <= table[row] <= table[2 * size + row]:
            table[5 * size + row] = 0
        else:
            counted = table[5 * size + row] + 1
            table[5 * size + row] = counted
            if counted >= table[4 * size + row] and tripped < 0:
                tripped = row
    return tripped


def isqrt(value):
    """The integer square root of 0 … 2^30−1, by Newton's steps from above."""
    if value < 2:
        return value
    guess = 32768
    while True:
        better = (guess + value // guess) >> 1
        if better >= guess:
            return guess
        guess = better
