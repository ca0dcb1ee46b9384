"""Runs in the MicroPython VM: a board file of an ESP32 on the faked chip. Arguments: the board's name, what to do.

`run` is the whole controller in lock step over stdin and stdout, as vm_main.py of the virtual board is, with the heap
locked. Anything else is a function below; it raises when what it looks at is otherwise.
"""

import sys

import esp32_chip

PINS = {
    "esp32_generic": (0x3FF44000, 0x530, 27, 26, 32, 13, 33, 19, (5, 21, 22, 25), (34, 35, 39)),
    "esp32_s3": (0x60004000, 0x554, 4, 5, 7, 15, 6, 13, (10, 14, 21, 18), (1, 2, 8)),
}
TICK_us = 10_000

name, task = sys.argv[1:3]
chip = esp32_chip.Chip(*PINS[name])
esp32_chip.install(chip)


def make_board():
    import board

    made = board.Board()
    made._stdin = esp32_chip.Stream()
    made._stdout = esp32_chip.Stream()
    return made


def connected():
    """A board energised: fed once, driven."""
    made = make_board()
    chip.pass_time(TICK_us)
    made.rf_connect()
    made.set_duty(30_000)
    assert made.feed()
    return made


def a_calibration_is_kept_in_files():
    made = make_board()
    assert [made.calibration_read(copy) for copy in (0, 1)] == [b"", b""]
    made.calibration_write(1, b"kept")
    again = make_board()
    assert [again.calibration_read(copy) for copy in (0, 1)] == [b"", b"kept"]


def rf_pins_are_low_at_import():
    chip.select[chip.enable] = esp32_chip.RMT_SIGNAL
    chip.select[chip.drive] = esp32_chip.LEDC_SIGNAL
    chip.output[chip.enable] = chip.output[chip.drive] = 1
    import rf_pins

    assert (chip.enable, chip.drive) == (rf_pins.ENABLE, rf_pins.DRIVE)
    for pin in (chip.enable, chip.drive):
        assert chip.select[pin] == esp32_chip.GPIO_OUT
        assert (chip.direction[pin], chip.output[pin]) == (3, 0)


def a_new_board_makes_no_rf():
    make_board()
    assert not chip.toggling() and chip.driven_duty() == 0
    assert chip.pump_until_us < 0 and chip.watchdog_us < 0
    assert [chip.output[pin] for pin in chip.cs] == [1] * 4


def feeding_keeps_the_enable_alive():
    made = connected()
    for _ in range(50):
        assert chip.toggling() and made.read_enable()
        chip.pass_time(TICK_us)
        assert made.read_enable()
        assert made.feed()


def unfed_it_stops():
    import esp32_board

    connected()
    fed_us = chip.ticks_us()
    while chip.toggling():
        chip.pass_time(1)
    assert chip.ticks_us() - fed_us == esp32_board.DEADMAN_HOLD_us == 4800
    while chip._enabled():
        chip.pass_time(1)
    assert chip.ticks_us() - fed_us <= 16_000


def a_feed_during_a_burst_is_refused():
    made = connected()
    chip.pass_time(4_700)
    assert not made.feed()  # the fake raises if it were waited for
    chip.pass_time(100)
    assert made.feed()


def unconnected_no_feed_is_taken():
    made = make_board()
    chip.pass_time(TICK_us)
    assert not made.feed()
    made.rf_connect()
    assert made.feed()
    made.enable_low()
    chip.pass_time(TICK_us)
    assert not made.feed() and not chip.toggling()


def enable_low_cuts_a_burst():
    made = connected()
    chip.pass_time(1_000)
    made.enable_low()
    assert not chip.toggling() and chip.level(chip.enable) == 0
    made.rf_connect()  # waits for what is left of the burst
    assert not chip.toggling() and chip.ticks_us() == TICK_us + 4800


def safe_off_is_verified():
    made = connected()
    assert made.safe_off() is True
    assert not chip.toggling() and chip.driven_duty() == 0 and chip._duty == 0
    chip.pass_time(TICK_us)
    assert not made.feed()


def safe_off_sees_a_high_pad():
    for pin in (chip.enable, chip.drive):
        made = connected()
        chip.stuck_high = pin
        assert made.safe_off() is False
        chip.stuck_high = -1
        assert made.safe_off() is True


