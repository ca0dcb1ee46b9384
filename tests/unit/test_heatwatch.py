"""The tip's reading against the energy: what is believed of a thermocouple that may not be where the heat is."""

import pytest

from rfprobe_core import protocol as p
from rfprobe_core.heatwatch import HeatWatch
from tests.unit.scripted_board import Bench

TICKS = 12  # a conversion at 50 Hz mains
STEP_S = 0.12
# The shipped 10 mm probe's answer: °C/W and s of each term, and the lag.
LAG_MS, FAST, FAST_MS, SLOW, SLOW_MS = 1_500, 1_430, 3_800, 8_500, 27_400
START_MC = 37_000


class Tip:
    """A tip that warms `share` times as much as the coldest tissue, and a thermocouple that may err by `error_mC`."""

    def __init__(self, share: float = 1.0, start_mC: int = START_MC, coolest_mC: int = START_MC) -> None:
        self.watch = HeatWatch()
        self.watch.configure(LAG_MS, FAST, FAST_MS, SLOW, SLOW_MS)
        self.watch.begin(start_mC, coolest_mC)
        self.share = share
        self.start_mC = start_mC
        self.energy_mJ = 0.0
        self._power_W = self._fast_C = self._slow_C = 0.0

    @property
    def true_mC(self) -> float:
        return self.start_mC + self.share * (self._fast_C + self._slow_C) * 1000

    def heat(self, power_W: float, seconds: float, error_mC: float = 0.0, follows: float = 1.0) -> HeatWatch:
        """So much power for so long; the reading shows `follows` of the rise, and `error_mC` more."""
        for _ in range(round(seconds / STEP_S)):
            self._step(power_W)
            self.energy_mJ += power_W * 1000 * STEP_S
            reading = self.start_mC + (self.true_mC - self.start_mC) * follows + error_mC
            self.watch.update(round(reading), round(self.energy_mJ), TICKS)
        return self.watch

    def let_cool(self) -> None:
        self._step(0.0)

    def _step(self, power_W: float) -> None:
        rise_C = self._fast_C + self._slow_C
        self._power_W += (power_W - self._power_W) * STEP_S / (LAG_MS / 1000)
        felt_W = self._power_W / (1 + 0.006 * self.share * rise_C)  # a hot tip spreads its heat wider
        self._fast_C += (FAST / 1000 * felt_W - self._fast_C) * STEP_S / (FAST_MS / 1000)
        self._slow_C += (SLOW / 1000 * felt_W - self._slow_C) * STEP_S / (SLOW_MS / 1000)


@pytest.mark.parametrize("power_W", [0.5, 2.0, 5.0])
def test_the_model_is_the_two_terms_behind_their_lag(power_W: float) -> None:
    tip = Tip()
    watch = tip.heat(power_W, 60.0)
    assert watch.expected_mC == pytest.approx(tip.true_mC - START_MC, rel=0.01, abs=50)


@pytest.mark.parametrize("share", [0.95, 1.0, 2.0, 3.0])
def test_a_tip_that_answers_is_believed_in_cold_and_in_warm_tissue(share: float) -> None:
    tip = Tip(share)
    for power_W, seconds in ((0.1, 0.5), (1.0, 10.0), (3.0, 20.0), (1.5, 60.0), (0.0, 20.0), (3.0, 10.0)):
        watch = tip.heat(power_W, seconds)
        assert watch.shortfall_mC <= 0
        assert watch.not_moved_mC <= 2_000


def test_what_is_missing_is_told_in_degrees() -> None:
    """Half the answer: 0.70 of the model must be there, so 0.2 of it is missing."""
    watch = Tip(0.5).heat(3.0, 60.0)
    assert watch.shortfall_mC == pytest.approx(0.2 * watch.expected_mC, rel=0.03)


