"""The inner loops for MicroPython's viper emitter: same results as `kernels_plain.py`, 7 to 30 times faster.

Viper ints are as wide as the machine (64 bits on x86-64), and a `ptr32` load is not sign-extended there:
so every value is kept positive (safety.BIAS) and every shift is masked.
"""

import micropython

from rfprobe_core.kernels_plain import CRC_TABLE, crc16_byte  # noqa: F401

EMITTER = "viper"


@micropython.viper
def _crc16(data: ptr8, count: int, crc: int, table: ptr16) -> int:
    for index in range(count):
        crc = ((crc << 8) & 0xFFFF) ^ int(table[(crc >> 8) ^ int(data[index])])
    return crc


def crc16(data, count, crc):
    return _crc16(data, count, crc, CRC_TABLE)


@micropython.viper
def _crc16_words(words: ptr32, start: int, stop: int, crc: int, table: ptr16) -> int:
    for index in range(start, stop):
        word = int(words[index])
        crc = ((crc << 8) & 0xFFFF) ^ int(table[(crc >> 8) ^ (word & 0xFF)])
        crc = ((crc << 8) & 0xFFFF) ^ int(table[(crc >> 8) ^ ((word >> 8) & 0xFF)])
        crc = ((crc << 8) & 0xFFFF) ^ int(table[(crc >> 8) ^ ((word >> 16) & 0xFF)])
        crc = ((crc << 8) & 0xFFFF) ^ int(table[(crc >> 8) ^ ((word >> 24) & 0xFF)])
    return crc


def crc16_words(words, start, stop, crc):
    return _crc16_words(words, start, stop, crc, CRC_TABLE)


@micropython.viper
def cobs_encode(source: ptr8, count: int, target: ptr8) -> int:
    mark = 0
    write = 1
    code = 1
    for index in range(count):
        byte = int(source[index])
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


@micropython.viper
def judge_rows(table: ptr32, size: int, start: int, stop: int, phase_bit: int) -> int:
    tripped = -1
    for row in range(start, stop):
        if (int(table[3 * size + row]) & phase_bit) == 0:
            table[5 * size + row] = 0
        elif int(table[size + row]) <= int(table[row]) and int(table[row]) <= int(table[2 * size + row]):
            table[5 * size + row] = 0
        else:
            counted = int(table[5 * size + row]) + 1
            table[5 * size + row] = counted
            if counted >= int(table[4 * size + row]) and tripped < 0:
                tripped = row
    return tripped


@micropython.viper
def power_mW(voltage_mV: int, current_uA: int) -> int:
    power = ((voltage_mV >> 4) * (current_uA >> 7)) // 125 * 32 // 125
    return power if power < 1_000_000 else 1_000_000


@micropython.viper
def impedance_mohm(voltage_mV: int, current_uA: int) -> int:
    sixteenths = voltage_mV * 1000 // (current_uA >> 4)
    if sixteenths >= 8_000_000:
        return 500_000_000
    return (sixteenths >> 4) * 1000 + (((sixteenths & 15) * 1000) >> 4)


@micropython.viper
def write_ages(table: ptr32, start: int, fresh_ticks: ptr32, count: int, tick: int, age_max: int):
    for place in range(count):
        fresh = int(fresh_ticks[place])
        age = age_max
        if (fresh >> 30) & 1 == 0:  # bit 30 of −1, which is not sign-extended on 64 bits
            age = (tick - fresh) & 0x3FFFFFFF
            if age > age_max:
                age = age_max
        table[start + place] = (1 << 29) + age * 10


@micropython.viper
def write_record(
    ring: ptr16,
    record: int,
    power: ptr32,
    table: ptr32,
    tick: int,
    judged: int,
    state: int,
    elapsed: int,
    late_us: int,
    enabled: int,
    duty: int,
    demand_mW: int,
    setpoint_mC: int,
):
    at = record << 4
    refused = int(table[5]) & 0x1FFFFFFF
    if refused > 7:
        refused = 7
    flags = (elapsed << 8) | (refused << 5) | (int(power[4]) << 4) | enabled
    flags |= ((int(table[3]) & 1) << 3) | ((int(table[2]) & 1) << 2) | ((int(table[1]) & 1) << 1)
    ring[at] = tick
    ring[at + 1] = state | (judged << 11)
    ring[at + 2] = flags
    ring[at + 3] = late_us if late_us < 65_535 else 65_535
    value = (int(table[4]) & 0x1FFFFFFF) // 10
    ring[at + 4] = value if value < 65_535 else 65_535
    value = int(power[0]) // 10
    ring[at + 5] = value if value < 65_535 else 65_535
    value = int(power[1]) // 100
    ring[at + 6] = value if value < 65_535 else 65_535
    value = int(power[2])
    ring[at + 7] = value if value < 65_535 else 65_535
    ring[at + 8] = demand_mW if demand_mW < 65_535 else 65_535
    value = int(power[3]) // 100
    ring[at + 9] = value if value < 65_535 else 65_535
    ring[at + 10] = duty
    ring[at + 11] = setpoint_mC // 10 if setpoint_mC > 0 else 0
    value = int(table[0]) & 0x1FFFFFFF
    if judged == 3 or judged == 4:
        value = int(power[5])
    ring[at + 12] = value if value < 65_535 else 65_535
    ring[at + 13] = 0
    ring[at + 14] = 0
    ring[at + 15] = 0


