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


class Sense:
    """One channel's RF voltage and current; its current is there while the switch is in position `own`."""

    def __init__(self, own, voltage, current, switch, position):
        self._own = own
        self._read_voltage = voltage.read_u16
        self._read_current = current.read_u16
        self._switch = switch
        self._position = position

    @micropython.native
    def read_adc(self, quantity):
        """Return RF voltage (0) or current (1) in 0..65535.

        The switch is turned before its position is asked for, and that before the conversion begins: it has some µs
        more than the fraction of one that it needs. A current that may be the other channel's reads as full scale.
        """
        if not quantity:
            return self._read_voltage()
        own = self._own
        self._switch(own)
        if self._position() != own:
            return _FULL_SCALE
        return self._read_current()


class FirstRf:
    """The first channel's RF alone, which the board has in itself."""

    def __init__(self, board, sense):
        self.read_adc = sense.read_adc
        self.feed = board.feed
        self.set_duty = board.set_duty
        self.read_enable = board.read_enable
        self.rf_connect = board.rf_connect
        self.test_dead_man = board.test_dead_man
        self.enable_low = board.enable_low
        self.safe_off = board.rf_off  # without holding Ctrl-C off, which here is for the other channel too


class SecondRf:
    """The second channel's RF: what a board does with its two pins, done with the other two."""

    feed = Board.feed
    set_duty = Board.set_duty
    read_enable = Board.read_enable
    rf_connect = Board.rf_connect
    test_dead_man = Board.test_dead_man
    enable_low = Board.enable_low
    rf_off = Board.rf_off
    safe_off = Board.rf_off  # without holding Ctrl-C off, which here is for the other channel too

    def __init__(self, sense):
        """Claim the state machine and the PWM, RF off."""
        self._rf_pins_low()
        self.read_adc = sense.read_adc
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
        switch = Pin(SWITCH_PIN, Pin.OUT, value=0)
        position = Pin(POSITION_PIN, Pin.IN, Pin.PULL_UP)
        voltage, current = [ADC(Pin(number)) for number in ADC_GPIO[:2]]
        self._second = SecondRf(Sense(1, ADC(Pin(VOLTAGE_2)), current, switch, position))
        self.rf = (FirstRf(self, Sense(0, voltage, current, switch, position)), self._second)
        self._cs += [Pin(number, Pin.OUT, value=1) for number in SPI_CS_2]
        self._inputs.append(Pin(INTERLOCK_2, Pin.IN, Pin.PULL_DOWN))

    def safe_off(self):
        """RF off on both channels, for every way out. Return True if all four RF pins were then seen low.

        Ctrl-C is held off meanwhile; one that was already on its way is swallowed and sets `interrupted`.
        """
        _all_rf_pins_low()
        micropython.kbd_intr(-1)
        try:
            verified = self._both_off()
        except KeyboardInterrupt:  # it was pending; with kbd_intr(-1) there can be no second one
            self.interrupted = True
            verified = self._both_off()
        micropython.kbd_intr(3)
        return verified

    def _both_off(self):
        first_is_low = self.rf_off()
        second_is_low = self._second.rf_off()
        return first_is_low and second_is_low and self.rf_pins_are_low()
