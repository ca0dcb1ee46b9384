"""The temperature loop."""

from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.pid import TemperatureLoop

TICKS = 10  # of one control interval
CEILING_mW = 10_000


def loop(kp: int = 1_500, ki: int = 400, feedforward: int = 0, gain_mC_per_W: int = 0) -> TemperatureLoop:
    made = TemperatureLoop()
    made.configure(kp, ki, feedforward, gain_mC_per_W)
    return made


steps = st.tuples(
    st.integers(0, 95_000),
    st.integers(0, 5_000),
    st.integers(-300_000, 500_000),
    st.integers(1, 25),
    st.integers(0, 50_000),
    st.integers(0, 1_000_000),
)


@given(st.integers(0, 20_000), st.integers(0, 4_000), st.integers(0, 20_000), st.integers(0, 16_000), st.lists(steps))
def test_demand_is_never_below_nothing_or_above_the_ceiling(
    kp: int, ki: int, feedforward: int, gain: int, sequence: list[tuple[int, int, int, int, int, int]]
) -> None:
    made = loop(kp, ki, feedforward, gain)
    for step in sequence:
        assert 0 <= made.update(*step) <= step[4]


def test_each_term_does_what_it_says() -> None:
    assert loop(1_500, 0).update(50_000, 0, 48_000, TICKS, CEILING_mW, 0) == 3_000
    assert loop(0, 400).update(50_000, 0, 48_000, TICKS, CEILING_mW, 0) == 80
    assert loop(0, 0, 1_800).update(50_000, 1_000, 48_000, TICKS, CEILING_mW, 0) == 1_800


def test_above_the_set_point_nothing_is_asked_for() -> None:
    assert loop().update(50_000, 0, 51_000, TICKS, CEILING_mW, 0) == 0


def demand_after(error_mC: int, delivered: float, intervals: int) -> TemperatureLoop:
    """A loop that saw `error_mC` for so long, the stage giving `delivered` of what was asked."""
    made = loop()
    for _ in range(intervals):
        made.update(50_000, 0, 50_000 - error_mC, TICKS, CEILING_mW, round(made.demand_mW * delivered))
    return made


def test_the_integral_does_not_grow_beyond_the_ceiling() -> None:
    short, long = demand_after(9_000, 1.0, 50), demand_after(9_000, 1.0, 5_000)
    assert short.saturated
    assert short.update(50_000, 0, 50_000, TICKS, 50_000, CEILING_mW) == long.update(
        50_000, 0, 50_000, TICKS, 50_000, CEILING_mW
    )


def test_the_integral_follows_power_that_was_not_delivered() -> None:
    """A weak stage must not leave heat in the integral for when the stage recovers."""
    healthy, weak = demand_after(2_000, 1.0, 80), demand_after(2_000, 0.1, 80)
    assert weak.update(50_000, 0, 50_000, TICKS, CEILING_mW, weak.demand_mW) < 600
    assert healthy.update(50_000, 0, 50_000, TICKS, CEILING_mW, healthy.demand_mW) > 5_000


def test_one_interval_without_power_costs_an_eighth() -> None:
    """A lost reading is no weak stage: the demand is not given up at once."""
    made = demand_after(2_000, 1.0, 80)
    before = made.update(50_000, 0, 50_000, TICKS, CEILING_mW, made.demand_mW)
    assert made.update(50_000, 0, 50_000, TICKS, CEILING_mW, 0) == before - before // 8


def test_small_losses_of_power_are_no_reason_to_unwind() -> None:
    assert demand_after(2_000, 0.9, 80).demand_mW == demand_after(2_000, 1.0, 80).demand_mW


def test_it_comes_out_of_saturation_as_soon_as_the_error_turns() -> None:
    made = demand_after(9_000, 1.0, 5_000)
    demands = [made.update(50_000, 0, 51_000, TICKS, CEILING_mW, made.demand_mW) for _ in range(200)]
    assert demands == sorted(demands, reverse=True)
    assert demands[-1] == 0


def test_after_a_reset_nothing_is_left() -> None:
    made = demand_after(9_000, 1.0, 500)
    made.reset()
    assert (made.demand_mW, made.saturated) == (0, False)
    assert made.update(50_000, 0, 50_000, TICKS, CEILING_mW, 0) == 0


