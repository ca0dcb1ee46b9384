"""Two channels on the emulated chip: whatever ends either ends both, seen from the pins; and one alone is as ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.pico_runtime import CHANNELS
from rfprobe_core import protocol

from .run_on_chip import ChipRun, edges_after, in_a_copy
from .tick_run import four_thermocouples, image_around_the_product

pytestmark = [pytest.mark.pico, pytest.mark.slow, pytest.mark.timeout(900)]

SHORT = {"ramp_mC_per_s": 2_000, "hold_ms": 500, "cooldown_ms": 300, "max_rf_on_ms": 20_000}
ON_TICKS = 20  # of RAMP, before anything is done to it
DEADMAN_LIMIT_us = 16_000
CTRL_C_LIMIT_us = 5_000
WATCHDOG_us = 100_000
WORST_us = 3_000
LATE_us = 50
QUIET_TICKS = 6
SECOND_RF_PINS = (CHANNELS[1].enable, CHANNELS[1].drive)


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChipRun]:
    """A run of both channels in RAMP, power flowing in both. Tests work on copies of it."""
    try:
        folder, hangs = tmp_path_factory.mktemp("mishaps"), Path(__file__).parent / "firmware" / "hangs.py"
        image = image_around_the_product(Path(__file__).parent / "mishaps", folder, hangs)
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    run = ChipRun(image, four_thermocouples(tmp_path_factory.mktemp("probe")), SHORT, channels=2)
    run.to_state(protocol.RAMP)
    for _ in range(ON_TICKS):
        run.tick()
    assert all(plant.enable and plant.power_W > 0 for plant in run.plants)
    yield run


def are_off(run: ChipRun) -> bool:
    """Both enables at rest at a low level and no drive, by pad and register, and so for some ticks."""
    edges = [len(enable) for enable in run.enables]
    run.most_drive = 0
    for _ in range(QUIET_TICKS):
        run.tick(b"")
    low = all(run.pico.pin_state(pins.enable).level == 0 for pins in CHANNELS)
    return low and edges == [len(enable) for enable in run.enables] and run.most_drive == 0


def last_edges_us(run: ChipRun, began_us: float, before_us: float = float("inf")) -> list[float]:
    """How long after a moment each enable pin still toggled."""
    after = [[at for at in edges_after(enable, began_us) if at < before_us] for enable in run.enables]
    return [edges[-1] - began_us if edges else 0.0 for edges in after]


def ends(run: ChipRun) -> list[tuple[int, str]]:
    """Channel and cause of each end that was told."""
    events = [frame for frame in run.frames if frame.type == protocol.EVENT]
    told = [frame for frame in events if frame.value("code") == protocol.EVENT_END]
    return [(frame.channel, protocol.CAUSES[frame.value("cause")]) for frame in told]


# As planned


def to_the_end(run: ChipRun) -> dict[str, object]:
    for _ in range(600):
        run.tick()
        if run.client.over:
            break
    off = are_off(run)
    run.tick(b"\x03")
    run.expect("KeyboardInterrupt", 60)
    for _ in range(5):
        run.tick(b"")
    run.tick(b"show()\r")
    kept = run.expect(r"kept (\d+) (\d+) (\d+) (\d+) shown", 60)
    healths = [frame for frame in run.frames if frame.type == protocol.HEALTH]
    return {
        "result": run.client.result,
        "words": [channel.word for channel in run.client.channels],
        "hello": next(frame.hello for frame in run.frames if frame.type == protocol.HELLO),
        "lost": run.client.decoder.lost,
        "peaks_C": [plant.peak_C["control"] for plant in run.plants],
        "off": off,
        "ticks": int(kept[1]),
        "late_us": int(kept[2]),
        "cost_us": int(kept[3]),
        "dropped": int(kept[4]),
        "free_bytes": healths[-1].value("heap_free_bytes"),
    }


def test_both_complete_a_run(chip: ChipRun) -> None:
    told = in_a_copy(lambda: to_the_end(chip))
    print(told)
    assert told["hello"]["channels"] == "2"
    assert told["result"] == "completed"
    assert told["words"] == [("completed", "hold_complete")] * 2
    assert told["lost"] == told["dropped"] == 0
    assert all(38.0 <= peak_C <= 40.0 for peak_C in told["peaks_C"])
    assert told["off"]
    assert told["ticks"] >= 150
    assert told["cost_us"] <= WORST_us
    assert told["late_us"] <= LATE_us


# What ends either


def ended_by(run: ChipRun, fault: str, number: int, ticks: int) -> dict[str, object]:
    plant = run.plants[number]
    told = parse_fault(fault, plant.roles)
    began_us = run.pico.time_us
    told.kind.apply(plant, told.place, told.value, True)
    plant._faulty = True  # the plant looks for faults from now on
    for _ in range(ticks):
        run.tick()
    return {"off_after_us": last_edges_us(run, began_us), "off": are_off(run), "ends": ends(run)}


@pytest.mark.parametrize(
    ("fault", "number", "cause", "limit_us"),
    [
        ("interlock", 1, "interlock_open", 35_000),
        ("interlock", 0, "interlock_open", 35_000),
        # found by the chip within two conversions, and polled three times in a row: 120 ms each at 50 Hz mains
        ("open:control", 1, "thermocouple_open", 700_000),
    ],
)
def test_a_fault_of_either_ends_both(chip: ChipRun, fault: str, number: int, cause: str, limit_us: int) -> None:
    told = in_a_copy(lambda: ended_by(chip, fault, number, limit_us // 10_000 + 6))
    print(fault, number + 1, told)
    assert sorted(told["ends"]) == sorted([(number, cause), (1 - number, "other_channel")])
    assert all(0 < off_us <= limit_us for off_us in told["off_after_us"])
    assert told["off"]


def with_a_stuck_switch(run: ChipRun) -> dict[str, object]:
    run.runtime.cut_position()
    began_us = run.pico.time_us
    for _ in range(14):
        run.tick()
    return {"off_after_us": last_edges_us(run, began_us), "off": are_off(run), "ends": ends(run)}


def test_a_switch_that_does_not_turn_ends_both(chip: ChipRun) -> None:
    """The current of one channel would be taken for the other's: it is not believed."""
    told = in_a_copy(lambda: with_a_stuck_switch(chip))
    print(told)
    assert all(0 < off_us <= 80_000 for off_us in told["off_after_us"])
    assert told["off"]
    assert told["ends"][0][1] in ("over_current", "impedance_low")
    assert told["ends"][-1][1] == "rf_while_disabled"  # and so it stays, with RF off


