"""A faked ESP32 for the MicroPython VM: `install` puts its modules in place of machine, esp32, select and time.

It keeps what the board files lean on: the GPIO matrix (a peripheral drives a pin only while it is selected), a pulse
train that ends by itself, a watchdog that can only be given another time-out, memory that outlives a reset. Behind the
pins is the virtual board of the simulation. Nothing that is called in a tick allocates.
"""

import sys

from onboard.board import VirtualBoard

GPIO_OUT = 0x100
RMT_SIGNAL = 87
LEDC_SIGNAL = 71
PUMP_HOLD_us = 8_300
SMALL_INT = 1 << 30

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5


class Chip(VirtualBoard):
    """The virtual board, whose enable and duty come from the matrix and the peripherals instead."""

    def __init__(self, gpio_base, select_offset, enable, drive, interlock, footswitch, readback, miso, cs, adc):
        VirtualBoard.__init__(self, 0, "")
        self.select_base = gpio_base + select_offset
        self.out_clear = gpio_base + 0x0C
        self.enable_set = gpio_base + 0x24
        self.rf_pins = (enable, drive)
        self.enable = enable
        self.drive = drive
        self.input_index = {interlock: 0, footswitch: 1}
        self.readback = readback
        self.cs = cs
        self.adc = adc
        self.select = [GPIO_OUT] * 50
        self.output = [0] * 50
        self.direction = [0] * 50
        self.peeked = -1
        self.burst_begin_us = -1
        self.burst_end_us = -1
        self.pump_until_us = -1
        self.bursts = 0
        self.primed = 0
        self.stuck_high = -1  # a pin whose pad is high whatever is done
        self.stuck_select = -1  # a pin that keeps its peripheral whatever is done
        self.watchdog_us = -1
        self.fed_us = 0
        self.rtc_memory = b""
        self.rtc_room = bytearray(2)  # the chip's own memory: writing takes nothing from the heap
        self.cause = PWRON_RESET
        self.written = 0
        self.unaligned = 0

    # ---- what a test asks

    def toggling(self):
        """Whether edges leave the enable pin now."""
        return self.select[self.enable] == RMT_SIGNAL and self._now_us < self.burst_end_us

    def driven_duty(self):
        return self._duty if self.select[self.drive] == LEDC_SIGNAL else 0

    def watchdog_bites(self):
        return self.watchdog_us >= 0 and self._now_us - self.fed_us > self.watchdog_us

    def pass_time(self, us):
        self._now_us += us

    # ---- the virtual board's side

    def _enabled(self):
        return self._now_us < self.pump_until_us

    def store(self):
        duty = self._duty
        self._duty = self.driven_duty()
        record = VirtualBoard.store(self)
        self._duty = duty
        return record

    def take(self, pin):
        """The pin is a plain output again: what runs on reaches it no more."""
        if pin != self.stuck_select:
            self.select[pin] = GPIO_OUT
            self.cut(pin)

    def cut(self, pin):
        if pin == self.enable and self.pump_until_us > self._now_us + PUMP_HOLD_us:
            self.pump_until_us = self._now_us + PUMP_HOLD_us

    def send_burst(self, us):
        if self._now_us < self.burst_end_us:
            raise RuntimeError("write_pulses would have waited")
        self.bursts += 1
        self.burst_begin_us = self._now_us
        self.burst_end_us = self._now_us + us
        if self.select[self.enable] == RMT_SIGNAL:
            self.pump_until_us = self.burst_end_us + PUMP_HOLD_us

    def level(self, pin):
        if pin == self.stuck_high:
            return 1
        if pin in self.input_index:
            return self.read_input(self.input_index[pin])
        if pin == self.readback:
            return self.read_enable()
        if self.select[pin] == RMT_SIGNAL:
            return 1 if self.toggling() and (self._now_us - self.burst_begin_us) // 100 % 2 == 0 else 0
        if self.select[pin] == LEDC_SIGNAL:
            return 1 if self._duty else 0
        return self.output[pin]


class Module:
    """Holds the names of a faked module."""


class Wired:
    """What is part of the chip that `install` was given."""

    chip = None


class Pin(Wired):
    IN, OUT, PULL_UP, PULL_DOWN = 1, 3, 2, 1

    def __init__(self, number, mode=None, pull=None, value=None):
        self.number = number
        if mode is not None:
            self.init(mode, pull, value=value)

    def init(self, mode, pull=None, value=None):
        if value is not None:
            self.chip.output[self.number] = value
        self.chip.direction[self.number] = mode
        self.chip.take(self.number)

    def __call__(self, value=None):
        if value is None:
            return self.chip.level(self.number)
        self.chip.output[self.number] = 1 if value else 0


class SPI(Wired):
    def __init__(self, number, baudrate, polarity, phase, sck, mosi, miso):
        assert baudrate <= 5_000_000 and (polarity, phase) == (0, 1)

    def write_readinto(self, out, into):
        selected = -1
        for index in range(len(self.chip.cs)):
            if self.chip.output[self.chip.cs[index]] == 0:
                assert selected < 0
                selected = index
        assert selected >= 0 and out is into
        self.chip.spi_transfer(selected, into)


