"""The product's own main loop on which mishaps are worked from outside: a scratch register says which, in a tick.

`firmware/main.py` is staged beside this file as `product_main.py` and runs unchanged; `hangs.py` is that of the other
test image. The board's LED changes right before each feed of a dead-man: two channels leave no other pin free. Ctrl-C
ends at the prompt, where `show()` tells the worst lateness of a tick with RF on.
"""

import gc
import sys

import machine
import rp2
from hangs import interrupts_off, native_loop, python_loop, viper_loop
from machine import Pin, mem32

from rfprobe_core import protocol
from rfprobe_core.meter import TickMeter
from rfprobe_drivers import rig

_CHOSEN = 0x40058018  # the watchdog's SCRATCH3
mark = Pin(25, Pin.OUT, value=0)


def out_of_memory():
    raise MemoryError("on purpose")


def leave():
    raise SystemExit


def mumble():
    sys.stdout.write("x" * 37)  # leaves the link's FIFO of 64-byte packets misaligned


@rp2.asm_pio()
def _hundred_hertz():
    # at 2 kHz twenty cycles are 10 ms
    wrap_target()  # noqa: F821  # pyright: ignore
    irq(rel(0))[19]  # noqa: F821  # pyright: ignore
    wrap()  # noqa: F821  # pyright: ignore


def feed_by_interrupt_and_loop():
    """What the dead-man must not be: fed by a timer's interrupt, which goes on while the program hangs."""
    board = kept.channels[0].board
    clock = rp2.StateMachine(4, _hundred_hertz, freq=2_000)

    def feed(_):
        board.feed()
        board.watchdog_feed()

    clock.irq(feed, hard=True)
    clock.active(1)
    python_loop()


MISHAPS = (
    None,
    python_loop,
    native_loop,
    viper_loop,
    interrupts_off,
    out_of_memory,
    leave,
    machine.soft_reset,
    machine.reset,
    feed_by_interrupt_and_loop,
    mumble,
)


class WorstMeter(TickMeter):
    """Keeps the worst lateness of all ticks with RF on."""

    def __init__(self, controller, channels):
        super().__init__()
        self.controller = controller
        self.channels = channels
        self.worst_late_us = 0
        self.worst_cost_us = 0
        self.ticks = 0

    def note(self, cost_us, late_us, elapsed):
        super().note(cost_us, late_us, elapsed)
        state = self.controller.sequence.state
        if state == protocol.RAMP or state == protocol.HOLD:
            self.ticks += 1
            if late_us > self.worst_late_us:
                self.worst_late_us = late_us
            if cost_us > self.worst_cost_us:
                self.worst_cost_us = cost_us


def marked(stage):
    """The stage, with a change of the LED before each feed and the chosen mishap after it."""
    feed = stage.feed

    def feed_marked():
        mark(not mark())
        fed = feed()
        chosen = mem32[_CHOSEN]
        if chosen:
            MISHAPS[chosen]()
        return fed

    stage.feed = feed_marked
    return stage


kept = None
stock_build = rig.build_controller


def build_marked(board):
    global kept  # noqa: PLW0603
    controller = stock_build(board)
    channels = (controller,) if board.channels == 1 else controller.channels
    kept = controller.meter = WorstMeter(controller, channels)
    for channel in channels:
        marked(channel.stage)
        channel.meter = kept
    return controller


def show():
    print("kept", kept.ticks, kept.worst_late_us, kept.worst_cost_us, kept.controller.reporter.frames_dropped, "shown")


def heap():
    gc.collect()
    print("heap", gc.mem_free(), "shown")


rig.build_controller = build_marked
import product_main  # noqa: E402, F401  runs until Ctrl-C
