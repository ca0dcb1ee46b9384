"""The firmware and the virtual board as one lock-step device: a stimulus in, a tick, a response out."""

from rfprobe_core.pacing import Pacer
from rfprobe_drivers.rig import build_controller

from .board import VirtualBoard
from .exchange import STIMULUS_SIZE, UPSET_AT
from .upset import upset

RX_PER_TICK = 64


def make_board(channels: int, nonce_seed: int, uid: str, calibration: str) -> "VirtualBoard":
    """A virtual board with one channel, or with two."""
    if channels == 1:
        return VirtualBoard(nonce_seed, uid, calibration)
    from .pair_board import VirtualPairBoard

    return VirtualPairBoard(nonce_seed, uid, calibration)


class VirtualDevice:
    """One controller on a VirtualBoard. `start_us` is where the microsecond counter stands at boot."""

    def __init__(self, board, start_us, first_tick):
        self.board = board
        self.controller = build_controller(board, first_tick)
        self.pacer = Pacer(start_us)
        pair = self.controller.channels  # of one alone it is their number
        self._controllers = [self.controller] if isinstance(pair, int) else list(pair)
        self._upsets = bytearray(board.channels)

    def run(self, stimulus):
        """The slack before a tick, then the tick, as the main loop of a board does it."""
        self.board.load(stimulus)
        for number, controller in enumerate(self._controllers):
            what = stimulus[number * STIMULUS_SIZE + UPSET_AT]
            if what != self._upsets[number]:
                self._upsets[number] = what
                if what:
                    upset(controller, what)
        self.controller.rest()
        self.live()
        return self.board.store()

    def live(self):
        """What may be done while energised: listen, tick. Nothing in it may allocate."""
        controller = self.controller
        if self.board.received:
            controller.listen(RX_PER_TICK)
        elapsed = self.pacer.elapsed(self.board.ticks_us())
        if elapsed:
            controller.tick(elapsed, self.pacer.late_us)
            controller.meter.note(-1, self.pacer.late_us, elapsed)