def test_a_reading_that_once_followed_better_is_doubted_though_the_tissue_is_warm() -> None:
    """Twice the coldest tissue's answer, then a thermocouple that shows three quarters of it."""
    tip = Tip(2.0)
    assert tip.heat(1.5, 40.0).shortfall_mC <= 0
    assert tip.heat(1.5, 10.0, follows=0.88).shortfall_mC <= 0
    assert tip.heat(1.5, 10.0, follows=0.70).shortfall_mC > 2_000


def test_a_reading_that_does_not_move_is_another_matter() -> None:
    tip = Tip()
    assert tip.heat(2.0, 6.0, follows=0.0).not_moved_mC > 4_000
    assert tip.heat(2.0, 0.12, error_mC=1_001, follows=0.0).not_moved_mC == 0


def test_tissue_still_warm_from_a_run_before_may_cool_in_this_one() -> None:
    """The tip starts at 60 °C among 37 °C and cools by 15 °C, at little power: nothing is missing."""
    tip = Tip(start_mC=60_000)
    for error_mC in range(0, -15_000, -500):
        assert tip.heat(0.3, 1.0, error_mC=error_mC).shortfall_mC <= 0


def test_a_start_warmer_than_the_rest_does_not_raise_what_is_expected_later() -> None:
    tip = Tip(start_mC=60_000)
    tip.heat(2.0, 20.0)
    assert tip.heat(2.0, 20.0, error_mC=-20_000).shortfall_mC <= 0


def test_while_the_model_falls_nothing_is_learnt_of_the_tip() -> None:
    """Tissue that keeps its heat longer than the model looks like a better tip: it is not taken for one."""
    tip = Tip()
    tip.heat(3.0, 60.0)
    for error_mC in range(0, 15_000, 500):
        tip.heat(0.0, 1.0, error_mC=error_mC)
    assert tip.heat(3.0, 60.0).shortfall_mC <= 0


def off(tip: Tip, seconds: float, keeps: float) -> HeatWatch:
    """RF off for so long; the reading gives up all but `keeps` of what the tip gives up."""
    from_mC = tip.true_mC
    for _ in range(round(seconds / STEP_S)):
        tip.let_cool()
        tip.watch.rest(round(from_mC + (tip.true_mC - from_mC) * (1 - keeps)), TICKS, True)
    return tip.watch


def hot() -> Tip:
    tip = Tip()
    tip.heat(3.0, 60.0)
    return tip


def test_a_tip_that_cools_is_left_to_it_and_one_that_stays_hot_is_seen() -> None:
    assert off(hot(), 5.0, keeps=0.0).not_cooled_mC < -500
    assert off(hot(), 5.0, keeps=1.0).not_cooled_mC > 1_500


def test_what_is_missing_of_the_fall_is_five_eighths_less_what_came() -> None:
    tip = hot()
    from_mC = tip.true_mC
    missing_mC = off(tip, 10.0, keeps=1.0).not_cooled_mC
    assert missing_mC == pytest.approx((from_mC - tip.true_mC) * 5 / 8, rel=0.02)


def after(*readings_C: float, watched: bool = True) -> HeatWatch:
    """A run that has ended at 57 °C, then these readings."""
    watch = Tip().watch
    watch.update(57_000, 0, TICKS)
    for reading_C in readings_C:
        watch.rest(round(reading_C * 1000), TICKS, watched)
    return watch


def test_a_rise_with_rf_off_is_measured_from_the_lowest_reading() -> None:
    assert after(56.0, 50.0, 51.0, 53.5).rise_when_off_mC == 3_500


def test_unwatched_the_lowest_reading_follows() -> None:
    watch = after(40.0, 44.0, 48.0, watched=False)
    assert (watch.rise_when_off_mC, watch.not_cooled_mC) == (0, 0)
    watch.rest(49_000, TICKS, True)
    assert watch.rise_when_off_mC == 1_000


# In the controller


TIP_VALUES = {
    "tip_lag_ms": LAG_MS,
    "tip_fast_mC_per_W": FAST,
    "tip_fast_ms": FAST_MS,
    "tip_slow_mC_per_W": SLOW,
    "tip_slow_ms": SLOW_MS,
    "cooldown_ms": 20_000,
}


