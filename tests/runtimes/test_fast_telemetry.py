"""A frame in every tick: acks, doses and health have to find their way between, and nothing is lost for it."""

import pytest

from rfprobe.sim.runtimes import make_runtime
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, Run, run


def at_100_Hz(*faults: str, hold_ms: int = 2_000) -> Run:
    return run(make_runtime("cpython", NONCE_SEED, UID), faults, telemetry_ticks=1, hold_ms=hold_ms)


def dropped(done: Run) -> int:
    return max(frame.value("frames_dropped") for frame in done.frames if frame.type == protocol.HEALTH)


def test_no_frame_is_dropped_for_acks() -> None:
    done = at_100_Hz()
    assert done.client.result == "completed"
    assert (dropped(done), done.client.decoder.lost) == (0, 0)
    told = [frame.tick for frame in done.frames if frame.type == protocol.TELEMETRY and frame.state == protocol.HOLD]
    assert len(told) >= 0.9 * (told[-1] - told[0])


def test_what_a_stalled_link_costs_is_counted() -> None:
    done = at_100_Hz("link_stalled@5+0.5", hold_ms=4_000)
    assert dropped(done) == pytest.approx(50 - 10, abs=6)
    assert done.client.decoder.lost == dropped(done)
