"""`rfprobe flash`: an image onto a board, by the way that its chip has."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfprobe.errors import BadInput, EnvironmentProblem

if TYPE_CHECKING:
    from rfprobe.board_file import BoardFile


def flash(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A .uf2 file for RP2040, a .bin file for ESP32.")],
    board: Annotated[str, typer.Option(metavar="NAME", help="Which board it is.")] = "rpi_pico",
    volume: Annotated[
        Path | None, typer.Option("--volume", metavar="DIR", help="RP2040: the boot loader's volume, if not found.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="P", help="Where the board is, or will be; RFPROBE_PORT if not given.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="S", min=0, help="How long to wait for its HELLO; 0: do not.")
    ] = 20.0,
) -> None:
    """Flash a board, and say what it then runs.

    RP2040: hold BOOTSEL while plugging it in; the image is checked, copied onto its volume and synced. ESP32: by
    esptool, written and verified, a second time slowly if need be.
    """
    from rfprobe.board_file import read_board

    known = read_board(board)
    method = str(known.flash["method"])
    port = port or os.environ.get("RFPROBE_PORT") or None
    _names_of(port, known)  # a name that means nothing is refused before anything is written
    if method == "uf2":
        _by_volume(known, image, volume)
    else:
        if volume is not None:
            raise BadInput(f"--volume: {board} is flashed through its port")
        _by_esptool(known, image, port)
    _say_what_it_runs(known, port, wait_s)


def _by_volume(board: "BoardFile", image: Path, volume: Path | None) -> None:
    from rfprobe.flash_uf2 import check_volume, copy_image, find_volume, read_uf2

    checked = read_uf2(image, board.mcu)
    name, file = str(board.flash["volume"]), str(board.flash["volume_file"])
    try:
        place = volume or find_volume(name, file)
    except EnvironmentProblem as problem:
        raise EnvironmentProblem(f"{problem}. {board.flash['by_hand']}") from None
    check_volume(place, file, name)
    copy_image(checked, place, _show_progress)
    print(f"{image}: {len(checked.content)} bytes are on {place}", file=sys.stderr)


def _by_esptool(board: "BoardFile", image: Path, port: str | None) -> None:
    from rfprobe.flash_esptool import check_image, write_and_verify
    from rfprobe.owner import take_port
    from rfprobe.port_names import resolve_port

    chip = str(board.flash["chip"])
    check_image(image, chip)
    port = resolve_port(port)
    take_port(port).close()
    used = write_and_verify(
        image,
        port,
        chip,
        int(board.flash["offset"]),
        str(board.flash["by_hand"]),
        lambda line: print(line, file=sys.stderr),
    )
    print(f"{image}: written and verified on {port} ({used.name})", file=sys.stderr)


def _show_progress(written: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if written == total else "\r"
        print(f"{100 * written // total:3} % of {total} bytes", end=end, file=sys.stderr, flush=True)


def _say_what_it_runs(board: "BoardFile", port: str | None, wait_s: float) -> None:
    if not wait_s:
        return
    from rfprobe.hello import told, wait_for_hello

    where, hello = wait_for_hello(lambda: _names_of(port, board), wait_s)
    print(f"{where}: runs {told(hello)}")


def _names_of(port: str | None, board: "BoardFile") -> list[str]:
    """Where the board may be by now: nowhere yet, or at the port that was named, or at those that look like its own."""
    from rfprobe.hello import ports_of
    from rfprobe.port_names import resolve_port

    if port is None:
        return ports_of(board.usb)
    try:
        return [resolve_port(port)]
    except EnvironmentProblem:
        return []  # it is in its boot loader, and its serial number with it
