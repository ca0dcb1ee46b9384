"""A run in figures: the one JSON object that `--json` prints, made from a session and nothing else.

In a simulation the run is judged on the *tissue* at the control thermocouple's place, not on the reading that
lags behind it; `judged_on` says which. What is not known is null, never a guess.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rfprobe import words
from rfprobe.after_heat import against_continuous, cooldown, rolloffs
from rfprobe.calibration_kept import told_in
from rfprobe.session import OTHER_CHANNEL, TICK_S, Session
from rfprobe.session_format import Json
from rfprobe.session_verify import count_gaps
from rfprobe_core import plan, protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SCHEMA = 1
ROLES = ("control", "boundary", "guard")
SETTLED_SHARE = 0.02
"""Settled: within this share of the step around the target, until the hold's end."""
VERSION_KEYS = ("rfprobe", "firmware", "micropython", "python", "protocol")
DIGEST_KEYS = ("firmware", "protocol", "plan", "profile", "calibration", "tissue", "simulation")
ENERGISED = ("RAMP", "HOLD")
_HOST_DECIDES = ("link_lost", "refused")


@dataclass(frozen=True)
class Course:
    """When the parts of a run began and ended, in s; None for what it did not come to."""

    start_s: float | None = None
    ramp_end_s: float | None = None
    hold_start_s: float | None = None
    hold_end_s: float | None = None


@dataclass(frozen=True)
class Quality:
    """How well the target was reached and held."""

    overshoot_C: float | None = None
    settling_s: float | None = None
    steady_error_C: float | None = None


def summarise(session: Session) -> dict[str, Any]:
    """The whole object; see the module's text.

    Where two channels ran, the figures are the first's, result and fault are those of the device (the worst of the
    two), and `channels` has an object for each, by its number as people count: "1", "2".
    """
    runs = session.runs()
    summary = _summary_of(session.channel(session.channels[0]))
    if len(runs) > 1:
        verdict = find_verdict(session)
        summary |= {"result": verdict["result"], "stop_reason": verdict["reason"], "stop_text": verdict["text"]}
        summary["fault"] = _fault_of_device(runs)
        summary["channels"] = {str((each.channel_number or 0) + 1): _of_channel(each) for each in runs}
    return cast(dict[str, Any], _tidy(summary))


def _summary_of(session: Session) -> dict[str, Any]:
    """Of one channel."""
    meta = session.meta
    verdict = find_verdict(session)
    return {
        "schema": SCHEMA,
        "session_id": session.id,
        "result": verdict["result"],
        "stop_reason": verdict["reason"],
        "stop_text": verdict["text"],
        "runtime": meta.get("runtime"),
        "seed": meta.get("seed"),
        "versions": _known(VERSION_KEYS, _hello_versions(session), _mapping(meta.get("versions"))),
        "digests": _known(DIGEST_KEYS, _mapping(meta.get("digests"))),
        "plan": meta.get("plan_name"),
        "probe": meta.get("profile_name"),
        "tissue": _name_of(meta.get("tissue")),
        "sample": meta.get("sample"),
        "calibration": _calibration(session),
        "started_utc": meta.get("started_utc"),
        "simulated_s": _simulated_s(session),
        "wall_s": meta.get("wall_s"),
        **_run_figures(session),
        "frames": _frames(session.whole),
        "tick": _tick(session),
        "fault": _fault(session),
        "log": str(session.path),
    }


def _of_channel(session: Session) -> dict[str, Any]:
    """What a channel has of its own."""
    whole = _summary_of(session)
    return {key: value for key, value in whole.items() if key not in _OF_THE_DEVICE}


_OF_THE_DEVICE = (
    "schema",
    "session_id",
    "runtime",
    "seed",
    "versions",
    "plan",
    "sample",
    "started_utc",
    "simulated_s",
    "wall_s",
    "frames",
    "tick",
    "log",
)


def _calibration(session: Session) -> dict[str, Any] | None:
    """The state of the device's calibration and what follows from it; None where the session does not tell."""
    told = told_in(session.meta)
    return {key: told.get(key, "") for key in ("state", "sentence", "note")} if told else None


