"""The Raspberry Pi Pico: its pins, and the seams through which the controller meets them.

What is called in each tick allocates nothing (tests/pico measures it on the emulated chip) and is machine code:
faster, and nothing pending (USB work, Ctrl-C) is done in the midst of it. wiring.md shows what is connected where
and what the hardware outside the chip does.

The official image and the project's own run this file alike; it needs MicroPython 1.25 or newer on RP2040.
"""

import rf_pins  # first: the RF pins are low from here on

# isort: split
import gc
import os
import select
import sys
import time

import machine
import micropython
import rp2
from calibration_files import CalibrationFiles
from machine import ADC, PWM, SPI, WDT, Pin, mem16, mem32
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rp2.asm_pio import (
        block,
        isr,
        jmp,
        label,
        mov,
        not_y,
        pins,
        pull,
        set,
        status,
        wrap,
        wrap_target,
        x,
        x_dec,
        y,
    )

NAME = "rpi_pico"

SPI_Hz = const(5_000_000)  # the MAX31856's limit
SPI_SCK = const(18)
SPI_MOSI = const(19)
SPI_MISO = const(16)
SPI_CS = (17, 20, 21, 22)
ADC_GPIO = (26, 27, 28)  # RF voltage, RF current, spare
ENABLE_READBACK = const(6)
INPUTS = (7, 8)  # interlock, foot-switch: high is closed, pressed; a broken wire is low
LED = const(25)
SERVICE = const(9)  # held to ground at power-up: main.py leaves the board to the REPL
SERVICE_FLAG = "service"  # a file of this name on the board does the same

# The second channel, where it is fitted (pair_board.py). Its current reaches the chip by a switch, of which these are
# the selection and the position that it shows; a position of low at power-up says that all of it is there.
SWITCH = const(1)
SWITCH_POSITION = const(10)
_SETTLED_us = const(100)  # what a pull of 50 kΩ needs at a long wire, many times over

INTERLOCK = const(0)
FOOTSWITCH = const(1)

DRIVE_Hz = const(20_000)

RESET_POWER = const(0)
RESET_WATCHDOG = const(1)
RESET_SOFTWARE = const(2)

# RP2040 registers. Assembled as numbers, so that no look-up can allocate or fail on the way to safe.
_SIO_GPIO_IN = const(0xD0000004)
_SIO_OUT_CLR = const(0xD0000018)
_SIO_OE_SET = const(0xD0000024)
_ENABLE_STATUS = const(0x40014000 + 8 * 2)
_ENABLE_CTRL = const(0x40014004 + 8 * 2)
_DRIVE_STATUS = const(0x40014000 + 8 * 3)
_DRIVE_CTRL = const(0x40014004 + 8 * 3)
_FUNCTION_PWM = const(4)
_FUNCTION_SIO = const(5)
_FUNCTION_PIO0 = const(6)
_RF_PINS = const(1 << 2 | 1 << 3)
_ENABLE_BIT = const(1 << 2)
_PAD_LEVEL_AND_OE = const(1 << 9 | 1 << 13)
_PAD_OE = const(1 << 13)
_FUNCTION_MASK = const(0x1F)

_PIO0_SM0_EXECCTRL = const(0x502000CC)
_STATE_MACHINE_SIZE = const(0x18)  # of its registers; the next one's follow
_STATUS_IS_TX_EMPTY = const(0x1F)  # STATUS_SEL and STATUS_N
_TX_LEVEL_BELOW_1 = const(0x01)

_CDC_IN_BUFFER_CONTROL = const(0x50100090)  # endpoint 2 IN
_BUFFER_AVAILABLE = const(1 << 10)
_CDC_FIFO_bytes = const(256)

_WATCHDOG_CTRL_CLEAR = const(0x40058000 + 0x3000)
_WATCHDOG_ENABLE = const(1 << 30)
_WATCHDOG_REASON = const(0x40058008)
_WATCHDOG_SCRATCH0 = const(0x4005800C)
_PHASE_MARK = const(0x2B700000)  # says that the low byte of the scratch register is a phase

