"""What a host may ask: who owns the session, what may be said in which state, and the ack it gets.

A retried id gets the ack it got the first time and changes nothing. STOP is not here to be judged: it is done.
"""

from array import array

from rfprobe_core import plan, protocol
from rfprobe_core.constant import const
from rfprobe_core.lines import KEY_BY_HASH, LINE, STOP, VERB_BY_HASH, LineParser
from rfprobe_core.plan import INDEX
from rfprobe_core.protocol import (
    ACK_BAD_VALUE,
    ACK_CONTRADICTION,
    ACK_CRC,
    ACK_NOT_OWNER,
    ACK_OK,
    ACK_SYNTAX,
    ACK_UNKNOWN_KEY,
    ACK_UNKNOWN_VERB,
    ACK_WRONG_DIGEST,
    ACK_WRONG_STATE,
    NO_KEY,
    TICK_MS,
    VERBS,
)
from rfprobe_core.sequence import ARM_TICKS

LEASE_TICKS = 100
_LEASE_TICKS = const(100)
_TICK_MASK = const((1 << 30) - 1)
REMEMBERED = 8
_UNKNOWN = 255
_NONCE_MASK = 0xFFFFF
_SLOW = (protocol.VERB_HELLO, protocol.VERB_CONFIGURE, protocol.VERB_STORE)
_BEFORE_ARM = (protocol.VERB_CONFIGURE, protocol.VERB_STORE)
_START_CODES = (protocol.ACK_GUARD, protocol.ACK_START_TEMPERATURE, protocol.ACK_START_SPREAD)


