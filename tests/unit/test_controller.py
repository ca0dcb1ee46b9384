"""The tick: from readings to pins, and what is told of it. The wire and the endings at large are tested elsewhere."""

from typing import Any

import pytest

from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.sequence import PROBE_CHECK_TICKS
from rfprobe_core.thermometry import CONFIG_LOST
from tests.unit.scripted_board import Bench, frames

FAST = {"telemetry_ticks": 1}


class Told(Bench):
    """A bench that keeps every frame."""

    def __init__(self, changes: dict[str, int] | None = None) -> None:
        super().__init__(changes)
        self.frames: list[Any] = []

    def tick(self, count: int = 1, lease: bool = False) -> None:
        for _ in range(count):
            if lease:
                self.take_lease()
            self.board.sent.clear()
            super().tick()
            self.frames += frames(self.board.sent)

    def events(self, code: int) -> list[tuple[str, int, int]]:
        """(cause, value, state told in the header) of each event of this kind."""
        found = [frame for frame in self.frames if frame.type == p.EVENT and frame.value("code") == code]
        return [(p.CAUSES[frame.value("cause")], frame.value("value"), frame.state) for frame in found]

    def flags(self) -> set[str]:
        """The flags of a telemetry frame made now."""
        bits = self.controller.flags()
        return {name for bit, name in enumerate(p.FLAG_NAMES) if bits >> bit & 1}


# Readings


@pytest.mark.parametrize("mains_Hz", [50, 60])
def test_each_place_is_read_once_in_a_period_and_only_one_in_a_tick(mains_Hz: int) -> None:
    bench = Bench({"mains_hz": mains_Hz, "thermocouples": 4, "tc2_role": 2, "tc3_role": 2}).in_state(p.IDLE)
    polled = []
    for _ in range(120):
        bench.tick()
        polled.append(bench.controller._polled)
    period = {50: 12, 60: 10}[mains_Hz]
    for start in range(120 - period):
        assert sorted(place for place in polled[start : start + period] if place >= 0) == [0, 1, 2, 3]


def test_at_rest_a_probe_that_was_moved_is_believed_anew() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.board.chips[0].show(21.0)
    bench.tick(60)
    assert bench.controller.thermocouples[0].temperature_mC == 21_000
    assert bench.controller.thermocouples[0].slope_mC_per_s == 0


def test_under_way_a_jump_is_not_believed() -> None:
    bench = Bench().in_state(p.RAMP)
    bench.board.chips[0].show(60.0)
    bench.tick(40)
    assert bench.controller.thermocouples[0].temperature_mC == 37_000


def test_a_chip_that_forgot_its_configuration_is_not_believed_again() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.board.chips[0].registers[1] ^= 0x04
    bench.tick(60)
    bench.board.chips[0].registers[1] ^= 0x04
    bench.tick(60)
    assert bench.controller.arm() == p.ACK_SENSOR
    assert bench.controller.configure() >= 0
    bench.tick(60)
    assert bench.controller.arm() == p.ACK_OK


def test_a_chip_that_did_not_take_its_configuration_is_not_believed() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.controller.chips[0].configure = lambda _kind, _mains_Hz: CONFIG_LOST
    bench.controller.configure()
    bench.tick(60)
    assert bench.controller.arm() == p.ACK_SENSOR


def test_the_same_bits_again_are_believed_until_they_are_too_old() -> None:
    bench = Bench({"max_temperature_mC": 60_000, "kp_mW_per_C": 2_000}).in_state(p.RAMP)
    bench.tick(PROBE_CHECK_TICKS)
    for chip in bench.board.chips:
        chip.frozen = True
    demands = []
    for _ in range(5):
        bench.take_lease()
        bench.tick(12)
        demands.append(bench.controller.demand_mW)
    assert demands == sorted(set(demands))
    bench.take_lease()
    bench.tick(90)
    assert bench.controller.sequence.cause == p.CAUSE["sample_stale"]


