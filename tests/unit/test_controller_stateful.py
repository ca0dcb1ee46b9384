"""Whatever a host, a chip, a switch or the clock does: RF is on only while everything says so.

A state machine throws commands, retries, noise, readings, inputs and missed ticks at the controller and keeps
its own account of them. After each single tick the account decides whether the enable may have been fed.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rfprobe.wire import command_line
from rfprobe_core import plan
from rfprobe_core import protocol as p
from tests.unit.scripted_board import Bench, frames

VALUES = {
    "target_mC": 40_000,
    "ramp_mC_per_s": 5_000,
    "hold_ms": 300,
    "cooldown_ms": 100,
    "max_rf_on_ms": 4_000,
    "footswitch_used": 1,
}
# What each mode changes of these; the board's load makes the roll-offs of `impedance`.
BY_MODE: dict[str, dict[str, int]] = {
    "temperature": {},
    "power": {"mode": plan.MODE_POWER, "power_mW": 2_000, "hold_ms": 2_000},
    "impedance": {
        "mode": plan.MODE_IMPEDANCE,
        "power_mW": 2_000,
        "hold_ms": 4_000,
        "rolloff_step_mohm": 30_000,
        "rest_ms": 500,
    },
    "pulsed": {
        "mode": plan.MODE_PULSED,
        "power_mW": 8_000,
        "max_temperature_mC": 45_000,
        "hold_ms": 4_000,
        "burst_ms": 50,
        "burst_period_ms": 200,
    },
}
MOST_RF_TICKS = 400
LEASE_TICKS = 100
INTERLOCK_TICKS = 2  # N of its row
FOOTSWITCH_TICKS = 2
POLL_TICKS = 12
CONFIGURED_TICKS = 5 * POLL_TICKS  # after CONFIGURE: until every place has been read
FAULTY_TICKS = 6 * POLL_TICKS  # five doubted polls, and the wait for the first
STALE_TICKS = 120 + 2 * POLL_TICKS
MISSED_MOST = 10
ENERGISED = (p.RAMP, p.HOLD)
UNDER_WAY = (*ENERGISED, p.REST)
GRAVEST = [p.CAUSE[name] for name in ("rf_while_disabled", "safe_off_unverified", "enable_stuck_high")]
CONTROL_C, GUARD_C = 37.0, 36.0
places = st.integers(0, 1)


class AnyHostAndAnyHardware(RuleBasedStateMachine):
    """The rules act; `_ticks` lets time pass and judges each tick."""

    mode = "temperature"

    @initialize()
    def power_up(self) -> None:
        self.bench = Bench(VALUES | BY_MODE[self.mode])
        self.controller = self.bench.controller
        self.board = self.bench.board
        self.temperature_C = [CONTROL_C, GUARD_C]
        self._show(0), self._show(1)
        self.next_id = 1
        self.lines: list[bytes] = []
        self.leased_at: int | None = None
        self.armed = False  # an ARM that quoted digest and nonce was accepted
        self.started = False  # and so was the START after it
        self.stopped = False
        self.latched: int | None = None  # the cause of a fault that nobody has acknowledged
        self.interlock_open = 0
        self.footswitch_up = 0
        self.bad_since: list[int | None] = [None, None]
        self.frozen_since: list[int | None] = [None, None]
        self.rf_ticks = 0
        self.missed = 0
        self.planted(self.bench)
        self._ticks(1)

    @staticmethod
    def planted(bench: Bench) -> None:
        """What a test of this test breaks in the controller."""

    # Time, and the judgement of each tick

    def _ticks(self, count: int, elapsed: int = 1, late_us: int = 0) -> None:
        for _ in range(count):
            before = self.bench.state
            self.board.fed_now = False
            was_on = self.board.enabled
            self.controller.tick(elapsed, late_us)
            self.missed += elapsed - 1 if before in ENERGISED else 0
            self._account(elapsed if was_on else 1)
            self._judge(before)
            elapsed, late_us = 1, 0

    def _account(self, elapsed: int) -> None:
        self.interlock_open = 0 if self.board.interlock_closed else self.interlock_open + 1
        self.footswitch_up = 0 if self.board.footswitch_pressed else self.footswitch_up + 1
        self.rf_ticks += elapsed if self.board.fed_now else 0

    def _judge(self, before: int) -> None:
        state, tick = self.bench.state, self.controller.tick_count
        if self.board.fed_now:
            assert state in ENERGISED
            assert self.started, "fed without CONFIGURE, ARM and START"
            assert not self.stopped, "fed after STOP"
            assert self.leased_at is not None and tick - self.leased_at <= LEASE_TICKS
            assert self.interlock_open < INTERLOCK_TICKS
            assert self.footswitch_up < FOOTSWITCH_TICKS
            assert self.latched is None
            assert self.rf_ticks <= MOST_RF_TICKS
            for since, most in [*((each, FAULTY_TICKS) for each in self.bad_since), *self._stale()]:
                assert since is None or tick - since <= most
        else:
            assert not self.board.enabled
        if state not in ENERGISED:
            assert self.board.duty == 0
        if state not in UNDER_WAY:
            self.started = False
            self.missed = 0
        if state in (p.IDLE, p.STOPPED, p.DONE, p.FAULT):
            self.armed = self.stopped = False
        self._latch(before, state)

    def _stale(self) -> list[tuple[int | None, int]]:
        return [(each, STALE_TICKS) for each in self.frozen_since]

    def _latch(self, before: int, state: int) -> None:
        """A fault stands until an ACKNOWLEDGE was accepted; only one that says RF may be on replaces another."""
        cause = self.controller.sequence.cause
        if self.latched is not None:
            assert state == p.FAULT, "a fault has cleared itself"
            assert cause == self.latched or cause in GRAVEST
        self.latched = cause if state == p.FAULT else None
        if before not in UNDER_WAY and state in UNDER_WAY:
            assert self.started

    @invariant()
    def enable_and_state_agree(self) -> None:
        """Between the ticks too: commands only ever take the enable away."""
        assert not self.board.enabled or self.bench.state in ENERGISED

    # The host

    def _say(self, line: bytes) -> list[Any]:
        """Send a line; the frames that answer it."""
        self.board.sent.clear()
        self.bench.say(line)
        self.controller.rest()
        while self.controller.reporter._waiting:
            self.controller.reporter.pump(self.board)
        self.lines = [*self.lines[-7:], line]
        heard = frames(self.board.sent)
        return heard

    def _command(self, verb: str, *arguments: int | str) -> bool:
        """Whether a command was accepted."""
        line = command_line(self.next_id, verb, *arguments)
        self.next_id += 1
        return self._accepted(line)

    def _accepted(self, line: bytes) -> bool:
        acks = [frame for frame in self._say(line) if frame.type == p.ACK]
        return bool(acks) and acks[-1].value("code") == p.ACK_OK

    @rule()
    def lease(self) -> None:
        if self._command("LEASE", self.controller.commands.nonce):
            self.leased_at = self.controller.tick_count

    @rule()
    def configure(self) -> None:
        self._command("CONFIGURE")

    @rule()
    def arm(self) -> None:
        digest = plan.digest(self.controller.values)
        if self._command("ARM", digest, self.controller.commands.nonce):
            assert self.controller.digest == digest, "armed without CONFIGURE"
            self.armed = True

    @rule()
    def start(self) -> None:
        if self._command("START", self.controller.commands.nonce):
            assert self.armed, "started without ARM"
            self.armed = False
            self.started = True
            self.rf_ticks = 0

    @rule(mended=st.booleans())
    def the_whole_way(self, mended: bool) -> None:
        """What a good host does; it gets as far as the hardware lets it."""
        if mended:
            self.all_well()
        self.lease()
        self.acknowledge()
        self._ticks(1)
        self.configure()
        self._ticks(CONFIGURED_TICKS)
        self.lease()
        self.arm()
        self.start()
        self._ticks(2)

    @rule()
    def start_too_early_and_the_same_line_when_armed(self) -> None:
        """What was refused stays refused: a line that comes again does not act because the state has moved."""
        self.lease()
        if self.bench.state == p.ARMED:
            return
        line = command_line(self.next_id, "START", self.controller.commands.nonce)
        self.next_id += 1
        assert not self._accepted(line)
        self.all_well()
        self.acknowledge()
        self._ticks(1)
        self.configure()
        self._ticks(CONFIGURED_TICKS)
        self.lease()
        self.arm()
        state = self.bench.state
        assert not self._accepted(line)
        assert self.bench.state == state, "a retry has acted"

    @rule()
    def acknowledge(self) -> None:
        if self._command("ACKNOWLEDGE"):
            self.latched = None

    @rule(
        verb_and_arguments=st.sampled_from(
            [("LEASE", 1), ("ARM", 1, 1), ("ARM", -1, 1), ("START", 1), ("START", -1), ("START", "x")]
        ),
        right_nonce=st.booleans(),
    )
    def wrong_command(self, verb_and_arguments: tuple[Any, ...], right_nonce: bool) -> None:
        verb, *arguments = verb_and_arguments
        if verb == "ARM" and right_nonce:
            arguments[1] = self.controller.commands.nonce
        assert not self._command(verb, *arguments)

    @rule(cooldown_ms=st.sampled_from((100, 101)))
    def another_value(self, cooldown_ms: int) -> None:
        self._command("SET", "cooldown_ms", cooldown_ms)

    @rule(at=st.integers(0, 7))
    def say_it_again(self, at: int) -> None:
        """A retry is answered as before and moves nothing; LEASE alone may be renewed by its own line."""
        if not self.lines:
            return
        line = self.lines[at % len(self.lines)]
        state = self.bench.state
        accepted = self._accepted(line)
        if b"LEASE" in line and accepted:
            self.leased_at = self.controller.tick_count
        assert self.bench.state == state, "a retry has acted"

    @rule(data=st.binary(max_size=40).filter(lambda data: b"STOP" not in bytes(byte & 0xDF for byte in data)))
    def noise(self, data: bytes) -> None:
        state = self.bench.state
        self._say(data + b"\n")
        assert self.bench.state == state

    @rule(where=st.sampled_from((b"STOP", b"stop\n", b"1 SET hold_ms=STOP", b"\xff\x00STOP*99")))
    def stop(self, where: bytes) -> None:
        self.bench.say(where + b"\n")
        assert not self.board.enabled
        assert self.board.duty == 0
        self.stopped = self.bench.state in (p.ARMED, *UNDER_WAY)

    # The hardware

    def _show(self, place: int, faults: int = 0) -> None:
        self.board.chips[place].show(self.temperature_C[place], faults=faults)

    @rule(place=places, step_C=st.sampled_from((-3.0, 0.5, 1.0, 3.0)))
    def another_temperature(self, place: int, step_C: float) -> None:
        self.temperature_C[place] = min(max(self.temperature_C[place] + step_C, 20.0), 43.0)
        self._show(place)
        self.bad_since[place] = None
        self._ticks(POLL_TICKS)

    @rule(place=places, faults=st.sampled_from((0x01, 0x02, 0x20, 0x40)))
    def faulty(self, place: int, faults: int) -> None:
        self._show(place, faults)
        if self.bad_since[place] is None:
            self.bad_since[place] = self.controller.tick_count

    @rule(place=places)
    def no_answer(self, place: int) -> None:
        self.board.chips[place].answers = b""
        if self.bad_since[place] is None:
            self.bad_since[place] = self.controller.tick_count

    @rule(place=places, frozen=st.booleans())
    def stale(self, place: int, frozen: bool) -> None:
        self.board.chips[place].frozen = frozen
        self.frozen_since[place] = self.controller.tick_count if frozen else None

    @rule(ohm=st.sampled_from((80.0, 100.0, 140.0)))
    def another_load(self, ohm: float) -> None:
        self.board.load_ohm = ohm

    @rule()
    def all_well(self) -> None:
        self.board.load_ohm = 100.0
        self.temperature_C = [CONTROL_C, GUARD_C]
        for place in (0, 1):
            self.board.chips[place].answers = None
            self.board.chips[place].frozen = False
            self._show(place)
        self.bad_since, self.frozen_since = [None, None], [None, None]
        self.board.interlock_closed = self.board.footswitch_pressed = True
        self.board.deadman_deaf = False
        self.board.enable_reads = None

    @rule(closed=st.booleans())
    def interlock(self, closed: bool) -> None:
        self.board.interlock_closed = closed

    @rule(pressed=st.booleans())
    def footswitch(self, pressed: bool) -> None:
        self.board.footswitch_pressed = pressed

    @rule(reads=st.sampled_from((None, 0, 1)))
    def enable_reads(self, reads: int | None) -> None:
        self.board.enable_reads = reads

    @rule()
    def dead_man_deaf(self) -> None:
        self.board.deadman_deaf = True

    # Time

    @rule(place=places, breaks=st.integers(0, 4))
    def a_good_run_and_the_hardware_breaks(self, place: int, breaks: int) -> None:
        self.the_whole_way(mended=True)
        breakers: tuple[Callable[[], None], ...] = (
            lambda: self.faulty(place, 0x01),
            lambda: self.no_answer(place),
            lambda: self.stale(place, frozen=True),
            lambda: self.interlock(closed=False),
            self.dead_man_deaf,
        )
        breakers[breaks]()
        self.time_passes_with_a_good_host(8)

    @rule(breaks=st.integers(0, 4))
    def a_good_run_and_host_or_clock_break(self, breaks: int) -> None:
        self.the_whole_way(mended=True)
        breakers: tuple[Callable[[], None], ...] = (
            lambda: self.footswitch(pressed=False),
            lambda: self.stop(b"STOP"),
            lambda: self.ticks_are_missed(MISSED_MOST + 2),
            self.the_host_is_silent,
            self.ticks_are_late,
        )
        breakers[breaks]()
        self.time_passes_with_a_good_host(4)

    @rule(settled=st.integers(4, 8))
    def a_good_run_and_the_impedance_rises(self, settled: int) -> None:
        """A roll-off, in `impedance`: RF rests, and comes again. To the other modes it is nothing."""
        self.the_whole_way(mended=True)
        self.time_passes_with_a_good_host(settled)
        self.another_load(140.0)
        self.time_passes_with_a_good_host(4)

    @rule(count=st.sampled_from((1, 2, 5, 12, 40)))
    def time_passes(self, count: int) -> None:
        self._ticks(count)

    @rule(count=st.integers(1, 6))
    def time_passes_with_a_good_host(self, count: int) -> None:
        for _ in range(count):
            self.lease()
            self._ticks(25)

    @rule()
    def the_host_is_silent(self) -> None:
        self._ticks(LEASE_TICKS + 5)

    @rule(elapsed=st.sampled_from((2, 5, MISSED_MOST + 2, 500)))
    def ticks_are_missed(self, elapsed: int) -> None:
        self._ticks(1, elapsed, 3_000)
        if self.missed > MISSED_MOST:
            assert not self.board.enabled

    @rule()
    def ticks_are_late(self) -> None:
        """Three in a row end RF; of those in which it rests, between bursts, none counts."""
        with_rf_on = 0
        for _ in range(3):
            with_rf_on += self.bench.state in ENERGISED
            self._ticks(1, 1, 6_000)
        assert with_rf_on < 3 or not self.board.enabled


chosen = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def of_mode(name: str) -> type[AnyHostAndAnyHardware]:
    """The same in a mode."""

    class InThisMode(AnyHostAndAnyHardware):
        mode = name

    return InThisMode


@pytest.mark.parametrize("mode", BY_MODE)
def test_rf_is_on_only_while_everything_says_so(mode: str) -> None:
    run_state_machine_as_test(of_mode(mode), settings=chosen)


@pytest.mark.parametrize("mode", BY_MODE)
def test_a_good_run_heats_in_every_mode_and_rests_where_it_should(mode: str) -> None:
    """So that the states which the rules are to break things in are really come to."""
    machine = of_mode(mode)()
    machine.power_up()
    machine.the_whole_way(mended=True)
    seen: list[tuple[int, bool]] = []
    for ohm in (100.0, 140.0):
        machine.another_load(ohm)
        for _ in range(16):
            machine.lease()
            for _ in range(10):
                machine._ticks(1)
                seen.append((machine.bench.state, machine.board.enabled))
    assert {(p.RAMP, True), (p.HOLD, True)} & set(seen)
    rests = [place for place, each in enumerate(seen) if each == (p.REST, False)]
    assert bool(rests) == (mode in ("impedance", "pulsed"))
    assert not rests or (p.HOLD, True) in seen[rests[0] :]


# The test is tested: each hole, planted in the controller, is found.


def _lease_never_ages(bench: Bench) -> None:
    bench.controller.commands.lease_age_ticks = lambda _tick: 0


def _row_never_judged(name: str) -> Callable[[Bench], None]:
    def plant(bench: Bench) -> None:
        limits = bench.controller.limits
        configure = limits.configure

        def without_the_row(values: Any) -> None:
            from rfprobe_core import safety

            configure(values)
            limits.table[3 * safety.SIZE + safety.ROW[name]] = 0

        limits.configure = without_the_row

    return plant


def _stop_only_at_the_next_tick(bench: Bench) -> None:
    controller = bench.controller

    def stop() -> None:
        controller._stop_asked = True

    controller.stop = stop


def _fault_clears_itself(bench: Bench) -> None:
    sequence = bench.controller.sequence
    advance = sequence.advance
    in_fault = 0

    def forgetful(ticks: int, energy_mJ: int, near_target: bool) -> int:
        nonlocal in_fault
        in_fault = in_fault + 1 if sequence.state == p.FAULT else 0
        if in_fault > 5:
            sequence.acknowledge()
        cause: int = advance(ticks, energy_mJ, near_target)
        return cause

    sequence.advance = forgetful


def _start_without_arm(bench: Bench) -> None:
    sequence = bench.controller.sequence
    start = bench.controller.start

    def eager() -> int:
        sequence.state = p.ARMED
        code: int = start()
        return code

    bench.controller.start = eager


def _enable_left_on(bench: Bench) -> None:
    bench.board.safe_off = lambda: True  # type: ignore[method-assign]
    bench.board.enable_low = lambda: None  # type: ignore[method-assign]


def _refusals_forgotten(bench: Bench) -> None:
    commands = bench.controller.commands
    remember = commands._remember

    def only_what_was_done(command_id: int, verb: int, code: int) -> None:
        if code == p.ACK_OK:
            remember(command_id, verb, code)

    commands._remember = only_what_was_done


def _rest_leaves_it_on(bench: Bench) -> None:
    bench.controller._rest = lambda: None


HOLES = {
    "refusals forgotten": _refusals_forgotten,
    "lease never ages": _lease_never_ages,
    "interlock not judged": _row_never_judged("interlock_open"),
    "status of the guard not judged": _row_never_judged("tc1_status"),
    "age of the control not judged": _row_never_judged("tc0_age"),
    "missed ticks not judged": _row_never_judged("ticks_missed"),
    "late ticks not judged": _row_never_judged("tick_late"),
    "stop waits for the tick": _stop_only_at_the_next_tick,
    "fault clears itself": _fault_clears_itself,
    "start without arm": _start_without_arm,
    "enable left on": _enable_left_on,
}


IN_OTHER_MODES = {
    "impedance": {"rest leaves it on": _rest_leaves_it_on, "interlock not judged": _row_never_judged("interlock_open")},
    "pulsed": {"rest leaves it on": _rest_leaves_it_on, "lease never ages": _lease_never_ages},
    "power": {"status of the guard not judged": _row_never_judged("tc1_status")},
}
PLANTED = [("temperature", hole, plant) for hole, plant in HOLES.items()]
PLANTED += [(mode, hole, plant) for mode, holes in IN_OTHER_MODES.items() for hole, plant in holes.items()]


@pytest.mark.parametrize(("mode", "hole", "plant"), PLANTED, ids=lambda each: each if isinstance(each, str) else "")
def test_a_planted_hole_is_found(mode: str, hole: str, plant: Callable[[Bench], None]) -> None:
    class Holed(of_mode(mode)):  # type: ignore[misc]
        planted = staticmethod(plant)

    searching = settings(chosen, max_examples=400, phases=(Phase.generate,), derandomize=True, database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Holed, settings=searching)
