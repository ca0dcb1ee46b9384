"""The limit table: each row, how many samples it takes, what it is called."""

from itertools import pairwise

import pytest

from rfprobe_core import calibration, plan, safety
from rfprobe_core import protocol as p
from rfprobe_core.protocol import CAUSE
from rfprobe_core.safety import BIAS, LimitTable, describe
from tests.unit.scripted_board import VALUES, table

# The table for the scripted board's values: (low, high, samples, ms, cause). A changed limit shows here.
EXPECTED = {
    "rf_while_disabled": (None, 30, 5, 50, "rf_while_disabled"),
    "enable_stuck_high": (None, 0, 3, 30, "enable_stuck_high"),
    "enable_stuck_low": (None, 0, 5, 50, "enable_stuck_low"),
    "interlock_open": (None, 0, 2, 20, "interlock_open"),
    "lease_age": (None, 1_000, 1, 10, "lease_lost"),
    "deadman_refused": (None, 0, 2, 20, "deadman_refused"),
    "over_voltage": (None, 88_000, 3, 30, "over_voltage"),
    "over_current": (None, 1_100_000, 3, 30, "over_current"),
    "over_power": (None, 13_000, 10, 100, "over_power"),
    "impedance_low": (20_000, None, 5, 50, "impedance_low"),
    "impedance_high": (None, 2_000_000, 5, 50, "impedance_high"),
    "stage_gain": (2_048, 6_144, 50, 500, "stage_weak"),
    "tick_late": (None, 5_000, 3, 30, "tick_late"),
    "ticks_missed": (None, 10, 1, 10, "ticks_missed"),
    "heap_free": (16_384, None, 1, 10, "heap_low"),
    "tc0_age": (None, 1_200, 1, 10, "sample_stale"),
    "tc1_age": (None, 1_200, 1, 10, "sample_stale"),
    "tc0_status": (None, 1, 3, 300, "thermocouple_bus"),
    "tc0_not_believed": (None, 0, 5, 500, "thermocouple_jump"),
    "tc0_cold_junction": (-10_000, 60_000, 3, 300, "cold_junction_range"),
    "tc0_over_temperature": (None, 90_000, 2, 200, "over_temperature"),
    "tc0_under_temperature": (0, None, 3, 300, "under_temperature"),
    "tc1_status": (None, 1, 3, 300, "thermocouple_bus"),
    "tc1_not_believed": (None, 0, 5, 500, "thermocouple_jump"),
    "tc1_cold_junction": (-10_000, 60_000, 3, 300, "cold_junction_range"),
    "tc1_over_temperature": (None, 90_000, 2, 200, "over_temperature"),
    "tc1_under_temperature": (0, None, 3, 300, "under_temperature"),
    "tc1_guard_temperature": (None, 44_000, 2, 200, "guard_over_temperature"),
    "tc1_guard_look_ahead": (None, 45_000, 3, 300, "guard_look_ahead"),
    "tc1_guard_dose": (None, 120_000, 1, 100, "guard_dose"),
    "not_heating": (None, 4_000, 5, 500, "not_heating"),
    "energy_without_temperature": (None, 2_000, 5, 500, "energy_without_temperature"),
    "heating_too_fast": (None, 1_000, 5, 500, "heating_too_fast"),
    "thermocouples_disagree": (None, 4_000, 5, 500, "thermocouples_disagree"),
    "heating_when_off": (None, 3_000, 5, 500, "heating_when_off"),
    "memory": (None, 0, 1, 100, "memory_corrupted"),
    "not_cooling_when_off": (None, 1_500, 5, 500, "not_cooling_when_off"),
}
STATES = range(len(p.STATE_NAMES))
RF_ON = frozenset((p.RAMP, p.HOLD))
RUN = {p.ARMED, p.RAMP, p.HOLD, p.REST}
# Judged in other states than RUN.
PHASES = {
    "rf_while_disabled": set(STATES) - RF_ON,
    "enable_stuck_high": set(STATES),
    **dict.fromkeys(
        (
            "enable_stuck_low",
            "deadman_refused",
            "over_voltage",
            "over_current",
            "over_power",
            "impedance_low",
            "impedance_high",
            "stage_gain",
            "tick_late",
            "ticks_missed",
        ),
        RF_ON,
    ),
    # in REST too: a run in bursts is mostly there
    **dict.fromkeys(
        ("tc1_guard_look_ahead", "not_heating", "energy_without_temperature", "heating_too_fast"),
        RF_ON | {p.REST},
    ),
    "heating_when_off": {p.ARMED, p.REST, p.COOLDOWN},
    "not_cooling_when_off": {p.COOLDOWN},
}
rows = pytest.mark.parametrize("name", EXPECTED)


