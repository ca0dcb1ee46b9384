"""What the device says: frames, whole or dropped and counted, never waited for.

A frame is packed in the tick that it tells of, and sealed (CRC, COBS) and sent by a later one: each is dear.
"""

import struct

from rfprobe_core import protocol
from rfprobe_core.constant import const
from rfprobe_core.counting import add_up
from rfprobe_core.kernels import cobs_encode, crc16
from rfprobe_core.protocol import CRC_SIZE, HEADER, HEADER_SIZE, U32_MAX
from rfprobe_core.safety import HIGHEST

SLOTS = 16
_SLOTS = const(16)
SLOT_SIZE = 64  # one USB packet: a small frame with its CRC and framing fits
RESERVED = 6
_BEHIND = const(4)
_RESERVED = const(6)  # the last slots are for acks and events: telemetry gives way to them

_HEADER = HEADER
_HEADER_SIZE = const(10)
_CRC_SIZE = const(2)
_CRC_START = const(0xFFFF)
_SCHEMA = const(1)
_U32_MAX = const((1 << 30) - 1)
_TELEMETRY_TYPE = const(1)
_VOLTAGE_mV = const(0)
_CURRENT_uA = const(1)
_POWER_mW = const(2)
_IMPEDANCE_mohm = const(3)
_IMPEDANCE_KNOWN = const(4)
_ENERGY_mJ = const(6)
_TELEMETRY = protocol.FRAMES[protocol.TELEMETRY][1]
_DOSE = protocol.FRAMES[protocol.DOSE][1]
_HEALTH = protocol.FRAMES[protocol.HEALTH][1]
_EVENT = protocol.FRAMES[protocol.EVENT][1]
_ACK = protocol.FRAMES[protocol.ACK][1]
_RECORDS_BYTES = protocol.RECORDS_PER_FRAME * protocol.RECORD_SIZE
_BOX_FRAME = "%s%ds" % (protocol.FRAMES[protocol.BLACKBOX][1], _RECORDS_BYTES)