class Run(Bench):
    """A run in RAMP, past its probe check, on a bench whose tip stays as warm as it is told."""

    def __init__(self, **changes: int) -> None:
        super().__init__(TIP_VALUES | changes)
        self.in_state(p.RAMP)

    def seconds(self, count: float) -> "Run":
        for _ in range(round(count * 10)):
            self.take_lease()
            self.tick(10)
        return self

    def show(self, place: int, *temperatures_C: float) -> None:
        """One temperature a conversion."""
        for temperature_C in temperatures_C:
            self.board.chips[place].show(temperature_C)
            self.take_lease()
            self.tick(12)

    @property
    def cause(self) -> str:
        return p.CAUSES[self.controller.sequence.cause]


def test_power_that_does_not_warm_the_tip_ends_the_run() -> None:
    run = Run().seconds(20)
    assert (run.state, run.cause, run.board.enabled) == (p.FAULT, "not_heating", False)


def test_a_tip_that_lags_behind_its_energy_ends_the_run() -> None:
    run = Run(max_power_mW=3_000)
    run.show(0, *[37.0 + 0.02 * step for step in range(150)])
    assert (run.state, run.cause) == (p.FAULT, "energy_without_temperature")


def test_a_tip_that_runs_ahead_of_its_set_point_ends_the_run() -> None:
    run = Run(ramp_mC_per_s=500)
    run.show(0, *[37.0 + 0.5 * step for step in range(40)])
    assert (run.state, run.cause) == (p.FAULT, "heating_too_fast")


@pytest.mark.parametrize(("other_C", "ends"), [(40.9, False), (41.2, True)])
def test_another_place_hotter_than_the_tip_ends_the_run(other_C: float, ends: bool) -> None:
    run = Run(tc1_role=2, guard_needed=0, max_power_mW=100)
    run.show(1, *[min(37.0 + 0.5 * step, other_C) for step in range(16)])
    assert (run.cause == "thermocouples_disagree") == ends


def test_a_place_without_a_role_is_not_asked() -> None:
    run = Run(tc1_role=0, guard_needed=0, max_power_mW=100)
    run.show(1, *[37.0 + 0.5 * step for step in range(20)])
    assert run.state == p.RAMP


def cooling(*temperatures_C: float) -> Run:
    """A run that has ended at 57 °C with its set-point ahead of it, then these readings."""
    run = Run(max_power_mW=3_000, target_mC=60_000)
    run.show(0, *[37.0 + 0.1 * step for step in range(200)], 57.0, 57.0)
    assert run.state == p.RAMP
    run.controller._finish(p.RESULT_COMPLETED, p.CAUSE["hold_complete"])
    run.show(0, *temperatures_C)
    return run


def test_a_tip_that_cools_is_left_to_it() -> None:
    assert cooling(*[57.0 - 0.3 * step for step in range(45)]).state == p.COOLDOWN


def test_a_tip_that_does_not_cool_is_told() -> None:
    assert cooling(*[57.0] * 45).cause == "not_cooling_when_off"


def test_a_tip_that_warms_while_rf_is_off_is_told() -> None:
    run = cooling(*[57.0 - 0.5 * step for step in range(20)], *[47.0 + 0.4 * step for step in range(20)])
    assert (run.state, run.cause) == (p.FAULT, "heating_when_off")


def test_the_tip_is_judged_in_the_tick_after_its_poll() -> None:
    """Each is dear: a tick does one of them."""
    run = Run()
    judged = []
    watch = run.controller.watch
    update = watch.update
    watch.update = lambda *given: (judged.append(run.controller.tick_count), update(*given))
    polled = []
    for _ in range(36):
        run.tick()
        if run.controller._polled == 0:
            polled.append(run.controller.tick_count)
    assert judged[-2:] == [tick + 1 for tick in polled][-2:]
