"""The recorded stimulus gives the same frames on the chip as everywhere else, byte for byte."""

import shutil
import zlib
from pathlib import Path

import pytest

from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.resources import shipped
from rfprobe.sim import onboard
from rfprobe.sim.emulated_pico import EmulatedPico
from rfprobe.sim.onboard.exchange import STIMULUS_SIZE
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID
from tests.runtimes.recording import FRAMES, STIMULUS

pytestmark = [pytest.mark.pico, pytest.mark.slow, pytest.mark.timeout(1500)]

LIMIT_us = 120_000_000
RECORDING_MAX = 75_000
WINDOW_BITS = 10  # what the chip keeps of what it has unpacked: 1 KB


def first_part(recording: bytes) -> bytes:
    """Whole ticks from the beginning, as many as the chip's heap has room for beside the firmware."""
    end = at = 0
    while at < len(recording) and at <= RECORDING_MAX:
        end = at
        at += STIMULUS_SIZE
        at += 2 + int.from_bytes(recording[at : at + 2], "little")
    return recording[:end]


def replaying_image(folder: Path) -> Path:
    """The product's core and drivers, the virtual board's files and the recording."""
    shutil.copytree(shipped("firmware"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(onboard.__file__).parent, folder / "onboard", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parent / "replay" / "main.py", folder / "main.py")
    stimulus = first_part(zlib.decompress(STIMULUS.read_bytes()))
    packer = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS)
    compressed = packer.compress(stimulus) + packer.flush()
    given = {
        "COMPRESSED": compressed,
        "SIZE": len(stimulus),
        "NONCE_SEED": NONCE_SEED,
        "UID": UID,
        "START_US": 0,
        "FIRST_TICK": 0,
    }
    (folder / "recording.py").write_text("".join(f"{name} = {value!r}\n" for name, value in given.items()))
    return build_image(collect_inputs("rpi_pico", folder), default_cache()).path


def test_the_recorded_stimulus_gives_the_recorded_frames(tmp_path: Path) -> None:
    try:
        image = replaying_image(tmp_path / "firmware")
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    pico = EmulatedPico()
    pico.boot(image)
    text = bytearray()

    def shown() -> bool:
        text.extend(pico.read())
        return b"\nshown" in text

    assert pico.run_until(shown, LIMIT_us, 10_000), bytes(text[-500:])
    lines = bytes(text).decode().split("\r\n")
    start = next(at for at, line in enumerate(lines) if line.startswith("sent "))
    sent = bytes.fromhex("".join(lines[start + 1 : lines.index("shown")]))
    assert len(sent) == int(lines[start].split()[1])
    frames = [item for item in FrameDecoder().feed(sent) if isinstance(item, Frame)]
    told = b"".join(frame.raw for frame in frames if frame.type != protocol.HELLO)
    print(f"{len(frames)} frames, {len(told)} bytes, the chip at {pico.time_us / 1e6:.1f} s")
    recorded = FRAMES.read_bytes()
    assert len(told) > len(recorded) // 2
    assert told == recorded[: len(told)]
