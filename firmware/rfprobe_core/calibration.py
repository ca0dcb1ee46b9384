"""The calibration that the device keeps in its flash: two copies, each with a CRC, and whether it holds today.

A record is a head (format, generation), the CALIBRATION group of plan.PARAMETERS in order, and a CRC-16. Both copies
are written, one after the other, the one in use last: power that fails in between leaves one of them whole. The newer
whole one counts. The device has no clock: today's date is the host's word, in `today_day`.

A sensor whose calibration does not hold is read with its nominal values, and the power is capped.
"""

import struct

from rfprobe_core import plan
from rfprobe_core.kernels import crc16
from rfprobe_core.plan import INDEX, PARAMETERS, ROLE_NONE, THERMOCOUPLES
from rfprobe_core.protocol import CRC_START

NONE = 0
VALID = 1
EXPIRED = 2
CORRUPT = 3
UNDATED = 4  # no date was told, or one before the day of calibration
STATE_NAMES = ("none", "valid", "expired", "corrupt", "undated")
_GRAVITY = (CORRUPT, NONE, EXPIRED, UNDATED)

SENSORS = ("tc0", "tc1", "tc2", "tc3", "rf")
RF = 4

COPIES = 2
EMPTY = 0
WHOLE = 1
BROKEN = 2
IN_USE = 3
COPY_NAMES = ("empty", "whole", "corrupt", "in use")

# A voltage and a current that each read low by 29 %, beyond any sense that calibrates (GAIN_HIGH_PPM in
# host_tools/rfprobe/calibration_fit.py), hide half of the power: half of what a plan allows is then no more than that.
UNCALIBRATED_PERMILLE = 500
UNCALIBRATED_MAX_MW = 10_000

FIELDS = tuple([index for index, row in enumerate(PARAMETERS) if row[1] == plan.CALIBRATION])
GAIN_SHIFT = 14


def _layout():
    """A CRC over the fields' names: a record of another firmware is not taken for one of this."""
    names = ",".join([PARAMETERS[index][0] for index in FIELDS]).encode()
    return crc16(names, len(names), CRC_START)


LAYOUT = _layout()
_HEAD = "<HI"  # LAYOUT, generation
_HEAD_SIZE = 6
RECORD_SIZE = _HEAD_SIZE + 4 * len(FIELDS) + 2


def packed(values, generation):
    """The record of the calibration in `values`."""
    record = bytearray(RECORD_SIZE)
    struct.pack_into(_HEAD, record, 0, LAYOUT, generation)
    at = _HEAD_SIZE
    for index in FIELDS:
        struct.pack_into("<i", record, at, values[index])
        at += 4
    struct.pack_into("<H", record, at, crc16(record, at, CRC_START))
    return bytes(record)


def generation_of(record):
    """The generation of a whole record, from 1 on; 0 for anything else."""
    if len(record) != RECORD_SIZE:
        return 0
    end = RECORD_SIZE - 2
    layout, generation = struct.unpack_from(_HEAD, record, 0)
    if layout != LAYOUT or struct.unpack_from("<H", record, end)[0] != crc16(record, end, CRC_START):
        return 0
    at = _HEAD_SIZE
    for index in FIELDS:
        if not plan.in_range(index, struct.unpack_from("<i", record, at)[0]):
            return 0
        at += 4
    return generation


class Calibration:
    """What is kept by `board.calibration_read(copy)` (bytes, empty where there is no such file) and `_write`."""

    def __init__(self, board):
        self._board = board
        self._generation = 0
        self._in_use = -1
        self.digest = 0

    def load(self, values):
        """Fill in the CALIBRATION group and what there is to say of the copies; the nominal values without one."""
        records = [self._read(copy) for copy in range(COPIES)]
        generations = [generation_of(record) if record is not None else 0 for record in records]
        self._in_use = 1 if generations[1] > generations[0] else 0
        self._generation = generations[self._in_use]
        record = records[self._in_use] if self._generation else None
        if record is None:
            self._in_use = -1
        at = _HEAD_SIZE
        for index in FIELDS:
            values[index] = struct.unpack_from("<i", record, at)[0] if record else PARAMETERS[index][4]
            at += 4
        broken = False
        for copy in range(COPIES):
            state = WHOLE if generations[copy] else EMPTY if records[copy] == b"" else BROKEN
            broken = broken or state == BROKEN
            values[INDEX["calibration_copy_a"] + copy] = IN_USE if copy == self._in_use else state
        self.digest = plan.digest(values, plan.CALIBRATION)
        values[INDEX["calibration_state"]] = CORRUPT if broken and record is None else judge(values)

    def _read(self, copy):
        """The bytes of a copy; None where the file cannot be read, which counts as broken."""
        try:
            return self._board.calibration_read(copy)
        except OSError:
            return None

    def save(self, values):
        """Keep the CALIBRATION group of `values`, at rest only; whether both copies were then read back whole.

        `values` hold what is kept afterwards, whichever way it went.
        """
        record = packed(values, self._generation + 1)
        first = 1 if self._in_use == 0 else 0
        kept = self._write(first, record) and self._write(1 - first, record)
        self.load(values)
        return kept

    def _write(self, copy, record):
        try:
            self._board.calibration_write(copy, record)
        except OSError:
            return False
        return self._read(copy) == record


def sensor_state(values, sensor):
    """VALID, NONE, EXPIRED or UNDATED for a sensor (an index of SENSORS), by the record and today's date."""
    day = values[INDEX["tc0_cal_day"] + sensor]
    if day == 0:
        return NONE
    age_days = values[INDEX["today_day"]] - day
    if age_days < 0:
        return UNDATED
    valid_days = values[INDEX["tc0_cal_valid_days"] + sensor]
    return EXPIRED if 0 < valid_days < age_days else VALID


def used_sensors(values):
    """The sensors that a run with these values relies on, as indices of SENSORS."""
    roles = plan.roles(values)
    return [place for place in range(THERMOCOUPLES) if roles[place] != ROLE_NONE] + [RF]


def judge(values):
    """The state of all used sensors together: VALID, or the gravest."""
    found = [sensor_state(values, sensor) for sensor in used_sensors(values)]
    for state in _GRAVITY:
        if state in found:
            return state
    return VALID


def thermocouple(values, place):
    """(offset in m°C, gain − 1 in 2^-14) of a place; nothing is corrected where the calibration does not hold."""
    if sensor_state(values, place) != VALID:
        return 0, 0
    excess_ppm = values[INDEX["tc0_gain_ppm"] + place] - 1_000_000
    # |excess| ≤ 1e5; · 2^14 would leave 30 bits, so 2^14 / 1e6 as 2^8 / 15 625: < 2^25
    return values[INDEX["tc0_offset_mC"] + place], ((excess_ppm << (GAIN_SHIFT - 6)) + 7_812) // 15_625


def sense(values):
    """(voltage gain in ppm, offset in mV, current gain in ppm, offset in µA); nominal where it does not hold."""
    if sensor_state(values, RF) != VALID:
        return 1_000_000, 0, 1_000_000, 0
    first = INDEX["v_gain_ppm"]
    return values[first], values[first + 1], values[first + 2], values[first + 3]


def allowed_power_mW(values):
    """The plan's largest power; without a valid calibration half of it, and never above UNCALIBRATED_MAX_MW."""
    most = values[INDEX["max_power_mW"]]
    if values[INDEX["calibration_state"]] == VALID:
        return most
    capped = min(most * UNCALIBRATED_PERMILLE // 1000, UNCALIBRATED_MAX_MW)  # 5e4 · 500
    return max(capped, min(values[INDEX["test_power_mW"]], most))
