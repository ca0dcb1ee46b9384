"""Before ARM: each thermocouple within the plan's window, and all of them alike."""

import pytest

from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.startcheck import StartCheck
from rfprobe_core.thermometry import Thermocouple
from tests.unit.scripted_board import table

CONTROL, BOUNDARY, GUARD, NONE = plan.ROLE_CONTROL, plan.ROLE_BOUNDARY, plan.ROLE_GUARD, plan.ROLE_NONE
ROLES = (CONTROL, BOUNDARY, GUARD, NONE)


def checked(*readings_C: float, roles: tuple[int, ...] = ROLES, **changes: int) -> tuple[int, StartCheck]:
    thermocouples = [Thermocouple() for _ in range(plan.THERMOCOUPLES)]
    for thermocouple, role, reading_C in zip(thermocouples, roles, readings_C, strict=False):
        thermocouple.role, thermocouple.temperature_mC = role, round(reading_C * 1000)
    check = StartCheck(thermocouples)
    check.configure(table(changes))
    code: int = check.judge()
    return code, check


@pytest.mark.parametrize("everywhere_C", [10.0, 20.0, 37.0, 40.0])
def test_room_and_body_temperature_are_plausible(everywhere_C: float) -> None:
    assert checked(*[everywhere_C] * 3)[0] == p.ACK_OK


@pytest.mark.parametrize(
    ("readings_C", "code", "place", "against_mC"),
    [
        ((40.1, 37.0, 37.0), p.ACK_START_TEMPERATURE, 0, 40_000),
        ((37.0, 40.1, 37.0), p.ACK_START_TEMPERATURE, 1, 40_000),
        ((37.0, 37.0, 40.1), p.ACK_GUARD, 2, 40_000),
        ((9.9, 10.0, 10.0), p.ACK_START_TEMPERATURE, 0, 10_000),
        ((10.0, 10.0, 9.9), p.ACK_GUARD, 2, 10_000),
    ],
)
def test_what_leaves_the_window_is_named(readings_C: tuple[float, ...], code: int, place: int, against_mC: int) -> None:
    told, check = checked(*readings_C)
    assert (told, check.place, check.against_mC) == (code, place, against_mC)
    assert check.reading_mC == round(readings_C[place] * 1000)
    assert p.CAUSES[check.cause] == "start_temperature"


@pytest.mark.parametrize(
    ("readings_C", "place", "against_mC"),
    [
        ((24.0, 20.9, 21.0), 0, 20_900),
        ((37.0, 37.1, 33.9), 2, 37_100),
        ((37.0, 33.9, 36.9), 1, 37_000),
    ],
)
def test_of_several_the_one_that_is_far_from_all_others_is_named(
    readings_C: tuple[float, ...], place: int, against_mC: int
) -> None:
    told, check = checked(*readings_C)
    assert (told, check.place, check.against_mC) == (p.ACK_START_SPREAD, place, against_mC)
    assert p.CAUSES[check.cause] == "start_disagreement"


@pytest.mark.parametrize(("reading_C", "code"), [(23.0, p.ACK_OK), (23.001, p.ACK_START_SPREAD)])
def test_the_difference_is_the_plans(reading_C: float, code: int) -> None:
    assert checked(reading_C, 20.0, 20.0)[0] == code
    assert checked(reading_C, 20.0, 20.0, start_spread_mC=4_000)[0] == p.ACK_OK


def test_a_plan_may_begin_in_what_is_warm_or_cold_but_no_guard_may() -> None:
    warm = {"start_min_mC": 40_000, "start_max_mC": 55_000}
    two = (CONTROL, BOUNDARY, NONE, NONE)
    assert checked(50.0, 50.0, roles=two, **warm)[0] == p.ACK_OK
    assert checked(50.0, 50.0, 50.0, **warm)[0] == p.ACK_GUARD
    assert checked(4.0, 4.0, roles=two, start_min_mC=0)[0] == p.ACK_OK
    assert checked(4.0, 4.0, 4.0, start_min_mC=0)[0] == p.ACK_GUARD


def test_a_narrower_window_holds_for_the_guard_too() -> None:
    told, check = checked(37.0, 37.0, 37.0, start_max_mC=36_000)
    assert (told, check.place) == (p.ACK_START_TEMPERATURE, 0)
    told, check = checked(36.0, 36.0, 36.1, start_max_mC=36_000)
    assert (told, check.place, check.against_mC) == (p.ACK_START_TEMPERATURE, 2, 36_000)


def test_a_place_without_a_role_is_not_asked() -> None:
    assert checked(37.0, 37.0, 37.0, 90.0)[0] == p.ACK_OK


def test_one_alone_agrees_with_itself() -> None:
    assert checked(21.0, roles=(CONTROL, NONE, NONE, NONE))[0] == p.ACK_OK
