"""The inner loops: the plain ones against what others compute, the others against the plain ones."""

import random
import subprocess
from array import array
from math import isqrt
from pathlib import Path

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


@given(st.binary(min_size=1, max_size=254))
def test_cobs_is_what_another_implementation_makes(data: bytes) -> None:
    target = bytearray(len(data) + 2)
    written = kernels_plain.cobs_encode(data, len(data), target)
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
            ends = [
                chance.choice((low - 1, low, high, high + 1)) for low, high in zip(lows, highs, strict=True)
            ]
            values = [min(max(value, 0), LARGEST) for value in ends]
            phases = [chance.randrange(4) for _ in range(size)]
            needed = [chance.randrange(1, 4) for _ in range(size)]
            counted = [chance.randrange(4) for _ in range(size)]
            made.append(values + lows + highs + phases + needed + counted)
    return made


def test_viper_and_plain_agree_on_micropython_and_with_cpython() -> None:
    chance = random.Random(3)
    datas, tables = _datas(chance), _tables(chance)
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
    assert in_the_vm(COMPARISON.format(datas=datas, tables=tables)).splitlines() == expected