class Commands:
    """`take` each byte; `slow` is a verb that waits for the slack between ticks (it may allocate)."""

    def __init__(self, nonce_seed):
        self.lines_refused = 0
        self.slow_verb = -1
        self.nonce = nonce_seed & _NONCE_MASK or 1  # 0 tells that somebody owns the session
        self.owned = False
        self._lease_tick = 0
        self._slow_id = 0
        self._parser = LineParser()
        self._ids = array("i", [-1] * REMEMBERED)
        self._acks = array("i", [0] * (REMEMBERED * 5))
        self._next = 0
        self._key = NO_KEY
        self._value = 0
        self._value2 = 0

    def lease_age_ticks(self, tick):
        return (tick - self._lease_tick) & _TICK_MASK if self.owned else _LEASE_TICKS + 1

    def lease_left_ms(self, tick):
        left = LEASE_TICKS - self.lease_age_ticks(tick)
        return left * TICK_MS if left > 0 else 0

    def _forget(self):
        """Another host may count its ids from where this one did."""
        for slot in range(REMEMBERED):
            self._ids[slot] = -1

    def check_lease(self, c):
        """At rest, a lease that has run out ends the ownership; the old nonce is worth nothing from then on."""
        if self.owned and c.sequence.at_rest() and self.lease_age_ticks(c.tick_count) > LEASE_TICKS:
            self.owned = False
            self._forget()
            self.nonce = (self.nonce * 997 + 12_345) & _NONCE_MASK or 1  # < 2^20 · 2^10

    def take(self, c, byte):
        """One byte from the host, for controller `c`."""
        heard = self._parser.push(byte)
        if heard == STOP:
            if not c.stop():  # a flood of STOPs gets one ack a tick, or it would drown the run's end
                self._ack(c, 0, protocol.VERB_STOP, ACK_OK)
        elif heard == LINE:
            self._line(c)

    def _line(self, c):
        parser = self._parser
        at = 1 if parser.words > 0 and parser.numeric[0] else 0
        command_id = parser.numbers[0] if at else 0
        self._key = NO_KEY
        self._value = 0
        self._value2 = 0
        if parser.broken or parser.words <= at or command_id < 0:
            self._refuse(c, 0, _UNKNOWN, ACK_SYNTAX)
            return
        verb = self._verb(parser.hashes[at])
        if parser.crc_given and not parser.crc_right:
            self._refuse(c, command_id, _UNKNOWN, ACK_CRC)
        elif verb < 0 or parser.numeric[at]:
            self._refuse(c, command_id, _UNKNOWN, ACK_UNKNOWN_VERB)
        elif VERBS[verb][1] and not (parser.crc_given and at):
            self._refuse(c, command_id, verb, ACK_CRC)
        elif parser.words - at - 1 != VERBS[verb][2]:
            self._refuse(c, command_id, verb, ACK_SYNTAX)
        elif not (VERBS[verb][1] and self._repeat(c, command_id, verb)):
            self._do(c, command_id, verb, at + 1)

    def _verb(self, hashed):
        """The verb whose word has this hash, or −1."""
        return VERB_BY_HASH.get(hashed, -1)

    def _repeat(self, c, command_id, verb):
        """An id that was answered before gets the same answer again."""
        acks = self._acks
        for slot in range(REMEMBERED):
            at = slot * 5
            if self._ids[slot] == command_id and acks[at] == verb:
                c.reporter.ack(
                    c.sequence.state,
                    c.tick_count,
                    command_id,
                    acks[at],
                    acks[at + 1],
                    acks[at + 2],
                    acks[at + 3],
                    acks[at + 4],
                )
                return True
        return self.slow_verb >= 0 and self._slow_id == command_id

    def _do(self, c, command_id, verb, at):
        if verb in _SLOW:
            if verb != protocol.VERB_HELLO and not self._may_change(c):
                self._refuse(c, command_id, verb, ACK_WRONG_STATE if self.owned else ACK_NOT_OWNER)
                return
            self.slow_verb = verb
            self._slow_id = command_id
            return
        code = self._act(c, verb, at)
        if code == ACK_OK:
            self._ack(c, command_id, verb, code)
        else:
            self._refuse(c, command_id, verb, code)

    def _act(self, c, verb, at):
        if verb == protocol.VERB_LEASE:
            return self._lease(c, at)
        if verb == protocol.VERB_STATUS:
            self._value = c.sequence.state
            self._value2 = c.sequence.cause
            return ACK_OK
        if verb == protocol.VERB_GET or verb == protocol.VERB_SET:
            return self._parameter(c, verb, at)
        if verb == protocol.VERB_BLACKBOX:
            return self._black_box(c, at)
        if not self.owned:
            return ACK_NOT_OWNER
        if verb == protocol.VERB_ACKNOWLEDGE:
            return c.acknowledge()
        return self._heat(c, verb, at)

    def _heat(self, c, verb, at):
        """ARM and START, the two steps towards heat; each must quote the nonce."""
        if verb == protocol.VERB_START:
            return c.start() if self._quotes_nonce(at) else ACK_NOT_OWNER
        if not self._quotes_nonce(at + 1):
            return ACK_NOT_OWNER
        # without CONFIGURE there is a digest below 0, which a host could quote too
        if c.digest < 0 or self._parser.numbers[at] != c.digest or not self._parser.numeric[at]:
            return ACK_WRONG_DIGEST
        if self.slow_verb in _BEFORE_ARM:  # still to be done, and not while armed
            return ACK_WRONG_STATE
        code = c.arm()
        self._value = TICK_MS * ARM_TICKS
        if code in _START_CODES:
            check = c.start_check
            self._key = INDEX["tc0_role"] + check.place
            self._value = check.reading_mC
            self._value2 = check.against_mC
        return code

    def _quotes_nonce(self, at):
        return self._parser.numeric[at] and self._parser.numbers[at] == self.nonce

    def _lease(self, c, at):
        if not self._quotes_nonce(at):
            return ACK_NOT_OWNER
        self.owned = True
        self._lease_tick = c.tick_count
        self._value2 = LEASE_TICKS * TICK_MS
        return ACK_OK

    def _black_box(self, c, at):
        """Whoever asks gets the records of a black box that is closed, in the slack and at rest."""
        box = c.box
        if not box.closed or not c.sequence.at_rest() or 0 <= self.slow_verb != protocol.VERB_BLACKBOX:
            return ACK_WRONG_STATE
        parser = self._parser
        numbers = parser.numbers
        if not parser.numeric[at] or not parser.numeric[at + 1] or not box.send(numbers[at], numbers[at + 1]):
            return ACK_BAD_VALUE
        self.slow_verb = protocol.VERB_BLACKBOX
        self._value = box.count
        self._value2 = box.last_tick
        return ACK_OK

    def _may_change(self, c):
        return self.owned and c.sequence.state == protocol.IDLE

    def _parameter(self, c, verb, at):
        key = KEY_BY_HASH.get(self._parser.hashes[at], -1)
        if key < 0:
            return ACK_UNKNOWN_KEY
        self._key = key
        if verb == protocol.VERB_SET:
            if not self.owned:
                return ACK_NOT_OWNER
            if not self._may_change(c):
                return ACK_WRONG_STATE
            value = self._parser.numbers[at + 1]
            if not self._parser.numeric[at + 1] or not plan.in_range(key, value):
                return ACK_BAD_VALUE
            c.set_parameter(key, value)
        self._value = c.values[key]
        return ACK_OK

    def do_slow(self, c):
        """HELLO, CONFIGURE, STORE or BLACKBOX, between ticks. They wait until no run is armed or under way."""
        verb = self.slow_verb
        self._key = NO_KEY
        self._value = 0
        self._value2 = 0
        if verb < 0 or not c.sequence.at_rest():
            return
        if verb == protocol.VERB_BLACKBOX and c.box.left() <= 0:
            self.slow_verb = -1
            return
        if (verb == protocol.VERB_HELLO or verb == protocol.VERB_BLACKBOX) and not c.reporter.idle():
            c.reporter.hush()
            return
        if verb == protocol.VERB_BLACKBOX:
            c.reporter.black_box(c)
            return
        self.slow_verb = -1
        if verb == protocol.VERB_HELLO:
            c.say_hello()
            return
        code = ACK_OK
        if verb == protocol.VERB_STORE:
            code = c.store_calibration()
            self._value = c.calibration.digest
            self._ack(c, self._slow_id, verb, code)
            return
        self._value = c.configure()
        if self._value < 0:
            self._value = -1 - self._value
            code = ACK_CONTRADICTION
        self._ack(c, self._slow_id, verb, code)

    def _remember(self, command_id, verb, code):
        """A retry gets this answer again. A lease may be renewed twice; a line that came broken was never heard."""
        if VERBS[verb][1] and verb != protocol.VERB_LEASE and code != ACK_CRC:
            at = self._next * 5
            acks = self._acks
            self._ids[self._next] = command_id
            acks[at] = verb
            acks[at + 1] = code
            acks[at + 2] = self._key
            acks[at + 3] = self._value
            acks[at + 4] = self._value2
            self._next = self._next + 1 if self._next + 1 < REMEMBERED else 0

    def _ack(self, c, command_id, verb, code):
        self._remember(command_id, verb, code)
        c.reporter.ack(c.sequence.state, c.tick_count, command_id, verb, code, self._key, self._value, self._value2)

    def _refuse(self, c, command_id, verb, code):
        if self.lines_refused < 0xFFFF:
            self.lines_refused += 1
        # a line that is no command is only counted: noise must not fill the link with acks
        if code == ACK_SYNTAX and verb == _UNKNOWN:
            return
        if verb != _UNKNOWN:
            self._remember(command_id, verb, code)
        c.reporter.ack(c.sequence.state, c.tick_count, command_id, verb, code, self._key, self._value, self._value2)

    def lost(self):
        """The port is gone: half a line is worth nothing."""
        self._parser.drop()
