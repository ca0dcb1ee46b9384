"""When a tick is due, wherever the microsecond counter stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.counting import MASK, add_up, wrap
from rfprobe_core.pacing import Pacer
from rfprobe_core.protocol import TICK_US

readings = st.integers(0, MASK)
starts = pytest.mark.parametrize("start_us", [0, MASK, MASK - TICK_US + 1, MASK - 3 * TICK_US, 1 << 29, 123_456])


def at(start_us: int, later_us: int) -> int:
    """The counter `later_us` after `start_us`."""
    return (start_us + later_us) & MASK


@given(readings, st.integers(-(1 << 29), (1 << 29) - 1))
def test_a_difference_is_right_across_the_wrap(start_us: int, ahead_us: int) -> None:
    due_us = at(start_us, TICK_US)
    assert Pacer(start_us).wait_us(at(due_us, -ahead_us)) == ahead_us
    assert Pacer(start_us).elapsed(at(due_us, ahead_us)) == (0 if ahead_us < 0 else ahead_us // TICK_US + 1)
    assert Pacer(start_us).since_us(start_us, at(start_us, abs(ahead_us))) == abs(ahead_us)


@given(readings, readings)
def test_a_counter_wraps_and_a_count_stops(counter: int, more: int) -> None:
    assert wrap(counter, more) == (counter + more) % (MASK + 1)
    assert add_up(counter, more) == min(counter + more, MASK)


@starts
def test_ticks_come_every_ten_milliseconds(start_us: int) -> None:
    pacer = Pacer(start_us)
    due = [later_us for later_us in range(0, 100_001, 100) if pacer.elapsed(at(start_us, later_us))]
    assert due == [10_000 * tick for tick in range(1, 11)]


@starts
def test_waiting_is_until_the_tick_is_due(start_us: int) -> None:
    pacer = Pacer(start_us)
    for later_us in (0, 1, 9_999, 10_000, 10_001, 60_000):
        assert pacer.wait_us(at(start_us, later_us)) == TICK_US - later_us


@starts
@pytest.mark.parametrize(("later_us", "ticks", "late_us"), [(9_999, 0, 0), (10_000, 1, 0), (19_999, 1, 9_999)])
def test_a_late_tick_is_one_tick(start_us: int, later_us: int, ticks: int, late_us: int) -> None:
    pacer = Pacer(start_us)
    assert (pacer.elapsed(at(start_us, later_us)), pacer.late_us) == (ticks, late_us)


@starts
def test_missed_ticks_are_skipped_not_caught_up(start_us: int) -> None:
    pacer = Pacer(start_us)
    assert pacer.elapsed(at(start_us, 345_678)) == 34
    assert pacer.elapsed(at(start_us, 345_679)) == 0
    assert pacer.elapsed(at(start_us, 349_999)) == 0
    assert pacer.elapsed(at(start_us, 350_000)) == 1


@given(readings, st.lists(st.integers(0, 200_000), max_size=40))
def test_never_a_burst_and_never_a_tick_lost(start_us: int, waits_us: list[int]) -> None:
    """However irregular the calls: ticks counted are ticks passed, and no call answers twice."""
    pacer, later_us, counted = Pacer(start_us), 0, 0
    for wait_us in waits_us:
        later_us += wait_us
        counted += pacer.elapsed(at(start_us, later_us))
        assert counted == later_us // TICK_US
        assert pacer.elapsed(at(start_us, later_us)) == 0
