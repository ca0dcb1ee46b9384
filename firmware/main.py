"""Runs the controller on the board it is frozen into, and leaves RF verified off on every way out."""

import time

from board import Board

from rfprobe_core.pacing import Pacer
from rfprobe_drivers.rig import build_controller

LISTEN_PER_TICK = 64
SPARE_US = 1_000  # listening ends this long before the next tick


def run(board, controller):
    """The loop: rest, listen, sleep, tick. Never returns; Ctrl-C and whatever is unexpected leave it."""
    pacer = Pacer(board.ticks_us())
    while True:
        controller.rest()
        _listen(board, controller, pacer)
        wait_us = pacer.wait_us(board.ticks_us())
        if wait_us > 0:
            time.sleep_us(wait_us)
        began_us = board.ticks_us()
        elapsed = pacer.elapsed(began_us)
        if elapsed:
            controller.tick(elapsed, pacer.late_us)
            controller.meter.note(pacer.since_us(began_us, board.ticks_us()), pacer.late_us, elapsed)


def _listen(board, controller, pacer):
    """Commands are taken in the slack, one byte at a time, so that a flood cannot delay a tick."""
    taken = 0
    while taken < LISTEN_PER_TICK and pacer.wait_us(board.ticks_us()) > SPARE_US:
        if not controller.listen(1):
            return
        taken += 1


def main():
    board = Board()
    if board.service():
        return
    controller = build_controller(board)
    try:
        run(board, controller)
    finally:
        board.safe_off()
        controller.unexpected()


main()
