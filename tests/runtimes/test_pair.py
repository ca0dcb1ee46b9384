"""Two channels on one device: they run together, a fault of either stops both, and neither is taken for the other.

Judged by the two simulated enable pins and the tissue's truth.
"""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfprobe.client import FetchBox
from rfprobe.sim.plant import TICK_S, Plant
from rfprobe.sim.runtimes import CPythonRuntime, MicroPythonRuntime, Runtime
from rfprobe_core import plan, protocol
from tests.runtimes.loop import NONCE_SEED, UID, run
from tests.runtimes.pair_loop import BOTH, PairRun, run_pair

RUNTIMES = ("cpython", "micropython")
OTHER = ("fault", "other_channel")

# A fault of one channel → the cause it is told by.
OF_A_CHANNEL = {
    "open:control@6": "thermocouple_open",
    "short_gnd:boundary@6": "thermocouple_short",
    "bus_ones:guard@6": "thermocouple_bus",
    "chip_reset:control@6": "thermocouple_config_lost",
    "stale:control@4": "sample_stale",
    "interlock@6": "interlock_open",
    "stage_off@6": "stage_weak",
    "impedance_open@6": "impedance_high",
    "impedance_short@6": "impedance_low",
    "cold_junction:guard@6": "cold_junction_range",
    "enable_low@6": "enable_stuck_low",
    "upset_limit@6": "memory_corrupted",
}
# What happens to the device as a whole → result and cause, of both channels.
OF_THE_DEVICE = {
    "host_silence@6": ("link_lost", "lease_lost"),
    "late@6": ("fault", "tick_late"),
    "missed@6": ("fault", "ticks_missed"),
    "footswitch@6": ("stopped", "footswitch_released"),
    "operator_stop@6": ("stopped", "operator_stop"),
}


def device(name: str, *, channels: int = 2, locked: bool = False) -> Runtime:
    if name == "cpython":
        return CPythonRuntime(NONCE_SEED, UID, 0, 0, channels=channels)
    return MicroPythonRuntime(NONCE_SEED, UID, 0, 0, lock_heap=locked, channels=channels)


def stopped_together(done: PairRun) -> bool:
    """Both pins went low within a tick."""
    return done.energised(0) and done.energised(1) and abs(done.off_s(0) - done.off_s(1)) < 1.5 * TICK_S


@pytest.mark.parametrize("name", RUNTIMES)
def test_both_reach_their_target_in_one_run(name: str) -> None:
    done = run_pair(device(name))
    assert done.client.result == "completed"
    assert done.words == [("completed", "hold_complete")] * 2
    for plant in done.plants:
        assert 49.5 < plant.peak_C["control"] < 50.6


def test_both_runtimes_send_the_same_bytes() -> None:
    here, there = (run_pair(device(name)).bytes_of(protocol.HELLO, protocol.HEALTH) for name in RUNTIMES)
    assert here == there


def test_each_frame_tells_of_its_own_channel() -> None:
    done = run_pair(device("cpython"))
    told_mJ = [
        max(f.value("energy_mJ") for f in done.frames if f.type == protocol.TELEMETRY and f.channel == channel)
        for channel in (0, 1)
    ]
    for plant, energy_mJ in zip(done.plants, told_mJ, strict=True):
        assert abs(energy_mJ / 1000 / plant.energy_J - 1) < 0.03
    assert told_mJ[0] > 1.2 * told_mJ[1], "the tissues differ, and so must what is told of them"


@pytest.mark.parametrize("fault", ["none", "open:control@6", "2/open:control@6", "2/interlock@6", "host_silence@6"])
def test_nothing_is_allocated(fault: str) -> None:
    done = run_pair(device("micropython", locked=True), [] if fault == "none" else [fault], black_box=FetchBox.ALWAYS)
    assert done.client.result == {"none": "completed", "host_silence@6": "link_lost"}.get(fault, "fault")


def test_a_stop_allocates_nothing_either() -> None:
    done = run_pair(device("micropython", locked=True), stop_at_s=5.0)
    assert done.words == [("stopped", "operator_stop")] * 2
    assert stopped_together(done)


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("fault", OF_A_CHANNEL)
def test_a_fault_of_either_stops_both_at_once(fault: str, channel: int, name: str) -> None:
    done = run_pair(device(name), [f"2/{fault}" if channel else fault])
    assert done.words[channel] == ("fault", OF_A_CHANNEL[fault])
    assert done.words[1 - channel] == OTHER
    assert (done.client.result, done.client.cause) == ("fault", OF_A_CHANNEL[fault])
    assert stopped_together(done)
    ticks = [f.tick for f in done.frames if f.type == protocol.EVENT and f.value("code") == protocol.EVENT_FAULT]
    assert len(set(ticks)) == 1, "both are told of the same tick"


