"""The modes on a scripted board: what power they ask for, what time counts, and what ends them."""

from typing import Any

import pytest

from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.modes import LEAD_MC
from rfprobe_core.safety import ROW, ROWS
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


# Impedance

IMPEDANCE: dict[str, int] = {
    "mode": plan.MODE_IMPEDANCE,
    "power_mW": 4_000,
    "target_mC": 60_000,
    "hold_ms": 60_000,
    "rolloff_step_mohm": 30_000,
    "rest_ms": 2_000,
    "resume_permille": 500,
}
REST_TICKS = 200


def rolled_off(**changes: int) -> Bench:
    """A run that delivers into 100 Ω, and then finds them to be 140."""
    bench = under_way(IMPEDANCE | changes, p.RAMP)
    leased(bench, 700)
    assert (bench.state, bench.controller.demand_mW) == (p.HOLD, 4_000)
    bench.board.load_ohm = 140.0
    return bench


def resting(**changes: int) -> Bench:
    bench = rolled_off(**changes)
    leased(bench, 25)
    assert bench.state == p.REST
    return bench


def test_a_rise_of_the_impedance_by_the_step_is_a_roll_off_and_rf_rests() -> None:
    bench = resting()
    assert (bench.controller.mode.rolloffs, bench.board.enabled, bench.board.duty) == (1, False, 0)
    assert bench.controller.demand_mW == 0


def test_a_smaller_rise_is_none() -> None:
    bench = rolled_off()
    bench.board.load_ohm = 125.0
    leased(bench, 300)
    assert (bench.state, bench.controller.mode.rolloffs) == (p.HOLD, 0)


def test_a_fall_moves_the_baseline() -> None:
    bench = rolled_off()
    bench.board.load_ohm = 80.0
    leased(bench, 100)
    bench.board.load_ohm = 114.0
    leased(bench, 60)
    assert (bench.state, bench.controller.mode.rolloffs) == (p.REST, 1)


def test_nothing_is_counted_while_rf_rests_and_it_comes_again_with_less() -> None:
    bench = resting()
    leased(bench, REST_TICKS - 30)
    assert (bench.state, bench.controller.mode.rolloffs, bench.board.enabled) == (p.REST, 1, False)
    bench.board.load_ohm = 100.0
    leased(bench, 130)
    assert (bench.state, bench.controller.mode.rolloffs, bench.board.enabled) == (p.HOLD, 1, True)
    assert bench.controller.demand_mW == 2_000
    assert bench.controller.power.power_mW == pytest.approx(2_000, rel=0.05)


def test_so_many_roll_offs_complete_a_run() -> None:
    bench = rolled_off(end_by=plan.END_ROLLOFFS, rolloffs=1)
    leased(bench, 25)
    assert ended(bench) == ("completed", "rolloffs_complete")
    assert not bench.board.enabled


def test_the_time_of_the_hold_goes_on_while_rf_rests() -> None:
    bench = resting(rest_ms=60_000, hold_ms=5_000)
    leased(bench, 500)
    assert ended(bench) == ("completed", "hold_complete")


def test_the_boundary_may_be_there_while_rf_rests() -> None:
    bench = resting(**BY_DOSE)
    bench.controller.thermocouples[2].dose.total_ms = 60_000
    leased(bench, POLL_TICKS)
    assert ended(bench) == ("completed", "dose_reached")


def _stop(bench: Bench) -> None:
    bench.say(b"STOP")


def _release_the_footswitch(bench: Bench) -> None:
    bench.board.footswitch_pressed = False


def _open_the_interlock(bench: Bench) -> None:
    bench.board.interlock_closed = False


def _leak(bench: Bench) -> None:
    bench.board.load_ohm = None
    bench.board.adc = [6_000, 6_000]


def _hold_the_enable_high(bench: Bench) -> None:
    bench.board.enable_reads = 1


@pytest.mark.parametrize(
    ("breaks", "end"),
    [
        (_stop, ("stopped", "operator_stop")),
        (_release_the_footswitch, ("stopped", "footswitch_released")),
        (_open_the_interlock, ("fault", "interlock_open")),
        (_leak, ("fault", "rf_while_disabled")),
        (_hold_the_enable_high, ("fault", "safe_off_unverified")),
    ],
)
def test_whatever_ends_a_run_ends_it_while_rf_rests_too(breaks: Any, end: tuple[str, str]) -> None:
    bench = resting(footswitch_used=1)
    breaks(bench)
    leased(bench, 10)
    assert ended(bench) == end
    leased(bench, REST_TICKS + 10)
    assert not bench.board.fed_now, "it has come again"


def test_the_lease_is_needed_while_rf_rests() -> None:
    bench = resting()
    bench.tick(105)
    assert ended(bench) == ("link_lost", "lease_lost")


def test_a_guard_that_warms_fast_ends_the_run_while_rf_rests() -> None:
    bench = resting()
    for step in range(20):
        bench.board.chips[1].show(37.0 + 0.3 * step)
        leased(bench, POLL_TICKS)
    assert ended(bench) == ("fault", "guard_look_ahead")


