"""The modes on a scripted board: what power they ask for, what time counts, and what ends them."""

from typing import Any

import pytest

from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.modes import LEAD_MC
from rfprobe_core.sequence import PROBE_CHECK_TICKS
from tests.unit.scripted_board import Bench

BOUNDARY = {"thermocouples": 3, "tc2_role": plan.ROLE_BOUNDARY}
BY_DOSE = BOUNDARY | {"end_by": plan.END_DOSE, "boundary_dose_ms": 60_000}
BY_BOUNDARY = BOUNDARY | {"end_by": plan.END_BOUNDARY, "boundary_end_mC": 45_000}
POWER: dict[str, int] = {"hold_ms": 60_000, "mode": plan.MODE_POWER, "power_mW": 4_000, "target_mC": 60_000}
POLL_TICKS = 12


def under_way(changes: dict[str, int], state: int) -> Bench:
    """A bench whose every place has been read several times, in `state`."""
    bench = Bench(changes)
    assert bench.controller.configure() >= 0
    leased(bench, 5 * POLL_TICKS)
    bench.drive_to(state)
    return bench


def leased(bench: Bench, ticks: int) -> None:
    for _ in range(ticks):
        bench.take_lease()
        bench.tick()


def ended(bench: Bench) -> tuple[str, str]:
    sequence: Any = bench.controller.sequence
    return p.RESULT_NAMES[sequence.result], p.CAUSES[sequence.cause]


# What a run is for


def test_the_dose_at_the_boundary_completes_a_run() -> None:
    bench = under_way(BY_DOSE, p.RAMP)
    leased(bench, PROBE_CHECK_TICKS)
    bench.controller.thermocouples[2].dose.total_ms = 59_999
    leased(bench, 2 * POLL_TICKS)
    assert ended(bench) == ("none", "none")
    bench.controller.thermocouples[2].dose.total_ms = 60_000
    leased(bench, POLL_TICKS)
    assert ended(bench) == ("completed", "dose_reached")


def test_every_boundary_has_to_be_there() -> None:
    two = BY_DOSE | {"thermocouples": 4, "tc3_role": plan.ROLE_BOUNDARY}
    bench = under_way(two, p.RAMP)
    leased(bench, PROBE_CHECK_TICKS)
    bench.controller.thermocouples[2].dose.total_ms = 60_000
    leased(bench, 2 * POLL_TICKS)
    assert ended(bench) == ("none", "none")


@pytest.mark.parametrize("place", [0, 1])
def test_the_dose_of_another_place_completes_nothing(place: int) -> None:
    bench = under_way(BY_DOSE, p.RAMP)
    bench.controller.thermocouples[place].dose.total_ms = 60_000
    leased(bench, PROBE_CHECK_TICKS + 2 * POLL_TICKS)
    assert ended(bench) == ("none", "none")


def test_the_boundary_has_to_be_hot_for_three_samples() -> None:
    bench = under_way(BY_BOUNDARY, p.RAMP)
    bench.board.chips[0].show(41.8)  # or the boundary would be hotter than the tip
    bench.board.chips[2].show(41.0)
    leased(bench, PROBE_CHECK_TICKS + POLL_TICKS)
    for chip, reading_C in ((0, 46.0), (2, 45.5)):
        bench.board.chips[chip].show(reading_C)
    leased(bench, 2 * POLL_TICKS)
    assert ended(bench) == ("none", "none")
    leased(bench, 2 * POLL_TICKS)
    assert ended(bench) == ("completed", "boundary_reached")


@pytest.mark.parametrize("changes", [BY_DOSE, BY_BOUNDARY])
def test_the_hold_is_the_ceiling_of_a_run_that_ends_by_the_boundary(changes: dict[str, int]) -> None:
    bench = under_way(changes | {"target_mC": 38_000, "hold_ms": 500}, p.HOLD)
    leased(bench, PROBE_CHECK_TICKS + 100)
    assert ended(bench) == ("limited", "end_point_missed")


def test_a_ceiling_in_time_is_the_guards_where_it_held_the_run_back() -> None:
    bench = under_way(BY_DOSE | {"target_mC": 38_000, "hold_ms": 500}, p.HOLD)
    bench.controller.governor.held_back = True
    leased(bench, PROBE_CHECK_TICKS + 100)
    assert ended(bench) == ("limited", "guard_limited")


# Power


def test_all_the_power_and_no_more_is_asked_for_below_the_ceiling() -> None:
    bench = under_way(POWER, p.RAMP)
    leased(bench, 700)
    assert (bench.state, bench.controller.demand_mW) == (p.HOLD, 4_000)
    assert bench.controller.power.power_mW == pytest.approx(4_000, rel=0.05)


def test_the_set_point_stays_near_the_tip_so_that_the_guard_finds_it() -> None:
    bench = under_way(POWER | {"ramp_mC_per_s": 5_000}, p.RAMP)
    leased(bench, 600)
    assert bench.controller.setpoint_mC() <= 37_000 + LEAD_MC + 600  # as far as the ramp moves between two samples


def test_at_the_ceiling_power_gives_way() -> None:
    bench = under_way(POWER | {"target_mC": 40_000, "ramp_mC_per_s": 5_000}, p.RAMP)
    leased(bench, PROBE_CHECK_TICKS + 100)
    bench.board.chips[0].show(41.0)
    leased(bench, 100)
    assert bench.controller.demand_mW < 1_000


def test_time_in_which_the_guard_holds_power_back_does_not_count() -> None:
    bench = under_way(POWER | {"hold_ms": 30_000}, p.RAMP)
    leased(bench, 700)
    assert bench.state == p.HOLD
    bench.board.chips[1].show(41.9)
    leased(bench, 20)
    bench.board.chips[1].show(42.5)  # the governor takes the set-point back
    leased(bench, 300)
    left = bench.controller.sequence.left_ticks
    leased(bench, 100)
    assert bench.controller.demand_mW < 4_000
    assert bench.controller.sequence.left_ticks == left
