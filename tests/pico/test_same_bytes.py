"""The recorded stimulus of each mode gives the same frames on the chip as everywhere else, byte for byte."""

import shutil
import zlib
from pathlib import Path

import pytest

from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.resources import shipped
from rfprobe.sim import onboard
from rfprobe.sim.emulated_pico import EmulatedPico
from rfprobe.sim.pico_flash import file_system
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, SHORT_BY_MODE, UID
from tests.runtimes.recording import files_of

pytestmark = [pytest.mark.pico, pytest.mark.slow, pytest.mark.timeout(3600)]

LIMIT_us = 300_000_000
WINDOW_BITS = 12  # what the chip keeps of what it has unpacked: 4 KB
NAME = "stimulus.z"
# The others last longer, and are the same code but for a class of their own.
MODES = [mode if mode == "pulsed" else pytest.param(mode, marks=pytest.mark.long) for mode in SHORT_BY_MODE]


def replaying_image(folder: Path) -> Path:
    """The product's core and drivers, the virtual board's files, and the names of the recording."""
    shutil.copytree(shipped("firmware"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(onboard.__file__).parent, folder / "onboard", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parent / "replay" / "main.py", folder / "main.py")
    given = {"NAME": NAME, "NONCE_SEED": NONCE_SEED, "UID": UID, "START_US": 0, "FIRST_TICK": 0}
    (folder / "recording.py").write_text("".join(f"{name} = {value!r}\n" for name, value in given.items()))
    return build_image(collect_inputs("rpi_pico", folder), default_cache()).path


def packed(mode: str, folder: Path) -> Path:
    """The whole recording, for a chip with little memory to unpack it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS)
    path = folder / NAME
    path.write_bytes(packer.compress(zlib.decompress(files_of(mode)[0].read_bytes())) + packer.flush())
    return path


@pytest.mark.parametrize("mode", MODES)
def test_the_recorded_stimulus_gives_the_recorded_frames(mode: str, tmp_path: Path) -> None:
    try:
        image = replaying_image(tmp_path / "firmware")
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    kept = file_system("none", packed(mode, tmp_path))
    pico = EmulatedPico()
    pico.write_flash(kept.offset_bytes, kept.data)
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
    print(f"{mode}: {len(frames)} frames, {len(told)} bytes, the chip at {pico.time_us / 1e6:.1f} s")
    assert told == files_of(mode)[1].read_bytes()
