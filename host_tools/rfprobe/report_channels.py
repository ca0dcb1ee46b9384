"""The report of a run of two channels: one title and verdict, a section for each channel, then what they share."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from rfprobe import words
from rfprobe.report import (
    across_the_page,
    channel_title,
    definition_table,
    events_table,
    judged,
    limits_table,
    palette_css,
    plots,
    scene_of,
    settings_table,
    subtitle_of,
    tile,
    timeline,
    verdict,
    versions_of,
)
from rfprobe.report_data import SCHEMA, Groups, channel_key, embedded
from rfprobe.report_page import CHANNEL, CHANNEL_SETTINGS, CHANNEL_STYLE, PAGE_OF_CHANNELS, STYLE
from rfprobe.session import Session
from rfprobe.summary_words import channel_figures, device_figures, tiles, uncalibrated


def build_html_of_channels(session: Session, runs: Sequence[Session]) -> str:
    """The whole page; `runs` are the views of the channels."""
    summary = session.summary
    scenes = [scene_of(each) for each in runs]
    _, own = channel_figures(summary["channels"])
    series = [scene.series for scene in scenes]
    return _filled(
        PAGE_OF_CHANNELS,
        {
            "style": STYLE.replace("/*palette*/", palette_css()) + CHANNEL_STYLE,
            "title": escape(str(summary["plan"] or session.id)),
            "warning": escape(words.NOT_A_MEDICAL_DEVICE),
            "uncalibrated": across_the_page(warnings_of(runs)),
            "subtitle": escape(subtitle_of(session)),
            "verdict": verdict(summary),
            "figures": definition_table(device_figures(summary)),
            "channels": "".join(
                _section(each, plots(scene, each.channel_number), figures)
                for each, scene, figures in zip(runs, scenes, own.values(), strict=True)
            ),
            "events": events_table(timeline(session)),
            "plan_text": escape(str(session.meta.get("plan") or "not recorded")),
            "settings": "".join(_settings(each) for each in runs),
            "versions": definition_table(versions_of_channels(runs)),
            "session_id": escape(session.id),
            "data": embedded(_data(session, runs, series)),
        },
    )


def warnings_of(runs: Iterable[Session]) -> list[str]:
    """What must be said across the page of each channel's calibration."""
    told = [(each, uncalibrated(each.summary)) for each in runs]
    return [f"Channel {(each.channel_number or 0) + 1}: {sentence}" for each, sentence in told if sentence]


def _section(session: Session, drawn: str, figures: list[tuple[str, str]]) -> str:
    summary = session.summary
    return _filled(
        CHANNEL,
        {
            "id": channel_key(session.channel_number or 0),
            "title": escape(channel_title(session)),
            "subtitle": escape(channel_subtitle(session)),
            "verdict": verdict(summary),
            "tiles": "".join(tile(*each) for each in tiles(summary)),
            "judged": escape(judged(summary)),
            "plots": drawn,
            "figures": definition_table(figures),
        },
    )


def channel_subtitle(session: Session) -> str:
    """What the channel was in, and what was done to it."""
    if session.channel_number not in session.whole.channels:
        return "rested: the plan did not use it"
    parts = [f"in {session.summary['tissue']}"] if session.summary["tissue"] else []
    faults = session.meta.get("faults")
    if isinstance(faults, list) and faults:
        parts.append(f"with the fault {', '.join(str(each) for each in faults)}")
    return " · ".join(parts)


def _settings(session: Session) -> str:
    if session.channel_number not in session.whole.channels:
        return ""
    return _filled(
        CHANNEL_SETTINGS,
        {
            "title": f"Channel {(session.channel_number or 0) + 1}",
            "profile_text": escape(str(session.meta.get("profile") or "not recorded")),
            "limits": limits_table(session.parameters()),
            "settings": settings_table(session.parameters()),
        },
    )


def versions_of_channels(runs: Sequence[Session]) -> list[tuple[str, str]]:
    """Each version and digest once, where all have the same; else with the channel."""
    told = [dict(versions_of(each.summary)) for each in runs]
    rows: list[tuple[str, str]] = []
    for label in {label: None for each in told for label in each}:
        values = [each.get(label) for each in told]
        if len(set(values)) == 1:
            rows.append((label, str(values[0])))
            continue
        rows += [
            (f"{label}, channel {(each.channel_number or 0) + 1}", value)
            for each, value in zip(runs, values, strict=True)
            if value is not None
        ]
    return rows


def _data(session: Session, runs: Sequence[Session], series: Sequence[Groups]) -> dict[str, Any]:
    channels = {
        str((each.channel_number or 0) + 1): {"series": groups} for each, groups in zip(runs, series, strict=True)
    }
    return {"schema": SCHEMA, "session_id": session.id, "summary": session.summary, "channels": channels}


def _filled(page: str, parts: dict[str, str]) -> str:
    for name, content in parts.items():
        page = page.replace(f"<!--{name}-->", content)
    return page
