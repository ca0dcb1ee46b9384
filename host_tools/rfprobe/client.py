"""The host's side of one run, from HELLO to the verdict: bytes and the time in, bytes out, nothing else.

The time is whatever clock the caller keeps (virtual in a simulation, monotonic on a board), in seconds. Feed
what came, then send what `poll` gives, every few milliseconds to 20 ms.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from rfprobe.box_fetch import BoxFetch
from rfprobe.wire import HELLO_LINE, MAX_COMMAND_ID, MAX_NUMBER, STOP_LINE, Frame, FrameDecoder, command_line
from rfprobe_core import plan, protocol

ACK_WITHIN_S: Final = 0.3
TRIES: Final = 5
LEASE_EVERY_S: Final = 0.25  # a quarter of the device's 1 s
STOP_EVERY_S: Final = 0.1
SILENCE_S: Final = 1.0
LOST_GRACE_S: Final = 2.0  # how long STOP is still sent into a silent link
HELLO_EVERY_S: Final = 0.3
HELLO_WITHIN_S: Final = 5.0  # a board that resets when its port is opened boots in about two
AT_REST_WITHIN_S: Final = 10.0
ARMED_WITHIN_S: Final = 5.0
ARM_AGAIN_S: Final = 0.1  # after CONFIGURE the thermocouple chips' first conversions take up to 0.3 s
VERDICT_WITHIN_S: Final = 3.0  # telemetry repeats the verdict at least once a second
COOLDOWN_SPARE_S: Final = 5.0
RESTARTS_BORNE: Final = 2
BOX_QUIET_S: Final = 0.3  # its frames come in every tick or two: then some were lost, and are asked for again
_LOOK_EVERY_S = 0.05
_CLOCK_GRAIN_S = 1e-6  # sums of ticks are not exact in floating point

ASKED: Final = (
    *(row[0] for row in plan.PARAMETERS if row[1] == plan.CALIBRATION),
    *plan.TOLD_BY_DEVICE,
)
"""What the device keeps or says of itself: read with GET once it is configured."""
TOLD: Final = tuple(name for name in plan.NAMES if name not in ASKED)
"""What the host tells the device."""

UNDER_WAY: Final = frozenset((protocol.ARMED, protocol.RAMP, protocol.HOLD, protocol.REST))
OVER: Final = frozenset((protocol.DONE, protocol.STOPPED, protocol.FAULT))
_WILL_REST = frozenset((protocol.SELF_TEST, protocol.COOLDOWN))
SECOND: Final = "@2"
"""Ends a verb that is for the second channel."""
_FURTHEST_FROM_REST: Final = (
    protocol.RAMP,
    protocol.HOLD,
    protocol.REST,
    protocol.ARMED,
    protocol.SELF_TEST,
    protocol.COOLDOWN,
    protocol.FAULT,
    protocol.STOPPED,
    protocol.DONE,
    protocol.IDLE,
)
"""Where a device of several channels is: the first of these that one of them is in."""
_RANK: Final = {state: rank for rank, state in enumerate(_FURTHEST_FROM_REST)}
_WORST_FIRST: Final = ("fault", "link_lost", "stopped", "limited", "completed")
_OF_A_CHANNEL: Final = frozenset(("SET", "GET", "CONFIGURE", "STORE"))
_OTHER = "other_channel"
_OF_THE_DEVICE: Final = frozenset((protocol.HELLO, protocol.ACK))
"""Frames that are heard whatever channel they are of."""
_OWNED_NONCE = "0"  # what HELLO says while a host owns the session
_UNKNOWN_VERB = 255
_VERB_INDEX = {row[0]: index for index, row in enumerate(protocol.VERBS)}
_NO_CAUSE = protocol.CAUSES[0]
_CAUSE_OF_REFUSAL = {
    protocol.ACK_GUARD: "start_temperature",
    protocol.ACK_START_TEMPERATURE: "start_temperature",
    protocol.ACK_START_SPREAD: "start_disagreement",
}
_USUAL_CAUSE = {"completed": "hold_complete", "link_lost": "lease_lost"}


class Phase(Enum):
    """Where the host is in the course of a run."""

    HELLO = "hello"
    CLAIM = "claim"
    CONFIGURE = "configure"
    CONFIRM = "confirm"
    ARM = "arm"
    START = "start"
    RUNNING = "running"
    BLACK_BOX = "black_box"
    ENDED = "ended"
    FAILED = "failed"


class FetchBox(Enum):
    """When the black box is fetched after a run."""

    NEVER = "never"
    AFTER_FAULT = "after_fault"
    ALWAYS = "always"


@dataclass(slots=True)
class Channel:
    """What is known of one channel of the device: what it was told, and where its run is."""

    number: int
    values: array[int]
    digest: int = field(init=False)
    configured_as: int = -1
    understood: dict[str, int] = field(default_factory=dict[str, int])
    state: int = protocol.SELF_TEST
    word: tuple[str, str] | None = None
    """Its own result and cause."""

    def __post_init__(self) -> None:
        self.digest = plan.digest(self.values)


@dataclass(slots=True)
class _Command:
    verb: str
    arguments: tuple[str | int, ...] = ()
    channel: int = 0
    id: int = 0
    line: bytes = b""
    sent_s: float = -math.inf
    tries: int = 0
    damaged: bool = False

    def words(self) -> str:
        """Verb and arguments as they are told to a user."""
        verb = self.addressed
        if self.verb == "SET":
            return f"{verb} {self.arguments[0]}={self.arguments[1]}"
        if self.verb == "GET":
            return f"{verb} {self.arguments[0]}"
        return verb

    @property
    def addressed(self) -> str:
        """The verb as it goes out: with the channel, where that is the second."""
        return self.verb + SECOND if self.channel else self.verb


class RunClient:
    """Claims a device, configures, arms and starts it, renews its lease, and listens until the run has ended.

    `values` has every key of `plan.NAMES`, of which those in `ASKED` are the device's to say; `expect_protocol` is
    the host's `protocol_digest()`. A device that
    still shows how its last run ended is only used where `acknowledge` has that state (of `OVER`). With
    `ask_first` it stops in CONFIRM, configured and not armed, until `confirm`. `lease=False` claims once and
    never renews. `black_box` says after which runs the device's is fetched. `window` commands are under way at
    a time; their ids count from `first_id`. `second` are the values of the device's second channel, which a plan
    with `channels` 2 or 3 needs. Raises ValueError for keys that are missing or unknown, and for numbers that the
    wire cannot carry.
    """

    def __init__(
        self,
        values: Mapping[str, int],
        expect_protocol: str,
        *,
        acknowledge: Collection[int] = (),
        ask_first: bool = False,
        lease: bool = True,
        black_box: FetchBox = FetchBox.NEVER,
        window: int = 4,
        first_id: int = 1,
        hello_within_s: float = HELLO_WITHIN_S,
        second: Mapping[str, int] | None = None,
    ) -> None:
        told = [values] if second is None else [values, second]
        for each in told:
            _check_values(each)
        if not 1 <= window <= 4:
            raise ValueError(f"a window of {window} commands is outside 1 … 4")
        self.phase = Phase.HELLO
        self.state = protocol.SELF_TEST
        self.hello: dict[str, str] = {}
        self.refusal = ""
        self.commands: list[tuple[float, str, str]] = []
        self.decoder = FrameDecoder()
        self.fault: Frame | None = None
        self.box: BoxFetch | None = None
        """The black box, from when it was asked for."""
        self.channels: Final = [
            Channel(number, array("i", [each[name] for name in plan.NAMES]))
            for number, each in enumerate(told)
            if values["channels"] & plan.CHANNEL_BITS[number]
        ]
        """Those that run."""
        self._by_number: Final = {each.number: each for each in self.channels}
        self._watch_s = values["cooldown_ms"] / 1000 + COOLDOWN_SPARE_S
        self._expect_protocol = expect_protocol
        self._acknowledge = frozenset(acknowledge)
        self._ask_first = ask_first
        self._lease = lease
        self._fetch_box = black_box
        self._box_ident = -1
        self._box_channel = 0
        self._box_due_s = math.inf
        self._box_tries = 0
        self._window = window
        self._next_id = first_id
        self._hello_within_s = hello_within_s
        self._host_word: tuple[str, str] | None = None
        self._queue: deque[_Command] = deque()
        self._in_flight: dict[int, _Command] = {}
        self._renewals: deque[int] = deque(maxlen=8)
        self._owned = False
        self._acknowledged = False
        self._checked = False
        self._storing = False
        self.stored = False
        """Whether the device keeps what `store` gave it."""
        self._armed = False
        self._stop_wanted = False
        self._silent = False
        self._restarts = 0
        self._farewell = b""
        self._wake_s = -math.inf
        self._deadline_s = math.inf
        self._heard_s = math.inf
        self._verdict_s = math.inf
        self._rest_s = math.inf
        self._hello_due_s = -math.inf
        self._lease_due_s = math.inf
        self._arm_again_s = math.inf
        self._stop_due_s = -math.inf
        self._stop_sent_s = math.inf
        self._on_frame: dict[int, Callable[[Frame, float], None]] = {
            protocol.HELLO: self._hear_hello,
            protocol.ACK: self._hear_ack,
            protocol.EVENT: self._hear_event,
            protocol.TELEMETRY: self._hear_telemetry,
            protocol.BLACKBOX: self._hear_box,
        }
        self._on_ok: dict[str, Callable[[_Command, Frame, float], None]] = {
            "LEASE": self._leased,
            "ACKNOWLEDGE": self._acknowledge_done,
            "SET": self._value_stored,
            "GET": self._value_told,
            "STORE": self._stored,
            "CONFIGURE": self._configured,
            "ARM": self._arm_accepted,
            "START": self._started,
        }
        self._on_poll: dict[Phase, Callable[[float, list[bytes]], None]] = {
            Phase.HELLO: self._poll_hello,
            Phase.CLAIM: self._poll_claim,
            Phase.CONFIGURE: self._poll_configure,
            Phase.CONFIRM: self._poll_confirm,
            Phase.ARM: self._poll_arm,
            Phase.START: self._poll_start,
            Phase.RUNNING: self._poll_running,
            Phase.BLACK_BOX: self._poll_box,
        }

    @property
    def over(self) -> bool:
        """Whether nothing more will happen: the phase is ENDED or FAILED."""
        return self.phase in (Phase.ENDED, Phase.FAILED)

    @property
    def watch_only(self) -> bool:
        """Whether the device speaks another protocol than this host: it may be watched, not armed."""
        return bool(self.hello) and bool(_misfit(self.hello, self._expect_protocol))

    @property
    def result(self) -> str:
        """How it ended: a name of `protocol.RESULT_NAMES`, or `refused`; `none` while it is not known.

        The device's word counts. Only when the host lost the link, and the device at most says that it was
        stopped (by the STOPs sent into that link) or lost its host, is the result the host's own `link_lost`.
        """
        return self._word()[0]

    @property
    def cause(self) -> str:
        """Why it ended so: a name of `protocol.CAUSES`."""
        return self._word()[1]

    @property
    def device_result(self) -> str:
        """What the device itself said of the run's end; `none` if it did not come to that."""
        word = self._device_word
        return word[0] if word else "none"

    @property
    def _device_word(self) -> tuple[str, str] | None:
        """The worst of the channels' results, with a cause that is its own; None until each has told."""
        words = [each.word for each in self.channels if each.word is not None]
        if len(words) < len(self.channels):
            return None
        return min(words, key=lambda word: (_WORST_FIRST.index(word[0]), word[1] == _OTHER))

    @property
    def understood(self) -> dict[str, int]:
        """What the device has stored so far, of the first channel that runs."""
        return self.channels[0].understood

    @property
    def arm_asked(self) -> bool:
        """Whether ARM was ever sent: from then on there is a run to tell of."""
        return self._armed

    @property
    def digest(self) -> int:
        """The digest over all values, which ARM quotes; the device's own part counts once it was told."""
        digest = 0
        for each in self.channels:
            digest = int(plan.joined(digest, each.digest))
        return digest

    @property
    def configured(self) -> bool:
        """Whether the device has said of every value how it has it."""
        return all(each.configured_as >= 0 and each.configured_as == each.digest for each in self.channels)

    @property
    def values(self) -> dict[str, int]:
        """All values of the first channel that runs: as the device has them, once it has been configured."""
        return self.values_of(self.channels[0])

    @staticmethod
    def values_of(channel: Channel) -> dict[str, int]:
        """All values of this one."""
        return {name: channel.values[index] for index, name in enumerate(plan.NAMES)}

    def confirm(self) -> None:
        """Go on from CONFIRM, now or as soon as it is reached: what the device `understood` is what is wanted."""
        self._ask_first = False
        self._wake_s = -math.inf

    def store(self, calibration: Mapping[str, int], today_day: int) -> None:
        """From CONFIRM: have the device keep these values of its calibration, then configure it anew for that day."""
        self.channels[0].values[plan.INDEX["today_day"]] = today_day
        self.phase = Phase.CONFIGURE
        self._wake_s = -math.inf
        self._storing = True
        self._checked = self.stored = False
        for name, value in calibration.items():
            self._ask("SET", name, value, channel=self.channels[0].number)

    def request_stop(self) -> None:
        """STOP goes out with the next `poll`, and every 100 ms until the device is seen to have stopped."""
        self._stop_wanted = True
        self._wake_s = -math.inf

    def pause_lease(self) -> None:
        """Renew the lease no more (to see the device end the run by itself)."""
        self._lease = False

    def feed(self, data: bytes, now_s: float) -> list[Frame | str]:
        """Take what came from the device at `now_s`; returns its frames and the text between them."""
        if not data:
            return []
        restarts = self.decoder.restarts
        found = self.decoder.feed(data)
        if self.decoder.restarts != restarts:
            self._hear_restart(now_s)
        for item in found:
            if isinstance(item, Frame):
                self._hear(item, now_s)
        return found

    def poll(self, now_s: float) -> bytes:
        """What to send to the device at `now_s`, perhaps nothing."""
        if now_s + _CLOCK_GRAIN_S < self._wake_s:
            return b""
        self._wake_s = now_s + _LOOK_EVERY_S
        out: list[bytes] = []
        if self._heard_s == math.inf:
            self._heard_s = now_s
        if not self.over:
            self._poll_stop(now_s, out)
        if not self.over:
            self._on_poll[self.phase](now_s, out)
        if not self.over:
            self._poll_commands(now_s, out)
        if not self.over:
            self._renew_lease(now_s, out)
        if self._farewell:
            self._send(self._farewell, now_s, out)
            self._farewell = b""
        self._wake_s = math.inf if self.over else min(self._wake_s, self._next_due_s())
        return b"".join(out)

    def _next_due_s(self) -> float:
        """What must go out in time, between two looks."""
        stopping = (self._stop_wanted or self._silent) and not self._is_stopped()
        return min(self._lease_due_s if self._lease else math.inf, self._stop_due_s if stopping else math.inf)

    # What is heard

    def _hear(self, frame: Frame, now_s: float) -> None:
        self._heard_s = now_s
        channel = self._by_number.get(frame.channel)
        if channel is not None and frame.state != channel.state:
            channel.state = frame.state
            self.state = min((each.state for each in self.channels), key=lambda state: _RANK.get(state, -1))
            self._wake_s = -math.inf
            if frame.state == protocol.SELF_TEST and self.phase is not Phase.CLAIM:
                self._hear_restart(now_s)
        listener = self._on_frame.get(frame.type)
        if listener is not None and (channel is not None or frame.type in _OF_THE_DEVICE):
            listener(frame, now_s)

    def _hear_hello(self, frame: Frame, now_s: float) -> None:
        nonce = frame.hello.get("nonce")
        self._wake_s = -math.inf
        if self.phase is Phase.HELLO:
            self.hello = frame.hello
            self._check_hello(now_s)
        elif frame.hello.get("uid") != self.hello.get("uid"):
            told = f"{frame.hello.get('uid')} instead of {self.hello.get('uid')}"
            self._fail("link_lost", f"another device answers at the port: unique id {told}")
        elif nonce in (_OWNED_NONCE, self.hello["nonce"]):
            return  # ours, and the device keeps it to itself
        elif not self._owned:
            self.hello = frame.hello
        elif self._device_word is None:
            self._hear_restart(now_s)

    def _hear_restart(self, now_s: float) -> None:
        """The device has booted again: everything it was told is gone, and a run is over."""
        self._wake_s = -math.inf
        if self.over or self.phase is Phase.HELLO:
            return
        if self.phase in (Phase.START, Phase.RUNNING):
            self._host_word = ("fault", "reset_in_run")
            self.refusal = "the device restarted during the run"
            self.phase = Phase.ENDED
            return
        self._begin_again(now_s, "link_lost", "the device keeps restarting")

    def _begin_again(self, now_s: float, result: str, sentence: str) -> None:
        """Back to HELLO, where nothing is lost yet; give up when that keeps happening."""
        self._restarts += 1
        if self._restarts > RESTARTS_BORNE:
            self._fail(result, sentence)
            return
        self._queue.clear()
        self._in_flight.clear()
        self._renewals.clear()
        for channel in self.channels:
            channel.configured_as = -1
        self._owned = self._acknowledged = self._checked = self._armed = self._storing = False
        self._lease_due_s = math.inf
        self._hello_due_s = -math.inf
        self._enter(Phase.HELLO, now_s, self._hello_within_s)

    def _hear_ack(self, frame: Frame, now_s: float) -> None:
        self._wake_s = -math.inf
        self.commands.append((now_s, "rx", _ack_text(frame)))
        ident, code = frame.value("id"), frame.value("code")
        if ident in self._renewals:
            self._hear_renewal(code)
            return
        if ident == self._box_ident and self.box is not None:
            self._hear_box_ack(self.box, frame, now_s)
            return
        command = self._in_flight.get(ident)
        if command is None or self.over:
            return  # the answer to a second try, or to another host
        if code == protocol.ACK_CRC:
            command.damaged = True
            command.sent_s = -math.inf
            return
        del self._in_flight[ident]
        if not _answers(frame, command):
            # The device remembers this id from an earlier host and gave that command's answer.
            self._queue.appendleft(_Command(command.verb, command.arguments, command.channel))
        elif command.verb == "ARM" and code == protocol.ACK_SENSOR and not _due(now_s, self._deadline_s):
            self._arm_again_s = now_s + ARM_AGAIN_S
        elif code != protocol.ACK_OK:
            self._refused(command, frame, now_s)
        else:
            self._on_ok[command.verb](command, frame, now_s)

    def _refused(self, command: _Command, frame: Frame, now_s: float) -> None:
        values = self._by_number.get(frame.channel, self.channels[0]).values
        sentence = f"the device refused {command.words()}: {_ack_reason(frame, values)}"
        if len(self.channels) > 1 and command.verb == "ARM":
            sentence += f" (channel {frame.channel + 1})"
        if self.state not in (protocol.IDLE, protocol.ARMED):
            why = f", {_name(protocol.CAUSES, self.fault.value('cause'))}" if self.fault else ""
            sentence += f" (it is in {_name(protocol.STATE_NAMES, self.state)}{why})"
        if command.verb == "LEASE":
            self._begin_again(now_s, "refused", sentence)  # the nonce was renewed after its HELLO
        else:
            self._fail("refused", sentence, _CAUSE_OF_REFUSAL.get(frame.value("code"), _NO_CAUSE))

    def _hear_renewal(self, code: int) -> None:
        """A run's end is the device's to tell; before it, a lease that is refused ends everything."""
        benign = code in (protocol.ACK_OK, protocol.ACK_CRC)
        if not benign and not self.over and self.phase is not Phase.RUNNING:
            self._fail("refused", f"the device refused LEASE: {_name(protocol.ACK_NAMES, code)}")

    def _hear_event(self, frame: Frame, now_s: float) -> None:
        self._wake_s = -math.inf
        code = frame.value("code")
        cause = _name(protocol.CAUSES, frame.value("cause"))
        if code == protocol.EVENT_FAULT and (self.fault is None or cause != _OTHER):
            self.fault = frame
        if code == protocol.EVENT_END and self._armed:
            self._hear_verdict(frame, _name(protocol.RESULT_NAMES, frame.value("value")), cause, now_s)

    def _hear_telemetry(self, frame: Frame, now_s: float) -> None:
        """Telemetry repeats the verdict, should its event have been lost."""
        result = _name(protocol.RESULT_NAMES, frame.value("result"))
        word = self._by_number[frame.channel].word
        if result in ("none", word[0] if word else "none") or not self._armed or frame.state in UNDER_WAY:
            return
        if self.phase is Phase.RUNNING:
            cause = _name(protocol.CAUSES, frame.value("cause"))
            self._hear_verdict(frame, result, cause if cause != _NO_CAUSE else self._usual_cause(result), now_s)

    def _hear_verdict(self, frame: Frame, result: str, cause: str, now_s: float) -> None:
        """The last verdict stands: a fault while cooling down is graver than the end before it.

        Once all is over, only the news that RF may be on is still taken in.
        """
        if self.over and cause not in protocol.GRAVEST:
            return
        self._wake_s = -math.inf
        self._by_number[frame.channel].word = (result, cause)
        self._verdict_s = now_s

    def _usual_cause(self, result: str) -> str:
        if result == "stopped" and self._stop_wanted:
            return "operator_stop"
        return _USUAL_CAUSE.get(result, _NO_CAUSE)

    # What an accepted command leads to

    def _leased(self, _command: _Command, _frame: Frame, now_s: float) -> None:
        self._owned = True
        self._lease_due_s = now_s + LEASE_EVERY_S

    def _acknowledge_done(self, _command: _Command, _frame: Frame, _now_s: float) -> None:
        self._acknowledged = True

    def _value_stored(self, command: _Command, frame: Frame, _now_s: float) -> None:
        key, value = command.arguments
        self._by_number[command.channel].understood[str(key)] = frame.value("value")
        if frame.value("value") != value:
            self._fail("refused", f"the device stored {key}={frame.value('value')} instead of {value}")

    def _stored(self, _command: _Command, _frame: Frame, _now_s: float) -> None:
        channel = self.channels[0]
        self._ask("SET", "today_day", channel.values[plan.INDEX["today_day"]], channel=channel.number)
        self._checked = False
        self.stored = True

    def _configured(self, command: _Command, frame: Frame, _now_s: float) -> None:
        """The device has judged its calibration by now: it is asked for what the host cannot know."""
        self._by_number[command.channel].configured_as = frame.value("value")
        for name in ASKED:
            self._ask("GET", name, channel=command.channel)

    def _value_told(self, command: _Command, frame: Frame, now_s: float) -> None:
        name = str(command.arguments[0])
        channel = self._by_number[command.channel]
        channel.understood[name] = channel.values[plan.INDEX[name]] = frame.value("value")
        if not self._queue and not self._in_flight:
            self._all_told(now_s)

    def _all_told(self, now_s: float) -> None:
        for channel in self.channels:
            channel.digest = plan.digest(channel.values)
            if channel.configured_as != channel.digest:
                digests = f"digest {channel.configured_as} instead of {channel.digest}"
                self._fail("refused", f"the device understood other values than were sent: {digests}")
                return
        if self._ask_first:
            self._enter(Phase.CONFIRM, now_s, math.inf)
        else:
            self._arm(now_s)

    def _arm_accepted(self, _command: _Command, _frame: Frame, now_s: float) -> None:
        self._enter(Phase.ARM, now_s, ARMED_WITHIN_S)

    def _started(self, _command: _Command, _frame: Frame, now_s: float) -> None:
        self._enter(Phase.RUNNING, now_s, VERDICT_WITHIN_S)

    # What is due

    def _poll_hello(self, now_s: float, out: list[bytes]) -> None:
        if self._deadline_s == math.inf:
            self._enter(Phase.HELLO, now_s, self._hello_within_s)
        if _due(now_s, self._deadline_s):
            self._give_up_hello()
        elif _due(now_s, self._hello_due_s):
            self._hello_due_s = now_s + HELLO_EVERY_S
            self._send(HELLO_LINE, now_s, out)

    def _give_up_hello(self) -> None:
        within = f"{self._hello_within_s:g} s"
        if self.state in UNDER_WAY:
            self._fail("refused", _under_way(self.state))
        elif self.hello:
            self._fail("refused", f"another host owns the device and has not let go of it within {within}")
        else:
            self._fail("link_lost", f"no HELLO came within {within}")

    def _check_hello(self, now_s: float) -> None:
        misfit = _misfit(self.hello, self._expect_protocol)
        if misfit:
            self._fail("refused", misfit)
        elif str(max(self._by_number) + 1) > self.hello.get("channels", "1"):
            self._fail("refused", "the plan uses the second channel, and this device has one")
        elif self.hello["nonce"] != _OWNED_NONCE:
            self._enter(Phase.CLAIM, now_s, AT_REST_WITHIN_S)

    def _poll_claim(self, now_s: float, _out: list[bytes]) -> None:
        """Wait until the device is at rest, claim it, and clear its last result if that was asked for."""
        if self._queue or self._in_flight:
            return
        name = _name(protocol.STATE_NAMES, self.state)
        if self.state in UNDER_WAY:
            self._fail("refused", _under_way(self.state))
        elif _due(now_s, self._deadline_s):
            self._fail("refused", f"the device is still in {name} after {AT_REST_WITHIN_S:g} s")
        elif self.state in _WILL_REST:
            return
        elif self.state in OVER and self.state not in self._acknowledge:
            self._fail("refused", f"the device shows how its last run ended ({name}): acknowledge that first")
        elif not self._owned:
            self._ask("LEASE", self.hello["nonce"])
        elif self.state == protocol.IDLE:
            self._configure(now_s)
        elif not self._acknowledged:
            self._ask("ACKNOWLEDGE")

    def _configure(self, now_s: float) -> None:
        self._enter(Phase.CONFIGURE, now_s, math.inf)
        for channel in self.channels:
            for name in TOLD:
                self._ask("SET", name, channel.values[plan.INDEX[name]], channel=channel.number)

    def _poll_configure(self, _now_s: float, _out: list[bytes]) -> None:
        if self._queue or self._in_flight or self._checked:
            return
        self._checked = True
        for channel in self.channels:
            self._ask("STORE" if self._storing else "CONFIGURE", channel=channel.number)
        self._storing = False

    def _poll_confirm(self, now_s: float, _out: list[bytes]) -> None:
        if self.state != protocol.IDLE:
            self._fail("refused", f"the device has gone to {_name(protocol.STATE_NAMES, self.state)} before ARM")
        elif not self._ask_first:
            self._arm(now_s)

    def _arm(self, now_s: float) -> None:
        self._enter(Phase.ARM, now_s, ARMED_WITHIN_S)
        self._ask("ARM", self.digest, self.hello["nonce"])
        self._armed = True

    def _poll_arm(self, now_s: float, _out: list[bytes]) -> None:
        if self._in_flight or self._queue:
            return
        if self._arm_again_s < math.inf:
            if _due(now_s, self._arm_again_s):
                self._arm_again_s = math.inf
                self._ask("ARM", self.digest, self.hello["nonce"])
        elif self.state == protocol.ARMED:
            self._enter(Phase.START, now_s, math.inf)
            self._ask("START", self.hello["nonce"])
        elif self.state in OVER:
            self._enter(Phase.RUNNING, now_s, VERDICT_WITHIN_S)
        elif _due(now_s, self._deadline_s):
            name = _name(protocol.STATE_NAMES, self.state)
            self._fail("refused", f"the device accepted ARM but is in {name} after {ARMED_WITHIN_S:g} s")

    def _poll_start(self, now_s: float, _out: list[bytes]) -> None:
        if self.state in OVER:
            self._in_flight.clear()
            self._enter(Phase.RUNNING, now_s, VERDICT_WITHIN_S)

    def _poll_running(self, now_s: float, _out: list[bytes]) -> None:
        self._notice_silence(now_s)
        if self.over:
            return
        if self.state in UNDER_WAY:
            self._rest_s = math.inf
            if self.state == protocol.ARMED and _due(now_s, self._deadline_s):
                self._fail("refused", "the device accepted START but stays ARMED")
            return
        if self._rest_s == math.inf:
            self._rest_s = now_s
        if self._device_word is None:
            self._wait_for_verdict(now_s)
        elif self.state != protocol.COOLDOWN or _due(now_s, self._verdict_s + self._watch_s):
            self._end(now_s)

    def _end(self, now_s: float) -> None:
        """The run is over; what the device has kept of its last seconds may still be of interest."""
        tripped = self.fault is not None or self.device_result in ("fault", "link_lost")
        wanted = self._fetch_box is FetchBox.ALWAYS or (self._fetch_box is FetchBox.AFTER_FAULT and tripped)
        if not wanted or self.box is not None or self.state not in OVER:
            self.phase = Phase.ENDED
            return
        if (self._stop_wanted or self._silent) and not self._is_stopped():
            return  # STOP is said first, until it is seen to be obeyed; one that comes later ends the fetching
        self.box = BoxFetch()
        self._box_channel = self.fault.channel if self.fault is not None else self.channels[0].number
        self._box_due_s = now_s
        self._enter(Phase.BLACK_BOX, now_s, math.inf)

    def _poll_box(self, now_s: float, out: list[bytes]) -> None:
        """Ask for what is missing until it is there, the device is silent, or it has nothing to give."""
        box = self.box
        if box is None or box.done or self.state in UNDER_WAY or _due(now_s, self._heard_s + SILENCE_S):
            self.phase = Phase.ENDED
        elif _due(now_s, self._box_due_s):
            if self._box_tries == TRIES:
                self.phase = Phase.ENDED
                return
            self._box_tries += 1
            self._box_due_s = now_s + BOX_QUIET_S
            self._box_ident = self._take_id()
            verb = "BLACKBOX" + SECOND if self._box_channel else "BLACKBOX"
            self._send(command_line(self._box_ident, verb, *box.ask()), now_s, out)

    def _hear_box_ack(self, box: BoxFetch, frame: Frame, now_s: float) -> None:
        if frame.value("code") == protocol.ACK_OK:
            box.hear_ack(frame.value("value"), frame.value("value2"))
        elif frame.value("code") == protocol.ACK_CRC:
            self._box_due_s = now_s

    def _hear_box(self, frame: Frame, now_s: float) -> None:
        if self.phase is not Phase.BLACK_BOX or self.box is None:
            return
        self._box_due_s = now_s + BOX_QUIET_S
        if self.box.take(frame):
            self._box_due_s = now_s
        self._box_tries = 0
        self._wake_s = -math.inf

    def _wait_for_verdict(self, now_s: float) -> None:
        """RF is off and nobody has said why."""
        waited = _due(now_s, self._rest_s + VERDICT_WITHIN_S)
        if self._host_word is not None:
            if waited or (self.state == protocol.IDLE and self._is_stopped()):
                self.phase = Phase.ENDED
        elif waited and self.state == protocol.IDLE:
            self._hear_restart(now_s)  # a run leaves for IDLE in no other way
        elif waited:
            name = _name(protocol.STATE_NAMES, self.state)
            self._fail("link_lost", f"the device is in {name} and does not say how the run ended")

    def _notice_silence(self, now_s: float) -> None:
        quiet_s = now_s - self._heard_s
        if not _due(quiet_s, SILENCE_S):
            return
        if self._device_word is not None:
            self.phase = Phase.ENDED  # its word stands, and RF was off when it was given
        elif not self._silent:
            self._silent = True
            self._host_word = ("link_lost", "lease_lost")
            self.refusal = f"nothing was heard from the device for {SILENCE_S:g} s"
            self._wake_s = -math.inf
        elif _due(quiet_s, SILENCE_S + LOST_GRACE_S):
            self.phase = Phase.ENDED

    def _poll_stop(self, now_s: float, out: list[bytes]) -> None:
        """STOP at once and again, until a frame that came clearly later shows that nothing is under way."""
        if not (self._stop_wanted or self._silent) or self._is_stopped():
            return
        if _due(now_s, self._stop_due_s):
            self._stop_due_s = now_s + STOP_EVERY_S
            self._stop_sent_s = min(self._stop_sent_s, now_s)
            self._send(STOP_LINE, now_s, out)
        self._queue.clear()
        self._in_flight.clear()
        if self._host_word is None:
            self._host_word = ("stopped", "operator_stop")
        if not self._armed:
            self.phase = Phase.ENDED
        elif self.phase is not Phase.RUNNING:
            self._enter(Phase.RUNNING, now_s, math.inf)

    def _is_stopped(self) -> bool:
        return self.state not in UNDER_WAY and self._heard_s > self._stop_sent_s + STOP_EVERY_S

    def _poll_commands(self, now_s: float, out: list[bytes]) -> None:
        for command in list(self._in_flight.values()):
            if not _due(now_s, command.sent_s + ACK_WITHIN_S):
                continue
            if command.tries == TRIES:
                what = "arrived damaged" if command.damaged else "was not answered"
                self._fail("link_lost", f"{command.words()} {what}, {TRIES} times")
                return
            self._transmit(command, now_s, out)
        while self._queue and len(self._in_flight) < self._window:
            command = self._queue.popleft()
            command.id = self._take_id()
            command.line = command_line(command.id, command.addressed, *command.arguments)
            self._in_flight[command.id] = command
            self._transmit(command, now_s, out)

    def _renew_lease(self, now_s: float, out: list[bytes]) -> None:
        if self._lease and _due(now_s, self._lease_due_s):
            self._lease_due_s = max(self._lease_due_s + LEASE_EVERY_S, now_s)
            ident = self._take_id()
            self._renewals.append(ident)
            self._send(command_line(ident, "LEASE", self.hello["nonce"]), now_s, out)

    # The means

    def _ask(self, verb: str, *arguments: str | int, channel: int = 0) -> None:
        self._queue.append(_Command(verb, arguments, channel))
        self._wake_s = -math.inf

    def _take_id(self) -> int:
        ident = self._next_id
        self._next_id = ident + 1 if ident < MAX_COMMAND_ID else 1
        return ident

    def _transmit(self, command: _Command, now_s: float, out: list[bytes]) -> None:
        command.sent_s = now_s
        command.tries += 1
        self._send(command.line, now_s, out)

    def _send(self, line: bytes, now_s: float, out: list[bytes]) -> None:
        out.append(line)
        self.commands.append((now_s, "tx", line.decode("ascii").rstrip("\n")))

    def _enter(self, phase: Phase, now_s: float, within_s: float) -> None:
        self.phase = phase
        self._deadline_s = now_s + within_s
        self._wake_s = -math.inf

    def _fail(self, result: str, sentence: str, cause: str = _NO_CAUSE) -> None:
        """Give up. A device that may be armed is told to stop once; its lease does the rest."""
        self.phase = Phase.FAILED
        self.refusal = sentence
        self._host_word = (result, cause)
        self._farewell = STOP_LINE if self._armed else b""
        self._wake_s = -math.inf

    def _word(self) -> tuple[str, str]:
        host, device = self._host_word, self._device_word
        said = device[0] if device else "stopped"
        if host is not None and host[0] == "link_lost" and said in ("stopped", "link_lost"):
            return host
        return device or host or ("none", _NO_CAUSE)


