"""Host and VM share a core of their own, and give it back."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from rfprobe.sim.one_core import OneCore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux alone")


@pytest.fixture
def cores() -> Iterator[set[int]]:
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


def test_pairs_take_different_cores_and_give_them_back(cores: set[int]) -> None:
    count = len(cores) + 1
    all_hold, held = Barrier(count, timeout=20), list[int | None]()

    def pair() -> set[int]:
        one = OneCore()
        held.append(one.held)
        if one.held is not None:
            assert os.sched_getaffinity(0) == {one.held}
        all_hold.wait()
        one.release()
        return os.sched_getaffinity(0)

    with ThreadPoolExecutor(count) as threads:
        after = [future.result() for future in [threads.submit(pair) for _ in range(count)]]
    claimed = [core for core in held if core is not None]
    assert len(claimed) == len(set(claimed)), "no two pairs on one core"
    assert None in held, "with no core left, the scheduler decides"
    assert after == [cores] * count


def test_a_core_that_was_given_back_can_be_taken_again(cores: set[int]) -> None:
    first = OneCore()
    core = first.held
    first.release()
    assert first.held is None
    second = OneCore()
    assert second.held == core
    second.release()
    assert os.sched_getaffinity(0) == cores
