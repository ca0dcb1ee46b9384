"""Power, impedance and duty against exact arithmetic; and the loop on a load of its own."""

from fractions import Fraction
from math import isqrt, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.power import GAIN_ONE, IMPEDANCE_MAX_MOHM, POWER_MAX_MW, PowerLoop, impedance_mohm, power_mW

FULL_SCALE_mV = 80_000
MIN_IMPEDANCE_ohm = 20
voltages_mV = st.integers(0, 500_000)
currents_uA = st.integers(0, (1 << 22) - 1)


@given(voltages_mV, currents_uA)
def test_power_is_volts_times_amperes(voltage_mV: int, current_uA: int) -> None:
    """To 16 mV and 128 µA, and then rounded down to the milliwatt (a fraction of one more in two steps)."""
    exact = Fraction(voltage_mV * current_uA, 1_000_000)
    coarse = Fraction((voltage_mV // 16 * 16) * (current_uA // 128 * 128), 1_000_000)
    got = power_mW(voltage_mV, current_uA)
    assert got <= exact
    if exact < POWER_MAX_MW:
        assert coarse - got < Fraction(32, 125) + 1
    else:
        assert got >= min(coarse, POWER_MAX_MW) - 2


@pytest.mark.parametrize(
    ("voltage_V", "current_A", "power_W"),
    [(100, 0.2, 20), (4, 0.025, 0.1), (30, 0.2, 6), (320, 3, 960), (0, 3, 0)],
)
def test_power_of_usual_readings_is_right_to_one_per_cent(voltage_V: float, current_A: float, power_W: float) -> None:
    got_mW = power_mW(round(voltage_V * 1000), round(current_A * 1e6))
    assert got_mW == pytest.approx(power_W * 1000, rel=0.01)


@given(voltages_mV, st.integers(100, (1 << 22) - 1))
def test_impedance_is_volts_by_amperes(voltage_mV: int, current_uA: int) -> None:
    """The current to 16 µA, the result to a sixteenth of an ohm."""
    exact_mohm = Fraction(voltage_mV * 1_000_000, current_uA)
    coarse_mohm = Fraction(voltage_mV * 1_000_000, current_uA // 16 * 16)
    got = impedance_mohm(voltage_mV, current_uA)
    assert got <= coarse_mohm
    assert got >= min(exact_mohm - 64, Fraction(IMPEDANCE_MAX_MOHM))


def loop(
    max_voltage_mV: int = FULL_SCALE_mV, max_current_uA: int = 1_000_000, min_current_uA: int = 5_000
) -> PowerLoop:
    made = PowerLoop()
    made.configure(FULL_SCALE_mV, max_voltage_mV, max_current_uA, min_current_uA, MIN_IMPEDANCE_ohm * 1000)
    return made


@given(st.integers(0, 50_000), st.integers(5, 2_100))
def test_duty_gives_the_voltage_that_gives_the_power(demand_mW: int, load_ohm: int) -> None:
    made = loop()
    made._load_mohm = load_ohm * 1000
    fraction = made.drive(demand_mW)
    exact_cV = min(isqrt(demand_mW * load_ohm * 10), FULL_SCALE_mV // 10, 100 * load_ohm)
    exact = Fraction(exact_cV * 10 * 65_535, FULL_SCALE_mV)
    assert exact * Fraction(8191, 8192) - 1 < fraction <= exact


@pytest.mark.parametrize(
    ("limits", "volts"),
    [({"max_voltage_mV": 30_000}, 30.0), ({"max_current_uA": 100_000}, 10.0), ({}, sqrt(20 * 100))],
    ids=["voltage", "current", "power"],
)
def test_the_smallest_limit_governs(limits: dict[str, int], volts: float) -> None:
    made = loop(**limits)
    made._load_mohm = 100_000
    assert made.drive(20_000) / 65_535 * FULL_SCALE_mV / 1000 == pytest.approx(volts, rel=1e-3)


class Load:
    """A resistor at the stage's output; what a perfect sense sees of it."""

    def __init__(self, made: PowerLoop, ohm: float, stage_gain: float = 1.0) -> None:
        self._loop = made
        self._ohm = ohm
        self._gain = stage_gain
        self._volts = 0.0
        self.power_mW = 0.0

    def run(self, demand_mW: int, ticks: int = 1) -> list[float]:
        """True power after each tick, mW."""
        powers = []
        for _ in range(ticks):
            self._loop.measure(round(self._volts * 1e3), round(self._volts / self._ohm * 1e6), 1, 500_000_000)
            fraction = self._loop.drive(demand_mW)
            self._volts = min(fraction / 65_535 * FULL_SCALE_mV / 1000 * self._gain, FULL_SCALE_mV / 1000)
            powers.append(self._volts**2 / self._ohm * 1e3)
        return powers


loads_ohm = pytest.mark.parametrize("ohm", [MIN_IMPEDANCE_ohm, 35, 100, 400, 1_000, 2_000])


@loads_ohm
@pytest.mark.parametrize("demand_mW", [50, 1_000, 3_000])
def test_from_the_first_tick_on_a_load_never_gets_more_than_was_asked(ohm: float, demand_mW: int) -> None:
    powers = Load(loop(), ohm).run(demand_mW, 60)
    assert max(powers) <= demand_mW * 1.02
    assert powers[0] <= demand_mW * MIN_IMPEDANCE_ohm / ohm * 1.02


@loads_ohm
def test_within_fifty_ticks_it_gets_what_was_asked(ohm: float) -> None:
    """To whole ohms: the loop computes with those."""
    assert Load(loop(), ohm).run(1_000, 50)[-1] == pytest.approx(1_000, rel=0.01 + 1 / ohm)


@pytest.mark.parametrize("stage_gain", [0.5, 0.8, 1.3])
def test_a_stage_that_gives_more_or_less_is_corrected_for(stage_gain: float) -> None:
    made = loop()
    assert Load(made, 100, stage_gain).run(2_000, 100)[-1] == pytest.approx(2_000, rel=0.03)
    assert made.gain == pytest.approx(stage_gain * GAIN_ONE, rel=0.03)


def test_an_impedance_that_cannot_be_measured_is_crept_up_to() -> None:
    """Too little current to divide by: the bound rises step by step until the current can be measured."""
    made = loop(min_current_uA=20_000)
    load = Load(made, 1_000)
    bounds_mohm = []
    while not made.impedance_known:
        assert load.run(500)[0] <= 510
        bounds_mohm.append(made.impedance_mohm)
    assert 3 < len(bounds_mohm) < 30
    assert bounds_mohm[:-1] == sorted(bounds_mohm[:-1])
    assert bounds_mohm[-1] == pytest.approx(1_000_000, rel=0.01)


def test_no_current_at_all_reads_as_a_large_impedance_soon() -> None:
    made = loop()
    Load(made, 1e6).run(1_000, 30)
    assert made.impedance_mohm > 1_000_000
    assert not made.impedance_known


def test_energy_is_power_over_time_to_the_microjoule() -> None:
    made = loop()
    for _ in range(1_000):
        made.measure(30_000, 200_000, 1, 500_000_000)
    assert made.energy_mJ == made.power_mW * 10
    made.measure(0, 0, 1, 5_000)
    assert made.energy_mJ == 5_000


def test_missed_ticks_count_as_energy() -> None:
    one, other = loop(), loop()
    for _ in range(7):
        one.measure(30_000, 200_000, 1, 500_000_000)
    other.measure(30_000, 200_000, 7, 500_000_000)
    assert one.energy_mJ == other.energy_mJ


def test_achieved_power_is_the_mean_since_it_was_last_asked() -> None:
    made = loop()
    for voltage_mV in (10_000, 20_000):
        made.measure(voltage_mV, 200_000, 1, 500_000_000)
    first, last = power_mW(10_000, 200_000), power_mW(20_000, 200_000)
    assert made.take_achieved_mW() == (first + last) // 2
    assert made.take_achieved_mW() == last


def test_a_new_run_starts_from_the_smallest_impedance_again() -> None:
    made = loop()
    Load(made, 500, 0.7).run(1_000, 100)
    made.begin_run()
    assert (made.impedance_mohm, made.impedance_known, made.gain) == (
        MIN_IMPEDANCE_ohm * 1000,
        False,
        GAIN_ONE,
    )
    assert (made.energy_mJ, made.fraction) == (0, 0)


# The numbers in its state, by their places


PLACES = {
    "voltage_mV": 0,
    "current_uA": 1,
    "power_mW": 2,
    "impedance_mohm": 3,
    "impedance_known": 4,
    "gain": 5,
    "energy_mJ": 6,
    "_load_mohm": 11,
    "fraction": 12,
}


def test_each_name_is_a_place_of_the_state() -> None:
    made = PowerLoop()
    for name, place in PLACES.items():
        made.state[place] = 1_000 + place
        assert getattr(made, name) == 1_000 + place
        setattr(made, name, 2_000 + place)
        assert made.state[place] == 2_000 + place


def test_a_new_loop_has_no_drive_and_divides_by_nothing_that_is_nought() -> None:
    made = PowerLoop()
    assert list(made.state) == [0, 0, 0, 0, 0, GAIN_ONE, 0, 0, 0, 0, 0, 0, 0, 100, 1, 0, 0, 0, 0]
    assert made._min_impedance_mohm == 0


@pytest.mark.parametrize("full_scale_mV", [1_000, 10_000, 40_010, 80_000, 320_000])
def test_configuring_sets_every_limit_and_begins_a_run(full_scale_mV: int) -> None:
    made = PowerLoop()
    made.configure(full_scale_mV, 75_000, 1_234_567, 5_000, 20_000)
    state = list(made.state)
    assert state[13:17] == [full_scale_mV // 10, 5_000, 7_500, 1_234]
    scale, shift = state[17:]
    assert scale < 16_384 <= 2 * scale + 1
    assert scale == (65_535 << shift) // (full_scale_mV // 10)
    assert (state[3], state[11], made._min_impedance_mohm) == (20_000, 20_000, 20_000)


@pytest.mark.parametrize("full_scale_cV", [4_096, 4_369, 8_000, 16_384])
def test_full_voltage_is_full_duty_and_no_more(full_scale_cV: int) -> None:
    made = PowerLoop()
    made.configure(full_scale_cV * 10, full_scale_cV * 10, 1_000_000, 5_000, 20_000)
    made._load_mohm = 2_000_000
    assert 65_527 <= made.drive(50_000) <= 65_535


def test_power_saturates_where_it_says() -> None:
    assert power_mW(500_000, (1 << 22) - 1) == POWER_MAX_MW


def test_a_new_run_forgets_the_last_one() -> None:
    made = loop()
    kept = list(made.state)[13:]
    for place in range(13):
        made.state[place] = 7_777
    made.begin_run()
    began = [7_777, 7_777, 7_777, 20_000, 0, GAIN_ONE, 0, 0, 0, 0, 0, 20_000, 0]  # what is measured is measured anew
    assert list(made.state) == [*began, *kept]


def test_the_mean_power_is_of_what_came_since_the_last_one() -> None:
    made = loop()
    made.state[2] = 4_321
    assert made.take_achieved_mW() == 4_321  # nothing has come: the last reading
    made.state[8], made.state[9] = 1_000, 3
    assert made.take_achieved_mW() == 333
    assert (made.state[8], made.state[9]) == (0, 0)


def test_releasing_it_asks_for_nothing() -> None:
    made = loop()
    made.drive(5_000)
    assert made.fraction > 0 and made.state[10] > 0
    made.release()
    assert (made.fraction, made.state[10]) == (0, 0)
