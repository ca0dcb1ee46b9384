"""What the ESP32 boards share: the seams of `boards/rpi_pico/board.py`, with an ESP32 behind them.

Nothing here has run on hardware: it is compiled, type-checked and run against a faked chip (tests/boards). It needs
MicroPython 1.29 or newer (`esp32.RMT` on the newer driver of ESP-IDF). boards/esp32/notes.md says what the chip does
otherwise than the RP2040, and why there is no independent dead-man to claim.
"""

import gc
import os
import select
import sys
import time

import esp32
import machine
import micropython
from calibration_files import CalibrationFiles
from machine import ADC, PWM, RTC, SPI, WDT, Pin, mem32
from micropython import const

SPI_Hz = const(5_000_000)  # the MAX31856's limit
SERVICE_FLAG = "service"  # a file of this name on the board leaves it to the REPL

DRIVE_Hz = const(20_000)

RESET_POWER = const(0)
RESET_WATCHDOG = const(1)
RESET_SOFTWARE = const(2)

# One feed is one burst. It fits into the channel's own memory with its end mark (48 symbols on the ESP32-S3, 64 on the
# ESP32): a longer one is refilled by interrupts, and would go round for ever with the interrupts off.
_RMT_Hz = const(1_000_000)
_HALF_PERIOD = const(100)
_PERIODS_PER_FEED = const(24)
DEADMAN_HOLD_us = _PERIODS_PER_FEED * 2 * _HALF_PERIOD * 1_000_000 // _RMT_Hz  # 4800
DEADMAN_TOGGLE_Hz = _RMT_Hz // (2 * _HALF_PERIOD)  # 5000
_BURST = (_HALF_PERIOD,) * (2 * _PERIODS_PER_FEED)
_BURST_OVER_ms = const(10)

# GPIO registers, the same on both chips but for where the output selection begins.
_OUT_CLEAR = const(0x0C)
_ENABLE_SET = const(0x24)
_SELECT_MASK = const(0x1FF)
_SELECT_GPIO = const(0x100)  # no peripheral: the pin's own output register

_UV_PER_COUNT = const(50)
_COUNT_MAX = const(65_535)

_PACKET_bytes = const(64)
_PACKET_MASK = const(63)
_LONGEST_bytes = const(256)
_UART_us_per_byte = const(87)  # ten bits at 115 200 Bd: stdout goes to the UART on either board

# The longest time-out that is a small integer, 12.4 days. The API cannot stop the watchdog, only give it this.
_WATCHDOG_IDLE_ms = const((1 << 30) - 1)

_PHASE_MARK = const(0x2B)  # says that the byte after it, in the RTC's memory, is a phase


