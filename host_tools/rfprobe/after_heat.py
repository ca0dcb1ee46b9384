"""What a run's record says of the time without RF: how the tissue cooled, and what rests between deliveries cost.

Readings, not the simulation's truth: it is what whoever has a board can know.
"""

from typing import TYPE_CHECKING, Any

from rfprobe.session import Session
from rfprobe_core import protocol

if TYPE_CHECKING:
    import pandas as pd

_FEW_READINGS = 2


def cooldown(session: Session, df: "pd.DataFrame") -> dict[str, Any] | None:
    """How long COOLDOWN was watched, and of each thermocouple what it read; None where there was none.

    `begin` is as RF ended, `highest` while it cooled (heat goes on outwards after RF: a guard may still warm), `end`
    the last reading. °C.
    """
    cooling = df[df["state"] == "COOLDOWN"]
    if len(cooling) < _FEW_READINGS:
        return None
    readings: dict[str, dict[str, float]] = {}
    for name in session.places():
        column = cooling[f"{name}_C"].dropna()
        if len(column):
            readings[name] = {
                "begin_C": float(column.iloc[0]),
                "highest_C": float(column.max()),
                "end_C": float(column.iloc[-1]),
            }
    time_s = cooling["t_s"]
    return {"lasted_s": float(time_s.iloc[-1]) - float(time_s.iloc[0]), "readings": readings}


def against_continuous(df: "pd.DataFrame", power_W: float) -> dict[str, float | None] | None:
    """Energy of a run with rests beside `power_W` without one; None where nothing was delivered.

    `same_time_J` is what that would be over the same time, which no tissue takes once it has boiled dry;
    `until_rolloff_J` is what had flowed at the first roll-off, where a delivery without rests is over.
    """
    times = df[df["state"].isin(("RAMP", "HOLD", "REST"))]["t_s"]
    if not len(times):
        return None
    rests = df[df["state"] == "REST"]
    lasted_s = float(times.iloc[-1]) - float(times.iloc[0])
    return {
        "lasted_s": lasted_s,
        "same_time_J": power_W * lasted_s,
        "until_rolloff_J": float(rests["energy_J"].iloc[0]) if len(rests) else None,
    }


def rolloffs(session: Session) -> int:
    """How often the device told that RF rests."""
    rows = session.rows(
        'SELECT count(*) FROM events WHERE code = ? AND "value" = ?', (protocol.EVENT_STATE, protocol.REST)
    )
    return int(rows[0][0])
