"""When a tick is due, from a microsecond counter that wraps."""

from rfprobe_core.protocol import TICK_US

_WRAP = 1 << 30  # MicroPython's ticks_us wraps here; another counter is masked to it
_HALF = 1 << 29


def ticks_diff(later_us, earlier_us):
    """later − earlier on the wrapping counter, −2^29 … 2^29−1."""
    return ((later_us - earlier_us + _HALF) & (_WRAP - 1)) - _HALF


class Pacer:
    """Paces by adjacent differences: a late tick is skipped, never caught up in a burst."""

    def __init__(self, now_us):
        self._due_us = (now_us + TICK_US) & (_WRAP - 1)
        self.late_us = 0

    def wait_us(self, now_us):
        """µs until the next tick is due; 0 or less when it is."""
        return -ticks_diff(now_us, self._due_us)

    def since_us(self, earlier_us, later_us):
        """µs between two readings of the counter."""
        return ticks_diff(later_us, earlier_us)

    def elapsed(self, now_us):
        """Ticks that have become due by now: 0 = not yet, 1 = in time, more = the others are missed."""
        late = ticks_diff(now_us, self._due_us)
        if late < 0:
            return 0
        ticks = late // TICK_US + 1
        self.late_us = late
        self._due_us = (self._due_us + ticks * TICK_US) & (_WRAP - 1)
        return ticks