# Exactly what it gives, at and beside each limit


def asked(made: TemperatureLoop, error_mC: int, rate: int = 0, ticks: int = TICKS, ceiling: int = 50_000) -> int:
    """The demand at this error, the stage having given all that was asked before."""
    demand: int = made.update(100_000, rate, 100_000 - error_mC, ticks, ceiling, made.demand_mW)
    return demand


def test_before_it_is_configured_it_asks_for_nothing() -> None:
    made = TemperatureLoop()
    assert (made.demand_mW, made.saturated) == (0, False)
    assert asked(made, 20_000, 5_000, 25) == 0


def test_a_fresh_integral_is_nothing_to_the_last_microwatt() -> None:
    for made in (TemperatureLoop(), loop()):
        made.ki_mW_per_C_s, made.kp_mW_per_C = 999, 0
        assert asked(made, 100, ticks=1) == 0  # 999 µW: one more would be a milliwatt


def test_configuring_it_anew_forgets_what_was() -> None:
    for forget in (lambda made: made.configure(0, 400, 0, 0), lambda made: made.reset()):
        made = demand_after(2_000, 1.0, 80)
        assert made.demand_mW > 5_000
        forget(made)
        made.configure(0, 0, 0, 0) if made.kp_mW_per_C == 0 else None
        made.kp_mW_per_C = 0
        made.ki_mW_per_C_s = 0
        assert (made.demand_mW, made.saturated) == (0, False)
        assert asked(made, 0) == 0


def test_an_error_counts_for_twenty_degrees_at_the_most() -> None:
    assert [asked(loop(1_000, 0), error) for error in (19_999, 20_000, 20_001, 60_000)] == [19_999, *[20_000] * 3]
    falling = [asked(loop(1_000, 0, 10_000), -error, 5_000) for error in (19_999, 20_000, 20_001, 60_000)]
    assert falling == [30_001, *[30_000] * 3]


def test_an_error_counts_for_five_degrees_in_the_integral() -> None:
    assert [asked(loop(0, 1_000), error) for error in (4_990, 5_000, 5_001, 60_000)] == [499, *[500] * 3]
    for error, left in ((-4_990, 1_001), (-5_000, 1_000), (-5_001, 1_000), (-60_000, 1_000)):
        made = loop(0, 1_000)
        for _ in range(3):
            asked(made, 5_000)
        assert asked(made, error) == left


def test_the_integral_ends_at_fifty_watts_either_way() -> None:
    made = loop(0, 4_000)
    assert [asked(made, 10_000, ticks=25) for _ in range(12)] == [*range(5_000, 50_001, 5_000), 50_000, 50_000]
    assert asked(made, -10_000, ticks=25) == 45_000
    made = loop(0, 4_000, 20_000)
    for _ in range(14):
        asked(made, -10_000, 5_000, 25)  # the ramp asks for 100 W, so that the integral is free to fall
    assert [asked(made, 0, rate) for rate in (2_500, 3_000)] == [0, 10_000]


def test_saturated_is_beyond_the_ceiling_not_at_it() -> None:
    made = loop(1_000, 0)
    assert (asked(made, 5_000, ceiling=5_000), made.saturated) == (5_000, False)
    assert (asked(made, 5_001, ceiling=5_000), made.saturated) == (5_000, True)
    assert [asked(made, error) for error in (-1, 0, 1, 2)] == [0, 0, 1, 2]


def test_power_counts_as_missing_beyond_a_quarter_and_200_mW() -> None:
    """A demand of 800 mW: 400 mW less are borne, 401 cost the integral an eighth of them."""
    for missing, left in ((400, 800), (401, 749)):
        made = loop(0, 2_000)
        assert asked(made, 4_000) == 800
        assert made.update(100_000, 0, 100_000, TICKS, 50_000, 800 - missing) == left


def test_the_integral_ends_at_fifty_watts_below_nothing_not_above() -> None:
    """The ramp asks for 150 W, so that the integral may fall as far as it likes: it stays at its end."""
    made = loop(0, 4_000, 20_000)
    for _ in range(11):
        asked(made, -10_000, 7_500, 25)
    assert made._integral_uW == -50_000_000
    assert asked(made, -10_000, 0, 25) == 0


