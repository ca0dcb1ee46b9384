"""The RF stage: enable by a dead-man that must be fed every tick, and a drive duty by the stage's drive law."""

from array import array

from rfprobe_core.plan import LAW_SIN2

FULL = 65_535
_STEPS = 64

# duty/65535 for a voltage fraction i/64 where V ∝ sin(π/2 · duty): (2/π)·asin(i/64). A bridge keyed directly
# by the drive has this law, its power going with sin² of the duty.
_ASIN = array(
    "H",
    (
        0, 652, 1304, 1956, 2609, 3263, 3917, 4572, 5229, 5887, 6546, 7207, 7869,
        8534, 9201, 9870, 10542, 11217, 11894, 12575, 13260, 13948, 14640, 15337, 16037, 16743,
        17454, 18170, 18892, 19620, 20355, 21096, 21845, 22602, 23367, 24141, 24924, 25718, 26522,
        27339, 28167, 29009, 29865, 30737, 31626, 32533, 33460, 34409, 35382, 36381, 37410, 38471,
        39569, 40709, 41897, 43141, 44451, 45839, 47325, 48934, 50707, 52710, 55077, 58150, 65535,
    ),
)  # fmt: skip


class RfStage:
    """`drive` and `feed` each tick while energised; `off` at once and in any state."""

    def __init__(self, board):
        self._board = board
        self._law = 0
        self._inverted = False
        self._max_duty = 0
        self.duty = 0
        self.enabled = False
        self.feeds_refused = 0

    def configure(self, law, inverted, max_duty):
        self._law = law
        self._inverted = inverted
        self._max_duty = max_duty

    def drive(self, fraction):
        """Set the drive for a voltage of `fraction`/65535 of full scale."""
        duty = _sin_duty(fraction) if self._law == LAW_SIN2 else fraction
        duty = duty if duty < self._max_duty else self._max_duty
        self.duty = duty
        self._board.set_duty(FULL - duty if self._inverted else duty)

    def feed(self):
        """Keep the enable alive for one more tick; False if the dead-man did not take it."""
        self.enabled = True
        if self._board.feed():
            self.feeds_refused = 0
            return True
        self.feeds_refused += 1
        return False

    def off(self):
        """Enable low first, then the drive to nothing. Cheap; `safe_off` is the verified way."""
        self._board.enable_low()
        self.enabled = False
        self.feeds_refused = 0
        self.duty = 0
        self._board.set_duty(FULL if self._inverted else 0)

    def safe_off(self):
        """The verified way out; True if the pins read back low."""
        self.enabled = False
        self.duty = 0
        return self._board.safe_off()

    def enable_reads_high(self):
        return self._board.read_enable() != 0


def _sin_duty(fraction):
    scaled = fraction * _STEPS  # ≤ 65 535 · 64 < 2^22
    index = scaled // FULL
    if index >= _STEPS:
        return FULL
    low = _ASIN[index]
    return low + (_ASIN[index + 1] - low) * (scaled - index * FULL) // FULL