def _run_figures(session: Session) -> dict[str, Any]:
    """What was reached, and what it took."""
    df = session.df
    parameters = session.parameters()
    target_C = parameters["target_mC"] / 1000 if "target_mC" in parameters else None
    rounded_s = 0.875 * parameters.get("rounding_ms", 0) / 1000  # see setpoint.py: from there on by τ and an eighth
    course = find_course(df, target_C, rounded_s, rounded_s * parameters.get("ramp_mC_per_s", 0) / 1000)
    judged_on, time_s, temperature_C = _judged_series(session, df)
    mode = plan.MODE_NAMES[parameters.get("mode", plan.MODE_TEMPERATURE)]
    power_W = parameters["power_mW"] / 1000 if mode != "temperature" else None
    quality = Quality()
    if mode == "temperature":  # in the others the target is a ceiling, which need not be reached
        quality = judge(course, time_s, temperature_C, target_C, parameters.get("hold_ms", 0) / 1000)
    peaks, doses = _extremes(session)
    return {
        "mode": mode,
        "power_set_W": power_W,
        "rolloffs": rolloffs(session) if mode == "impedance" else None,
        "against_continuous": against_continuous(df, power_W) if mode == "impedance" and power_W else None,
        "end_temperature_C": _end_temperature_C(df),
        "cooldown": cooldown(session, df),
        "target_C": target_C,
        "judged_on": judged_on,
        "overshoot_C": quality.overshoot_C,
        "settling_s": quality.settling_s,
        "steady_error_C": quality.steady_error_C,
        "peak_C": peaks,
        "cem43_min": doses,
        "energy_J": _last(df, "energy_J"),
        "rf_on_s": _last(session.dose, "rf_on_s"),
    }


def _end_temperature_C(df: "pd.DataFrame") -> float | None:
    """The control thermocouple's reading when the cool-down was over; None without one."""
    cooling = df[df["state"] == "COOLDOWN"]
    return _last(cooling, "control_C")


_WORST_FIRST = ("fault", "link_lost", "refused", None, "stopped", "limited", "completed")


def find_verdict(session: Session) -> dict[str, str | None]:
    """How the run ended (`result`; None if the record does not say), why, and that in words (`text`).

    Of two channels the worst, with a cause that is its own.
    """
    return min((_verdict_of(each) for each in session.runs()), key=_gravity)


def _gravity(verdict: Mapping[str, str | None]) -> tuple[bool, int, bool]:
    """The smaller, the worse."""
    reason = verdict["reason"]
    return reason not in protocol.GRAVEST, _WORST_FIRST.index(verdict["result"]), reason == OTHER_CHANNEL


def _verdict_of(session: Session) -> dict[str, str | None]:
    """Of one channel."""
    device = _device_verdict(session)
    host = _as_text(session.meta.get("result"))
    if device is None or host in _HOST_DECIDES:
        reason = _as_text(session.meta.get("cause"))
        text = _as_text(session.meta.get("refusal")) or (words.cause_sentence(reason) if reason else None)
        return {"result": host if host in words.RESULTS else None, "reason": reason or text, "text": text}
    result, reason = device
    return {"result": result, "reason": reason, "text": words.cause_sentence(reason)}


def _device_verdict(session: Session) -> tuple[str, str] | None:
    """(result, cause) by the device's own last word; a later end is a graver one and stands."""
    ends = session.rows('SELECT "value", cause FROM events WHERE code = ? ORDER BY frame', (protocol.EVENT_END,))
    said = session.rows("SELECT result, cause FROM telemetry WHERE result != 0 ORDER BY frame DESC LIMIT 1")
    last = ends[-1:] or said
    if not last:
        return None
    result, cause = last[0]
    return words.name_of(protocol.RESULT_NAMES, result), words.name_of(protocol.CAUSES, cause)


