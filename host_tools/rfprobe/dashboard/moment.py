"""One moment of a device in words and figures, as the dashboard shows it. No browser is needed to test it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from rfprobe import words
from rfprobe.watched import Watched, WatchedChannel
from rfprobe_core import protocol

STALE_s: Final = 0.5
NEAR_LIMIT_C: Final = 1.5
HOT_STATES: Final = ("RAMP", "HOLD")
_UNDER_WAY: Final = (*HOT_STATES, "ARMED", "REST")
_AGE_UNKNOWN = 255
_KINDS: Final = {"RAMP": "hot", "HOLD": "hot", "REST": "armed", "ARMED": "armed", "FAULT": "bad", "DONE": "good"}
_LIMIT_OF_ROLE: Final = {"guard": "guard_trip_mC"}
_UNKNOWN = "—"


@dataclass(frozen=True)
class Place:
    """A thermocouple: `kind` is `near` close to its limit, `over` above it, `old` if it gives no fresh reading."""

    value: str = "--.-"
    limit: str = ""
    dose: str = ""
    kind: str = ""
    level: float = 0.0
    """Between 20 °C and the limit: 0 … 1."""


@dataclass(frozen=True)
class Moment:
    """`kind` colours the state: hot, armed, bad, good, or nothing."""

    state: str
    kind: str
    detail: str
    rf: str
    """Whether RF is on, as the device says; a device that says nothing may be doing anything."""
    link: str
    link_kind: str
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    figures: dict[str, str] = field(default_factory=dict[str, str])


FIGURES: Final = ("set-point", "power", "impedance", "energy", "sample age", "lost", "dropped", "time")
OF_THE_DEVICE: Final = ("lost", "dropped", "time")
"""Figures that are not a channel's."""


def moment(
    watched: Watched, age_s: float | None, link: str, live: bool, channel: WatchedChannel | None = None
) -> Moment:
    """Of a channel, the first if not given.

    `age_s` ago something came; `link` says where from, or what is wrong with that; `live` whether more may come.
    """
    channel = channel or watched
    silent = live and age_s is not None and age_s > STALE_s
    told_link = f"silent for {age_s:.1f} s" if silent else "live" if live and age_s is not None else link
    state = channel.state
    return Moment(
        state=words.STATES.get(state, state),
        kind="bad" if silent else _KINDS.get(state, ""),
        detail=_detail(channel),
        rf=_rf(channel, heard=live and not silent),
        link=told_link,
        link_kind="bad" if silent or not live else "good",
        places={name: _place(channel, name, where) for name, where in channel.places.items()},
        figures=_figures(watched, channel, age_s),
    )


def _rf(watched: WatchedChannel, *, heard: bool) -> str:
    """What is known of RF. A run that is heard no more may still heat; RF that could not be switched off does."""
    last = watched.last
    if last is not None and words.name_of(protocol.CAUSES, last.value("cause")) in protocol.GRAVEST:
        return "RF MAY BE ON"
    if not watched.state or (not heard and watched.state in _UNDER_WAY):
        return "RF unknown"
    return "RF ON" if watched.state in HOT_STATES else "RF off"


def _detail(watched: WatchedChannel) -> str:
    """How long it will take, or how it ended and why."""
    last = watched.last
    if last is None:
        return ""
    result = words.name_of(protocol.RESULT_NAMES, last.value("result"))
    if result != "none":
        title = words.result_title(result) if result in words.RESULTS else result
        return f"{title}. {words.cause_sentence(words.name_of(protocol.CAUSES, last.value('cause')))}"
    remaining_s = last.value("remaining_ticks") * protocol.TICK_US / 1e6
    return f"{_clock(remaining_s)} left" if remaining_s and watched.state in ("HOLD", "COOLDOWN") else ""


def _place(watched: WatchedChannel, name: str, where: int) -> Place:
    value = watched.latest(f"{name}_C")
    minutes = watched.dose_min.get(name)
    dose = "" if minutes is None else f"CEM43 {minutes:.{0 if minutes >= 100 else 2}f} min"
    key = _LIMIT_OF_ROLE.get(name.partition("_")[0], "max_temperature_mC")
    limit = watched.parameters[key] / 1000 if key in watched.parameters else math.nan
    told_limit = "" if math.isnan(limit) else f"limit {limit:g} °C"
    if math.isnan(value):
        return Place(limit=told_limit, dose=dose, kind="old")
    old = watched.last is not None and watched.last.value(f"tc{where}_age") > 100 * STALE_s
    kind = "over" if value >= limit else "near" if value >= limit - NEAR_LIMIT_C else "old" if old else ""
    level = 0.0 if math.isnan(limit) else min(max((value - 20.0) / (limit - 20.0), 0.0), 1.0)
    return Place(f"{value:.1f}", told_limit, dose, kind, level)


def _figures(watched: Watched, channel: WatchedChannel, age_s: float | None) -> dict[str, str]:
    last = channel.last
    dropped = _UNKNOWN if watched.dropped is None else str(watched.dropped)
    values = {
        "set-point": _told(channel.latest("setpoint_C"), 1, "°C"),
        "power": _told(channel.latest("power_W"), 1, "W"),
        "impedance": _told(channel.latest("impedance_ohm"), 0, "Ω"),
        "energy": _UNKNOWN if last is None else f"{last.value('energy_mJ') / 1000:.0f} J",
        "sample age": _age(channel, age_s),
        "lost": str(watched.decoder.lost),
        "dropped": dropped,
        "time": _clock(watched.now_s) if watched.heard_ns else _UNKNOWN,
    }
    return {name: values[name] for name in FIGURES}


def _age(watched: WatchedChannel, age_s: float | None) -> str:
    """Of the oldest reading: how old the device said it was, and how long ago it said so."""
    if watched.last is None or age_s is None:
        return _UNKNOWN
    oldest = max(watched.last.value(f"tc{where}_age") for where in watched.places.values())
    total_s = oldest / 100 + age_s
    return f"{'> ' if oldest == _AGE_UNKNOWN else ''}{total_s:.{1 if total_s < 100 else 0}f} s"


def _told(value: float, digits: int, unit: str) -> str:
    return _UNKNOWN if math.isnan(value) else f"{value:.{digits}f} {unit}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
