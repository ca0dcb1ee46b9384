"""What a host may ask: verbs and states, owners and nonces, retries, the two steps towards heat."""

from collections.abc import Callable
from typing import Any

import pytest

from rfprobe.wire import command_line
from rfprobe_core import plan
from rfprobe_core import protocol as p
from rfprobe_core.commands import LEASE_TICKS, REMEMBERED
from rfprobe_core.safety import ROWS
from tests.unit.scripted_board import NONCE, VALUES, Bench, frames

STATES = [p.SELF_TEST, p.IDLE, p.ARMED, p.RAMP, p.HOLD, p.COOLDOWN, p.DONE, p.STOPPED, p.FAULT]
ALL = frozenset(STATES)
OVER = frozenset((p.DONE, p.STOPPED, p.FAULT))
# The states in which each verb is accepted from the owner, all else being right.
ACCEPTED = {
    "STATUS": ALL,
    "GET": ALL,
    "LEASE": ALL,
    "STOP": ALL,
    "SET": frozenset((p.IDLE,)),
    "CONFIGURE": frozenset((p.IDLE,)),
    "STORE": frozenset((p.IDLE,)),
    "ARM": frozenset((p.IDLE,)),
    "START": frozenset((p.ARMED,)),
    "ACKNOWLEDGE": OVER | {p.IDLE},
}
in_each_state = pytest.mark.parametrize("state", STATES, ids=p.STATE_NAMES.__getitem__)
OK, WRONG_STATE = p.ACK_OK, p.ACK_WRONG_STATE


class Host:
    """A host at a bench: `ask` sends a command and gives the ack, if one came."""

    def __init__(self, state: int = p.IDLE, owned: bool = True, **changes: int) -> None:
        self.bench = Bench(changes)
        self.controller = self.bench.controller
        if state == p.SELF_TEST:
            self.bench.in_state(p.IDLE)
            self.controller.sequence.state = p.SELF_TEST
        else:
            self.bench.in_state(state)
        if not owned:
            self.controller.commands.owned = False
        self._next_id = 100

    def line(self, verb: str, *arguments: Any) -> bytes:
        self._next_id += 1
        return b"STOP\n" if verb == "STOP" else command_line(self._next_id, verb, *arguments)

    def arguments(self, verb: str) -> tuple[Any, ...]:
        """What makes the command right."""
        digest = self.controller.digest
        return {
            "GET": ("hold_ms",),
            "SET": ("hold_ms", 2_000),
            "LEASE": (NONCE,),
            "ARM": (digest, NONCE),
            "START": (NONCE,),
        }.get(verb, ())

    def hear(self, *lines: bytes) -> list[Any]:
        """Send lines; the acks that come in the next ticks. The first of these ends what was stopped."""
        self.bench.board.sent.clear()
        self.bench.say(*lines)
        self.controller.rest()
        link = self.bench.board
        for _ in range(len(lines) + 8):
            self.controller.reporter.pump(link)
        return [frame for frame in frames(link.sent) if frame.type in (p.ACK, p.HELLO)]

    def ask(self, verb: str, *arguments: Any) -> Any:
        [ack] = self.hear(self.line(verb, *(arguments or self.arguments(verb))))
        return ack

    def code(self, verb: str, *arguments: Any) -> int:
        code: int = self.ask(verb, *arguments).value("code")
        return code


# Which verb in which state


@in_each_state
@pytest.mark.parametrize("verb", ACCEPTED)
def test_each_verb_is_accepted_in_its_states_only(verb: str, state: int) -> None:
    host = Host(state)
    assert (host.code(verb) == OK) == (state in ACCEPTED[verb])
    if state not in ACCEPTED[verb]:
        assert host.code(verb) == WRONG_STATE
        assert host.bench.state == state


@in_each_state
def test_stop_is_never_refused_whoever_says_it(state: int) -> None:
    host = Host(state, owned=False)
    host.bench.tick()
    assert [ack.value("code") for ack in host.hear(b"STOP")] == [OK]
    assert not host.bench.board.enabled
    host.bench.tick()
    assert host.bench.state not in (p.ARMED, p.RAMP, p.HOLD, p.REST)


