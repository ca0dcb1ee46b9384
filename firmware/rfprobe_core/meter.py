"""What the ticks cost and how late they came, over one HEALTH period."""

from rfprobe_core.counting import add_up
from rfprobe_core.protocol import NOT_MEASURED


class TickMeter:
    """`cost_us` of −1 means that this runtime cannot measure it."""

    def __init__(self):
        self.cost_us_max = 0
        self.late_us_max = 0
        self.ticks_missed = 0
        self._cost_sum_us = 0
        self._count = 0
        self._measured = True

    def begin_period(self):
        self.cost_us_max = 0
        self.late_us_max = 0
        self._cost_sum_us = 0
        self._count = 0

    def note(self, cost_us, late_us, elapsed):
        if cost_us < 0:
            self._measured = False
        else:
            self._cost_sum_us = add_up(self._cost_sum_us, cost_us)
            if cost_us > self.cost_us_max:
                self.cost_us_max = cost_us
        self._count += 1
        if late_us > self.late_us_max:
            self.late_us_max = late_us
        if elapsed > 1:
            self.ticks_missed = add_up(self.ticks_missed, elapsed - 1)

    def cost_us_mean(self):
        if not self._measured or self._count == 0:
            return NOT_MEASURED
        return self._cost_sum_us // self._count
