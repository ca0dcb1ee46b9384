"""`rfprobe report`: one session as one HTML file, and its plots as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from rfprobe.errors import BadInput


def report(
    session: Annotated[
        str, typer.Argument(metavar="SESSION", help='A path, an id (or how it begins), or "last".')
    ] = "last",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE|DIR", help="Where to write; beside the session if not given."),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", "-d", metavar="DIR", help="Where the sessions are: -o if a directory, or sessions."
        ),
    ] = None,
    picture: Annotated[bool, typer.Option(help="Write the plots as a PNG beside the report as well.")] = True,
) -> None:
    """Write a session's report: one HTML file.

    It has the verdict in words, the figures, plots, plan, profile and versions, and needs no other file.
    """
    from rfprobe.report import write_report
    from rfprobe.session import DEFAULT_DIRECTORY, open_session

    into = output if output is not None and output.is_dir() else None
    with open_session(session, directory or into or DEFAULT_DIRECTORY) as opened:
        path = _target(opened.path, output, into)
        written = write_report(opened, path, path.with_suffix(".png") if picture else None)
    for each in written:
        print(each)


def _target(session: Path, output: Path | None, into: Path | None) -> Path:
    if into is not None:
        return into / f"{session.stem}.html"
    target = output or session.with_suffix(".html")
    if target.suffix not in (".html", ".htm"):
        raise BadInput(f"{target}: neither a directory nor a name that ends in .html")
    if not target.parent.is_dir():
        raise BadInput(f"{target.parent}: there is no such directory")
    return target