def _check_values(values: Mapping[str, int]) -> None:
    missing = [name for name in plan.NAMES if name not in values]
    unknown = sorted(set(values) - set(plan.NAMES))
    if missing or unknown:
        raise ValueError(f"values lack {missing} and have unknown {unknown}")
    for name, value in values.items():
        if abs(value) > MAX_NUMBER:
            raise ValueError(f"{name}={value} is more than the wire carries")


def _under_way(state: int) -> str:
    return f"the device is in {_name(protocol.STATE_NAMES, state)}: another run is under way"


def _misfit(hello: Mapping[str, str], expect_protocol: str) -> str:
    """Why a device with this HELLO cannot be armed by this host; empty if it can."""
    schema, digest = hello.get("schema"), hello.get("proto")
    if schema != str(protocol.SCHEMA):
        return f"the device speaks schema {schema}, this host {protocol.SCHEMA}: it may be watched, not armed"
    if digest != expect_protocol:
        return f"the device speaks protocol {digest}, this host {expect_protocol}: it may be watched, not armed"
    if not hello.get("nonce", "").isdecimal():
        return "the device's HELLO has no nonce to claim it by"
    return ""


def _answers(frame: Frame, command: _Command) -> bool:
    """Whether an ack is about this command, and not about an older one with the same id."""
    if frame.value("verb") not in (_VERB_INDEX[command.verb], _UNKNOWN_VERB):
        return False
    if command.verb in _OF_A_CHANNEL and frame.channel != command.channel:
        return False
    with_key = command.verb in ("SET", "GET")
    keys = (protocol.NO_KEY, plan.INDEX[str(command.arguments[0])]) if with_key else ()
    return not keys or frame.value("key") in keys