@in_each_state
def test_hello_waits_until_no_run_is_under_way(state: int) -> None:
    heard = Host(state).hear(b"HELLO\n")
    assert [frame.type for frame in heard] == ([] if state in (p.ARMED, p.RAMP, p.HOLD) else [p.HELLO])


@pytest.mark.parametrize("state", [p.ARMED, p.RAMP], ids=p.STATE_NAMES.__getitem__)
def test_the_hello_comes_when_the_run_is_over(state: int) -> None:
    host = Host(state)
    host.hear(b"HELLO\n", b"STOP")
    for _ in range(4):  # first what the end of the run had to say: HELLO keeps its turn
        host.bench.tick()
    assert [frame.type for frame in host.hear()] == [p.HELLO]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"5 GET hold_ms", OK),
        (b"5 STATUS", OK),
        (b"STATUS", OK),
        (b"5 GET nothing", p.ACK_UNKNOWN_KEY),
        (b"5 GET", p.ACK_SYNTAX),
        (b"5 GET hold_ms 7", p.ACK_SYNTAX),
        (b"5 DANCE", p.ACK_UNKNOWN_VERB),
        (b"5 7", p.ACK_UNKNOWN_VERB),
        (b"5 STATUS*0000", p.ACK_CRC),
        (b"5 SET hold_ms=7", p.ACK_CRC),
        (b"5 ARM 1 2", p.ACK_CRC),
        (b"5 START 4711", p.ACK_CRC),
        (b"ACKNOWLEDGE", p.ACK_CRC),
    ],
)
def test_what_may_be_typed_by_hand_and_what_may_not(line: bytes, code: int) -> None:
    [ack] = Host().hear(line + b"\n")
    assert ack.value("code") == code


@pytest.mark.parametrize("line", [b"\x07\n", b"-5 GET mode\n", b"17\n", b"x" * 90 + b"\n", b"*1234\n"])
def test_noise_gets_no_answer_but_is_counted(line: bytes) -> None:
    host = Host()
    assert host.hear(line) == []
    assert host.controller.commands.lines_refused == 1


@pytest.mark.parametrize("line", [b"\n", b"\r\n\r\n", b"   \n"])
def test_an_empty_line_is_nothing(line: bytes) -> None:
    host = Host()
    assert host.hear(line) == []
    assert host.controller.commands.lines_refused == 0


# Values


@pytest.mark.parametrize("row", plan.PARAMETERS, ids=plan.NAMES)
def test_a_value_is_stored_within_its_range_only(row: tuple[str, int, int, int, int]) -> None:
    name, _, smallest, largest, _ = row
    host = Host()
    for value in (smallest, largest):
        ack = host.ask("SET", name, value)
        assert (ack.value("code"), ack.value("value"), ack.value("key")) == (OK, value, plan.INDEX[name])
    for value in (smallest - 1, largest + 1):
        assert host.code("SET", name, value) == p.ACK_BAD_VALUE
    assert host.ask("GET", name).value("value") == largest


def test_a_value_that_is_no_number_is_refused() -> None:
    assert Host().code("SET", "hold_ms", "soon") == p.ACK_BAD_VALUE


def test_a_new_value_undoes_configure() -> None:
    host = Host()
    digest = host.controller.digest
    assert host.code("SET", "hold_ms", 2_000) == OK
    assert host.code("ARM", digest, NONCE) == p.ACK_WRONG_DIGEST
    assert host.ask("CONFIGURE").value("value") != digest


def test_configure_tells_the_digest_that_the_host_computes_too() -> None:
    host = Host()
    assert host.ask("CONFIGURE").value("value") == plan.digest(host.controller.values)


def test_configure_tells_a_contradiction_and_nothing_is_configured() -> None:
    host = Host()
    host.ask("SET", "mains_hz", 55)
    ack = host.ask("CONFIGURE")
    assert ack.value("code") == p.ACK_CONTRADICTION
    assert plan.CONTRADICTIONS[ack.value("value")][0] == "mains_hz"
    assert host.controller.digest == -1