@micropython.viper
def write_poll(ring: ptr16, record: int, place: int, status: int, measured_mC: int, slope_mC_per_s: int):
    at = record << 4
    ring[at + 1] = int(ring[at + 1]) | ((place + 1) << 4) | (status << 7)
    ring[at + 13] = measured_mC
    ring[at + 14] = measured_mC >> 16
    slope = slope_mC_per_s
    if slope < -32_768:
        slope = -32_768
    if slope > 32_767:
        slope = 32_767
    ring[at + 15] = slope


@micropython.viper
def write_tip(ring: ptr16, record: int, table: ptr32, first: int, second: int, third: int):
    at = record << 4
    ring[at + 1] = int(ring[at + 1]) | 80  # SEEN_TIP << 4
    one = int(table[first]) - (1 << 29)
    two = int(table[second]) - (1 << 29)
    three = int(table[third]) - (1 << 29)
    if one < -32_768:
        one = -32_768
    if one > 32_767:
        one = 32_767
    if two < -32_768:
        two = -32_768
    if two > 32_767:
        two = 32_767
    if three < -32_768:
        three = -32_768
    if three > 32_767:
        three = 32_767
    ring[at + 13] = one
    ring[at + 14] = two
    ring[at + 15] = three


@micropython.viper
def same_bytes(one: ptr8, other: ptr8, start: int, stop: int) -> bool:
    for index in range(start, stop):
        if int(one[index]) != int(other[index]):
            return False
    return True


@micropython.viper
def isqrt(value: int) -> int:
    if value < 2:
        return value
    guess = 32768
    while True:
        better = (guess + value // guess) >> 1
        if better >= guess:
            return guess
        guess = better


@micropython.viper
def measure_power(  # noqa: C901  as kernels_plain.py has it, with its two calls put in their place
    state: ptr32, voltage_mV: int, current_uA: int, ticks: int, limit_mJ: int
):
    state[0] = voltage_mV
    state[1] = current_uA
    power = ((voltage_mV >> 4) * (current_uA >> 7)) // 125 * 32 // 125
    if power > 1_000_000:
        power = 1_000_000
    state[2] = power
    energy_uJ = int(state[7]) + power * 10 * ticks
    energy_mJ = int(state[6]) + energy_uJ // 1000
    state[7] = energy_uJ % 1000
    state[6] = energy_mJ if energy_mJ < limit_mJ else limit_mJ
    if int(state[9]) < 1_000:
        state[8] = int(state[8]) + power
        state[9] = int(state[9]) + 1
    if int(state[10]) != 0:
        least_uA = int(state[14])
        known = 0
        if current_uA >= least_uA:
            known = 1
            least_uA = current_uA
        sixteenths = voltage_mV * 1000 // (least_uA >> 4)
        measured = 500_000_000
        if sixteenths < 8_000_000:
            measured = (sixteenths >> 4) * 1000 + (((sixteenths & 15) * 1000) >> 4)
        state[4] = known
        state[3] = measured
        load = int(state[11])
        if known != 0 and measured < load // 2:
            state[11] = measured
        elif known != 0 or measured > load:
            most = load + load // 2
            if measured < most:
                most = measured
            state[11] = load + (most - load) // 2
    driven_cV = (int(state[12]) >> 1) * int(state[13]) // 32_767
    if driven_cV >= 200:
        measured = voltage_mV // 10 * 4_096 // driven_cV
        gain = int(state[5])
        gain += (measured - gain) // 8
        if gain < 1_024:
            gain = 1_024
        if gain > 8_192:
            gain = 8_192
        state[5] = gain


@micropython.viper
def drive_fraction(state: ptr32, demand_mW: int) -> int:
    ohm = int(state[11]) // 1000
    if ohm > 2_100:
        ohm = 2_100
    square = demand_mW * ohm * 10
    volts_cV = square
    if square >= 2:
        volts_cV = 32768
        better = (volts_cV + square // volts_cV) >> 1
        while better < volts_cV:
            volts_cV = better
            better = (volts_cV + square // volts_cV) >> 1
    if volts_cV > int(state[15]):
        volts_cV = int(state[15])
    most_cV = int(state[16]) * ohm // 10
    if volts_cV > most_cV:
        volts_cV = most_cV
    state[10] = volts_cV
    fraction = ((volts_cV * int(state[17])) >> int(state[18])) * 4_096 // int(state[5])
    if fraction > 65_535:
        fraction = 65_535
    state[12] = fraction
    return fraction


@micropython.viper
def push_slope(window: ptr32, value_mC: int):
    points = int(window[0])
    at = int(window[1])
    total = int(window[2])
    value = value_mC + 100_000
    oldest = int(window[4 + at])
    window[4 + at] = value
    window[3] = int(window[3]) + (points + 1) * oldest - 2 * total + (points - 1) * value
    window[2] = total + value - oldest
    at += 1
    if at >= points:
        at = 0
    window[1] = at


@micropython.viper
def slope_mC_per_s(window: ptr32, period_ms: int) -> int:
    points = int(window[0])
    divisor = points * (points * points - 1) // 6
    return (int(window[3]) - (1 << 28)) * 40 // divisor * 25 // period_ms
