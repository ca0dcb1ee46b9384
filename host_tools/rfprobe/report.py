"""One session as one HTML file: verdict in words, figures, plots, plan, profile, versions and events.

The file needs nothing beside itself: no script runs, nothing is fetched, and the plotted data are inside it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rfprobe import words
from rfprobe.errors import EnvironmentProblem, reason_of
from rfprobe.report_data import SCHEMA, channel_key, differences, embedded, plotted_series, trip_of
from rfprobe.report_page import PAGE, STYLE
from rfprobe.report_plots import NARROW, PALETTE, WIDE, Panel, Scene, panels, png, svg
from rfprobe.session import Session
from rfprobe.summary import ENERGISED
from rfprobe.summary_words import figures, tiles, uncalibrated
from rfprobe_core import plan, safety

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build_html", "build_png", "differences", "timeline", "verdict", "write_report"]

_VERDICT_CLASS = {
    "completed": "good",
    "limited": "middling",
    "stopped": "middling",
    "link_lost": "bad",
    "refused": "bad",
    "fault": "bad",
}
_VERDICT_MARK = {"good": "✓", "middling": "■", "bad": "✕", "unknown": "?"}
_TOLD_COMMANDS = ("HELLO", "CONFIGURE", "ARM", "START", "STOP", "ACKNOWLEDGE")


def write_report(session: Session, path: Path, picture: Path | None = None) -> list[Path]:
    """Write the report, and the plots alone as a PNG to `picture`. Returns what was written."""
    files: dict[Path, bytes] = {path: build_html(session).encode()}
    if picture is not None:
        files[picture] = build_png(session)
    return write_files(files)


def write_files(files: Mapping[Path, bytes]) -> list[Path]:
    """Write each; returns their paths. Raises EnvironmentProblem."""
    for path, content in files.items():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise EnvironmentProblem(f"{path}: cannot be written: {reason_of(error)}") from None
    return list(files)


def build_png(session: Session) -> bytes:
    """All plots in one picture; of two channels side by side."""
    runs = session.runs()
    return png([scene_of(each) for each in runs], picture_title(session), [channel_title(each) for each in runs])


def picture_title(session: Session) -> str:
    """`plan: completed`."""
    summary = session.summary
    return f"{summary['plan'] or session.id}: {words.result_title(summary['result']).lower()}"


def channel_title(session: Session) -> str:
    """`Channel 2: bone probe`, of a channel's view; empty for a session that has only one."""
    number = session.channel_number
    probe = session.meta.get("profile_name")
    return "" if number is None else f"Channel {number + 1}{f': {probe}' if probe else ''}"


def build_html(session: Session) -> str:
    """The whole page."""
    runs = session.runs()
    if len(runs) > 1:
        from rfprobe.report_channels import build_html_of_channels

        return build_html_of_channels(session, runs)
    return _build_html_of_one(runs[0])


def _build_html_of_one(session: Session) -> str:
    summary = session.summary
    scene = scene_of(session)
    data = {"schema": SCHEMA, "session_id": session.id, "summary": summary, "series": scene.series}
    parts = {
        "style": STYLE.replace("/*palette*/", palette_css()),
        "title": escape(str(summary["plan"] or session.id)),
        "warning": escape(words.NOT_A_MEDICAL_DEVICE),
        "uncalibrated": across_the_page([uncalibrated(summary)]),
        "subtitle": escape(subtitle_of(session)),
        "verdict": verdict(summary),
        "tiles": "".join(tile(*each) for each in tiles(summary)),
        "judged": escape(judged(summary)),
        "plots": plots(scene),
        "figures": definition_table(figures(summary)),
        "events": events_table(timeline(session)),
        "settings": settings_table(session.parameters()),
        "limits": limits_table(session.parameters()),
        "plan_text": escape(str(session.meta.get("plan") or "not recorded")),
        "profile_text": escape(str(session.meta.get("profile") or "not recorded")),
        "versions": definition_table(versions_of(summary)),
        "session_id": escape(session.id),
        "data": embedded(data),
    }
    page = PAGE
    for name, content in parts.items():
        page = page.replace(f"<!--{name}-->", content)
    return page


def across_the_page(sentences: Iterable[str]) -> str:
    """A bar of its own over the whole page for each thing that must not be overlooked."""
    told = [escape(each) for each in dict.fromkeys(sentences) if each]
    return "".join(f'<p class="warning uncalibrated" role="alert">{each}</p>\n' for each in told)


def palette_css() -> str:
    """The light dress's colours as CSS variables."""
    return "".join(f"--{name}:{color};" for name, color in PALETTE.items())


