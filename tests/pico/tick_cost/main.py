"""The product's own main loop, with a meter that keeps the cost and the lateness of each tick of a run under way.

`firmware/main.py` is staged beside this file as `product_main.py` and runs unchanged. After Ctrl-C, `show()`
prints what was kept. Collecting is off and nothing is printed while RF is on.
"""

import gc
from array import array

from rfprobe_core import protocol
from rfprobe_core.meter import TickMeter
from rfprobe_drivers import rig

ROOM = 4_096


class RecordingMeter(TickMeter):
    """Notes each tick of RAMP, HOLD and REST in arrays made beforehand, and the heap in use before and after."""

    def __init__(self, controller):
        super().__init__()
        self.controller = controller
        self.costs = array("H", [0] * ROOM)
        self.lates = array("H", [0] * ROOM)
        self.states = bytearray(ROOM)
        self.count = 0
        self.missed = 0
        self.heap_before = 0
        self.heap_after = 0

    def note(self, cost_us, late_us, elapsed):
        super().note(cost_us, late_us, elapsed)
        state = self.controller.sequence.state
        if protocol.RAMP <= state <= protocol.REST:
            self.keep(cost_us, late_us, elapsed, state)

    def keep(self, cost_us, late_us, elapsed, state):
        at = self.count
        if at == 1:  # the first tick is START's, which allocates the watchdog
            self.heap_before = gc.mem_alloc()
        if at >= ROOM:
            return
        self.costs[at] = cost_us if cost_us < 65_535 else 65_535
        self.lates[at] = late_us if late_us < 65_535 else 65_535
        self.states[at] = state
        self.count = at + 1
        self.missed += elapsed - 1


kept = None
stock_build = rig.build_controller


def build_measured(board):
    """The controller of the product, with the recording meter in its place."""
    global kept  # noqa: PLW0603
    controller = stock_build(board)
    kept = controller.meter = RecordingMeter(controller)
    for channel in () if board.channels == 1 else controller.channels:
        channel.meter = kept
    return controller


def show():
    """Print all that was kept: a head line, then `cost late state` of each tick."""
    print("kept", kept.count, kept.missed, kept.heap_after - kept.heap_before, gc.mem_free())
    for at in range(kept.count):
        print(kept.costs[at], kept.lates[at], kept.states[at])
    print("shown")


rig.build_controller = build_measured
try:
    import product_main  # noqa: F401  runs until Ctrl-C
except KeyboardInterrupt:
    kept.heap_after = gc.mem_alloc()
    print("interrupted")
