"""The host's end of the wire: frames out of a byte stream, command lines into it.

What the bytes mean is specified in `rfprobe_core.protocol`, which the device packs with; nothing is told
twice here.
"""

from __future__ import annotations

import re
import struct
from binascii import crc_hqx
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rfprobe_core import kernels_plain, protocol
from rfprobe_core.lines import MAX_LINE, WORDS

FRAME_NAMES: Final[dict[int, str]] = {kind: row[0] for kind, row in protocol.FRAMES.items()}
FIELD_NAMES: Final[dict[int, tuple[str, ...]]] = {
    kind: tuple(column[0] for column in row[2]) for kind, row in protocol.FRAMES.items()
}
FIELD_INDEX: Final[dict[int, dict[str, int]]] = {
    kind: {name: index for index, name in enumerate(names)} for kind, names in FIELD_NAMES.items()
}
MAX_NUMBER: Final = 1 << 29  # what the device's parser takes for one
MAX_COMMAND_ID: Final = MAX_NUMBER
STOP_LINE: Final = b"STOP\n"  # bare, so that nothing is in its way
HELLO_LINE: Final = b"HELLO\n"

_HEADER = struct.Struct(protocol.HEADER)
_CRC = struct.Struct("<H")
_RECORD = struct.Struct(protocol.RECORD)
_RECORDS = f"{protocol.RECORDS_PER_FRAME * protocol.RECORD_SIZE}s"
_RECORDS_AT = 1 + protocol.HEADER_SIZE + protocol.MAX_BODY - protocol.RECORDS_PER_FRAME * protocol.RECORD_SIZE
# Header and body in one unpacking. HELLO is not here: its body is text.
_LAYOUTS: Final[dict[int, struct.Struct]] = {
    kind: struct.Struct(protocol.HEADER + row[1].lstrip("<"))
    for kind, row in protocol.FRAMES.items()
    if kind != protocol.HELLO
}
_LAYOUTS[protocol.BLACKBOX] = struct.Struct(_LAYOUTS[protocol.BLACKBOX].format + _RECORDS)
# Without the ending zero: one COBS byte in front of the payload, which is always shorter than 254 bytes.
_SHORTEST = 1 + protocol.HEADER_SIZE + protocol.CRC_SIZE
_LONGEST = 1 + protocol.MAX_PAYLOAD
_FIXED_LENGTHS: Final[dict[int, int]] = {kind: 1 + layout.size + protocol.CRC_SIZE for kind, layout in _LAYOUTS.items()}
_HALF_TICKS = (protocol.U32_MAX + 1) >> 1  # the device's tick count wraps at 2^30
_REMEMBERED = 8  # frames in which a repeated one is looked for
_OVERTAKEN_TICKS = 100  # a frame that waited longer than this was not overtaken: the device restarted
_OVERTAKEN_FRAMES = 64

# Text is what a terminal shows: printable ASCII, its white space and escape, and whole UTF-8 characters.
_VISIBLE = rb"[\t\r\x1b\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_LEAST_RUN = 6  # shorter runs of printable bytes turn up in binary by chance
_WHOLE_TEXT = re.compile(rb"(?:" + _VISIBLE + rb"|\n)+")
_TEXT_RUN = re.compile(rb"(?:" + _VISIBLE + rb"|\n){%d,}" % _LEAST_RUN)
_TEXT_LINES = re.compile(rb"(?:(?:" + _VISIBLE + rb")*\n)+")
_TYPES = bytes(sorted(protocol.FRAMES))
# Where a frame could begin: a COBS byte, then a known type and our schema, neither of which is ever text.
_FRAME_START = re.compile(
    rb"(?=[^\x00][" + re.escape(_TYPES) + rb"]" + re.escape(bytes([protocol.SCHEMA])) + rb")", re.DOTALL
)
_WORD = re.compile(r"[!-)+-<>-~]+")  # printable, without space, star and equals sign


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came.

    `tick` counts 10 ms since boot; `values` are the body's fields in the order of `protocol.FRAMES` (empty
    for HELLO, whose `hello` has its `key=value` lines instead); `raw` are the bytes on the wire with the
    ending zero. `records` are those of a BLACKBOX frame, each with the fields of `protocol.RECORD_FIELDS`.
    """

    type: int
    schema: int
    channel: int
    state: int
    sequence: int
    tick: int
    values: tuple[int, ...]
    raw: bytes
    hello: dict[str, str] = field(default_factory=dict[str, str], hash=False)
    records: tuple[tuple[int, ...], ...] = ()

    @property
    def name(self) -> str:
        """`telemetry`, `ack`, … as `protocol.FRAMES` names it."""
        return FRAME_NAMES[self.type]

    def value(self, name: str) -> int:
        """The body's field `name`; KeyError if this type of frame has none."""
        return self.values[FIELD_INDEX[self.type][name]]

    def fields(self) -> dict[str, int]:
        """All fields of the body by name, in the wire's integer units."""
        return dict(zip(FIELD_NAMES[self.type], self.values, strict=True))


