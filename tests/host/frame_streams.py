"""Frames to test with: hypothesis strategies for single ones, and the stream of a device in a run."""

import random
from collections.abc import Mapping
from typing import Final

from hypothesis import strategies as st

from rfprobe.wire import FIELD_NAMES, encode_frame
from rfprobe_core import protocol

BINARY_TYPES: Final = tuple(sorted(set(protocol.FRAMES) - {protocol.HELLO}))
RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "B": (0, 0xFF),
    "H": (0, 0xFFFF),
    "I": (0, 0xFFFFFFFF),
    "i": (-(1 << 31), (1 << 31) - 1),
}
HELLO_TEXT: Final = {
    "fw": "0.1.0",
    "mp": "cpython 3.11.2",
    "proto": protocol.protocol_digest(),
    "schema": str(protocol.SCHEMA),
    "board": "test",
    "nonce": "4711",
}


def bodies(kind: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Any body of that type, corners included."""
    codes = protocol.FRAMES[kind][1].lstrip("<")
    return st.tuples(*(st.integers(*RANGES[code]) for code in codes))


@st.composite
def single_frames(draw: st.DrawFn) -> bytes:
    """Any frame at all."""
    kind = draw(st.sampled_from(sorted(protocol.FRAMES)))
    body = () if kind == protocol.HELLO else draw(bodies(kind))
    words = st.text("abcdefghij0123456789.-", max_size=12)
    hello = draw(st.dictionaries(words.filter(bool), words, max_size=8)) if kind == protocol.HELLO else None
    return encode_frame(
        kind,
        body,
        hello=hello,
        channel=draw(st.integers(0, 255)),
        state=draw(st.integers(0, 255)),
        sequence=draw(st.integers(0, 0xFFFF)),
        tick=draw(st.integers(0, protocol.U32_MAX)),
    )


def telemetry_values(source: random.Random) -> tuple[int, ...]:
    """A telemetry body with the figures of a run, in the order of the protocol."""
    figures = {
        "flags": protocol.FLAG_ENABLE | protocol.FLAG_LEASE,
        "tc0_mC": source.randint(20_000, 90_000),
        "tc1_mC": source.randint(20_000, 60_000),
        "tc2_mC": source.randint(20_000, 44_000),
        "tc0_age": source.randint(0, 10),
        "tc1_age": source.randint(0, 10),
        "tc2_age": source.randint(0, 10),
        "tc3_age": 255,
        "setpoint_mC": 70_000,
        "demand_mW": source.randint(0, 20_000),
        "power_mW": source.randint(0, 20_000),
        "voltage_cV": source.randint(0, 15_000),
        "current_dmA": source.randint(0, 4_000),
        "impedance_dohm": source.randint(500, 0xFFFF),
        "duty": source.randint(0, 0xFFFF),
        "energy_mJ": source.randint(0, 500_000),
        "remaining_ticks": source.randint(0, 6_000),
    }
    return tuple(figures.get(name, 0) for name in FIELD_NAMES[protocol.TELEMETRY])


def run_stream(count: int, seed: int, first_sequence: int = 0) -> list[bytes]:
    """`count` frames of a run, five ticks apart: telemetry, now and then dose, health, an ack or HELLO."""
    source = random.Random(seed)
    others = {
        7: (protocol.DOSE, tuple(range(9))),
        13: (protocol.HEALTH, tuple(range(10))),
        17: (protocol.ACK, (900, protocol.VERB_LEASE, protocol.ACK_OK, protocol.NO_KEY, 0, 1000)),
        19: (protocol.HELLO, ()),
    }
    frames: list[bytes] = []
    for number in range(count):
        kind, values = others.get(number % 20, (protocol.TELEMETRY, telemetry_values(source)))
        frames.append(
            encode_frame(
                kind,
                values,
                hello=HELLO_TEXT,
                state=protocol.HOLD,
                sequence=first_sequence + number,
                tick=number * 5,
            )
        )
    return frames
