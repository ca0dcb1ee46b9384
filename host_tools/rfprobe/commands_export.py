"""`rfprobe export`: sessions in the formats that other tools read."""

from pathlib import Path
from typing import Annotated

import typer

from rfprobe.errors import BadInput


def export(
    sessions: Annotated[
        list[str] | None, typer.Argument(metavar="SESSION...", help='Paths, ids, or "last", which is the default.')
    ] = None,
    kind: Annotated[str, typer.Option("--format", "-f", metavar="csv|parquet|mcap", help="What to write.")] = "csv",
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write it.")] = Path("export"),
    directory: Annotated[Path, typer.Option("--directory", "-d", metavar="DIR", help="Where the sessions are.")] = Path(
        "sessions"
    ),
    every: Annotated[bool, typer.Option("--all", help="Every session of the directory.")] = False,
) -> None:
    """Export sessions as CSV, Parquet or MCAP.

    Parquet is partitioned by table, device, date and session, for DuckDB, Polars, Dask or Spark. A folder can take
    any number of sessions; its manifest.json says which, with hashes, and schema.json has every column's unit.
    """
    from rfprobe.export import export as write
    from rfprobe.session import Session, find_session, list_sessions

    paths = list_sessions(directory) if every else [find_session(each, directory) for each in sessions or ["last"]]
    if not paths:
        raise BadInput(f"{directory}: there are no sessions here")
    for path in paths:
        with Session(path) as session:
            for written in write(session, kind, output):
                print(written)
