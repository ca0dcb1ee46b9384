"""Makes `data/stimulus.bin.z` and `data/frames.bin`: `python -m tests.runtimes.recording`.

The stimulus is a whole run as the firmware's pins saw it: SPI bytes, ADC counts, inputs, host bytes. The frames are
what the firmware sent, but for HELLO, which names the interpreter. Both are kept, so that any change of what the
firmware says is seen and has to be meant.
"""

import zlib
from pathlib import Path

from rfprobe.sim.onboard.device import VirtualDevice
from rfprobe.sim.onboard.exchange import STIMULUS_SIZE
from rfprobe.sim.onboard.replay import RecordingBoard
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, Run, run

DATA = Path(__file__).parent / "data"
STIMULUS = DATA / "stimulus.bin.z"
FRAMES = DATA / "frames.bin"


class Recorder:
    """The firmware in this process, with every stimulus and SPI frame noted."""

    name = "cpython"

    def __init__(self) -> None:
        self.board = RecordingBoard(NONCE_SEED, UID)
        self.device = VirtualDevice(self.board, 0, 0)
        self.recording = bytearray()

    def exchange(self, stimulus: bytes) -> bytearray:
        assert len(stimulus) == STIMULUS_SIZE
        frames: bytearray = self.board.frames
        frames.clear()
        response: bytearray = self.device.run(stimulus)
        self.recording += stimulus + len(frames).to_bytes(2, "little") + frames
        return response

    def close(self) -> None:
        """Nothing to end."""


def record() -> tuple[bytes, Run]:
    recorder = Recorder()
    done = run(recorder)
    return bytes(recorder.recording), done


def main() -> None:
    recording, done = record()
    DATA.mkdir(exist_ok=True)
    STIMULUS.write_bytes(zlib.compress(recording, 9))
    FRAMES.write_bytes(done.bytes_of(protocol.HELLO))
    print(f"{len(recording)} bytes of stimulus, {len(done.frames)} frames, {done.client.result}")


if __name__ == "__main__":
    main()
