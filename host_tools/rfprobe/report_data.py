"""What a report shows, as plain data: the same object is plotted and embedded, so the two cannot differ."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rfprobe.blackbox import tripped_series
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
"""The series by where they come from: `telemetry`, `dose`, `truth`, `truth_dose`, and of the black box `box` (each
tick), `box_NAME` (each sample of a thermocouple) and `box_tripped` (the row that tripped)."""


def plotted_series(session: Session) -> Groups:
    """Every series of the report's plots. Groups and series without a single value are left out."""
    names = list(session.places())
    groups: dict[str, Series] = {
        "telemetry": _columns(session.df, [*(f"{name}_C" for name in names), *TELEMETRY_SERIES]),
        "dose": _columns(session.dose, [f"{name}_cem43_min" for name in names]),
        "truth": _columns(session.truth, list(TRUTH_SERIES)),
        "truth_dose": _truth_dose(session),
        **_box(session, names),
    }
    return {group: series for group, series in groups.items() if len(series) > 1}


BOX_SERIES = ("demand_W", "power_W", "duty", "impedance_ohm")
BOX_TRIPPED = "box_tripped"


@dataclass(frozen=True)
class Trip:
    """The fault that closed the black box: which row of the limit table, and beyond what."""

    row: str
    unit: str
    limit: float
    first_s: float
    at_s: float


def trip_of(session: Session) -> Trip | None:
    """The run's first fault that a row of the limit table told."""
    events = session.events
    faults = events[(events["kind"] == "fault") & events["row"].notna()]
    if not len(faults):
        return None
    first = faults.iloc[0]
    return Trip(
        str(first["row"]), str(first["unit"]), float(first["limit"]), float(first["first_t_s"]), float(first["t_s"])
    )


def _box(session: Session, names: list[str]) -> Groups:
    """The black box's series; none where it was not fetched."""
    box = session.blackbox
    if not len(box):
        return {}
    groups: Groups = {"box": _columns(box, list(BOX_SERIES))}
    for name in names:
        groups[f"box_{name}"] = _columns(box[box[f"{name}_C"].notna()], [f"{name}_C"])
    trip = trip_of(session)
    values = None if trip is None else tripped_series(session, trip.row)
    if trip is not None and values is not None:
        broke = (values.index > trip.first_s - _HALF_TICK_S) & (values.index < trip.at_s + _HALF_TICK_S)
        groups[BOX_TRIPPED] = {
            "t_s": [float(each) for each in values.index],
            "value": _plain(values),
            "beyond": [each if yes else None for each, yes in zip(_plain(values), broke, strict=True)],
        }
    return groups


_HALF_TICK_S = 0.005


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
    import numpy as np

    values = column.to_numpy(dtype=float)
    plain: list[float | None] = list(values.tolist())
    for at in np.flatnonzero(np.isnan(values)):
        plain[at] = None
    return plain


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


def channel_key(number: int) -> str:
    """What marks a channel's pictures in a report of two: `ch1`, `ch2`."""
    return f"ch{number + 1}"


def differences(html: str, session: Session) -> list[str]:
    """What a report's data and pictures lack of the session, or have beside it; empty if they agree."""
    data = extract(html)
    runs = session.runs()
    if len(runs) == 1:
        return _differences(html, cast(Groups, data.get("series", {})), runs[0], "")
    found: list[str] = []
    for each in runs:
        number = each.channel_number or 0
        told = data.get("channels", {}).get(str(number + 1), {})
        lacking = _differences(html, cast(Groups, told.get("series", {})), each, f"-{channel_key(number)}")
        found += [f"channel {number + 1}: {line}" for line in lacking]
    return found


def _differences(html: str, there: Groups, session: Session, of: str) -> list[str]:
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
            if name != "t_s" and f'id="{plot_id(layout + of, group, name)}"' not in html
        ]
    return found
