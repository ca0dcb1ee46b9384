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


def test_a_new_sequence_is_in_its_self_test_and_has_done_nothing() -> None:
    made = Sequence()
    told = (made.state, made.previous, made.changed, made.result, made.cause)
    assert told == (p.SELF_TEST, p.SELF_TEST, True, p.RESULT_NONE, 0)
    assert (made.rf_on_ticks, made.left_ticks, made.probe_check_ticks) == (0, SELF_TEST_TICKS, 0)
    made.hold()
    assert made.left_ticks == 0
    made.finish(p.RESULT_COMPLETED, p.CAUSE["hold_complete"])
    assert made.left_ticks == 0


def test_before_it_is_configured_any_run_is_over_at_once() -> None:
    made = Sequence()
    made.start()
    assert made.advance(0, 0) == p.CAUSE["energy_ceiling"]
    made._max_energy_mJ = 1
    assert made.advance(0, 0) == p.CAUSE["rf_on_time_ceiling"]
    made.rest()
    assert made.advance(0, 0) == p.CAUSE["hold_complete"]


def test_the_times_are_those_of_the_standard() -> None:
    assert (SELF_TEST_TICKS, ARM_TICKS, PROBE_CHECK_TICKS) == (20, 3_000, 50)


def test_starting_forgets_how_the_last_run_ended_and_checks_the_probe() -> None:
    made = sequence(p.RAMP)
    made.advance(30, 0)
    made.finish(p.RESULT_FAULT, 7)
    assert (made.state, made.previous, made.changed, made.result, made.cause) == (p.FAULT, p.RAMP, True, 5, 7)
    made.changed = False
    made.start()
    assert (made.state, made.previous, made.changed, made.result, made.cause) == (p.RAMP, p.FAULT, True, 0, 0)
    assert (made.rf_on_ticks, made.left_ticks, made.probe_check_ticks) == (0, 0, PROBE_CHECK_TICKS)


def test_what_an_acknowledge_leaves() -> None:
    made = sequence(p.COOLDOWN)
    made.acknowledge()
    assert (made.state, made.result, made.cause, made.left_ticks) == (p.IDLE, p.RESULT_NONE, 0, 0)


def test_settling_leaves_the_verdict() -> None:
    made = sequence(p.COOLDOWN)
    made.settle()
    assert (made.state, made.result, made.left_ticks) == (p.DONE, p.RESULT_COMPLETED, 0)


def test_the_probe_check_counts_down_to_nothing_and_no_further() -> None:
    made = sequence(p.RAMP)
    left = []
    for ticks in (1, 40, 8, 5, 1):
        made.advance(ticks, 0)
        left.append(made.probe_check_ticks)
    assert left == [49, 9, 1, 0, 0]


def test_each_ceiling_is_reached_at_its_number() -> None:
    made = sequence(p.RAMP)
    assert made.advance(1, MOST_mJ - 1) == 0
    assert made.advance(1, MOST_mJ) == p.CAUSE["energy_ceiling"]
    made = sequence(p.RAMP)
    assert made.advance(MOST_TICKS - 1, 0) == 0
    assert made.rf_on_ticks == MOST_TICKS - 1
    assert made.advance(1, 0) == p.CAUSE["rf_on_time_ceiling"]


def test_a_hold_counts_only_near_the_target_and_ends_at_nothing_left() -> None:
    made = sequence(p.HOLD)
    assert made.left_ticks == HOLD_TICKS
    assert made.advance(10, 0, False) == 0
    assert (made.left_ticks, made.rf_on_ticks) == (HOLD_TICKS, 10)
    assert made.advance(HOLD_TICKS - 1, 0) == 0
    assert made.left_ticks == 1
    assert made.advance(1, 0) == p.CAUSE["hold_complete"]
    assert made.left_ticks == 0
    made = sequence(p.HOLD)
    assert (made.advance(HOLD_TICKS + 7, 0), made.left_ticks) == (p.CAUSE["hold_complete"], 0)
    made = sequence(p.RAMP)
    made.left_ticks = 5
    assert (made.advance(5, 0), made.left_ticks) == (0, 5)  # a ramp has no time of its own


