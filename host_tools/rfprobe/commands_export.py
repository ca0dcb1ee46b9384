"""`rfprobe export`: sessions as CSV, Parquet or MCAP."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rfprobe.errors import BadInput

_FORMATS = ("csv", "parquet", "mcap")


def export(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION...", help='Paths, ids (or how they begin), or "last", which is the default.'),
    ] = None,
    kind: Annotated[str, typer.Option("--format", metavar="csv|parquet|mcap", help="What to write.")] = "csv",
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the files go.")] = Path("export"),
    directory: Annotated[
        Path, typer.Option("--directory", "-d", metavar="DIR", help="Where the sessions are.", show_default=True)
    ] = Path("sessions"),
    every: Annotated[bool, typer.Option("--all", help="Every session of the directory.")] = False,
) -> None:
    """Write sessions for other programs, in SI units.

    CSV is a folder for each session. Parquet is partitioned by device, date and session, so that one query takes
    any number of them. MCAP is a file for each session. The numbers are the session's own.
    """
    if kind not in _FORMATS:
        raise BadInput(f"--format {kind}: must be one of {', '.join(_FORMATS)}")
    if output.exists() and not output.is_dir():
        raise BadInput(f"{output}: not a directory")
    from rfprobe.export import export as write
    from rfprobe.owner import give_way
    from rfprobe.session import Session, find_session, list_sessions

    paths = list_sessions(directory) if every else [find_session(each, directory) for each in sessions or ["last"]]
    if not paths:
        raise BadInput(f"{directory}: there are no sessions here")
    give_way()
    for path in paths:
        with Session(path) as session:
            written = write(session, kind, output)
        for each in written:
            print(each.path)
        if not session.closed:
            print(f"{path}: note: not closed by its writer; exported as far as it goes", file=sys.stderr)
