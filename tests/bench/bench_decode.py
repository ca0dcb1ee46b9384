"""Telemetry frames that the decoder takes a second on one core, beside a fixed loop of plain Python."""

import random
import time
from collections.abc import Callable

from rfprobe.wire import FIELD_NAMES, FrameDecoder, encode_frame
from rfprobe_core import protocol

AIM_PER_S = 50_000
FRAMES = 20_000
REFERENCE_STEPS = 1_000_000
PIECES = (64, 512, 4096)  # bytes a read: one USB packet, a few, a host that was busy


def telemetry_stream(count: int) -> bytes:
    """`count` telemetry frames with the figures of a run."""
    source = random.Random(1)
    figures = {
        "flags": 15, "setpoint_mC": 70_000, "demand_mW": 9_000, "power_mW": 9_100, "voltage_cV": 3_300,
        "current_dmA": 2_700, "impedance_dohm": 1_222, "duty": 20_000, "energy_mJ": 300_000,
        "remaining_ticks": 5_000, "tc1_mC": 48_000, "tc2_mC": 41_000, "tc3_age": 255,
    }  # fmt: skip
    frames: list[bytes] = []
    for number in range(count):
        figures["tc0_mC"] = 70_000 + source.randint(-500, 500)
        values = [figures.get(name, 0) for name in FIELD_NAMES[protocol.TELEMETRY]]
        frames.append(encode_frame(protocol.TELEMETRY, values, state=protocol.HOLD, sequence=number, tick=number * 5))
    return b"".join(frames)


def decode(stream: bytes, piece: int) -> int:
    """Feed the stream in pieces; returns the frames taken."""
    decoder = FrameDecoder()
    for at in range(0, len(stream), piece):
        decoder.feed(stream[at : at + piece])
    return decoder.frames


def reference() -> int:
    """The fixed loop: integer arithmetic that no machine is spared."""
    total = 0
    for step in range(REFERENCE_STEPS):
        total = (total * 31 + step) & 0xFFFF
    return total


def seconds(work: Callable[[], object]) -> float:
    """CPU time of the quickest of five."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def run() -> list[dict[str, object]]:
    """One row for each size of read."""
    stream = telemetry_stream(FRAMES)
    steps_per_s = REFERENCE_STEPS / seconds(reference)
    rows: list[dict[str, object]] = []
    for piece in PIECES:
        assert decode(stream, piece) == FRAMES
        frames_per_s = FRAMES / seconds(lambda piece=piece: decode(stream, piece))
        rows.append(
            {
                "bytes a read": piece,
                "frames/s": round(frames_per_s),
                "aim": AIM_PER_S,
                "reference steps/s": round(steps_per_s),
                "frames a 1000 steps": round(frames_per_s / steps_per_s * 1000, 2),
            }
        )
    return rows


if __name__ == "__main__":
    for line in run():
        print(line)
