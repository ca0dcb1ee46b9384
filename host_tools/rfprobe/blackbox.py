"""The device's black box as a table: what each of the last ticks saw, judged and did.

A row for each tick, the oldest first. Columns beside `t_s`, `utc`, `state` (as the tick left it) and `judged_in` (the
state its values were judged in):

| columns | what |
|---|---|
| `voltage_V`, `current_A`, `power_W`, `impedance_ohm` | as judged; `impedance_known` says whether it was measured |
| `demand_W`, `duty`, `setpoint_C`, `gain` | what was asked of the stage, and what it made of it (1 = as it should) |
| `sensed_permille` | RF sensed with RF off, of full scale |
| `polled`, `status` | which thermocouple was read in this tick, and what came of it |
| `control_C`, `guard_C`, … | its reading in such a tick; what was not believed is in `doubted_C` |
| `slope_C_per_s` | its slope over 15 samples |
| `not_moved_C`, `shortfall_C`, `hotter_C`, `rise_when_off_C`, `not_cooled_C` | the tip's rows, when they were judged |
| `late_us`, `elapsed_ticks`, `lease_s` | the tick's lateness, ticks since the one before, age of the host's lease |
| `enable`, `enable_stuck_high`, `enable_stuck_low`, `interlock_open`, `feeds_refused` | the enable and its chain |

What a tick did not look at is NaN, or an empty name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rfprobe import words
from rfprobe_core import protocol, safety, thermometry

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from rfprobe.session import Session

__all__ = ["STATUS_NAMES", "black_box_frame", "tripped_series"]

STATUS_NAMES = (
    "fresh",
    "repeat",
    "open",
    "short",
    "bus",
    "config_lost",
    "cold_junction",
    "jump",
    "questioned",
)
_TICK_S = protocol.TICK_US / 1e6
_ENERGISED = (protocol.RAMP, protocol.HOLD)
_GAIN_ONE = 4_096
_DUTY_FULL = 65_535
_FLAGS = {
    "enable": protocol.RECORD_ENABLE,
    "enable_stuck_high": protocol.RECORD_ENABLE_STUCK_HIGH,
    "enable_stuck_low": protocol.RECORD_ENABLE_STUCK_LOW,
    "interlock_open": protocol.RECORD_INTERLOCK_OPEN,
    "impedance_known": protocol.RECORD_IMPEDANCE_KNOWN,
}


def black_box_frame(session: Session) -> pd.DataFrame:
    """The table, from the newest black box of the session. Columns and no rows where there is none."""
    import numpy as np
    import pandas as pd

    from rfprobe.session_format import BOX_COLUMNS

    rows = np.array(_one_of_each(session.box_rows()), dtype=np.int64).reshape(-1, len(BOX_COLUMNS))
    table = pd.DataFrame(rows, columns=list(BOX_COLUMNS))
    frame = _head(session, table)
    _add_powers(frame, table)
    _add_samples(frame, table, session.places())
    return frame


def _one_of_each(rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The records of the newest black box, in order; of one that came twice, the last."""
    newest = {
        record: (frame, record, last_tick, *rest)
        for frame, record, last_tick, *rest in rows
        if last_tick == rows[-1][2]
    }
    return [newest[record] for record in sorted(newest)]


def _column(table: pd.DataFrame, name: str) -> NDArray[np.int64]:
    import numpy as np

    return table[name].to_numpy(dtype=np.int64)


