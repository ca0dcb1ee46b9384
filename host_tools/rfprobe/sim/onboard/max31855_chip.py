"""A model of the MAX31855: 32 bits out, nothing in. Bits from the data sheet 19-5793 Rev 5, tables 2 to 5.

The analogue side is given as the word's two numbers, in the chip's own steps, and its fault bits.
"""

from .max31856_chip import BUS_GOOD, FROZEN, seen_on_bus

_CONVERSION_US = 70_000  # typical; 100 ms at most
_WRAP_MASK = (1 << 30) - 1

OPEN = 0x01
SHORT_TO_GND = 0x02
SHORT_TO_VCC = 0x04


class Max31855Chip:
    """`transfer` answers one chip-select frame in place; `advance` lets time pass and conversions end."""

    def __init__(self):
        self.mode = BUS_GOOD
        self._word = bytearray(4)
        self._at = 0
        self._due_us = -1

    def reset(self):
        """Power failed for a moment: there is nothing to forget but the last conversion."""
        self._word[:] = b"\x00\x00\x00\x00"
        self._due_us = -1

    def flip(self):
        """There is no configuration."""

    def advance(self, now_us, code, junction, faults):
        """At `now_us` (wrapping at 2^30) the analogue side shows `code` (1/4 °C), `junction` (1/16 °C) and faults."""
        if self.mode == FROZEN or (self._due_us >= 0 and (now_us - self._due_us) & (1 << 29)):
            return  # not yet
        self._due_us = (now_us + _CONVERSION_US) & _WRAP_MASK
        word = self._word
        code &= 0x3FFF
        junction &= 0xFFF
        word[0] = code >> 6
        word[1] = (code & 0x3F) << 2 | (1 if faults else 0)
        word[2] = junction >> 4
        word[3] = (junction & 0x0F) << 4 | faults & 0x07

    def wait_us(self, now_us):
        """How long `advance` has nothing to do."""
        return (self._due_us - now_us) & _WRAP_MASK

    def transfer(self, buffer):
        """Exchange `buffer` in place: one whole chip-select frame."""
        self.select()
        for index in range(len(buffer)):
            buffer[index] = self.exchange_byte(buffer[index])

    def select(self):
        """Chip select went low: the word from its first bit."""
        self._at = 0

    def exchange_byte(self, _byte):
        """One byte out, whatever comes in; zeros after the word."""
        at = self._at
        self._at = at + 1
        return seen_on_bus(self.mode, self._word[at] if at < 4 else 0)
