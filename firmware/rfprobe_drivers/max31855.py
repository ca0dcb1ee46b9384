"""MAX31855, a thermocouple converter that can only be read: 32 bits over SPI (mode 0 or 1, ≤ 5 MHz).

Facts from the data sheet 19-5793 Rev 5: bits (tables 2 to 5), conversion time (electrical characteristics), nominal
sensitivities (table 1).
The chip takes its thermocouple for a straight line through the cold junction: `ThermocoupleReading = CJ + V / S`.
For type T that is 10.9 °C too low at 90 °C. Here its voltage is recovered from the reading and turned into a
temperature by ITS-90. There is nothing to configure and no open-circuit test to ask for: each conversion has one.

Two equal words are no proof of two conversions, and at 1/4 °C steps a steady temperature gives equal words for
minutes. So each answer counts as new, and a chip that answers but converts no more is not noticed here: only the
rows that watch for heat without a rise do. Where that matters, fit a MAX31856.
"""

from rfprobe_core import thermometry
from rfprobe_core.constant import const
from rfprobe_drivers import its90

_BYTES = const(4)
_FAULT = 0x01  # D16
_RESERVED_HIGH = 0x02  # D17
_RESERVED_LOW = 0x08  # D3
_SHORT_TO_VCC = 0x04
_SHORT_TO_GND = 0x02
_OPEN = 0x01
_FAULTS = 0x07

_FRESH = const(0)
_POLL_TICKS = 12  # 120 ms: a conversion takes up to 100
_DIFFERENCE_MAX = const(4_000)  # 1/16 °C: 250 °C above the cold junction, beyond the table

# By the code of the type in the MAX31856's CR1: ITS-90 table, and nominal S in 10 nV for 1/16 °C, times 1000.
TYPES = {
    3: (its90.K, 257_975),  # K, 41.276 µV/°C
    7: (its90.T, 326_125),  # T, 52.18 µV/°C
}


class Max31855:
    """One chip behind `board.spi_transfer(select, buffer)`, which exchanges the buffer in place."""

    def __init__(self, board, select):
        self._board = board
        self._select = select
        self._word = bytearray(_BYTES)
        self._table = its90.K
        self._sensitivity = 0
        self.temperature_mC = 0
        self.cold_junction_mC = 0
        self.poll_ticks = _POLL_TICKS

    def configure(self, thermocouple_type, _mains_hz):
        """Take the type (3 = K, 7 = T; others raise KeyError); returns a thermometry status, 0 for good."""
        self._table, self._sensitivity = TYPES[thermocouple_type]
        return self.check_config()

    def question(self):
        """Nothing to ask: every conversion looks for an open circuit."""

    def check_config(self):
        """The chip has no configuration to lose: 0, or BUS where nothing answers."""
        self._exchange()
        return thermometry.BUS if _is_no_answer(self._word) else 0

    def poll(self):
        """Read the word; returns a thermometry status.

        With FRESH, `temperature_mC` and `cold_junction_mC` are new; with a fault they are untouched.
        """
        self._exchange()
        word = self._word
        if _is_no_answer(word):
            return thermometry.BUS
        if word[1] & _FAULT:
            return _fault(word[3])
        code = word[0] << 6 | word[1] >> 2  # 14 bits of 1/4 °C
        junction = word[2] << 4 | word[3] >> 4  # 12 bits of 1/16 °C
        if code & 0x2000:
            code -= 0x4000
        if junction & 0x800:
            junction -= 0x1000
        self.cold_junction_mC = junction * 125 >> 1  # 1000/16; |junction| ≤ 2^11
        self.temperature_mC = self._by_its90(4 * code - junction, code * 250)
        return _FRESH

    def _by_its90(self, difference, shown_mC):
        """Temperature of a junction that the chip shows `difference` sixteenths of a degree above the cold one."""
        if difference > _DIFFERENCE_MAX:
            difference = _DIFFERENCE_MAX
        elif difference < -_DIFFERENCE_MAX:
            difference = -_DIFFERENCE_MAX
        table = self._table
        volts = difference * (self._sensitivity >> 3) // 125  # 4e3 · 4.1e4 < 2^28; the eighth of 1000
        return its90.temperature_mC(table, volts + its90.emf(table, self.cold_junction_mC), shown_mC)

    def _exchange(self):
        word = self._word
        for index in range(_BYTES):
            word[index] = 0
        self._board.spi_transfer(self._select, word)


def _is_no_answer(word):
    """All zeros, all ones or a reserved bit set: no chip, no power or a broken line, never a temperature."""
    first = word[0]
    if word[1] & _RESERVED_HIGH or word[3] & _RESERVED_LOW:
        return True
    return first == word[1] == word[2] == word[3] and first == 0


def _fault(low_byte):
    """Bits D2:D0 → thermometry status; a fault that names no cause is none of the chip's."""
    if low_byte & _OPEN:
        return thermometry.OPEN
    if low_byte & (_SHORT_TO_GND | _SHORT_TO_VCC):
        return thermometry.SHORT
    return thermometry.BUS
