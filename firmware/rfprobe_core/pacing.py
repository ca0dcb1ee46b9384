"""When a tick is due, from a microsecond counter that wraps at 2^30."""

from rfprobe_core.constant import const
from rfprobe_core.counting import wrap
from rfprobe_core.protocol import TICK_US

_TICK_US = const(10_000)
_MASK = const((1 << 30) - 1)
_HALF = const(1 << 29)


class Pacer:
    """Paces by adjacent differences: a late tick is skipped, never caught up in a burst.

    A difference of two readings is taken on the wrapping counter, −2^29 … 2^29−1: written out in each method, as they
    are called in every tick, some of them often.
    """

    def __init__(self, now_us):
        self._due_us = wrap(now_us, TICK_US)
        self.late_us = 0

    def wait_us(self, now_us):
        """µs until the next tick is due; 0 or less when it is."""
        ahead = (self._due_us - now_us) & _MASK
        return ahead if ahead < _HALF else ahead - _HALF - _HALF

    def since_us(self, earlier_us, later_us):
        """µs between two readings of the counter, 0 … 2^30−1."""
        return (later_us - earlier_us) & _MASK

    def elapsed(self, now_us):
        """Ticks that have become due by now: 0 = not yet, 1 = in time, more = the others are missed."""
        late = (now_us - self._due_us) & _MASK
        if late >= _HALF:
            return 0
        ticks = late // _TICK_US + 1
        self.late_us = late
        self._due_us = (self._due_us - _MASK + ticks * _TICK_US - 1) & _MASK  # counting.wrap
        return ticks