class Reporter:
    """A ring of encoded frames; `pump` hands at most one to the link in each tick."""

    def __init__(self):
        self.frames_sent = 0
        self.frames_dropped = 0
        self.clamped = False  # a field did not fit since the last telemetry frame
        self._ring = tuple([bytearray(SLOT_SIZE) for _ in range(SLOTS)])  # payloads, not sealed yet
        self._payload = self._ring[0]  # what is being packed
        self._no_room = bytearray(SLOT_SIZE)
        self._sealed = bytearray(protocol.MAX_FRAME)
        self._lengths = bytearray(SLOTS)
        self._first = 0
        self._waiting = 0
        self._moving = True
        self._hushed = False
        self._sequence = 0
        self._hello = bytearray(HEADER_SIZE + protocol.MAX_BODY + CRC_SIZE)
        self._hello_length = 0

    def clip(self, value, highest):
        """0 … highest; says so in the next telemetry frame if the value did not fit."""
        if 0 <= value <= highest:
            return value
        self.clamped = True
        return 0 if value < 0 else highest

    def _header(self, kind, state, tick):
        """Begin a frame in the next slot, or where nothing comes of it."""
        waiting = self._waiting
        payload = self._ring[(self._first + waiting) % _SLOTS] if waiting < _SLOTS else self._no_room
        self._payload = payload
        sequence = self._sequence
        struct.pack_into(_HEADER, payload, 0, kind, _SCHEMA, 0, state, sequence, tick & _U32_MAX)
        self._sequence = (sequence + 1) & 0xFFFF
        return payload

    def _queue(self, size, reserve):
        """The frame of `size` body bytes is packed: it waits for the link, or is dropped to keep `reserve` slots."""
        waiting = self._waiting
        if waiting + reserve < _SLOTS:
            self._lengths[(self._first + waiting) % _SLOTS] = size
            self._waiting = waiting + 1
        else:
            # the sequence number is spent, so that the gap is seen
            self.frames_dropped = add_up(self.frames_dropped, 1)

    def _seal(self, payload, size):
        """Close a payload of `size` body bytes with its CRC and encode it; returns the encoded length."""
        end = _HEADER_SIZE + size
        crc = crc16(payload, end, _CRC_START)
        payload[end] = crc & 0xFF
        payload[end + 1] = crc >> 8
        return cobs_encode(payload, end + _CRC_SIZE, self._sealed)

    def telemetry(self, c):
        """One TELEMETRY frame of the controller `c`."""
        sequence = c.sequence
        power = c.power.state
        tick = c.tick_count
        tc0, tc1, tc2, tc3 = c.thermocouples
        flags = c.flags()
        payload = self._header(_TELEMETRY_TYPE, sequence.state, tick)
        voltage_cV = power[_VOLTAGE_mV] // 10
        if not 0 <= voltage_cV <= 0xFFFF:
            voltage_cV = self.clip(voltage_cV, 0xFFFF)
        current_dmA = power[_CURRENT_uA] // 100
        if not 0 <= current_dmA <= 0xFFFF:
            current_dmA = self.clip(current_dmA, 0xFFFF)
        measured_mW = power[_POWER_mW]
        if not 0 <= measured_mW <= 0xFFFF:
            measured_mW = self.clip(measured_mW, 0xFFFF)
        demand_mW = c.demand_mW
        impedance = power[_IMPEDANCE_mohm] // 100
        if not power[_IMPEDANCE_KNOWN] or impedance > 0xFFFF:
            impedance = 0xFFFF
        if self.clamped:
            flags |= protocol.FLAG_FIELD_CLAMPED
            self.clamped = False
        struct.pack_into(
            _TELEMETRY,
            payload,
            _HEADER_SIZE,
            flags,
            sequence.cause,
            sequence.result,
            tc0.temperature_mC,
            tc1.temperature_mC,
            tc2.temperature_mC,
            tc3.temperature_mC,
            tc0.age_byte(tick),
            tc1.age_byte(tick),
            tc2.age_byte(tick),
            tc3.age_byte(tick),
            c.setpoint_mC(),
            demand_mW,
            measured_mW,
            voltage_cV,
            current_dmA,
            impedance,
            c.stage.duty,
            power[_ENERGY_mJ],
            sequence.left_ticks,
        )
        self._queue(48, _RESERVED)

    def dose(self, c):
        tc0, tc1, tc2, tc3 = c.thermocouples
        payload = self._header(protocol.DOSE, c.sequence.state, c.tick_count)
        struct.pack_into(
            _DOSE,
            payload,
            _HEADER_SIZE,
            tc0.dose.total_ms,
            tc1.dose.total_ms,
            tc2.dose.total_ms,
            tc3.dose.total_ms,
            tc0.peak_mC,
            tc1.peak_mC,
            tc2.peak_mC,
            tc3.peak_mC,
            self.clip(c.sequence.rf_on_ticks * protocol.TICK_MS, U32_MAX),
        )
        self._queue(36, _RESERVED)

    def health(self, c):
        meter = c.meter
        payload = self._header(protocol.HEALTH, c.sequence.state, c.tick_count)
        struct.pack_into(
            _HEALTH,
            payload,
            _HEADER_SIZE,
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
        self._queue(32, _RESERVED)

    def event(self, state, tick, code, cause, row, value, limit, first_tick):
        payload = self._header(protocol.EVENT, state, tick)
        struct.pack_into(_EVENT, payload, _HEADER_SIZE, code, cause, row, value, limit, first_tick & U32_MAX)
        self._queue(16, 0)

    def ack(self, state, tick, command_id, verb, code, key, value, value2):
        payload = self._header(protocol.ACK, state, tick)
        struct.pack_into(_ACK, payload, _HEADER_SIZE, command_id, verb, code, key, value, value2)
        self._queue(16, 0)

    def behind(self):
        """Whether acks and events have filled the way of a link that moves: telemetry of each tick lets them pass.

        On a link that does not move, frames are made all the same, dropped, and counted.
        """
        if self._hushed:
            self._hushed = False
            return self._moving
        return self._waiting >= _BEHIND and self._moving

    def hush(self):
        """The next telemetry frame lets one pass that waits for an idle link: with one in every tick it never is."""
        self._hushed = True

    def idle(self):
        """Whether no frame waits for the link."""
        return self._waiting == 0 and self._hello_length == 0

    def hello(self, state, tick, text):
        """The next frame to be sent. Allocates: only at rest, and only when `idle`, so that it keeps its turn."""
        header = self._header(protocol.HELLO, state, tick)
        size = len(text)
        self._hello[:HEADER_SIZE] = header[:HEADER_SIZE]
        self._hello[HEADER_SIZE : HEADER_SIZE + size] = text
        self._hello_length = size

    def black_box(self, c):
        """The next frame to be sent: the next records of the black box. As for HELLO, only at rest and when `idle`."""
        box = c.box
        header = self._header(protocol.BLACKBOX, c.sequence.state, c.tick_count)
        frame = self._hello
        frame[:HEADER_SIZE] = header[:HEADER_SIZE]
        struct.pack_into(_BOX_FRAME, frame, HEADER_SIZE, box.last_tick, box.count, box.send_from, b"")
        box.take(frame, HEADER_SIZE + protocol.MAX_BODY - _RECORDS_BYTES)
        self._hello_length = protocol.MAX_BODY

    def pump(self, link):
        """Hand one frame to the link if it can take it whole without waiting."""
        if self._waiting == 0 and self._hello_length == 0:
            return
        self._moving = link.link_ready()
        if not self._moving:
            return
        if self._hello_length:
            length = self._seal(self._hello, self._hello_length)
            self._hello_length = 0
        else:
            slot = self._first
            length = self._seal(self._ring[slot], self._lengths[slot])
            self._first = slot + 1 if slot + 1 < _SLOTS else 0
            self._waiting -= 1
        link.link_write(self._sealed, length)
        self.frames_sent = add_up(self.frames_sent, 1)