class Esp32Board(CalibrationFiles):
    """An ESP32 or ESP32-S3 with its pins handed in. Making one takes the hardware anew and leaves RF off."""

    # The burst below stops by itself, but nobody has shown that on a chip: it is not claimed.
    dead_man = "none"
    channels = 1

    def __init__(
        self, gpio_base, select_offset, enable, drive, spi_id, sck, mosi, miso, cs, adc, readback, inputs, led, service
    ):
        """Claim the hardware, RF off. `cs`, `adc` (all of ADC1) and `inputs` are tuples of GPIO numbers below 32."""
        self._out_clear = gpio_base + _OUT_CLEAR
        self._enable_set = gpio_base + _ENABLE_SET
        self._enable_select = gpio_base + select_offset + 4 * enable
        self._drive_select = gpio_base + select_offset + 4 * drive
        self._enable_bit = 1 << enable
        self._rf_bits = 1 << enable | 1 << drive
        self._enable_pin = Pin(enable, Pin.OUT, value=0)
        self._drive_pin = Pin(drive, Pin.OUT, value=0)
        self._rtc = RTC()
        self._phase = bytearray((_PHASE_MARK, 0))
        self._last_phase = _read_phase(self._rtc)
        self._reset_cause = _read_reset_cause()
        self.interrupted = False
        self._feeding = False
        self._wdt = None
        if machine.reset_cause() == machine.SOFT_RESET:
            self._wdt = WDT(timeout=_WATCHDOG_IDLE_ms)  # it may still run, at what it was last set to
        self._spi = SPI(
            spi_id,
            baudrate=SPI_Hz,
            polarity=0,
            phase=1,
            sck=Pin(sck),
            mosi=Pin(mosi),
            miso=Pin(miso, Pin.IN, Pin.PULL_DOWN),  # no chip there reads as zeros, which no converter sends
        )
        self._cs = [Pin(number, Pin.OUT, value=1) for number in cs]
        self._adc = [ADC(Pin(number), atten=ADC.ATTN_11DB) for number in adc]
        self._inputs = [Pin(number, Pin.IN, Pin.PULL_DOWN) for number in inputs]
        self._readback = Pin(readback, Pin.IN, Pin.PULL_DOWN)
        self._led = Pin(led, Pin.OUT, value=0)
        self._service = service
        self._claim_rf(enable, drive)
        self._stdin = sys.stdin.buffer
        self._stdout = sys.stdout.buffer
        self._arrived = select.poll()
        self._arrived.register(sys.stdin, select.POLLIN)
        self._room = select.poll()
        self._room.register(sys.stdout, select.POLLOUT)
        self._byte = bytearray(1)
        self._padding = bytearray(_PACKET_bytes)
        self._sent_us = 0
        self._sending_us = 0
        self.ticks_us = time.ticks_us

    def _claim_rf(self, enable, drive):
        """Make the pulse trains, note which signals they chose for their pins, and take the pins back."""
        self._drive = PWM(Pin(drive), freq=DRIVE_Hz, duty_u16=0)
        self._pulses = esp32.RMT(pin=Pin(enable), resolution_hz=_RMT_Hz, idle_level=False)
        self._enable_signal = mem32[self._enable_select]
        self._drive_signal = mem32[self._drive_select]
        self._rf_pins_low()
        self._pulses.write_pulses(_BURST)  # into nowhere: the first burst allocates its memory

    # Converters and inputs

    def spi_transfer(self, cs_index, buf):
        """Exchange `buf` in place, full duplex, SPI mode 1, with the chip at chip select 0..3."""
        cs = self._cs[cs_index]
        cs(0)
        self._spi.write_readinto(buf, buf)
        cs(1)

    def read_adc(self, channel):
        """Return channel 0 (RF voltage), 1 (RF current) or 2 (spare) in 0..65535, of 50 µV each at the pin.

        From `read_uv`, which applies the chip's own calibration: `read_u16` is bent, and shifted from chip to chip.
        Below 0.15 V and above 2.45 V neither is to be believed.
        """
        counts = self._adc[channel].read_uv() // _UV_PER_COUNT
        return counts if counts < _COUNT_MAX else _COUNT_MAX

    def read_input(self, index):
        """Return 1 if the interlock (0) is closed or the foot-switch (1) pressed, else 0."""
        return self._inputs[index]()

    def read_enable(self):
        """Return 1 if the RF stage is enabled, as read back behind the charge pump, else 0."""
        return self._readback()

    def set_led(self, on):
        """Light the board's LED or not."""
        self._led(on)

    # RF

    def rf_connect(self):
        """Give the RF pins to the pulse trains, both at rest: no RF until `feed` and `set_duty`."""
        self._drive.duty_u16(0)
        if not self._pulses.wait_done(timeout=_BURST_OVER_ms):
            return  # a burst without end is no dead-man: every feed is refused
        mem32[self._enable_select] = self._enable_signal
        mem32[self._drive_select] = self._drive_signal
        self._feeding = True

    def test_dead_man(self):
        """Return 0: where none is claimed there is none to be tested."""
        return 0

    def feed(self):
        """Toggle the enable output for DEADMAN_HOLD_us. False is a fault: the burst was not taken.

        While a burst is under way it is refused, since `write_pulses` would wait. `RMT.active(False)` would end the
        burst before its time, but then MicroPython 1.29 counts it as under way for ever.
        """
        if not self._feeding or not self._pulses.wait_done():
            return False
        self._pulses.write_pulses(_BURST)
        return True

    def set_duty(self, duty_u16):
        """Set the RF stage's drive, 0..65535."""
        self._drive.duty_u16(duty_u16)

    def enable_low(self):
        """Take the enable pin from the pulse train and hold it low. `rf_connect` gives it back."""
        mem32[self._out_clear] = self._enable_bit
        mem32[self._enable_set] = self._enable_bit
        mem32[self._enable_select] = _SELECT_GPIO
        self._feeding = False

    def safe_off(self):
        """RF off: enable first, then drive. Return True if both pins were then seen low. For every way out.

        Ctrl-C is held off meanwhile; one that was already on its way is swallowed and sets `interrupted`.
        """
        self._rf_pins_low()
        micropython.kbd_intr(-1)
        try:
            verified = self._finish_off()
        except KeyboardInterrupt:  # it was pending; with kbd_intr(-1) there can be no second one
            self.interrupted = True
            verified = self._finish_off()
        micropython.kbd_intr(3)
        return verified

    def _rf_pins_low(self):
        """Both RF pins low, whatever drove them: straight line, no jump at which Ctrl-C could break in."""
        mem32[self._out_clear] = self._rf_bits
        mem32[self._enable_set] = self._rf_bits
        mem32[self._enable_select] = _SELECT_GPIO
        mem32[self._drive_select] = _SELECT_GPIO

    def _finish_off(self):
        self._feeding = False
        self._drive.duty_u16(0)
        # PWM runs on through a soft reset: the pins are made plain outputs by the API as well
        self._enable_pin.init(Pin.OUT, value=0)
        self._drive_pin.init(Pin.OUT, value=0)
        self._rf_pins_low()
        return self._rf_pins_are_low()

    def _rf_pins_are_low(self):
        """Whether no peripheral has the RF pins, and their pads are seen low."""
        return (
            mem32[self._enable_select] & _SELECT_MASK == _SELECT_GPIO
            and mem32[self._drive_select] & _SELECT_MASK == _SELECT_GPIO
            and self._enable_pin() == 0
            and self._drive_pin() == 0
        )

    # The link

    def link_ready(self):
        """Whether the UART must have sent what it was given, and the USB port, where there is one, has room."""
        if self._sending_us:
            if time.ticks_diff(time.ticks_us(), self._sent_us) < self._sending_us:
                return False
            self._sending_us = 0
        for _ in self._room.ipoll(0):
            return True
        return False

    def link_write(self, buf, n):
        """Write the first `n` (1..256) bytes of `buf`, True, or nothing, False. Asks `link_ready` first.

        Zeros, which are empty frames, fill it up to whole packets of 64 bytes: no flag tells how much room there is,
        and a buffer that is filled by whole packets has none or enough for one.
        """
        if n > _LONGEST_bytes or not self.link_ready():
            return False
        padding = -n & _PACKET_MASK
        self._stdout.write(buf, n)
        if padding:
            self._stdout.write(self._padding, padding)
        self._sent_us = time.ticks_us()
        self._sending_us = (n + padding) * _UART_us_per_byte
        return True

    def link_read(self):
        """Return the next byte from the host, or -1 if there is none. Never blocks."""
        for _ in self._arrived.ipoll(0):
            self._stdin.readinto(self._byte)
            return self._byte[0]
        return -1

    # Watchdog and identity

    def watchdog_start(self, timeout_ms):
        """Reset the chip unless fed within this time, from now on. It is an interrupt: not while those are off."""
        self._wdt = WDT(timeout=timeout_ms)

    def watchdog_feed(self):
        """Put the watchdog's reset off; nothing before the first `watchdog_start`."""
        if self._wdt:
            self._wdt.feed()

    def watchdog_stop(self):
        """Give the watchdog 12.4 days: only once RF is verified off. Neither the API nor a register stops it."""
        if self._wdt:
            self._wdt = WDT(timeout=_WATCHDOG_IDLE_ms)

    def reset_cause(self):
        """Return why the chip started: RESET_POWER, RESET_WATCHDOG or RESET_SOFTWARE (a panic too)."""
        return self._reset_cause

    def set_phase(self, phase):
        """Leave a number, 0..255, that survives a reset by watchdog or software."""
        self._phase[1] = phase & 0xFF
        self._rtc.memory(self._phase)

    def last_phase(self):
        """Return the number that was left before this start, or -1 after power-on."""
        return self._last_phase

    def unique_id(self):
        """Return the factory's MAC address as 12 hex digits."""
        return "".join(["%02x" % byte for byte in machine.unique_id()])

    def nonce_seed(self):
        """Return 24 random bits: no host that spoke to an earlier boot can be mistaken for this one's."""
        return int.from_bytes(os.urandom(3), "little")

    def quiet_heap(self):
        """Collect, then keep collections off; return the free bytes. Only with RF off."""
        gc.collect()
        gc.disable()
        return gc.mem_free()

    def free_heap(self):
        """Let collections run again."""
        gc.enable()

    def service(self):
        """Whether somebody wants the REPL instead of the controller."""
        if not Pin(self._service, Pin.IN, Pin.PULL_UP)():
            return True
        return SERVICE_FLAG in os.listdir()


def _read_phase(rtc):
    left = rtc.memory()
    return left[1] if len(left) == 2 and left[0] == _PHASE_MARK else -1


def _read_reset_cause():
    # What ended a board is told, not how it was begun anew: machine.reset() counts as HARD_RESET here.
    cause = machine.reset_cause()
    if cause == machine.WDT_RESET:
        return RESET_WATCHDOG
    if cause == machine.SOFT_RESET or cause == machine.HARD_RESET:
        return RESET_SOFTWARE
    return RESET_POWER
