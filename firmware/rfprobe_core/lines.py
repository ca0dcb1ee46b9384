"""The command line parser: one byte at a time, nothing allocated, nothing raised, whatever comes in.

A line is `ID VERB [KEY[=]] [VALUE …]*CRC`. Words are compared by their CRC-16, which a test shows to differ
for all verbs and keys. Besides the lines, STOP is heard anywhere in the stream.
"""

from array import array

from rfprobe_core.kernels import crc16, crc16_byte
from rfprobe_core.plan import NAMES
from rfprobe_core.protocol import CRC_START, VERBS

MAX_LINE = 80
WORDS = 5
_NUMBER_MAX = 1 << 29

_STOP = b"STOP"
_SPACE = 0x20
_EQUALS = 0x3D
_STAR = 0x2A
_MINUS = 0x2D
_CR = 0x0D
_LF = 0x0A


def word_hash(text):
    """How the parser knows a word: its CRC-16."""
    return crc16(text, len(text), CRC_START)


VERB_BY_HASH = {word_hash(row[0].encode()): index for index, row in enumerate(VERBS)}
KEY_BY_HASH = {word_hash(name.encode()): index for index, name in enumerate(NAMES)}

# What `push` returns
NOTHING = 0
LINE = 1
STOP = 2


class LineParser:
    """After `push` has returned LINE: `words` says how many, and `hashes`, `numbers`, `numeric` hold them.

    `crc_given` and `crc_right` say what the line's CRC was; `broken` that the line is no command at all.
    """

    def __init__(self):
        self.hashes = array("H", [0] * WORDS)
        self.numbers = array("i", [0] * WORDS)
        self.numeric = bytearray(WORDS)
        self.words = 0
        self.crc_given = False
        self.crc_right = False
        self.broken = False
        self.empty = True
        self._stop_seen = 0
        self._begin()

    def _begin(self):
        self._length = 0
        self._words = 0
        self._in_word = False
        self._digits = 0
        self._negative = False
        self._crc = CRC_START
        self._crc_digits = -1  # −1: no star yet
        self._crc_read = 0
        self._broken = False

    def push(self, byte):
        """Take one byte; returns NOTHING, LINE or STOP."""
        if self._hear_stop(byte):
            return STOP
        if byte == _LF or byte == _CR:
            self._finish()
            return NOTHING if self.empty else LINE
        self._length += 1
        if self._length > MAX_LINE:
            self._length = MAX_LINE
            self._broken = True
        elif self._crc_digits >= 0:
            self._take_crc(byte)
        elif byte == _STAR:
            self._crc_digits = 0
            self._in_word = False
        else:
            self._crc = crc16_byte(self._crc, byte)
            self._take(byte)
        return NOTHING

    def _hear_stop(self, byte):
        """STOP in capitals or small letters, wherever it stands; not part of a longer word's check."""
        upper = byte & 0xDF
        if upper == _STOP[self._stop_seen]:
            self._stop_seen += 1
            if self._stop_seen == 4:
                self._stop_seen = 0
                self._begin()
                return True
        else:
            self._stop_seen = 1 if upper == _STOP[0] else 0
        return False

    def _take(self, byte):
        if byte == _SPACE or byte == _EQUALS:
            self._in_word = False
        elif byte < 0x21 or byte > 0x7E:
            self._broken = True
        else:
            if not self._in_word:
                self._begin_word()
            self._extend_word(byte)

    def _begin_word(self):
        if self._words == WORDS:
            self._broken = True
            return
        self._in_word = True
        self._digits = 0
        self._negative = False
        index = self._words
        self._words += 1
        self.hashes[index] = CRC_START
        self.numbers[index] = 0
        self.numeric[index] = 1

    def _extend_word(self, byte):
        index = self._words - 1
        self.hashes[index] = crc16_byte(self.hashes[index], byte)
        digit = byte - 0x30
        if 0 <= digit <= 9:
            magnitude = abs(self.numbers[index])
            # two steps, so that the check itself stays within 30 bits
            if magnitude > (_NUMBER_MAX - digit) // 10:
                self._broken = True
                return
            magnitude = magnitude * 10 + digit
            self.numbers[index] = -magnitude if self._negative else magnitude
            self._digits += 1
        elif byte == _MINUS and self._digits == 0 and not self._negative:
            self._negative = True
            self.numeric[index] = 0  # until a digit follows
            return
        else:
            self.numeric[index] = 0
            self._negative = False
            return
        if self._negative and self._digits == 1:
            self.numeric[index] = 1

    def _take_crc(self, byte):
        digit = byte - 0x30
        if digit > 9:
            digit = (byte & 0xDF) - 0x37
            if digit < 10:
                digit = 99
        if digit < 0 or digit > 15 or self._crc_digits == 4:
            self._broken = True
            return
        self._crc_read = self._crc_read << 4 | digit
        self._crc_digits += 1

    def _finish(self):
        self.words = self._words
        self.empty = self._words == 0 and not self._broken and self._crc_digits < 0
        self.crc_given = self._crc_digits >= 0
        self.crc_right = self._crc_digits == 4 and self._crc_read == self._crc
        self.broken = self._broken or self._words == 0
        self._begin()

    def drop(self):
        """Forget the line under way (a lost port)."""
        self._stop_seen = 0
        self._begin()
