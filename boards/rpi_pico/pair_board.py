"""The Pico with a second channel: what its pins do beside those of board.py, which hold for the first.

Each voltage has an ADC input of its own. The currents share one, by a switch whose second half shows its position:
where that is not the channel that is read, the reading is full scale, and the limits end RF. wiring.md tells why.
"""

import rf_pins  # first: the RF pins are low from here on

# isort: split
import micropython
from board import ADC_GPIO, DRIVE_Hz, Board, make_deadman
from board import SWITCH as SWITCH_PIN
from board import SWITCH_POSITION as POSITION_PIN
from machine import ADC, PWM, Pin, mem32
from micropython import const

SPI_CS_2 = (13, 14, 15, 0)
VOLTAGE_2 = const(28)
ENABLE_READBACK_2 = const(11)
INTERLOCK_2 = const(12)  # high is closed; a broken wire is low

_IS_CURRENT = const(1)  # in an ADC channel's number; the rest is the RF channel's
_FULL_SCALE = const(65_535)

# As in board.py, of the second channel.
_SIO_GPIO_IN = const(0xD0000004)
_SIO_OUT_CLR = const(0xD0000018)
_SIO_OE_SET = const(0xD0000024)
_ENABLE_CTRL = const(0x40014004 + 8 * 2)
_DRIVE_CTRL = const(0x40014004 + 8 * 3)
_ENABLE_2_STATUS = const(0x40014000 + 8 * 4)
_ENABLE_2_CTRL = const(0x40014004 + 8 * 4)
_DRIVE_2_STATUS = const(0x40014000 + 8 * 5)
_DRIVE_2_CTRL = const(0x40014004 + 8 * 5)
_FUNCTION_PWM = const(4)
_FUNCTION_SIO = const(5)
_FUNCTION_PIO0 = const(6)
_RF_PINS_2 = const(1 << 4 | 1 << 5)
_ENABLE_2_BIT = const(1 << 4)
_ALL_RF_PINS = const(1 << 2 | 1 << 3 | 1 << 4 | 1 << 5)
_PAD_LEVEL_AND_OE = const(1 << 9 | 1 << 13)
_PAD_OE = const(1 << 13)
_FUNCTION_MASK = const(0x1F)
_LOW = const(1)
_HIGH = const(2)
_LOOKS = const(100)


def _all_rf_pins_low():
    """Those of both channels, whatever function they had: straight line, no jump at which Ctrl-C could break in."""
    mem32[_SIO_OUT_CLR] = _ALL_RF_PINS
    mem32[_SIO_OE_SET] = _ALL_RF_PINS
    mem32[_ENABLE_CTRL] = _FUNCTION_SIO
    mem32[_ENABLE_2_CTRL] = _FUNCTION_SIO
    mem32[_DRIVE_CTRL] = _FUNCTION_SIO
    mem32[_DRIVE_2_CTRL] = _FUNCTION_SIO


class FirstRf:
    """The first channel's RF alone, which the board has in itself."""

    def __init__(self, board):
        self.feed = board.feed
        self.set_duty = board.set_duty
        self.read_enable = board.read_enable
        self.rf_connect = board.rf_connect
        self.test_dead_man = board.test_dead_man
        self.enable_low = board.enable_low
        self.safe_off = board.rf_off


