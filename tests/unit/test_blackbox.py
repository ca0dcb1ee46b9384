"""The black box on the board: what it keeps of each tick, when it is closed, and who gets it when."""

import struct
from typing import Any

import pytest

from rfprobe.wire import command_line
from rfprobe_core import blackbox, safety
from rfprobe_core import protocol as p
from rfprobe_core.blackbox import RECORDS
from tests.unit.scripted_board import Bench, frames

NAMES = [name for name, _, _ in p.RECORD_FIELDS]


def fetched(bench: Bench, first: int = 0, most: int = RECORDS) -> list[dict[str, int]]:
    """Ask for the records, and give what comes, by name."""
    bench.board.sent.clear()
    bench.say(command_line(9, "BLACKBOX", first, most))
    for _ in range(-(-most // p.RECORDS_PER_FRAME) * 2 + 20):
        bench.controller.rest()
        bench.tick()
    return [
        dict(zip(NAMES, record, strict=True))
        for frame in frames(bench.board.sent)
        if frame.type == p.BLACKBOX
        for record in frame.records
    ]


def answers(bench: Bench, line: bytes) -> list[int]:
    bench.board.sent.clear()
    bench.say(line)
    bench.tick(4)
    return [frame.value("code") for frame in frames(bench.board.sent) if frame.type == p.ACK]


def tripped(bench: Bench, after: int = 50) -> Bench:
    """A run that an open interlock has ended."""
    bench.tick(after)
    bench.board.interlock_closed = False
    bench.tick(2)
    assert bench.state == p.FAULT
    return bench


def armed_again(bench: Bench) -> None:
    """The next run, after a fault that was acknowledged."""
    bench.board.interlock_closed = True
    bench.tick(2)
    assert bench.controller.acknowledge() == p.ACK_OK
    assert bench.controller.configure() >= 0
    bench.take_lease()
    bench.tick(70)
    bench.take_lease()
    assert bench.controller.arm() == p.ACK_OK


def test_a_record_has_the_size_and_fields_that_are_told() -> None:
    assert struct.calcsize(p.RECORD) == p.RECORD_SIZE == 2 * len(p.RECORD_FIELDS)
    head = struct.calcsize(p.FRAMES[p.BLACKBOX][1])
    assert head + p.RECORDS_PER_FRAME * p.RECORD_SIZE <= p.MAX_BODY


def test_the_rows_it_tells_of_the_tip_are_those() -> None:
    told = {
        "not_heating": blackbox._ROW_NOT_HEATING,
        "energy_without_temperature": blackbox._ROW_SHORTFALL,
        "thermocouples_disagree": blackbox._ROW_DISAGREE,
        "heating_when_off": blackbox._ROW_HEATING_WHEN_OFF,
        "not_cooling_when_off": blackbox._ROW_NOT_COOLING,
    }
    assert {name: safety.ROW[name] for name in told} == told


def test_it_holds_every_tick_of_a_run_and_the_one_that_ended_it() -> None:
    bench = Bench().in_state(p.RAMP)
    began = bench.controller.tick_count
    kept = fetched(tripped(bench))
    assert [record["tick"] for record in kept] == list(range(began + 1, began + 53))
    assert [record["flags"] >> 3 & 1 for record in kept] == [0] * 50 + [1, 1]
    assert [record["seen"] & 0xF for record in kept[-2:]] == [p.RAMP, p.FAULT]
    assert [record["seen"] >> 11 for record in kept[-2:]] == [p.RAMP, p.RAMP]
    assert (kept[-1]["duty"], kept[-1]["flags"] & p.RECORD_ENABLE) == (0, 0)


def test_of_a_long_run_the_last_ten_seconds_are_kept_oldest_first() -> None:
    bench = Bench({"hold_ms": 60_000}).in_state(p.HOLD)
    for _ in range(17):
        bench.take_lease()
        bench.tick(90)
    bench.take_lease()
    kept = fetched(tripped(bench))
    assert len(kept) == RECORDS == 1_000
    last = bench.controller.box.last_tick
    assert [record["tick"] for record in kept] == list(range(last - 999, last + 1))


def test_a_record_says_what_its_tick_saw_and_did() -> None:
    bench = Bench().in_state(p.RAMP)
    told: list[dict[str, Any]] = []
    for _ in range(120):
        bench.take_lease()
        bench.tick()
        c = bench.controller
        told.append(
            {
                "voltage_cV": c.power.voltage_mV // 10,
                "current_dmA": c.power.state[1] // 100,
                "power_mW": c.power.power_mW,
                "demand_mW": c.demand_mW,
                "impedance_dohm": min(c.power.impedance_mohm // 100, 65_535),
                "duty": c.stage.duty,
                "setpoint_cC": c.ramp.value_mC // 10,
                "gain": c.power.gain,
            }
        )
    polled = bench.controller._control.temperature_mC
    kept = fetched(tripped(bench, after=0))
    assert [{name: record[name] for name in told[0]} for record in kept[:120]] == told
    seen = [record["seen"] >> 4 & 7 for record in kept]
    assert {p.SEEN_NOTHING, p.SEEN_PLACE, p.SEEN_PLACE + 1, p.SEEN_TIP} == set(seen)
    readings = [record["detail0"] | record["detail1"] << 16 for record in kept if record["seen"] >> 4 & 7 == 1]
    assert readings[-1] == polled


def test_lateness_and_missed_ticks_are_in_it() -> None:
    bench = Bench().in_state(p.RAMP)
    bench.controller.tick(3, 4_321)
    kept = fetched(tripped(bench, after=1))
    assert (kept[0]["late_us"], kept[0]["flags"] >> 8) == (4_321, 3)
    assert (kept[1]["late_us"], kept[1]["flags"] >> 8) == (0, 1)


@pytest.mark.parametrize("state", [p.IDLE, p.ARMED, p.RAMP, p.HOLD, p.COOLDOWN])
def test_nobody_gets_a_box_that_is_still_being_written(state: int) -> None:
    bench = Bench().in_state(state)
    assert answers(bench, command_line(5, "BLACKBOX", 0, 7)) == [p.ACK_WRONG_STATE]
    assert fetched(bench, most=7) == []


@pytest.mark.parametrize("state", [p.DONE, p.STOPPED, p.FAULT])
def test_any_end_closes_it_and_nothing_is_added_afterwards(state: int) -> None:
    bench = Bench().in_state(state)
    bench.tick()
    closed = bench.controller.box.last_tick
    bench.tick(50)
    kept = fetched(bench)
    assert kept[-1]["tick"] == closed == bench.controller.box.last_tick


def test_whoever_acknowledges_the_fault_still_gets_it_until_the_next_run_is_armed() -> None:
    bench = tripped(Bench().in_state(p.RAMP))
    before = fetched(bench)
    bench.board.interlock_closed = True
    bench.tick(2)
    assert bench.controller.acknowledge() == p.ACK_OK
    bench.tick(30)
    assert fetched(bench) == before
    bench.controller.acknowledge()
    armed_again(bench)
    bench.tick(3)
    assert answers(bench, command_line(6, "BLACKBOX", 0, 7)) == [p.ACK_WRONG_STATE]


@pytest.mark.parametrize(("first", "most"), [(-1, 5), (53, 1), (0, -1)])
def test_records_that_are_not_there_are_refused(first: int, most: int) -> None:
    bench = tripped(Bench().in_state(p.RAMP))
    assert bench.controller.box.count == 52
    assert answers(bench, command_line(7, "BLACKBOX", first, most)) == [p.ACK_BAD_VALUE]
    assert answers(bench, b"BLACKBOX all now\n") == [p.ACK_BAD_VALUE]


def test_a_part_of_it_can_be_asked_for() -> None:
    bench = tripped(Bench().in_state(p.RAMP))
    whole = fetched(bench)
    assert fetched(bench, 10, 9) == whole[10:24]  # frames are always of seven
    assert fetched(bench, 50, 100) == whole[50:]
    assert fetched(bench, 52, 1) == []


def test_a_host_that_never_asks_hears_nothing_of_it() -> None:
    bench = tripped(Bench().in_state(p.RAMP))
    bench.board.sent.clear()
    for _ in range(200):
        bench.controller.rest()
        bench.tick()
    assert p.BLACKBOX not in {frame.type for frame in frames(bench.board.sent)}


def test_arming_ends_the_sending() -> None:
    bench = tripped(Bench().in_state(p.RAMP), after=300)
    bench.say(command_line(3, "BLACKBOX", 0, RECORDS))
    bench.controller.rest()
    armed_again(bench)
    bench.board.sent.clear()
    for _ in range(60):
        bench.controller.rest()
        bench.tick()
    tripped(bench)
    for _ in range(60):
        bench.controller.rest()
        bench.tick()
    assert p.BLACKBOX not in {frame.type for frame in frames(bench.board.sent)}


def test_telemetry_of_every_tick_and_the_box_share_the_link() -> None:
    bench = tripped(Bench({"telemetry_ticks": 1}).in_state(p.RAMP))
    bench.board.sent.clear()
    assert len(fetched(bench)) == 52
    assert p.TELEMETRY in {frame.type for frame in frames(bench.board.sent)}


def test_a_stop_is_heard_while_it_is_sent() -> None:
    bench = tripped(Bench().in_state(p.RAMP))
    bench.say(command_line(3, "BLACKBOX", 0, RECORDS))
    bench.controller.rest()
    bench.tick()
    assert p.ACK_OK in answers(bench, b"STOP\n")
