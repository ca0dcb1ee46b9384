"""`rfprobe deploy`: the firmware as files onto a board that runs MicroPython."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rfprobe.errors import BadInput


def deploy(
    port: Annotated[
        str | None, typer.Option(metavar="P", help="Where the board is; the only one found, or RFPROBE_PORT.")
    ] = None,
    board: Annotated[str, typer.Option(metavar="NAME", help="Which board it is.")] = "rpi_pico",
    firmware: Annotated[
        Path | None, typer.Option("--firmware", metavar="DIR", help="Another firmware folder, with a main.py.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="S", min=0, help="How long to wait for its HELLO; 0: do not.")
    ] = 20.0,
) -> None:
    """Compile the firmware, copy what changed, delete what is stale, verify by hash, restart, and wait for HELLO.

    Files that were not deployed by it, such as a calibration, are left alone.
    """
    from rfprobe.board_file import read_board
    from rfprobe.deploy import compile_firmware, restart
    from rfprobe.deploy import deploy as make_same
    from rfprobe.hello import ports_of, told, wait_for_hello
    from rfprobe.ports import open_port

    known = read_board(board)
    where = port or os.environ.get("RFPROBE_PORT") or _only(ports_of(known.usb))
    files = compile_firmware(known, firmware)
    open_port(where).close()  # says in one line who has it, or what else is wrong with it
    done = make_same(known, files, where, lambda line: print(line, file=sys.stderr))
    print(f"{where}: {len(done.copied)} files copied, {len(done.removed)} removed, {done.unchanged} unchanged")
    restart(where)
    if wait_s:
        _, hello = wait_for_hello(lambda: [where], wait_s)
        print(f"{where}: runs {told(hello)}")


def _only(found: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    raise BadInput(f"rfprobe deploy: which port? Name it with --port; found: {', '.join(found) or 'none'}")
