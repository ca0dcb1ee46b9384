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


def power_mW(voltage_mV, current_uA):
    """V · I for V ≤ 500 V and I < 2^22 µA (what the sense can give), at most 1 kW, 15 times the largest trip."""
    product = (voltage_mV >> 4) * (current_uA >> 7)  # ≤ 31 250 · 32 767 < 2^30, in 2.048e-3 mW
    power = product // 125 * 32 // 125  # · 2048 / 1e6
    return power if power < 1_000_000 else 1_000_000


def impedance_mohm(voltage_mV, current_uA):
    """V / I in mΩ (current ≥ 100 µA); saturates at 500 kΩ."""
    sixteenths = voltage_mV * 1000 // (current_uA >> 4)  # 5e8 / (≥ 6): Ω · 16
    if sixteenths >= 8_000_000:
        return 500_000_000
    return (sixteenths >> 4) * 1000 + ((sixteenths & 15) * 1000 >> 4)


def write_ages(table, start, fresh_ticks, count, tick, age_max):
    """For each of `count` places: table[start + place] += 10 ms · the ticks since it was fresh, at most age_max.

    `fresh_ticks` are 0 … 2^30−1 on a wrapping counter, or −1 for never, which is age_max too. What is added to
    is BIAS (see safety.py).
    """
    for place in range(count):
        fresh = fresh_ticks[place]
        age = age_max
        if fresh >= 0:
            age = (tick - fresh) & 0x3FFFFFFF
            if age > age_max:
                age = age_max
        table[start + place] = (1 << 29) + age * 10


def same_bytes(one, other, start, stop):
    """Whether one[start:stop] and other[start:stop] are the same."""
    for index in range(start, stop):
        if one[index] != other[index]:
            return False
    return True


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
