"""The command line parser: one byte at a time, whatever comes."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rfprobe.wire import command_line
from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.kernels import crc16
from rfprobe_core.lines import KEY_BY_HASH, LINE, MAX_LINE, NOTHING, STOP, VERB_BY_HASH, LineParser
from tests.unit.scripted_board import Bench

VERB_NAMES = [row[0] for row in p.VERBS]


def with_crc(text: bytes) -> bytes:
    return text + b"*%04X" % crc16(text, len(text), p.CRC_START)


def parsed(line: bytes, end: bytes = b"\n") -> LineParser:
    parser = LineParser()
    for byte in line + end:
        parser.push(byte)
    return parser


def words(parser: LineParser) -> list[str | int]:
    """Numbers as numbers, verbs and keys by their names, all else as ?."""
    names = {key: p.VERBS[index][0] for key, index in VERB_BY_HASH.items()}
    names |= {key: plan.NAMES[index] for key, index in KEY_BY_HASH.items()}
    numbers, hashes = parser.numbers, parser.hashes
    return [numbers[at] if parser.numeric[at] else names.get(hashes[at], "?") for at in range(parser.words)]


def test_no_two_verbs_or_keys_have_the_same_hash() -> None:
    assert len(VERB_BY_HASH.keys() | KEY_BY_HASH.keys()) == len(p.VERBS) + len(plan.NAMES)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HELLO", ["HELLO"]),
        (b"7 HELLO", [7, "HELLO"]),
        (b"12 SET hold_ms=60000", [12, "SET", "hold_ms", 60_000]),
        (b"12 SET hold_ms 60000", [12, "SET", "hold_ms", 60_000]),
        (b"12   SET   hold_ms = 60000  ", [12, "SET", "hold_ms", 60_000]),
        (b"3 SET v_offset_mV=-20000", [3, "SET", "v_offset_mV", -20_000]),
        (b"3 ARM 268435455 1048575", [3, "ARM", 268_435_455, 1_048_575]),
        (b"536870912 GET mode", [1 << 29, "GET", "mode"]),
        (b"0007 GET mode", [7, "GET", "mode"]),
        (b"1 2 3 4 5", [1, 2, 3, 4, 5]),
        (b"hello", ["?"]),
        (b"5 SET hold_ms=12x", [5, "SET", "hold_ms", "?"]),
        (b"5 SET hold_ms=x12", [5, "SET", "hold_ms", "?"]),
        (b"5 SET hold_ms=-", [5, "SET", "hold_ms", "?"]),
        (b"5 SET hold_ms=--5", [5, "SET", "hold_ms", "?"]),
        (b"5 SET hold_ms=5-", [5, "SET", "hold_ms", "?"]),
        (b"5 SET hold_ms=1.5", [5, "SET", "hold_ms", "?"]),
        (b"5 SET hold_ms=+5", [5, "SET", "hold_ms", "?"]),
    ],
)
def test_a_good_line_is_words_and_numbers(line: bytes, expected: list[str | int]) -> None:
    for given_crc, text in ((False, line), (True, with_crc(line))):
        parser = parsed(text)
        assert not parser.broken
        assert words(parser) == expected
        assert (parser.crc_given, parser.crc_right) == (given_crc, given_crc)


@pytest.mark.parametrize(
    "line",
    [
        b"1 SET hold_ms=536870913",  # beyond 2^29
        b"1 SET hold_ms=99999999999999999999",
        b"1 2 3 4 5 6",  # too many words
        b"1 GET \x07",
        b"1 GET m\xc3\xb6de",
        b"1 GET \x00mode",
        b"1 GET mode*12345",  # too many digits
        b"1 GET mode*12G4",
        b"1 GET mode*12*4",
        b"*1234",  # no word at all
        b"x" * (MAX_LINE + 1),
        b" " * (MAX_LINE + 1),
        with_crc(b"1 GET " + b"x" * MAX_LINE),
    ],
)
def test_a_broken_line_is_no_command(line: bytes) -> None:
    assert parsed(line).broken


def test_a_line_may_be_as_long_as_it_says() -> None:
    longest = with_crc(b"1 GET " + b"x" * (MAX_LINE - len(b"1 GET *0000")))
    assert len(longest) == MAX_LINE
    assert parsed(longest).crc_right
    assert not parsed(longest).broken


@pytest.mark.parametrize("crc", [b"*0000", b"*FFF", b"*", b"*00000"])
def test_a_wrong_or_short_crc_is_not_right(crc: bytes) -> None:
    parser = parsed(b"1 GET mode" + crc)
    assert parser.crc_given
    assert not parser.crc_right


def test_the_crc_may_be_in_small_letters() -> None:
    line = with_crc(b"1 GET mode")
    assert parsed(line.replace(line[-4:], line[-4:].lower())).crc_right


@pytest.mark.parametrize("change", range(11))
def test_a_changed_byte_makes_the_crc_wrong(change: int) -> None:
    line = bytearray(with_crc(b"1 GET modes"))
    line[change] ^= 1
    assert not parsed(bytes(line)).crc_right


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\n\r\n\n"])
def test_any_line_end_ends_one_line(end: bytes) -> None:
    parser = LineParser()
    heard = [parser.push(byte) for byte in b"1 GET mode" + end]
    assert heard.count(LINE) == 1


def test_a_line_leaves_nothing_to_the_next() -> None:
    parser = parsed(b"1 SET \x07 9999999999 x*12345\n" + with_crc(b"2 GET mode"))
    assert words(parser) == [2, "GET", "mode"]
    assert parser.crc_right


def test_half_a_line_is_forgotten_with_the_port() -> None:
    parser = LineParser()
    for byte in b"1 SET hold_ms=1 STO":
        parser.push(byte)
    parser.drop()
    heard = [parser.push(byte) for byte in b"P\n"]
    assert heard == [NOTHING, LINE]
    assert words(parser) == ["?"]


@pytest.mark.parametrize(
    "stream",
    [
        b"STOP",
        b"stop\n",
        b"sToP",
        b"12 STOP*0000",
        b"1 SET hold_ms=STOP",
        b"\x00\xff\x80STOP",
        b"SSTOP",
        b"STSTOP",
        b"STOSTOP",
        b"x" * 500 + b"STOP",
        b"1 GET mode*12STOP",
        b"HELLO\nSTOP",
        b"NONSTOP",
    ],
)
def test_stop_is_heard_anywhere(stream: bytes) -> None:
    parser = LineParser()
    assert [parser.push(byte) for byte in stream].count(STOP) == 1


@pytest.mark.parametrize("stream", [b"ST OP", b"S\nTOP", b"STO\nP", b"POTS", b"STOOP", b"SSTTOOPP", b"\x93TOP"])
def test_what_only_looks_like_stop_is_none(stream: bytes) -> None:
    parser = LineParser()
    assert STOP not in [parser.push(byte) for byte in stream]


def test_no_command_but_stop_says_stop() -> None:
    """Neither a verb nor a key, whatever follows it, can be heard as STOP by chance."""
    for verb in VERB_NAMES:
        for key in plan.NAMES:
            assert ("STOP" in f"{verb} {key}".upper()) == (verb == "STOP")


known = st.sampled_from([name.encode() for name in VERB_NAMES + list(plan.NAMES)])
lines = st.lists(known | st.binary(max_size=12)).map(b" ".join)


@given(st.lists(st.binary() | lines | lines.map(with_crc), max_size=8))
@example([b"\n", b"STOP" * 3, b"*", b"-", b"=" * 90])
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    parser = parsed(b"\n".join(pieces))
    assert 0 <= parser.words <= len(parser.numbers)


# Nothing that is not a command with its CRC changes anything; only stop does.
noise = st.binary(max_size=300).filter(lambda data: b"*" not in data)


@pytest.mark.parametrize("state", [p.IDLE, p.ARMED, p.RAMP, p.HOLD, p.FAULT], ids=p.STATE_NAMES.__getitem__)
@settings(max_examples=30)
@given(data=noise, at=st.integers(0, 300), stopped=st.booleans())
def test_noise_changes_no_state_unless_it_says_stop(state: int, data: bytes, at: int, stopped: bool) -> None:
    bench = Bench().in_state(state)
    bench.tick()
    before = list(bench.controller.values)
    data = data[:at] + b"STOP" * stopped + data[at:]
    bench.say(data)
    bench.controller.rest()
    heard = b"STOP" in bytes(byte & 0xDF for byte in data)
    assert (bench.state, list(bench.controller.values)) == (state, before)
    assert bench.controller._stop_asked == heard
    assert bench.board.enabled == (state in (p.RAMP, p.HOLD) and not heard)


def test_the_host_makes_the_lines_that_the_device_takes() -> None:
    for index, (verb, _, values, _) in enumerate(p.VERBS):
        if verb != "STOP":
            parser = parsed(command_line(5, verb, *[7] * values).rstrip(b"\n"))
            assert parser.crc_right
            assert (parser.words, VERB_BY_HASH[parser.hashes[1]]) == (2 + values, index)
