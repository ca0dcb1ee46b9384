"""`rfprobe deploy`: the firmware as files onto a board that runs MicroPython."""

import sys
from pathlib import Path
from typing import Annotated

import typer


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
    from rfprobe.hello import told, wait_for_hello
    from rfprobe.owner import take_port
    from rfprobe.port_names import resolve_port

    known = read_board(board)
    where = resolve_port(port)
    take_port(where).close()  # says in one line who has it, or what else is wrong with it
    files = compile_firmware(known, firmware)
    done = make_same(known, files, where, lambda line: print(line, file=sys.stderr))
    print(f"{where}: {len(done.copied)} files copied, {len(done.removed)} removed, {done.unchanged} unchanged")
    restart(where)
    if wait_s:
        _, hello = wait_for_hello(lambda: [where], wait_s)
        print(f"{where}: runs {told(hello)}")
