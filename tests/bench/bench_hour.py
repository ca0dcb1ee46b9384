"""A session of an hour at 100 Hz (360 000 frames): how long report, export and replay take. Goal: 30 s each."""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rfprobe.export import export
from rfprobe.replay import Replayed
from rfprobe.report import write_report
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import Frame, FrameDecoder, encode_frame
from rfprobe_core import protocol
from tests.host.synthetic_run import EPOCH_NS, HELLO, SyntheticRun

FRAMES = 360_000
GOAL_S = 30.0


def an_hour(folder: Path) -> Path:
    """Telemetry in every tick, with DOSE and HEALTH as the device sends them in between."""
    made = SyntheticRun()
    decoder = FrameDecoder()
    with SessionWriter.create(folder, "an hour", "bench", made.meta() | {"kind": "run"}) as writer:
        kinds: list[tuple[int, tuple[int, ...]]] = [(protocol.HELLO, ())]
        for tick in range(FRAMES):
            if tick % 3_000 == 500:
                kinds.append((protocol.EVENT, (protocol.EVENT_STATE, 0, protocol.NO_ROW, 4, 3, tick)))
            kinds.append((protocol.TELEMETRY, made._telemetry(tick % 9_000)))
            for kind, values in kinds:
                hello = HELLO if kind == protocol.HELLO else None
                raw = encode_frame(kind, values, hello=hello, state=4, sequence=writer.frames & 0xFFFF, tick=tick)
                for frame in decoder.feed(raw):
                    assert isinstance(frame, Frame)
                    writer.frame(frame, EPOCH_NS + tick * 10_000_000)
            kinds.clear()
    return writer.path


def replayed(path: Path) -> None:
    """As fast as it goes."""
    with Session(path) as session:
        played = Replayed(session, 1000.0)
        for _ in played.chunks(clock=itertools.count().__next__):  # a clock on which everything is due at once
            continue
    assert played.frames > FRAMES


def opened(act: Callable[[Session], object]) -> Callable[[Path], None]:
    def go(path: Path) -> None:
        with Session(path) as session:
            act(session)

    return go


def run() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = an_hour(folder / "sessions")
        tasks: dict[str, Callable[[Path], None]] = {
            "report": opened(lambda session: write_report(session, folder / "hour.html")),
            "export csv": opened(lambda session: export(session, "csv", folder / "csv")),
            "export parquet": opened(lambda session: export(session, "parquet", folder / "parquet")),
            "export mcap": opened(lambda session: export(session, "mcap", folder / "mcap")),
            "replay": replayed,
        }
        for what, act in tasks.items():
            begun, used = time.perf_counter(), time.process_time()
            act(path)
            wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - used
            rows.append({"what": what, "wall s": f"{wall_s:.1f}", "CPU s": f"{cpu_s:.1f}", "goal s": f"{GOAL_S:g}"})
    return rows


if __name__ == "__main__":
    print(run())
