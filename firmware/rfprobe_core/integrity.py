"""Whether the plan and the limits in memory are still what CONFIGURE made of them: a CRC, a slice at a time."""

from array import array

from rfprobe_core.constant import const
from rfprobe_core.kernels import crc16_words
from rfprobe_core.protocol import CRC_START

_SLICE = const(24)  # words at a time: all of them in under 2 s, at one slice a conversion
_CRC_START = const(0xFFFF)


class Integrity:
    """`take` what was configured, then `step` while a run is armed or under way; `broken` is 1 once it differs."""

    def __init__(self):
        self.broken = 0
        self._parts = ((array("i"), 0, 0, CRC_START),)
        self._part = 0
        self._at = 0
        self._crc = CRC_START

    def take(self, values, table, start, stop):
        """The parameters, and words start … stop−1 of the limit table (its limits, not what it counts). At rest."""
        parts = []
        for words, begins, ends in ((values, 0, len(values)), (table, start, stop)):
            parts.append((words, begins, ends, crc16_words(words, begins, ends, CRC_START)))
        self._parts = tuple(parts)
        self.broken = 0
        self._begin(0)

    def _begin(self, part):
        self._part = part
        self._at = self._parts[part][1]
        self._crc = _CRC_START

    def step(self):
        """One slice further; at the end of a part its CRC is compared."""
        part = self._part
        words, _, ends, expected = self._parts[part]
        stop = self._at + _SLICE
        if stop > ends:
            stop = ends
        self._crc = crc16_words(words, self._at, stop, self._crc)
        self._at = stop
        if stop == ends:
            if self._crc != expected:
                self.broken = 1
            self._begin(part + 1 if part + 1 < len(self._parts) else 0)
