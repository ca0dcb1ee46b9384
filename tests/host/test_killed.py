"""kill -9 of the recorder at twenty seeded moments, in commits and checkpoints too: what was committed is whole."""

import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rfprobe.session import Session, wal_of
from rfprobe.session_verify import verify_path

pytestmark = [
    pytest.mark.slow,  # a second each: left to `make test`
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
]

# A recorder as `run` is one, at 1000 frames a second; it notes outside the session how far it has come. The fuse is
# lit by the Nth statement that begins with a word, in the thread that commits, and burns for some microseconds.
CHILD = """
import os, signal, sys, threading, time
from pathlib import Path
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import FrameDecoder, encode_frame
from rfprobe_core import protocol
path, noted, word, count, burns_us, frames = Path(sys.argv[1]), sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7])
telemetry = (0,) * len(protocol.FRAMES[protocol.TELEMETRY][2])
note = os.open(noted, os.O_CREAT | os.O_WRONLY)
decoder = FrameDecoder()
writer = SessionWriter(path, {"plan_name": "killed"})
writer.armed(True)
left = [count]

def explode():
    time.sleep(burns_us / 1e6)
    os.kill(os.getpid(), signal.SIGKILL)

def fuse(statement):
    if statement.startswith(word):
        left[0] -= 1
        if left[0] == 0:
            threading.Thread(target=explode).start() if burns_us else explode()

writer._database.set_trace_callback(fuse)
for number in range(frames):
    raw = encode_frame(protocol.TELEMETRY, telemetry, sequence=number & 0xFFFF, tick=number)
    (frame,) = decoder.feed(raw)
    writer.frame(frame, time.time_ns())
    os.pwrite(note, (number + 1).to_bytes(8, "little"), 0)
    if word != "PRAGMA wal_checkpoint" or number % 20 == 0:
        time.sleep(0.001)
writer.close()
time.sleep(1)
"""


@dataclass(frozen=True)
class Moment:
    """When it is killed: at the `count`th statement that begins with `word`, or so many µs later."""

    word: str
    count: int
    burns_us: int
    frames: int = 20_000


def moments(seed: int = 1) -> list[Moment]:
    source = random.Random(seed)
    between = [Moment("BEGIN", source.randint(2, 12), source.randint(1, 100_000)) for _ in range(5)]
    in_rows = [Moment("INSERT INTO frames", source.randint(50, 1_200), 0) for _ in range(5)]
    in_commits = [Moment("COMMIT", source.randint(2, 12), source.randint(0, 3_000)) for _ in range(6)]
    in_checkpoints = [Moment("PRAGMA wal_checkpoint", 1, source.randint(0, 4_000), 6_000) for _ in range(4)]
    return [*between, *in_rows, *in_commits, *in_checkpoints]


MOMENTS = moments()


def killed(folder: Path, moment: Moment) -> tuple[Path, int]:
    """(the session, how many frames its recorder had been handed)."""
    path, noted = folder / "killed.rfp", folder / "noted"
    told = [moment.word, str(moment.count), str(moment.burns_us), str(moment.frames)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(noted), *told],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return path, int.from_bytes(noted.read_bytes(), "little")


def test_there_are_twenty() -> None:
    assert len(MOMENTS) == 20


@pytest.mark.parametrize("number", range(20))
def test_what_was_committed_is_whole_and_a_copy_without_its_wal_says_what_it_lacks(tmp_path: Path, number: int) -> None:
    path, handed_in = killed(tmp_path, MOMENTS[number])
    wal = wal_of(path)
    alone = tmp_path / "alone" / path.name
    alone.parent.mkdir()
    shutil.copy(path, alone)
    copied, found = verify_path(alone), verify_path(path)
    assert found.passed, found.problems
    if copied.passed:
        assert copied.frames == found.frames, "it says that it is whole, and it is"
    else:
        assert f"{wal.name} is missing" in "".join(copied.problems)
    assert found.lost == 0
    with Session(path) as session:
        sequences = [row[0] for row in session.rows("SELECT sequence FROM frames ORDER BY id")]
    assert sequences == list(range(len(sequences))), "an end is missing, never something in between"
    assert 0 < len(sequences) <= handed_in + 1
    assert handed_in - len(sequences) <= 2_000, "two seconds, on however busy a machine; the promise is in the bench"


@pytest.mark.bench
@pytest.mark.parametrize("number", range(16))
def test_no_more_than_250_ms_of_frames_are_missing(tmp_path: Path, number: int) -> None:
    path, handed_in = killed(tmp_path, MOMENTS[number])
    with Session(path) as session:
        ((there,),) = session.rows("SELECT count(*) FROM frames")
    print(f"{MOMENTS[number]}: {handed_in - there} of {handed_in} frames missing, 1000 a second")
    assert handed_in - there <= 250