# The dead-man: a fed word buys this much of a square wave, counted by the state machine alone.
_PIO_Hz = const(100_000)
_PERIOD_cycles = const(20)
_PERIODS_PER_FEED = const(78)
DEADMAN_HOLD_us = _PERIODS_PER_FEED * _PERIOD_cycles * 1_000_000 // _PIO_Hz  # 15 600
DEADMAN_TOGGLE_Hz = _PIO_Hz // _PERIOD_cycles  # 5000

_LOW = const(1)
_HIGH = const(2)
_HIGH_AND_LOW = const(3)
_LOOKS = const(100)  # at a pad in a row: some 5 µs each, two periods in all

_PULL_NOBLOCK = const(0x8080)
_MOV_ISR_OSR = const(0xA0C7)
_SET_PINS_0 = const(0xE000)
_SET_PINDIRS_1 = const(0xE081)


@rp2.asm_pio(set_init=rp2.PIO.OUT_LOW)
def _deadman():
    """Toggle for a counted number of periods per fed word, then rest low until the next word.

    ISR holds the count. A word that arrives meanwhile starts the count anew, so that what is left to run
    never adds up: the wave ends one hold time after the last word, whatever the CPU does.
    """
    wrap_target()
    label("rest")
    pull(block)
    mov(x, isr)
    label("again")
    set(pins, 1)[9]
    set(pins, 0)[6]
    mov(y, status)
    jmp(not_y, "rest")
    jmp(x_dec, "again")
    wrap()


def make_deadman(number, enable):
    """State machine `number` of PIO 0, with the dead-man of the pin `enable`, which has the pin from then on, low."""
    machine = rp2.StateMachine(number, _deadman, freq=_PIO_Hz, set_base=Pin(enable))
    execctrl = _PIO0_SM0_EXECCTRL + number * _STATE_MACHINE_SIZE
    mem32[execctrl] = mem32[execctrl] & ~_STATUS_IS_TX_EMPTY | _TX_LEVEL_BELOW_1
    return machine


