"""What the flash of an emulated Pico has behind its image: a file system, with the calibration that is kept there.

Made by MicroPython's own littlefs, in the unix VM: the same `--calibration` means the same on every runtime.
"""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import rfprobe_core
from rfprobe.board_file import read_board
from rfprobe.errors import EnvironmentProblem
from rfprobe.resources import shipped
from rfprobe.sim.runtimes import HEAP, micropython_path

NONE = "none"


@dataclass(frozen=True)
class FlashContent:
    """Bytes, and where in the flash they begin."""

    offset_bytes: int
    data: bytes


@cache
def file_system(calibration: str, *files: Path | str, channels: int = 1) -> FlashContent:
    """The Pico's file system with this calibration (onboard/calibrated.py) of each channel, and these files.

    A file goes to the top under its own name, or is told as `NAME=PATH`.

    With `none`, and without files, the flash is empty, as that of a board that has never run.

    Raises EnvironmentProblem where there is no VM to make it.
    """
    flash = read_board("rpi_pico").flash
    size_bytes = int(flash["file_system_KB"]) * 1024
    offset_bytes = int(flash["size_KB"]) * 1024 - size_bytes
    if calibration == NONE and not files:
        return FlashContent(offset_bytes, b"")
    onboard = Path(__file__).parent / "onboard"
    firmware = Path(rfprobe_core.__file__).parent.parent
    told = subprocess.run(
        [
            *(str(_vm()), "-X", f"heapsize={HEAP}", str(onboard / "vm_flash.py")),
            *(calibration, str(channels), str(size_bytes), *files),
        ],
        env={"MICROPYPATH": f"{shipped('boards')}:{firmware}:{onboard.parent}"},
        capture_output=True,
        check=False,
    )
    if told.returncode or len(told.stdout) != size_bytes:
        raise RuntimeError(f"the MicroPython VM made no file system: {told.stderr.decode(errors='replace')[-500:]}")
    return FlashContent(offset_bytes, told.stdout)


def _vm() -> Path:
    try:
        return micropython_path()
    except EnvironmentProblem:
        raise EnvironmentProblem(
            "--runtime pico needs the MicroPython VM to write the calibration into the chip's flash, and there is "
            "none here: --calibration none leaves the flash empty"
        ) from None
