"""MAX31856 thermocouple converter over SPI (mode 1, ≤ 5 MHz): configure, read back, poll.

Facts from the data sheet 19-7534 Rev 0: register map (table 6), CR0/CR1/SR bits (register descriptions),
thermocouple data as 19 bits of 1/128 °C left-justified in 24, cold junction as 14 bits of 1/64 °C in 16.
There is no "new data" flag on the SPI side, so the chip runs in automatic mode and is polled slower than its
slowest conversion: 90 ms at 60 Hz, 110 ms at 50 Hz mains (electrical characteristics, t_CONV).
In automatic mode the open-circuit test comes only once in 16 conversions; a one-shot conversion always has it.
So whenever a reading is in doubt, `question` asks by a one-shot conversion (185 + 15 ms at the slowest) instead
of waiting 1.6 s for the test.
"""

from rfprobe_core import thermometry
from rfprobe_core.constant import const
from rfprobe_core.kernels import same_bytes

_WRITE = 0x80
_CR0 = const(0x00)
_CJTH = const(0x0A)
_CR0_AUTO = 0x80
_CR0_ONE_SHOT = 0x40
_CR0_OPEN_TEST = 0x10  # OCFAULT 01: open-circuit test every 16 conversions, source resistance < 5 kΩ
_CR0_FAULT_CLEAR = 0x02
_CR0_50_HZ = 0x01
_CR1_AVERAGE_ONE = 0x00
_MASK_NONE = 0x00  # the FAULT pin is not wired: nothing is masked, SR is what is read

# Thresholds are always written: parts have been seen to wake with 0/0 and report a permanent fault.
_CJ_HIGH_C = 85
_CJ_LOW_C = -20
_TC_HIGH = (0x7F, 0xFF)
_TC_LOW = (0x80, 0x00)

_SR_CJ_RANGE = 0x80
_SR_TC_RANGE = 0x40
_SR_CJ_HIGH = 0x20
_SR_CJ_LOW = 0x10
_SR_OVUV = 0x02
_SR_OPEN = 0x01

POLL_TICKS_60_HZ = 10
POLL_TICKS_50_HZ = 12
_CONFIGURED_POLLS = 3  # CONFIGURE asks at any moment of the poll period
_QUESTION_POLLS = 2  # after two polls (200 or 240 ms) a one-shot conversion with its test has ended

_CONFIG_BYTES = const(10)  # registers 0x00 … 0x09
_READ_BYTES = const(6)  # registers 0x0A … 0x0F
_FRESH = const(0)
_REPEAT = const(1)


