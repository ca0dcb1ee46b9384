"""A board that does what a test says: every pin, converter and byte of the link is a plain attribute.

The thermocouple chips are bare registers without time or noise; `rfprobe.sim.onboard` has the real behaviour.
"""

from collections.abc import Iterable
from typing import Any

from rfprobe.sim.onboard.calibrated import FACTORY_DAY, copies_of
from rfprobe_core import plan, protocol
from rfprobe_drivers.rig import build_controller

_CJTH = 0x0A
PLACES = plan.THERMOCOUPLES
NONCE = 4711

# What is changed for a run on the scripted board: a guard beside the control, 50 °C, everything else mild.
VALUES = {
    "target_mC": 50_000,
    "max_temperature_mC": 90_000,
    "ramp_mC_per_s": 1_000,
    "hold_ms": 1_000,
    "cooldown_ms": 100,
    "max_power_mW": 10_000,
    "max_rf_on_ms": 60_000,
    "max_energy_mJ": 500_000,
    "thermocouples": 2,
    "tc1_role": plan.ROLE_GUARD,
    "max_duty": 65_535,
    "min_current_uA": 5_000,
    "full_scale_voltage_mV": 80_000,
    "max_voltage_mV": 80_000,
    "max_current_uA": 1_000_000,
    "stage_power_mW": 20_000,
    "kp_mW_per_C": 1_000,
    "ki_mW_per_C_s": 100,
    "today_day": FACTORY_DAY,
}


class ScriptedChip:
    """The registers of a MAX31856. `show` sets what the next read-outs give; each is a new conversion."""

    def __init__(self) -> None:
        self.registers = bytearray(16)
        self.frozen = False
        self.answers: bytes | None = None  # in place of the registers, whatever is asked
        self.show(37.0)

    def show(self, temperature_C: float, junction_C: float = 25.0, faults: int = 0) -> None:
        self.codes(round(temperature_C * 128), round(junction_C * 64), faults)

    def codes(self, code: int, junction: int, faults: int = 0) -> None:
        """19 bits of 1/128 °C, 14 bits of 1/64 °C, and the fault register."""
        self.registers[0x0A:0x0C] = (junction << 2 & 0xFFFF).to_bytes(2, "big")
        self.registers[0x0C:0x0F] = (code << 5 & 0xFFFFFF).to_bytes(3, "big")
        self.registers[0x0F] = faults

    def transfer(self, buffer: bytearray) -> None:
        if self.answers is not None:
            buffer[:] = self.answers[: len(buffer)].ljust(len(buffer), b"\0")
        elif buffer[0] & 0x80:
            start = buffer[0] & 0x0F
            self.registers[start : start + len(buffer) - 1] = buffer[1:]
        else:
            buffer[1:] = self.registers[buffer[0] : buffer[0] + len(buffer) - 1]
            self._convert(buffer[0])

    def _convert(self, address: int) -> None:
        """A new conversion differs in the cold junction's last bit."""
        if address == _CJTH and not self.frozen:
            self.registers[_CJTH + 1] ^= 4


