"""Runs the virtual device in a MicroPython VM: records over stdin and stdout, one exchange a tick.

Arguments: nonce seed, unique id, start_us, first tick, `lock` to forbid every allocation inside a tick, the
calibration in flash (calibrated.py), and how many channels the board has.
"""

import gc
import sys

from onboard.device import VirtualDevice, make_board
from onboard.exchange import STIMULUS_SIZE


def main():
    nonce_seed, uid, start_us, first_tick, lock, calibration, channels = sys.argv[1:8]
    board = make_board(int(channels), int(nonce_seed), uid, calibration)
    device = VirtualDevice(board, int(start_us), int(first_tick))
    stimulus = bytearray(board.channels * STIMULUS_SIZE)
    read = sys.stdin.buffer.readinto
    write = sys.stdout.buffer.write
    run = _run_locked if lock == "lock" else VirtualDevice.run
    gc.collect()
    while read(stimulus) == len(stimulus):
        write(run(device, stimulus))


def _run_locked(device, stimulus):
    """As `VirtualDevice.run`, but any allocation in `live` raises MemoryError."""
    import micropython

    device.board.load(stimulus)
    device.controller.rest()
    micropython.heap_lock()
    try:
        device.live()
    finally:
        micropython.heap_unlock()
    return device.board.store()


try:
    main()
except Exception as error:  # stdout is the wire: what went wrong is told beside it
    sys.print_exception(error, sys.stderr)  # pyright: ignore[reportArgumentType]
    sys.exit(1)