class Judged:
    """The table at work, all values harmless but the one of row `name`."""

    def __init__(self, name: str, changes: dict[str, int] | None = None) -> None:
        self.limits = LimitTable()
        self.limits.configure(table(VALUES | (changes or {})))
        self.row = safety.ROW[name]
        for row in range(safety.SIZE):
            self.limits.table[row] = self._inside(row) + BIAS

    def _inside(self, row: int) -> int:
        low, high = self.bounds(row)
        return low if low > safety.LOWEST else high

    def bounds(self, row: int) -> tuple[int, int]:
        entries = self.limits.table
        return entries[safety.SIZE + row] - BIAS, entries[2 * safety.SIZE + row] - BIAS

    def judge(self, value: int, state: int) -> int:
        """One sample of `value`; the row that trips, or −1. The group it is judged with goes with it."""
        self.limits.table[self.row] = value + BIAS
        return self.limits.judge(*_group(self.row), state)

    def outside(self) -> list[int]:
        """The nearest values beyond the row's limits."""
        low, high = self.bounds(self.row)
        return [low - 1] * (low > safety.LOWEST) + [high + 1] * (high < safety.HIGHEST)


def _group(row: int) -> tuple[int, int]:
    starts = sorted({0, *safety.POLL_START, *safety.VALUE_START, safety.TIP_START, safety.SIZE})
    return next((start, stop) for start, stop in pairwise(starts) if start <= row < stop)


def a_state(name: str) -> int:
    """A state in which the row is judged."""
    return next(state for state in (p.RAMP, p.IDLE, p.COOLDOWN) if state in PHASES.get(name, RUN))


def test_the_table_is_what_it_should_be() -> None:
    calibrated = table(VALUES | {"calibration_state": calibration.VALID})
    found = {name: (low, high, samples, ms, cause) for name, _, low, high, samples, ms, cause in describe(calibrated)}
    assert found == EXPECTED


def test_without_a_calibration_half_the_power_is_too_much() -> None:
    highest = {row[0]: row[3] for row in describe(table(VALUES))}
    assert highest["over_power"] * 2 == EXPECTED["over_power"][1]


@rows
def test_n_samples_trip_and_one_fewer_does_not(name: str) -> None:
    samples, state = EXPECTED[name][2], a_state(name)
    judged = Judged(name)
    assert judged.outside()
    for value in judged.outside():
        tripped = [judged.judge(value, state) for _ in range(samples)]
        assert tripped == [-1] * (samples - 1) + [judged.row]
        judged.limits.clear()


@rows
def test_a_good_sample_between_starts_the_count_again(name: str) -> None:
    samples, state = EXPECTED[name][2], a_state(name)
    judged = Judged(name)
    low, high = judged.bounds(judged.row)
    good = low if low > safety.LOWEST else high
    bad = judged.outside()[0]
    for _ in range(3):
        assert [judged.judge(bad, state) for _ in range(samples - 1)] == [-1] * (samples - 1)
        assert judged.judge(good, state) == -1
    assert judged.limits.counted(judged.row) == 0


