"""What a run is for: held for a time, or until the edge of the zone has had its dose or its temperature.

The boundary thermocouple stands where the zone shall end. With several, each of them has to be there.
"""

from rfprobe_core.constant import const
from rfprobe_core.plan import (
    END_BOUNDARY,
    END_DOSE,
    END_ROLLOFFS,
    INDEX,
    ROLE_BOUNDARY,
    THERMOCOUPLES,
)
from rfprobe_core.protocol import CAUSE

_NEVER = const((1 << 29) - 1)
_SAMPLES = const(3)  # in a row: one reading is not a temperature
_DOSE_REACHED = CAUSE["dose_reached"]
_BOUNDARY_REACHED = CAUSE["boundary_reached"]
_ROLLOFFS_COMPLETE = CAUSE["rolloffs_complete"]

# What a run that did what it was for may end with.
COMPLETING = (CAUSE["hold_complete"], _DOSE_REACHED, _BOUNDARY_REACHED, _ROLLOFFS_COMPLETE)


class EndPoint:
    """`reached` at each new sample of the control thermocouple; `hold_cause` is what the end of the hold is."""

    def __init__(self, thermocouples):
        self._thermocouples = thermocouples
        self._at_boundary = [False] * THERMOCOUPLES
        self._dose_ms = _NEVER
        self._temperature_mC = _NEVER
        self._rolloffs = _NEVER
        self._samples = 0
        self.hold_cause = CAUSE["hold_complete"]

    def configure(self, values):
        """Take the plan's end-point; the roles are the thermocouples' own."""
        by = values[INDEX["end_by"]]
        self._dose_ms = values[INDEX["boundary_dose_ms"]] if by == END_DOSE else _NEVER
        self._temperature_mC = values[INDEX["boundary_end_mC"]] if by == END_BOUNDARY else _NEVER
        self._rolloffs = values[INDEX["rolloffs"]] if by == END_ROLLOFFS else _NEVER
        watched = by == END_DOSE or by == END_BOUNDARY
        for place in range(THERMOCOUPLES):
            self._at_boundary[place] = watched and self._thermocouples[place].role == ROLE_BOUNDARY
        self.hold_cause = CAUSE["end_point_missed" if by else "hold_complete"]
        self.begin()

    def begin(self):
        self._samples = 0

    def reached(self, rolloffs):
        """The cause of an end that is due, or 0; `rolloffs` have been counted so far."""
        if rolloffs >= self._rolloffs:
            return _ROLLOFFS_COMPLETE
        watched = False
        dosed = hot = True
        for place in range(THERMOCOUPLES):
            if self._at_boundary[place]:
                watched = True
                thermocouple = self._thermocouples[place]
                dosed = dosed and thermocouple.dose.total_ms >= self._dose_ms
                hot = hot and thermocouple.temperature_mC >= self._temperature_mC
        if not watched:
            return 0
        if dosed:
            return _DOSE_REACHED
        self._samples = self._samples + 1 if hot else 0
        return _BOUNDARY_REACHED if self._samples >= _SAMPLES else 0
