"""The runtime `pico`: the image that is flashed, on an emulated RP2040, with the virtual probe on its pins.

Each exchange runs the chip for one tick of emulated time. What the board record says of pins, converters and bytes is
put on the chip's wires; enable and duty are read from its pads and registers, never from what it says. With two
channels there are two records each way, and the link is the first's.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from rfprobe.sim.emulated_pico import EmulatedPico
from rfprobe.sim.onboard import exchange
from rfprobe.sim.onboard.converters import Converters
from rfprobe.sim.pico_flash import FlashContent

TICK_US = 10_000
CLOCK_MASK = (1 << 30) - 1
FOOTSWITCH_PIN = 8  # boards/rpi_pico/board.py
CHARGE_PUMP_US = 1_000  # the stage is enabled while the enable pin has toggled within this time


@dataclass(frozen=True)
class ChannelPins:
    """Where one channel is at the chip."""

    enable: int
    drive: int
    readback: int
    interlock: int
    cs: tuple[int, int, int, int]


# boards/rpi_pico/board.py and pair_board.py
CHANNELS = (ChannelPins(2, 3, 6, 7, (17, 20, 21, 22)), ChannelPins(4, 5, 11, 12, (13, 14, 15, 0)))
ENABLE_PIN, DRIVE_PIN = CHANNELS[0].enable, CHANNELS[0].drive
SWITCH_PIN = 1
SWITCH_POSITION_PIN = 10
VOLTAGE_ADC = (0, 2)
CURRENT_ADC = 1  # of the channel to which the switch is turned
VOLTAGE, CURRENT = 0, 1


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


class Wires:
    """What one channel's pins meet: its converters, its sense, its RF stage."""

    def __init__(self, pico: EmulatedPico, pins: ChannelPins) -> None:
        self.pins = pins
        self._pico = pico
        self._converters = Converters()
        for place, pin in enumerate(pins.cs):
            pico.attach_spi(pin, SpiChip(self._converters, place))
        self._adc = [0, 0, 0, 0]
        self._adc_turn = [0, 0]
        self.enable_trace = pico.watch(pins.enable)
        self._stimulus = struct.Struct(exchange.STIMULUS)

    def convert(self, quantity: int) -> int:
        """12-bit code of VOLTAGE or CURRENT: the record holds what `read_u16` makes of it."""
        turn = self._adc_turn[quantity]
        self._adc_turn[quantity] = turn ^ 1
        return self._adc[2 * turn + quantity] >> 4

    def take(self, stimulus: bytes) -> tuple[int, bytes]:
        """Put a record's world on the wires; its inputs and the bytes from the host are the caller's."""
        fields = self._stimulus.unpack_from(stimulus)
        self._adc[:] = fields[1:5]
        inputs, count = fields[5], fields[6]
        self._set_inputs(inputs)
        now_us = int(self._pico.time_us) & CLOCK_MASK
        self._converters.written()  # for all that is known here: bytes come one by one
        self._converters.pass_time(now_us, stimulus[exchange.ANALOGUE_AT : exchange.STIMULUS_HEAD])
        return inputs, stimulus[exchange.STIMULUS_HEAD : exchange.STIMULUS_HEAD + count]

    def _set_inputs(self, inputs: int) -> None:
        self._pico.set_input(self.pins.interlock, inputs & exchange.INTERLOCK_CLOSED)
        readback = self.enabled()
        if inputs & exchange.ENABLE_READS_HIGH:
            readback = True
        elif inputs & exchange.ENABLE_READS_LOW:
            readback = False
        self._pico.set_input(self.pins.readback, int(readback))

    def enabled(self) -> bool:
        """Whether the charge pump behind the enable pin holds the stage on: only a toggling pin does."""
        trace = self.enable_trace
        return len(trace) > 1 and self._pico.time_us - trace[-1].time_us < CHARGE_PUMP_US

    def response(self, tx: bytes) -> bytes:
        """The record of what the pins do, and of the bytes to the host."""
        duty = self._pico.pwm(self.pins.drive).duty_u16
        head = struct.pack(exchange.RESPONSE, int(self.enabled()), 0, duty, len(tx))
        return (head + tx).ljust(exchange.RESPONSE_SIZE, b"\0")


class PicoRuntime:
    """An emulated Pico with `image` in its flash, powered on with the first exchange; `kept` is its file system."""

    name = "pico"

    def __init__(self, image: Path, kept: FlashContent | None = None, channels: int = 1) -> None:
        self.pico = EmulatedPico()
        self.wires = tuple(Wires(self.pico, pins) for pins in CHANNELS[:channels])
        self.enable_trace = self.wires[0].enable_trace
        self._unsent = b""
        self._attach_sense()
        if kept is not None:
            self.pico.write_flash(kept.offset_bytes, kept.data)
        self.pico.boot(image)

    def _attach_sense(self) -> None:
        pico, wires = self.pico, self.wires
        for each, adc in zip(wires, VOLTAGE_ADC, strict=False):
            pico.set_adc(adc, lambda each=each: each.convert(VOLTAGE))
        if len(wires) == 1:
            pico.set_adc(CURRENT_ADC, lambda: wires[0].convert(CURRENT))
            return
        pico.set_adc(CURRENT_ADC, lambda: wires[pico.pin_state(SWITCH_PIN).level].convert(CURRENT))
        self.cut_position = pico.wire(SWITCH_POSITION_PIN, SWITCH_PIN)

    def exchange(self, stimulus: bytes) -> bytes:
        """One tick of emulated time: a record of each channel in, one of each out."""
        pico = self.pico
        inputs, rx = self.wires[0].take(stimulus)
        for number, each in enumerate(self.wires[1:], 1):
            each.take(stimulus[number * exchange.STIMULUS_SIZE :])
        pico.set_input(FOOTSWITCH_PIN, inputs & exchange.FOOTSWITCH_PRESSED)
        pico.reading = bool(inputs & exchange.LINK_READY)
        if rx:
            pico.write(rx)
        pico.run_us(TICK_US)
        return self._response()

    def _response(self) -> bytes:
        self._unsent += self.pico.read()
        tx = self._unsent[: exchange.TX_MAX]
        self._unsent = self._unsent[exchange.TX_MAX :]
        first, *others = self.wires
        response = first.response(tx) + b"".join(each.response(b"") for each in others)
        self._forget_edges()
        return response

    def _forget_edges(self) -> None:
        """Only the last edge matters; there are ten thousand in a second."""
        for each in self.wires:
            del each.enable_trace[:-2]

    def close(self) -> None:
        """Nothing to end."""
