"""A recording played to the firmware: SPI bytes, ADC counts, inputs and host bytes as they were, nothing simulated.

One record a tick: the stimulus (exchange.py), then a u16 and as many bytes of SPI frames, each of them
select, length, the bytes the firmware sent, the bytes the chip answered.
"""

from io import BytesIO

from .board import VirtualBoard
from .device import VirtualDevice
from .exchange import RESPONSE_HEAD, STIMULUS_SIZE


class RecordingBoard(VirtualBoard):
    """Notes every SPI frame of the tick in `frames`."""

    def __init__(self, nonce_seed, uid, calibration="exact"):
        VirtualBoard.__init__(self, nonce_seed, uid, calibration)
        self.frames = bytearray()

    def spi_transfer(self, select, buffer):
        sent = bytes(buffer)
        VirtualBoard.spi_transfer(self, select, buffer)
        self.frames += bytes([select, len(buffer)]) + sent + bytes(buffer)


class ReplayBoard(VirtualBoard):
    """Answers SPI frames from `frames`, in order; ValueError if the firmware sends anything else than it did."""

    def __init__(self, nonce_seed, uid, calibration="exact"):
        VirtualBoard.__init__(self, nonce_seed, uid, calibration)
        self.play(b"")

    def play(self, frames):
        """The SPI frames of the tick to come."""
        self.frames = frames
        self._at = 0

    def spi_transfer(self, select, buffer):
        frames = self.frames
        at = self._at
        count = len(buffer)
        if at + 2 + 2 * count > len(frames) or frames[at] != select or frames[at + 1] != count:
            raise ValueError("the firmware asks the chips for something else than it did when this was recorded")
        at += 2
        for index in range(count):
            if frames[at + index] != buffer[index]:
                raise ValueError("the firmware sends other SPI bytes than it did when this was recorded")
            buffer[index] = frames[at + count + index]
        self._at = at + 2 * count


def play(source, nonce_seed, uid, start_us, first_tick):
    """Play a recording tick by tick from a stream (`read`); yields what the firmware sent in each."""
    board = ReplayBoard(nonce_seed, uid)
    device = VirtualDevice(board, start_us, first_tick)
    while True:
        stimulus = source.read(STIMULUS_SIZE)
        if not stimulus:
            return
        size = source.read(2)
        board.play(source.read(size[0] | size[1] << 8))
        response = device.run(stimulus)
        count = response[4] | response[5] << 8
        yield bytes(response[RESPONSE_HEAD : RESPONSE_HEAD + count])


def replay(recording, nonce_seed, uid, start_us, first_tick):
    """Play a whole recording (bytes); returns everything the firmware sent."""
    return b"".join(play(BytesIO(recording), nonce_seed, uid, start_us, first_tick))