def scene_of(session: Session) -> Scene:
    """What the plots of a session need."""
    summary = session.summary
    phases, end_s = _phases(session.df)
    result = summary["result"]
    return Scene(
        series=plotted_series(session),
        parameters=session.parameters(),
        phases=phases,
        end_s=end_s,
        end_word=words.result_title(result).lower() if result else "",
        trip=trip_of(session),
    )


def _phases(df: "pd.DataFrame") -> tuple[list[tuple[str, float, float]], float | None]:
    """(state, begin, end) of each stretch with RF on, and when the last one ended if the record goes on."""
    phases: list[tuple[str, float, float]] = []
    begin_s, before = 0.0, ""
    for t_s, state in zip(df["t_s"].astype(float), df["state"].astype(str), strict=True):
        if state != before:
            if before in ENERGISED:
                phases.append((before, begin_s, float(t_s)))
            begin_s, before = float(t_s), str(state)
    if before in ENERGISED:
        phases.append((before, begin_s, float(df["t_s"].iloc[-1])))
        return phases, None
    return phases, phases[-1][2] if phases else None


def subtitle_of(session: Session) -> str:
    """When, with what and in what, in one line."""
    meta, summary = session.meta, session.summary
    if len(session.runs()) > 1:
        return _subtitle_of_both(session)
    parts = [_date(summary["started_utc"]), str(summary["probe"] or "")]
    if meta.get("kind") == "simulation" or session.simulated:
        parts.append(f"simulated in {summary['tissue'] or 'an unnamed tissue'}, on {summary['runtime']}")
        parts.append(f"seed {summary['seed']}")
    elif meta.get("sample"):
        parts.append(f"sample {meta['sample']}")
    faults = meta.get("faults")
    if isinstance(faults, list) and faults:
        parts.append(f"with the fault {', '.join(str(each) for each in faults)}")
    return " · ".join(part for part in parts if part)


def _subtitle_of_both(session: Session) -> str:
    """What they share; each channel's part of the report says the rest."""
    meta, summary = session.meta, session.summary
    ran = [str(number + 1) for number in session.channels]
    told = "two channels, which run and stop together" if len(ran) > 1 else f"channel {ran[0]} ran, the other rested"
    parts = [_date(summary["started_utc"]), told]
    if meta.get("kind") == "simulation" or session.simulated:
        parts += [f"simulated on {summary['runtime']}", f"seed {summary['seed']}"]
    elif meta.get("sample"):
        parts.append(f"sample {meta['sample']}")
    return " · ".join(part for part in parts if part)


def _date(utc: Any) -> str:
    return f"{datetime.fromisoformat(utc):%Y-%m-%d %H:%M:%S} UTC" if isinstance(utc, str) else ""


def verdict(summary: dict[str, Any]) -> str:
    """How the run ended and why, in words, as an element."""
    result = cast(str | None, summary["result"])
    look = _VERDICT_CLASS.get(result or "", "unknown")
    lines = [words.result_sentence(result), str(summary["stop_text"] or "")]
    fault = cast(dict[str, Any] | None, summary["fault"])
    if fault is not None:
        lines.append(_fault_words(fault))
    told = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    mark = _VERDICT_MARK[look]
    title = escape(words.result_title(result))
    return f'<div class="verdict {look}"><h2><span aria-hidden="true">{mark}</span> {title}</h2>{told}</div>'


def _fault_words(fault: dict[str, Any]) -> str:
    told = f"At {fault['at_s']:.2f} s" + (f" on channel {fault['channel']}" if "channel" in fault else "")
    if fault["value"] is not None and fault["unit"]:
        told += f": {fault['value']:.6g} {fault['unit']} against a limit of {fault['limit']:.6g} {fault['unit']}"
    if fault["rf_off_ms"] is not None:
        late_ms = fault["rf_off_ms"]
        told += "; the enable pin was low " + (f"{late_ms:.0f} ms later" if late_ms else "within the same tick")
    return f"{told}."


def judged(summary: Mapping[str, Any]) -> str:
    """What overshoot and peaks are of."""
    if summary["judged_on"] == "tissue":
        return "Judged on the simulated tissue at the thermocouples' places, not on the lagging readings."
    return "Judged on the thermocouples' readings."


def tile(label: str, value: str, note: str) -> str:
    """One of the figures that matter most."""
    small = f"<small>{escape(note)}</small>" if note else ""
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}{small}</dd></div>"


def plots(scene: Scene, channel: int | None = None) -> str:
    """Every plot as a figure. `channel` keeps the names of two channels' pictures apart in one page."""
    of = "" if channel is None else f"{channel_key(channel)}-"
    return "".join(_plot(scene, panel, of) for panel in panels(scene))


