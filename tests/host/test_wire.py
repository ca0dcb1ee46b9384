"""Frames and command lines: exact bytes, round trips, and what the decoder makes of everything else."""

import itertools
import struct
from binascii import crc_hqx

import pytest
from cobs import cobs
from hypothesis import example, given
from hypothesis import strategies as st

from rfprobe.wire import (
    FIELD_NAMES,
    FRAME_NAMES,
    HELLO_LINE,
    MAX_NUMBER,
    STOP_LINE,
    Frame,
    FrameDecoder,
    command_line,
    encode_frame,
    encode_payload,
)
from rfprobe_core import plan, protocol
from rfprobe_core.lines import KEY_BY_HASH, LINE, NOTHING, STOP, VERB_BY_HASH, LineParser
from tests.host.frame_streams import HELLO_TEXT, bodies, run_stream, single_frames

ACK_VALUES = (17, protocol.VERB_SET, protocol.ACK_OK, plan.INDEX["target_mC"], 70_000, 0)
# Type 5, schema 1, channel 0, state IDLE, sequence 0x0102, tick 0x00030405; id 17, SET, ok, key 1, 70000, 0.
ACK_PAYLOAD = bytes.fromhex("05 01 00 01 02 01 05 04 03 00 11 00 00 00 04 00 01 00 70 11 01 00 00 00 00 00")


def frames_of(found: list[Frame | str]) -> list[Frame]:
    return [item for item in found if isinstance(item, Frame)]


def text_of(found: list[Frame | str]) -> str:
    return "".join(item for item in found if isinstance(item, str))


def accounted(decoder: FrameDecoder) -> int:
    """Every byte that the decoder says it saw."""
    return (
        decoder.frame_bytes + decoder.text_bytes + decoder.damaged_bytes + decoder.padding_bytes + decoder.pending_bytes
    )


def test_the_crc_is_the_one_with_check_value_29b1() -> None:
    assert crc_hqx(b"123456789", protocol.CRC_START) == 0x29B1


def test_an_ack_byte_by_byte() -> None:
    raw = encode_frame(protocol.ACK, ACK_VALUES, sequence=0x0102, tick=0x00030405)
    crc = crc_hqx(ACK_PAYLOAD, 0xFFFF)
    assert raw == cobs.encode(ACK_PAYLOAD + bytes([crc & 0xFF, crc >> 8])) + b"\0"
    (frame,) = FrameDecoder().feed(raw)
    assert frame == Frame(
        type=protocol.ACK,
        schema=1,
        channel=0,
        state=protocol.IDLE,
        sequence=0x0102,
        tick=0x00030405,
        values=ACK_VALUES,
        raw=raw,
    )
    assert frame.name == "ack"
    assert frame.value("value") == 70_000
    assert frame.fields() == dict(zip(("id", "verb", "code", "key", "value", "value2"), ACK_VALUES, strict=True))


def test_every_type_has_a_name_for_each_field() -> None:
    assert set(FRAME_NAMES) == set(protocol.FRAMES)
    for kind, names in FIELD_NAMES.items():
        assert len(names) == len(
            struct.unpack(protocol.FRAMES[kind][1], bytes(struct.calcsize(protocol.FRAMES[kind][1])))
        )


def test_hello_is_its_lines() -> None:
    (frame,) = frames_of(FrameDecoder().feed(encode_frame(protocol.HELLO, hello=HELLO_TEXT)))
    assert (frame.values, frame.hello, frame.name) == ((), HELLO_TEXT, "hello")


def test_frames_can_be_told_apart_and_kept_in_sets() -> None:
    first, second = frames_of(FrameDecoder().feed(b"".join(run_stream(2, seed=1))))
    assert len({first, second, first}) == 2
    with pytest.raises(AttributeError):
        first.tick = 3  # type: ignore[misc]


@given(single_frames())
def test_round_trip(raw: bytes) -> None:
    assert raw.count(0) == 1 and raw.endswith(b"\0")
    decoder = FrameDecoder()
    (frame,) = frames_of(decoder.feed(raw))
    assert frame.raw == raw
    again = encode_frame(
        frame.type,
        frame.values,
        hello=frame.hello,
        channel=frame.channel,
        state=frame.state,
        sequence=frame.sequence,
        tick=frame.tick,
    )
    assert again == raw
    assert (decoder.frames, decoder.lost, decoder.bad_crc, decoder.refused) == (1, 0, 0, 0)


