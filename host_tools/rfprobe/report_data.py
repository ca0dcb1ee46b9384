"""What a report shows, as plain data: the same object is plotted and embedded, so the two cannot differ."""

import json
import math
import re
from typing import TYPE_CHECKING, Any, cast

from rfprobe.session import Session
from rfprobe.summary import ROLES, cumulative_cem43_min

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
ELEMENT_ID = "session-data"
TELEMETRY_SERIES = ("setpoint_C", "demand_W", "power_W", "duty", "impedance_ohm")
TRUTH_SERIES = (*(f"{role}_C" for role in ROLES), "peak_C", "power_W", "impedance_ohm")

Series = dict[str, list[float | None]]
"""Columns of equal length, `t_s` first; None where a value is not known."""
Groups = dict[str, Series]
"""The series by where they come from: `telemetry`, `dose`, `truth`, `truth_dose`."""


def plotted_series(session: Session) -> Groups:
    """Every series of the report's plots. Groups and series without a single value are left out."""
    names = list(session.places())
    groups: dict[str, Series] = {
        "telemetry": _columns(session.df, [*(f"{name}_C" for name in names), *TELEMETRY_SERIES]),
        "dose": _columns(session.dose, [f"{name}_cem43_min" for name in names]),
        "truth": _columns(session.truth, list(TRUTH_SERIES)),
        "truth_dose": _truth_dose(session),
    }
    return {group: series for group, series in groups.items() if len(series) > 1}


def _columns(frame: "pd.DataFrame", names: list[str]) -> Series:
    """`t_s` and the columns of these names that have any value."""
    found = {name: _plain(frame[name]) for name in ["t_s", *names] if name in frame}
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def _truth_dose(session: Session) -> Series:
    truth = session.truth
    time_s = truth["t_s"].to_numpy(dtype=float)
    series = _columns(truth, [])
    for role in ROLES:
        if truth[f"{role}_C"].notna().any():
            dose_min = cumulative_cem43_min(time_s, truth[f"{role}_C"].to_numpy(dtype=float))
            series[f"{role}_cem43_min"] = [float(value) for value in dose_min]
    return series


def _plain(column: "pd.Series[float]") -> list[float | None]:
    return [None if math.isnan(value) else value for value in map(float, column)]


def embedded(data: dict[str, Any]) -> str:
    """The `<script>` element that carries the data; nothing in it can end the element early."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{ELEMENT_ID}">{text}</script>'


def extract(html: str) -> dict[str, Any]:
    """The data embedded in a report. Raises ValueError if there is none."""
    pattern = rf'<script type="application/json" id="{ELEMENT_ID}">(.*?)</script>'
    found = re.search(pattern, html, re.DOTALL)
    if found is None:
        raise ValueError("the report has no embedded data")
    return cast(dict[str, Any], json.loads(found[1]))


def plot_id(layout: str, group: str, name: str) -> str:
    """The id of a curve in the report's pictures."""
    return f"{layout}-{group}-{name}"


def differences(html: str, session: Session) -> list[str]:
    """What a report's data and pictures lack of the session, or have beside it; empty if they agree."""
    there = cast(Groups, extract(html).get("series", {}))
    expected = plotted_series(session)
    found: list[str] = []
    for group in sorted(expected.keys() | there.keys()):
        theirs, ours = there.get(group, {}), expected.get(group, {})
        found += [f"{group}.{name} is missing" for name in ours if name not in theirs]
        found += [f"{group}.{name} is not in the session" for name in theirs if name not in ours]
        found += [
            f"{group}.{name} differs from the session" for name in ours if name in theirs and theirs[name] != ours[name]
        ]
        found += [
            f"{group}.{name} is not plotted in the {layout} layout"
            for name in ours
            for layout in ("wide", "narrow")
            if name != "t_s" and f'id="{plot_id(layout, group, name)}"' not in html
        ]
    return found
