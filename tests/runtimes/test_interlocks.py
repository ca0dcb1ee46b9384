"""Each interlock is broken on purpose. Judged by the simulated enable pin, from the moment the world changed."""

from dataclasses import dataclass, field

import pytest

from rfprobe.errors import EXIT_BY_RESULT, ExitCode
from rfprobe.sim.runtimes import make_runtime
from rfprobe_core import protocol, safety
from tests.runtimes.loop import NONCE_SEED, UID, run

AT_S = 6.2
TICK_S = 0.01
POLL_S = 0.12  # 50 Hz mains
SEEN_S = 0.05 + 0.10 + POLL_S  # simulation step, conversion, poll: until the first sample that shows it


@dataclass
class Broken:
    """What is broken, and what must come of it: `row` is the row of the limit table that has to trip.

    Where two places break at once it names both, parted by a bar: the chips' phases decide which is seen first.
    """

    fault: str
    cause: str
    row: str
    seen_s: float
    """How long until the first sample can show it."""
    result: str = "fault"
    exit: ExitCode = ExitCode.SAFETY
    changes: dict[str, int] = field(default_factory=dict[str, int])


DOUBT_S = 2 * POLL_S  # a reading in doubt is asked about by a one-shot conversion first
TABLE = (
    Broken("open:control", "thermocouple_open", "tc0_status", SEEN_S + DOUBT_S),
    Broken("short_gnd:boundary", "thermocouple_short", "tc1_status", SEEN_S),
    Broken("short_vcc:guard", "thermocouple_short", "tc2_status", SEEN_S),
    Broken("bus_zeros:control", "thermocouple_bus", "tc0_status", SEEN_S),
    Broken("bus_ones:guard", "thermocouple_bus", "tc2_status", SEEN_S),
    # a chip in doubt is the next whose configuration is looked at: the third sample knows
    Broken("chip_reset:control", "thermocouple_config_lost", "tc0_status", SEEN_S),
    Broken("chip_reset:guard", "thermocouple_config_lost", "tc2_status", SEEN_S),
    Broken("stuck_bit:control", "thermocouple_config_lost", "tc0_status", SEEN_S),
    Broken("stuck_bit:boundary", "thermocouple_config_lost", "tc1_status", SEEN_S),
    Broken("jump:control", "thermocouple_jump", "tc0_not_believed", SEEN_S),
    Broken("cold_junction:boundary", "cold_junction_range", "tc1_cold_junction", SEEN_S),
    Broken("cold_junction:guard=-30", "cold_junction_range", "tc2_cold_junction", SEEN_S),
    Broken("reversed:guard", "thermocouple_jump", "tc2_not_believed", SEEN_S),
    Broken("swapped", "thermocouple_jump", "tc0_not_believed|tc2_not_believed", SEEN_S),
    Broken("stale:control", "sample_stale", "tc0_age", 1.2 + POLL_S),
    Broken("stale:guard", "sample_stale", "tc2_age", 1.2 + POLL_S),
    Broken("drift:control=4", "over_temperature", "tc0_over_temperature", 5.0, changes={"max_temperature_mC": 55_000}),
    Broken("displaced:guard=5", "guard_over_temperature", "tc2_guard_temperature", 5.0, changes={"guard_trip_mC": 38_500}),  # noqa: E501
    # without current all that is known is V / I_min: the voltage rises by a quarter a tick until that is too much
    Broken("impedance_open", "impedance_high", "impedance_high", 16 * TICK_S),
    Broken("impedance_short=19", "impedance_low", "impedance_low", 8 * TICK_S, changes={"ramp_mC_per_s": 500}),
    Broken("current_stuck=300", "impedance_high", "impedance_high", TICK_S),
    Broken("displaced:guard=4", "guard_look_ahead", "tc2_guard_look_ahead", 1.5),
    Broken("interlock", "interlock_open", "interlock_open", TICK_S),
    Broken("interlock_bounce=20", "interlock_open", "interlock_open", TICK_S),
    Broken("host_silence", "lease_lost", "lease_age", 1.0 + TICK_S, "link_lost", ExitCode.LINK_LOST),
    Broken("deadman_deaf", "deadman_refused", "deadman_refused", TICK_S),
    Broken("stage_off", "stage_weak", "stage_gain", 0.2),
    Broken("stage_gain=0.3", "stage_weak", "stage_gain", 0.2),
    Broken("stage_gain=1.8", "stage_weak", "stage_gain", 0.2),
    Broken("drive_inverted", "over_power", "over_power", 2 * TICK_S),
    Broken("late", "tick_late", "tick_late", TICK_S),
    Broken("missed", "ticks_missed", "ticks_missed", 0.35),
    Broken("enable_low", "enable_stuck_low", "enable_stuck_low", TICK_S),
)  # fmt: skip


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.fault)
def test_a_broken_interlock_ends_rf_and_names_its_cause(broken: Broken, runtime: str) -> None:
    changes = {"hold_ms": 10_000, **broken.changes}
    done = run(make_runtime(runtime, NONCE_SEED, UID), [f"{broken.fault}@{AT_S}"], **changes)
    rows = [safety.ROW[name] for name in broken.row.split("|")]
    row = rows[0]
    samples = safety.ROWS[row][4]
    period_s = TICK_S if row < len(safety.EVERY_TICK) else POLL_S
    (fault,) = done.events(protocol.EVENT_FAULT)
    assert protocol.CAUSES[fault.value("cause")] == broken.cause
    assert fault.value("row") in rows
    # the Nth sample is the one of the fault's own tick: off by the end of it, as the pin shows
    assert done.rf_off_s - (fault.tick - 1) * TICK_S <= TICK_S + 1e-9
    assert fault.tick - fault.value("first_tick") == (samples - 1) * round(period_s / TICK_S)
    # and, whatever the firmware says, within what the row states from the moment the world changed
    assert AT_S <= done.rf_off_s <= AT_S + broken.seen_s + (samples - 1) * period_s + TICK_S
    assert (done.client.result, done.client.cause) == (broken.result, broken.cause)
    assert EXIT_BY_RESULT[done.client.result] == broken.exit
    assert done.plant.enable == 0
    assert done.plant.duty == 0


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_without_a_fault_the_same_run_completes(runtime: str) -> None:
    done = run(make_runtime(runtime, NONCE_SEED, UID), hold_ms=10_000)
    assert done.client.result == "completed"
    assert not done.events(protocol.EVENT_FAULT)