class SecondRf:
    """The second channel's RF: what a board does with its two pins, done with the other two."""

    feed = Board.feed
    set_duty = Board.set_duty
    read_enable = Board.read_enable
    rf_connect = Board.rf_connect
    test_dead_man = Board.test_dead_man
    enable_low = Board.enable_low
    rf_off = Board.rf_off
    safe_off = Board.rf_off
    _finish_off = Board._finish_off

    def __init__(self):
        """Claim the state machine and the PWM, RF off."""
        self._rf_pins_low()
        self.interrupted = False
        self._feeding = False
        self._readback = Pin(ENABLE_READBACK_2, Pin.IN, Pin.PULL_DOWN)
        self._drive = PWM(Pin(rf_pins.DRIVE_2), freq=DRIVE_Hz, duty_u16=0)
        self._deadman = make_deadman(1, rf_pins.ENABLE_2)
        self._rf_pins_low()  # PWM and StateMachine took the pins

    def _rf_pins_low(self):
        mem32[_SIO_OUT_CLR] = _RF_PINS_2
        mem32[_SIO_OE_SET] = _RF_PINS_2
        mem32[_ENABLE_2_CTRL] = _FUNCTION_SIO
        mem32[_DRIVE_2_CTRL] = _FUNCTION_SIO

    def rf_pins_are_low(self):
        return (
            mem32[_ENABLE_2_CTRL] & _FUNCTION_MASK == _FUNCTION_SIO
            and mem32[_DRIVE_2_CTRL] & _FUNCTION_MASK == _FUNCTION_SIO
            and mem32[_ENABLE_2_STATUS] & _PAD_LEVEL_AND_OE == _PAD_OE
            and mem32[_DRIVE_2_STATUS] & _PAD_LEVEL_AND_OE == _PAD_OE
            and mem32[_SIO_GPIO_IN] & _RF_PINS_2 == 0
        )

    def _give_rf_pins(self):
        mem32[_ENABLE_2_CTRL] = _FUNCTION_PIO0
        mem32[_DRIVE_2_CTRL] = _FUNCTION_PWM

    def _enable_pin_low(self):
        mem32[_SIO_OUT_CLR] = _ENABLE_2_BIT
        mem32[_SIO_OE_SET] = _ENABLE_2_BIT
        mem32[_ENABLE_2_CTRL] = _FUNCTION_SIO

    def _levels_of_enable(self):
        seen = 0
        for _ in range(_LOOKS):
            seen |= _HIGH if mem32[_SIO_GPIO_IN] & _ENABLE_2_BIT else _LOW
        return seen


class PairBoard(Board):
    """One Pico with two channels. `rf` holds what is one channel's alone; the other seams count over both."""

    channels = 2

    def __init__(self):
        """Claim the hardware of both channels, RF off, watchdog stopped."""
        _all_rf_pins_low()
        Board.__init__(self)
        self._second = SecondRf()
        self.rf = (FirstRf(self), self._second)
        self._cs += [Pin(number, Pin.OUT, value=1) for number in SPI_CS_2]
        self._inputs.append(Pin(INTERLOCK_2, Pin.IN, Pin.PULL_DOWN))
        voltage, current = [ADC(Pin(number)) for number in ADC_GPIO[:2]]
        self._adc = [voltage, current, ADC(Pin(VOLTAGE_2)), current]
        self._switch = Pin(SWITCH_PIN, Pin.OUT, value=0)
        self._position = Pin(POSITION_PIN, Pin.IN, Pin.PULL_UP)

    @micropython.native
    def read_adc(self, channel):
        """Return RF voltage (0, 2) or current (1, 3) of the first or the second channel in 0..65535.

        The switch is turned before its position is asked for and before the conversion begins: it has some µs more
        than the fraction of one that it needs. A current of another channel reads as full scale.
        """
        of = channel >> 1
        self._switch(of)
        if channel & _IS_CURRENT and self._position() != of:
            return _FULL_SCALE
        return self._adc[channel].read_u16()

    def safe_off(self):
        """RF off on both channels, for every way out. Return True if all four RF pins were then seen low.

        Ctrl-C is held off meanwhile; one that was already on its way is swallowed and sets `interrupted`.
        """
        _all_rf_pins_low()
        micropython.kbd_intr(-1)
        try:
            verified = self._finish_both()
        except KeyboardInterrupt:  # it was pending; with kbd_intr(-1) there can be no second one
            self.interrupted = True
            verified = self._finish_both()
        micropython.kbd_intr(3)
        return verified

    def _finish_both(self):
        second = self._second
        first_is_low = self._finish_off()
        second_is_low = second._finish_off()
        _all_rf_pins_low()
        return first_is_low and second_is_low and self.rf_pins_are_low() and second.rf_pins_are_low()