def find_course(df: "pd.DataFrame", target_C: float | None, rounded_s: float = 0.0, rounded_C: float = 0.0) -> Course:
    """The parts of the last run in this telemetry.

    The ramp ends with the first set-point that is the target. Where its end is rounded, over the last `rounded_C`, it
    counts as ended when it would have without: `rounded_s` after it came so near.
    """
    import numpy as np

    time_s = df["t_s"].to_numpy(dtype=float)
    state = df["state"].to_numpy(dtype=str)
    energised = np.isin(state, ENERGISED)
    if not energised.any():
        return Course()
    begins = np.flatnonzero(energised & ~np.concatenate(([False], energised[:-1])))
    run = np.zeros(len(df), dtype=bool)
    run[begins[-1] :] = True
    hold = run & (state == "HOLD")
    setpoint_C = df["setpoint_C"].to_numpy(dtype=float)
    missing_C = (math.inf if target_C is None else target_C) - setpoint_C
    reached = run & (missing_C <= 1e-9)
    near_s = _first(time_s[run & (missing_C <= rounded_C + 1e-9)]) if reached.any() else None
    return Course(
        start_s=float(time_s[begins[-1]]),
        ramp_end_s=None if near_s is None else near_s + rounded_s,
        hold_start_s=_first(time_s[hold]),
        hold_end_s=_first(time_s[hold][::-1]),
    )


def judge(
    course: Course,
    time_s: "NDArray[np.float64]",
    temperature_C: "NDArray[np.float64]",
    target_C: float | None,
    hold_s: float,
) -> Quality:
    """Overshoot, settling and steady error of a temperature against its target."""
    import numpy as np

    end_s = course.hold_end_s
    if target_C is None or course.start_s is None or course.ramp_end_s is None or not len(time_s):
        return Quality()
    from_start = time_s >= course.start_s
    heated = from_start & (time_s <= (math.inf if end_s is None else end_s))
    if not heated.any():
        return Quality()
    overshoot_C = max(0.0, float(np.nanmax(temperature_C[heated])) - target_C)
    if course.hold_start_s is None or end_s is None:
        return Quality(overshoot_C=overshoot_C)
    step_C = abs(target_C - float(temperature_C[from_start][0]))
    after_ramp = heated & (time_s >= course.ramp_end_s)
    settling_s = _settling_s(
        time_s[after_ramp] - course.ramp_end_s, temperature_C[after_ramp] - target_C, SETTLED_SHARE * step_C
    )
    middle_s = course.hold_start_s + hold_s / 2
    second_half = heated & (time_s >= middle_s)
    lasted = end_s - middle_s > TICK_S and second_half.any()
    steady_C = abs(float(np.nanmean(temperature_C[second_half])) - target_C) if lasted else None
    return Quality(overshoot_C, settling_s, steady_C)


def _settling_s(time_s: "NDArray[np.float64]", error_C: "NDArray[np.float64]", tolerance_C: float) -> float | None:
    """When the error came within the tolerance to stay; None if it never did."""
    import numpy as np

    outside = np.flatnonzero(~(np.abs(error_C) <= tolerance_C))
    if not len(outside):
        return 0.0
    after = int(outside[-1]) + 1
    return float(time_s[after]) if after < len(time_s) else None


def _judged_series(session: Session, df: "pd.DataFrame") -> "tuple[str, NDArray[np.float64], NDArray[np.float64]]":
    """(what the run is judged on, its times, its temperatures at the control thermocouple's place)."""
    import numpy as np

    if session.simulated:
        truth = session.truth
        return "tissue", truth["t_s"].to_numpy(dtype=float), truth["control_C"].to_numpy(dtype=float)
    if "control_C" not in df:
        return "reading", np.array([]), np.array([])
    return "reading", df["t_s"].to_numpy(dtype=float), df["control_C"].to_numpy(dtype=float)