@pytest.mark.parametrize("fault", ["spikes:control", "spikes:guard", "interlock_bounce=10", "missed=4"])
def test_what_passes_is_not_a_fault(fault: str) -> None:
    done = run(make_runtime("cpython", NONCE_SEED, UID), [f"{fault}@{AT_S}+2"], hold_ms=6_000)
    assert done.client.result == "completed"


@pytest.mark.parametrize("fault", ["enable_high", "stage_on"])
def test_rf_that_cannot_be_switched_off_is_the_gravest_fault(fault: str) -> None:
    done = run(make_runtime("cpython", NONCE_SEED, UID), [f"{fault}@{AT_S}"])
    assert done.client.result == "fault"
    assert done.client.cause in protocol.GRAVEST
    assert done.plant.enable == 0  # what the firmware can do is done


@pytest.mark.parametrize(
    ("fault", "cause"), [("voltage_stuck=60000", "over_voltage"), ("current_stuck=64000", "over_current")]
)
def test_a_sense_that_reads_too_much_ends_rf_and_then_cannot_say_that_it_is_off(fault: str, cause: str) -> None:
    done = run(make_runtime("cpython", NONCE_SEED, UID), [f"{fault}@{AT_S}"], hold_ms=10_000)
    first, last = done.events(protocol.EVENT_FAULT)
    assert [protocol.CAUSES[each.value("cause")] for each in (first, last)] == [cause, "rf_while_disabled"]
    assert done.rf_off_s <= AT_S + 3 * TICK_S
    assert last.tick - first.tick <= 8