def _head(session: Session, table: pd.DataFrame) -> pd.DataFrame:
    """Times, states and flags."""
    import numpy as np
    import pandas as pd

    seen, flags = _column(table, "seen"), _column(table, "flags")
    t_s = _times_s(session, table)
    _, clock_s, host_ns = session.clock
    offset_ns = int(np.median(host_ns - np.round(clock_s * 1e9).astype(np.int64))) if len(clock_s) else 0
    columns: dict[str, Any] = {
        "t_s": t_s,
        "utc": pd.to_datetime(np.round(t_s * 1e9).astype(np.int64) + offset_ns, unit="ns", utc=True),
        "state": [words.name_of(protocol.STATE_NAMES, int(each)) for each in seen & 0xF],
        "judged_in": [words.name_of(protocol.STATE_NAMES, int(each)) for each in seen >> 11 & 0xF],
    }
    columns |= {name: (flags & bit) != 0 for name, bit in _FLAGS.items()}
    columns["feeds_refused"] = flags >> 5 & 7
    columns["elapsed_ticks"] = flags >> 8
    columns["late_us"] = _column(table, "late_us")
    columns["lease_s"] = _column(table, "lease_ticks") * _TICK_S
    return pd.DataFrame(columns)


def _times_s(session: Session, table: pd.DataFrame) -> NDArray[np.float64]:
    """Each record's time: by how many ticks it is older than the frame that brought it."""
    import numpy as np

    if not len(table):
        return np.zeros(0)
    ids, clock_s, _ = session.clock
    ticks = dict(session.rows("SELECT id, tick FROM frames WHERE type = ?", (protocol.BLACKBOX,)))
    brought = _column(table, "frame")
    newest = int(table["last_tick"].iloc[0])
    since_end = np.array([(ticks[int(each)] - newest) & protocol.U32_MAX for each in brought], dtype=np.int64)
    before_end = (newest - _column(table, "tick")) & 0xFFFF
    return clock_s[np.searchsorted(ids, brought)] - (since_end + before_end) * _TICK_S


def _add_powers(frame: pd.DataFrame, table: pd.DataFrame) -> None:
    import numpy as np

    energised = np.isin(_column(table, "seen") >> 11 & 0xF, _ENERGISED)
    setpoint = _column(table, "setpoint_cC")
    other = _column(table, "gain")
    frame["voltage_V"] = _column(table, "voltage_cV") / 100
    frame["current_A"] = _column(table, "current_dmA") / 10_000
    frame["power_W"] = _column(table, "power_mW") / 1000
    frame["demand_W"] = _column(table, "demand_mW") / 1000
    frame["impedance_ohm"] = _column(table, "impedance_dohm") / 10
    frame["duty"] = _column(table, "duty") / _DUTY_FULL
    frame["setpoint_C"] = np.where(setpoint == 0, np.nan, setpoint / 100)
    frame["gain"] = np.where(energised, other / _GAIN_ONE, np.nan)
    frame["sensed_permille"] = np.where(energised, np.nan, other)


def _add_samples(frame: pd.DataFrame, table: pd.DataFrame, places: dict[str, int]) -> None:
    """What was polled, and what was judged of the tip."""
    import numpy as np

    seen = _column(table, "seen")
    what, status = seen >> 4 & 7, seen >> 7 & 0xF
    details = [_column(table, f"detail{index}") for index in range(3)]
    reading = _signed(details[0] | details[1] << 16, 32) / 1000
    names = {place: name for name, place in places.items()}
    polled = (what >= protocol.SEEN_PLACE) & (what < protocol.SEEN_TIP)
    believed = polled & (status <= thermometry.REPEAT)
    frame["polled"] = [
        names.get(int(each) - 1, f"tc{int(each) - 1}") if yes else "" for each, yes in zip(what, polled, strict=True)
    ]
    frame["status"] = [
        words.name_of(STATUS_NAMES, int(each)) if yes else "" for each, yes in zip(status, polled, strict=True)
    ]
    for name, place in places.items():
        frame[f"{name}_C"] = np.where(believed & (what == place + 1), reading, np.nan)
    frame["doubted_C"] = np.where(polled & ~believed, reading, np.nan)
    frame["slope_C_per_s"] = np.where(polled, _signed(details[2], 16) / 1000, np.nan)
    energised = np.isin(seen >> 11 & 0xF, _ENERGISED)
    tip = what == protocol.SEEN_TIP
    first, second, third = (_signed(detail, 16) / 1000 for detail in details)
    frame["not_moved_C"] = np.where(tip & energised, first, np.nan)
    frame["shortfall_C"] = np.where(tip & energised, second, np.nan)
    frame["hotter_C"] = np.where(tip, third, np.nan)
    frame["rise_when_off_C"] = np.where(tip & ~energised, first, np.nan)
    frame["not_cooled_C"] = np.where(tip & ~energised, second, np.nan)


