"""What the tests make the chip do; each is called by name from the REPL. GP15 marks moments for the trace."""

import gc
import sys
import time

import board
import hangs
import machine
import micropython

TICK_us = 10_000

mark = machine.Pin(15, machine.Pin.OUT, value=0)
b = board.Board()


def tick(next_us):
    """Sleep until the next tick and return when that is."""
    next_us = time.ticks_add(next_us, TICK_us)
    wait_us = time.ticks_diff(next_us, time.ticks_us())
    if wait_us > 0:
        time.sleep_us(wait_us)
    return next_us


def feed_marked():
    """Feed and toggle the marker right before, so that its last edge is no later than the last feed."""
    mark(not mark())
    return b.feed()


def energise(ticks, duty_u16=30_000):
    """Feed the dead-man for a number of ticks and return whether each feed was taken."""
    b.rf_connect()
    b.set_duty(duty_u16)
    taken = True
    now = time.ticks_us()
    for _ in range(ticks):
        taken = feed_marked() and taken
        now = tick(now)
    taken = feed_marked() and taken
    return taken


HANGS = {
    "python": hangs.python_loop,
    "native": hangs.native_loop,
    "viper": hangs.viper_loop,
    "interrupts_off": hangs.interrupts_off,
}


def hang(kind, watchdog_ms=100):
    b.set_phase(7)
    b.watchdog_start(watchdog_ms)
    energise(1)
    HANGS[kind]()


def soft_reset_while_toggling():
    energise(3)
    machine.soft_reset()


def abandon():
    """Run until Ctrl-C, with RF on; go off by safe_off and say what it returned."""
    b.rf_connect()
    b.set_duty(30_000)
    now = time.ticks_us()
    verified = None
    try:
        while True:
            feed_marked()
            now = tick(now)
    finally:
        verified = b.safe_off()
        print("verified", verified)


def off_and_on():
    """safe_off, whether it was verified, then on again and off by enable_low alone."""
    results = [b.safe_off(), energise(2), b.safe_off(), energise(2)]
    b.enable_low()
    refused = b.feed()
    time.sleep_ms(5)
    print("results", results, refused, b.safe_off())


def wedge():
    """A state machine that stops in mid-wave: the word it does not take is told by the next feed."""
    energise(1)
    time.sleep_ms(2)
    b._deadman.active(0)
    first = b.feed()
    time.sleep_ms(10)
    print("wedge", first, b.feed(), b.safe_off())


def sleeps():
    """Print how long sleeps of several lengths took."""
    for wanted_us in (150, 900, 1500, 9900):
        started = time.ticks_us()
        time.sleep_us(wanted_us)
        print("slept", wanted_us, time.ticks_diff(time.ticks_us(), started))


def read_own_output():
    pin = machine.Pin(14, machine.Pin.OUT, value=1)
    high = pin()
    pin(0)
    print("own", high, pin())


def lie():
    """safe_off must not say that a pin is low which something else drives high."""
    machine.mem32[0x4001401C] = 3 << 8 | 5  # GPIO3_CTRL: output override high
    seen = b.rf_pins_are_low()
    print("lie", seen, b.safe_off())


def stream():
    """Send a frame each tick until Ctrl-C, as the controller does."""
    frame = bytearray(b"\x01" * 59 + b"\x00")
    b.rf_connect()
    now = time.ticks_us()
    try:
        while True:
            b.feed()
            b.link_write(frame, 60)
            now = tick(now)
    finally:
        b.safe_off()


def deaf_host(duration_ms, text_bytes):
    """Write frames at 20 Hz to a host that may not read; print the worst time and how many went or not."""
    sys.stdout.write("x" * text_bytes)
    frame = bytearray(b"\x02" * 59 + b"\x00")
    sent = dropped = worst_us = 0
    end = time.ticks_add(time.ticks_ms(), duration_ms)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        started = time.ticks_us()
        if b.link_write(frame, 60):
            sent += 1
        else:
            dropped += 1
        took_us = time.ticks_diff(time.ticks_us(), started)
        if took_us > worst_us:
            worst_us = took_us
        time.sleep_ms(50)
    print("deaf", worst_us, sent, dropped)


