"""A small device that follows the protocol, or leaves it where a test tells it to; and a client's loop on it.

It knows nothing of heat: RAMP, HOLD and COOLDOWN last as long as they are told to.
"""

from array import array
from binascii import crc_hqx
from collections import Counter
from collections.abc import Callable
from typing import Final

from rfprobe.client import RunClient
from rfprobe.wire import FIELD_NAMES, Frame, encode_frame
from rfprobe_core import plan, protocol

TICK_S: Final = 0.01
LEASE_TICKS: Final = 100
VALUES: Final = {name: row[4] for name, row in zip(plan.NAMES, plan.PARAMETERS, strict=True)} | {
    "target_mC": 70_000,
    "max_temperature_mC": 95_000,
    "cooldown_ms": 300,
}
VERB_INDEX: Final = {row[0]: index for index, row in enumerate(protocol.VERBS)}
UNDER_WAY: Final = (protocol.ARMED, protocol.RAMP, protocol.HOLD, protocol.REST)


class ScriptedDevice:
    """One 10 ms tick per `exchange`; the knobs are plain attributes, set before or while it runs."""

    tick_us: Final = 10_000

    def __init__(self, state: int = protocol.IDLE) -> None:
        self.state = state
        self.nonce = "4711"
        self.proto = protocol.protocol_digest()
        self.schema = protocol.SCHEMA
        self.lasts = {protocol.SELF_TEST: 20, protocol.RAMP: 50, protocol.HOLD: 50, protocol.COOLDOWN: 30}
        self.refusals: dict[str, tuple[int, int, int]] = {}  # verb: ack code, key, value
        self.drop_acks: Counter[str] = Counter()  # verb: how many acks are lost
        self.drop_lines: Counter[str] = Counter()
        self.damage_lines: Counter[str] = Counter()  # as if they had arrived with a wrong CRC
        self.stops_ignored = 0
        self.tells_end = True
        self.stored: dict[str, int] = {}  # key: what is stored whatever was sent
        self.understood: int | None = None
        self.remembered: dict[int, tuple[int, ...]] = {}
        self.values = dict(VALUES)
        self.owned = False
        self.result = protocol.RESULT_NONE
        self.cause = 0
        self.acted: Counter[str] = Counter()
        self.lines: list[str] = []
        self.tick = 0
        self._sequence = 0
        self._lease_tick = 0
        self._since = 0
        self._pending = b""
        self._out: list[bytes] = []

    def exchange(self, received: bytes) -> bytes:
        """One tick: take what came from the host, move on, report."""
        self.tick += 1
        self._pending += received
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            self._take(line.decode("ascii"))
        self._advance()
        if self.tick % 5 == 0:
            self._telemetry()
        out, self._out = b"".join(self._out), []
        return out

    def go(self, state: int) -> None:
        """Enter a state."""
        self.state = state
        self._since = self.tick

    def end(self, result: int, cause: str, state: int) -> None:
        """A run's verdict."""
        self.result = result
        self.cause = protocol.CAUSE[cause]
        self.go(state)
        if self.tells_end:
            self._frame(protocol.EVENT, (protocol.EVENT_END, self.cause, protocol.NO_ROW, result, 0, self.tick))

    def fault(self, cause: str) -> None:
        """A safety stop."""
        number = protocol.CAUSE[cause]
        self._frame(protocol.EVENT, (protocol.EVENT_FAULT, number, 3, 45_100, 44_000, self.tick))
        self.end(protocol.RESULT_FAULT, cause, protocol.FAULT)

    def reboot(self, nonce: str) -> None:
        """As after a reset: nothing is known, everything counts from zero."""
        self.nonce = nonce
        self.owned = False
        self.result = self.cause = self.tick = self._sequence = 0
        self.remembered.clear()
        self._pending = b""
        self.go(protocol.SELF_TEST)

    def hello(self, nonce: str = "") -> None:
        """Send HELLO, with the nonce that is due or another."""
        shown = nonce or ("0" if self.owned else self.nonce)
        text = {"fw": "test", "proto": self.proto, "schema": str(self.schema), "nonce": shown}
        self._frame(protocol.HELLO, (), text)

    def _frame(self, kind: int, values: tuple[int, ...], hello: dict[str, str] | None = None) -> None:
        self._out.append(
            encode_frame(
                kind,
                values,
                hello=hello,
                schema=self.schema,
                state=self.state,
                sequence=self._sequence,
                tick=self.tick,
            )
        )
        self._sequence += 1

    def _telemetry(self) -> None:
        known = {"result": self.result, "cause": self.cause}
        self._frame(protocol.TELEMETRY, tuple(known.get(name, 0) for name in FIELD_NAMES[protocol.TELEMETRY]))

    def _advance(self) -> None:
        lease_age = self.tick - self._lease_tick
        if self.owned and lease_age > LEASE_TICKS:
            if self.state in UNDER_WAY:
                self.end(protocol.RESULT_LINK_LOST, "lease_lost", protocol.FAULT)
            self.owned = False
            self.nonce = str(int(self.nonce) + 1)
        if self.tick - self._since < self.lasts.get(self.state, 1 << 30):
            return
        if self.state == protocol.HOLD:
            self.end(protocol.RESULT_COMPLETED, "hold_complete", protocol.COOLDOWN)
            return
        following = {
            protocol.SELF_TEST: protocol.IDLE,
            protocol.RAMP: protocol.HOLD,
            protocol.COOLDOWN: protocol.DONE,
        }
        self.go(following[self.state])

    def _take(self, line: str) -> None:
        self.lines.append(line)
        if "STOP" in line:
            self._stop()
            return
        text, star, crc = line.partition("*")
        words = text.replace("=", " ").split()
        if words == ["HELLO"]:
            if self.state not in UNDER_WAY:
                self.hello()
            return
        if words[0] == "GET":
            return  # a watcher asks, and may go unanswered
        assert star and int(crc, 16) == crc_hqx(text.encode(), 0xFFFF), line
        ident, verb = int(words[0]), words[1]
        if self.drop_lines[verb]:
            self.drop_lines[verb] -= 1
        elif self.damage_lines[verb]:
            self.damage_lines[verb] -= 1
            self._ack(ident, 255, protocol.ACK_CRC)
        elif ident in self.remembered:
            self._send_ack(verb, self.remembered[ident])
        else:
            self._do(ident, verb, words[2:])

    def _stop(self) -> None:
        if self.stops_ignored:
            self.stops_ignored -= 1
            return
        self.acted["STOP"] += 1
        self._ack(0, protocol.VERB_STOP, protocol.ACK_OK)
        if self.state in UNDER_WAY:
            self.end(protocol.RESULT_STOPPED, "operator_stop", protocol.STOPPED)

    def _do(self, ident: int, verb: str, words: list[str]) -> None:
        if verb in self.refusals:
            code, key, value = self.refusals[verb]
            self._ack(ident, VERB_INDEX[verb], code, key, value)
            return
        code, key, value, value2 = self._act(verb, words)
        self._ack(ident, VERB_INDEX[verb], code, key, value, value2)

    def _act(self, verb: str, words: list[str]) -> tuple[int, int, int, int]:
        no_key = protocol.NO_KEY
        if verb == "LEASE":
            if words[0] != self.nonce:
                return protocol.ACK_NOT_OWNER, no_key, 0, 0
            self.owned = True
            self._lease_tick = self.tick
            return protocol.ACK_OK, no_key, 0, 1_000
        self.acted[verb] += 1
        if not self.owned:
            return protocol.ACK_NOT_OWNER, no_key, 0, 0
        if verb in ("SET", "CONFIGURE", "ARM") and self.state != protocol.IDLE:
            return protocol.ACK_WRONG_STATE, no_key, 0, 0
        if verb == "SET":
            return self._set(words[0], int(words[1]))
        if verb in ("GET", "CONFIGURE"):
            return self._told(words)
        if verb == "ACKNOWLEDGE":
            self.result = self.cause = 0
            self.go(protocol.IDLE)
        if verb == "ARM":
            assert words == [str(self.digest()), self.nonce]
            self.go(protocol.ARMED)
        if verb == "START":
            assert (self.state, words) == (protocol.ARMED, [self.nonce])
            self.go(protocol.RAMP)
        return protocol.ACK_OK, no_key, 0, 0

    def _told(self, words: list[str]) -> tuple[int, int, int, int]:
        """A value, or the digest of all."""
        if words:
            return protocol.ACK_OK, plan.INDEX[words[0]], self.values[words[0]], 0
        return protocol.ACK_OK, protocol.NO_KEY, self.digest(), 0

    def _set(self, key: str, value: int) -> tuple[int, int, int, int]:
        index = plan.INDEX[key]
        if not plan.in_range(index, value):
            return protocol.ACK_BAD_VALUE, index, 0, 0
        self.values[key] = self.stored.get(key, value)
        return protocol.ACK_OK, index, self.values[key], 0

    def digest(self) -> int:
        """Of the values as stored, unless a test says what the device understood."""
        if self.understood is not None:
            return self.understood
        return plan.digest(array("i", [self.values[name] for name in plan.NAMES]))

    def _ack(
        self, ident: int, verb: int, code: int, key: int = protocol.NO_KEY, value: int = 0, value2: int = 0
    ) -> None:
        answer = (ident, verb, code, key, value, value2)
        if code != protocol.ACK_CRC and verb not in (protocol.VERB_LEASE, protocol.VERB_STOP):
            self.remembered[ident] = answer
        self._send_ack(protocol.VERBS[verb][0] if verb < len(protocol.VERBS) else "", answer)

    def _send_ack(self, verb: str, answer: tuple[int, ...]) -> None:
        if self.drop_acks[verb]:
            self.drop_acks[verb] -= 1
            self._sequence += 1
            return
        self._frame(protocol.ACK, answer)


