"""The runtime `pico`: the image that is flashed, on an emulated RP2040, with the virtual probe on its pins.

Each exchange runs the chip for one tick of emulated time. What the board record says of pins, converters and bytes is
put on the chip's wires; enable and duty are read from its pads and registers, never from what it says.
"""

import struct
from pathlib import Path

from rfprobe.sim.emulated_pico import EmulatedPico
from rfprobe.sim.onboard import exchange
from rfprobe.sim.onboard.converters import Converters
from rfprobe.sim.pico_flash import FlashContent

TICK_US = 10_000
CLOCK_MASK = (1 << 30) - 1

# boards/rpi_pico/board.py
ENABLE_PIN = 2
DRIVE_PIN = 3
READBACK_PIN = 6
INTERLOCK_PIN = 7
FOOTSWITCH_PIN = 8
CS_PINS = (17, 20, 21, 22)

CHARGE_PUMP_US = 1_000  # the stage is enabled while the enable pin has toggled within this time


class SpiChip:
    """The register-level chip at one place, on the emulated SPI wires."""

    def __init__(self, converters: Converters, place: int) -> None:
        self._converters = converters
        self._place = place

    def select(self) -> None:
        self._converters.chips[self._place].select()

    def transfer(self, byte: int) -> int:
        answer: int = self._converters.chips[self._place].exchange_byte(byte)
        return answer

    def deselect(self) -> None:
        """The chip has no use for it: a new frame begins with `select`."""


class PicoRuntime:
    """An emulated Pico with `image` in its flash, powered on with the first exchange; `kept` is its file system."""

    name = "pico"

    def __init__(self, image: Path, kept: FlashContent | None = None) -> None:
        self.pico = EmulatedPico()
        self._converters = Converters()
        for place, pin in enumerate(CS_PINS):
            self.pico.attach_spi(pin, SpiChip(self._converters, place))
        self._adc = [0, 0, 0, 0]
        self._adc_turn = [0, 0]
        self.pico.set_adc(0, lambda: self._convert(0))
        self.pico.set_adc(1, lambda: self._convert(1))
        self.enable_trace = self.pico.watch(ENABLE_PIN)
        self._stimulus = struct.Struct(exchange.STIMULUS)
        self._unsent = b""
        if kept is not None:
            self.pico.write_flash(kept.offset_bytes, kept.data)
        self.pico.boot(image)

    def _convert(self, channel: int) -> int:
        """12-bit code: the record holds what `read_u16` makes of it."""
        turn = self._adc_turn[channel]
        self._adc_turn[channel] = turn ^ 1
        return self._adc[2 * turn + channel] >> 4

    def exchange(self, stimulus: bytes) -> bytes:
        """One tick of emulated time."""
        fields = self._stimulus.unpack_from(stimulus)
        self._adc[:] = fields[1:5]
        inputs, count = fields[5], fields[6]
        self._set_inputs(inputs)
        now_us = int(self.pico.time_us) & CLOCK_MASK
        self._converters.written()  # for all that is known here: bytes come one by one
        self._converters.pass_time(now_us, stimulus[exchange.ANALOGUE_AT : exchange.STIMULUS_HEAD])
        if count:
            self.pico.write(stimulus[exchange.STIMULUS_HEAD : exchange.STIMULUS_HEAD + count])
        self.pico.run_us(TICK_US)
        return self._response()

    def _set_inputs(self, inputs: int) -> None:
        pico = self.pico
        pico.set_input(INTERLOCK_PIN, inputs & exchange.INTERLOCK_CLOSED)
        pico.set_input(FOOTSWITCH_PIN, inputs & exchange.FOOTSWITCH_PRESSED)
        pico.reading = bool(inputs & exchange.LINK_READY)
        readback = self.enabled()
        if inputs & exchange.ENABLE_READS_HIGH:
            readback = True
        elif inputs & exchange.ENABLE_READS_LOW:
            readback = False
        pico.set_input(READBACK_PIN, int(readback))

    def enabled(self) -> bool:
        """Whether the charge pump behind the enable pin holds the stage on: only a toggling pin does."""
        trace = self.enable_trace
        return len(trace) > 1 and self.pico.time_us - trace[-1].time_us < CHARGE_PUMP_US

    def _response(self) -> bytes:
        self._unsent += self.pico.read()
        tx = self._unsent[: exchange.TX_MAX]
        self._unsent = self._unsent[exchange.TX_MAX :]
        duty = self.pico.pwm(DRIVE_PIN).duty_u16
        enabled = self.enabled()
        self._forget_edges()
        head = struct.pack(exchange.RESPONSE, int(enabled), 0, duty, len(tx))
        return (head + tx).ljust(exchange.RESPONSE_SIZE, b"\0")

    def _forget_edges(self) -> None:
        """Only the last edge matters; there are ten thousand in a second."""
        del self.enable_trace[:-2]

    def close(self) -> None:
        """Nothing to end."""