class Board(CalibrationFiles):
    """One Pico. Make one; making another takes the same hardware anew and leaves RF off."""

    name = NAME
    dead_man = "pio"
    channels = 1

    def __init__(self):
        """Claim the hardware, RF off, watchdog stopped."""
        self._rf_pins_low()
        self.watchdog_stop()
        self._last_phase = _read_phase()
        self._reset_cause = _read_reset_cause()
        self.interrupted = False
        self._feeding = False
        self._wdt = None
        self._spi = SPI(
            0,
            baudrate=SPI_Hz,
            polarity=0,
            phase=1,
            sck=Pin(SPI_SCK),
            mosi=Pin(SPI_MOSI),
            miso=Pin(SPI_MISO, pull=Pin.PULL_DOWN),  # no chip there reads as zeros, which no converter sends
        )
        self._cs = [Pin(number, Pin.OUT, value=1) for number in SPI_CS]
        self._adc = [ADC(Pin(number)) for number in ADC_GPIO]
        self._inputs = [Pin(number, Pin.IN, Pin.PULL_DOWN) for number in INPUTS]
        self._readback = Pin(ENABLE_READBACK, Pin.IN, Pin.PULL_DOWN)
        self._led = Pin(LED, Pin.OUT, value=0)
        self._drive = PWM(Pin(rf_pins.DRIVE), freq=DRIVE_Hz, duty_u16=0)
        self._deadman = make_deadman(0, rf_pins.ENABLE)
        self._rf_pins_low()  # PWM and StateMachine took the pins
        self._stdin = sys.stdin.buffer
        self._stdout = sys.stdout.buffer
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._byte = bytearray(1)
        self.ticks_us = time.ticks_us

    # Converters and inputs

    @micropython.native
    def spi_transfer(self, cs_index, buf):
        """Exchange `buf` in place, full duplex, SPI mode 1, with the chip at chip select 0..3."""
        cs = self._cs[cs_index]
        cs(0)
        self._spi.write_readinto(buf, buf)
        cs(1)

    @micropython.native
    def read_adc(self, channel):
        """Return channel 0 (RF voltage), 1 (RF current) or 2 (spare) in 0..65535."""
        return self._adc[channel].read_u16()

    @micropython.native
    def read_input(self, index):
        """Return 1 if the interlock (0) is closed or the foot-switch (1) pressed, else 0."""
        return self._inputs[index]()

    @micropython.native
    def read_enable(self):
        """Return 1 if the RF stage is enabled, as read back behind the charge pump, else 0."""
        return self._readback()

    def set_led(self, on):
        """Light the board's LED or not."""
        self._led(on)

    # RF: the pins

    def _rf_pins_low(self):
        """Both RF pins low, whatever function they had: straight line, no jump at which Ctrl-C could break in."""
        mem32[_SIO_OUT_CLR] = _RF_PINS
        mem32[_SIO_OE_SET] = _RF_PINS
        mem32[_ENABLE_CTRL] = _FUNCTION_SIO
        mem32[_DRIVE_CTRL] = _FUNCTION_SIO

    def rf_pins_are_low(self):
        """Whether both RF pins are seen driven low by plain GPIO, at the pads too."""
        return (
            mem32[_ENABLE_CTRL] & _FUNCTION_MASK == _FUNCTION_SIO
            and mem32[_DRIVE_CTRL] & _FUNCTION_MASK == _FUNCTION_SIO
            and mem32[_ENABLE_STATUS] & _PAD_LEVEL_AND_OE == _PAD_OE
            and mem32[_DRIVE_STATUS] & _PAD_LEVEL_AND_OE == _PAD_OE
            and mem32[_SIO_GPIO_IN] & _RF_PINS == 0
        )

    def _give_rf_pins(self):
        """To the dead-man and the PWM."""
        mem32[_ENABLE_CTRL] = _FUNCTION_PIO0
        mem32[_DRIVE_CTRL] = _FUNCTION_PWM

    def _enable_pin_low(self):
        mem32[_SIO_OUT_CLR] = _ENABLE_BIT
        mem32[_SIO_OE_SET] = _ENABLE_BIT
        mem32[_ENABLE_CTRL] = _FUNCTION_SIO

    def _levels_of_enable(self):
        """The levels that the enable pad shows within two periods of the wave: bit 0 low, bit 1 high."""
        seen = 0
        for _ in range(_LOOKS):
            seen |= _HIGH if mem32[_SIO_GPIO_IN] & _ENABLE_BIT else _LOW
        return seen

    # RF: what the controller does with them

    def rf_connect(self):
        """Give the RF pins to the dead-man and the PWM, both at rest: no RF until `feed` and `set_duty`."""
        deadman = self._deadman
        self._drive.duty_u16(0)
        deadman.active(0)
        while deadman.tx_fifo():
            deadman.exec(_PULL_NOBLOCK)
        deadman.restart()
        deadman.exec(_SET_PINS_0)
        deadman.exec(_SET_PINDIRS_1)
        deadman.put(_PERIODS_PER_FEED - 1)
        deadman.exec(_PULL_NOBLOCK)
        deadman.exec(_MOV_ISR_OSR)
        self._give_rf_pins()
        deadman.active(1)
        self._feeding = True

    def test_dead_man(self):
        """Feed once, with the drive at zero, and no more; return 0 if the enable toggled and then stopped by itself.

        1 says that it did not toggle, 2 that it did not stop. Takes 18 ms; the RF pins are low afterwards.
        """
        self.rf_connect()
        self.feed()
        toggled = self._levels_of_enable() == _HIGH_AND_LOW
        time.sleep_us(DEADMAN_HOLD_us)
        stopped = self._levels_of_enable() == _LOW
        self.rf_off()
        if not toggled:
            return 1
        return 0 if stopped else 2

    @micropython.native
    def feed(self):
        """Keep the enable output toggling for DEADMAN_HOLD_us more. False is a fault: it was not taken.

        A healthy dead-man takes a word within one period (200 µs), so feed no faster than that.
        """
        if not self._feeding or self._deadman.tx_fifo():
            return False
        self._deadman.put(0)
        return True

    @micropython.native
    def set_duty(self, duty_u16):
        """Set the RF stage's drive, 0..65535."""
        self._drive.duty_u16(duty_u16)

    def enable_low(self):
        """Take the enable pin from the dead-man and hold it low. `rf_connect` gives it back."""
        self._enable_pin_low()
        self._feeding = False
        self._deadman.active(0)

    def safe_off(self):
        """RF off: enable first, then drive. Return True if both pins were then seen low. For every way out.

        Ctrl-C is held off meanwhile; one that was already on its way is swallowed and sets `interrupted`.
        """
        self._rf_pins_low()
        micropython.kbd_intr(-1)
        try:
            verified = self.rf_off()
        except KeyboardInterrupt:  # it was pending; with kbd_intr(-1) there can be no second one
            self.interrupted = True
            verified = self.rf_off()
        micropython.kbd_intr(3)
        return verified

    def rf_off(self):
        """As safe_off, but for Ctrl-C, which breaks it off once the pins are low: the way out is safe_off's then."""
        self._rf_pins_low()
        self._feeding = False
        self._deadman.active(0)
        self._drive.duty_u16(0)
        self._rf_pins_low()
        return self.rf_pins_are_low()

    # The link

    @micropython.native
    def link_ready(self):
        """Whether nothing is on its way to the host, so that a frame goes out whole and at once."""
        return mem16[_CDC_IN_BUFFER_CONTROL] & _BUFFER_AVAILABLE == 0

    @micropython.native
    def link_write(self, buf, n):
        """Write the first `n` (1..256) bytes of `buf` whole, True, or nothing, False. Never blocks."""
        if n > _CDC_FIFO_bytes or mem16[_CDC_IN_BUFFER_CONTROL] & _BUFFER_AVAILABLE:
            return False
        self._stdout.write(buf, n)
        return True

    @micropython.native
    def link_read(self):
        """Return the next byte from the host, or -1 if there is none. Never blocks."""
        for _ in self._poll.ipoll(0):
            self._stdin.readinto(self._byte)
            return self._byte[0]
        return -1

    # Watchdog and identity

    def watchdog_start(self, timeout_ms):
        """Reset the chip unless fed within 1..8388 ms, from now on."""
        self._wdt = WDT(timeout=timeout_ms)

    @micropython.native
    def watchdog_feed(self):
        """Put the watchdog's reset off; nothing before the first `watchdog_start`."""
        if self._wdt:
            self._wdt.feed()

    def watchdog_stop(self):
        """Stop the watchdog: only once RF is verified off. The API has no way to do so; the register has."""
        mem32[_WATCHDOG_CTRL_CLEAR] = _WATCHDOG_ENABLE

    def reset_cause(self):
        """Return why the chip started: RESET_POWER (or the RUN pin), RESET_WATCHDOG or RESET_SOFTWARE."""
        return self._reset_cause

    def set_phase(self, phase):
        """Leave a number, 0..255, that survives a reset by watchdog or software."""
        mem32[_WATCHDOG_SCRATCH0] = _PHASE_MARK | phase & 0xFF

    def last_phase(self):
        """Return the number that was left before this start, or -1 after power-on."""
        return self._last_phase

    def unique_id(self):
        """Return the flash chip's serial number as 16 hex digits."""
        return "".join(["%02x" % byte for byte in machine.unique_id()])

    def nonce_seed(self):
        """Return 24 random bits: no host that spoke to an earlier boot can be mistaken for this one's."""
        return int.from_bytes(os.urandom(3), "little")

    def quiet_heap(self):
        """Collect, then keep collections off; return the free bytes. Only with RF off: it takes some 20 ms."""
        gc.collect()
        gc.disable()
        return gc.mem_free()

    def free_heap(self):
        """Let collections run again."""
        gc.enable()

    def service(self):
        """Whether somebody wants the REPL instead of the controller."""
        if not Pin(SERVICE, Pin.IN, Pin.PULL_UP)():
            return True
        return SERVICE_FLAG in os.listdir()


def _read_phase():
    # What is left there need not be a phase and may be a large int: so this runs once, at the start.
    left = mem32[_WATCHDOG_SCRATCH0]
    return left & 0xFF if left & ~0xFF == _PHASE_MARK else -1


def _read_reset_cause():
    # machine.reset_cause() does not tell a time-out from machine.reset().
    return mem32[_WATCHDOG_REASON] & 3


def make_board():
    """The board with the channels that are fitted, which is looked at once: now."""
    Pin(SWITCH, Pin.IN, Pin.PULL_DOWN)  # before a soft reset it may have been high
    position = Pin(SWITCH_POSITION, Pin.IN, Pin.PULL_UP)
    time.sleep_us(_SETTLED_us)
    if position():
        return Board()
    from pair_board import PairBoard

    return PairBoard()
