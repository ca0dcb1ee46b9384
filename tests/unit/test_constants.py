"""`_NAME = const(…)` on the hot path is the constant NAME of another module: here each is held against it."""

from types import ModuleType

import pytest

from rfprobe_core import (
    blackbox,
    commands,
    controller,
    counting,
    dose,
    governor,
    heatwatch,
    pacing,
    pair,
    pid,
    plan,
    power,
    protocol,
    reporter,
    safety,
    sequence,
    thermometry,
)
from rfprobe_drivers import max31856, rf_sense, rf_stage

ORIGINALS = (
    protocol,
    thermometry,
    safety,
    commands,
    controller,
    plan,
    power,
    rf_sense,
    rf_stage,
    sequence,
    reporter,
    dose,
    governor,
    counting,
    blackbox,
)
OTHERWISE = {
    "_EVERY_TICK_ROWS": len(safety.EVERY_TICK),
    "_VALUE_ROWS": len(safety.VALUE),
    "_TELEMETRY_TYPE": protocol.TELEMETRY,
    "_TICK_MASK": protocol.U32_MAX,
    "_TELEMETRY": protocol.FRAMES[protocol.TELEMETRY][1],
    "_DOSE": protocol.FRAMES[protocol.DOSE][1],
    "_HEALTH": protocol.FRAMES[protocol.HEALTH][1],
    "_EVENT": protocol.FRAMES[protocol.EVENT][1],
    "_ACK": protocol.FRAMES[protocol.ACK][1],
    "_BOX_FRAME": f"{protocol.FRAMES[protocol.BLACKBOX][1]}{protocol.RECORDS_PER_FRAME * protocol.RECORD_SIZE}s",
    "_RECORDS_BYTES": protocol.RECORDS_PER_FRAME * protocol.RECORD_SIZE,
    "_DEMAND_MAX_UW": pid.DEMAND_MAX_MW * 1000,
    "_LAW_SIN2": plan.LAW_SIN2,
    "_HEADER": protocol.HEADER,
    **{f"_{row[0].upper()}": place for place, row in enumerate(safety.TIP)},  # from TIP_START
}
# A module's own numbers, which are written nowhere else.
OWN = {"_POLL_AT", "_CHECK_PHASE", "_SPARING_TICKS", "_GRAVEST", "_STEPS"}
HOT = (
    blackbox,
    controller,
    commands,
    dose,
    governor,
    heatwatch,
    pacing,
    pair,
    pid,
    reporter,
    sequence,
    thermometry,
    max31856,
    rf_sense,
    rf_stage,
)


def _private_numbers(module: ModuleType) -> list[tuple[str, object]]:
    return [
        (name, value)
        for name, value in vars(module).items()
        if name[0] == "_" and name[1:2].isupper() and isinstance(value, int | str)
    ]


def _original(name: str) -> object:
    if name in OTHERWISE:
        return OTHERWISE[name]
    row = name[1:].lower()
    if row in safety.ROW:
        return safety.ROW[row]
    for module in ORIGINALS:
        if hasattr(module, name[1:]):
            return getattr(module, name[1:])
    return None


@pytest.mark.parametrize("module", HOT, ids=lambda module: module.__name__)
def test_a_copied_constant_is_the_original(module: ModuleType) -> None:
    copies = {name: value for name, value in _private_numbers(module) if name not in OWN}
    for name, value in copies.items():
        original = _original(name)
        if original is not None:
            assert value == original, name


def test_what_the_controller_copies_is_copied_from_somewhere() -> None:
    orphans = [name for name, _ in _private_numbers(controller) if name not in OWN and _original(name) is None]
    assert orphans == []


def test_each_place_is_polled_once_in_a_cycle_and_never_where_telemetry_falls() -> None:
    for cycle in (max31856.POLL_TICKS_60_HZ, max31856.POLL_TICKS_50_HZ):
        polled = [place for place in controller._POLL_AT[:cycle] if place < plan.THERMOCOUPLES]
        assert polled == list(range(plan.THERMOCOUPLES))
    assert controller._POLL_AT[0] >= plan.THERMOCOUPLES
    assert controller._POLL_AT[5] >= plan.THERMOCOUPLES
    assert controller._POLL_AT[controller._CHECK_PHASE] >= plan.THERMOCOUPLES


def test_the_second_channel_polls_by_the_first_ones_table() -> None:
    assert (pair._POLL_AT, pair._CHECK_PHASE) == (controller._POLL_AT, controller._CHECK_PHASE)  # pyright: ignore[reportPrivateUsage]