# Pulsed

PULSED: dict[str, int] = {
    "mode": plan.MODE_PULSED,
    "power_mW": 8_000,
    "target_mC": 41_000,
    "max_temperature_mC": 45_000,
    "hold_ms": 60_000,
}
PERIOD_TICKS, BURST_TICKS = 50, 2


def pulsing(**changes: int) -> Bench:
    bench = under_way(PULSED | changes, p.RAMP)
    leased(bench, PROBE_CHECK_TICKS + 2 * PERIOD_TICKS)
    assert bench.controller.sequence.heats()
    return bench


@pytest.mark.parametrize(("burst_ms", "period_ms"), [(20, 500), (30, 330), (50, 100)])
def test_each_burst_is_as_long_and_as_often_as_planned(burst_ms: int, period_ms: int) -> None:
    bench = pulsing(burst_ms=burst_ms, burst_period_ms=period_ms)
    fed: list[bool] = []
    for _ in range(1_000):
        leased(bench, 1)
        fed.append(bench.board.fed_now)
        assert bench.board.enabled == bench.board.fed_now
        assert bench.board.duty == 0 or fed[-1]
    starts = [at for at in range(1, 1_000) if fed[at] and not fed[at - 1]]
    ends = [at for at in range(1, 1_000) if fed[at - 1] and not fed[at]]
    assert {one - other for one, other in zip(starts[1:], starts, strict=False)} == {period_ms // 10}
    last = [next(end for end in ends if end > start) - start for start in starts[:-1]]
    assert set(last) == {burst_ms // 10}


def test_the_amplitude_gives_way_when_the_tip_is_warm() -> None:
    bench = pulsing(ki_mW_per_C_s=0, kp_mW_per_C=100)
    leased(bench, 400)  # the ramp is over
    first = max_demand(bench)
    bench.board.chips[0].show(40.5)
    leased(bench, 2 * PERIOD_TICKS)
    assert 0 < max_demand(bench) < first
    bench.board.chips[0].show(41.2)
    leased(bench, 2 * PERIOD_TICKS)
    assert max_demand(bench) == 0


def max_demand(bench: Bench) -> int:
    """The largest demand in one period."""
    most = 0
    for _ in range(PERIOD_TICKS):
        leased(bench, 1)
        most = max(most, bench.controller.demand_mW)
    return most


def test_a_missed_tick_makes_no_burst_longer() -> None:
    bench = pulsing()
    while not bench.board.fed_now:
        leased(bench, 1)
    bench.take_lease()
    bench.board.fed_now = False
    bench.controller.tick(3, 0)
    assert not bench.board.fed_now


ELECTRICAL = [row[0] for row in ROWS if row[0] in ("over_voltage", "over_current", "over_power", "impedance_low")]


@pytest.mark.parametrize("row", ELECTRICAL)
def test_a_row_that_needs_rf_trips_within_the_first_burst_that_breaks_it(row: str) -> None:
    """With the samples of a run without pauses it never would: each pause begins the count anew."""
    limits: dict[str, Any] = {
        "over_voltage": lambda board: setattr(board, "adc", [65_535, 8_000]),
        "over_current": lambda board: setattr(board, "adc", [3_000, 65_535]),
        "over_power": lambda board: setattr(board, "adc", [50_000, 50_000]),
        "impedance_low": lambda board: setattr(board, "adc", [1_000, 20_000]),
    }
    for needed, trips in ((None, True), (10, False)):
        bench = pulsing(i_sense_full_scale_uA=1_200_000)
        limits_table = bench.controller.limits.table
        if needed is not None:
            limits_table[4 * len(ROWS) + ROW[row]] = needed
        bench.board.load_ohm = None
        for _ in range(3 * PERIOD_TICKS):
            on = bench.board.enabled
            bench.board.adc = [0, 0]
            if on:
                limits[row](bench.board)
            leased(bench, 1)
        told = ended(bench)[1]
        assert (told == row) == trips or (not trips and told != row)


def test_rf_that_is_sensed_between_bursts_is_the_gravest_fault() -> None:
    bench = pulsing()
    while bench.board.enabled:
        leased(bench, 1)
    _leak(bench)
    leased(bench, 20)
    assert ended(bench) == ("fault", "rf_while_disabled")


def test_a_tip_above_45_degrees_ends_a_run_in_bursts() -> None:
    bench = pulsing()
    for reading_C in (40.0, 43.0, 45.5):
        bench.board.chips[0].show(reading_C)
        leased(bench, 2 * POLL_TICKS)
    leased(bench, POLL_TICKS)
    assert ended(bench) == ("fault", "over_temperature")


def test_power_that_does_not_warm_the_tip_ends_a_run_in_bursts() -> None:
    response = {"tip_fast_mC_per_W": 8_000, "tip_slow_mC_per_W": 8_000, "tip_fast_ms": 4_000, "tip_slow_ms": 4_000}
    bench = pulsing(**response, kp_mW_per_C=20_000)
    leased(bench, 3_000)
    assert ended(bench) == ("fault", "not_heating")