@pytest.mark.parametrize(("total_ms", "ends"), [(120_000 - 120, False), (120_001, True)])
def test_the_dose_of_the_guard_ends_a_run(total_ms: int, ends: bool) -> None:
    bench = Bench().in_state(p.RAMP)
    bench.controller.thermocouples[1].dose.total_ms = total_ms
    bench.tick(12)
    assert (bench.controller.sequence.cause == p.CAUSE["guard_dose"]) == ends


def test_the_dose_of_another_place_ends_nothing() -> None:
    bench = Bench().in_state(p.RAMP)
    bench.controller.thermocouples[0].dose.total_ms = 1_000_000
    bench.tick(24)
    assert bench.state == p.RAMP


# From set-point to pins


def test_the_probe_check_is_at_test_power_and_the_set_point_waits() -> None:
    bench = Bench({"test_power_mW": 100}).in_state(p.RAMP)
    bench.tick(PROBE_CHECK_TICKS - 1)
    assert bench.controller.demand_mW == 100
    assert bench.controller.setpoint_mC() == 37_000
    assert bench.controller.power.power_mW == pytest.approx(100, rel=0.1)
    bench.tick(30)
    assert bench.controller.setpoint_mC() > 37_000


def test_no_more_is_asked_for_than_plan_and_stage_allow() -> None:
    for changes in ({"max_power_mW": 500}, {"stage_power_mW": 500}):
        bench = Bench({"test_power_mW": 100, "kp_mW_per_C": 20_000, **changes}).in_state(p.RAMP)
        for _ in range(4):
            bench.take_lease()
            bench.tick(90)
        assert bench.controller.demand_mW == 500
        assert bench.controller.loop.saturated


def ramped_to(control_C: float) -> Told:
    """A run whose set-point has arrived at 40 °C while the tissue is at `control_C`."""
    told = Told({"target_mC": 40_000, "ramp_mC_per_s": 5_000, "hold_ms": 500})
    told.in_state(p.RAMP)
    told.board.chips[0].show(control_C)
    told.tick(240, lease=True)
    return told


def test_the_hold_begins_when_the_tissue_is_there_and_not_before() -> None:
    assert ramped_to(38.5).state == p.RAMP
    assert "HOLD" in {p.STATE_NAMES[frame.state] for frame in ramped_to(39.5).frames}


def test_only_time_near_the_target_counts_as_held() -> None:
    told = Told({"target_mC": 40_000, "ramp_mC_per_s": 5_000, "hold_ms": 500}).in_state(p.HOLD)
    told.board.chips[0].show(38.0)
    told.tick(200, lease=True)
    assert told.state == p.HOLD
    told.board.chips[0].show(40.0)
    told.tick(80, lease=True)
    assert told.controller.sequence.result == p.RESULT_COMPLETED


def test_a_completed_run_tells_its_end_once_and_is_off() -> None:
    told = ramped_to(40.0)
    told.tick(60, lease=True)
    assert [event[:2] for event in told.events(p.EVENT_END)] == [("hold_complete", p.RESULT_COMPLETED)]
    assert [event[1] for event in told.events(p.EVENT_STATE)][-3:] == [p.HOLD, p.COOLDOWN, p.DONE]
    assert (told.board.enabled, told.board.duty, told.board.watchdog_ms) == (False, 0, 0)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"max_rf_on_ms": 1_000}, "rf_on_time_ceiling"), ({"max_energy_mJ": 200}, "energy_ceiling")],
)
def test_a_ceiling_ends_a_run_as_limited(changes: dict[str, int], cause: str) -> None:
    told = Told(changes).in_state(p.RAMP)
    told.tick(150, lease=True)
    assert [event[:2] for event in told.events(p.EVENT_END)] == [(cause, p.RESULT_LIMITED)]
    assert told.controller.power.energy_mJ <= 200 or cause != "energy_ceiling"


# Off


def test_the_watchdog_runs_only_while_energised() -> None:
    bench = Bench().in_state(p.ARMED)
    assert bench.board.watchdog_ms == 0
    bench.controller.start()
    assert 0 < bench.board.watchdog_ms <= 100
    bench.say(b"STOP")
    bench.tick()
    assert bench.board.watchdog_ms == 0


