"""`rfprobe devices`, `doctor` and `console`: what is plugged in, what stands in the way, and the board's prompt."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from rfprobe.commands_run import PortOption
from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")]


def devices(port: PortOption = None, as_json: JsonOption = False) -> None:
    """List boards: port, USB id, and what each runs, by its own word.

    Looks at USB ports, RFPROBE_PORT, the names of bench.toml, and volumes of bootloaders. A board is asked for HELLO;
    one whose port is owned is left alone.
    """
    from rfprobe.bench_file import read_bench
    from rfprobe.devices import find_devices
    from rfprobe.port_names import resolve_port

    bench = read_bench()
    found = find_devices(bench, resolve_port(port, bench) if port is not None else None)
    if as_json:
        print(json.dumps([each.as_json() for each in found], ensure_ascii=False))
        return
    if not found:
        print("no board was found; `rfprobe doctor` may say why")
    for each in found:
        names = f" ({', '.join(each.aliases)})" if each.aliases else ""
        usb = f" [{each.usb}{f', serial {each.serial}' if each.serial else ''}]" if each.usb else ""
        print(f"{each.port}{names}{usb}: {each.text}")


def doctor(
    port: PortOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where sessions go.")] = Path(
        "sessions"
    ),
    as_json: JsonOption = False,
) -> None:
    """Find what may stand in the way of a run, each finding with its cure. Exit code 8 if something would stop it."""
    from rfprobe.bench_file import read_bench
    from rfprobe.doctor import examine
    from rfprobe.port_names import resolve_port

    bench = read_bench()
    found = examine(bench, output, resolve_port(port, bench) if port is not None else None)
    if as_json:
        print(json.dumps([vars(each) for each in found], ensure_ascii=False))
    else:
        for each in found:
            mark = "WRONG" if each.grave else "note " if each.cure else "good "
            print(f"{mark} {each.what}: {each.found}" + (f"\n      cure: {each.cure}" if each.cure else ""))
    if any(each.grave for each in found):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def console(port: PortOption = None) -> None:
    """Stop RF, see that it is off, then open the board's prompt with `mpremote repl` (Ctrl-] leaves it).

    The firmware is interrupted only by your own Ctrl-C there, and switches RF off on the way out.
    """
    from importlib.util import find_spec

    from rfprobe.bench_file import read_bench
    from rfprobe.commands_run import stop_directly
    from rfprobe.devices import look_at
    from rfprobe.owner import take_port
    from rfprobe.port_names import resolve_port

    if find_spec("mpremote") is None:
        raise EnvironmentProblem("rfprobe console needs mpremote: pip install 'rfprobe[pico]'")
    name = resolve_port(port, read_bench())
    take_port(name).close()
    if not sys.stdin.isatty():
        raise BadInput("rfprobe console: stdin is no terminal, and the prompt is to be typed at")
    device = look_at(name)
    if device.runs == "firmware":
        print(stop_directly(name))
    print(f"{name}: {device.text}", file=sys.stderr)
    done = subprocess.run([sys.executable, "-m", "mpremote", "connect", name, "repl"], check=False)
    if done.returncode:
        raise EnvironmentProblem(f"mpremote ended with exit code {done.returncode}")
