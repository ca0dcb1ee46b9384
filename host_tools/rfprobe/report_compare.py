"""Several sessions side by side as one HTML file: verdicts, figures, what was set differently, plots on equal axes."""

from collections.abc import Sequence
from html import escape
from itertools import zip_longest

from rfprobe import words
from rfprobe.report import across_the_page, channel_title, palette_css, scene_of, subtitle_of, verdict
from rfprobe.report_page import HEAD, STYLE
from rfprobe.report_plots import Layout, Panel, Scene, View, panels, svg, view_of
from rfprobe.session import Session
from rfprobe.summary_words import figures, uncalibrated

MOST = 6
"""Columns that a screen still shows."""
_UNKNOWN = "—"

_STYLE = """
main { max-width: none; }
.columns { display: grid; grid-template-columns: repeat(var(--count), minmax(16rem, 1fr)); gap: 1rem; }
.columns .verdict { margin-top: .5rem; }
.columns h2 { overflow-wrap: anywhere; }
tr.differs td { font-weight: 650; }
tr.differs th::before { content: "≠ "; }
"""

_PAGE = (
    HEAD
    + """\
<header><p class="kind">Ablation reports side by side</p><h1><!--title--></h1></header>
<div class="scroll"><div class="columns"><!--verdicts--></div></div>
<section><h2>Figures</h2><p class="fine">≠ marks what is not the same in all.</p>
<div class="scroll"><!--figures--></div></section>
<section><h2>Set differently</h2><div class="scroll"><!--settings--></div></section>
<section class="plots" aria-label="Plots"><p class="fine">The same axes in each row.</p><!--plots--></section>
<footer><p><strong><!--warning--></strong></p><p>Sessions <!--sessions-->.</p></footer>
</main>
</body>
</html>
"""
)


def build_comparison(sessions: Sequence[Session]) -> str:
    """The whole page; a run of two channels has a column for each."""
    count = len(sessions)
    sessions = [each for session in sessions for each in session.runs()]
    names = [escape(_name(session)) for session in sessions]
    parts = {
        "style": STYLE.replace("/*palette*/", f"{palette_css()}--count:{len(sessions)};") + _STYLE,
        "title": f"{count} sessions",
        "warning": escape(words.NOT_A_MEDICAL_DEVICE),
        "uncalibrated": across_the_page(_uncalibrated(session) for session in sessions),
        "verdicts": "".join(map(_verdict, sessions)),
        "figures": _table(names, _rows([dict(figures(session.summary)) for session in sessions])),
        "settings": _settings(sessions, names),
        "plots": _plots([scene_of(session) for session in sessions]),
        "sessions": ", ".join(names),
    }
    page = _PAGE
    for name, content in parts.items():
        page = page.replace(f"<!--{name}-->", content)
    return page


def _uncalibrated(session: Session) -> str:
    told = uncalibrated(session.summary)
    return f"{_name(session)}: {told}" if told else ""


def _name(session: Session) -> str:
    number = session.channel_number
    return session.id if number is None or len(session.whole.runs()) == 1 else f"{session.id}, channel {number + 1}"


def _verdict(session: Session) -> str:
    of = channel_title(session) if len(session.whole.runs()) > 1 else ""
    title = escape(f"{session.summary['plan'] or session.id}{f', {of}' if of else ''}")
    return f'<div><h2>{title}</h2><p class="fine">{escape(subtitle_of(session))}</p>{verdict(session.summary)}</div>'


def _rows(told: Sequence[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """(label, one value for each session) in the order in which the labels come up."""
    labels: dict[str, None] = {}
    for row in zip_longest(*told):
        labels.update((label, None) for label in row if label is not None)
    return [(label, [each.get(label, _UNKNOWN) for each in told]) for label in labels]


def _settings(sessions: Sequence[Session], names: list[str]) -> str:
    values = [{name: str(value) for name, value in session.parameters().items()} for session in sessions]
    rows = [(label, row) for label, row in _rows(values) if len(set(row)) > 1]
    return _table(names, rows) if rows else "<p>nothing: every value on the device was the same</p>"


def _table(names: list[str], rows: list[tuple[str, list[str]]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ["", *names])
    told = ""
    for label, values in rows:
        differs = ' class="differs"' if len(set(values)) > 1 else ""
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        told += f"<tr{differs}><th>{escape(label)}</th>{cells}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{told}</tbody></table>"


def _plots(scenes: Sequence[Scene]) -> str:
    drawn = [{panel.key: panel for panel in panels(scene)} for scene in scenes]
    keys: dict[str, str] = {key: panel.title for each in drawn for key, panel in each.items()}
    told = ""
    for key, title in keys.items():
        there = [(scene, each.get(key)) for scene, each in zip(scenes, drawn, strict=True)]
        told += f'<figure id="plot-{key}"><figcaption>{escape(title)}</figcaption><div class="scroll">'
        told += f'<div class="columns">{_row_of_plots(there)}</div></div></figure>'
    return told


def _row_of_plots(there: Sequence[tuple[Scene, Panel | None]]) -> str:
    view: View | None = None
    for scene, panel in there:
        if panel is not None:
            own = view_of(scene, panel, _layout(0))
            view = own if view is None else view.around(own)
    return "".join(
        "<div></div>" if panel is None else svg(scene, panel, _layout(place), view)
        for place, (scene, panel) in enumerate(there)
    )


def _layout(place: int) -> Layout:
    """One column's; its name keeps the pictures' inner names apart."""
    return Layout(f"column{place}", 4.6, 3.2, 7.8, 3, left_in=0.42, right_in=0.42)