# What it learns of the tissue: gains for 8 °C a watt, in tissue that gives more or less

GAIN = 8_000
LONG = 400  # intervals: many time constants of what is learnt


def scaled(rise_mC: int, power_mW: int, intervals: int = LONG, base_mC: int = 37_000) -> float:
    """The proportional term, as a share of what was configured, after so long in tissue that gives this rise."""
    made = loop(1_000, 0, 0, GAIN)
    made.begin(base_mC)
    for _ in range(intervals):
        made.update(base_mC + rise_mC, 0, base_mC + rise_mC, TICKS, 50_000, power_mW)
    return made.update(base_mC + rise_mC + 10_000, 0, base_mC + rise_mC, TICKS, 50_000, power_mW) / 10_000


def test_tissue_that_takes_twice_the_power_gets_twice_the_gains() -> None:
    assert 0.99 < scaled(24_000, 3_000) <= 1.0
    assert 1.49 < scaled(16_000, 3_000) <= 1.5
    assert 0.74 < scaled(32_000, 3_000) <= 0.75


def test_the_scale_stays_within_a_half_and_twice() -> None:
    assert 1.99 < scaled(3_100, 50_000) <= 2.0
    assert 0.5 <= scaled(60_000, 10) < 0.51
    assert 0.5 <= scaled(400_000, 0) < 0.51


def test_its_ends_are_exact() -> None:
    for rise_mC, power_mW, end in ((60_000, 0, 512), (3_100, 50_000, 2_044)):
        made = loop(0, 0, 0, GAIN)
        made.begin(0)
        for _ in range(LONG):
            made.update(rise_mC, 0, rise_mC, TICKS, 50_000, power_mW)
        assert made.scale_16th >> 4 == end  # from below it stops where a step is less than one: divisions round down


def test_all_three_terms_are_scaled() -> None:
    for terms in ((1_000, 0, 0), (0, 1_000, 0), (0, 0, 1_000)):
        fitting, doubled = (loop(*terms, gain) for gain in (0, GAIN))
        for made in (fitting, doubled):
            made.begin(37_000)
            for _ in range(LONG):
                made.update(49_000, 0, 49_000, TICKS, 50_000, 3_000)
        once, twice = (made.update(53_000, 2_000, 49_000, TICKS, 50_000, 3_000) for made in (fitting, doubled))
        assert abs(twice - 2 * once) <= max(once // 50, 2)


def test_a_small_rise_teaches_nothing() -> None:
    assert scaled(3_000, 50_000) == 1.0
    assert scaled(3_001, 50_000) > 1.9
    assert scaled(-20_000, 50_000) == 1.0


def test_it_learns_within_some_seconds_and_not_at_once() -> None:
    shares = [scaled(12_000, 3_000, intervals) for intervals in (10, 50, 100, 200)]
    assert shares == sorted(shares)
    assert shares[0] < 1.0
    assert 1.8 < shares[-1] <= 2.0


def test_the_rise_counts_from_what_the_tissue_would_be_without_power() -> None:
    assert scaled(24_000, 3_000, base_mC=20_000) == scaled(24_000, 3_000, base_mC=37_000)


def test_a_new_run_begins_with_the_gains_of_the_profile() -> None:
    made = loop(1_000, 0, 0, GAIN)
    made.begin(37_000)
    for _ in range(LONG):
        made.update(49_000, 0, 49_000, TICKS, 50_000, 3_000)
    made.begin(37_000)
    assert made.update(47_000, 0, 37_000, TICKS, 50_000, 3_000) == 10_000
    made.configure(1_000, 0, 0, GAIN)
    assert made.update(10_000, 0, 0, TICKS, 50_000, 3_000) == 10_000


def test_without_a_gain_in_the_profile_it_learns_nothing() -> None:
    made = loop(1_000, 0, 0, 0)
    made.begin(37_000)
    for _ in range(LONG):
        made.update(49_000, 0, 49_000, TICKS, 50_000, 50_000)
    assert made.update(59_000, 0, 49_000, TICKS, 50_000, 50_000) == 10_000