class ScriptedBoard:
    """Set the attributes, let the controller tick, look at the attributes."""

    name = "scripted"
    dead_man = "scripted"
    channels = 1

    def __init__(self) -> None:
        self.now_us = 0
        self.chips = [ScriptedChip() for _ in range(PLACES)]
        self.adc = [0, 0]
        self.load_ohm: float | None = None  # with a load, enable and duty give volts and amperes
        self.interlock_closed = True
        self.footswitch_pressed = True
        self.link_is_ready = True
        self.deadman_deaf = False
        self.dead_man_broken = 0  # what its test before each ARM gives
        self.phase = -1
        self.enable_reads: int | None = None  # in place of what was fed
        self.rx = bytearray()
        self.sent: list[bytes] = []
        self.enabled = False
        self.fed_now = False  # since this was last set to False
        self.duty = 0
        self.watchdog_ms = 0
        self.safe_offs = 0
        self.flash: list[bytes] = copies_of("exact")

    def ticks_us(self) -> int:
        return self.now_us

    def spi_transfer(self, select: int, buffer: bytearray) -> None:
        self.chips[select].transfer(buffer)

    def read_adc(self, channel: int) -> int:
        if self.load_ohm is None:
            return self.adc[channel]
        volts = 80.0 * self.duty / 65_535 if self.enabled else 0.0
        share = volts / 100.0 if channel == 0 else volts / self.load_ohm
        return min(round(share * 65_535), 65_535)

    def set_duty(self, duty: int) -> None:
        self.duty = duty

    def rf_connect(self) -> None:
        self.enabled = False

    def test_dead_man(self) -> int:
        return self.dead_man_broken

    def feed(self) -> bool:
        if self.deadman_deaf:
            self.enabled = False  # its wave has run out
            return False
        self.enabled = self.fed_now = True
        return True

    def enable_low(self) -> None:
        self.enabled = self.fed_now = False

    def read_enable(self) -> int:
        return int(self.enabled) if self.enable_reads is None else self.enable_reads

    def safe_off(self) -> bool:
        self.enable_low()
        self.duty = 0
        self.safe_offs += 1
        return self.read_enable() == 0

    def read_input(self, which: int) -> int:
        return int((self.interlock_closed, self.footswitch_pressed)[which])

    def quiet_heap(self) -> int:
        return 1 << 28

    def free_heap(self) -> None:
        """Collections may run again."""

    def watchdog_start(self, timeout_ms: int) -> None:
        self.watchdog_ms = timeout_ms

    def watchdog_feed(self) -> None:
        """It never bites here."""

    def watchdog_stop(self) -> None:
        self.watchdog_ms = 0

    def link_ready(self) -> bool:
        return self.link_is_ready

    def link_write(self, buffer: bytearray, count: int) -> bool:
        self.sent.append(bytes(buffer[:count]))
        return True

    def link_read(self) -> int:
        return self.rx.pop(0) if self.rx else -1

    def calibration_read(self, copy: int) -> bytes:
        return self.flash[copy]

    def calibration_write(self, copy: int, data: bytes) -> None:
        self.flash[copy] = data

    def nonce_seed(self) -> int:
        return NONCE

    def unique_id(self) -> str:
        return "scripted"

    def reset_cause(self) -> int:
        return 0

    def set_phase(self, phase: int) -> None:
        self.phase = phase

    def last_phase(self) -> int:
        return 0


def table(changes: dict[str, int]) -> Any:
    """The parameters at power-up but for `changes`."""
    values = plan.default_values()
    for name, value in changes.items():
        values[plan.INDEX[name]] = value
    return values


class Bench:
    """A controller on a scripted board, past its self-test; `in_state` takes it further without the wire."""

    def __init__(self, changes: dict[str, int] | None = None, build: Any = build_controller) -> None:
        self.board = ScriptedBoard()
        self.board.load_ohm = 100.0
        self.controller = build(self.board)
        self.controller.sequence.acknowledge()
        for name, value in (VALUES | (changes or {})).items():
            self.controller.set_parameter(plan.INDEX[name], value)

    @property
    def state(self) -> int:
        state: int = self.controller.sequence.state
        return state

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.board.fed_now = False
            self.controller.tick(1, 0)

    def take_lease(self) -> None:
        """As LEASE does, without its line."""
        self.controller.commands.owned = True
        self.controller.commands._lease_tick = self.controller.tick_count

    def in_state(self, state: int) -> "Bench":
        """Configured, with believed readings, and in `state`."""
        controller = self.controller
        assert controller.configure() >= 0
        self.take_lease()
        self.tick(40)
        self.take_lease()
        self.drive_to(state)
        return self

    def drive_to(self, state: int) -> None:
        sequence = self.controller.sequence
        if state in (protocol.ARMED, protocol.RAMP, protocol.HOLD):
            assert self.controller.arm() == protocol.ACK_OK
        if state in (protocol.RAMP, protocol.HOLD):
            assert self.controller.start() == protocol.ACK_OK
        if state == protocol.HOLD:
            sequence.hold()
        if state in _ENDINGS:
            sequence.finish(_ENDINGS[state], 1)
        if state == protocol.DONE:
            sequence.settle()
        assert sequence.state == state

    def say(self, *lines: bytes) -> None:
        """Put lines on the link and let the controller listen to all of them."""
        for line in lines:
            self.board.rx += line
        while self.controller.listen(64):
            continue


_ENDINGS = {
    protocol.COOLDOWN: protocol.RESULT_COMPLETED,
    protocol.DONE: protocol.RESULT_COMPLETED,
    protocol.STOPPED: protocol.RESULT_STOPPED,
    protocol.FAULT: protocol.RESULT_FAULT,
}


def frames(sent: Iterable[bytes]) -> list[Any]:
    """The frames in what was written to the link."""
    from rfprobe.wire import FrameDecoder

    return FrameDecoder().feed(b"".join(sent))
