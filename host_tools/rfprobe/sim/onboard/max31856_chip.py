"""A register-level model of the MAX31856: what comes back over SPI, byte for byte.

Register map, power-up values and conversion times from the data sheet 19-7534 (table 6; electrical
characteristics, t_CONV). The analogue side is given: a 19-bit code, a 14-bit cold junction and fault bits.
"""

_POWER_UP = b"\x00\x03\xff\x7f\xc0\x7f\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00"
_CR0 = 0
_CR1 = 1
_CJTH = 0x0A
_LTCBH = 0x0C
_SR = 0x0F
_AUTO = 0x80
_ONE_SHOT = 0x40
_OPEN_TEST = 0x30
_OPEN = 0x01
_TEST_EVERY = 16  # conversions, in automatic mode
_TEST_US = 13_300
_FAULT_CLEAR = 0x02
_50_HZ = 0x01
_FIRST_US = {0: 143_000, 1: 169_000}
_NEXT_US = {0: 82_000, 1: 98_000}
_WRAP_MASK = (1 << 30) - 1
_FAR_US = 1_000_000
_OTHER_WORD = b"\x02\x50\x19\x00"  # a MAX31855 at 37 °C, its cold junction at 25 °C

# How the bus to this chip behaves.
BUS_GOOD = 0
BUS_ZEROS = 1
BUS_ONES = 2
BUS_STUCK_BIT = 3  # bit 4 of every byte reads as one
FROZEN = 4  # answers, but converts no more
RESET = 5  # power fails for a moment: the configuration is lost
OTHER_CHIP = 6  # a chip of another kind answers: four bytes of its own, whatever is asked
CONFIG_BIT = 7  # one bit of the configuration flips: the type of the thermocouple is another


def seen_on_bus(mode, byte):
    """The byte as the bus carries it."""
    if mode == BUS_ZEROS:
        return 0
    if mode == BUS_ONES:
        return 0xFF
    if mode == BUS_STUCK_BIT:
        return byte | 0x10
    return byte


class Max31856Chip:
    """`transfer` answers one chip-select frame in place; `advance` lets time pass and conversions end."""

    def __init__(self, phase_us):
        self.registers = bytearray(_POWER_UP)
        self.mode = BUS_GOOD
        self._converting = False
        self._address = -1
        self._writing = 0
        self._conversions = 0
        self._open = 0
        self._due_us = 0
        self._phase_us = phase_us

    def reset(self):
        """Power-up values again; no conversion runs."""
        self.registers[:] = _POWER_UP
        self._converting = False

    def flip(self):
        """One bit of CR1 becomes another."""
        self.registers[_CR1] ^= 0x04

    def transfer(self, buffer):
        """Exchange `buffer` (address byte, then data) in place: one whole chip-select frame."""
        self.select()
        for index in range(len(buffer)):
            buffer[index] = self.exchange_byte(buffer[index])

    def select(self):
        """Chip select went low: the next byte is an address."""
        self._address = -1

    def exchange_byte(self, byte):
        """One byte in, one byte out."""
        address = self._address
        if address < 0:
            self._address = byte & 0x0F
            self._writing = byte & 0x80
            return seen_on_bus(self.mode, 0xFF)
        self._address = (address + 1) & 0x0F
        if not self._writing:
            if self.mode == OTHER_CHIP:
                return _OTHER_WORD[address & 3]
            return seen_on_bus(self.mode, self.registers[address])
        if address < _CJTH + 2:
            self._write(address, byte)
        return seen_on_bus(self.mode, 0)

    def _write(self, address, byte):
        registers = self.registers
        if address == _CR0:
            if byte & _ONE_SHOT or (byte ^ registers[_CR0]) & _AUTO:
                self._converting = False  # the first conversion begins now
                self._conversions = 0
            if byte & _FAULT_CLEAR:
                registers[_SR] = 0
                byte &= ~_FAULT_CLEAR
        registers[address] = byte & 0xFF

    def advance(self, now_us, code, junction, faults):
        """At `now_us` (wrapping at 2^30) the analogue side shows `code`, `junction` and SR bits `faults`."""
        registers = self.registers
        if not registers[_CR0] & (_AUTO | _ONE_SHOT) or self.mode == FROZEN:
            return
        fifty = registers[_CR0] & _50_HZ
        if not self._converting:
            self._converting = True
            self._due_us = (now_us + _FIRST_US[fifty] + self._test_us() + self._phase_us) & _WRAP_MASK
            self._phase_us = 0
            return
        if (now_us - self._due_us) & (1 << 29):
            return  # not yet
        self._due_us = (self._due_us + _NEXT_US[fifty]) & _WRAP_MASK
        self._convert(code & 0x7FFFF, junction, faults)

    def wait_us(self, now_us):
        """How long `advance` has nothing to do, as far as is known: until the conversion under way ends."""
        return (self._due_us - now_us) & _WRAP_MASK if self._converting else _FAR_US

    def _test_us(self):
        return _TEST_US if self.registers[_CR0] & _ONE_SHOT and self.registers[_CR0] & _OPEN_TEST else 0

    def _convert(self, code, junction, faults):
        """End of a conversion: the registers show it. An open circuit shows only when it is tested for."""
        registers = self.registers
        self._conversions += 1
        one_shot = registers[_CR0] & _ONE_SHOT
        if registers[_CR0] & _OPEN_TEST and (one_shot or self._conversions % _TEST_EVERY == 0):
            self._open = faults & _OPEN
        if one_shot:
            registers[_CR0] &= ~_ONE_SHOT
            self._converting = False
        registers[_LTCBH] = code >> 11
        registers[_LTCBH + 1] = (code >> 3) & 0xFF
        registers[_LTCBH + 2] = (code & 7) << 5
        registers[_CJTH] = (junction >> 6) & 0xFF
        registers[_CJTH + 1] = (junction & 0x3F) << 2
        registers[_SR] = (faults & ~_OPEN) | self._open