def _signed(column: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    half = 1 << (bits - 1)
    return (column + half) % (1 << bits) - half


# Rows of the limit table whose value is a column as it stands: (column, how many of its units are one shown).
_BY_COLUMN: dict[str, tuple[str, float]] = {
    "rf_while_disabled": ("sensed_permille", 1),
    "enable_stuck_high": ("enable_stuck_high", 1),
    "enable_stuck_low": ("enable_stuck_low", 1),
    "interlock_open": ("interlock_open", 1),
    "lease_age": ("lease_s", 1000),
    "deadman_refused": ("feeds_refused", 1),
    "over_voltage": ("voltage_V", 1),
    "over_current": ("current_A", 1),
    "over_power": ("power_W", 1),
    "impedance_low": ("impedance_ohm", 1),
    "impedance_high": ("impedance_ohm", 1),
    "stage_gain": ("gain", _GAIN_ONE),
    "tick_late": ("late_us", 1),
    "ticks_missed": ("elapsed_ticks", 1),
    "not_heating": ("not_moved_C", 1),
    "energy_without_temperature": ("shortfall_C", 1),
    "thermocouples_disagree": ("hotter_C", 1),
    "heating_when_off": ("rise_when_off_C", 1),
    "not_cooling_when_off": ("not_cooled_C", 1),
}
_TEMPERATURE_ROWS = ("over_temperature", "under_temperature", "guard_temperature")


def tripped_series(session: Session, row: str) -> pd.Series[float] | None:
    """The values of a row of the limit table in its shown unit, indexed by `t_s`; None where the box has not them."""
    box = session.blackbox
    if not len(box):
        return None
    values = _row_values(box, row, session.places())
    if values is None:
        return None
    values.index = box["t_s"]
    return values.dropna()


def _row_values(box: pd.DataFrame, name: str, places: dict[str, int]) -> pd.Series[float] | None:
    if name in _BY_COLUMN:
        column, scale = _BY_COLUMN[name]
        return box[column].astype(float) * scale
    if name == "heating_too_fast":
        return _of_place(box, "slope_C_per_s", box["polled"], "control")
    if name[:2] != "tc" or not name[2:3].isdigit():
        return None
    place = int(name[2])
    thermocouple = next((each for each, theirs in places.items() if theirs == place), f"tc{place}")
    return _thermocouple_values(box, name[4:], thermocouple)


def _thermocouple_values(box: pd.DataFrame, row: str, thermocouple: str) -> pd.Series[float] | None:
    polled = box["polled"] == thermocouple
    if row in _TEMPERATURE_ROWS:
        return box[f"{thermocouple}_C"].astype(float)
    if row == "guard_look_ahead":
        ahead = box[f"{thermocouple}_C"] + safety.GUARD_LOOK_AHEAD_S * box["slope_C_per_s"]
        return ahead.where(polled).astype(float)
    codes = box["status"].map({name: float(code) for code, name in enumerate(STATUS_NAMES)})
    if row == "status":
        return codes.where(polled & (codes < thermometry.JUMP), 0.0).where(polled)
    if row == "not_believed":
        return (codes >= thermometry.JUMP).astype(float).where(polled)
    if row == "age":
        return _ages_ms(box, polled)
    return None


def _ages_ms(box: pd.DataFrame, polled: pd.Series[bool]) -> pd.Series[float]:
    """Time since the place's last fresh sample, in each tick after the first of them."""
    fresh_s = box["t_s"].where(polled & (box["status"] == "fresh")).ffill()
    return (box["t_s"] - fresh_s) * 1000


def _of_place(box: pd.DataFrame, column: str, polled: pd.Series[str], name: str) -> pd.Series[float]:
    return box[column].where(polled == name).astype(float)