class Bench:
    """Client and device on one virtual clock. `up` and `down` are cut while they are False."""

    def __init__(self, client: RunClient, device: ScriptedDevice) -> None:
        self.client = client
        self.device = device
        self.now_s = 0.0
        self.up = True
        self.down = True
        self.polls = 1  # a tick
        self.phases = [client.phase]
        self.sent: list[tuple[float, bytes]] = []
        self.heard: list[Frame | str] = []

    def tick(self) -> None:
        """10 ms."""
        data = b"".join(self._poll(self.now_s + step * TICK_S / self.polls) for step in range(self.polls))
        answer = self.device.exchange(data if self.down else b"")
        self.heard += self.client.feed(answer if self.up else b"", self.now_s)
        self._note_phase()
        self.now_s += TICK_S

    def _poll(self, now_s: float) -> bytes:
        data = self.client.poll(now_s)
        if data:
            self.sent.append((now_s, data))
        self._note_phase()
        return data

    def _note_phase(self) -> None:
        if self.client.phase is not self.phases[-1]:
            self.phases.append(self.client.phase)

    def run(self, until: Callable[[], bool] | None = None, within_s: float = 30.0) -> None:
        """Until the client is over (or `until` holds); AssertionError if that takes longer."""
        ended = until or (lambda: self.client.over)
        end_s = self.now_s + within_s
        while not ended():
            assert self.now_s < end_s, f"still {self.client.phase} after {within_s} s"
            self.tick()

    def verbs_sent(self) -> list[str]:
        """The verbs that went down, in order."""
        lines = b"".join(data for _, data in self.sent).decode("ascii").splitlines()
        return [line.partition("*")[0].split()[0 if line[0].isalpha() else 1] for line in lines]
