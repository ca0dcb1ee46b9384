"""`rfprobe sessions`: what was recorded, and whether it is whole."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfprobe.errors import BadInput, CheckFailed, ExitCode, ExpectedError

if TYPE_CHECKING:
    from rfprobe.session_diff import Differences
    from rfprobe.session_verify import Verification

sessions_app = typer.Typer(
    help="List, verify and compare recorded sessions.",
    epilog="Example: rfprobe sessions list && rfprobe sessions verify last",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DirectoryOption = Annotated[
    Path, typer.Option("--directory", "-d", metavar="DIR", help="Where the sessions are.", show_default=True)
]


@sessions_app.command("list", epilog="Example: rfprobe sessions list -d sessions --json")
def list_(
    directory: DirectoryOption = Path("sessions"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")] = False,
) -> None:
    """List sessions, the newest first, with how each run ended."""
    from rfprobe.session import list_sessions

    rows = [_described(path) for path in reversed(list_sessions(directory))]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        print(f"{directory}: there are no sessions here")
        return
    _print_table(rows)


def _described(path: Path) -> dict[str, Any]:
    """One session in a few words; a file that cannot be read says so instead."""
    from rfprobe.session import Session
    from rfprobe.summary import find_verdict

    row: dict[str, Any] = {"session_id": path.stem, "path": str(path), "result": None, "error": None}
    try:
        with Session(path) as session:
            verdict = find_verdict(session)
            (frames,) = session.rows("SELECT count(*) FROM frames")[0]
            row.update(
                plan=session.meta.get("plan_name"),
                runtime=session.meta.get("runtime"),
                started_utc=session.meta.get("started_utc"),
                result=verdict["result"],
                stop_reason=verdict["reason"],
                frames=frames,
                closed=session.closed,
            )
    except ExpectedError as error:
        row["error"] = str(error).removeprefix(f"{path}: ")
    return row


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from rfprobe.words import result_title

    table = Table(box=None, pad_edge=False)
    for heading in ("session", "plan", "runtime", "frames", "ended"):
        table.add_column(heading, justify="right" if heading == "frames" else "left", overflow="fold")
    for row in rows:
        ended = row["error"] or result_title(row["result"])
        if row["result"] not in (None, "completed"):
            ended += f": {row['stop_reason']}"
        if row.get("closed") is False:
            ended += " (not closed)"
        cells = (row["session_id"], row.get("plan"), row.get("runtime"), row.get("frames"), ended)
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)


@sessions_app.command("verify", epilog="Example: rfprobe sessions verify last")
def verify(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION...", help='Paths, ids, or "last", which is the default.'),
    ] = None,
    directory: DirectoryOption = Path("sessions"),
    every: Annotated[bool, typer.Option("--all", help="Every session of the directory.")] = False,
) -> None:
    """Check sessions against themselves.

    Looks at the file's structure, every frame's CRC, the decoded rows, and gaps. Exit code 8 if any fails.
    """
    from rfprobe.session import find_session, list_sessions
    from rfprobe.session_verify import verify_path

    paths = list_sessions(directory) if every else [find_session(each, directory) for each in sessions or ["last"]]
    found = [verify_path(path) for path in paths]
    for each in found:
        _print_verification(each)
    if not found:
        raise BadInput(f"{directory}: there are no sessions here")
    if not all(each.passed for each in found):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _print_verification(found: "Verification") -> None:
    if found.passed:
        counts = f"{found.frames} frames, {found.lost} lost, {found.dropped} dropped by the device"
        print(f"{found.path}: good: {counts}")
    for problem in found.problems:
        print(f"{found.path}: failed: {problem}", file=sys.stderr)
    for note in found.notes:
        print(f"{found.path}: note: {note}")


@sessions_app.command("diff", epilog="Example: rfprobe sessions diff 20260304T05 last")
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help='A path, an id (or how it begins), or "last".')],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    directory: DirectoryOption = Path("sessions"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare two sessions and name the first difference; exit code 8 if there is one.

    Compared are plan values, tissue, seed and faults, and then every frame, byte for byte. HELLO and HEALTH are left
    out: they differ from machine to machine.
    """
    from rfprobe.session import open_session
    from rfprobe.session_diff import diff_sessions

    with open_session(first, directory) as ours, open_session(second, directory) as theirs:
        found = diff_sessions(ours, theirs)
        names = f"{ours.id} and {theirs.id}"
    if as_json:
        told = {"schema": 1, "same": found.none, "first": found.first_told or None, "given": list(found.given)}
        print(json.dumps({**told, "frames": {"compared": found.compared, "differing": found.frames}}))
    elif found.none:
        print(f"{names}: the same in {found.compared} frames")
    else:
        _print_differences(found)
    if not found.none:
        raise CheckFailed(f"{names} differ: {found.first_told}")


def _print_differences(found: "Differences") -> None:
    for line in found.given:
        print(line)
    if found.first:
        print(found.first)
        print(f"{found.frames} of {found.compared} frames differ")