def _plot(scene: Scene, panel: Panel, of: str) -> str:
    wide, narrow = (replace(layout, name=f"{layout.name}-{of}".rstrip("-")) for layout in (WIDE, NARROW))
    drawn = svg(scene, panel, wide) + svg(scene, panel, narrow)
    note = f"<small>{escape(panel.note)}</small>" if panel.note else ""
    caption = f"<figcaption>{escape(panel.title)}{note}</figcaption>"
    return f'<figure id="plot-{of}{panel.key}">{caption}{drawn}</figure>'


def definition_table(rows: list[tuple[str, str]]) -> str:
    """(label, value) as rows."""
    told = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in rows)
    return f"<table>{told}</table>"


def timeline(session: Session) -> list[tuple[float, str, str]]:
    """(t_s, who, what), in order of time: the device's events, the host's commands, notes, and stray text.

    Renewals of the lease and the values set one by one are left out.
    """
    events = session.events
    both = len(session.runs()) > 1
    rows = [
        (float(t_s), f"channel {int(channel) + 1}" if both else "device", str(text))
        for t_s, channel, text in zip(events["t_s"], events["channel"], events["text"], strict=True)
    ]
    commands = session.commands
    for t_s, direction, text in zip(commands["t_s"], commands["direction"], commands["text"], strict=True):
        verbs = [word for word in str(text).partition("*")[0].split() if word.partition("@")[0] in _TOLD_COMMANDS]
        if direction == "tx" and verbs:
            rows.append((float(t_s), "host", f"Sent {verbs[0]}."))
        elif direction == "link":
            rows.append((float(t_s), "link", str(text)))
    for who, frame in (("note", session.notes), ("text", session.text)):
        rows += [(float(t_s), who, str(text)) for t_s, text in zip(frame["t_s"], frame["text"], strict=True)]
    return _without_repeats(sorted(rows, key=lambda row: row[0]))


def _without_repeats(rows: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The same line again and again (HELLO asked for until it comes) is one line with a count."""
    kept: list[tuple[float, str, str]] = []
    counts: list[int] = []
    for row in rows:
        if kept and row[1] == "host" and kept[-1][1:] == row[1:]:
            counts[-1] += 1
            continue
        kept.append(row)
        counts.append(1)
    return [
        (t_s, who, text if count == 1 else f"{text} ({count} times)")
        for (t_s, who, text), count in zip(kept, counts, strict=True)
    ]


def events_table(rows: list[tuple[float, str, str]]) -> str:
    """A timeline as an element."""
    told = "".join(
        f'<tr class="{who}"><td>{t_s:.2f}</td><td>{who}</td><td>{escape(text)}</td></tr>' for t_s, who, text in rows
    )
    return f"<table><thead><tr><th>s</th><th>who</th><th>what</th></tr></thead><tbody>{told}</tbody></table>"


def settings_table(parameters: dict[str, int]) -> str:
    """Every value as the device was told it."""
    if not parameters:
        return "<p>not recorded</p>"
    groups = {name: group for name, group, *_ in plan.PARAMETERS}
    told = "".join(
        f"<tr><td>{plan.GROUP_NAMES[groups[name]] if name in groups else ''}</td>"
        f"<th>{escape(name)}</th><td>{value}</td></tr>"
        for name, value in parameters.items()
    )
    return f"<table>{told}</table>"


def limits_table(parameters: dict[str, int]) -> str:
    """The device's limit table for these parameters: what was watched, and how soon each row acts."""
    if {*parameters, *_NEWER} != set(plan.NAMES):
        return "<p>not recorded</p>"
    values = plan.default_values()
    for name, value in parameters.items():
        values[plan.INDEX[name]] = value
    told = ""
    watched = cast(list[tuple[str, str, int | None, int | None, int, int, str]], safety.describe(values))
    for name, _, low, high, samples, ms, cause in watched:
        row: int = safety.ROW[name]
        unit = words.row_unit(row)[0]
        bounds = [_bound(row, bound) for bound in (low, high)]
        cells = [name, *bounds, unit, f"{samples} in {ms} ms", words.cause_sentence(cause)]
        told += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    head = "".join(f"<th>{word}</th>" for word in ("row", "least", "most", "", "samples", "then"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{told}</tbody></table>"


_NEWER = ("channels",)
"""Parameters that older sessions lack: what those did is their default."""


def _bound(row: int, value: int | None) -> str:
    return "" if value is None else f"{words.row_value(row, value):.6g}"


def versions_of(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, value) of every version and digest that is known."""
    rows = [(f"version, {name}", value) for name, value in summary["versions"].items()]
    rows += [(f"digest, {name}", value) for name, value in summary["digests"].items()]
    return [(label, str(value)) for label, value in rows if value is not None]
