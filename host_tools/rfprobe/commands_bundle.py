"""`rfprobe bundle`: a session with all that explains it in one file; a simulated one simulated again."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rfprobe.errors import BadInput, CheckFailed

_RERUN = "rerun"


def bundle(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION | rerun FILE", help='A path, an id (or how it begins), or "last"; or rerun.'),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; <session>.zip if not given.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="R", help="With rerun: what runs the firmware; as then if not given.")
    ] = None,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", metavar="DIR", help="Where the sessions are.", show_default=True)
    ] = Path("sessions"),
) -> None:
    """Put a session and all that explains it into one zip file, for a bug report; or simulate it again from one.

    In it: session, plan, profile, device info, versions, digests, installed packages, and bench.toml where there is
    one. `rerun FILE` simulates a simulated session again: every frame must have the same bytes, else exit code 8 with
    the first difference.
    """
    wanted = what or ["last"]
    if wanted[0] == _RERUN:
        if len(wanted) != 2 or output is not None:
            raise BadInput("rfprobe bundle rerun: takes one bundle, and writes nothing")
        _rerun(Path(wanted[1]), runtime)
        return
    if len(wanted) > 1:
        raise BadInput("rfprobe bundle: one session at a time")
    if runtime is not None:
        raise BadInput("--runtime: it goes with rerun")
    _pack(wanted[0], output, directory)


def _pack(which: str, output: Path | None, directory: Path) -> None:
    from rfprobe.bundle import write_bundle
    from rfprobe.session import open_session

    with open_session(which, directory) as opened:
        path = output or Path(f"{opened.id}.zip")
        if path.is_dir():
            path = path / f"{opened.id}.zip"
        if path.suffix != ".zip":
            raise BadInput(f"{path}: neither a directory nor a name that ends in .zip")
        names = write_bundle(opened, path)
    print(f"{path}: {', '.join(names)}")


def _rerun(file: Path, runtime: str | None) -> None:
    from rfprobe.bundle import open_bundle, rerun

    with open_bundle(file) as (index, session), tempfile.TemporaryDirectory() as folder:
        found = rerun(session, Path(folder), runtime)
    name = index["session_id"]
    for each in found.other_sources:
        print(f"{name}: note: the {each} here is not the one that recorded it")
    if not found.differences.none:
        raise CheckFailed(f"{name}: another run on {found.runtime}: {found.differences.first_told}")
    print(f"{name}: the same bytes in all {found.differences.compared} frames, on {found.runtime}")
