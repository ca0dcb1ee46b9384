"""The inner loops in plain Python: the reference, and what runs where there is no native code emitter.

`kernels_viper.py` holds the same functions for MicroPython's viper emitter, `kernels_cpython.py` for CPython;
tests compare them.
"""

import struct
from array import array

from rfprobe_core.constant import const

_RECORD = "<HHHHHHHHHHHHHHHH"
_RECORD_SIZE = const(32)
_SEEN_TIP = const(5)

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


def crc16_words(words, start, stop, crc):
    """The same CRC over words[start:stop], 32 bits each, the lowest byte first."""
    table = CRC_TABLE
    for index in range(start, stop):
        word = words[index]
        for shift in (0, 8, 16, 24):
            crc = ((crc << 8) & 0xFFFF) ^ table[(crc >> 8) ^ ((word >> shift) & 0xFF)]
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


def write_record(
    ring, record, power, table, tick, judged, state, elapsed, late_us, enabled, duty, demand_mW, setpoint_mC
):
    """One record of the black box (see protocol.RECORD_FIELDS) into its place in the ring.

    `power` is the power loop's state, `table` the limit table, of which the rows of every tick are told; `judged` is
    the state the tick was judged in, `state` the one it ended in. Only the set-point may be negative.
    """
    voltage_cV = power[0] // 10
    current_dmA = power[1] // 100
    measured_mW = power[2]
    impedance_dohm = power[3] // 100
    refused = table[5] & 0x1FFFFFFF  # the bias is bit 29
    lease_ticks = (table[4] & 0x1FFFFFFF) // 10
    flags = elapsed << 8 | (refused if refused < 7 else 7) << 5 | power[4] << 4 | enabled
    flags |= (table[3] & 1) << 3 | (table[2] & 1) << 2 | (table[1] & 1) << 1
    other = power[5] if judged == 3 or judged == 4 else table[0] & 0x1FFFFFFF
    struct.pack_into(
        _RECORD,
        ring,
        record * _RECORD_SIZE,
        tick & 0xFFFF,
        state | judged << 11,
        flags,
        late_us if late_us < 65_535 else 65_535,
        lease_ticks if lease_ticks < 65_535 else 65_535,
        voltage_cV if voltage_cV < 65_535 else 65_535,
        current_dmA if current_dmA < 65_535 else 65_535,
        measured_mW if measured_mW < 65_535 else 65_535,
        demand_mW if demand_mW < 65_535 else 65_535,
        impedance_dohm if impedance_dohm < 65_535 else 65_535,
        duty,
        setpoint_mC // 10 if setpoint_mC > 0 else 0,
        other if other < 65_535 else 65_535,
        0,
        0,
        0,
    )


def write_poll(ring, record, place, status, measured_mC, slope_mC_per_s):
    """Into that record: which thermocouple was polled, and what came of it."""
    at = record * _RECORD_SIZE
    seen = ring[at + 2] | ring[at + 3] << 8 | (place + 1) << 4 | status << 7
    ring[at + 2] = seen & 0xFF
    ring[at + 3] = seen >> 8
    slope = slope_mC_per_s
    slope = -32_768 if slope < -32_768 else 32_767 if slope > 32_767 else slope
    struct.pack_into("<HHh", ring, at + 26, measured_mC & 0xFFFF, measured_mC >> 16 & 0xFFFF, slope)


def write_tip(ring, record, table, first, second, third):
    """Into that record: the tip's rows were judged, and these three of the limit table are told, in m°C."""
    at = record * _RECORD_SIZE
    ring[at + 2] |= _SEEN_TIP << 4
    one = table[first] - (1 << 29)
    two = table[second] - (1 << 29)
    three = table[third] - (1 << 29)
    one = -32_768 if one < -32_768 else 32_767 if one > 32_767 else one
    two = -32_768 if two < -32_768 else 32_767 if two > 32_767 else two
    three = -32_768 if three < -32_768 else 32_767 if three > 32_767 else three
    struct.pack_into("<hhh", ring, at + 26, one, two, three)


