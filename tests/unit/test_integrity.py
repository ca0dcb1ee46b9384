"""A bit that flips in the plan or in the limits is found, in less than two seconds, and nothing else is."""

from array import array

import pytest

from rfprobe_core import plan, safety
from rfprobe_core import protocol as p
from rfprobe_core.integrity import Integrity
from rfprobe_core.kernels import crc16, crc16_words
from rfprobe_core.protocol import CRC_START
from tests.unit.scripted_board import Bench, table

PERIOD_MS = 120  # at one slice a conversion, at 50 Hz mains
WITHIN_STEPS = 2_000 // PERIOD_MS


def taken() -> tuple[Integrity, "array[int]", "array[int]"]:
    values, limits = table({}), safety.LimitTable()
    limits.configure(values)
    made = Integrity()
    made.take(values, limits.table, safety.SIZE, 5 * safety.SIZE)
    return made, values, limits.table


def stepped(made: Integrity, steps: int = WITHIN_STEPS) -> int:
    for _ in range(steps):
        made.step()
    return made.broken


def test_words_are_their_bytes_the_lowest_first() -> None:
    words = array("i", [1, -2, 1 << 29, -(1 << 29)])
    assert crc16_words(words, 1, 4, CRC_START) == crc16(words.tobytes()[4:], 12, CRC_START)


def test_what_does_not_change_is_not_broken() -> None:
    assert stepped(taken()[0], 200) == 0


@pytest.mark.parametrize("index", range(len(plan.PARAMETERS)), ids=plan.NAMES)
@pytest.mark.parametrize("bit", [0, 12, 29])
def test_a_bit_of_the_values_is_missed(index: int, bit: int) -> None:
    made, values, _ = taken()
    made.step()
    values[index] ^= 1 << bit
    assert stepped(made, 2 * WITHIN_STEPS) == 1


@pytest.mark.parametrize("section", [1, 2, 3, 4], ids=["low", "high", "phases", "samples"])
@pytest.mark.parametrize("row", [0, safety.TIP_START - 1, safety.SIZE - 1])
def test_a_bit_of_the_limits_is_missed_within_two_seconds(section: int, row: int) -> None:
    made, _, words = taken()
    words[section * safety.SIZE + row] ^= 1 << 5
    assert stepped(made) == 1


@pytest.mark.parametrize("section", [0, 5], ids=["value", "counted"])
def test_what_the_table_is_worked_with_may_change(section: int) -> None:
    made, _, words = taken()
    words[section * safety.SIZE + 3] ^= 1
    assert stepped(made, 100) == 0


def test_configure_takes_the_values_anew() -> None:
    made, values, words = taken()
    values[0] ^= 1
    assert stepped(made) == 1
    made.take(values, words, safety.SIZE, 5 * safety.SIZE)
    assert stepped(made, 100) == 0


def test_a_run_ends_when_its_plan_changes_by_itself() -> None:
    bench = Bench().in_state(p.RAMP)
    bench.controller.values[plan.INDEX["max_temperature_mC"]] ^= 1 << 12
    for _ in range(WITHIN_STEPS):
        bench.take_lease()
        bench.tick(12)
    assert (bench.state, p.CAUSES[bench.controller.sequence.cause]) == (p.FAULT, "memory_corrupted")


def test_a_value_that_was_set_at_rest_is_no_corruption() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.controller.set_parameter(plan.INDEX["hold_ms"], 2_000)
    bench.controller.configure()
    bench.tick(60)
    bench.take_lease()
    bench.drive_to(p.RAMP)
    for _ in range(40):
        bench.take_lease()
        bench.tick(12)
    assert bench.state == p.RAMP