def test_a_stop_ends_one_run_and_not_the_next() -> None:
    bench = Bench().in_state(p.RAMP)
    bench.say(b"STOP")
    bench.tick()
    bench.controller.acknowledge()
    bench.tick()
    bench.drive_to(p.RAMP)
    bench.tick(5)
    assert bench.state == p.RAMP


def test_an_arm_that_is_not_used_gives_the_pins_back() -> None:
    bench = Bench().in_state(p.ARMED)
    before = bench.board.safe_offs
    bench.controller.sequence.left_ticks = 1
    bench.tick()
    assert (bench.state, bench.board.safe_offs) == (p.IDLE, before + 1)


def test_a_stage_that_is_not_seen_low_is_told() -> None:
    told = Told().in_state(p.RAMP)
    told.tick(20)
    told.board.enable_reads = 1
    told.say(b"STOP")
    told.tick(10)
    assert told.events(p.EVENT_FAULT)[0][0] == "safe_off_unverified"
    assert told.controller.sequence.result == p.RESULT_FAULT


def test_rf_that_is_sensed_while_disabled_replaces_any_other_verdict() -> None:
    told = Told().in_state(p.FAULT)
    told.board.load_ohm = None
    told.board.adc = [3_000, 3_000]
    told.tick(20)
    assert [event[0] for event in told.events(p.EVENT_FAULT)] == ["rf_while_disabled"]
    assert told.controller.sequence.cause == p.CAUSE["rf_while_disabled"]


@pytest.mark.parametrize("adc", [[3_000, 0], [0, 3_000]], ids=["volts", "amperes"])
def test_rf_that_is_sensed_at_rest_refuses_arm(adc: list[int]) -> None:
    bench = Bench().in_state(p.IDLE)
    bench.board.load_ohm = None
    bench.board.adc = adc
    bench.tick(2)
    assert bench.controller.arm() == p.ACK_STAGE


@pytest.mark.parametrize("state", [p.IDLE, p.ARMED, p.RAMP, p.HOLD], ids=p.STATE_NAMES.__getitem__)
def test_leaving_the_main_loop_is_a_fault_with_rf_off(state: int) -> None:
    told = Told().in_state(state)
    told.tick(3)
    told.controller.unexpected()
    assert (told.board.enabled, told.state) == (False, p.FAULT)
    assert told.controller.sequence.cause == p.CAUSE["unexpected_error"]
    told.controller.unexpected()
    assert told.controller.faults == 1


@pytest.mark.parametrize(
    ("state", "after", "cause"),
    [
        (p.IDLE, p.IDLE, "none"),
        (p.ARMED, p.STOPPED, "operator_stop"),
        (p.RAMP, p.STOPPED, "operator_stop"),
        (p.HOLD, p.STOPPED, "operator_stop"),
        (p.FAULT, p.FAULT, "operator_stop"),  # the scripted fault's cause has this number: it stays
    ],
)
def test_ctrl_c_is_the_operators_stop(state: int, after: int, cause: str) -> None:
    told = Told().in_state(state)
    told.tick(3)
    told.controller.interrupted()
    assert (told.board.enabled, told.board.duty, told.state) == (False, 0, after)
    assert told.controller.sequence.cause == p.CAUSE[cause]
    assert told.controller.faults == 0


@pytest.mark.parametrize("broken", [1, 2])
def test_a_dead_man_that_fails_its_test_refuses_arm_and_is_a_fault(broken: int) -> None:
    told = Told().in_state(p.IDLE)
    told.board.dead_man_broken = broken
    assert told.controller.arm() == p.ACK_STAGE
    assert (told.state, told.board.enabled) == (p.FAULT, False)
    assert told.controller.sequence.cause == p.CAUSE["self_test_failed"]


def test_the_board_is_told_each_state_for_the_next_boots_hello() -> None:
    told = Told()
    seen: list[int] = []
    for state in (p.IDLE, p.ARMED, p.RAMP, p.HOLD):
        if state == p.IDLE:
            told.in_state(state)
        elif state == p.HOLD:
            told.controller.sequence.hold()
        else:
            told.drive_to(state) if state == p.ARMED else told.controller.start()
        told.tick()
        seen.append(told.board.phase)
    assert seen == [p.IDLE, p.ARMED, p.RAMP, p.HOLD]


