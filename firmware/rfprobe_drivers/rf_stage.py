"""The RF stage: enable by a dead-man that must be fed every tick, and a drive duty by the stage's drive law."""

from array import array

from rfprobe_core.constant import const

FULL = 65_535
_FULL = const(65_535)
_LAW_SIN2 = const(2)
_STEPS = const(64)

# duty/65535 for a voltage fraction i/64 where V ∝ sin(π·duty): asin(i/64)/π. A bridge keyed directly by the drive
# has this law (the fundamental of a pulse of that width), so its power goes with sin² and is full at half duty.
_ASIN = array(
    "H",
    (
        0, 326, 652, 978, 1305, 1631, 1959, 2286, 2614, 2943, 3273, 3603, 3935,
        4267, 4600, 4935, 5271, 5608, 5947, 6288, 6630, 6974, 7320, 7668, 8019, 8372,
        8727, 9085, 9446, 9810, 10177, 10548, 10923, 11301, 11683, 12070, 12462, 12859, 13261,
        13669, 14084, 14505, 14933, 15369, 15813, 16267, 16730, 17205, 17691, 18191, 18705, 19236,
        19785, 20355, 20949, 21571, 22225, 22920, 23663, 24467, 25353, 26355, 27539, 29075, 32768,
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
        duty = _sin_duty(fraction) if self._law == _LAW_SIN2 else fraction
        most = self._max_duty
        if duty > most:
            duty = most
        self.duty = duty
        self._board.set_duty(_FULL - duty if self._inverted else duty)

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
    index = scaled // _FULL
    if index >= _STEPS:
        return _ASIN[_STEPS]
    low = _ASIN[index]
    return low + (_ASIN[index + 1] - low) * (scaled - index * _FULL) // _FULL
