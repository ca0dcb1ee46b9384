"""What the codes of the wire mean, in plain sentences. A test holds these tables against the protocol's own.

A completed run, one that was limited, an operator's stop, a lost link and a stop by safety never read alike.
"""

from rfprobe_core import protocol, safety

NOT_A_MEDICAL_DEVICE = "Not a medical device: for bench, phantom and ex-vivo work only."

STATES = {
    "": "waiting for the device",
    "SELF_TEST": "self-test",
    "IDLE": "idle",
    "ARMED": "armed, waiting for start",
    "RAMP": "heating to the target",
    "HOLD": "holding the target",
    "REST": "RF off between two deliveries",
    "COOLDOWN": "RF off, watching it cool",
    "DONE": "done",
    "STOPPED": "stopped",
    "FAULT": "stopped by a fault",
}

RESULTS = {
    "completed": ("Completed", "The plan was carried out to its end."),
    "limited": (
        "Limited",
        "The run ended short of its plan: at a ceiling, or held back for the guard.",
    ),
    "fault": ("Stopped by safety", "A limit or interlock was violated, and RF was switched off."),
    "stopped": ("Stopped by the operator", "The run was ended by hand before its end."),
    "link_lost": ("Link lost", "Device and host lost one another, and RF was switched off."),
    "refused": ("Refused", "The device would not arm, and no heat was delivered."),
    "unknown": ("No verdict", "The record ends before the device said how the run ended."),
}
"""result → (title, sentence)."""

CAUSES = {
    "none": "No reason was given.",
    "operator_stop": "The operator pressed Stop.",
    "footswitch_released": "The foot-switch was released.",
    "lease_lost": "The host was silent for longer than its lease of one second.",
    "rf_while_disabled": "RF was measured although the enable line was low, the gravest fault. Remove power.",
    "safe_off_unverified": "The RF stage could not be verified as off. Remove power.",
    "enable_stuck_high": "The enable line reads high although it is driven low. Remove power.",
    "enable_stuck_low": "The enable line reads low although it is driven high.",
    "interlock_open": "The interlock was opened.",
    "over_temperature": "A thermocouple was above the plan's highest temperature.",
    "under_temperature": "A thermocouple was below freezing, which tissue here never is.",
    "guard_over_temperature": "The guard thermocouple was above its trip temperature.",
    "guard_look_ahead": "The guard thermocouple rose so fast that it would have passed 45 °C within 6 s.",
    "guard_dose": "The guard thermocouple gathered a thermal dose of two minutes at 43 °C.",
    "thermocouple_open": "A thermocouple is open: a broken wire or a pulled plug.",
    "thermocouple_short": "A thermocouple is shorted to ground or supply.",
    "thermocouple_bus": "A thermocouple converter does not answer on its bus.",
    "thermocouple_config_lost": "A thermocouple converter lost its configuration.",
    "cold_junction_range": "A thermocouple's cold junction is outside −10 … 60 °C.",
    "thermocouple_jump": "A thermocouple jumped further than tissue can.",
    "sample_stale": "A thermocouple gave no fresh sample for too long.",
    "impedance_low": "The impedance was below the plan's window: a short between the poles.",
    "impedance_high": "The impedance was above the plan's window: lost contact, or dried tissue.",
    "over_voltage": "The RF voltage was above the stage's limit.",
    "over_current": "The RF current was above the stage's limit.",
    "over_power": "The RF power was above the plan's limit.",
    "stage_weak": "The RF stage gave clearly more or less than it was driven to.",
    "tick_late": "The controller's tick came too late, several times.",
    "ticks_missed": "The controller missed too many ticks.",
    "heap_low": "The controller ran short of memory.",
    "deadman_refused": "The dead-man circuit did not take its feed.",
    "unexpected_error": "The firmware met an error that it did not expect.",
    "self_test_failed": "The device did not pass its self-test.",
    "rf_on_time_ceiling": "RF had been on for as long as the plan allows.",
    "energy_ceiling": "As much energy had been delivered as the plan allows.",
    "hold_complete": "The target was held for the planned time.",
    "reset_in_run": "The device was reset in the middle of a run.",
    "not_heating": "Power flowed, and the tip's thermocouple did not move: it is not at the tip.",
    "energy_without_temperature": "More energy flowed than the tip's reading accounts for: it reads too low.",
    "heating_too_fast": "The tip's reading rose much faster than its set-point.",
    "thermocouples_disagree": "Another thermocouple was clearly hotter than the tip, where the heat is made.",
    "heating_when_off": "The tip's reading rose although RF was off.",
    "not_cooling_when_off": "The tip's reading did not fall after RF had ended.",
    "memory_corrupted": "The plan or the limits in the device's memory changed by themselves.",
    "dose_reached": "The boundary thermocouple gathered the thermal dose that the plan asks for.",
    "boundary_reached": "The boundary thermocouple reached the plan's end temperature.",
    "rolloffs_complete": "The impedance rolled off as many times as the plan asks for.",
    "end_point_missed": "The time was over before what the plan ends by was reached.",
    "start_temperature": "Before heating, a thermocouple read what unheated tissue does not: too warm or too cold.",
    "start_disagreement": "Before heating, the thermocouples disagreed: one of them is elsewhere, or is off.",
    "other_channel": "The device's other channel ended by a fault, which stops both.",
    "guard_limited": "The guard's governor kept the target from being reached in the time the plan allows.",
}

# Units in which a limit row's integers are shown: (unit, how many stored to one shown).
_SHOWN_UNITS = {
    "m°C": ("°C", 1000),
    "m°C/s": ("°C/s", 1000),
    "mΩ": ("Ω", 1000),
    "mV": ("V", 1000),
    "mW": ("W", 1000),
    "µA": ("A", 1_000_000),
    "ms CEM43": ("min CEM43", 60_000),
    "status": ("", 1),
}


def result_title(result: str | None) -> str:
    """A verdict in one or two words."""
    return RESULTS[result or "unknown"][0]


def result_sentence(result: str | None) -> str:
    return RESULTS[result or "unknown"][1]


def cause_sentence(cause: str | None) -> str:
    """Why, in a sentence; a cause that a newer device has invented is given by its name."""
    return CAUSES.get(cause or "none", f"The device's reason, '{cause}', is not known to this version.")


def name_of(names: tuple[str, ...], index: int) -> str:
    """A name of the protocol by its number, which a newer device may have more of."""
    return names[index] if 0 <= index < len(names) else f"number {index}"


def row_name(row: int) -> str | None:
    """Name of a row of the device's limit table; None where no row was concerned."""
    return None if row == protocol.NO_ROW else name_of(tuple(each[0] for each in safety.ROWS), row)


def row_unit(row: int) -> tuple[str, int]:
    """(unit, how many stored to one shown) of a row's value and limit."""
    stored: str = safety.ROWS[row][2] if row < len(safety.ROWS) else ""
    return _SHOWN_UNITS.get(stored, (stored, 1))


def row_value(row: int, stored: int) -> float | int:
    """A row's value in its shown unit; a whole number where the device counts."""
    _, per_unit = row_unit(row)
    return stored if per_unit == 1 else stored / per_unit


def told_row(row: int, stored: int) -> str:
    """A row's value with its unit: `97.31 °C`."""
    unit, _ = row_unit(row)
    return f"{row_value(row, stored):.6g} {unit}".rstrip()
