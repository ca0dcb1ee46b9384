"""A stream mistreated in every way a link knows: what is whole must arrive, every loss must be counted."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol
from tests.host.frame_streams import run_stream

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

TRACEBACK = b'Traceback (most recent call last):\r\n  File "main.py", line 7, in <module>\r\nOSError: 5\r\n'


@dataclass
class Heard:
    """What a decoder made of a stream."""

    decoder: FrameDecoder
    raws: list[bytes] = field(default_factory=list[bytes])
    text: str = ""


def hear(stream: bytes, pieces: Callable[[], int] = lambda: 64) -> Heard:
    """Feed the stream in pieces, and check that every byte of it is accounted for."""
    heard = Heard(FrameDecoder())
    decoder = heard.decoder
    at = 0
    items: list[Frame | str] = []
    while at < len(stream):
        size = pieces()
        items += decoder.feed(stream[at : at + size])
        at += size
    items += decoder.flush()
    for item in items:
        if isinstance(item, Frame):
            heard.raws.append(item.raw)
        else:
            heard.text += item
    kinds = (decoder.frame_bytes, decoder.text_bytes, decoder.damaged_bytes, decoder.padding_bytes)
    assert sum(kinds) == len(stream)
    assert decoder.frames == len(heard.raws)
    return heard


def flip(raw: bytes, at: int, source: random.Random) -> bytes:
    return raw[:at] + bytes([raw[at] ^ source.randint(1, 255)]) + raw[at + 1 :]


def drop(raw: bytes, at: int, source: random.Random) -> bytes:
    return raw[:at] + raw[at + 1 :]


def repeat(raw: bytes, at: int, source: random.Random) -> bytes:
    return raw[: at + 1] + raw[at:]


def insert(raw: bytes, at: int, source: random.Random) -> bytes:
    return raw[:at] + bytes([source.randint(0, 255)]) + raw[at:]


def truncate(raw: bytes, at: int, source: random.Random) -> bytes:
    return raw[:at]


def interrupt(raw: bytes, at: int, source: random.Random) -> bytes:
    """A traceback in the middle of a frame, which never goes on."""
    return raw[:at] + TRACEBACK


DAMAGES = [flip, drop, repeat, insert, truncate, interrupt]


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_one_damaged_byte_costs_one_frame_at_the_most(data: st.DataObject) -> None:
    raws = run_stream(12, seed=data.draw(st.integers(0, 99)), first_sequence=data.draw(st.integers(0, 0xFFFF)))
    victim = data.draw(st.integers(1, len(raws) - 2))
    at = data.draw(st.integers(0, len(raws[victim]) - 1))
    source = random.Random(data.draw(st.integers(0, 1 << 30)))
    damage = data.draw(st.sampled_from(DAMAGES))
    stream = b"".join([*raws[:victim], damage(raws[victim], at, source), *raws[victim + 1 :]])
    heard = hear(stream)
    others = raws[:victim] + raws[victim + 1 :]
    assert heard.raws in (others, raws)
    assert heard.decoder.lost == len(raws) - len(heard.raws)
    if damage is interrupt:
        assert TRACEBACK.decode() in heard.text


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("seed", range(2))
def test_losses_are_counted_exactly(damage: Callable[[bytes, int, random.Random], bytes], seed: int) -> None:
    """One frame in ten is damaged: all others arrive, in order, once; the gaps are what did not."""
    source = random.Random(seed)
    raws = run_stream(1_200, seed=seed, first_sequence=65_000)
    victims = set(source.sample(range(1, len(raws) - 1), len(raws) // 10))
    stream = b"".join(
        damage(raw, source.randrange(len(raw)), source) if number in victims else raw for number, raw in enumerate(raws)
    )
    heard = hear(stream, lambda: source.randint(1, 200))
    unharmed = {raw for number, raw in enumerate(raws) if number not in victims}
    assert unharmed <= set(heard.raws) <= set(raws)
    assert heard.raws == [raw for raw in raws if raw in set(heard.raws)]
    assert heard.decoder.lost == len(raws) - len(heard.raws)
    assert 0 < heard.decoder.lost <= len(victims)
    assert (heard.decoder.repeated, heard.decoder.restarts, heard.decoder.refused) == (0, 0, 0)


@pytest.mark.parametrize("gone", [1, 2, 63, 64, 65, 6_000])
def test_frames_that_never_came_are_counted_exactly(gone: int) -> None:
    raws = run_stream(gone + 20, seed=gone, first_sequence=60_000)  # the sequence wraps in the long ones
    heard = hear(b"".join(raws[:10] + raws[10 + gone :]))
    assert (heard.decoder.frames, heard.decoder.lost) == (20, gone)


@pytest.mark.parametrize("seed", range(2))
def test_whole_frames_that_come_twice_are_given_once(seed: int) -> None:
    source = random.Random(seed)
    raws = run_stream(2_000, seed=seed)
    twice = set(source.sample(range(len(raws)), 200))
    heard = hear(b"".join(raw * 2 if number in twice else raw for number, raw in enumerate(raws)))
    assert heard.raws == raws
    assert (heard.decoder.repeated, heard.decoder.lost, heard.decoder.bad_crc) == (200, 0, 0)


@pytest.mark.parametrize("seed", range(2))
def test_how_the_reads_are_cut_and_glued_changes_nothing(seed: int) -> None:
    source = random.Random(seed)
    raws = run_stream(500, seed=seed)
    victims = {number: source.choice(DAMAGES) for number in source.sample(range(len(raws)), 60)}
    parts = [
        victims[number](raw, source.randrange(len(raw)), source) if number in victims else raw
        for number, raw in enumerate(raws)
    ]
    stream = b"".join(parts)
    outcomes: list[tuple[list[bytes], str, int, int, int]] = []
    cuts = (
        lambda: 1,
        lambda: 64,
        lambda: source.randint(1, 9),
        lambda: source.randint(1, 5_000),
        lambda: 1 << 20,
    )
    for pieces in cuts:
        heard = hear(stream, pieces)
        decoder = heard.decoder
        outcomes.append((heard.raws, heard.text, decoder.lost, decoder.bad_crc, decoder.damaged_bytes))
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.parametrize("seed", range(3))
def test_text_between_frames_survives_damage_elsewhere(seed: int) -> None:
    source = random.Random(seed)
    raws = run_stream(600, seed=seed)
    stream = b""
    spoken = 0
    for number, raw in enumerate(raws):
        stream += flip(raw, source.randrange(len(raw) - 1), source) if number % 20 == 10 else raw
        if number % 20 == 0:
            stream += TRACEBACK
            spoken += 1
    heard = hear(stream, lambda: source.randint(1, 300))
    assert heard.text.count(TRACEBACK.decode()) == spoken
    assert heard.decoder.lost == len(raws) - len(heard.raws) <= 30


def test_a_million_random_bytes() -> None:
    """Nothing is raised, nothing is taken for a frame, nothing is forgotten, and nothing piles up."""
    source = random.Random(1)
    decoder = FrameDecoder()
    for _ in range(2_000):
        decoder.feed(source.randbytes(500))
        assert decoder.pending_bytes <= 2 * protocol.MAX_FRAME
    decoder.flush()
    assert (decoder.frames, decoder.lost, decoder.restarts) == (0, 0, 0)
    assert decoder.frame_bytes + decoder.text_bytes + decoder.damaged_bytes + decoder.padding_bytes == 1_000_000


def test_a_million_bytes_of_frames_with_one_in_a_hundred_wrong() -> None:
    source = random.Random(2)
    raws = run_stream(17_500, seed=2)
    stream = bytearray(b"".join(raws))
    assert len(stream) > 1_000_000
    for _ in range(len(stream) // 100):
        stream[source.randrange(len(stream))] = source.randrange(256)
    heard = hear(bytes(stream), lambda: source.randint(1, 2_000))
    decoder = heard.decoder
    assert set(heard.raws) <= set(raws)
    # Up to the last frame that came, each one either came or is counted; the first may be among the lost.
    first, last = (int.from_bytes(raw_sequence(raw), "little") for raw in (heard.raws[0], heard.raws[-1]))
    assert decoder.frames + decoder.lost == last - first + 1
    assert decoder.frames > 0.45 * len(raws)


def raw_sequence(raw: bytes) -> bytes:
    """The two bytes of the sequence number, undone by hand: byte 4 and 5 of the payload."""
    work = bytearray(raw[:-1])
    at = 0
    while at < len(work):
        step = work[at]
        work[at] = 0
        at += step
    return bytes(work[5:7])
