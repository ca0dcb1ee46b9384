"""The inner loops: the plain ones against what others compute, the others against the plain ones."""

import contextlib
import io
import random
import subprocess
from array import array
from math import isqrt
from pathlib import Path
from typing import Any

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

import rfprobe_core
from rfprobe.errors import EnvironmentProblem
from rfprobe.sim.runtimes import micropython_path
from rfprobe_core import kernels, kernels_cpython, kernels_plain
from rfprobe_core.protocol import CRC_START

FIRMWARE = Path(str(rfprobe_core.__file__)).parent.parent
BOTH = pytest.mark.parametrize("made", [kernels_plain, kernels_cpython], ids=["plain", "cpython"])
LARGEST = (1 << 30) - 1


@BOTH
def test_crc_has_its_check_value(made: object) -> None:
    """CRC-16/CCITT-FALSE of the digits 1 to 9."""
    assert made.crc16(b"123456789", 9, CRC_START) == 0x29B1  # type: ignore[attr-defined]


@given(st.binary(max_size=250), st.integers(0, 250))
def test_crc_is_of_the_first_bytes_only_and_can_go_byte_by_byte(data: bytes, count: int) -> None:
    count = min(count, len(data))
    crc = CRC_START
    for byte in data[:count]:
        crc = kernels_plain.crc16_byte(crc, byte)
    assert crc == kernels_plain.crc16(data, count, CRC_START) == kernels_cpython.crc16(data, count, CRC_START)


@BOTH
@given(st.binary(min_size=1, max_size=254), st.binary(max_size=2))
def test_cobs_is_what_another_implementation_makes(made: Any, data: bytes, behind: bytes) -> None:
    target = bytearray(len(data) + 2)
    written = made.cobs_encode(bytearray(data + behind), len(data), target)
    assert bytes(target[:written]) == cobs.encode(data) + b"\0"
    assert written == len(data) + 2


@given(st.integers(0, LARGEST) | st.integers(0, 32_767).map(lambda root: root * root))
def test_root_is_exact(value: int) -> None:
    assert kernels.isqrt(value) == isqrt(value)
    assert kernels.isqrt(max(value - 1, 0)) == isqrt(max(value - 1, 0))


