"""When a tick is due, from a microsecond counter that wraps at 2^30."""

from rfprobe_core.counting import difference, wrap
from rfprobe_core.protocol import TICK_US


class Pacer:
    """Paces by adjacent differences: a late tick is skipped, never caught up in a burst."""

    def __init__(self, now_us):
        self._due_us = wrap(now_us, TICK_US)
        self.late_us = 0

    def wait_us(self, now_us):
        """µs until the next tick is due; 0 or less when it is."""
        return -difference(now_us, self._due_us)

    def since_us(self, earlier_us, later_us):
        """µs between two readings of the counter."""
        return difference(later_us, earlier_us)

    def elapsed(self, now_us):
        """Ticks that have become due by now: 0 = not yet, 1 = in time, more = the others are missed."""
        late = difference(now_us, self._due_us)
        if late < 0:
            return 0
        ticks = late // TICK_US + 1
        self.late_us = late
        self._due_us = wrap(self._due_us, ticks * TICK_US)
        return ticks