@rows
def test_a_row_is_judged_in_its_states_and_no_other(name: str) -> None:
    samples = EXPECTED[name][2]
    judged_in = []
    for state in STATES:
        judged = Judged(name)
        judged_in += [state] * (judged.row in [judged.judge(judged.outside()[0], state) for _ in range(samples)])
    assert judged_in == sorted(PHASES.get(name, RUN))


@rows
def test_the_limit_that_was_broken_is_told(name: str) -> None:
    judged = Judged(name)
    low, high = judged.bounds(judged.row)
    for value in judged.outside():
        judged.judge(value, a_state(name))
        assert judged.limits.value(judged.row) == value
        assert judged.limits.limit(judged.row) == (low if value < low else high)
        assert judged.limits.beyond(judged.row)
    judged.limits.table[judged.row] = (low if low > safety.LOWEST else high) + BIAS
    assert not judged.limits.beyond(judged.row)


def test_the_gravest_row_of_a_group_comes_first() -> None:
    judged = Judged("enable_stuck_high")
    judged.limits.table[safety.ROW["rf_while_disabled"]] = BIAS + 31
    assert [judged.judge(1, p.IDLE) for _ in range(5)] == [-1, -1, judged.row, judged.row, 0]


@pytest.mark.parametrize("row", range(safety.SIZE))
def test_no_row_of_a_thermocouple_that_is_not_fitted_is_judged(row: int) -> None:
    name = safety.ROWS[row][0]
    alone = {"thermocouples": 1, "tc1_role": 0, "guard_needed": 0}
    judged = Judged(name, alone)
    fitted = name in {line[0] for line in describe(table(VALUES | alone))}
    assert (judged.limits.table[3 * safety.SIZE + row] != 0) == fitted
    assert fitted == (not name.startswith(("tc1", "tc2", "tc3")) and not name.startswith("tc0_guard"))


@pytest.mark.parametrize("role", [plan.ROLE_CONTROL, plan.ROLE_BOUNDARY, plan.ROLE_GUARD])
def test_guard_rows_are_for_guards(role: int) -> None:
    names = {line[0] for line in describe(table(VALUES | {"tc1_role": role}))}
    assert {f"tc1_{name}" in names for name in safety.GUARD_ROWS} == {role == plan.ROLE_GUARD}


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (2, "thermocouple_open"),
        (3, "thermocouple_short"),
        (4, "thermocouple_bus"),
        (5, "thermocouple_config_lost"),
        (6, "cold_junction_range"),
    ],
)
@pytest.mark.parametrize("place", range(plan.THERMOCOUPLES))
def test_a_status_names_its_own_cause(place: int, status: int, cause: str) -> None:
    assert safety.cause_of(safety.POLL_START[place] + safety.STATUS, status) == CAUSE[cause]


def test_every_other_row_names_the_cause_of_the_table() -> None:
    status_rows = [start + safety.STATUS for start in safety.POLL_START]
    for row in set(range(safety.SIZE)) - set(status_rows):
        assert safety.cause_of(row, 0) == CAUSE[safety.ROWS[row][1]]


def test_only_a_lost_lease_is_a_lost_link() -> None:
    assert {CAUSE["lease_lost"]: p.RESULT_LINK_LOST} == safety.CAUSE_RESULT


def test_limits_leave_room_for_the_bias() -> None:
    for changes in ({row[0]: row[2] for row in plan.PARAMETERS}, {row[0]: row[3] for row in plan.PARAMETERS}):
        limits = LimitTable()
        limits.configure(table(changes))
        assert min(limits.table) >= 0
        assert max(limits.table) < 1 << 30


def test_the_limit_that_is_told_is_the_one_that_was_broken() -> None:
    """Of a row with two bounds: the lower one below it, the upper one anywhere else, also at the lower one."""
    judged = Judged("tc0_cold_junction")
    low, high = judged.bounds(judged.row)
    for value, limit in ((low - 1, low), (low, high), (high, high), (high + 1, high)):
        judged.limits.table[judged.row] = value + BIAS
        assert (judged.limits.value(judged.row), judged.limits.limit(judged.row)) == (value, limit)