entry = st.integers(0, LARGEST)
limit_rows = st.lists(
    st.tuples(entry, entry, entry, st.integers(0, 3), st.integers(1, 5), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


@given(limit_rows, st.integers(0, 12), st.integers(0, 12), st.sampled_from((1, 2)))
def test_rows_are_judged_alike(rows: list[tuple[int, ...]], start: int, stop: int, phase: int) -> None:
    start, stop = min(start, len(rows)), min(stop, len(rows))
    tables = [array("i", [row[section] for section in range(6) for row in rows]) for _ in range(2)]
    answers = [
        made.judge_rows(each, len(rows), start, stop, phase)
        for made, each in zip((kernels_plain, kernels_cpython), tables, strict=True)
    ]
    assert answers[0] == answers[1]
    assert tables[0] == tables[1]


@given(st.binary(max_size=30), st.binary(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_the_same_bytes_are_the_same(one: bytes, other: bytes, start: int, stop: int) -> None:
    stop = min(stop, len(one), len(other))
    assert kernels.same_bytes(one, other, start, stop) == (one[start:stop] == other[start:stop])


ticks = st.integers(0, LARGEST)


@BOTH
@given(st.lists(ticks | st.just(-1), max_size=4), ticks, st.integers(0, 100_000))
def test_ages_are_of_a_wrapping_counter_and_stop_at_the_oldest(
    made: Any, fresh: list[int], tick: int, oldest: int
) -> None:
    table = array("i", [7] * 6)
    made.write_ages(table, 1, array("i", fresh), len(fresh), tick, oldest)
    ages = [oldest if each < 0 else min((tick - each) % (1 << 30), oldest) for each in fresh]
    assert list(table) == [7, *[(1 << 29) + 10 * age for age in ages], *[7] * (5 - len(ages))]


def test_each_interpreter_takes_its_own() -> None:
    assert kernels.EMITTER == "cpython"
    assert in_the_vm("from rfprobe_core.kernels import EMITTER\nprint(EMITTER)") == "viper"


def in_the_vm(program: str) -> str:
    """What `program` prints in MicroPython's VM."""
    try:
        vm = micropython_path()
    except EnvironmentProblem as problem:
        pytest.skip(f"needs the MicroPython VM: {problem}")
    environment = {"MICROPYPATH": str(FIRMWARE)}
    command = [vm, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


COMPARISON = """
from array import array
from rfprobe_core import kernels_plain as plain, kernels_viper as viper
for data in {datas}:
    count = len(data)
    assert viper.crc16(data, count, 0xFFFF) == plain.crc16(data, count, 0xFFFF), data
    made = [bytearray(count + 2), bytearray(count + 2)]
    assert viper.cobs_encode(data, count, made[0]) == plain.cobs_encode(data, count, made[1]) == count + 2
    assert made[0] == made[1], data
    print(plain.crc16(data, count, 0xFFFF), made[0].hex())
for rows in {tables}:
    size = len(rows) // 6
    tables = [array("i", rows), array("i", rows)]
    answers = []
    for start, stop in ((0, size), (1, size - 1)):
        answers.append([k.judge_rows(t, size, start, stop, 2) for k, t in zip((plain, viper), tables)])
    assert answers[0][0] == answers[0][1] and answers[1][0] == answers[1][1], rows
    assert tables[0] == tables[1], rows
    print(answers[0][0], answers[1][0], list(tables[0]))
for value in {values}:
    assert viper.isqrt(value) == plain.isqrt(value), value
    print(plain.isqrt(value))
for volts, amps in {readings}:
    assert viper.power_mW(volts, amps) == plain.power_mW(volts, amps), (volts, amps)
    assert viper.impedance_mohm(volts, amps) == plain.impedance_mohm(volts, amps), (volts, amps)
    print(plain.power_mW(volts, amps), plain.impedance_mohm(volts, amps))
for fresh, tick, oldest in {ages}:
    tables = [array("i", range(6)), array("i", range(6))]
    for made, table in zip((plain, viper), tables):
        made.write_ages(table, 1, array("i", fresh), len(fresh), tick, oldest)
    assert tables[0] == tables[1], (fresh, tick, oldest)
    print(list(tables[0]))
for one, other in zip({datas}, {datas}[1:]):
    for start in (0, 2):
        stop = min(len(one), len(other))
        alike = [bool(made.same_bytes(one, other, start, stop)) for made in (plain, viper)]
        assert alike[0] == alike[1] == (one[start:stop] == other[start:stop])
        assert plain.same_bytes(one, one, start, stop) and viper.same_bytes(one, one, start, stop)
"""


def _datas(chance: random.Random) -> list[bytes]:
    usual = [bytes(chance.choices((0, 0, 1, 255, chance.randrange(256)), k=count)) for count in range(1, 100)]
    return [*usual, bytes(240), b"\xff" * 240, bytes(range(1, 255))]


def _tables(chance: random.Random) -> list[list[int]]:
    """Tables of six sections, with values at and beside their limits and at both ends."""
    made = []
    for size in (4, 9):
        for _ in range(30):
            lows = [chance.choice((0, 1 << 29, LARGEST - 1)) for _ in range(size)]
            highs = [chance.choice((low, low + 1, LARGEST)) for low in lows]
            ends = [chance.choice((low - 1, low, high, high + 1)) for low, high in zip(lows, highs, strict=True)]
            values = [min(max(value, 0), LARGEST) for value in ends]
            phases = [chance.randrange(4) for _ in range(size)]
            needed = [chance.randrange(1, 4) for _ in range(size)]
            counted = [chance.randrange(4) for _ in range(size)]
            made.append(values + lows + highs + phases + needed + counted)
    return made


def _numbers(chance: random.Random) -> dict[str, list[Any]]:
    """Arguments of the loops over numbers, at the ends of their ranges and within."""
    volts = [0, 15, 16, 500_000, *(chance.randrange(500_001) for _ in range(40))]
    amps = [100, 127, 128, (1 << 22) - 1, *(chance.randrange(100, 1 << 22) for _ in range(40))]
    roots = [chance.randrange(32_768) for _ in range(40)]
    fresh = [[-1, 0, LARGEST, 5], [LARGEST - 3, -1], [chance.randrange(LARGEST) for _ in range(4)], []]
    return {
        "values": [0, 1, 2, LARGEST, *(root * root for root in roots), *(root * root + 2 * root for root in roots)],
        "readings": [(v, a) for v in volts for a in amps[:6]] + list(zip(volts, amps, strict=True)),
        "ages": [(each, tick, 100_000) for each in fresh for tick in (0, 3, LARGEST, 1 << 29)],
    }


def _expected_numbers(numbers: dict[str, list[Any]]) -> list[str]:
    lines = [str(isqrt(value)) for value in numbers["values"]]
    lines += [f"{kernels_plain.power_mW(*each)} {kernels_plain.impedance_mohm(*each)}" for each in numbers["readings"]]
    for fresh, tick, oldest in numbers["ages"]:
        table = array("i", range(6))
        kernels_plain.write_ages(table, 1, array("i", fresh), len(fresh), tick, oldest)
        lines.append(str(list(table)))
    return lines


def test_viper_and_plain_agree_on_micropython_and_with_cpython() -> None:
    chance = random.Random(3)
    datas, tables, numbers = _datas(chance), _tables(chance), _numbers(chance)
    expected = []
    for data in datas:
        target = bytearray(len(data) + 2)
        kernels_plain.cobs_encode(data, len(data), target)
        expected.append(f"{kernels_plain.crc16(data, len(data), CRC_START)} {target.hex()}")
    for rows in tables:
        size = len(rows) // 6
        judged = array("i", rows)
        answers = [kernels_plain.judge_rows(judged, size, *ends, 2) for ends in ((0, size), (1, size - 1))]
        expected.append(f"{answers[0]} {answers[1]} {list(judged)}")
    expected += _expected_numbers(numbers)
    assert in_the_vm(COMPARISON.format(datas=datas, tables=tables, **numbers)).splitlines() == expected


ARITHMETIC = """
from array import array
from rfprobe_core import {kernels} as k
for start, steps in {runs}:
    state = array("i", start)
    for volts, amps, ticks, limit, demand in steps:
        k.measure_power(state, volts, amps, ticks, limit)
        print(k.power_mW(volts, amps), k.impedance_mohm(volts, amps + 100), k.isqrt(volts * 1000 + amps))
        print(k.drive_fraction(state, demand), list(state))
for points, period, values in {windows}:
    window = array("i", [points, 0, 0, 1 << 28] + [0] * points)
    for value in values:
        k.push_slope(window, value)
        print(k.slope_mC_per_s(window, period))
for fresh, tick in {ages}:
    table = array("i", [7] * 6)
    k.write_ages(table, 1, array("i", fresh), 4, tick, 100_000)
    print(list(table))
ring = bytearray(96)
for record, power, table, numbers, poll, tip in {records}:
    k.write_record(ring, record, array("i", power), array("i", table), *numbers)
    if poll:
        k.write_poll(ring, record, *poll)
    if tip:
        k.write_tip(ring, record, array("i", tip[0]), *tip[1:])
    print(ring.hex())
for one, other in {pairs}:
    print(bool(k.same_bytes(one, other, 1, 4)))
"""


def _states(chance: random.Random) -> list[tuple[list[int], list[tuple[int, ...]]]]:
    """States of the power loop (see power.py) at their ends, and steps of volts, amperes, ticks, limit, demand."""
    made = []
    for _ in range(40):
        state = [0] * 5 + [chance.choice((1_024, 4_096, 8_192)), 0, 999, 0, chance.choice((0, 999, 1_000))]
        state += [chance.choice((0, 5_000)), chance.choice((5_000, 2_200_000, 500_000_000)), 0]
        state += [chance.choice((100, 8_000, 32_000)), chance.choice((100, 5_000, 1_000_000))]
        state += [chance.choice((100, 32_000)), chance.choice((10, 3_000)), 16_384, chance.choice((0, 9, 14))]
        steps = [
            (
                chance.choice((0, 1_999, 31_000, 500_000)),
                chance.choice((0, 4_999, 150_000, (1 << 22) - 1)),
                chance.choice((1, 100)),
                chance.choice((100, 500_000_000)),
                chance.choice((0, 3, 4_000, 50_000)),
            )
            for _ in range(12)
        ]
        made.append((state, steps))
    return made


def _records(chance: random.Random) -> list[tuple[Any, ...]]:
    """Arguments of the black box's loops, at and beyond what its words hold."""
    made = []
    for _ in range(60):
        power = [chance.choice((0, 31_009, 655_349, 655_350, 5_000_000)) for _ in range(4)]
        power += [chance.randrange(2), chance.choice((1_024, 4_096, 8_192))]
        table = [(1 << 29) + chance.choice((0, 1, 3, 7, 8, 1_000, 1_000_000)) for _ in range(6)]
        numbers = [chance.choice((0, 65_535, 65_536, LARGEST)), chance.randrange(10), chance.randrange(10)]
        numbers += [chance.choice((1, 100)), chance.choice((0, 65_536, 1_000_000)), chance.randrange(2)]
        numbers += [chance.choice((0, 65_535)), chance.choice((0, 50_000)), chance.choice((-100_000, 0, 7, 500_000))]
        millis = (-100_000, -32_769, -1, 0, 32_768, 300_000)
        poll = [chance.randrange(4), chance.randrange(9), chance.choice(millis), chance.choice(millis)]
        tip = [[(1 << 29) + chance.choice(millis) for _ in range(4)], *chance.sample(range(4), 3)]
        seen = chance.choice(([poll, []], [[], tip], [[], []]))
        made.append((chance.randrange(3), power, table, numbers, *seen))
    return made


def test_arithmetic_is_the_same_everywhere() -> None:
    """All kernels of sums and products, on MicroPython both as plain Python and as viper, and here."""
    chance = random.Random(5)
    cases = {
        "runs": _states(chance),
        "windows": [
            (points, period, [chance.choice((-100_000, 300_000, 37_000 + at)) for at in range(40)])
            for points in (8, 15)
            for period in (10, 100, 250)
        ],
        "ages": [([-1, 0, tick, max(tick - 120, 0)], tick) for tick in (0, 1, 99_999, 100_001, (1 << 30) - 1)],
        "records": _records(chance),
        "pairs": [
            (b"abcde", b"abcde"),
            (b"xbcdx", b"abcde"),
            (b"abcxe", b"abcde"),
            (b"\xff\x80\0\1\2", b"\0\x80\0\1\3"),
        ],
    }
    viper = in_the_vm(ARITHMETIC.format(kernels="kernels_viper", **cases))
    assert len(viper.splitlines()) > 1_000
    assert viper == in_the_vm(ARITHMETIC.format(kernels="kernels_plain", **cases))
    assert viper == here(ARITHMETIC.format(kernels="kernels_cpython", **cases))


def here(program: str) -> str:
    """What `program` prints in this interpreter."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(program, {})
    return said.getvalue().strip()
