"""`rfprobe report`: one session as one HTML file, its plots as a picture, all of it as a PDF; several side by side."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from rfprobe.errors import BadInput


def report(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SESSION...",
            help='Paths, ids (or how they begin), or "last", which is the default; several are put side by side.',
        ),
    ] = None,
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
    pdf: Annotated[bool, typer.Option("--pdf", help="Write the report as a PDF beside it as well.")] = False,
) -> None:
    """Write a session's report: one HTML file.

    It has the verdict in words, the figures, plots, plan, profile and versions, and needs no other file. Of several
    sessions: one page with all of them side by side, plots on the same axes, and what was set differently.
    """
    from rfprobe.session import DEFAULT_DIRECTORY

    wanted = sessions or ["last"]
    into = output if output is not None and output.is_dir() else None
    where = directory or into or DEFAULT_DIRECTORY
    if len(wanted) > 1:
        if pdf:
            raise BadInput("--pdf: of one session only; the page of several prints from a browser")
        written = _compare(wanted, where, output, into)
    else:
        written = _report(wanted[0], where, output, into, picture, pdf)
    for each in written:
        print(each)


def _report(
    which: str, directory: Path, output: Path | None, into: Path | None, picture: bool, pdf: bool
) -> list[Path]:
    from rfprobe.report import write_files, write_report
    from rfprobe.session import open_session

    with open_session(which, directory) as opened:
        path = _target(opened.path, output, into)
        written = write_report(opened, path, path.with_suffix(".png") if picture else None)
        if pdf:
            from rfprobe.report_pdf import build_pdf

            written += write_files({path.with_suffix(".pdf"): build_pdf(opened)})
    return written


def _compare(wanted: list[str], directory: Path, output: Path | None, into: Path | None) -> list[Path]:
    from rfprobe.report import write_files
    from rfprobe.report_compare import MOST, build_comparison
    from rfprobe.session import open_session

    if len(wanted) > MOST:
        raise BadInput(f"rfprobe report: {len(wanted)} sessions; at most {MOST} fit side by side")
    with ExitStack() as stack:
        opened = [stack.enter_context(open_session(each, directory)) for each in wanted]
        first = opened[0].path
        path = _target(first.with_name(f"{first.stem}_beside_{len(wanted) - 1}"), output, into)
        return write_files({path: build_comparison(opened).encode()})


def _target(session: Path, output: Path | None, into: Path | None) -> Path:
    if into is not None:
        return into / f"{session.stem}.html"
    target = output or session.with_suffix(".html")
    if target.suffix not in (".html", ".htm"):
        raise BadInput(f"{target}: neither a directory nor a name that ends in .html")
    if not target.parent.is_dir():
        raise BadInput(f"{target.parent}: there is no such directory")
    return target
