"""The thermocouple converters behind their chip selects, as the probe's record sets and moves them."""

import struct

from .exchange import ANALOGUE, MAX31855, MODE_MASK
from .max31855_chip import Max31855Chip
from .max31856_chip import CONFIG_BIT, RESET, Max31856Chip

CHIPS = 4
_WRITE = 0x80  # in a frame's first byte (MAX31856 data sheet 19-7534, table 6)
_NOT_YET = 1 << 29  # this bit of a difference of two times says that the first is the earlier one


class Converters:
    """`chips` by chip select. `pass_time` is for each tick, `transfer` for each chip-select frame."""

    def __init__(self):
        self.chips = [_chip(0, index) for index in range(CHIPS)]
        self._kinds = [0] * CHIPS
        self._written = True
        self._seen = b""
        self._due_us = 0

    def transfer(self, select, buffer):
        """Exchange one frame in place."""
        if buffer[0] & _WRITE:
            self._written = True
        self.chips[select].transfer(buffer)

    def pass_time(self, now_us, analogue):
        """As `advance`, where anything can have changed: the probe, a register, or a conversion that ends."""
        if self._written or analogue != self._seen or not (now_us - self._due_us) & _NOT_YET:
            self.advance(now_us, analogue)

    def advance(self, now_us, analogue):
        """It is `now_us`, and `analogue` (exchange.ANALOGUE) is what lies before the chips."""
        self._seen = analogue
        self._written = False
        fields = struct.unpack_from(ANALOGUE, analogue, 0)
        soonest_us = _NOT_YET - 1
        for index in range(CHIPS):
            code, junction, faults, mode = fields[4 * index : 4 * index + 4]
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
            chip.advance(now_us, code, junction, faults)
            soonest_us = min(soonest_us, chip.wait_us(now_us))
        self._due_us = now_us + soonest_us


def _chip(kind, index):
    return Max31855Chip() if kind else Max31856Chip(index * 23_000)