@given(bodies(protocol.TELEMETRY), st.integers(0, 0xFFFF), st.integers(0, protocol.U32_MAX))
def test_an_independent_cobs_agrees(values: tuple[int, ...], sequence: int, tick: int) -> None:
    raw = encode_frame(protocol.TELEMETRY, values, sequence=sequence, tick=tick)
    whole = cobs.decode(raw[:-1])
    assert struct.unpack("<H", whole[-2:])[0] == crc_hqx(whole[:-2], 0xFFFF)
    assert struct.unpack_from(protocol.FRAMES[protocol.TELEMETRY][1], whole, protocol.HEADER_SIZE) == values


@given(st.binary(max_size=3_000), st.integers(1, 300))
@example(b"\n", 1)
@example(b"\x01\x01\x01\x00" * 50, 3)
@example(bytes(range(1, 256)) * 8, 7)
def test_garbage_never_raises_and_every_byte_is_accounted_for(garbage: bytes, piece: int) -> None:
    decoder = FrameDecoder()
    for at in range(0, len(garbage), piece):
        decoder.feed(garbage[at : at + piece])
        assert decoder.pending_bytes <= 2 * protocol.MAX_FRAME
    assert accounted(decoder) == len(garbage)
    decoder.flush()
    assert (decoder.pending_bytes, accounted(decoder)) == (0, len(garbage))
    assert decoder.frames == 0


@given(st.lists(single_frames(), min_size=1, max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_how_the_stream_is_cut_does_not_matter(raws: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(raws)
    whole = FrameDecoder()
    expected = whole.feed(stream)
    pieces = FrameDecoder()
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    found = [item for start, end in itertools.pairwise(edges) for item in pieces.feed(stream[start:end])]
    assert found == expected
    assert accounted(pieces) == len(stream)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\r\n>>> "])
@pytest.mark.parametrize("separator", [b"", b"\0"])
def test_text_between_frames_is_given_whole(ending: bytes, separator: bytes) -> None:
    text = "Traceback (most recent call last):\r\n  File “main.py”, line 7 µs\r\nKeyboardInterrupt: ".encode() + ending
    raws = run_stream(40, seed=2)
    stream = b"".join(raws[:20]) + text + separator + b"".join(raws[20:])
    for piece in (1, 7, 64, len(stream)):
        decoder = FrameDecoder()
        found = [item for at in range(0, len(stream), piece) for item in decoder.feed(stream[at : at + piece])]
        assert text_of(found) == text.decode()
        assert [frame.raw for frame in frames_of(found)] == raws
        assert (decoder.lost, decoder.bad_crc, decoder.text_bytes) == (0, 0, len(text))


def test_lines_are_shown_before_any_zero_comes() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"MPY: soft reboot\r\nMicro") == ["MPY: soft reboot\r\n"]
    assert decoder.feed(b"Python v1.25.0\r\n>>> ") == ["MicroPython v1.25.0\r\n"]
    assert decoder.flush() == [">>> "]
    assert decoder.flush() == []


def test_a_long_line_is_given_before_its_end_and_no_character_is_cut() -> None:
    text = "температура " * 200
    decoder = FrameDecoder()
    found = [item for byte in text.encode() for item in decoder.feed(bytes([byte]))]
    assert len(found) > 1
    assert text_of([*found, *decoder.flush()]) == text
    assert decoder.damaged_bytes == 0


def test_a_frame_whose_first_byte_is_a_newline_is_no_line() -> None:
    # Channel 1 and no zero before the tick's last byte: the COBS byte in front is 10.
    raw = encode_frame(protocol.DOSE, (0,) * 9, channel=1, state=4, sequence=0x0101, tick=0x00010101)
    assert raw[0] == 10
    for before in (b"", b"text\r\n", b"\r\n\n", b"text"):
        for cut in range(len(before) + 1, len(before) + 4):
            decoder = FrameDecoder()
            stream = before + raw
            found = [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])]
            if before == b"text" and cut == len(before) + 1:
                continue  # "text\n" as far as anyone can tell
            assert [frame.raw for frame in frames_of(found)] == [raw], (before, cut)
            assert text_of(found).encode() == before


