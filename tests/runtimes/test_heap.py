"""Inside the VM with the heap locked: listening and ticking allocate nothing, in any state, whatever happens."""

import shutil
from pathlib import Path

import pytest

import rfprobe_core
from rfprobe.client import FetchBox
from rfprobe.sim.runtimes import MicroPythonRuntime
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, run

FAULTS = {
    "none": "completed",
    "open:control@6": "fault",
    "short_gnd:boundary@6": "fault",
    "bus_ones:guard@6": "fault",
    "chip_reset:control@6": "fault",
    "jump:control@6": "fault",
    "cold_junction:guard@6": "fault",
    "stale:control@4": "fault",
    "spikes:control@3": None,
    "impedance_open@6": "fault",
    "impedance_short@6": "fault",
    "stage_off@6": "fault",
    "interlock@6": "fault",
    "host_silence@6": "link_lost",
    "host_flood@6": "link_lost",
    "host_garbage@6": "link_lost",
    "late@6": "fault",
    "missed@6": "fault",
    "deadman_deaf@6": "fault",
    "enable_high@6": "fault",
    "link_stalled@6+0.5": "completed",
}


def locked(firmware: Path | None = None) -> MicroPythonRuntime:
    return MicroPythonRuntime(NONCE_SEED, UID, 0, 0, lock_heap=True, firmware=firmware)


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_allocated(fault: str) -> None:
    done = run(locked(), [] if fault == "none" else [fault])
    assert FAULTS[fault] in (None, done.client.result)


def test_a_whole_run_passes_through_every_state_and_every_frame() -> None:
    done = run(locked(), black_box=FetchBox.ALWAYS)
    states = {protocol.STATE_NAMES[frame.state] for frame in done.frames}
    assert states == {"SELF_TEST", "IDLE", "ARMED", "RAMP", "HOLD", "COOLDOWN", "DONE"}
    assert {frame.type for frame in done.frames} == set(protocol.FRAMES)


def test_a_stop_allocates_nothing() -> None:
    done = run(locked(), stop_at_s=5.0)
    assert (done.client.result, done.client.state) == ("stopped", protocol.STOPPED)


def test_a_planted_allocation_is_caught(tmp_path: Path) -> None:
    shutil.copytree(Path(rfprobe_core.__file__).parent.parent, tmp_path / "firmware")
    planted = tmp_path / "firmware" / "rfprobe_core" / "controller.py"
    source = planted.read_text()
    assert source.count("    def _act(self):\n") == 1
    planted.write_text(source.replace("    def _act(self):\n", "    def _act(self):\n        self.kept = [1]\n"))
    with pytest.raises(RuntimeError, match="MemoryError"):
        run(locked(tmp_path / "firmware"))
