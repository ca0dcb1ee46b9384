"""What the thermocouples must read before ARM: as warm as what lies there unheated, and all of them alike.

One that is in another place, off by its calibration or still warm from the run before shows here, while nothing is
heated yet. Two that are plugged into each other's place do not, where all the tissue has one temperature: during the
ramp, heatwatch.py sees those. Once before each ARM, at rest.
"""

from rfprobe_core.plan import INDEX, ROLE_GUARD, ROLE_NONE, THERMOCOUPLES
from rfprobe_core.protocol import ACK_GUARD, ACK_OK, ACK_START_SPREAD, ACK_START_TEMPERATURE, CAUSE

# Of a guard, whatever the plan says: its limits (44 °C, a look-ahead to 45 °C) are for what begins below.
GUARD_START_LOW_MC = 10_000
GUARD_START_HIGH_MC = 40_000


class StartCheck:
    """`judge` says whether all is plausible; of what is not, `place`, `reading_mC` and `against_mC` tell.

    `against_mC` is the end of the window that was left, or the reading that is furthest away.
    """

    def __init__(self, thermocouples):
        self.place = 0
        self.reading_mC = 0
        self.against_mC = 0
        self.cause = 0
        self._thermocouples = thermocouples
        self._low_mC = 0
        self._high_mC = 0
        self._spread_mC = 0

    def configure(self, values):
        self._low_mC = values[INDEX["start_min_mC"]]
        self._high_mC = values[INDEX["start_max_mC"]]
        self._spread_mC = values[INDEX["start_spread_mC"]]

    def judge(self):
        """An ACK code, by the last believed reading of each thermocouple with a role. Allocates nothing."""
        total_mC = count = 0
        coolest = warmest = -1
        readings = self._thermocouples
        for place in range(THERMOCOUPLES):
            if readings[place].role != ROLE_NONE:
                code = self._judge_window(place)
                if code != ACK_OK:
                    return code
                reading_mC = readings[place].temperature_mC
                total_mC += reading_mC  # within the window: 4 · 6e4
                count += 1
                if warmest < 0 or reading_mC > readings[warmest].temperature_mC:
                    warmest = place
                if coolest < 0 or reading_mC < readings[coolest].temperature_mC:
                    coolest = place
        coolest_mC, warmest_mC = readings[coolest].temperature_mC, readings[warmest].temperature_mC
        if warmest_mC - coolest_mC <= self._spread_mC:
            return ACK_OK
        # which of them is wrong is told by all: the one that is further from their mean
        if count * (coolest_mC + warmest_mC) < 2 * total_mC:
            return self._tell(ACK_START_SPREAD, "start_disagreement", coolest, warmest_mC)
        return self._tell(ACK_START_SPREAD, "start_disagreement", warmest, coolest_mC)

    def _judge_window(self, place):
        low_mC, high_mC = self._low_mC, self._high_mC
        code = ACK_START_TEMPERATURE
        thermocouple = self._thermocouples[place]
        reading_mC = thermocouple.temperature_mC
        if thermocouple.role == ROLE_GUARD:
            if not GUARD_START_LOW_MC <= reading_mC <= GUARD_START_HIGH_MC:
                code = ACK_GUARD
            low_mC, high_mC = max(low_mC, GUARD_START_LOW_MC), min(high_mC, GUARD_START_HIGH_MC)
        if low_mC <= reading_mC <= high_mC:
            return ACK_OK
        return self._tell(code, "start_temperature", place, low_mC if reading_mC < low_mC else high_mC)

    def _tell(self, code, cause, place, against_mC):
        self.place = place
        self.reading_mC = self._thermocouples[place].temperature_mC
        self.against_mC = against_mC
        self.cause = CAUSE[cause]
        return code