@pytest.mark.parametrize("kind", sorted(protocol.FRAMES))
def test_a_lost_zero_costs_nothing(kind: int) -> None:
    raws = run_stream(3, seed=3)
    values = tuple(range(1, 1 + len(FIELD_NAMES[kind])))
    raws[1] = encode_frame(kind, values, hello=HELLO_TEXT, state=protocol.HOLD, sequence=1, tick=5)
    decoder = FrameDecoder()
    found = decoder.feed(raws[0] + raws[1][:-1] + raws[2])
    assert [frame.raw for frame in frames_of(found)] == raws
    assert (decoder.lost, decoder.bad_crc) == (0, 0)


def test_the_sequence_wraps() -> None:
    raws = run_stream(60, seed=4, first_sequence=0xFFF0)
    decoder = FrameDecoder()
    decoder.feed(b"".join(raws[:10] + raws[30:]))
    assert (decoder.frames, decoder.lost) == (40, 20)


def test_repeated_frames_are_given_once() -> None:
    raws = run_stream(6, seed=5)
    decoder = FrameDecoder()
    found = decoder.feed(b"".join([*raws[:3], raws[2], raws[1], *raws[3:]]))
    assert [frame.raw for frame in frames_of(found)] == raws
    assert (decoder.frames, decoder.lost, decoder.repeated) == (6, 0, 2)


@pytest.mark.parametrize("at", [1, 5])
def test_an_overtaken_frame_is_not_lost(at: int) -> None:
    raws = run_stream(20, seed=6)
    order = [*raws[: at - 1], raws[at], raws[at - 1], *raws[at + 1 :]]
    decoder = FrameDecoder()
    assert len(frames_of(decoder.feed(b"".join(order)))) == 20
    assert (decoder.lost, decoder.restarts, decoder.repeated) == (0, 0, 0)


def test_a_restart_is_counted_and_nothing_is_called_lost_for_it() -> None:
    before = run_stream(100, seed=7, first_sequence=40_000)
    after = run_stream(5, seed=8)
    decoder = FrameDecoder()
    decoder.feed(b"".join(before + after))
    assert (decoder.frames, decoder.lost, decoder.restarts) == (105, 0, 1)


def test_a_restart_soon_after_the_start_is_no_overtaking() -> None:
    decoder = FrameDecoder()
    for sequence, tick in [*((number, number * 50) for number in range(5)), (0, 1)]:
        decoder.feed(encode_frame(protocol.DOSE, (0,) * 9, sequence=sequence, tick=tick))
    assert (decoder.frames, decoder.lost, decoder.restarts) == (6, 0, 1)


def test_frames_of_one_tick_that_are_missing_are_lost() -> None:
    decoder = FrameDecoder()
    for sequence in (3, 7):
        decoder.feed(encode_frame(protocol.DOSE, (0,) * 9, sequence=sequence, tick=1_000))
    assert (decoder.frames, decoder.lost, decoder.restarts) == (2, 3, 0)


def test_the_tick_count_may_wrap_within_a_gap() -> None:
    values = (0,) * 9
    ticks = (protocol.U32_MAX - 1, 1)
    decoder = FrameDecoder()
    for sequence, tick in zip((7, 9), ticks, strict=True):
        decoder.feed(encode_frame(protocol.DOSE, values, sequence=sequence, tick=tick))
    assert (decoder.lost, decoder.restarts) == (1, 0)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x09" + ACK_PAYLOAD[1:],
        b"\x00" + ACK_PAYLOAD[1:],
        ACK_PAYLOAD[:1] + b"\x02" + ACK_PAYLOAD[2:],
        ACK_PAYLOAD + b"\x07",
        ACK_PAYLOAD[:-1],
        bytes(protocol.HEADER_SIZE),
    ],
    ids=["type", "type 0", "schema", "long", "short", "empty body"],
)
def test_a_right_crc_is_not_enough(payload: bytes) -> None:
    decoder = FrameDecoder()
    raw = encode_payload(payload)
    assert decoder.feed(raw) == []
    assert (decoder.refused, decoder.bad_crc, decoder.frames) == (1, 0, 0)
    assert accounted(decoder) == len(raw)


def test_hello_of_another_schema_is_read() -> None:
    (frame,) = frames_of(FrameDecoder().feed(encode_frame(protocol.HELLO, hello={"schema": "9"}, schema=9)))
    assert (frame.schema, frame.hello) == (9, {"schema": "9"})


