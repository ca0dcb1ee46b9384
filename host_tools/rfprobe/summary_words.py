"""The summary for people: the tiles of a report, and the table that `simulate` prints."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from rfprobe import words
from rfprobe.summary import ROLES

UNKNOWN = "—"
_MANY_MIN = 10_000.0
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def number(value: float | None, digits: int, unit: str) -> str:
    """`0.20 °C`, or a dash for what is not known."""
    return UNKNOWN if value is None else f"{value:.{digits}f} {unit}".rstrip()


def dose_told(minutes: float | None) -> str:
    """A dose in minutes at 43 °C; it spans many decades."""
    if minutes is None:
        return UNKNOWN
    if minutes < _MANY_MIN:
        return f"{minutes:.3g} min" if minutes < 1000 else f"{minutes:.0f} min"
    mantissa, _, exponent = f"{minutes:.1e}".partition("e")
    return f"{mantissa} · 10{str(int(exponent)).translate(_SUPERSCRIPT)} min"


def tiles(summary: Mapping[str, Any], every: bool = False) -> list[tuple[str, str, str]]:
    """(label, value, note) of the figures that matter most; `every` one, or those that are known."""
    peak, dose = summary["peak_C"], summary["cem43_min"]
    settled = summary["settling_s"]
    rows = [
        ("Target", number(summary["target_C"], 1, "°C"), ""),
        ("Overshoot", number(summary["overshoot_C"], 2, "°C"), ""),
        ("Steady error", number(summary["steady_error_C"], 2, "°C"), "second half of the hold"),
        ("Settled", number(settled, 1, "s"), "after the ramp, to ±2 % of the step"),
        *((f"Peak, {role}", number(peak[role], 1, "°C"), f"dose {dose_told(dose[role])}") for role in ROLES),
        ("Energy", number(summary["energy_J"], 0, "J"), f"RF on for {number(summary['rf_on_s'], 1, 's')}"),
    ]
    return [row for row in rows if every or row[1] != UNKNOWN or row[0] in _ALWAYS]


_ALWAYS = ("Overshoot", "Steady error", "Settled")


def figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every figure with its name; of two channels each with the channel's number before it."""
    channels = summary.get("channels")
    if channels is None:
        return _known([*_verdict_rows(summary), *_run_rows(summary), *_device_rows(summary)])
    shared, own = channel_figures(channels)
    rows = [*_known(_verdict_rows(summary)), *shared]
    for number, told in own.items():
        rows += [(f"{number} · {label}", value) for label, value in told]
    return rows + _known(_device_rows(summary))


def device_figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of a run of two channels: what is the device's, or the same for both."""
    shared, _ = channel_figures(summary["channels"])
    return [*_known(_verdict_rows(summary)), *shared, *_known(_device_rows(summary))]


def channel_figures(
    channels: Mapping[str, Mapping[str, Any]],
) -> tuple[list[tuple[str, str]], dict[str, list[tuple[str, str]]]]:
    """(what was set alike in all, the figures of each): a summary's `channels` in words."""
    told = {number: _known([*_verdict_rows(each), *_run_rows(each)]) for number, each in channels.items()}
    values = [dict(rows) for rows in told.values()]
    shared = next(iter(told.values()))
    alike = [(label, value) for label, value in shared if label in _SET and _in_all(values, label, value)]
    probes = [("Probe", str(each["probe"] or UNKNOWN)) for each in channels.values()]
    own = {
        number: [probe, *(row for row in rows if row not in alike)]
        for probe, (number, rows) in zip(probes, told.items(), strict=True)
    }
    return alike, own


def _in_all(told: Sequence[Mapping[str, str]], label: str, value: str) -> bool:
    return all(each.get(label) == value for each in told)


_SET = ("Mode", "Power asked for", "Target", "Judged on")
"""Rows that need be told once, where they are the same for both channels."""


def _known(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [row for row in rows if row[1] != UNKNOWN or row[0].startswith(_ALWAYS)]


def _verdict_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Result", words.result_title(summary["result"])),
        ("Reason", str(summary["stop_text"] or UNKNOWN)),
        *_fault_rows(summary["fault"]),
    ]