def echo(count):
    """Return `count` bytes one by one, as read by link_read, and how long an idle read takes."""
    got = bytearray()
    end = time.ticks_add(time.ticks_ms(), 2000)
    while len(got) < count and time.ticks_diff(end, time.ticks_ms()) > 0:
        byte = b.link_read()
        if byte >= 0:
            got.append(byte)
    print("echo", bytes(got), b.link_read())


_buffer = bytearray(16)
_frame = bytearray(60)

SEAMS = (
    ("spi_transfer", lambda: b.spi_transfer(1, _buffer)),
    ("read_adc", lambda: b.read_adc(0)),
    ("set_duty", lambda: b.set_duty(1000)),
    ("feed", b.feed),
    ("read_enable", b.read_enable),
    ("read_input", lambda: b.read_input(0)),
    ("ticks_us", b.ticks_us),
    ("link_ready", b.link_ready),
    ("link_write", lambda: b.link_write(_frame, 60)),
    ("link_read", b.link_read),
    ("watchdog_feed", b.watchdog_feed),
    ("set_phase", lambda: b.set_phase(3)),
    ("set_led", lambda: b.set_led(0)),
    ("enable_low", b.enable_low),
    ("rf_connect", b.rf_connect),
    ("safe_off", b.safe_off),
    ("watchdog_stop", b.watchdog_stop),
)


def cost(name, seam, times):
    """Print whether a seam allocates, and its median and worst time, the call itself included."""
    seam()
    repeats = len(times)
    allocates = False
    micropython.heap_lock()
    try:
        for i in range(repeats):
            started = time.ticks_us()
            seam()
            times[i] = time.ticks_diff(time.ticks_us(), started)
            time.sleep_ms(1)  # shorter ones spin; the dead-man takes a word each 200 us
    except MemoryError:
        allocates = True
    micropython.heap_unlock()
    times.sort()
    print("cost", name, int(allocates), times[repeats // 2], times[-1])


def run_all(repeats):
    for _ in range(repeats):
        for _name, seam in SEAMS:
            seam()


def costs(repeats=8):
    times = [0] * repeats
    b.watchdog_start(8000)
    b.rf_connect()
    cost("nothing", lambda: None, times)
    cost("allocating", lambda: [0], times)
    for name, seam in SEAMS:
        if name == "link_write":
            time.sleep_ms(5)
        cost(name, seam, times)
        if name in ("enable_low", "safe_off"):
            b.rf_connect()
    run_all(1)
    before = gc.mem_alloc()
    run_all(5)
    print("heap", gc.mem_alloc() - before)
    b.safe_off()
    print("costs done")


def exchange(cs_index, data):
    buffer = bytearray(data)
    b.spi_transfer(cs_index, buffer)
    print("exchange", bytes(buffer))


def inputs():
    print("inputs", b.read_input(board.INTERLOCK), b.read_input(board.FOOTSWITCH), b.read_enable())


def converters():
    print("adc", b.read_adc(0), b.read_adc(1), b.read_adc(2))


def identity():
    print("identity", b.name, b.reset_cause(), b.last_phase(), len(b.unique_id()))


def watchdog(kind):
    b.set_phase(9)
    if kind == "stopped":
        b.watchdog_start(50)
        time.sleep_ms(20)
        b.watchdog_stop()
        time.sleep_ms(300)
        print("still here")
    elif kind == "fed":
        b.watchdog_start(50)
        for _ in range(10):
            time.sleep_ms(30)
            b.watchdog_feed()
        b.watchdog_stop()
        print("still here")
    elif kind == "starved":
        b.watchdog_start(50)
        time.sleep_ms(300)
        print("not reset")
    else:
        machine.reset()