@pytest.mark.parametrize("state", [p.ARMED, p.COOLDOWN])
def test_a_state_that_passes_counts_its_ticks(state: int) -> None:
    made = sequence(state)
    made.left_ticks = 10
    assert (made.advance(4, 0), made.left_ticks, made.state) == (0, 6, state)
    assert (made.advance(5, 0), made.left_ticks, made.state) == (0, 1, state)
    made.advance(1, 0)
    assert (made.left_ticks, made.state != state) == (0, True)


def test_with_rf_off_the_tissue_is_watched_in_these_states() -> None:
    assert [state for state in STATES if sequence(state).watched_off()] == [p.ARMED, p.REST, p.COOLDOWN]


def test_time_that_is_over_is_none_left() -> None:
    made = sequence(p.FAULT)
    made.left_ticks = 3
    assert (made.advance(5, 0), made.left_ticks, made.state) == (0, 0, p.FAULT)


# RF rests, and comes again


def test_a_rest_within_the_hold_keeps_its_time_and_one_out_of_the_ramp_begins_it() -> None:
    made = sequence(p.HOLD)
    made.advance(30, 0)
    made.changed = False
    made.rest()
    assert (made.state, made.previous, made.changed, made.left_ticks) == (p.REST, p.HOLD, True, HOLD_TICKS - 30)
    made = sequence(p.RAMP)
    made.rest()
    assert (made.state, made.previous, made.left_ticks) == (p.REST, p.RAMP, HOLD_TICKS)


def test_the_time_of_the_hold_goes_on_while_rf_rests_and_its_other_ceilings_do_not() -> None:
    made = sequence(p.HOLD)
    made.rest()
    assert made.advance(HOLD_TICKS - 1, MOST_mJ) == 0
    assert (made.left_ticks, made.rf_on_ticks, made.state) == (1, 0, p.REST)
    assert made.advance(1, 0) == p.CAUSE["hold_complete"]


def test_after_a_rest_the_hold_goes_on() -> None:
    made = sequence(p.HOLD)
    made.rest()
    made.advance(40, 0)
    made.changed = False
    made.resume()
    assert (made.state, made.previous, made.changed, made.left_ticks) == (p.HOLD, p.REST, True, HOLD_TICKS - 40)


def test_bursts_come_and_go_within_the_hold_untold() -> None:
    made = sequence(p.HOLD)
    made.changed = False
    told = []
    for on in (False, True, False):
        made.burst(on)
        told.append((made.state, made.energised(), made.between_bursts, made.heats(), made.under_way()))
    off, on_again = (p.REST, False, True, True, True), (p.HOLD, True, False, True, True)
    assert told == [off, on_again, off]
    assert (made.changed, made.previous, made.left_ticks) == (False, p.RAMP, HOLD_TICKS)


@pytest.mark.parametrize("end", ["finish", "rest"])
def test_after_the_bursts_nothing_heats(end: str) -> None:
    made = sequence(p.HOLD)
    assert not Sequence().heats()
    assert made.heats()
    made.burst(False)
    made.finish(p.RESULT_STOPPED, 1) if end == "finish" else made.rest()
    assert not made.between_bursts
    assert not made.heats()


def test_the_end_of_the_hold_is_what_the_plan_has_it_for() -> None:
    made = Sequence()
    made.configure(HOLD_TICKS * 10, 0, MOST_TICKS * 10, MOST_mJ, p.CAUSE["end_point_missed"])
    made.start()
    made.hold()
    assert made.advance(HOLD_TICKS, 0) == p.CAUSE["end_point_missed"]
    made.rest()
    assert made.advance(HOLD_TICKS, 0) == p.CAUSE["end_point_missed"]


def test_from_start_to_end_a_run_is_under_way() -> None:
    assert [state for state in STATES if sequence(state).under_way()] == [p.RAMP, p.HOLD, p.REST]