# Ownership


@pytest.mark.parametrize("verb", ["SET", "CONFIGURE", "STORE", "ARM", "ACKNOWLEDGE"])
def test_without_a_lease_nothing_is_changed(verb: str) -> None:
    assert Host(owned=False).code(verb) == p.ACK_NOT_OWNER


@pytest.mark.parametrize(
    ("state", "verb", "arguments"),
    [
        (p.IDLE, "LEASE", (NONCE + 1,)),
        (p.IDLE, "ARM", (None, NONCE + 1)),
        (p.ARMED, "START", (NONCE + 1,)),
        (p.ARMED, "START", (0,)),
        (p.IDLE, "LEASE", (f"x{NONCE}",)),
        (p.IDLE, "ARM", (None, f"{NONCE}x")),
        (p.ARMED, "START", (f"{NONCE}x",)),
    ],
)
def test_a_wrong_nonce_opens_nothing(state: int, verb: str, arguments: tuple[Any, ...]) -> None:
    host = Host(state)
    filled = tuple(host.controller.digest if each is None else each for each in arguments)
    assert host.code(verb, *filled) == p.ACK_NOT_OWNER
    assert host.bench.state == state


def test_at_rest_a_lease_that_runs_out_ends_the_ownership_and_the_nonce() -> None:
    host = Host()
    host.bench.tick(LEASE_TICKS + 1)
    host.controller.rest()
    assert host.code("SET", "hold_ms", 1) == p.ACK_NOT_OWNER
    assert host.code("LEASE", NONCE) == p.ACK_NOT_OWNER
    [hello] = host.hear(b"HELLO\n")
    assert int(hello.hello["nonce"]) not in (0, NONCE)
    assert host.code("LEASE", int(hello.hello["nonce"])) == OK


def test_while_a_host_owns_the_session_nobody_is_told_the_nonce() -> None:
    [hello] = Host().hear(b"HELLO\n")
    assert hello.hello["nonce"] == "0"


def test_arm_does_not_overtake_a_store() -> None:
    host = Host()
    acks = host.hear(host.line("STORE"), host.line("ARM", *host.arguments("ARM")))
    assert {p.VERBS[ack.value("verb")][0]: ack.value("code") for ack in acks} == {"STORE": OK, "ARM": WRONG_STATE}


@pytest.mark.parametrize("silent_ticks", [LEASE_TICKS, LEASE_TICKS + 1])
def test_a_run_ends_when_its_lease_does(silent_ticks: int) -> None:
    host = Host(p.RAMP)
    host.bench.take_lease()
    host.bench.tick(silent_ticks)
    assert host.bench.board.enabled == (silent_ticks <= LEASE_TICKS)
    assert (host.controller.sequence.result == p.RESULT_LINK_LOST) == (silent_ticks > LEASE_TICKS)


# Retries


def the_retry_is_answered_alike(host: Host, line: bytes) -> Any:
    first, again = host.hear(line), host.hear(line)
    assert first[0].values == again[0].values
    return first[0]


def test_a_retried_set_does_not_set_again() -> None:
    host = Host()
    line = host.line("SET", "hold_ms", 2_000)
    the_retry_is_answered_alike(host, line)
    host.ask("SET", "hold_ms", 3_000)
    [ack] = host.hear(line)
    assert (ack.value("code"), ack.value("value")) == (OK, 2_000)
    assert host.ask("GET", "hold_ms").value("value") == 3_000


@pytest.mark.parametrize(
    ("state", "verb", "following"),
    [
        (p.IDLE, "ARM", p.ARMED),
        (p.ARMED, "START", p.RAMP),
        (p.FAULT, "ACKNOWLEDGE", p.IDLE),
        (p.IDLE, "CONFIGURE", p.IDLE),
        (p.IDLE, "STORE", p.IDLE),
    ],
)
def test_a_retried_step_is_taken_once(state: int, verb: str, following: int) -> None:
    host = Host(state)
    ack = the_retry_is_answered_alike(host, host.line(verb, *host.arguments(verb)))
    assert (ack.value("code"), host.bench.state) == (OK, following)


