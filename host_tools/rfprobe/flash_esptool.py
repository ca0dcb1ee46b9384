"""An image onto an ESP32 by the real esptool, in a process of its own; once fast, then slowly.

The offset belongs to the chip (board.toml): an ESP32's boot ROM looks at 0x1000, an ESP32-S3's at 0. The second try is
slow and without the stub: what gets through a bad cable or a bridge that cannot keep up.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rfprobe.errors import BadInput, EnvironmentProblem, reason_of

IMAGE_MAGIC = 0xE9  # esptool's documentation, "Firmware Image Format", file header
CHIP_IDS = {"esp32": 0, "esp32s3": 9}
"""Chip → the id in an image's extended header (the same page)."""
_CHIP_ID_AT = 12


@dataclass(frozen=True)
class Attempt:
    """How to speak to the boot loader."""

    name: str
    options: tuple[str, ...]


FAST = Attempt("fast", ("--baud", "460800"))
SLOW = Attempt("slow, without the stub", ("--baud", "115200", "--no-stub"))


def check_image(path: Path, chip: str) -> None:
    """Raises BadInput for what is no image for this chip."""
    try:
        head = path.read_bytes()[:24]
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such image") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {reason_of(error)}") from None
    if len(head) < 24 or head[0] != IMAGE_MAGIC:
        raise BadInput(f"{path}: not an ESP32 image: it does not begin with 0x{IMAGE_MAGIC:X}")
    found = head[_CHIP_ID_AT] | head[_CHIP_ID_AT + 1] << 8
    if found != CHIP_IDS[chip]:
        raise BadInput(f"{path}: not an image for {chip}: its chip id is {found}, not {CHIP_IDS[chip]}")


def write_and_verify(
    image: Path,
    port: str,
    chip: str,
    offset: int,
    advice: str,
    say: Callable[[str], None],
    attempts: Sequence[Attempt] = (FAST, SLOW),
) -> Attempt:
    """Write the image, read its digest back; returns the attempt that worked. `say` gets esptool's lines.

    Raises EnvironmentProblem with esptool's last word and `advice` (how to get into the boot loader by hand).
    """
    if importlib.util.find_spec("esptool") is None:
        raise EnvironmentProblem("flashing an ESP32 needs esptool: pip install 'rfprobe[flash]'")
    last = ""
    for attempt in attempts:
        say(f"esptool, {attempt.name}")
        common = [sys.executable, "-m", "esptool", "--chip", chip, "--port", port, *attempt.options]
        place = [hex(offset), str(image)]
        code, last = _run([*common, "--after", "no-reset", "write-flash", *place], say)
        if code == 0:
            code, last = _run([*common, "--after", "hard-reset", "verify-flash", *place], say)
        if code == 0:
            return attempt
    raise EnvironmentProblem(f"{port}: esptool could not flash it: {last}. {advice}")


def _run(command: list[str], say: Callable[[str], None]) -> tuple[int, str]:
    """(exit code, last line that says something)."""
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                last = line.strip()
                say(last)
    return process.returncode, last