# Ways out


def interrupted(run: ChipRun) -> dict[str, object]:
    offset_us = 1_300.0  # the first channel has had its tick, the second is in it
    began_us = run.pico.time_us + offset_us
    run.pico.call_after_us(offset_us, lambda: run.pico.write(b"\x03"))
    for _ in range(20):
        run.tick(b"")
    return {"off_after_us": last_edges_us(run, began_us), "off": are_off(run), "ends": ends(run), "text": run.text}


def test_ctrl_c_ends_both(chip: ChipRun) -> None:
    told = in_a_copy(lambda: interrupted(chip))
    print(told["off_after_us"], told["ends"])
    assert all(off_us <= CTRL_C_LIMIT_us for off_us in told["off_after_us"])
    assert told["off"]
    assert told["ends"] == [(0, "operator_stop"), (1, "operator_stop")]
    assert "KeyboardInterrupt" in str(told["text"])


def hung(run: ChipRun, kind: str) -> dict[str, object]:
    run.work(kind)
    for _ in range(14):
        run.tick(b"")
        if run.pico.resets:
            break
    run.work("none")
    reset_us = run.pico.resets[0].time_us if run.pico.resets else None
    before_us = reset_us or float("inf")
    fed_us = max(edge.time_us for edge in run.mark if edge.time_us < before_us)
    return {
        "toggled_us": last_edges_us(run, fed_us, before_us),
        "resets": [reset.kind for reset in run.pico.resets],
        "reset_after_us": None if reset_us is None else reset_us - fed_us,
        "off": are_off(run),
    }


@pytest.mark.parametrize("kind", ["python_loop", "interrupts_off"])
def test_a_hung_cpu_loses_both_and_is_reset(chip: ChipRun, kind: str) -> None:
    """The first channel was fed and then the CPU hung: the second's last feed was a tick before."""
    told = in_a_copy(lambda: hung(chip, kind))
    print(kind, told)
    first_us, second_us = told["toggled_us"]
    assert 15_000 < first_us <= DEADMAN_LIMIT_us
    assert 0 < second_us < first_us
    assert told["resets"] == ["watchdog"]
    assert told["reset_after_us"] <= WATCHDOG_us + 12_000
    assert told["off"]


def left(run: ChipRun, kind: str) -> dict[str, object]:
    run.work(kind)
    began_us = run.pico.time_us
    run.tick(b"")
    run.tick(b"")
    run.work("none")
    for _ in range(6):
        run.tick(b"")
    return {"off_after_us": last_edges_us(run, began_us), "off": are_off(run), "text": run.text}


@pytest.mark.parametrize("kind", ["out_of_memory", "soft_reset"])
def test_other_ways_out_end_both(chip: ChipRun, kind: str) -> None:
    told = in_a_copy(lambda: left(chip, kind))
    print(kind, told["off_after_us"])
    assert all(off_us <= 10_000 + DEADMAN_LIMIT_us for off_us in told["off_after_us"])
    assert told["off"]


# Where none is fitted


def test_without_a_second_channel_its_pins_stay_low_and_the_board_has_one(tmp_path: Path) -> None:
    """The image as it is flashed, the position of the switch left open."""
    try:
        image = build_image(collect_inputs("rpi_pico"), default_cache()).path
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    run = ChipRun(image, four_thermocouples(tmp_path), SHORT)
    traces = [run.pico.watch(pin) for pin in SECOND_RF_PINS]
    run.to_state(protocol.RAMP)
    for _ in range(ON_TICKS):
        run.tick()
    assert run.plant.enable
    assert "channels" not in next(frame.hello for frame in run.frames if frame.type == protocol.HELLO)
    assert {frame.channel for frame in run.frames} == {0}
    assert [[edge.level for edge in trace] for trace in traces] == [[0], [0]]
    for pin in SECOND_RF_PINS:
        state = run.pico.pin_state(pin)
        assert (state.function, state.output_enabled, state.level) == ("sio", True, 0)