class Max31856:
    """One chip behind `board.spi_transfer(select, buffer)`, which exchanges the buffer in place."""

    def __init__(self, board, select):
        self._board = board
        self._select = select
        self._config = bytearray(_CONFIG_BYTES + 1)
        self._check = bytearray(_CONFIG_BYTES + 1)
        self._read = bytearray(_READ_BYTES + 1)
        self._raw = -1
        self._raw_low = -1
        self.temperature_mC = 0
        self.cold_junction_mC = 0
        self.poll_ticks = POLL_TICKS_50_HZ
        self._one_register = bytearray(2)
        self._question_polls = 0

    def configure(self, thermocouple_type, mains_hz):
        """Write every register and read it back; returns a thermometry status, 0 for good. Not while energised.

        `thermocouple_type`: 0…7 as in CR1 (3 = K, 7 = T); `mains_hz`: 50 or 60. The notch bit may only change
        in normally-off mode (CR0 description), so automatic mode is left first.
        """
        config = self._config
        fifty = _CR0_50_HZ if mains_hz == 50 else 0
        self.poll_ticks = POLL_TICKS_50_HZ if fifty else POLL_TICKS_60_HZ
        config[1] = fifty | _CR0_OPEN_TEST
        config[2] = _CR1_AVERAGE_ONE | thermocouple_type
        config[3] = _MASK_NONE
        config[4] = _CJ_HIGH_C
        config[5] = _CJ_LOW_C & 0xFF
        config[6], config[7] = _TC_HIGH
        config[8], config[9] = _TC_LOW
        config[10] = 0  # no cold-junction offset
        self._write_config()
        self._raw = -1
        self._raw_low = -1
        self._question_polls = 0
        status = self.check_config()
        self._write_cr0(config[1] | _CR0_FAULT_CLEAR)
        config[1] |= _CR0_AUTO
        self.question()
        self._question_polls = _CONFIGURED_POLLS
        return status

    def question(self):
        """Ask for a one-shot conversion, which tests for an open circuit; automatic mode follows it by itself."""
        if self._question_polls == 0:
            self._question_polls = _QUESTION_POLLS
            self._write_cr0((self._config[1] & ~_CR0_AUTO & 0xFF) | _CR0_ONE_SHOT)

    def _write_cr0(self, value):
        self._one_register[0] = _WRITE | _CR0
        self._one_register[1] = value
        self._board.spi_transfer(self._select, self._one_register)

    def _write_config(self):
        check = self._check
        for index in range(1, _CONFIG_BYTES + 1):
            check[index] = self._config[index]
        check[0] = _WRITE | _CR0
        self._board.spi_transfer(self._select, check)

    def check_config(self):
        """Read the configuration back: 0, CONFIG_LOST if any bit differs (a chip reset in mid-run), or BUS.

        While a question is under way CR0 is another, and is not looked at.
        """
        check = self._check
        check[0] = _CR0  # what else is sent in a read does not matter
        self._board.spi_transfer(self._select, check)
        if same_bytes(check, self._config, 2 if self._question_polls else 1, _CONFIG_BYTES + 1):
            return 0
        return thermometry.BUS if _is_dead(check, _CONFIG_BYTES) else thermometry.CONFIG_LOST

    def poll(self):
        """Read temperature, cold junction and fault register; returns a thermometry status.

        With FRESH and REPEAT, `temperature_mC` and `cold_junction_mC` are new; with a fault they are untouched.
        """
        asked = self._question_polls
        if asked:
            self._question_polls = asked - 1
            if asked > 1:
                return thermometry.QUESTIONED
        status = self._read_out()
        if asked:
            self._write_cr0(self._config[1])
        return status

    def _read_out(self):
        read = self._read
        read[0] = _CJTH  # what else is sent in a read does not matter
        self._board.spi_transfer(self._select, read)
        first = read[1]
        if (first == 0 or first == 0xFF) and _is_dead(read, _READ_BYTES):
            return thermometry.BUS
        status = _fault(read[6]) if read[6] else 0
        if status:
            return status
        # 19 bits, sign in bit 18; the five bits below carry nothing
        code = read[3] << 11 | read[4] << 3 | read[5] >> 5
        junction = first << 6 | read[2] >> 2
        fresh = code != self._raw or junction != self._raw_low
        self._raw = code
        self._raw_low = junction
        if code & 0x40000:
            code -= 0x80000
        if junction & 0x2000:
            junction -= 0x4000
        self.temperature_mC = code * 125 >> 4  # 1000/128; |code| ≤ 2^18
        self.cold_junction_mC = junction * 125 >> 3  # 1000/64
        return _FRESH if fresh else _REPEAT


def _is_dead(answer, count):
    """All zeros or all ones: no chip, no power or a broken line, never a temperature."""
    first = answer[1]
    if first != 0 and first != 0xFF:
        return False
    for index in range(2, count + 1):
        if answer[index] != first:
            return False
    return True


def _fault(status_register):
    """SR → thermometry status; 0 when there is no fault. The open bit wins: over-voltage often comes with it."""
    if status_register & _SR_OPEN:
        return thermometry.OPEN
    if status_register & _SR_OVUV:
        return thermometry.SHORT
    if status_register & (_SR_CJ_RANGE | _SR_CJ_HIGH | _SR_CJ_LOW):
        return thermometry.COLD_JUNCTION
    if status_register & _SR_TC_RANGE:
        return thermometry.SHORT
    return 0
