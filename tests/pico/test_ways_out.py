"""However the product's firmware is left while RF is on: off in time by the emulated pins, and off it stays."""

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.sim.onboard import exchange
from rfprobe.sim.pico_port import serve_tcp
from rfprobe.sim.pico_runtime import DRIVE_PIN, ENABLE_PIN
from rfprobe_core import protocol

from .run_on_chip import ChipRun, edges_after, in_a_copy
from .tick_run import four_thermocouples, image_around_the_product

pytestmark = [pytest.mark.pico, pytest.mark.slow, pytest.mark.timeout(900)]

DEADMAN_LIMIT_us = 16_000
CTRL_C_LIMIT_us = 5_000
STOP_LIMIT_us = 25_000
STOP_IN_A_FLOOD_LIMIT_us = 250_000
WATCHDOG_us = 100_000
LEASE_us = 1_000_000
LATE_LIMIT_us = 150
HUNG_TICKS = 14  # 140 ms
QUIET_TICKS = 12
BOOT_LIMIT_us = 1_500_000
HEAP_FREE_LEAST_bytes = 100_000
HANGS = ("python_loop", "native_loop", "viper_loop", "interrupts_off")


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChipRun]:
    """A run in HOLD. Tests work on copies of it."""
    try:
        folder, hangs = tmp_path_factory.mktemp("mishaps"), Path(__file__).parent / "firmware" / "hangs.py"
        image = image_around_the_product(Path(__file__).parent / "mishaps", folder, hangs)
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    run = ChipRun(image, four_thermocouples(tmp_path_factory.mktemp("probe")))
    run.to_state(protocol.HOLD)
    for _ in range(400):  # the loop may ask for nothing while the tip comes to rest
        run.tick()
        if run.pico.pwm(DRIVE_PIN).duty_u16 > 0:
            break
    assert run.pico.pwm(DRIVE_PIN).duty_u16 > 0
    yield run


def is_off(run: ChipRun) -> bool:
    """Enable at rest at a low level and no drive, by pad and register."""
    pico = run.pico
    return pico.pin_state(ENABLE_PIN).level == 0 and pico.pwm(DRIVE_PIN).duty_u16 == 0


def stays_off(run: ChipRun, ticks: int = QUIET_TICKS) -> bool:
    """No edge of the enable pin and no drive for some ticks."""
    edges = len(run.enable)
    run.most_drive = 0
    for _ in range(ticks):
        run.tick(b"")
    return len(run.enable) == edges and run.most_drive == 0 and is_off(run)


# Before all that


def test_boot_is_short_and_leaves_heap(chip: ChipRun) -> None:
    healths = [frame for frame in chip.frames if frame.type == protocol.HEALTH]
    free_bytes = [frame.value("heap_free_bytes") for frame in healths][-1]  # as ARM has measured it
    print(f"IDLE after {chip.idle_after_us / 1000:.0f} ms, {free_bytes} B free")
    assert 0 < chip.idle_after_us <= BOOT_LIMIT_us
    assert HEAP_FREE_LEAST_bytes <= free_bytes != protocol.NOT_MEASURED


# A CPU that hangs in a tick


def hung(run: ChipRun, kind: str) -> dict[str, object]:
    run.work(kind)
    for _ in range(HUNG_TICKS):
        run.tick(b"")
        if run.pico.resets:
            break
    run.work("none")
    fed_us = run.mark[-1].time_us if not run.pico.resets else last_feed_before_reset(run)
    reset_us = run.pico.resets[0].time_us if run.pico.resets else None
    after = [at for at in edges_after(run.enable, fed_us) if reset_us is None or at < reset_us]
    return {
        "toggled_us": after[-1] - fed_us if after else 0.0,
        "resets": [reset.kind for reset in run.pico.resets],
        "reset_after_us": None if reset_us is None else reset_us - fed_us,
        "off": bool(run.pico.resets) and stays_off(run, 100),
        "hello": run.hello() if run.pico.resets else {},
    }


def last_feed_before_reset(run: ChipRun) -> float:
    reset_us = run.pico.resets[0].time_us
    return max(edge.time_us for edge in run.mark if edge.time_us < reset_us)


@pytest.mark.parametrize("kind", HANGS)
def test_a_hung_cpu_loses_rf_and_is_reset_and_the_next_boot_tells(chip: ChipRun, kind: str) -> None:
    told = in_a_copy(lambda: hung(chip, kind))
    print(kind, told)
    assert 15_000 < told["toggled_us"] <= DEADMAN_LIMIT_us
    assert told["resets"] == ["watchdog"]
    assert told["reset_after_us"] <= WATCHDOG_us + 12_000
    assert told["off"]
    assert told["hello"]["reset"] == "watchdog"
    assert told["hello"]["phase"] == str(protocol.HOLD)


