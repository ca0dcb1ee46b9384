"""The guard's governor: half the ramp's rate for each degree that is left, and back when it is too warm."""

from collections.abc import Callable

import pytest

from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.governor import Governor
from rfprobe_core.plan import ROLE_BOUNDARY, ROLE_CONTROL, ROLE_GUARD
from rfprobe_core.setpoint import SetpointRamp
from tests.unit.scripted_board import Bench


def governed(*readings: tuple[int, int, int], used: bool = True) -> Governor:
    governor = Governor()
    governor.configure(used)
    for reading in readings:
        governor.take(*reading)
    return governor


@pytest.mark.parametrize(
    ("ahead_mC", "permille"),
    [
        (20_000, 1_000),
        (40_000, 1_000),
        (41_000, 500),
        (42_000, 0),
        (43_000, -500),
        (48_000, -3_000),
        (90_000, -3_000),
    ],
)
def test_the_law(ahead_mC: int, permille: int) -> None:
    assert governed((1, ROLE_GUARD, ahead_mC)).permille == permille


@pytest.mark.parametrize("role", [ROLE_CONTROL, ROLE_BOUNDARY])
def test_only_a_guard_governs(role: int) -> None:
    assert governed((0, role, 60_000)).permille == 1_000


def test_the_warmest_of_two_guards_governs() -> None:
    assert governed((1, ROLE_GUARD, 43_000), (2, ROLE_GUARD, 30_000)).permille == -500
    assert governed((1, ROLE_GUARD, 43_000), (2, ROLE_GUARD, 30_000), (1, ROLE_GUARD, 30_000)).permille == 1_000


def test_a_governor_that_is_off_does_nothing() -> None:
    governor = governed((1, ROLE_GUARD, 60_000), used=False)
    assert (governor.permille, governor.held_back) == (1_000, False)


def test_it_remembers_that_it_held_the_run_back_until_the_next_run() -> None:
    governor = governed((1, ROLE_GUARD, 41_001), (1, ROLE_GUARD, 30_000))
    assert (governor.permille, governor.held_back) == (1_000, True)
    assert not governed((1, ROLE_GUARD, 41_000)).held_back
    governor.begin()
    assert (governor.permille, governor.held_back) == (1_000, False)


def test_the_set_point_goes_back_as_fast_as_it_is_told_and_not_below_freezing() -> None:
    ramp = SetpointRamp()
    ramp.begin(40_000, 50_000, 1_000)
    ramp.advance(100, -3_000)
    assert (ramp.value_mC, ramp.rate_mC_per_s) == (37_000, -3_000)
    ramp.advance(100, 500)
    assert (ramp.value_mC, ramp.rate_mC_per_s) == (37_500, 500)
    for _ in range(20):
        ramp.advance(100, -3_000)
    assert (ramp.value_mC, ramp.rate_mC_per_s) == (0, 0)


def test_at_the_target_it_stays_unless_it_is_taken_back() -> None:
    ramp = SetpointRamp()
    ramp.begin(50_000, 50_000, 1_000)
    ramp.advance(10, 0)
    assert ramp.at_target()
    ramp.advance(10, -1_000)
    assert (ramp.at_target(), ramp.value_mC) == (False, 49_900)


def warmed(guard_C: float, **changes: int) -> Bench:
    """A run of 36 s whose guard has come to `guard_C` slowly and stays there."""
    bench = Bench({"max_rf_on_ms": 60_000, "max_power_mW": 200} | changes).in_state(p.RAMP)
    for step in range(300):
        bench.board.chips[1].show(min(37.0 + step * 0.02, guard_C), 25.0 + step % 2 / 64)
        bench.board.chips[0].show(min(37.0 + step * 0.02, guard_C), 25.0 + step % 2 / 64)
        bench.take_lease()
        bench.tick(12)
    return bench


def test_the_controller_slows_its_set_point_for_the_guard() -> None:
    free, slowed = warmed(37.0), warmed(41.5)
    assert free.controller.setpoint_mC() == 50_000
    assert slowed.controller.governor.permille == pytest.approx(250, abs=60)


def test_a_run_that_the_guard_held_back_until_its_time_was_over_says_so() -> None:
    assert p.CAUSES[warmed(42.0, max_rf_on_ms=34_000).controller.sequence.cause] == "guard_limited"
    assert p.CAUSES[warmed(37.0, max_rf_on_ms=34_000).controller.sequence.cause] == "rf_on_time_ceiling"


def test_the_goal_is_below_every_trip_of_the_guard() -> None:
    from rfprobe_core.governor import GOAL_MC

    assert plan.PARAMETERS[plan.INDEX["guard_trip_mC"]][4] > GOAL_MC


def test_a_new_governor_governs_and_has_held_nothing_back() -> None:
    governor = Governor()
    assert (governor.permille, governor.held_back) == (1_000, False)
    governor.take(1, ROLE_GUARD, 43_000)
    assert (governor.permille, governor.held_back) == (-500, True)


@pytest.mark.parametrize("anew", [Governor.begin, lambda governor: governor.configure(True)])
def test_a_new_run_forgets_every_guard_of_the_last_one(anew: Callable[[Governor], None]) -> None:
    governor = governed((1, ROLE_GUARD, 43_000), (3, ROLE_GUARD, 44_000))
    anew(governor)
    assert (governor.permille, governor.held_back) == (1_000, False)
    governor.take(2, ROLE_GUARD, 30_000)
    assert (governor.permille, governor.held_back) == (1_000, False)