class FrameDecoder:
    """Frames and the text between them, out of whatever pieces the stream comes in.

    A frame is taken when its COBS chain, CRC, type, length and schema are all right. In a damaged stretch
    every frame that is whole is still found, its zero lost or text glued to it notwithstanding, so that one
    dropped, changed, repeated or inserted byte costs one frame at the most.

    Counters, since the decoder was made: `frames` taken; `lost` by gaps in the 16-bit sequence (what the
    device itself dropped included: it spends a number on it); `bad_crc` stretches that held damage; `refused`
    frames whose CRC was right but whose type, length or schema was not; `repeated` frames that came again and
    are not given twice; `restarts` of the device's tick count; and every byte that came in: `frame_bytes`,
    `text_bytes`, `damaged_bytes`, `padding_bytes` (zeros without a frame), and `pending_bytes` of what is not
    yet whole.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.lost = 0
        self.bad_crc = 0
        self.refused = 0
        self.repeated = 0
        self.restarts = 0
        self.frame_bytes = 0
        self.text_bytes = 0
        self.damaged_bytes = 0
        self.padding_bytes = 0
        self._pending = b""
        self._expected = -1
        self._last_tick = 0
        self._recent: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._missing: deque[int] = deque(maxlen=_OVERTAKEN_FRAMES)

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame or line that is not yet whole."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Frame | str]:
        """Take `data` of any length and give what became whole by it, in the stream's order. Never raises."""
        found: list[Frame | str] = []
        chunks = (self._pending + data).split(b"\0")
        self._pending = chunks.pop()
        for chunk in chunks:
            self._take_chunk(chunk, found)
        if self._pending:
            self._take_early(found)
        return found

    def flush(self) -> list[Frame | str]:
        """Give what is pending (a prompt without a line's end, half a frame): the link is quiet or closed."""
        found: list[Frame | str] = []
        rest, self._pending = self._pending, b""
        if rest:
            self._salvage(rest, len(rest), found)
        return found

    def _take_chunk(self, chunk: bytes, found: list[Frame | str]) -> None:
        """What stood between two zeros."""
        frame = _decode(chunk)
        if frame is not None:
            self._accept(frame, found)
        elif not chunk:
            self.padding_bytes += 1
        elif _crc_is_right(chunk):
            self.refused += 1
            self.frame_bytes += len(chunk) + 1
        else:
            self._salvage(chunk + b"\0", len(chunk), found)

    def _take_early(self, found: list[Frame | str]) -> None:
        """Give pending lines of text, and whatever is too long to be a frame: a zero may never follow."""
        lines = _TEXT_LINES.match(self._pending)
        if lines is not None:
            end = _end_of_lines(self._pending, lines.end())
            self._give_text(self._pending[:end], found)
            self._pending = self._pending[end:]
        if len(self._pending) > 2 * protocol.MAX_FRAME:
            last_start = _character_start(self._pending, len(self._pending) - protocol.MAX_FRAME)
            taken = self._salvage(self._pending, last_start, found)
            self._pending = self._pending[taken:]

    def _salvage(self, data: bytes, last_start: int, found: list[Frame | str]) -> int:
        """Find the whole frames that begin before `last_start` and give what lies between as text or as
        damage.

        Returns how many bytes were dealt with: up to `last_start`, or to the end of a frame that goes past
        it. A zero can stand in `data` only at its very end.
        """
        done = 0
        for match in _FRAME_START.finditer(data, 0, last_start + 2):
            start = match.start()
            if start < done or start >= last_start:
                continue
            frame = _frame_at(data, start)
            if frame is not None:
                self._give_rest(data[done:start], found)
                # The zero was there or was lost; `_accept` counts it as if it were.
                done = start + len(frame.raw)
                self._accept(frame, found)
                if data[done - 1 : done] != b"\0":
                    done -= 1
                    self.frame_bytes -= 1
        end = max(done, last_start)
        if data.endswith(b"\0", end):
            end += 1
        self._give_rest(data[done:end], found)
        return end

    def _give_rest(self, data: bytes, found: list[Frame | str]) -> None:
        """What is no frame: text where it reads as text, damage where it does not."""
        if data.endswith(b"\0"):
            self.padding_bytes += 1
            data = data[:-1]
        if not data:
            return
        if _WHOLE_TEXT.fullmatch(data):
            self._give_text(data, found)
            return
        # A line's end at the front belongs to text given before, see `_end_of_lines`.
        line_end = len(data) - len(data.lstrip(b"\r\n"))
        self._give_text(data[:line_end], found)
        data = data[line_end:]
        shown = 0
        for run in _TEXT_RUN.finditer(data):
            self._give_text(run.group(), found)
            shown += len(run.group())
        self.bad_crc += 1
        self.damaged_bytes += len(data) - shown

    def _give_text(self, data: bytes, found: list[Frame | str]) -> None:
        if data:
            self.text_bytes += len(data)
            found.append(data.decode("utf-8", "replace"))

    def _accept(self, frame: Frame, found: list[Frame | str]) -> None:
        self.frame_bytes += len(frame.raw)
        if frame.sequence == self._expected or self._expected < 0:
            self._expected = (frame.sequence + 1) & 0xFFFF
            self._last_tick = frame.tick
        elif frame.raw in self._recent:
            self.repeated += 1
            return
        else:
            self._take_jump(frame)
        self._recent.append(frame.raw)
        self.frames += 1
        found.append(frame)

    def _take_jump(self, frame: Frame) -> None:
        """The sequence jumps: frames were lost, or this one was overtaken, or all began anew."""
        ahead = (frame.sequence - self._expected) & 0xFFFF
        ticks_back = (self._last_tick - frame.tick) & protocol.U32_MAX
        came_before = ticks_back < _HALF_TICKS
        if came_before and ticks_back <= _OVERTAKEN_TICKS and 0xFFFF - ahead < _OVERTAKEN_FRAMES:
            if frame.sequence in self._missing:
                self._missing.remove(frame.sequence)
                self.lost -= 1
            return
        if came_before and ticks_back > 0:
            self.restarts += 1  # what was lost around a restart cannot be known
            self._missing.clear()
        else:
            self.lost += ahead
            newest = min(ahead, _OVERTAKEN_FRAMES)
            self._missing.extend((frame.sequence - back) & 0xFFFF for back in range(newest, 0, -1))
        self._expected = (frame.sequence + 1) & 0xFFFF
        self._last_tick = frame.tick