def test_a_retry_does_not_arm_again_what_was_stopped() -> None:
    host = Host()
    arm = host.line("ARM", *host.arguments("ARM"))
    host.hear(arm)
    host.hear(b"STOP")
    host.bench.tick()
    assert host.bench.state == p.STOPPED
    host.ask("ACKNOWLEDGE")
    assert host.hear(arm)[0].value("code") == OK
    assert host.bench.state == p.IDLE


def test_the_same_id_with_another_verb_is_another_command() -> None:
    host = Host()
    host.hear(command_line(7, "SET", "hold_ms", 2_000))
    [ack] = host.hear(command_line(7, "CONFIGURE"))
    assert p.VERBS[ack.value("verb")][0] == "CONFIGURE"


def test_the_last_ids_are_remembered() -> None:
    host = Host()
    lines = [host.line("SET", "hold_ms", 1_000 + at) for at in range(REMEMBERED)]
    for line in lines:
        host.hear(line)
    assert [host.hear(line)[0].value("value") for line in lines] == [1_000 + at for at in range(REMEMBERED)]
    assert host.ask("GET", "hold_ms").value("value") == 1_000 + REMEMBERED - 1


def test_another_owner_may_count_its_ids_from_the_same_number() -> None:
    host = Host()
    host.hear(command_line(1, "SET", "hold_ms", 2_000))
    host.bench.tick(LEASE_TICKS + 1)
    host.controller.rest()
    host.bench.take_lease()
    host.hear(command_line(1, "SET", "hold_ms", 3_000))
    assert host.ask("GET", "hold_ms").value("value") == 3_000


# The way to heat


def _open_the_interlock(host: Host) -> None:
    host.bench.board.interlock_closed = False


def _show(place: int, temperature_C: float, faults: int = 0) -> Callable[[Host], None]:
    def show(host: Host) -> None:
        host.bench.board.chips[place].show(temperature_C, faults=faults)
        host.bench.tick(150)
        host.bench.take_lease()

    return show


def _freeze(host: Host) -> None:
    host.bench.board.chips[0].frozen = True
    host.bench.tick(80)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_open_the_interlock, p.ACK_INTERLOCK),
        (_show(0, 37.0, faults=1), p.ACK_SENSOR),
        (_show(1, 37.0, faults=1), p.ACK_SENSOR),
        (_freeze, p.ACK_SENSOR),
    ],
    ids=["interlock", "control open", "guard open", "stale"],
)
def test_arm_is_refused_while_something_is_wrong(spoil: Callable[[Host], None], code: int) -> None:
    host = Host()
    spoil(host)
    host.bench.take_lease()
    assert host.code("ARM") == code
    assert host.bench.state == p.IDLE


@pytest.mark.parametrize("guard_C", [9.9, 10.0, 40.0, 40.1])
def test_a_guard_that_is_not_at_body_or_room_temperature_refuses_arm(guard_C: float) -> None:
    host = Host()
    for place in (0, 1):
        host.controller.thermocouples[place].restart()
        host.bench.board.chips[place].show(max(10.0, min(guard_C, 40.0)))
    host.bench.board.chips[1].show(guard_C)
    host.bench.tick(40)
    assert host.code("ARM") == (OK if 10 <= guard_C <= 40 else p.ACK_GUARD)


@pytest.mark.parametrize(
    ("place", "reading_C", "code", "against_mC"),
    [
        (0, 40.5, p.ACK_START_TEMPERATURE, 40_000),
        (0, 9.5, p.ACK_START_TEMPERATURE, 10_000),
        (1, 40.5, p.ACK_GUARD, 40_000),
        # of two that differ, nobody can say which is wrong: the warmer one is named
        (0, 39.5, p.ACK_START_SPREAD, 36_000),
        (1, 39.5, p.ACK_START_SPREAD, 36_000),
    ],
)
def test_an_implausible_start_is_refused_and_recorded_with_place_and_reading(
    place: int, reading_C: float, code: int, against_mC: int
) -> None:
    host = Host()
    if code == p.ACK_START_SPREAD:
        _show(1 - place, 36.0)(host)
    _show(place, reading_C)(host)
    ack = host.ask("ARM")
    assert (ack.value("code"), ack.value("key")) == (code, plan.INDEX["tc0_role"] + place)
    assert (ack.value("value"), ack.value("value2")) == (reading_C * 1000, against_mC)
    assert host.bench.state == p.IDLE
    [event] = [each for each in frames(host.bench.board.sent) if each.type == p.EVENT]
    assert (event.value("code"), event.value("value")) == (p.EVENT_REFUSED, reading_C * 1000)
    assert ROWS[event.value("row")][0].startswith(f"tc{place}_{'under' if reading_C * 1000 < against_mC else 'over'}")