def _ack_reason(frame: Frame, values: Sequence[int]) -> str:
    """What an ack's code, key and value say, in words; `values` are what the device was told."""
    code, key, value = frame.value("code"), frame.value("key"), frame.value("value")
    reason = _name(protocol.ACK_NAMES, code)
    if code == protocol.ACK_BAD_VALUE and key < len(plan.PARAMETERS):
        row = plan.PARAMETERS[key]
        return f"{reason} ({row[2]} … {row[3]})"
    if code == protocol.ACK_CONTRADICTION and 0 <= value < len(plan.CONTRADICTIONS):
        name, text = plan.CONTRADICTIONS[value]
        return f"{reason}: {name}: {text}"
    place = key - plan.INDEX["tc0_role"]
    if code in _CAUSE_OF_REFUSAL and 0 <= place < plan.THERMOCOUPLES:
        return f"{reason}: {_start_told(frame, values, place)}"
    return reason


def _start_told(frame: Frame, values: Sequence[int], place: int) -> str:
    """Which thermocouple reads what before anything is heated, and what was to be expected."""
    role = plan.ROLE_NAMES[values[plan.INDEX["tc0_role"] + place]]
    told = f"{role} (number {place + 1}) reads {frame.value('value') / 1000:.2f} °C"
    if frame.value("code") == protocol.ACK_START_SPREAD:
        most_C = values[plan.INDEX["start_spread_mC"]] / 1000
        return f"{told} and another {frame.value('value2') / 1000:.2f} °C, and they may differ by {most_C:g} °C"
    low_C, high_C = (values[plan.INDEX[name]] / 1000 for name in ("start_min_mC", "start_max_mC"))
    return f"{told}, and the plan says {low_C:g} to {high_C:g} °C"


def _ack_text(frame: Frame) -> str:
    """An ack as one line of the command log."""
    fields = frame.fields()
    verb = protocol.VERBS[fields["verb"]][0] if fields["verb"] < len(protocol.VERBS) else "?"
    key = f" {plan.NAMES[fields['key']]}" if fields["key"] < len(plan.NAMES) else ""
    code = _name(protocol.ACK_NAMES, fields["code"])
    return f"{fields['id']} {verb}{key}: {code} {fields['value']} {fields['value2']}"


def _name(names: tuple[str, ...], index: int) -> str:
    """A name of the protocol by its number, which a newer device may have more of."""
    return names[index] if 0 <= index < len(names) else f"number {index}"


def _due(now_s: float, due_s: float) -> bool:
    return now_s + _CLOCK_GRAIN_S >= due_s
