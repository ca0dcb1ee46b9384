"""`rfprobe replay`: a session once more, behind a port for any tool to watch, or through today's control core."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfprobe.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from rfprobe.session import Session


def replay(
    session: Annotated[
        str, typer.Argument(metavar="SESSION", help='A path, an id (or how it begins), or "last".')
    ] = "last",
    directory: Annotated[Path, typer.Option("--directory", "-d", metavar="DIR", help="Where the sessions are.")] = Path(
        "sessions"
    ),
    speed: Annotated[float, typer.Option(metavar="X", help="How many times as fast as it was.")] = 1.0,
    through: Annotated[
        bool, typer.Option("--through", help="Feed its SPI words and ADC counts to today's control core instead.")
    ] = False,
    pin: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --through: make a pytest of it in this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Replay a session.

    Without --through the frames come out of a port as they came in, from the moment on that somebody asks for HELLO
    (`rfprobe monitor --port P`). With it, the first tick is shown in which today's core decides otherwise (exit 8).
    """
    from rfprobe.session import open_session

    if not 0.01 <= speed <= 1000:
        raise BadInput(f"--speed {speed:g}: must be 0.01 to 1000")
    if pin is not None and not through:
        raise BadInput("--pin: goes with --through")
    with open_session(session, directory) as opened:
        if through:
            _through(opened, pin, as_json)
        else:
            _serve(opened, speed, as_json)


def _through(session: "Session", pin_into: Path | None, as_json: bool) -> None:
    from rfprobe.pin_record import pin, replay_through

    found = replay_through(session)
    difference = found.difference
    if as_json:
        told = None if difference is None else vars(difference)
        print(json.dumps({"schema": 1, "session_id": session.id, "ticks": found.ticks, "difference": told}))
    elif difference is None:
        print(f"{session.id}: {found.ticks} ticks, no difference")
    else:
        print(f"{session.id}: first difference in tick {difference.tick} ({difference.t_s:.2f} s): {difference.text}")
    if pin_into is not None:
        for path in pin(session, pin_into):
            print(f"pinned: {path}", file=sys.stderr)
    if difference is not None:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _serve(session: "Session", speed: float, as_json: bool) -> None:
    from rfprobe.commands_simulate import stop_signals
    from rfprobe.errors import OperatorStop
    from rfprobe.replay import Replayed
    from rfprobe.serve import ByteServer

    with stop_signals() as stop_requested, ByteServer() as server:
        links = server.links()
        print(json.dumps({"schema": 1, "links": links}) if as_json else "\n".join(links), flush=True)
        print("the session is behind these ports and begins when HELLO is asked for; Ctrl-C ends it", file=sys.stderr)
        played = Replayed(session, speed)
        if not played.into(server, stop_requested):
            raise OperatorStop("rfprobe: stopped")
    print(f"{played.frames} frames replayed", file=sys.stderr)
