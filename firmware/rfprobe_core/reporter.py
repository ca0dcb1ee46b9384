"""What the device says: frames, whole or dropped and counted, never waited for."""

import struct

from rfprobe_core import protocol
from rfprobe_core.counting import add_up
from rfprobe_core.kernels import cobs_encode, crc16
from rfprobe_core.safety import HIGHEST
from rfprobe_core.protocol import CRC_SIZE, CRC_START, HEADER, HEADER_SIZE, SCHEMA, U32_MAX

SLOTS = 16
SLOT_SIZE = 64  # one USB packet: a small frame with its CRC and framing fits
RESERVED = 6  # the last slots are for acks and events: telemetry gives way to them

_TELEMETRY = protocol.FRAMES[protocol.TELEMETRY][1]
_DOSE = protocol.FRAMES[protocol.DOSE][1]
_HEALTH = protocol.FRAMES[protocol.HEALTH][1]
_EVENT = protocol.FRAMES[protocol.EVENT][1]
_ACK = protocol.FRAMES[protocol.ACK][1]


class Reporter:
    """A ring of encoded frames; `pump` hands at most one to the link in each tick."""

    def __init__(self):
        self.frames_sent = 0
        self.frames_dropped = 0
        self.clamped = False  # a field did not fit since the last telemetry frame
        self._payload = bytearray(HEADER_SIZE + protocol.MAX_BODY + CRC_SIZE)
        self._ring = tuple([bytearray(SLOT_SIZE) for _ in range(SLOTS)])
        self._lengths = bytearray(SLOTS)
        self._first = 0
        self._waiting = 0
        self._sequence = 0
        self._hello = bytearray(protocol.MAX_FRAME)
        self._hello_length = 0

    def clip(self, value, highest):
        """0 … highest; says so in the next telemetry frame if the value did not fit."""
        if 0 <= value <= highest:
            return value
        self.clamped = True
        return 0 if value < 0 else highest

    def _header(self, kind, state, tick):
        struct.pack_into(HEADER, self._payload, 0, kind, SCHEMA, 0, state, self._sequence, tick & U32_MAX)
        self._sequence = (self._sequence + 1) & 0xFFFF

    def _room(self, reserve):
        if self._waiting + reserve < SLOTS:
            return True
        # the sequence number is spent, so that the gap is seen
        self.frames_dropped = add_up(self.frames_dropped, 1)
        return False

    def _seal(self, size, target):
        """Close the payload of `size` body bytes with its CRC and encode it; returns the encoded length."""
        end = HEADER_SIZE + size
        crc = crc16(self._payload, end, CRC_START)
        self._payload[end] = crc & 0xFF
        self._payload[end + 1] = crc >> 8
        return cobs_encode(self._payload, end + CRC_SIZE, target)

    def _queue(self, size):
        slot = (self._first + self._waiting) % SLOTS
        self._lengths[slot] = self._seal(size, self._ring[slot])
        self._waiting += 1

    def telemetry(self, c):
        """One TELEMETRY frame of the controller `c`."""
        sequence = c.sequence
        power = c.power
        tcs = c.thermocouples
        flags = c.flags()
        self._header(protocol.TELEMETRY, sequence.state, c.tick_count)
        voltage_cV = self.clip(power.voltage_mV // 10, 0xFFFF)
        current_dmA = self.clip(power.current_uA // 100, 0xFFFF)
        measured_mW = self.clip(power.power_mW, 0xFFFF)
        demand_mW = self.clip(c.demand_mW, 0xFFFF)
        impedance = power.impedance_mohm // 100
        if not power.impedance_known or impedance > 0xFFFF:
            impedance = 0xFFFF
        if self.clamped:
            flags |= protocol.FLAG_FIELD_CLAMPED
            self.clamped = False
        struct.pack_into(
            _TELEMETRY,
            self._payload,
            HEADER_SIZE,
            flags,
            sequence.cause,
            sequence.result,
            tcs[0].temperature_mC,
            tcs[1].temperature_mC,
            tcs[2].temperature_mC,
            tcs[3].temperature_mC,
            min(tcs[0].age_ticks(c.tick_count), 255),
            min(tcs[1].age_ticks(c.tick_count), 255),
            min(tcs[2].age_ticks(c.tick_count), 255),
            min(tcs[3].age_ticks(c.tick_count), 255),
            c.setpoint_mC(),
            demand_mW,
            measured_mW,
            voltage_cV,
            current_dmA,
            impedance,
            c.stage.duty,
            power.energy_mJ,
            self.clip(sequence.left_ticks, U32_MAX),
        )
        if self._room(RESERVED):
            self._queue(48)

    def dose(self, c):
        tcs = c.thermocouples
        self._header(protocol.DOSE, c.sequence.state, c.tick_count)
        struct.pack_into(
            _DOSE,
            self._payload,
            HEADER_SIZE,
            tcs[0].dose.total_ms,
            tcs[1].dose.total_ms,
            tcs[2].dose.total_ms,
            tcs[3].dose.total_ms,
            tcs[0].peak_mC,
            tcs[1].peak_mC,
            tcs[2].peak_mC,
            tcs[3].peak_mC,
            self.clip(c.sequence.rf_on_ticks * protocol.TICK_MS, U32_MAX),
        )
        if self._room(RESERVED):
            self._queue(36)

    def health(self, c):
        meter = c.meter
        self._header(protocol.HEALTH, c.sequence.state, c.tick_count)
        struct.pack_into(
            _HEALTH,
            self._payload,
            HEADER_SIZE,
            meter.cost_us_mean(),
            meter.cost_us_max,
            meter.late_us_max,
            protocol.NOT_MEASURED if c.heap_free_bytes == HIGHEST else c.heap_free_bytes,
            self.frames_sent,
            self.frames_dropped,
            meter.ticks_missed,
            min(c.commands.lines_refused, 0xFFFF),
            min(c.commands.lease_left_ms(c.tick_count), 0xFFFF),
            min(c.faults, 0xFFFF),
        )
        if self._room(RESERVED):
            self._queue(32)

    def event(self, state, tick, code, cause, row, value, limit, first_tick):
        self._header(protocol.EVENT, state, tick)
        struct.pack_into(
            _EVENT, self._payload, HEADER_SIZE, code, cause, row, value, limit, first_tick & U32_MAX
        )
        if self._room(0):
            self._queue(16)

    def ack(self, state, tick, command_id, verb, code, key, value, value2):
        self._header(protocol.ACK, state, tick)
        struct.pack_into(_ACK, self._payload, HEADER_SIZE, command_id, verb, code, key, value, value2)
        if self._room(0):
            self._queue(16)

    def idle(self):
        """Whether no frame waits for the link."""
        return self._waiting == 0 and self._hello_length == 0

    def hello(self, state, tick, text):
        """The next frame to be sent. Allocates: only at rest, and only when `idle`, so that it keeps its turn."""
        self._header(protocol.HELLO, state, tick)
        size = len(text)
        self._payload[HEADER_SIZE : HEADER_SIZE + size] = text
        self._hello_length = self._seal(size, self._hello)

    def pump(self, link):
        """Hand one frame to the link if it can take it whole without waiting."""
        if self._waiting == 0 and self._hello_length == 0:
            return
        if not link.link_ready():
            return
        if self._hello_length:
            link.link_write(self._hello, self._hello_length)
            self._hello_length = 0
        else:
            slot = self._first
            link.link_write(self._ring[slot], self._lengths[slot])
            self._first = slot + 1 if slot + 1 < SLOTS else 0
            self._waiting -= 1
        self.frames_sent = add_up(self.frames_sent, 1)
