"""A device that is never switched off: minutes of it here, a day by `make soak`; and what the soak must find."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rfprobe.errors import EnvironmentProblem
from rfprobe.sim.runtimes import CPythonRuntime, micropython_path
from rfprobe_core import protocol
from tests.runtimes import soak
from tests.runtimes.loop import NONCE_SEED, UID

HOURS = float(os.environ.get("HOURS", "24"))
SHORT_H = 0.05


def problems(hours: float, heap: Path, leak: bool = False) -> tuple[list[str], list[str]]:
    """(what was wrong, what was not tried) in so many hours on the VM."""
    try:
        micropython_path()
    except EnvironmentProblem as problem:
        pytest.skip(f"needs the MicroPython VM: {problem}")
    seen = soak.soak(hours, 7, soak.vm(heap, leak))
    used = [int(line) for line in heap.read_text().split()]
    print(soak.words(seen, used))
    return soak.check(seen, used), soak.untried(seen)


def test_minutes_of_runs_leave_the_device_as_it_was(tmp_path: Path) -> None:
    assert problems(SHORT_H, tmp_path / "heap")[0] == []


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_a_day_of_runs_leaves_the_device_as_it_was(tmp_path: Path) -> None:
    assert problems(HOURS, tmp_path / "heap") == ([], [])


# What is planted is found.


def test_a_leak_is_found(tmp_path: Path) -> None:
    wrong, _ = problems(SHORT_H, tmp_path / "heap", leak=True)
    assert [each for each in wrong if each.startswith("the heap has grown")] == wrong != []


def with_hole(hole: Callable[[CPythonRuntime, bytearray], None]) -> None:
    """Some minutes in CPython, with `hole` done after each exchange."""
    device = CPythonRuntime(NONCE_SEED, UID, soak.START_US, soak.FIRST_TICK)
    exchange = device.exchange

    def spoiled(stimulus: bytes) -> bytearray:
        response: bytearray = exchange(stimulus)
        hole(device, response)
        return response

    device.exchange = spoiled
    seen = soak.soak(SHORT_H, 7, device)
    assert not soak.check(seen, [0])


def the_pin_is_high_where_it_is_told_low(_device: CPythonRuntime, response: bytearray) -> None:
    response[0] = 1


def a_tick_is_lost_in_the_wrap(device: CPythonRuntime, _response: bytearray) -> None:
    controller = device.device.controller
    if controller.tick_count == 3:
        controller.tick_count = 2


def a_counter_begins_anew(device: CPythonRuntime, _response: bytearray) -> None:
    controller = device.device.controller
    if controller.tick_count == 5_000:
        controller.reporter.frames_sent = 0


def the_state_is_false(device: CPythonRuntime, _response: bytearray) -> None:
    sequence = device.device.controller.sequence
    if sequence.state == protocol.HOLD:
        sequence.state = protocol.REST


HOLES = {
    hole.__name__: hole
    for hole in (
        the_pin_is_high_where_it_is_told_low,
        a_tick_is_lost_in_the_wrap,
        a_counter_begins_anew,
        the_state_is_false,
    )
}


@pytest.mark.parametrize("hole", HOLES)
def test_a_planted_hole_is_found(hole: str) -> None:
    with pytest.raises(AssertionError):
        with_hole(HOLES[hole])


def test_without_a_hole_nothing_is_found() -> None:
    with_hole(lambda _device, _response: None)
