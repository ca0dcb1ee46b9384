"""Duty by the stage's drive law, and the order in which things go on and off."""

from math import asin, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe.sim.rf_stage import RfStageModel
from rfprobe_core.plan import LAW_ENVELOPE, LAW_NAMES, LAW_SIN2, LAW_SUPPLY
from rfprobe_drivers import rf_stage
from rfprobe_drivers.rf_stage import FULL, RfStage

fractions = st.integers(0, FULL)


class Pins:
    """Enable and drive, and what was done to them in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.duty = -1
        self.takes_feed = True
        self.enable = 0

    def set_duty(self, duty: int) -> None:
        self.duty = duty
        self.done.append(f"duty {duty}")

    def feed(self) -> bool:
        self.done.append("feed")
        return self.takes_feed

    def enable_low(self) -> None:
        self.done.append("enable low")

    def safe_off(self) -> bool:
        self.done.append("safe off")
        return self.enable == 0

    def read_enable(self) -> int:
        return self.enable


def stage(law: int = LAW_ENVELOPE, inverted: bool = False, max_duty: int = FULL) -> tuple[RfStage, Pins]:
    pins = Pins()
    made = RfStage(pins)
    made.configure(law, inverted, max_duty)
    return made, pins


def test_the_table_is_its_formula() -> None:
    """V ∝ sin(π·duty), so duty = asin(V)/π: half duty is all there is."""
    assert list(rf_stage._ASIN) == [round(asin(step / 64) / pi * FULL) for step in range(65)]


@given(fractions)
def test_a_bridge_gives_the_voltage_asked_for(fraction: int) -> None:
    """The simulated bridge turns the duty back; the table is straight between its points."""
    made, pins = stage(LAW_SIN2)
    made.drive(fraction)
    model = RfStageModel("sin2", max_V=1.0, max_I=10.0, pwm_Hz=1_000)
    model.enable = True
    model.set_duty(pins.duty)
    assert model.output(1.0)[0] == pytest.approx(fraction / FULL, abs=0.004)


@pytest.mark.parametrize("law", [LAW_ENVELOPE, LAW_SUPPLY], ids=LAW_NAMES[:2])
@given(fraction=fractions)
def test_envelope_and_supply_take_the_fraction_as_it_is(law: int, fraction: int) -> None:
    made, pins = stage(law)
    made.drive(fraction)
    assert pins.duty == made.duty == fraction


@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@given(fractions, fractions)
def test_more_is_never_less(law: int, one: int, other: int) -> None:
    made, pins = stage(law)
    duties = []
    for fraction in sorted((one, other)):
        made.drive(fraction)
        duties.append(pins.duty)
    assert duties == sorted(duties)


@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@given(fractions, st.integers(1, FULL))
def test_the_largest_duty_holds(law: int, fraction: int, max_duty: int) -> None:
    made, pins = stage(law, max_duty=max_duty)
    made.drive(fraction)
    assert pins.duty <= max_duty


@given(fractions)
def test_an_inverted_drive_is_turned_over_on_the_pin_only(fraction: int) -> None:
    made, pins = stage(inverted=True, max_duty=60_000)
    made.drive(fraction)
    assert (made.duty, pins.duty) == (min(fraction, 60_000), FULL - min(fraction, 60_000))


@pytest.mark.parametrize(("inverted", "idle"), [(False, 0), (True, FULL)])
def test_off_takes_the_enable_first(inverted: bool, idle: int) -> None:
    made, pins = stage(inverted=inverted)
    made.drive(30_000)
    made.feed()
    pins.done.clear()
    made.off()
    assert pins.done == ["enable low", f"duty {idle}"]
    assert (made.enabled, made.duty) == (False, 0)


@pytest.mark.parametrize("reads", [0, 1])
def test_safe_off_says_what_it_reads_back(reads: int) -> None:
    made, pins = stage()
    pins.enable = reads
    assert made.safe_off() is (reads == 0)
    assert made.enable_reads_high() is (reads == 1)


def test_feeds_that_are_not_taken_are_counted_in_a_row() -> None:
    made, pins = stage()
    counts = []
    for takes in (False, False, True, False):
        pins.takes_feed = takes
        assert made.feed() is takes
        counts.append(made.feeds_refused)
    assert counts == [1, 2, 0, 1]
    made.off()
    assert made.feeds_refused == 0
