"""An image onto a chip that shows its boot loader as a volume: the RP2040 (data sheet, 2.8.4 "USB Boot ROM Mode").

Volume and image are checked before a byte is written: INFO_UF2.TXT names the board, and each block of a UF2 file
(UF2 specification, "File format") its place and the chip family it is for. The chip restarts by itself as soon as it
has the last block, and the volume goes: an error after that is no error.
"""

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rfprobe.errors import BadInput, EnvironmentProblem, reason_of

BLOCK = 512
FAMILIES = {"rp2040": 0xE48BFF56}
"""Chip → family id (the UF2 project's list of families)."""
_HEAD = struct.Struct("<8I")
_MAGICS = (0x0A324655, 0x9E5D5157)
_END = 0x0AB16F30
_HAS_FAMILY = 0x00002000
_CHUNK = 128 * BLOCK
_GONE = (errno.ENOENT, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.EBADF)
"""What a system says of a volume that is not there any more."""
_MOUNTS = ("/media/*/*", "/media/*", "/run/media/*/*", "/Volumes/*", "/mnt/*")


@dataclass(frozen=True)
class Uf2Image:
    """A checked image."""

    path: Path
    content: bytes
    family: int


def read_uf2(path: Path, mcu: str) -> Uf2Image:
    """Read and check an image for this chip. Raises BadInput with what is wrong."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such image") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {reason_of(error)}") from None
    if not content or len(content) % BLOCK:
        raise BadInput(f"{path}: not a whole UF2 file: {len(content)} bytes are no number of {BLOCK}-byte blocks")
    wanted = FAMILIES[mcu]
    count = len(content) // BLOCK
    for number in range(count):
        head: tuple[int, ...] = _HEAD.unpack_from(content, number * BLOCK)
        (end,) = struct.unpack_from("<I", content, (number + 1) * BLOCK - 4)
        if head[:2] != _MAGICS or end != _END:
            raise BadInput(f"{path}: not a UF2 file: block {number} is none")
        if head[5] != number or head[6] != count:
            raise BadInput(f"{path}: not a whole UF2 file: block {number} says it is {head[5]} of {head[6]}")
        if not head[2] & _HAS_FAMILY or head[7] != wanted:
            raise BadInput(f"{path}: not an image for {mcu}: its family is {head[7]:#010x}, not {wanted:#010x}")
    return Uf2Image(path, content, wanted)


def find_volume(name: str, file: str) -> Path:
    """Where the boot loader's volume is mounted. Raises EnvironmentProblem for none, BadInput for several."""
    found = [place for place in _mounted() if place.name == name or (place / file).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"several boot loaders are mounted: name one with --volume: {', '.join(map(str, found))}")
    raise EnvironmentProblem(f"no {name} volume is mounted")


def _mounted() -> Iterator[Path]:
    if sys.platform == "win32":
        yield from (Path(f"{letter}:/") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ" if Path(f"{letter}:/").exists())
        return
    seen: set[Path] = set()
    for pattern in _MOUNTS:
        for place in Path("/").glob(pattern.lstrip("/")):
            if place.is_dir() and place.is_mount() and place not in seen:
                seen.add(place)
                yield place


def check_volume(volume: Path, file: str, board_id: str) -> dict[str, str]:
    """What INFO_UF2.TXT says. Raises BadInput for a volume of another board, or of none."""
    try:
        text = (volume / file).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        raise BadInput(f"{volume}: not a boot loader's volume: it has no {file}") from None
    except OSError as error:
        raise EnvironmentProblem(f"{volume / file}: cannot be read: {reason_of(error)}") from None
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    if told.get("Board-ID") != board_id:
        raise BadInput(f"{volume}: another board: {file} says Board-ID {told.get('Board-ID')!r}, not {board_id!r}")
    return told


def copy_image(image: Uf2Image, volume: Path, progress: Callable[[int, int], None]) -> None:
    """Write the image onto the volume and wait until it is there. `progress(bytes written, of how many)`.

    Raises EnvironmentProblem with what was written before it ended: the chip then still has its boot loader.
    """
    target = volume / image.path.name
    total, written = len(image.content), 0
    try:
        with _open(target) as file:
            while written < total:
                written += file.write(image.content[written : written + _CHUNK])
                progress(written, total)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if written == total and error.errno in _GONE:
            return  # it has taken the last block and restarts
        raise EnvironmentProblem(_why(volume, error, written, total)) from None


def _open(path: Path):  # pyright: ignore[reportUnknownParameterType]
    """Unbuffered: what `write` says was written has gone to the system."""
    return path.open("wb", buffering=0)


def _why(volume: Path, error: OSError, written: int, total: int) -> str:
    told = f"{written} of {total} bytes were written; nothing was started"
    if error.errno in _GONE:
        return f"{volume}: the board was unplugged or restarted: {told}. Plug it in with BOOTSEL held and flash again"
    if error.errno == errno.EROFS:
        return f"{volume}: it is mounted read-only: {told}. Mount it again, writable"
    if error.errno == errno.ENOSPC:
        return f"{volume}: no space is left: {told}. Take away what else is on it, or plug the board in again"
    return f"{volume}: cannot be written: {reason_of(error)}: {told}"