def _extremes(session: Session) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """(peak in °C, CEM43 in min) by role: the tissue's in a simulation, else as the device counted them."""
    peaks: dict[str, float | None] = {}
    doses: dict[str, float | None] = {}
    final = _mapping(session.meta.get("truth_final"))
    counted = session.dose
    for role in ROLES:
        if session.simulated:
            peak, dose = _truth_extremes(session, role)
            peaks[role] = _as_number(_mapping(final.get("peak_C")).get(role), peak)
            doses[role] = _as_number(_mapping(final.get("cem43_min")).get(role), dose)
        else:
            peaks[role] = _last(counted, f"{role}_peak_C")
            doses[role] = _last(counted, f"{role}_cem43_min")
    return peaks, doses


def _truth_extremes(session: Session, role: str) -> tuple[float | None, float | None]:
    import numpy as np

    temperature_C = session.truth[f"{role}_C"].to_numpy(dtype=float)
    if np.isnan(temperature_C).all():
        return None, None
    dose_min = cumulative_cem43_min(session.truth["t_s"].to_numpy(dtype=float), temperature_C)
    return float(np.nanmax(temperature_C)), float(dose_min[-1])


def cumulative_cem43_min(time_s: "NDArray[np.float64]", temperature_C: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """CEM43 up to each moment, in min: R = 0.5 from 43 °C up, 0.25 from 39 °C up, nothing below."""
    import numpy as np

    above = temperature_C - 43.0
    rate = np.where(above >= 0.0, np.exp2(above), np.exp2(2.0 * above))
    rate = np.where(temperature_C >= 39.0, rate, 0.0)
    # a row tells what the stretch before it ended with
    return np.cumsum(rate * np.diff(time_s, prepend=time_s[:1])) / 60.0


def _frames(session: Session) -> dict[str, int | None]:
    """`sent` were handed to the link, `dropped` never were; `lost` were sent and did not arrive."""
    (received,) = session.rows("SELECT count(*) FROM frames")[0]
    if not received:
        return {"sent": None, "received": 0, "lost": None, "dropped": None}
    gaps = count_gaps(session)
    return {"sent": received + gaps.lost, "received": received, "lost": gaps.lost, "dropped": gaps.dropped}


def _tick(session: Session) -> dict[str, float | int | None]:
    """Cost and lateness by HEALTH, which has a mean for each period: `cost_us_median` is the median of those.

    `late_us_max` is of the time with RF on: at rest, ARM's own tests and whatever a host asks for may take their
    time. `heap_bytes` is what one tick allocates while energised (HEALTH to HEALTH, the median), which should be 0.
    """
    health = session.health
    energised = health[health["state"].isin(ENERGISED)]
    _, t_s, _ = session.clock
    count = round((float(t_s.max()) - float(t_s.min())) / TICK_S) + 1 if len(t_s) else None
    return {
        "count": count,
        "cost_us_median": _number(health["cost_us_mean"].median()),
        "cost_us_max": _number(health["cost_us_max"][health["cost_us_mean"].notna()].max()),
        "late_us_max": _number(energised["late_us_max"].max()),
        "heap_bytes": _heap_bytes_per_tick(health),
        "heap_free_min_bytes": _number(health["heap_free_bytes"].min()),
    }


def _heap_bytes_per_tick(health: "pd.DataFrame") -> float | None:
    import numpy as np

    energised = np.isin(health["state"].to_numpy(dtype=str), ENERGISED)
    both = energised[1:] & energised[:-1]
    free = health["heap_free_bytes"].to_numpy(dtype=float)
    ticks = np.diff(health["t_s"].to_numpy(dtype=float)) / TICK_S
    taken = -np.diff(free)[both] / ticks[both]
    return None if not len(taken) or np.isnan(taken).any() else float(np.median(taken))


def _fault(session: Session) -> dict[str, Any] | None:
    """The fault: what, when, by how much, and in a simulation how soon the enable pin was low.

    The first, unless a later one says that RF may be on although it should not.
    """
    events = session.events
    faults = events[events["kind"] == "fault"]
    if faults.empty:
        return None
    gravest = faults[faults["cause"].isin(protocol.GRAVEST)]
    first = faults.iloc[0] if gravest.empty else gravest.iloc[0]
    at_s = float(first["t_s"])
    judged = first["row"] is not None
    return {
        "kind": str(first["cause"]),
        "at_s": at_s,
        "first_at_s": float(first["first_t_s"]),
        "rf_off_ms": rf_off_ms(session, at_s),
        "value": float(first["value"]) if judged else None,
        "limit": float(first["limit"]) if judged else None,
        "unit": str(first["unit"]) if judged else None,
        "row": str(first["row"]) if judged else None,
        "text": str(first["text"]),
    }


def _fault_of_device(runs: Sequence[Session]) -> dict[str, Any] | None:
    """The fault that ended the run of both, and whose it was: the gravest, then what was no answer to the other."""
    told = [{**fault, "channel": (each.channel_number or 0) + 1} for each in runs if (fault := _fault(each))]
    return min(told, key=_fault_gravity, default=None)


def _fault_gravity(fault: Mapping[str, Any]) -> tuple[bool, bool, float]:
    return fault["kind"] not in protocol.GRAVEST, fault["kind"] == OTHER_CHANNEL, fault["at_s"]


def rf_off_ms(session: Session, tripped_s: float) -> float | None:
    """From the tick that tripped to the simulated enable pin being low, in ms; 0 if it was low before.

    None where there is no truth, or where the pin never went low.
    """
    import numpy as np

    if not session.simulated:
        return None
    edges = session.enable_edges if len(session.enable_edges) else _edges_in_truth(session)
    time_s = edges["t_s"].to_numpy(dtype=float)
    level = edges["level"].to_numpy(dtype=float)
    before = np.flatnonzero(time_s < tripped_s - TICK_S / 2)
    if not len(before) or level[before[-1]] == 0.0:
        return 0.0
    low = np.flatnonzero((level == 0.0) & (time_s >= tripped_s - TICK_S / 2))
    return max(0.0, (float(time_s[low[0]]) - tripped_s) * 1000.0) if len(low) else None


def _edges_in_truth(session: Session) -> "pd.DataFrame":
    """Changes of the enable pin, no finer than the rows of truth."""
    truth = session.truth
    changed = truth["enable"].diff().fillna(1.0) != 0.0
    return truth.loc[changed, ["t_s", "enable"]].rename(columns={"enable": "level"})


def _simulated_s(session: Session) -> float | None:
    told = session.meta.get("simulated_s")
    if told is not None or not session.simulated:
        return _as_number(told, None)
    return float(session.truth["t_s"].max())


def _hello_versions(session: Session) -> dict[str, Json]:
    """What the device says of itself: its firmware, and its interpreter where that is MicroPython."""
    hello = _mapping(session.meta.get("hello"))
    interpreter, _, version = str(hello.get("mp", "")).partition(" ")
    found: dict[str, Json] = {"firmware": hello.get("fw"), "protocol": hello.get("schema")}
    if interpreter == "micropython":
        found["micropython"] = version
    return found


def _known(keys: Iterable[str], *sources: Mapping[str, Json]) -> dict[str, Json]:
    """Each key with the last source's value that is not null."""
    found: dict[str, Json] = dict.fromkeys(keys)
    for source in sources:
        found.update({key: value for key, value in source.items() if value is not None})
    return found


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _name_of(value: Json) -> Json:
    return value.get("name") if isinstance(value, dict) else value


def _as_text(value: Json) -> str | None:
    return value if isinstance(value, str) and value not in ("", "none") else None


def _as_number(value: Json, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, int | float) else otherwise


def _first(values: "NDArray[np.float64]") -> float | None:
    return float(values[0]) if len(values) else None


def _last(frame: "pd.DataFrame", column: str) -> float | None:
    return _number(frame[column].iloc[-1]) if column in frame and len(frame) else None


def _number(value: object) -> float | None:
    number = float(cast(float, value))
    return None if math.isnan(number) else number


def _tidy(value: object) -> object:
    """Floats to six decimals, NaN to null, all the way down."""
    if isinstance(value, dict):
        return {key: _tidy(each) for key, each in cast(dict[str, object], value).items()}
    if isinstance(value, list):
        return [_tidy(each) for each in cast(list[object], value)]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
