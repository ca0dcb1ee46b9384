"""The report as a PDF: verdict and figures, the plots, then what happened and what was set. Text stays text."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from rfprobe import words
from rfprobe.report import channel_title, scene_of, subtitle_of, timeline, versions_of
from rfprobe.report_channels import channel_subtitle, versions_of_channels, warnings_of
from rfprobe.report_plots import PALETTE, picture
from rfprobe.session import Session
from rfprobe.summary_words import channel_figures, device_figures, figures, tiles, uncalibrated

_A4_IN = (8.27, 11.69)
_LINES = 78
_COLUMNS = 96
_BAR_COLUMNS = 82
_SETTINGS: dict[Any, Any] = {"pdf.fonttype": 42, "font.family": "DejaVu Sans"}


def build_pdf(session: Session) -> bytes:
    """The whole file; the same session gives the same bytes."""
    file = io.BytesIO()
    runs = session.runs()
    session = session if len(runs) > 1 else runs[0]
    title = str(session.summary["plan"] or session.id)
    about = {"Title": f"{title}: ablation report", "Creator": "rfprobe", "CreationDate": None}
    with mpl.rc_context(_SETTINGS), PdfPages(file, metadata=about) as pages:
        for page in _pages(session, runs):
            pages.savefig(page)
    return file.getvalue()


def _pages(session: Session, runs: Sequence[Session]) -> Iterator[Figure]:
    """A title page, the plots of each channel (of two after a page of its figures), then text."""
    several = len(runs) > 1
    numbers = count(1)
    yield _front(session, runs, next(numbers))
    for each in runs:
        if several:
            yield _channel_page(session, each, next(numbers))
        summary = each.summary
        title = channel_title(each) if several else str(summary["plan"] or each.id)
        drawn = picture([scene_of(each)], f"{title}: {words.result_title(summary['result']).lower()}", [])
        drawn.set_size_inches(*_A4_IN)
        next(numbers)
        yield drawn
    for lines in _paged(_lines(session, runs)):
        yield _text_page(lines, next(numbers))


def _front(session: Session, runs: Sequence[Session], number: int) -> Figure:
    summary = session.summary
    figure = _page(number)
    several = len(runs) > 1
    told = "  ".join(warnings_of(runs)) if several else uncalibrated(summary)
    if told:
        look: dict[str, Any] = {"color": "white", "backgroundcolor": "#b3261e", "fontsize": 9, "fontweight": "bold"}
        _text(figure, 0.985, textwrap.fill(told, _BAR_COLUMNS), **look)
    _text(figure, 0.93, str(summary["plan"] or session.id), fontsize=20, fontweight="bold")
    _text(figure, 0.895, subtitle_of(session), fontsize=8, color=PALETTE["faint"])
    result = cast(str | None, summary["result"])
    _text(figure, 0.87, words.result_title(result), fontsize=16, fontweight="bold")
    told = "  ".join(part for part in (words.result_sentence(result), str(summary["stop_text"] or "")) if part)
    _text(figure, 0.842, textwrap.fill(told, _COLUMNS), fontsize=9)
    rows = device_figures(summary) if several else figures(summary)
    _rows(figure, 0.80, rows)
    if several:
        _side_by_side(figure, 0.77 - _ROW * len(rows), runs)
    _text(figure, 0.06, f"Session {session.id}", fontsize=7, color=PALETTE["faint"])
    return figure


_ROW = 0.021


def _rows(figure: Figure, top: float, rows: Sequence[tuple[str, str]]) -> None:
    for index, (label, value) in enumerate(rows):
        height = top - _ROW * index
        _text(figure, height, label, fontsize=9, color=PALETTE["faint"])
        _text(figure, height, textwrap.shorten(value, 90), fontsize=9, left=0.34)


def _side_by_side(figure: Figure, top: float, runs: Sequence[Session]) -> None:
    """The figures that matter most, a column for each channel."""
    for place, each in enumerate(runs):
        left = 0.34 + 0.3 * place
        told = [
            ("", f"Channel {(each.channel_number or 0) + 1}"),
            *((label, value) for label, value, _ in _tiles(each)),
        ]
        for index, (label, value) in enumerate(told):
            height = top - _ROW * index
            weight = "bold" if not index else "normal"
            _text(figure, height, value, fontsize=9, left=left, fontweight=weight)
            if not place:
                _text(figure, height, label, fontsize=9, color=PALETTE["faint"])


def _tiles(session: Session) -> list[tuple[str, str, str]]:
    summary = session.summary
    return [("Ended", words.result_title(summary["result"]), ""), *tiles(summary, every=True)]


def _channel_page(session: Session, channel: Session, page: int) -> Figure:
    """What is a channel's own, before its plots."""
    figure = _page(page)
    number = (channel.channel_number or 0) + 1
    _, own = channel_figures(session.summary["channels"])
    _text(figure, 0.93, channel_title(channel), fontsize=16, fontweight="bold")
    _text(figure, 0.905, channel_subtitle(channel), fontsize=8, color=PALETTE["faint"])
    _rows(figure, 0.87, own[str(number)])
    return figure


def _page(number: int) -> Figure:
    figure = Figure(figsize=_A4_IN, facecolor="white")
    figure.text(0.5, 0.03, f"{words.NOT_A_MEDICAL_DEVICE}   {number}", ha="center", fontsize=7.5)
    return figure


def _text(figure: Figure, height: float, told: str, left: float = 0.08, **look: Any) -> None:
    figure.text(left, height, told, va="top", fontdict={"color": PALETTE["ink"], **look}, parse_math=False)


def _lines(session: Session, runs: Sequence[Session]) -> Iterator[str]:
    """What happened, versions, values on the device, plan, profile: as plain lines."""
    yield "WHAT HAPPENED"
    width = 7 if len(runs) == 1 else 9
    for t_s, who, what in timeline(session):
        yield from _wrapped(f"{t_s:9.2f} s  {who:{width}}", what)
    yield from ("", "VERSIONS AND DIGESTS")
    for label, value in versions_of(session.summary) if len(runs) == 1 else versions_of_channels(runs):
        yield from _wrapped(f"{label:24}", value)
    ran = [each for each in runs if len(runs) == 1 or each.channel_number in session.channels]
    for each in ran:
        of = "" if len(runs) == 1 else f", CHANNEL {(each.channel_number or 0) + 1}"
        yield from ("", f"VALUES ON THE DEVICE{of}")
        for name, value in each.parameters().items():
            yield f"{name:32}{value:>12}"
    yield from _text_of("PLAN", session.meta.get("plan"))
    for each in ran:
        of = "" if len(runs) == 1 else f", CHANNEL {(each.channel_number or 0) + 1}"
        yield from _text_of(f"HARDWARE PROFILE{of}", each.meta.get("profile"))


def _text_of(title: str, text: object) -> Iterator[str]:
    yield from ("", title)
    for line in str(text or "not recorded").splitlines():
        yield from _wrapped("", line)


def _wrapped(head: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _COLUMNS - len(head) - 1, replace_whitespace=False) or [""]
    for index, line in enumerate(line for part in lines for line in part.splitlines() or [""]):
        yield f"{head if index == 0 else ' ' * len(head)} {line}" if head else line


def _paged(lines: Iterator[str]) -> Iterator[list[str]]:
    told = list(lines)
    for at in range(0, len(told), _LINES):
        yield told[at : at + _LINES]


def _text_page(lines: list[str], number: int) -> Figure:
    figure = _page(number)
    _text(figure, 0.96, "\n".join(lines), fontsize=7.2, family="DejaVu Sans Mono", linespacing=1.25)
    return figure
