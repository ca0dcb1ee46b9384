"""Runs the virtual device in a MicroPython VM: records over stdin and stdout, one exchange a tick.

Arguments: nonce seed, unique id, start_us, first tick, `lock` to forbid every allocation inside a tick, and the
calibration in flash (calibrated.py).
"""

import gc
import sys

from onboard.board import VirtualBoard
from onboard.device import VirtualDevice
from onboard.exchange import STIMULUS_SIZE


def main():
    nonce_seed, uid, start_us, first_tick, lock, calibration = sys.argv[1:7]
    device = VirtualDevice(VirtualBoard(int(nonce_seed), uid, calibration), int(start_us), int(first_tick))
    stimulus = bytearray(STIMULUS_SIZE)
    read = sys.stdin.buffer.readinto
    write = sys.stdout.buffer.write
    run = _run_locked if lock == "lock" else VirtualDevice.run
    gc.collect()
    while read(stimulus) == STIMULUS_SIZE:
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