def test_a_dead_man_fed_by_an_interrupt_would_not_pass(chip: ChipRun) -> None:
    """The test above can fail: RF stays on for as long as the program hangs."""
    told = in_a_copy(lambda: hung(chip, "feed_by_interrupt"))
    assert told["toggled_us"] > 8 * DEADMAN_LIMIT_us
    assert told["resets"] == []


# Ctrl-C and STOP


def stopped_by(run: ChipRun, said: bytes, times: int = 1, spacing_us: float = 0.0, flood: int = 0) -> dict[str, object]:
    """Say something in the middle of a tick, and again each `spacing_us`; `flood` bytes a tick before and after it."""
    for _ in range(10 if flood else 0):
        run.tick(b"x" * flood)
    offset_us = 4_321.0
    began_us = run.pico.time_us + offset_us
    for turn in range(times):
        run.pico.call_after_us(offset_us + turn * spacing_us, lambda: run.pico.write(said))
    for _ in range(40):
        run.tick(b"x" * flood)
    after = edges_after(run.enable, began_us)
    ends = [frame for frame in run.frames if frame.type == protocol.EVENT and frame.value("code") == protocol.EVENT_END]
    return {
        "off_after_us": after[-1] - began_us if after else 0.0,
        "off": stays_off(run),
        "ends": [protocol.CAUSES[frame.value("cause")] for frame in ends],
        "text": run.text,
    }


@pytest.mark.parametrize(("times", "spacing_us"), [(1, 0), (12, 1_000), (12, 2_000), (12, 3_500), (12, 5_000)])
def test_ctrl_c_and_bursts_of_it(chip: ChipRun, times: int, spacing_us: int) -> None:
    told = in_a_copy(lambda: stopped_by(chip, b"\x03", times, spacing_us))
    print(times, spacing_us, told["off_after_us"])
    assert told["off_after_us"] <= CTRL_C_LIMIT_us
    assert told["off"]
    assert "KeyboardInterrupt" in str(told["text"])
    if times == 1:
        assert told["ends"] == ["operator_stop"]


@pytest.mark.parametrize(
    ("said", "flood", "limit_us"),
    [
        (b"STOP\n", 0, STOP_LIMIT_us),
        (b"STOP\n", 64, STOP_IN_A_FLOOD_LIMIT_us),
        (b"\x03", 64, STOP_IN_A_FLOOD_LIMIT_us),
    ],
    ids=["STOP", "STOP in a flood", "Ctrl-C in a flood"],
)
def test_the_time_to_off_is_bounded(chip: ChipRun, said: bytes, flood: int, limit_us: int) -> None:
    told = in_a_copy(lambda: stopped_by(chip, said, flood=flood))
    print(said, flood, told["off_after_us"], told["ends"])
    assert 0 < told["off_after_us"] <= limit_us
    assert told["off"]
    assert told["ends"] == ["operator_stop"]


# A host that holds the port and does nothing any more


def deaf_host(run: ChipRun, ticks: int, mishap: str) -> dict[str, object]:
    run.plant.force_input(exchange.LINK_READY, False)
    run.work(mishap)
    run.tick(b"")
    run.work("none")
    began_us = run.pico.time_us
    for _ in range(ticks):
        run.tick(b"")
    after = edges_after(run.enable, began_us)
    run.plant.force_input(exchange.LINK_READY, True)
    for _ in range(60):
        run.tick(b"")
    ends = [frame for frame in run.frames if frame.type == protocol.EVENT and frame.value("code") == protocol.EVENT_END]
    run.tick(b"\x03")
    run.expect("KeyboardInterrupt", 60)
    for _ in range(10):
        run.tick(b"")
    run.tick(b"show()\r")
    kept = run.expect(r"kept (\d+) (\d+) (\d+) (\d+) shown", 60)
    return {
        "off_after_us": after[-1] - began_us,
        "ends": [protocol.CAUSES[frame.value("cause")] for frame in ends],
        "late_us": int(kept[2]),
        "dropped": int(kept[4]),
    }


def assert_the_lease_ends_it(chip: ChipRun, ticks: int, mishap: str) -> None:
    told = in_a_copy(lambda: deaf_host(chip, ticks, mishap))
    print(ticks, mishap, told)
    assert told["off_after_us"] <= LEASE_us + 20_000
    assert told["ends"] == ["lease_lost"]
    assert told["late_us"] <= LATE_LIMIT_us
    assert told["dropped"] > 0


@pytest.mark.parametrize("mishap", ["none", "mumble"], ids=["aligned", "misaligned"])
def test_a_host_that_stops_reading_delays_nothing(chip: ChipRun, mishap: str) -> None:
    assert_the_lease_ends_it(chip, 200, mishap)


@pytest.mark.long
@pytest.mark.parametrize("mishap", ["none", "mumble"], ids=["aligned", "misaligned"])
def test_a_host_that_stops_reading_for_ten_seconds(chip: ChipRun, mishap: str) -> None:
    assert_the_lease_ends_it(chip, 1_000, mishap)