def same_bytes(one, other, start, stop):
    """Whether one[start:stop] and other[start:stop] are the same."""
    for index in range(start, stop):
        if one[index] != other[index]:
            return False
    return True


def measure_power(state, voltage_mV, current_uA, ticks, limit_mJ):
    """This tick's RMS voltage and current into `state` (see power.py): power, energy, impedance, load, gain.

    `ticks` is 1…100. Of too little current to divide by only this is known: the impedance is at least V / I_min.
    """
    state[0] = voltage_mV
    state[1] = current_uA
    power = power_mW(voltage_mV, current_uA)
    state[2] = power
    energy_uJ = state[7] + power * 10 * ticks  # ≤ 1e9 + 1e3 < 2^30
    energy_mJ = state[6] + energy_uJ // 1000
    state[7] = energy_uJ % 1000
    state[6] = energy_mJ if energy_mJ < limit_mJ else limit_mJ
    if state[9] < 1_000:  # samples in one mean: · 1e6 mW < 2^30
        state[8] += power
        state[9] += 1
    if state[10]:
        known = current_uA >= state[14]
        measured = impedance_mohm(voltage_mV, current_uA if known else state[14])
        state[4] = 1 if known else 0
        state[3] = measured
        load = state[11]
        if known and measured < load // 2:
            state[11] = measured  # a short: the drive follows at once
        elif known or measured > load:
            most = load + load // 2  # one lost reading may not raise the drive
            state[11] = load + ((measured if measured < most else most) - load) // 2
    # what the stage makes of its drive, not of what is wanted: the drive has the gain taken out already
    driven_cV = (state[12] >> 1) * state[13] // 32_767  # ≤ 32 767 · 32 000 < 2^30
    if driven_cV >= 200:  # below 2 V the ratio is noise
        measured = voltage_mV // 10 * 4_096 // driven_cV  # 5e4 · 4096 < 2^28
        gain = state[5] + (measured - state[5]) // 8
        if gain < 1_024:
            gain = 1_024
        state[5] = gain if gain < 8_192 else 8_192


def drive_fraction(state, demand_mW):
    """The drive fraction (0…65535) for `demand_mW` (0…50 000) into the load, within voltage and current."""
    ohm = state[11] // 1000
    if ohm > 2_100:  # 5e4 mW · 2100 Ω · 10 < 2^30
        ohm = 2_100
    volts_cV = isqrt(demand_mW * ohm * 10)
    if volts_cV > state[15]:
        volts_cV = state[15]
    most_cV = state[16] * ohm // 10
    if volts_cV > most_cV:
        volts_cV = most_cV
    state[10] = volts_cV
    # the shift is undone before the gain is divided out: 65535 · 4096 < 2^28
    fraction = (volts_cV * state[17] >> state[18]) * 4_096 // state[5]
    if fraction > 65_535:
        fraction = 65_535
    state[12] = fraction
    return fraction


def push_slope(window, value_mC):
    """The next sample of a slope window (see thermometry.py): n, place, sum, weighted sum + 2^28, then the ring.

    Samples are kept above −100 °C, so that none is negative: ≤ 4e5, |weighted| ≤ 2e5 · Σ|2i−n+1| ≤ 2e5 · 112
    < 2^25 for 15 points.
    """
    points = window[0]
    at = window[1]
    total = window[2]
    value = value_mC + 100_000
    oldest = window[4 + at]
    window[4 + at] = value
    window[3] += (points + 1) * oldest - 2 * total + (points - 1) * value
    window[2] = total + value - oldest
    at += 1
    window[1] = at if at < points else 0


def slope_mC_per_s(window, period_ms):
    """Least-squares slope of a window of samples `period_ms` (10…250) apart, m°C per second."""
    points = window[0]
    divisor = points * (points * points - 1) // 6
    # 2.24e7 · 40 < 2^30; // 84 (8 points) or // 560 (15): ≤ 1.1e7, · 25 < 2^29
    return (window[3] - (1 << 28)) * 40 // divisor * 25 // period_ms


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