def _unstuff(chunk: bytes) -> bytes | None:
    """Undo COBS: a zero byte, then the payload; None if the chain does not end where `chunk` does.

    No block is ever full (a payload is shorter than 254 bytes), so each COBS byte but the first stands for a
    zero.
    """
    size = len(chunk)
    if not _SHORTEST <= size <= _LONGEST:
        return None
    work = bytearray(chunk)
    at = 0
    while at < size:
        step = work[at]
        work[at] = 0
        at += step
    return bytes(work) if at == size else None


def _crc_fits(stuffed: bytes) -> bool:
    """Whether the CRC at the end of `stuffed` (from `_unstuff`) is the one over the payload before it."""
    given: int = _CRC.unpack_from(stuffed, len(stuffed) - 2)[0]
    return crc_hqx(stuffed[1:-2], protocol.CRC_START) == given


def _crc_is_right(chunk: bytes) -> bool:
    payload = _unstuff(chunk)
    return payload is not None and _crc_fits(payload)


def _decode(chunk: bytes) -> Frame | None:
    """The frame that `chunk` (no zero in it, not even at its end) is, if it is one in every respect."""
    payload = _unstuff(chunk)
    if payload is None or not _crc_fits(payload):
        return None
    kind = payload[1]
    layout = _LAYOUTS.get(kind)
    if layout is None:
        return _decode_hello(payload, chunk) if kind == protocol.HELLO else None
    if layout.size != len(payload) - 3 or payload[2] != protocol.SCHEMA:
        return None
    fields: tuple[int, ...] = layout.unpack_from(payload, 1)
    if kind == protocol.BLACKBOX:
        return _with_records(_frame(fields[:-1], chunk, {}), payload[_RECORDS_AT : -protocol.CRC_SIZE])
    return _frame(fields, chunk, {})


def _with_records(frame: Frame, packed: bytes) -> Frame:
    """The frame with as many records as it says that there are; the rest of it is nothing."""
    there = frame.value("count") - frame.value("first")
    taken = packed[: protocol.RECORD_SIZE * max(0, min(there, protocol.RECORDS_PER_FRAME))]
    return replace(frame, records=tuple(_RECORD.iter_unpack(taken)))


def _decode_hello(payload: bytes, chunk: bytes) -> Frame:
    """HELLO is read whatever its schema: it is what tells a user that device and host do not fit."""
    header: tuple[int, ...] = _HEADER.unpack_from(payload, 1)
    text = payload[1 + protocol.HEADER_SIZE : -protocol.CRC_SIZE].decode("utf-8", "replace")
    pairs = (line.partition("=") for line in text.splitlines() if line)
    return _frame(header, chunk, {key: value for key, _, value in pairs})