def safe_off_sees_a_peripheral_that_stays():
    for pin in (chip.enable, chip.drive):
        made = connected()
        chip.stuck_select = pin
        chip.pass_time(TICK_us)  # the burst is over, the duty 0: the pads are low by now
        assert made.safe_off() is False
        assert chip.level(pin) == 0
        chip.stuck_select = -1


def a_pending_ctrl_c_does_not_break_safe_off():
    made = connected()
    finish = made._finish_off
    calls = []

    def interrupted_once():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return finish()

    made._finish_off = interrupted_once
    assert made.safe_off() is True and made.interrupted
    assert not chip.toggling() and chip.driven_duty() == 0


def writes_are_padded():
    made = make_board()
    sizes = (1, 37, 63, 64, 65, 200, 250)  # the virtual board's record holds no more
    before = 0
    for size in sizes:
        chip.pass_time(100_000)
        chip._inputs = 4  # LINK_READY
        chip._tx_count = 0
        assert made.link_write(bytes([7] * size), size)
        assert chip.written - before == (size + 63) // 64 * 64
        before = chip.written
    assert chip.unaligned == 0
    assert not made.link_write(bytes(257), 257)


def the_link_waits_for_the_uart():
    made = make_board()
    chip._inputs = 4
    assert made.link_write(b"x" * 60, 60)
    chip.pass_time(5_500)
    assert not made.link_ready() and not made.link_write(b"x", 1)
    chip.pass_time(100)
    assert made.link_ready()
    chip._inputs = 0
    assert not made.link_ready()


def the_watchdog_is_relaxed():
    made = connected()
    made.watchdog_feed()  # none yet
    made.watchdog_stop()
    assert chip.watchdog_us < 0
    made.watchdog_start(100)
    for _ in range(30):
        chip.pass_time(TICK_us)
        made.watchdog_feed()
        assert not chip.watchdog_bites()
    made.watchdog_stop()
    chip.pass_time(60_000_000)
    assert not chip.watchdog_bites()
    made.watchdog_start(100)
    chip.pass_time(100_001)
    assert chip.watchdog_bites()


def after_a_soft_reset_the_watchdog_is_relaxed():
    chip.watchdog_us = 100_000
    chip.cause = esp32_chip.SOFT_RESET
    make_board()
    chip.pass_time(60_000_000)
    assert not chip.watchdog_bites()


def causes_and_phase_are_told():
    made = make_board()
    assert (made.reset_cause(), made.last_phase()) == (0, -1)
    for cause, told in ((0, 0), (1, 0), (2, 2), (3, 1), (4, 0), (5, 2)):
        made.set_phase(cause + 1)
        chip.cause = cause
        made = make_board()
        assert (made.reset_cause(), made.last_phase()) == (told, cause + 1)
    chip.rtc_memory = b"somebody else's"
    assert make_board().last_phase() == -1


def identity_is_told():
    made = make_board()
    assert (made.unique_id(), made.name) == ("246f28000aff", name)
    assert 0 <= made.nonce_seed() < 1 << 24


def counts_are_of_50_uV():
    made = make_board()
    chip._adc[:] = [0, 65_535, 48_000, 70_000]
    assert [made.read_adc(0), made.read_adc(1)] == [0, 65_535]
    assert [made.read_adc(0), made.read_adc(1)] == [48_000, 65_535]


def run():
    import gc

    import micropython
    from onboard.exchange import STIMULUS_SIZE

    from rfprobe_core.pacing import Pacer
    from rfprobe_drivers.rig import build_controller

    made = make_board()
    controller = build_controller(made)
    pacer = Pacer(0)
    stimulus = bytearray(STIMULUS_SIZE)
    gc.collect()
    while sys.stdin.buffer.readinto(stimulus) == STIMULUS_SIZE:
        chip.load(stimulus)
        controller.rest()
        micropython.heap_lock()
        try:
            controller.listen(64)
            elapsed = pacer.elapsed(made.ticks_us())
            if elapsed:
                controller.tick(elapsed, pacer.late_us)
        finally:
            micropython.heap_unlock()
        assert chip.unaligned == 0 and not chip.watchdog_bites()
        sys.stdout.buffer.write(chip.store())


try:
    globals()[task]()
except Exception as error:  # stdout is the wire: what went wrong is told beside it
    sys.print_exception(error, sys.stderr)
    sys.exit(1)
