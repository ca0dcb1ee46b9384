"""The report as a PDF: verdict and figures, the plots, then what happened and what was set. Text stays text."""

import io
import textwrap
from collections.abc import Iterator
from typing import Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from rfprobe import words
from rfprobe.report import scene_of, subtitle_of, timeline, versions_of
from rfprobe.report_plots import PALETTE, picture
from rfprobe.session import Session
from rfprobe.summary_words import figures, uncalibrated

_A4_IN = (8.27, 11.69)
_LINES = 78
_COLUMNS = 96
_BAR_COLUMNS = 82
_SETTINGS: dict[Any, Any] = {"pdf.fonttype": 42, "font.family": "DejaVu Sans"}


def build_pdf(session: Session) -> bytes:
    """The whole file; the same session gives the same bytes."""
    file = io.BytesIO()
    summary = session.summary
    title = str(summary["plan"] or session.id)
    about = {"Title": f"{title}: ablation report", "Creator": "rfprobe", "CreationDate": None}
    with mpl.rc_context(_SETTINGS), PdfPages(file, metadata=about) as pages:
        drawn = picture(scene_of(session), f"{title}: {words.result_title(summary['result']).lower()}")
        drawn.set_size_inches(*_A4_IN)
        pages.savefig(_front(session))
        pages.savefig(drawn)
        for number, lines in enumerate(_paged(_lines(session)), start=3):
            pages.savefig(_text_page(lines, number))
    return file.getvalue()


def _front(session: Session) -> Figure:
    summary = session.summary
    figure = _page(1)
    told = uncalibrated(summary)
    if told:
        look: dict[str, Any] = {"color": "white", "backgroundcolor": "#b3261e", "fontsize": 9, "fontweight": "bold"}
        _text(figure, 0.985, textwrap.fill(told, _BAR_COLUMNS), **look)
    _text(figure, 0.93, str(summary["plan"] or session.id), fontsize=20, fontweight="bold")
    _text(figure, 0.895, subtitle_of(session), fontsize=8, color=PALETTE["faint"])
    result = cast(str | None, summary["result"])
    _text(figure, 0.87, words.result_title(result), fontsize=16, fontweight="bold")
    told = "  ".join(part for part in (words.result_sentence(result), str(summary["stop_text"] or "")) if part)
    _text(figure, 0.842, textwrap.fill(told, _COLUMNS), fontsize=9)
    for index, (label, value) in enumerate(figures(summary)):
        height = 0.80 - 0.021 * index
        _text(figure, height, label, fontsize=9, color=PALETTE["faint"])
        _text(figure, height, textwrap.shorten(value, 90), fontsize=9, left=0.34)
    _text(figure, 0.06, f"Session {session.id}", fontsize=7, color=PALETTE["faint"])
    return figure


def _page(number: int) -> Figure:
    figure = Figure(figsize=_A4_IN, facecolor="white")
    figure.text(0.5, 0.03, f"{words.NOT_A_MEDICAL_DEVICE}   {number}", ha="center", fontsize=7.5)
    return figure


def _text(figure: Figure, height: float, told: str, left: float = 0.08, **look: Any) -> None:
    figure.text(left, height, told, va="top", fontdict={"color": PALETTE["ink"], **look}, parse_math=False)


def _lines(session: Session) -> Iterator[str]:
    """What happened, versions, values on the device, plan, profile: as plain lines."""
    yield "WHAT HAPPENED"
    for t_s, who, what in timeline(session):
        yield from _wrapped(f"{t_s:9.2f} s  {who:7}", what)
    yield from ("", "VERSIONS AND DIGESTS")
    for label, value in versions_of(session.summary):
        yield from _wrapped(f"{label:24}", value)
    yield from ("", "VALUES ON THE DEVICE")
    for name, value in session.parameters().items():
        yield f"{name:32}{value:>12}"
    for title, key in (("PLAN", "plan"), ("HARDWARE PROFILE", "profile")):
        yield from ("", title)
        for line in str(session.meta.get(key) or "not recorded").splitlines():
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