def _frame(fields: tuple[int, ...], chunk: bytes, hello: dict[str, str]) -> Frame:
    """A frame of the header's six fields, in their order, and the body's."""
    return Frame(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6:], chunk + b"\0", hello)


def _frame_at(data: bytes, start: int) -> Frame | None:
    """The frame that begins at `start`, wherever it ends: each link of its chain is tried as the end."""
    wanted = _FIXED_LENGTHS.get(data[start + 1])
    size = len(data)
    at = start + data[start]
    while at <= size and at - start <= _LONGEST:
        if at - start == wanted or wanted is None:
            frame = _decode(data[start:at])
            if frame is not None:
                return frame
        if at == size or data[at] == 0:
            return None
        at += data[at]
    return None


def _character_start(data: bytes, at: int) -> int:
    """`at`, or up to three bytes before it: where the UTF-8 character that it would cut begins."""
    start = at
    while at - start < 3 and data[start] & 0xC0 == 0x80:
        start -= 1
    return start


def _end_of_lines(data: bytes, end: int) -> int:
    """How far the lines of text that seem to end at `end` reach.

    Their last newline could be a frame's first byte, which COBS makes any value: the byte after it tells.
    While that has not come, only a newline that ends an empty line is held back.
    """
    following = data[end : end + 1]
    if following:
        return end - 1 if following in _TYPES else end
    return end - 1 if data[max(end - 2, 0) : end] in (b"\n", b"\n\n") else end


def encode_frame(
    kind: int,
    values: Sequence[int] = (),
    *,
    hello: Mapping[str, str] | None = None,
    records: Sequence[tuple[int, ...]] = (),
    schema: int = protocol.SCHEMA,
    channel: int = 0,
    state: int = protocol.IDLE,
    sequence: int = 0,
    tick: int = 0,
) -> bytes:
    """A frame as the device writes it, with its ending zero: for tests and simulated devices.

    `values` fill the fields of `protocol.FRAMES[kind]`, each within its packed width (struct.error if not);
    `hello` fills HELLO's body, cut at `protocol.MAX_BODY` bytes; `records` are those of a BLACKBOX frame.
    """
    if kind == protocol.HELLO:
        body = protocol.hello_text(tuple((hello or {}).items()))
    elif kind == protocol.BLACKBOX:
        body = struct.pack(
            protocol.FRAMES[kind][1] + _RECORDS, *values, b"".join(_RECORD.pack(*record) for record in records)
        )
    else:
        body = struct.pack(protocol.FRAMES[kind][1], *values)
    header = _HEADER.pack(kind, schema, channel, state, sequence & 0xFFFF, tick)
    return encode_payload(header + body)


def encode_payload(payload: bytes) -> bytes:
    """COBS and CRC around any payload of at most `MAX_PAYLOAD` − 2 bytes, with the ending zero."""
    if len(payload) + protocol.CRC_SIZE > protocol.MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes is longer than a frame may be")
    whole = payload + _CRC.pack(crc_hqx(payload, protocol.CRC_START))
    target = bytearray(len(whole) + 2)
    return bytes(target[: kernels_plain.cobs_encode(whole, len(whole), target)])


def command_line(command_id: int, verb: str, *arguments: str | int) -> bytes:
    """One command as it goes down: `17 SET target_mC=70000*3F2A` and a newline.

    A name followed by a number is written `name=number`; everything else is set apart by spaces. Raises
    ValueError for what the device's parser could not read, and for any word with STOP in it, which it would
    hear as a stop.
    """
    if not 0 <= command_id <= MAX_COMMAND_ID:
        raise ValueError(f"command id {command_id} is outside 0 … {MAX_COMMAND_ID}")
    words = [str(word) for word in (command_id, verb, *arguments)]
    for word in words:
        if not _WORD.fullmatch(word) or "STOP" in word.upper():
            raise ValueError(f"{word!r} cannot be part of a command")
    for number in arguments:
        if isinstance(number, int) and abs(number) > MAX_NUMBER:
            raise ValueError(f"{number} is outside −{MAX_NUMBER} … {MAX_NUMBER}")
    if len(words) > WORDS:
        raise ValueError(f"a command has at most {WORDS} words, not {len(words)}")
    text = f"{words[0]} {verb}"
    named = False
    for argument in arguments:
        text += f"{'=' if named and isinstance(argument, int) else ' '}{argument}"
        named = isinstance(argument, str) and not argument.lstrip("-").isdecimal()
    line = text.encode("ascii")
    line += b"*%04X" % crc_hqx(line, protocol.CRC_START)
    if len(line) > MAX_LINE:
        raise ValueError(f"the command is {len(line)} bytes long; the device takes {MAX_LINE}")
    return line + b"\n"
