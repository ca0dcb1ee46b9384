"""Sums that no small integer of a 32-bit board can leave: counts that stop at their end, counters that wrap.

A plain `a + b` near 2^30 would leave it for a moment, and that moment is an allocation in the tick.
"""

MASK = (1 << 30) - 1  # MicroPython's ticks_us wraps after it, and so does the tick count


def add_up(total, more):
    """total + more (0 ≤ more ≤ MASK), or MASK where that would be passed."""
    return MASK if total > MASK - more else total + more


def wrap(counter, more):
    """A wrapping counter (0 … MASK), `more` (0 … MASK) later."""
    return (counter - MASK + more - 1) & MASK