class ADC(Wired):
    ATTN_11DB = 3

    def __init__(self, pin, atten):
        assert atten == ADC.ATTN_11DB
        self.channel = self.chip.adc.index(pin.number)

    def read_uv(self):
        return self.chip.read_adc(self.channel) * 50 if self.channel < 2 else 0


class PWM(Wired):
    def __init__(self, pin, freq, duty_u16):
        assert freq == 20_000 and pin.number == self.chip.drive
        self.chip.select[pin.number] = LEDC_SIGNAL
        self.duty_u16(duty_u16)

    def duty_u16(self, duty):
        assert 0 <= duty <= 65_535
        self.chip.set_duty(duty)


class Memory(Wired):
    def __getitem__(self, address):
        return self.chip.select[(address - self.chip.select_base) // 4]

    def __setitem__(self, address, value):
        if address == self.chip.out_clear:
            for pin in self.chip.rf_pins:
                if value >> pin & 1:
                    self.chip.output[pin] = 0
        elif address == self.chip.enable_set:
            assert value & ~(1 << self.chip.enable | 1 << self.chip.drive) == 0
        else:
            self._select((address - self.chip.select_base) // 4, value)

    def _select(self, pin, value):
        assert pin == self.chip.enable or pin == self.chip.drive
        if value & 0x1FF == GPIO_OUT:
            self.chip.take(pin)
        else:
            self.chip.select[pin] = value


class Watchdog(Wired):
    """Calling it is `WDT(timeout=…)`: one object, as on the self.chip, and started anew each time."""

    def __call__(self, timeout):
        assert 0 < timeout < SMALL_INT
        self.chip.watchdog_us = timeout * 1000
        self.chip.fed_us = self.chip._now_us
        return self

    def feed(self):
        self.chip.fed_us = self.chip._now_us


class RTC(Wired):
    def memory(self, data=None):
        if data is None:
            return self.chip.rtc_memory
        room = self.chip.rtc_room
        assert len(data) == len(room)
        for at in range(len(room)):
            room[at] = data[at]
        self.chip.rtc_memory = room


class RMT(Wired):
    def __init__(self, pin, resolution_hz, idle_level):
        assert idle_level is False and pin.number == self.chip.enable
        self.hz = resolution_hz
        self.chip.primed = 0  # a channel of its own, at rest
        self.chip.burst_end_us = -1
        self.chip.select[pin.number] = RMT_SIGNAL

    def write_pulses(self, durations):
        # an odd count would end high; 48 symbols less the end mark is the smaller self.chip's memory
        assert len(durations) % 2 == 0 and len(durations) // 2 < 48
        total = 0
        for duration in durations:
            assert 0 < duration < 32_768
            total += duration
        if not self.chip.primed:
            self.chip.primed = bytearray(4 * (len(durations) // 2))  # the first call allocates, here as there
        self.chip.send_burst(total * 1_000_000 // self.hz)

    def wait_done(self, timeout=0):
        left_us = self.chip.burst_end_us - self.chip._now_us
        if 0 < left_us <= timeout * 1000:
            self.chip.pass_time(left_us)
        return self.chip._now_us >= self.chip.burst_end_us


class Stream(Wired):
    """stdin or stdout, over the virtual board's link."""

    def readinto(self, buf):
        buf[0] = self.chip.peeked
        self.chip.peeked = -1

    def write(self, buf, count):
        chip = self.chip
        begins_packet = chip.written % 64 == 0
        chip.written += count
        if begins_packet:
            chip.link_write(buf, count)
            return
        for index in range(count):
            assert buf[index] == 0
        if chip.written % 64:
            chip.unaligned += 1


NOTHING = ()
SOMETHING = (1,)
POLLIN, POLLOUT = 1, 4


class Poll(Wired):
    def register(self, stream, flags):
        self.flags = flags

    def ipoll(self, timeout):
        assert timeout == 0
        if self.flags == POLLOUT:
            return SOMETHING if self.chip.link_ready() else NOTHING
        if self.chip.peeked < 0:
            self.chip.peeked = self.chip.link_read()
        return SOMETHING if self.chip.peeked >= 0 else NOTHING


def install(chip):
    """Put the fakes where `import machine` and the others will find them."""
    Wired.chip = chip
    sys.modules["machine"] = make_machine()
    sys.modules["esp32"] = esp32 = Module()
    esp32.RMT = RMT
    sys.modules["select"] = select = Module()
    select.POLLIN, select.POLLOUT, select.poll = POLLIN, POLLOUT, Poll
    sys.modules["time"] = time = Module()
    time.ticks_us = chip.ticks_us
    time.ticks_diff = lambda later, earlier: later - earlier


def make_machine():
    chip = Wired.chip
    machine = Module()
    machine.Pin, machine.SPI, machine.ADC, machine.PWM, machine.RTC = Pin, SPI, ADC, PWM, RTC
    machine.WDT = Watchdog()
    machine.mem32 = Memory()
    machine.reset_cause = lambda: chip.cause
    machine.unique_id = lambda: b"\x24\x6f\x28\x00\x0a\xff"
    machine.PWRON_RESET, machine.HARD_RESET, machine.WDT_RESET = PWRON_RESET, HARD_RESET, WDT_RESET
    machine.DEEPSLEEP_RESET, machine.SOFT_RESET = DEEPSLEEP_RESET, SOFT_RESET
    return machine
