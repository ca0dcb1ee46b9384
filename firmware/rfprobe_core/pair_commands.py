"""Commands of a device with two channels: the second is addressed by `VERB@2`, the rest is said to both.

Which channel a line is for is said in that line, so none that is lost or comes twice can send the next astray.
"""

from rfprobe_core.commands import Commands
from rfprobe_core.lines import VERB_BY_HASH, word_hash
from rfprobe_core.protocol import (
    ACK_WRONG_STATE,
    IDLE,
    VERB_BLACKBOX,
    VERB_CONFIGURE,
    VERB_GET,
    VERB_SET,
    VERB_STATUS,
    VERB_STORE,
    VERBS,
)

OF_A_CHANNEL = (VERB_SET, VERB_GET, VERB_CONFIGURE, VERB_STORE, VERB_BLACKBOX, VERB_STATUS)
SECOND = "@2"
VERB_OF_SECOND = {word_hash((VERBS[verb][0] + SECOND).encode()): verb for verb in OF_A_CHANNEL}


class PairCommands(Commands):
    """`c` of the base's methods is the pair, or the channel that the line names."""

    def __init__(self, nonce_seed, pair):
        Commands.__init__(self, nonce_seed)
        self._pair = pair
        self._named = -1  # the channel that the line under way names; −1: it is for the whole device
        self._slow_channel = 0

    def _verb(self, hashed):
        verb = VERB_OF_SECOND.get(hashed, -1)
        if verb >= 0:
            self._named = 1
            return verb
        verb = VERB_BY_HASH.get(hashed, -1)
        self._named = 0 if verb in OF_A_CHANNEL else -1
        return verb

    def _line(self, c):
        self._named = -1
        Commands._line(self, c)
        c.reporter.channel = 0
        if c.sequence.at_rest():  # under way nothing can have changed
            c.take_stock()

    def _do(self, c, command_id, verb, at):
        if self._named < 0:
            Commands._do(self, c, command_id, verb, at)
            return
        c.reporter.channel = self._named
        pending = self.slow_verb
        Commands._do(self, c.channels[self._named], command_id, verb, at)
        if self.slow_verb != pending:
            self._slow_channel = self._named

    def _black_box(self, c, at):
        if not self._pair.sequence.at_rest():
            return ACK_WRONG_STATE
        return Commands._black_box(self, c, at)

    def _may_change(self, c):
        """Of neither, while either is armed, under way or shows how its run ended."""
        first, second = self._pair.channels
        return self.owned and first.sequence.state == IDLE and second.sequence.state == IDLE

    def do_slow(self, c):
        if not c.sequence.at_rest():
            return
        verb = self.slow_verb
        if verb not in OF_A_CHANNEL:
            Commands.do_slow(self, c)
            return
        c.reporter.channel = self._slow_channel
        if verb == VERB_CONFIGURE:
            c.configured_last = self._slow_channel
        Commands.do_slow(self, c.channels[self._slow_channel])
        c.reporter.channel = 0
        c.take_stock()