def test_the_footswitch_ends_a_run_when_it_is_up_for_two_ticks() -> None:
    told = Told({"footswitch_used": 1}).in_state(p.RAMP)
    for pressed in (True, False, True, False, False):
        told.board.footswitch_pressed = pressed
        assert told.state == p.RAMP
        told.tick()
    assert told.controller.sequence.cause == p.CAUSE["footswitch_released"]
    assert told.controller.sequence.result == p.RESULT_STOPPED


def test_a_footswitch_that_is_not_used_ends_nothing() -> None:
    told = Told().in_state(p.RAMP)
    told.board.footswitch_pressed = False
    told.tick(10)
    assert told.state == p.RAMP


# What is told


def test_a_fault_names_row_value_limit_and_its_first_sample() -> None:
    told = Told().in_state(p.RAMP)
    told.tick(5)
    told.board.interlock_closed = False
    told.tick(6)
    fault = next(frame for frame in told.frames if frame.type == p.EVENT and frame.value("code") == p.EVENT_FAULT)
    assert p.CAUSES[fault.value("cause")] == "interlock_open"
    assert (fault.value("value"), fault.value("limit"), fault.tick - fault.value("first_tick")) == (1, 0, 1)


def test_flags_say_what_is() -> None:
    told = Told(FAST | {"footswitch_used": 0, "kp_mW_per_C": 20_000, "max_power_mW": 200})
    assert not told.flags() & {"enable", "lease", "configured", "probe_check", "saturated", "limited"}
    told.in_state(p.RAMP)
    told.tick()
    assert told.flags() == {"enable", "interlock_closed", "footswitch", "lease", "configured", "probe_check"}
    told.tick(130, lease=True)
    assert told.flags() == {"enable", "interlock_closed", "footswitch", "lease", "configured", "saturated"}
    told.board.interlock_closed = told.board.footswitch_pressed = False
    told.tick()
    assert told.flags() == {"enable", "lease", "configured", "saturated"}


def test_a_limited_run_is_flagged() -> None:
    told = Told({"max_rf_on_ms": 1_000}).in_state(p.RAMP)
    told.tick(120, lease=True)
    assert "limited" in told.flags()


def test_the_set_point_is_told_only_while_there_is_one() -> None:
    told = Told(FAST).in_state(p.RAMP)
    told.tick(100, lease=True)
    assert told.controller.setpoint_mC() > 0
    told.say(b"STOP")
    told.tick()
    assert told.controller.setpoint_mC() == 0


def test_hello_says_who_it_is() -> None:
    told = Told().in_state(p.IDLE)
    told.say(b"HELLO\n")
    for _ in range(10):
        told.controller.rest()
        told.tick()
    (hello,) = [frame.hello for frame in told.frames if frame.type == p.HELLO]
    assert {name: hello[name] for name in ("board", "uid", "schema", "reset", "caps", "dead_man")} == {
        "board": "scripted",
        "uid": "scripted",
        "schema": "1",
        "reset": "power_on",
        "caps": ",".join(plan.MODE_NAMES[mode][:5] for mode in plan.MODES_AVAILABLE),
        "dead_man": "scripted",
    }
    assert hello["proto"] == p.protocol_digest()


# Missed ticks


@pytest.mark.parametrize(("missed", "ends"), [(10, False), (11, True)])
def test_missed_ticks_add_up_to_a_fault(missed: int, ends: bool) -> None:
    bench = Bench().in_state(p.RAMP)
    bench.tick()
    bench.controller.tick(missed + 1, 0)
    assert (bench.state == p.FAULT) == ends


def test_a_missed_tick_is_forgotten_after_a_second() -> None:
    bench = Bench().in_state(p.RAMP)
    for _ in range(30):
        bench.take_lease()
        bench.controller.tick(2, 0)
        bench.tick(98)
    assert bench.state == p.RAMP


def test_a_new_run_does_not_pay_for_the_ticks_that_were_missed_at_rest() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.controller.tick(50, 0)
    bench.tick(40)
    bench.take_lease()
    bench.drive_to(p.RAMP)
    bench.tick()
    assert bench.state == p.RAMP