@pytest.mark.parametrize("fault", OF_THE_DEVICE)
def test_what_happens_to_the_device_is_told_alike_by_both(fault: str) -> None:
    changes = {"footswitch_used": 1} if fault.startswith("footswitch") else {}
    stop_at_s = 6.0 if fault.startswith("operator") else None
    done = run_pair(device("cpython"), [] if stop_at_s else [fault], stop_at_s=stop_at_s, **changes)
    assert done.words == [OF_THE_DEVICE[fault]] * 2
    assert stopped_together(done)


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("fault", ["open:control@0", "interlock@0", "deadman_deaf@0", "jump:guard=12@0"])
def test_neither_is_heated_where_one_cannot_be_armed(fault: str, channel: int) -> None:
    done = run_pair(device("cpython"), [f"2/{fault}" if channel else fault])
    assert done.client.result in ("refused", "fault")
    assert not done.energised(0) and not done.energised(1)
    if done.client.result == "refused":
        assert f"(channel {channel + 1})" in done.client.refusal


def test_one_that_is_done_leaves_the_other_to_its_end() -> None:
    """A longer way to the same target: the first is watched while it cools, the second is still heated."""
    seen: set[tuple[int, int]] = set()

    def look(plants: Sequence[Plant]) -> None:
        seen.add((plants[0].enable, plants[1].enable))

    done = run_pair(device("cpython"), ["2/impedance_rise=-0.02@3"], each_tick=look, hold_ms=500)
    assert done.client.result == "completed"
    assert (0, 1) in seen or (1, 0) in seen


@pytest.mark.parametrize("running", [0, 1])
def test_a_plan_for_one_of_them_heats_that_one_alone(running: int) -> None:
    done = run_pair(device("cpython"), channels=plan.CHANNEL_BITS[running])
    assert done.client.result == "completed"
    assert done.energised(running) and not done.energised(1 - running)


@pytest.mark.parametrize("running", [0, 1])
def test_a_fault_of_the_one_that_does_not_run_stops_the_one_that_does(running: int) -> None:
    """RF where nobody wants any is the gravest of all, also on the channel that was left out."""
    fault = "stage_on@6" if running else "2/stage_on@6"
    done = run_pair(device("cpython"), [fault], channels=plan.CHANNEL_BITS[running])
    assert done.words == [OTHER]
    told = {f.value("cause") for f in done.frames if f.type == protocol.EVENT and f.channel != running}
    assert protocol.CAUSE["rf_while_disabled"] in told


def test_the_black_box_is_that_of_the_channel_that_tripped() -> None:
    done = run_pair(device("cpython"), ["2/open:control@6"], black_box=FetchBox.AFTER_FAULT)
    assert {f.channel for f in done.frames if f.type == protocol.BLACKBOX} == {1}
    assert done.client.box is not None and done.client.box.done


def test_a_device_with_one_channel_refuses_a_plan_for_two() -> None:
    done = run(device("cpython", channels=1), channels=BOTH)
    assert done.client.result == "refused" and not done.plant.enable_edges
    assert "channel that this device does not have" in done.client.refusal


def test_each_keeps_a_calibration_of_its_own() -> None:
    runtime = CPythonRuntime(NONCE_SEED, UID, 0, 0, channels=2)
    board, pair = runtime.device.board, runtime.device.controller
    before = list(board.flash)
    assert pair.channels[1].store_calibration() == protocol.ACK_OK
    assert board.flash[:2] == before[:2] and board.flash[2:] != before[2:]


EVENTS = st.tuples(
    st.sampled_from(sorted(OF_A_CHANNEL)).map(lambda fault: fault.partition("@")[0]),
    st.booleans(),
    st.floats(0.0, 14.0).map(lambda at_s: round(at_s, 2)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENTS, min_size=1, max_size=3), st.sampled_from((1, 2, 3)))
def test_no_pin_is_high_after_a_tick_that_ended_with_a_fault(
    events: list[tuple[str, bool, float]], channels: int
) -> None:
    """Whatever goes wrong, where and when: with one of them in FAULT, neither enable is high."""
    runtime = CPythonRuntime(NONCE_SEED, UID, 0, 0, channels=2)
    pair = runtime.device.controller

    def look(plants: Sequence[Plant]) -> None:
        if any(channel.sequence.state == protocol.FAULT for channel in pair.channels):
            assert not plants[0].enable and not plants[1].enable

    faults = [f"{'2/' if second else ''}{fault}@{at_s}" for fault, second, at_s in events]
    done = run_pair(runtime, faults, channels=channels, each_tick=look, most_ticks=2500)
    if channels != BOTH:
        assert not done.energised(channels & 1), "one that does not run is never energised"
