"""What the device says: which frames come when, what gives way, what a field holds."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe.wire import encode_frame
from rfprobe_core import protocol as p
from rfprobe_core.reporter import SLOT_SIZE, SLOTS, Reporter
from tests.unit.scripted_board import Bench, ScriptedBoard, frames

ACKS = 6  # for so many there is always room


def said(bench: Bench, ticks: int) -> list[Any]:
    """The frames of so many ticks."""
    bench.board.sent.clear()
    bench.tick(ticks)
    return frames(bench.board.sent)


@pytest.mark.parametrize("telemetry_ticks", [1, 2, 3, 4, 5, 7, 10, 50, 100])
def test_at_any_rate_of_telemetry_dose_and_health_are_told_too(telemetry_ticks: int) -> None:
    bench = Bench({"telemetry_ticks": telemetry_ticks}).in_state(p.IDLE)
    bench.tick(60)
    count = Counter(frame.type for frame in said(bench, 1_000))
    assert count[p.DOSE] == 20
    assert count[p.HEALTH] == 10
    assert 1_000 // telemetry_ticks - 30 <= count[p.TELEMETRY] <= -(-1_000 // telemetry_ticks)


def test_telemetry_comes_at_the_plans_rate() -> None:
    bench = Bench({"telemetry_ticks": 5}).in_state(p.IDLE)
    ticks = [frame.tick for frame in said(bench, 500) if frame.type == p.TELEMETRY]
    assert {later - earlier for earlier, later in pairwise(ticks)} == {5}


def test_frames_are_numbered_without_a_gap() -> None:
    bench = Bench().in_state(p.RAMP)
    numbers = [frame.sequence for frame in said(bench, 90)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_link_that_is_not_ready_delays_and_then_drops_telemetry_never_acks() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.tick(20)
    bench.board.link_is_ready = False
    bench.tick(300)
    for command_id in range(1, ACKS + 1):
        bench.say(b"%d STATUS\n" % command_id)
    bench.board.link_is_ready = True
    heard = said(bench, SLOTS)
    assert [frame.value("id") for frame in heard if frame.type == p.ACK] == list(range(1, ACKS + 1))
    assert bench.controller.reporter.frames_dropped > 40


def test_a_dropped_frame_leaves_a_gap_in_the_numbers() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.tick(20)
    first = said(bench, 10)[-1].sequence
    bench.board.link_is_ready = False
    bench.tick(300)
    bench.board.link_is_ready = True
    numbers = [frame.sequence for frame in said(bench, 40)]
    assert numbers[-1] - first == len(numbers) + bench.controller.reporter.frames_dropped


def test_health_counts_frames_and_tells_what_is_left_of_the_lease() -> None:
    bench = Bench().in_state(p.IDLE)
    bench.tick(150)
    sent = bench.controller.reporter.frames_sent
    bench.take_lease()
    leased_at = bench.controller.tick_count
    heard = said(bench, 100)
    (health,) = [frame for frame in heard if frame.type == p.HEALTH]
    before = sum(frame.sequence < health.sequence for frame in heard)
    assert sent < health.value("frames_sent") <= sent + before
    assert health.value("lease_left_ms") == 1_000 - 10 * (health.tick - leased_at)
    assert (health.value("faults"), health.value("ticks_missed"), health.value("lines_refused")) == (0, 0, 0)


def test_one_frame_a_tick_and_none_unasked() -> None:
    bench = Bench().in_state(p.IDLE)
    for _ in range(60):
        bench.board.sent.clear()
        bench.tick()
        assert len(bench.board.sent) <= 1


@given(st.integers(-(1 << 30), (1 << 30) - 1), st.sampled_from((255, 0xFFFF, p.U32_MAX)))
def test_what_does_not_fit_a_field_is_clipped_and_flagged(value: int, highest: int) -> None:
    reporter = Reporter()
    assert reporter.clip(value, highest) == min(max(value, 0), highest)
    assert reporter.clamped == (not 0 <= value <= highest)


@pytest.mark.parametrize(
    ("attribute", "value", "field", "shown"),
    [
        ("voltage_mV", 655_360, "voltage_cV", 65_535),
        ("current_uA", 6_553_600, "current_dmA", 65_535),
        ("power_mW", 65_536, "power_mW", 65_535),
        ("power_mW", -1, "power_mW", 0),
    ],
)
def test_a_clipped_field_is_flagged_once(attribute: str, value: int, field: str, shown: int) -> None:
    bench = Bench()
    board = ScriptedBoard()
    kept = getattr(bench.controller.power, attribute)
    for each in (value, kept):
        setattr(bench.controller.power, attribute, each)
        bench.controller.reporter.telemetry(bench.controller)
        bench.controller.reporter.pump(board)
    first, second = frames(board.sent)
    assert first.value(field) == shown
    assert first.value("flags") & p.FLAG_FIELD_CLAMPED
    assert not second.value("flags") & p.FLAG_FIELD_CLAMPED


def test_every_frame_fits_its_slot_and_the_payload() -> None:
    """HELLO and the black box have a buffer of their own, of the largest frame."""
    assert len(encode_frame(p.BLACKBOX, (0, 0, 0))) <= p.MAX_FRAME
    for kind, (_, _, fields) in p.FRAMES.items():
        if kind not in (p.HELLO, p.BLACKBOX):
            assert len(encode_frame(kind, [0] * len(fields))) <= SLOT_SIZE


def test_an_impedance_that_is_not_known_is_told_as_none() -> None:
    bench = Bench()
    bench.controller.power.impedance_mohm = 123_400
    for known in (False, True):
        bench.controller.power.impedance_known = known
        bench.controller.reporter.telemetry(bench.controller)
        bench.controller.reporter.pump(bench.board)
    assert [frame.value("impedance_dohm") for frame in frames(bench.board.sent)] == [65_535, 1_234]
