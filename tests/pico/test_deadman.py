"""The enable output toggles only while each tick feeds it, whatever becomes of the CPU."""

import re
from itertools import pairwise

import pytest

from .conftest import Bench

pytestmark = pytest.mark.pico

HOLD_LIMIT_us = 16_000
WATCHDOG_ms = 40


def last_feed_us(bench: Bench) -> float:
    return bench.mark[-1].time_us


def assert_at_rest(bench: Bench, duration_us: float) -> None:
    """Nothing moves on the enable pin for a time, and it is low."""
    edges = len(bench.enable)
    bench.pico.run_us(duration_us)
    assert len(bench.enable) == edges
    assert bench.pico.pin_state(2).level == 0


def test_rf_pins_stay_low_from_reset_to_prompt(bench: Bench) -> None:
    assert [edge.level for edge in bench.enable] == [0]
    assert [edge.level for edge in bench.drive] == [0]
    for pin in (2, 3, 4, 5):  # the second channel's too, though none is fitted
        state = bench.pico.pin_state(pin)
        assert (state.function, state.output_enabled, state.level) == ("sio", True, 0)


def test_toggles_without_a_gap_while_fed(bench: Bench) -> None:
    bench.run("scenarios.energise(10); scenarios.b.safe_off()", rb"True\r\n")
    edges = bench.enable[1:]
    fed_from, fed_to = bench.mark[1].time_us, last_feed_us(bench)
    inside = [edge.time_us for edge in edges if fed_from + 500 < edge.time_us < fed_to]
    gaps = [later - earlier for earlier, later in pairwise(inside)]
    assert min(gaps) > 90
    assert max(gaps) < 130
    assert fed_to - fed_from > 95_000


def test_pwm_is_on_the_drive_pin_while_energised_and_off_after(bench: Bench) -> None:
    bench.run("scenarios.energise(2)", rb"True\r\n")
    on = bench.pico.pwm(3)
    assert on.enabled
    assert on.duty_u16 == pytest.approx(30_000, abs=20)
    assert on.frequency_Hz == pytest.approx(20_000, rel=0.01)
    bench.run("scenarios.b.safe_off()", rb"True\r\n")
    assert not bench.pico.pwm(3).enabled
    assert bench.pico.pwm(3).level == 0


@pytest.mark.parametrize("kind", ["python", "native", "viper", "interrupts_off"])
def test_hung_cpu_loses_enable_and_is_reset(bench: Bench, kind: str) -> None:
    bench.type(f"scenarios.hang({kind!r}, {WATCHDOG_ms})")
    assert bench.pico.run_until(lambda: bool(bench.pico.resets), 1_000_000)
    last_feed = last_feed_us(bench)
    edges = [edge for edge in bench.enable if edge.time_us > last_feed]
    assert len(edges) > 100
    hold_us = edges[-1].time_us - last_feed
    assert 15_000 < hold_us <= HOLD_LIMIT_us
    reset = bench.pico.resets[0]
    assert reset.kind == "watchdog"
    started_us = bench.mark[1].time_us - 1_000  # the first of two feeds, a tick apart
    assert WATCHDOG_ms * 1_000 <= reset.time_us - started_us < WATCHDOG_ms * 1_000 + 3_000
    assert_at_rest(bench, 60_000)
    bench.text = b""
    assert bench.run("scenarios.identity()", rb"identity (\S+) (\d+) (-?\d+) 16")[0].split()[2:4] == [
        b"1",
        b"7",
    ]


def test_soft_reset_while_toggling_leaves_rest(bench: Bench) -> None:
    bench.type("scenarios.soft_reset_while_toggling()")
    bench.expect(rb"soft reboot.*test image ready.*>>> ", 3_000_000)
    reset_us = bench.enable[-1].time_us
    assert reset_us - last_feed_us(bench) < HOLD_LIMIT_us
    assert_at_rest(bench, 50_000)
    assert bench.pico.pin_state(2).function == "sio"
    assert bench.pico.pin_state(3).function == "sio"


@pytest.mark.parametrize("spacing_us", [1000, 2000, 3500, 5000])
def test_burst_of_ctrl_c_cannot_keep_rf_on(bench: Bench, spacing_us: float) -> None:
    bench.type("scenarios.abandon()")
    bench.pico.run_until(lambda: len(bench.mark) > 4, 500_000)
    first_us = bench.pico.time_us
    for _ in range(12):
        bench.pico.write(b"\x03")
        bench.pico.run_us(spacing_us)
    off_us = bench.enable[-1].time_us
    assert off_us - first_us < 3_000
    assert bench.expect(rb"verified (True|False)")[1] == b"True"
    assert_at_rest(bench, 30_000)
    state = bench.pico.pin_state(3)
    assert (state.function, state.level) == ("sio", 0)
    # Ctrl-C works again: safe_off has given it back.
    bench.pico.write(b"\r\n")
    bench.expect(rb">>> \r\n>>> ")
    bench.type("while True: pass\r")
    bench.pico.run_us(20_000)
    bench.pico.write(b"\x03")
    bench.expect(rb"KeyboardInterrupt.*>>> ")


def test_off_is_verified_and_can_be_left_again(bench: Bench) -> None:
    match = bench.run("scenarios.off_and_on()", rb"results \[([^]]*)\] (\w+) (\w+)")
    assert match[1] == b"True, True, True, True"
    assert match[2] == b"False", "feeding after enable_low is refused"
    assert match[3] == b"True"


def test_enable_does_not_toggle_before_the_first_feed(bench: Bench) -> None:
    bench.run("scenarios.energise(2); scenarios.b.enable_low(); scenarios.b.rf_connect()", rb">>> $")
    assert bench.pico.pin_state(2).function == "pio0"
    assert_at_rest(bench, 30_000)


def test_stopped_state_machine_is_noticed_by_the_next_feed(bench: Bench) -> None:
    match = bench.run("scenarios.wedge()", rb"wedge (\w+) (\w+) (\w+)")
    assert match.groups() == (b"True", b"False", b"True")
    assert bench.pico.pin_state(2).level == 0


def test_safe_off_tells_when_a_pin_is_not_low(bench: Bench) -> None:
    """With the pad's output overridden to high, the register's zero must not count."""
    match = bench.run("scenarios.lie()", rb"lie (\w+) (\w+)")
    assert match[1] == b"False"
    assert match[2] == b"True", "safe_off takes the override away with the function"


def test_the_same_pins_in_c_and_python(repo_root) -> None:
    board = repo_root / "boards" / "rpi_pico"
    hook = (board / "micropython" / "rf_pins.c").read_text()
    in_c = re.findall(r"#define RFPROBE_(\w+)_GPIO \((\d+)\)", hook)
    in_python = re.findall(r"^(\w+) = (\d+)$", (board / "rf_pins.py").read_text(), re.MULTILINE)
    registers = (board / "board.py").read_text() + (board / "pair_board.py").read_text()
    assert sorted(in_c) == sorted(in_python)
    assert {name for name, _ in in_python} == {"ENABLE", "DRIVE", "ENABLE_2", "DRIVE_2"}
    for name, number in in_python:
        assert f"drive_low(RFPROBE_{name}_GPIO);" in hook
        assert f"Pin({name}, Pin.OUT, value=0)" in (board / "rf_pins.py").read_text()
        assert f"_{name}_STATUS = const(0x40014000 + 8 * {number})" in registers
        assert f"_{name}_CTRL = const(0x40014004 + 8 * {number})" in registers