def test_arm_without_configure_is_refused_whatever_digest_it_quotes() -> None:
    host = Host()
    host.controller.digest = -1
    for digest in (0, -1, "x", plan.digest(host.controller.values)):
        assert host.code("ARM", digest, NONCE) == p.ACK_WRONG_DIGEST


def test_configure_that_is_still_to_be_done_cannot_be_overtaken_by_arm() -> None:
    """Both in one packet: the run must not start with values that a later CONFIGURE takes over."""
    host = Host()
    digest = host.controller.digest
    acks = host.hear(host.line("CONFIGURE"), host.line("ARM", digest, NONCE))
    assert {p.VERBS[ack.value("verb")][0]: ack.value("code") for ack in acks} == {
        "CONFIGURE": OK,
        "ARM": WRONG_STATE,
    }
    assert host.bench.state == p.IDLE


def test_start_needs_the_footswitch_where_one_is_used() -> None:
    host = Host(p.ARMED, footswitch_used=1)
    host.bench.board.footswitch_pressed = False
    assert host.code("START") == p.ACK_FOOTSWITCH
    host.bench.board.footswitch_pressed = True
    assert host.code("START") == OK


def test_an_unused_arm_expires_after_thirty_seconds() -> None:
    host = Host()
    ack = host.ask("ARM")
    assert ack.value("value") == 30_000
    for _ in range(2_999):
        host.bench.take_lease()
        host.bench.tick()
    assert host.bench.state == p.ARMED
    host.bench.tick()
    assert host.bench.state == p.IDLE
    assert host.code("START") == WRONG_STATE


def test_nothing_is_enabled_before_start() -> None:
    host = Host()
    for verb in ("CONFIGURE", "ARM"):
        assert host.code(verb) == OK
        host.bench.tick()
        assert not host.bench.board.enabled
        host.bench.tick(60)
        host.bench.take_lease()
    host.ask("START")
    host.bench.tick()
    assert host.bench.board.enabled


@pytest.mark.parametrize("state", sorted(OVER), ids=p.STATE_NAMES.__getitem__)
def test_acknowledge_enables_nothing(state: int) -> None:
    host = Host(state)
    assert host.code("ACKNOWLEDGE") == OK
    host.bench.tick(5)
    assert (host.bench.state, host.bench.board.enabled) == (p.IDLE, False)


def test_stop_is_off_before_the_next_tick() -> None:
    host = Host(p.RAMP)
    host.bench.tick()
    assert host.bench.board.enabled
    host.bench.say(b"ST")
    assert host.bench.board.enabled
    host.bench.say(b"OP")
    assert (host.bench.board.enabled, host.bench.board.duty) == (False, 0)
    host.bench.tick()
    assert (host.bench.state, host.controller.sequence.result) == (p.STOPPED, p.RESULT_STOPPED)


def test_start_in_the_same_breath_as_stop_does_not_heat() -> None:
    for lines in ((b"STOP", "START"), ("START", b"STOP")):
        host = Host(p.ARMED)
        host.hear(*[host.line(each, NONCE) if isinstance(each, str) else each for each in lines])
        host.bench.tick(3)
        assert not host.bench.board.enabled
        assert host.bench.state == p.STOPPED


def test_the_values_are_those_of_the_bench() -> None:
    """The table above would say little if the scripted values were refused for another reason."""
    assert Host().controller.digest >= 0
    assert set(VALUES) <= set(plan.NAMES)