def _run_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Mode", str(summary["mode"])),
        ("Power asked for", number(summary["power_set_W"], 1, "W")),
        ("Roll-offs", UNKNOWN if summary["rolloffs"] is None else str(summary["rolloffs"])),
        *_calibration_rows(summary.get("calibration")),
        ("Target", number(summary["target_C"], 1, "°C")),
        ("Judged on", {"tissue": "the simulated tissue"}.get(summary["judged_on"], "the readings")),
        ("Overshoot", number(summary["overshoot_C"], 3, "°C")),
        ("Settled after the ramp", number(summary["settling_s"], 2, "s")),
        ("Steady error", number(summary["steady_error_C"], 3, "°C")),
        *((f"Peak, {role}", number(summary["peak_C"][role], 2, "°C")) for role in ROLES),
        *((f"Dose (CEM43), {role}", dose_told(summary["cem43_min"][role])) for role in ROLES),
        ("Energy", number(summary["energy_J"], 1, "J")),
        ("RF on", number(summary["rf_on_s"], 2, "s")),
        *_continuous_rows(summary),
        *_cooldown_rows(summary["cooldown"]),
    ]


def _device_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    frames, tick = summary["frames"], summary["tick"]
    return [
        ("Frames", _frames_told(frames)),
        ("Ticks", str(tick["count"] if tick["count"] is not None else UNKNOWN)),
        ("Cost of a tick", _cost_told(tick)),
        ("Runtime", _runtime_told(summary)),
        ("Took", _took_told(summary)),
        *_sample_rows(summary.get("sample")),
    ]


def uncalibrated(summary: Mapping[str, Any]) -> str:
    """What a page must say across itself where the calibration did not hold; empty where it did, or is not told."""
    told = summary.get("calibration")
    return str(told["sentence"]) if told else ""


def _calibration_rows(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not told:
        return []
    return [("Calibration", "; ".join(part for part in (told["sentence"] or told["state"], told["note"]) if part))]


def _fault_rows(fault: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if fault is None:
        return []
    where = f", on channel {fault['channel']}" if "channel" in fault else ""
    rows = [("Fault", f"{fault['kind']} at {fault['at_s']:.2f} s{where}")]
    if fault["value"] is not None:
        unit = f" {fault['unit']}".rstrip()
        rows.append(("Tripped by", f"{fault['row']}: {fault['value']:.6g}{unit}, limit {fault['limit']:.6g}{unit}"))
    rows.append(("RF off after", number(fault["rf_off_ms"], 0, "ms")))
    return rows


def _continuous_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the rests cost in energy, and what they are for."""
    told = summary["against_continuous"]
    if told is None or not told["same_time_J"]:
        return []
    share = f"{100 * (summary['energy_J'] or 0.0) / told['same_time_J']:.0f} %"
    power, lasted = number(summary["power_set_W"], 1, "W"), number(told["lasted_s"], 0, "s")
    rows = [("Against continuous", f"{share} of the {number(told['same_time_J'], 0, 'J')} of {power} for {lasted}")]
    if told["until_rolloff_J"] is not None:
        first = number(told["until_rolloff_J"], 1, "J")
        rows.append(("Without a rest", f"over at the first roll-off, after {first}"))
    return rows


def _cooldown_rows(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What was read after RF had ended."""
    if told is None:
        return []
    lasted = number(told["lasted_s"], 0, "s")
    return [
        (
            f"Cooling, {name}",
            f"{number(read['begin_C'], 1, '°C')} as RF ended, {number(read['highest_C'], 1, '°C')} at most, "
            f"{number(read['end_C'], 1, '°C')} after {lasted}",
        )
        for name, read in told["readings"].items()
    ]


def _frames_told(frames: Mapping[str, Any]) -> str:
    known = {name: UNKNOWN if count is None else count for name, count in frames.items()}
    return f"{known['received']} received, {known['lost']} lost, {known['dropped']} dropped by the device"


def _cost_told(tick: Mapping[str, Any]) -> str:
    if tick["cost_us_median"] is None:
        return UNKNOWN
    return f"{tick['cost_us_median']:.0f} µs median, {tick['cost_us_max']:.0f} µs worst"


def _runtime_told(summary: Mapping[str, Any]) -> str:
    if summary["runtime"] is None:
        return UNKNOWN
    version = summary["versions"].get("micropython") if summary["runtime"] != "cpython" else None
    seed = "" if summary["seed"] is None else f", seed {summary['seed']}"
    return f"{summary['runtime']}{f' {version}' if version else ''}{seed}"


def _took_told(summary: Mapping[str, Any]) -> str:
    simulated, wall = summary["simulated_s"], summary["wall_s"]
    if simulated is None or wall is None:
        return number(wall, 1, "s")
    return f"{simulated:.1f} s simulated in {wall:.2f} s ({simulated / max(wall, 1e-9):.0f}× real time)"


def _sample_rows(sample: Mapping[str, object] | None) -> list[tuple[str, str]]:
    return [(f"Sample, {key}", _sample_told(value)) for key, value in (sample or {}).items()]


def _sample_told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in cast(dict[str, object], value).items())
    return str(value)