def test_zeros_are_padding() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\0" * 64) == []
    assert (decoder.padding_bytes, decoder.bad_crc) == (64, 0)


def test_a_payload_that_is_too_long_is_refused() -> None:
    encode_payload(bytes(protocol.MAX_PAYLOAD - protocol.CRC_SIZE))
    with pytest.raises(ValueError, match="longer"):
        encode_payload(bytes(protocol.MAX_PAYLOAD - protocol.CRC_SIZE + 1))


def test_the_longest_hello_goes_through() -> None:
    hello = {f"key{number}": "x" * 20 for number in range(12)}
    raw = encode_frame(protocol.HELLO, hello=hello)
    assert len(raw) == protocol.MAX_FRAME
    (frame,) = frames_of(FrameDecoder().feed(raw))
    assert frame.hello["key0"] == "x" * 20


# Command lines


def parsed(line: bytes) -> tuple[list[int], LineParser]:
    """What the device's own parser returns for each byte, and the parser."""
    parser = LineParser()
    return [parser.push(byte) for byte in line], parser


def test_a_command_character_by_character() -> None:
    text = b"17 SET target_mC=70000"
    assert command_line(17, "SET", "target_mC", 70_000) == text + b"*%04X\n" % crc_hqx(text, 0xFFFF)
    assert command_line(3, "ARM", 268_435_455, "4711").startswith(b"3 ARM 268435455 4711*")
    assert command_line(4, "CONFIGURE").startswith(b"4 CONFIGURE*")
    assert command_line(5, "GET", "target_mC").startswith(b"5 GET target_mC*")


@given(st.integers(0, MAX_NUMBER), st.sampled_from(plan.NAMES), st.integers(-MAX_NUMBER, MAX_NUMBER))
def test_the_device_reads_what_the_host_writes(ident: int, key: str, value: int) -> None:
    line = command_line(ident, "SET", key, value)
    assert b"\x03" not in line and b"\0" not in line
    heard, parser = parsed(line)
    assert heard == [NOTHING] * (len(line) - 1) + [LINE]
    assert parser.crc_given and parser.crc_right and not parser.broken
    assert (parser.words, list(parser.numeric[:4])) == (4, [1, 0, 0, 1])
    assert VERB_BY_HASH[parser.hashes[1]] == protocol.VERB_SET
    assert KEY_BY_HASH[parser.hashes[2]] == plan.INDEX[key]
    assert (parser.numbers[0], parser.numbers[3]) == (ident, value)


@pytest.mark.parametrize("verb", [row[0] for row in protocol.VERBS if row[1]])
def test_each_guarded_verb_is_read(verb: str) -> None:
    arguments = {"SET": ("hold_ms", 5), "ARM": (5, 6), "LEASE": ("7",), "START": ("8",)}.get(verb, ())
    heard, parser = parsed(command_line(9, verb, *arguments))
    assert heard[-1] == LINE
    assert parser.crc_right
    assert protocol.VERBS[VERB_BY_HASH[parser.hashes[1]]][0] == verb
    assert parser.words - 2 == protocol.VERBS[VERB_BY_HASH[parser.hashes[1]]][2]


def test_the_bare_lines() -> None:
    assert STOP in parsed(STOP_LINE)[0]
    heard, parser = parsed(HELLO_LINE)
    assert heard[-1] == LINE
    assert VERB_BY_HASH[parser.hashes[0]] == protocol.VERB_HELLO


@pytest.mark.parametrize(
    ("ident", "words"),
    [
        (-1, ("SET",)),
        (MAX_NUMBER + 1, ("SET",)),
        (1, ("STOP",)),
        (1, ("SET", "unstoppable", 1)),
        (1, ("SET", "a b", 1)),
        (1, ("SET", "a=b")),
        (1, ("SET", "a*b")),
        (1, ("SET", "", 1)),
        (1, ("SET", "a\x03", 1)),
        (1, ("SET", "a\nSTART", 1)),
        (1, ("SET", "µ", 1)),
        (1, ("SET", "a", MAX_NUMBER + 1)),
        (1, ("SET", "a", 1, 2, 3)),
        (1, ("SET", "a" * 80, 1)),
    ],
)
def test_what_the_device_could_not_read_is_not_written(ident: int, words: tuple[str | int, ...]) -> None:
    with pytest.raises(ValueError):
        command_line(ident, str(words[0]), *words[1:])
