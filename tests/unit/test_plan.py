"""The table of parameters: hard limits, contradictions, digests."""

from itertools import combinations

import pytest

from rfprobe_core import plan
from rfprobe_core.plan import CALIBRATION, CONTRADICTIONS, INDEX, NAMES, PARAMETERS, PLAN, PROFILE, SESSION
from rfprobe_core.safety import BIAS
from tests.unit.scripted_board import VALUES, table

GOOD = VALUES | {"guard_needed": 1}


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_each_parameter_has_a_range_that_the_limit_table_can_hold(
    row: tuple[str, int, int, int, int],
) -> None:
    _, group, smallest, largest, power_up = row
    assert group in (PLAN, PROFILE, CALIBRATION, SESSION)
    assert -BIAS < smallest <= power_up <= largest < BIAS
    index = INDEX[row[0]]
    inside = [value for value in (smallest - 1, smallest, largest, largest + 1) if plan.in_range(index, value)]
    assert inside == sorted({smallest, largest}) if smallest != largest else [smallest]


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_good_values_contradict_nothing() -> None:
    assert plan.contradiction(table(GOOD)) == -1


def test_power_up_values_cannot_be_armed() -> None:
    assert plan.contradiction(plan.default_values()) >= 0


PULSED = {"mode": plan.MODE_PULSED, "target_mC": 42_000, "max_temperature_mC": 45_000}

BREAKERS = [
    ("channels", {"channels": 2}),
    ("channels", {"channels": 3}),
    ("target_mC", {"target_mC": 90_000}),
    ("target_mC", {"target_mC": 90_001}),
    ("min_impedance_mohm", {"min_impedance_mohm": 100_000, "max_impedance_mohm": 100_000}),
    ("thermocouples", {"tc0_role": plan.ROLE_BOUNDARY}),
    ("thermocouples", {"tc1_role": plan.ROLE_CONTROL}),
    ("guard_needed", {"tc1_role": plan.ROLE_BOUNDARY}),
    ("guard_needed", {"thermocouples": 1, "tc1_role": plan.ROLE_NONE}),
    ("max_rf_on_ms", {"max_rf_on_ms": 1_000, "hold_ms": 1_001}),
    ("mains_hz", {"mains_hz": 55}),
    ("max_voltage_mV", {"max_voltage_mV": 80_001}),
    ("tc0_role", {"tc3_role": plan.ROLE_BOUNDARY}),
    ("test_power_mW", {"test_power_mW": 501, "max_power_mW": 500}),
    ("drive_inverted", {"drive_inverted": 1}),
    ("max_impedance_mohm", {"min_current_uA": 100_000}),
    ("max_impedance_mohm", {"max_voltage_mV": 20_000, "min_current_uA": 5_000, "max_impedance_mohm": 4_000_000}),
    ("max_duty", {"max_duty": 16_000}),
    ("max_duty", {"drive_law": plan.LAW_SIN2, "max_duty": 16_000}),
    ("tc0_chip", {"tc1_chip": plan.CHIP_MAX31855, "tc1_type": plan.THERMOCOUPLE_TYPES.index("J")}),
    ("guard_lag_max_ms", {"guard_lag_max_ms": 999, "tc1_lag_ms": 1_000}),
    ("end_by", {"end_by": plan.END_ROLLOFFS}),
    ("end_by", {"end_by": plan.END_DOSE}),
    ("end_by", {"mode": plan.MODE_POWER, "end_by": plan.END_BOUNDARY}),
    ("power_mW", {"mode": plan.MODE_POWER, "power_mW": 10_001}),
    ("power_mW", {"mode": plan.MODE_POWER, "power_mW": 8_001, "stage_power_mW": 8_000}),
    ("target_mC", {"target_mC": 95_001, "max_temperature_mC": 100_000}),
    ("target_mC", PULSED | {"target_mC": 42_001}),
    ("max_temperature_mC", PULSED | {"max_temperature_mC": 45_001}),
    ("burst_ms", PULSED | {"burst_ms": 60, "burst_period_ms": 100}),
    ("rolloff_step_mohm", {"mode": plan.MODE_IMPEDANCE, "max_impedance_mohm": 50_000, "min_impedance_mohm": 20_000}),
    ("start_min_mC", {"start_min_mC": 40_000, "start_max_mC": 40_000}),
]


@pytest.mark.parametrize(("blamed", "change"), BREAKERS, ids=[f"{name}-{change}" for name, change in BREAKERS])
def test_a_contradiction_is_found_and_blamed_on_a_parameter(blamed: str, change: dict[str, int]) -> None:
    found = plan.contradiction(table(GOOD | change), channels=1)
    assert found >= 0
    assert CONTRADICTIONS[found][0] == blamed


def test_a_mode_that_a_firmware_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MODES_AVAILABLE", (plan.MODE_TEMPERATURE,))
    assert CONTRADICTIONS[plan.contradiction(table(GOOD | {"mode": plan.MODE_POWER}))][0] == "mode"


@pytest.mark.parametrize("mode", range(len(plan.MODE_NAMES)))
def test_every_mode_has_values_that_contradict_nothing(mode: int) -> None:
    assert plan.contradiction(table(GOOD | (PULSED if mode == plan.MODE_PULSED else {"mode": mode}))) == -1


def test_every_contradiction_but_the_missing_mode_can_be_run_into() -> None:
    found = {plan.contradiction(table(GOOD | change), channels=1) for _, change in BREAKERS}
    assert found == set(range(1, len(CONTRADICTIONS)))


@pytest.mark.parametrize(
    ("change", "roles"),
    [
        ({"thermocouples": 2}, (1, 3, 0, 0)),
        ({"thermocouples": 1}, (1, 0, 0, 0)),
        ({"thermocouples": 4, "tc2_role": 2, "tc3_role": 3}, (1, 3, 2, 3)),
        ({"thermocouples": 3, "tc3_role": 2}, (1, 3, 0, 0)),
    ],
)
def test_only_fitted_thermocouples_have_a_role(change: dict[str, int], roles: tuple[int, ...]) -> None:
    assert plan.roles(table(GOOD | change)) == roles


def digests(**changes: int) -> dict[int | None, int]:
    return {group: plan.digest(table(GOOD | changes), group) for group in (None, PLAN, PROFILE, CALIBRATION, SESSION)}


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_a_change_shows_in_the_whole_digest_and_in_its_group_only(
    row: tuple[str, int, int, int, int],
) -> None:
    name, group, smallest, largest, _ = row
    usual = table(GOOD)[INDEX[name]]
    changed = digests(**{name: smallest if usual != smallest else largest})
    differing = [each for each, digest in digests().items() if digest != changed[each]]
    assert differing == [None, group]


def test_digests_are_small_integers_and_not_alike() -> None:
    found = [plan.digest(table(GOOD | {"hold_ms": hold_ms})) for hold_ms in range(200)]
    assert all(0 <= digest < 1 << 28 for digest in found)
    assert all(one != other for one, other in combinations(found, 2))


def test_the_digest_is_of_names_and_values_not_of_the_machine() -> None:
    assert plan.digest(plan.default_values()) == plan.digest(list(plan.default_values()))
