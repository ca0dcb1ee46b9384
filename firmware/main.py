"""Runs the controller on the board it is frozen into, and leaves RF verified off on every way out."""

import time

from board import make_board

from rfprobe_core.pacing import Pacer
from rfprobe_drivers.rig import build_controller

LISTEN_PER_TICK = 64
SPARE_US = 3_000  # listening ends this long before the next tick
AWAKE_US = 2_000  # sleeping ends this long before: the port may wake 1 ms late, and with USB work (0.3 ms) to do
SPIN_US = 1_000  # a sleep of no more than this spins, in C
LAST_WORDS_MS = 50


def run(board, controller):
    """The loop: rest, listen, sleep, tick. Never returns; Ctrl-C and whatever is unexpected leave it.

    Bytecode does what is pending (USB, Ctrl-C) at each jump, and while it sleeps. What a tick runs is machine code
    and does none of it. So from the first spin to the end of the tick there is no jump: such work waits until the
    tick is over, and Ctrl-C cannot break it off half-way.
    """
    pacer = Pacer(board.ticks_us())
    ticks_us = board.ticks_us
    while True:
        controller.rest()
        _listen(board, controller, pacer)
        time.sleep_us(pacer.wait_us(ticks_us()) - AWAKE_US)
        _do_pending()
        time.sleep_us(min(pacer.wait_us(ticks_us()), SPIN_US))
        time.sleep_us(min(pacer.wait_us(ticks_us()), SPIN_US))
        began_us = ticks_us()
        elapsed = pacer.elapsed(began_us)
        controller.tick(elapsed, pacer.late_us)
        controller.meter.note(pacer.since_us(began_us, ticks_us()), pacer.late_us, elapsed)


def _do_pending():
    """What came up at the end of the sleep is done in this loop's jump."""
    for _ in (0,):
        pass


def _listen(board, controller, pacer):
    """Commands are taken in the slack, one byte at a time, so that a flood cannot delay a tick."""
    taken = 0
    while taken < LISTEN_PER_TICK and pacer.wait_us(board.ticks_us()) > SPARE_US:
        if not controller.listen(1):
            return
        taken += 1


def main():
    board = make_board()
    if board.service():
        return
    controller = build_controller(board)
    end = controller.unexpected
    try:
        run(board, controller)
    except KeyboardInterrupt:
        end = controller.interrupted
        raise
    finally:
        board.safe_off()
        end()
        _say_the_last(board, controller.reporter)


def _say_the_last(board, reporter):
    """Send what is still to be said, above all how the run ended, to a host that reads; the prompt comes after it."""
    for _ in range(LAST_WORDS_MS):
        if reporter.idle():
            return
        reporter.pump(board)
        time.sleep_ms(1)


main()
