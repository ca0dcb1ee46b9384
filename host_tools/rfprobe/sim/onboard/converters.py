"""The thermocouple converters behind their chip selects, as the probe's record sets and moves them."""

import struct

from .exchange import ANALOGUE, MAX31855, MODE_MASK
from .max31855_chip import Max31855Chip
from .max31856_chip import CONFIG_BIT, RESET, Max31856Chip

CHIPS = 4
_WRITE = 0x80  # in a frame's first byte (MAX31856 data sheet 19-7534, table 6)
_WRAP_MASK = (1 << 30) - 1
_NOT_YET = 1 << 29  # this bit of a difference of two times says that the first is the earlier one


class Converters:
    """`chips` by chip select. `pass_time` is for each tick, `transfer` for each chip-select frame."""

    def __init__(self):
        self.chips = [_chip(0, index) for index in range(CHIPS)]
        self._kinds = [0] * CHIPS
        self._modes = (0,) * CHIPS
        self._changed = True  # a register or a mode, so that any chip may have something to do
        self._seen = b""
        self._fields = (0,) * (4 * CHIPS)
        self._due_us = [0] * CHIPS
        self._soonest_us = 0

    def transfer(self, select, buffer):
        """Exchange one frame in place."""
        if buffer[0] & _WRITE:
            self._changed = True
        self.chips[select].transfer(buffer)

    def pass_time(self, now_us, analogue):
        """It is `now_us`, and `analogue` (exchange.ANALOGUE) is what lies before the chips."""
        if analogue != self._seen:
            self._see(analogue)
        if self._changed or not (now_us - self._soonest_us) & _NOT_YET:
            self._advance(now_us)

    def written(self):
        """A register of a chip was written past `transfer`."""
        self._changed = True

    def _see(self, analogue):
        """The analogue side has changed. That alone moves no chip: it is looked at when a conversion ends."""
        self._seen = analogue
        fields = struct.unpack_from(ANALOGUE, analogue, 0)
        self._fields = fields
        modes = (fields[3], fields[7], fields[11], fields[15])
        if modes != self._modes:
            self._modes = modes
            self._changed = True
            for index in range(CHIPS):
                self._set_mode(index, modes[index])

    def _set_mode(self, index, mode):
        if mode & MAX31855 != self._kinds[index]:  # the profile has the other kind at this place
            self._kinds[index] = mode & MAX31855
            self.chips[index] = _chip(mode & MAX31855, index)
        chip = self.chips[index]
        mode &= MODE_MASK
        if mode == RESET and chip.mode != RESET:
            chip.reset()
        elif mode == CONFIG_BIT and chip.mode != CONFIG_BIT:
            chip.flip()
        chip.mode = mode

    def _advance(self, now_us):
        """The chips that have something to do do it."""
        fields = self._fields
        due_us = self._due_us
        soonest_us = _NOT_YET - 1
        for index in range(CHIPS):
            if self._changed or not (now_us - due_us[index]) & _NOT_YET:
                chip = self.chips[index]
                at = 4 * index
                chip.advance(now_us, fields[at], fields[at + 1], fields[at + 2])
                due_us[index] = now_us + chip.wait_us(now_us)
            wait_us = due_us[index] - now_us & _WRAP_MASK
            if wait_us < soonest_us:
                soonest_us = wait_us
        self._soonest_us = now_us + soonest_us
        self._changed = False


def _chip(kind, index):
    return Max31855Chip() if kind else Max31856Chip(index * 23_000)
