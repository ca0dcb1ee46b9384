"""Makes `data/*`, a stimulus and its frames for each mode: `python -m tests.runtimes.recording`.

A stimulus is a whole run as the firmware's pins saw it: SPI bytes, ADC counts, inputs, host bytes. The frames are
what the firmware sent, but for HELLO, which names the interpreter. Both are kept, so that any change of what the
firmware says is seen and has to be meant. The first, of the mode `temperature`, is what the chip is given too.
"""

import zlib
from pathlib import Path

from rfprobe.sim.onboard.device import VirtualDevice
from rfprobe.sim.onboard.exchange import STIMULUS_SIZE
from rfprobe.sim.onboard.replay import RecordingBoard
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, SHORT_BY_MODE, UID, Run, run

DATA = Path(__file__).parent / "data"
STIMULUS = DATA / "stimulus.bin.z"
FRAMES = DATA / "frames.bin"


def files_of(mode: str) -> tuple[Path, Path]:
    """Where the stimulus and the frames of a mode's recording are."""
    if mode == "temperature":
        return STIMULUS, FRAMES
    return DATA / f"{mode}-stimulus.bin.z", DATA / f"{mode}-frames.bin"


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


def record(mode: str = "temperature") -> tuple[bytes, Run]:
    recorder = Recorder()
    done = run(recorder, **SHORT_BY_MODE[mode])
    return bytes(recorder.recording), done


def main() -> None:
    DATA.mkdir(exist_ok=True)
    for mode in SHORT_BY_MODE:
        recording, done = record(mode)
        stimulus, frames = files_of(mode)
        stimulus.write_bytes(zlib.compress(recording, 9))
        frames.write_bytes(done.bytes_of(protocol.HELLO))
        print(f"{mode}: {len(recording)} bytes of stimulus, {len(done.frames)} frames, {done.client.cause}")


if __name__ == "__main__":
    main()