# mpremote, the real one


def taken_over(run: ChipRun) -> dict[str, object]:
    """`mpremote fs ls`; when RF went off, if it was on, and when the raw prompt came."""
    prompt_us: list[float] = []
    heard = bytearray()
    take = run.pico.serial.on_serial_data

    def look(data: bytes) -> None:
        heard.extend(data)
        if not prompt_us and b"raw REPL" in heard:
            prompt_us.append(run.pico.time_us)
        take(data)

    run.pico.serial.on_serial_data = look
    mpremote = Path(sys.executable).parent / "mpremote"
    with serve_tcp(run.pico) as port:
        done = subprocess.run(
            [mpremote, "connect", port.url, "fs", "ls"], capture_output=True, timeout=300, check=False
        )
    edge_us = run.enable[-1].time_us if run.enable else 0.0
    run.pico.run_us(300_000)
    return {
        "exit": done.returncode,
        "said": done.stdout.decode() + done.stderr.decode(),
        "edge_us": edge_us,
        "prompt_us": prompt_us[0] if prompt_us else None,
        "off": is_off(run) and (run.enable[-1].time_us if run.enable else 0.0) == edge_us,
        "resets": len(run.pico.resets),
    }


def test_mpremote_in_hold_finds_rf_off_and_the_board_alive(chip: ChipRun) -> None:
    told = in_a_copy(lambda: taken_over(chip))
    print(told)
    assert told["exit"] == 0, told["said"]
    assert str(told["said"]).startswith("ls :")
    assert told["edge_us"] < told["prompt_us"]
    assert told["off"]
    assert told["resets"] == 0


def test_mpremote_in_idle_lists_files_of_the_product_image(tmp_path: Path) -> None:
    """The image as it is flashed, nothing around it: a look at its files is no reason to be energised or reset."""
    try:
        image = build_image(collect_inputs("rpi_pico"), default_cache()).path
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")
    run = ChipRun(image, four_thermocouples(tmp_path))
    run.to_state(protocol.IDLE)
    edges = len(run.enable)
    told = taken_over(run)
    print(told)
    assert told["exit"] == 0, told["said"]
    assert str(told["said"]).startswith("ls :")
    assert len(run.enable) == edges
    assert is_off(run)
    assert told["resets"] == 0


# Whatever else ends the program


def ended_by(run: ChipRun, kind: str, wait_us: float = 0.0) -> dict[str, object]:
    for _ in range(int(wait_us // 10_000)):
        run.tick()
    run.work(kind)
    began_us = run.pico.time_us
    run.tick(b"")
    run.tick(b"")
    run.work("none")
    for _ in range(8):
        run.tick(b"")
    after = edges_after(run.enable, began_us)
    return {"off_after_us": after[-1] - began_us if after else 0.0, "off": stays_off(run, 60), "text": run.text}


@pytest.mark.parametrize(
    ("kind", "said"),
    [("out_of_memory", "MemoryError: on purpose"), ("leave", ""), ("soft_reset", ""), ("reset", "")],
)
def test_other_ways_out(chip: ChipRun, kind: str, said: str) -> None:
    told = in_a_copy(lambda: ended_by(chip, kind))
    print(kind, told["off_after_us"])
    assert told["off_after_us"] <= 10_000 + DEADMAN_LIMIT_us
    assert told["off"]
    assert re.search(said, str(told["text"]))


def soft_reset_at(run: ChipRun, moment_us: float) -> dict[str, object]:
    """Ctrl-C, and Ctrl-D as soon as it may be heard, at a moment of HOLD to the microsecond."""
    run.pico.call_after_us(moment_us, lambda: run.pico.write(b"\x03\x04"))
    began_us = run.pico.time_us + moment_us
    for _ in range(int(moment_us // 10_000) + 30):
        run.tick(b"")
    after = edges_after(run.enable, began_us)
    return {"off_after_us": after[-1] - began_us if after else 0.0, "off": stays_off(run, 60)}


def assert_soft_reset_ends_rf(chip: ChipRun, moment_us: float) -> None:
    told = in_a_copy(lambda: soft_reset_at(chip, moment_us))
    assert told["off_after_us"] <= CTRL_C_LIMIT_us, moment_us
    assert told["off"], moment_us


@pytest.mark.parametrize("seed", range(3))
def test_soft_reset_at_a_random_moment(chip: ChipRun, seed: int) -> None:
    assert_soft_reset_ends_rf(chip, random.Random(seed).uniform(0, 40_000))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_soft_reset_at_fifty_random_moments(chip: ChipRun) -> None:
    for seed in range(50):
        assert_soft_reset_ends_rf(chip, random.Random(100 + seed).uniform(0, 400_000))
