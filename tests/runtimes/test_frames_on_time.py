"""No frame is left out or late because its tick has other work to do."""

import pytest

from rfprobe.sim.runtimes import CPythonRuntime
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, run

LATE_TICKS = 3
"""A tick that polls makes no frame, and each tick makes one at most."""
ENERGISED = (protocol.RAMP, protocol.HOLD)


@pytest.mark.parametrize("mains_hz", [50, 60])
@pytest.mark.parametrize(
    ("kind", "period_ticks", "phase"), [(protocol.TELEMETRY, 5, 0), (protocol.DOSE, 50, 2), (protocol.HEALTH, 100, 4)]
)
def test_frames_come_in_their_period_while_energised(kind: int, period_ticks: int, phase: int, mains_hz: int) -> None:
    done = run(CPythonRuntime(NONCE_SEED, UID, 0, 0), mains_hz=mains_hz, hold_ms=4_000)
    assert done.client.result == "completed"
    ticks = [frame.tick for frame in done.frames if frame.type == kind and frame.state in ENERGISED]
    assert ticks[-1] - ticks[0] > 300
    assert len(ticks) == round((ticks[-1] - ticks[0]) / period_ticks) + 1
    assert max((tick - phase) % period_ticks for tick in ticks) <= LATE_TICKS
