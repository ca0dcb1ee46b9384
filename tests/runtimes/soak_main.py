"""Runs the virtual device in the VM as `onboard/vm_main.py` does, and tells how much heap is in use, once a minute.

Arguments: nonce seed, unique id, start_us, first tick, and a file: after each 6000 exchanges, and a collection, the
bytes in use are a line in it. With a sixth, `leak`, a few bytes are kept every second: the soak has to find that.
"""

import gc
import sys

from onboard.board import VirtualBoard
from onboard.device import VirtualDevice
from onboard.exchange import STIMULUS_SIZE

EVERY_TICKS = 6_000
LEAK_EVERY_TICKS = 100


def main():
    nonce_seed, uid, start_us, first_tick, told = sys.argv[1:6]
    leaks = sys.argv[6:] == ["leak"]
    device = VirtualDevice(VirtualBoard(int(nonce_seed), uid), int(start_us), int(first_tick))
    stimulus = bytearray(STIMULUS_SIZE)
    read = sys.stdin.buffer.readinto
    write = sys.stdout.buffer.write
    kept = []
    count = 0
    while read(stimulus) == STIMULUS_SIZE:
        response = device.run(stimulus)
        count += 1
        if leaks and count % LEAK_EVERY_TICKS == 0:
            kept.append(bytes(16))
        if count % EVERY_TICKS == 0:
            gc.collect()
            with open(told, "a") as file:
                file.write(str(gc.mem_alloc()) + "\n")
        write(response)


main()
