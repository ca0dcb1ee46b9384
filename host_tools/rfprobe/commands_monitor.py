"""`rfprobe monitor`: watch a device, a run that another process owns, or a session; on a screen or as CSV lines."""

import math
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfprobe.commands_run import PortOption
from rfprobe.errors import BadInput, OperatorStop

if TYPE_CHECKING:
    from rfprobe.sources import Source

QUIET_S = 3.0  # a board says something twenty times a second


def monitor(
    port: PortOption = None,
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="SESSION", help="A session, instead of a port.")
    ] = None,
    speed: Annotated[float, typer.Option(metavar="X", help="With --replay: how many times as fast as it was.")] = 1.0,
    lines: Annotated[bool, typer.Option("--lines", help="CSV on stdout, one line for each telemetry frame.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where sessions are.")] = Path(
        "sessions"
    ),
) -> None:
    """Watch: state, temperatures, power, dose, events, and what was lost on the way.

    Attaches to the run that owns the port; where nobody does, it owns the port itself, and records. Keys: S stops RF
    from anywhere, m adds a note, p pauses the plot (recording goes on), arrows scroll, + and - zoom, t changes what is
    plotted, c which channel where there are two, q quits. --lines ends with the channel, 0 or 1.
    """
    from rfprobe.commands_simulate import stop_signals
    from rfprobe.port_names import resolve_port
    from rfprobe.session import open_session
    from rfprobe.sources import Watching

    if not 0.01 <= speed <= 1000:
        raise BadInput(f"--speed {speed:g}: must be 0.01 to 1000")
    if not lines and not sys.stdout.isatty():
        raise BadInput("rfprobe monitor: stdout is no terminal: give --lines for CSV")
    session = open_session(replay, output) if replay is not None else None
    name = resolve_port(port) if session is None else None
    with Watching(name, session, speed, output) as watching:
        if lines:
            # a flag, not an exception: that could strike where the recorder holds a lock, or be lost in a callback
            with stop_signals() as stop_requested:
                _print_lines(watching.source, stop_requested)
        else:
            from rfprobe.monitor import Monitor

            Monitor(watching.source).run_to_the_end()


def _print_lines(source: "Source", stop_requested: Callable[[], bool]) -> None:
    from rfprobe.watched import Watched, WatchedChannel
    from rfprobe.words import name_of
    from rfprobe_core import protocol

    watched = Watched(source.parameters, second_parameters=source.second)
    more = WatchedChannel(source.second).names if source.second else ()
    names = tuple(dict.fromkeys((*watched.names, *more)))
    print(",".join(("utc", "t_s", "state", *names, "energy_J", "lost", "dropped", "channel")), flush=True)
    quiet_from_s: float | None = time.monotonic() + QUIET_S
    for chunk in source.chunks():
        if stop_requested():
            raise OperatorStop("rfprobe: stopped")
        if chunk is None:
            if quiet_from_s is not None and time.monotonic() > quiet_from_s:
                print(f"{source.title}: nothing is heard; still listening (Ctrl-C ends it)", file=sys.stderr)
                quiet_from_s = None
            continue
        unlike = watched.another_protocol
        telemetry = watched.feed(*chunk)
        if watched.another_protocol and not unlike:
            print(f"{source.title}: {watched.another_protocol}", file=sys.stderr)
        for frame in telemetry:
            quiet_from_s = None
            values = watched.channel(frame.channel).row(frame)
            told = [
                "" if math.isnan(value) else f"{value:g}" for value in (values.get(name, math.nan) for name in names)
            ]
            utc = datetime.fromtimestamp(chunk[0] / 1e9, UTC).isoformat(timespec="milliseconds")
            dropped = "" if watched.dropped is None else str(watched.dropped)
            state = name_of(protocol.STATE_NAMES, frame.state)
            tail = (f"{frame.value('energy_mJ') / 1000:g}", str(watched.decoder.lost), dropped, str(frame.channel))
            print(",".join((utc, f"{watched.now_s:.3f}", state, *told, *tail)), flush=True)