def test_the_units_are_those_that_people_are_shown() -> None:
    units = {unit for _, _, unit, *_ in safety.ROWS}
    assert units <= {"", "ms", "mV", "µA", "mW", "mΩ", "1/4096", "µs", "ticks", "B", "status", "m°C", "m°C/s"} | {
        "‰ of sense full scale",
        "ms CEM43",
    }


# Four places, any roles, bursts

FOUR = {"thermocouples": 4, "tc2_role": plan.ROLE_BOUNDARY, "tc3_role": plan.ROLE_GUARD}


def _of_place(place: int, changes: dict[str, int]) -> dict[str, tuple[object, ...]]:
    """Its rows without its number: (unit, low, high, samples, ms, cause), and the states and samples at work."""
    values = table(VALUES | changes)
    limits = LimitTable()
    limits.configure(values)
    lines = {name: rest for name, *rest in describe(values) if name.startswith(f"tc{place}")}
    at_work = {
        name: (limits.table[3 * safety.SIZE + safety.ROW[name]], limits.samples(safety.ROW[name])) for name in lines
    }
    return {name[3:]: (*lines[name], *at_work[name]) for name in lines}


def test_every_place_has_the_rows_of_its_role_and_they_are_the_same() -> None:
    control, guard, boundary, other_guard = (_of_place(place, FOUR) for place in range(4))
    assert control == boundary
    assert guard == other_guard
    assert control == {name: row for name, row in guard.items() if not name.startswith("_guard")}
    assert len(guard) == len(control) + len(safety.GUARD_ROWS) == 9


def test_a_guard_may_be_at_the_first_place() -> None:
    swapped = {"tc0_role": plan.ROLE_GUARD, "tc1_role": plan.ROLE_CONTROL}
    assert _of_place(0, swapped) == _of_place(1, {})
    assert _of_place(1, swapped) == _of_place(0, {})


@rows
def test_how_many_samples_a_row_takes_is_told(name: str) -> None:
    judged = Judged(name)
    assert judged.limits.samples(judged.row) == EXPECTED[name][2]


@rows
@pytest.mark.parametrize("burst_ms", [20, 50])
def test_no_row_that_needs_rf_on_takes_more_samples_than_a_burst_has(name: str, burst_ms: int) -> None:
    pulsed = {"mode": plan.MODE_PULSED, "burst_ms": burst_ms}
    needs_rf_on = PHASES.get(name, RUN) == RF_ON
    samples = EXPECTED[name][2]
    expected = min(samples, burst_ms // p.TICK_MS) if needs_rf_on else samples
    assert Judged(name, pulsed).limits.samples(safety.ROW[name]) == expected
    assert Judged(name, {"burst_ms": burst_ms}).limits.samples(safety.ROW[name]) == samples
    told = {line[0]: line[4] for line in describe(table(VALUES | pulsed))}
    assert told[name] == expected


def test_a_table_that_nobody_has_configured_judges_nothing() -> None:
    limits = LimitTable()
    assert list(limits.table) == [BIAS] * safety.SIZE + [0] * (5 * safety.SIZE)
    for state in STATES:
        assert limits.judge(0, safety.SIZE, state) == -1


@rows
def test_configuring_and_clearing_forget_what_was_counted_and_nothing_else(name: str) -> None:
    judged = Judged(name)
    before = list(judged.limits.table)
    for forget in (judged.limits.clear, lambda: judged.limits.configure(table(VALUES))):
        value = judged.outside()[0]
        judged.judge(value, a_state(name))
        assert judged.limits.counted(judged.row) == 1
        forget()
        assert judged.limits.counted(judged.row) == 0
        judged.limits.table[judged.row] = before[judged.row]
        assert list(judged.limits.table) == before


@pytest.mark.parametrize("status", [0, 1])
def test_a_status_that_is_no_fault_names_no_cause(status: int) -> None:
    assert safety.cause_of(safety.POLL_START[0], status) == 0
