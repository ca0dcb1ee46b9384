"""The state machine: what follows what, and how a run ends."""

import pytest

from rfprobe_core import protocol as p
from rfprobe_core.sequence import ARM_TICKS, PROBE_CHECK_TICKS, SELF_TEST_TICKS, Sequence

HOLD_TICKS, COOLDOWN_TICKS, MOST_TICKS, MOST_mJ = 100, 50, 1_000, 10_000
STATES = range(len(p.STATE_NAMES))


def sequence(state: int = p.IDLE, hold_ms: int = HOLD_TICKS * 10) -> Sequence:
    made = Sequence()
    made.configure(hold_ms, COOLDOWN_TICKS * 10, MOST_TICKS * 10, MOST_mJ)
    if state in (p.RAMP, p.HOLD):
        made.start()
    if state == p.HOLD:
        made.hold()
    elif state == p.ARMED:
        made.arm()
    elif state == p.COOLDOWN:
        made.finish(p.RESULT_COMPLETED, p.CAUSE["hold_complete"])
    else:
        made.state = state
    return made


def ticks_until_change(made: Sequence, most: int = 5_000) -> int:
    state = made.state
    for ticks in range(1, most):
        if made.advance(1, 0) or made.state != state:
            return ticks
    return most


@pytest.mark.parametrize(
    ("state", "ticks", "following"),
    [
        (p.ARMED, ARM_TICKS, p.IDLE),
        (p.COOLDOWN, COOLDOWN_TICKS, p.DONE),
    ],
)
def test_some_states_end_by_themselves(state: int, ticks: int, following: int) -> None:
    made = sequence(state)
    assert ticks_until_change(made) == ticks
    assert made.state == following


def test_self_test_ends_in_idle() -> None:
    made = Sequence()
    assert (made.state, ticks_until_change(made), made.state) == (p.SELF_TEST, SELF_TEST_TICKS, p.IDLE)


@pytest.mark.parametrize("state", [p.IDLE, p.DONE, p.STOPPED, p.FAULT])
def test_the_others_stay(state: int) -> None:
    assert ticks_until_change(sequence(state)) == 5_000


def test_nothing_is_energised_but_ramp_and_hold() -> None:
    assert [state for state in STATES if sequence(state).energised()] == [p.RAMP, p.HOLD]


def test_at_rest_no_run_is_armed_or_under_way() -> None:
    under_way = [state for state in STATES if not sequence(state).at_rest()]
    assert under_way == [p.ARMED, p.RAMP, p.HOLD, p.REST]


@pytest.mark.parametrize(
    ("result", "following"),
    [
        (p.RESULT_COMPLETED, p.COOLDOWN),
        (p.RESULT_LIMITED, p.COOLDOWN),
        (p.RESULT_STOPPED, p.STOPPED),
        (p.RESULT_LINK_LOST, p.FAULT),
        (p.RESULT_FAULT, p.FAULT),
    ],
)
@pytest.mark.parametrize("state", [p.ARMED, p.RAMP, p.HOLD, p.COOLDOWN])
def test_a_result_decides_where_a_run_ends(state: int, result: int, following: int) -> None:
    made = sequence(state)
    made.finish(result, 7)
    assert (made.state, made.result, made.cause, made.previous) == (following, result, 7, state)
    assert not made.energised()


@pytest.mark.parametrize(
    ("state", "ticks", "energy_mJ", "cause"),
    [
        (p.HOLD, HOLD_TICKS, 0, "hold_complete"),
        (p.RAMP, MOST_TICKS, 0, "rf_on_time_ceiling"),
        (p.RAMP, 1, MOST_mJ, "energy_ceiling"),
        (p.HOLD, 1, MOST_mJ, "energy_ceiling"),
    ],
)
def test_what_ends_heat_by_itself(state: int, ticks: int, energy_mJ: int, cause: str) -> None:
    made = sequence(state)
    causes = [made.advance(1, energy_mJ) for _ in range(ticks)]
    assert causes == [0] * (ticks - 1) + [p.CAUSE[cause]]


def test_a_hold_that_outlasts_the_ceiling_is_not_completed() -> None:
    made = sequence(p.HOLD, hold_ms=MOST_TICKS * 10 + 10)
    assert [made.advance(1, 0) for _ in range(MOST_TICKS)][-1] == p.CAUSE["rf_on_time_ceiling"]


def test_no_hold_is_complete_at_once() -> None:
    assert sequence(p.HOLD, hold_ms=0).advance(1, 0) == p.CAUSE["hold_complete"]


def test_missed_ticks_count() -> None:
    made = sequence(p.HOLD)
    assert made.advance(HOLD_TICKS - 1, 0) == 0
    assert made.advance(100, 0) == p.CAUSE["hold_complete"]


def test_the_probe_check_comes_first_and_ends() -> None:
    made = sequence(p.RAMP)
    assert made.probe_check_ticks == PROBE_CHECK_TICKS
    made.advance(PROBE_CHECK_TICKS + 5, 0)
    assert made.probe_check_ticks == 0


def test_each_run_begins_with_a_clean_sheet() -> None:
    made = sequence(p.HOLD)
    made.advance(10, 0)
    made.finish(p.RESULT_FAULT, 9)
    made.acknowledge()
    assert (made.state, made.result, made.cause) == (p.IDLE, p.RESULT_NONE, 0)
    made.arm()
    made.start()
    assert (made.rf_on_ticks, made.result, made.cause) == (0, p.RESULT_NONE, 0)


def test_cutting_the_cooldown_short_keeps_the_verdict() -> None:
    made = sequence(p.COOLDOWN)
    made.settle()
    assert (made.state, made.result) == (p.DONE, p.RESULT_COMPLETED)
