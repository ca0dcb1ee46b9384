"""One run as the host sees it: the order of things, each refusal, lost acks, STOP, silence, restarts."""

import itertools
from array import array
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfprobe.client import ASKED, OVER, TOLD, Phase, RunClient
from rfprobe_core import plan, protocol
from tests.host.scripted_device import LEASE_TICKS, UNDER_WAY, VALUES, Bench, ScriptedDevice

PROTO = protocol.protocol_digest()
STRAIGHT = [
    Phase.HELLO,
    Phase.CLAIM,
    Phase.CONFIGURE,
    Phase.ARM,
    Phase.START,
    Phase.RUNNING,
    Phase.ENDED,
]


def bench(device: ScriptedDevice | None = None, **options: bool | int) -> Bench:
    return Bench(RunClient(VALUES, PROTO, **options), device or ScriptedDevice())  # type: ignore[arg-type]


def run_to(made: Bench, state: int) -> None:
    made.run(lambda: made.device.state == state)


def outcome(made: Bench) -> tuple[Phase, str, str]:
    return made.client.phase, made.client.result, made.client.cause


# The straight way


def test_a_run_from_hello_to_the_verdict() -> None:
    made = bench()
    made.run()
    assert made.phases == STRAIGHT
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")
    assert made.device.state == protocol.DONE
    assert made.client.hello["nonce"] == "4711"
    assert (made.client.refusal, made.client.device_result) == ("", "completed")
    assert made.device.values == VALUES
    verbs = [verb for verb in made.verbs_sent() if verb != "LEASE"]
    assert verbs == ["HELLO", *["SET"] * len(TOLD), "CONFIGURE", *["GET"] * len(ASKED), "ARM", "START"]
    assert made.verbs_sent()[1] == "LEASE"
    assert (made.client.decoder.lost, made.client.decoder.bad_crc) == (0, 0)


def test_everything_said_is_in_the_log_with_its_time() -> None:
    made = bench()
    made.run()
    log = made.client.commands
    assert [time for time, _, _ in log] == sorted(time for time, _, _ in log)
    assert [text for _, way, text in log if way == "tx"] == made.device.lines
    assert ("rx", "2 SET mode: ok 0 0") in [(way, text) for _, way, text in log]
    arm = plan.digest(array("i", [VALUES[name] for name in plan.NAMES]))
    assert any(f" ARM {arm} 4711*" in text for _, _, text in log)


def test_nothing_sent_ever_holds_a_ctrl_c_and_nothing_is_sent_after_the_end() -> None:
    made = bench()
    made.run()
    assert all(b"\x03" not in data for _, data in made.sent)
    assert [made.client.poll(made.now_s + later) for later in (0.0, 0.3, 5.0)] == [b"", b"", b""]


def test_the_lease_is_renewed_four_times_a_second_from_claim_to_end() -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 1_000
    made.run()
    times = [time for time, data in made.sent if b" LEASE " in data]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) > 40
    assert min(gaps) >= 0.239
    assert max(gaps) <= 0.261
    assert made.now_s - times[-1] <= 0.3


@pytest.mark.parametrize("window", [1, 2, 4])
def test_no_more_commands_are_under_way_than_the_window(window: int) -> None:
    made = bench(window=window)
    most = 0
    while not made.client.over:
        made.tick()
        most = max(most, Counter("SET" in line for line in made.device.lines)[True])
        made.device.lines.clear()
    assert most == window
    assert made.client.result == "completed"


@pytest.mark.parametrize("window", [0, 5])
def test_other_windows_are_refused(window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        bench(window=window)


@pytest.mark.parametrize(
    "values",
    [
        {name: value for name, value in VALUES.items() if name != "hold_ms"},
        VALUES | {"holds_ms": 1},
        VALUES | {"hold_ms": 1 << 30},
    ],
)
def test_values_the_wire_cannot_carry_are_refused_at_once(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="hold"):
        RunClient(values, PROTO)


def test_polling_more_often_changes_nothing() -> None:
    once, often = bench(), bench()
    often.polls = 7
    once.run()
    often.run()
    assert often.client.result == once.client.result == "completed"
    assert Counter(often.verbs_sent()) == Counter(once.verbs_sent())


def test_asked_to_it_stops_before_arm_and_keeps_its_lease_until_it_is_confirmed() -> None:
    made = bench(ask_first=True)
    made.run(lambda: made.client.phase is Phase.CONFIRM)
    until_s = made.now_s + 20.0
    made.run(lambda: made.now_s >= until_s)
    assert made.client.phase is Phase.CONFIRM
    assert made.client.understood == VALUES
    assert not made.client.arm_asked and "ARM" not in made.verbs_sent()
    made.client.confirm()
    made.run()
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")


def test_a_stop_while_it_waits_to_be_confirmed_arms_nothing() -> None:
    made = bench(ask_first=True)
    made.run(lambda: made.client.phase is Phase.CONFIRM)
    made.client.request_stop()
    made.run()
    assert outcome(made) == (Phase.ENDED, "stopped", "operator_stop")
    assert not made.client.arm_asked and "ARM" not in made.verbs_sent()


# May it be armed at all


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda device: setattr(device, "proto", "00000000"), "protocol 00000000"),
        (lambda device: setattr(device, "schema", 2), "schema 2"),
        (lambda device: setattr(device, "nonce", ""), "no nonce"),
        (lambda device: setattr(device, "nonce", "x\x04"), "no nonce"),
    ],
)
def test_a_device_that_does_not_fit_is_not_even_claimed(change: Callable[[ScriptedDevice], None], says: str) -> None:
    made = bench()
    change(made.device)
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert says in made.client.refusal
    assert made.client.watch_only
    assert set(made.verbs_sent()) == {"HELLO"}


def test_a_device_in_self_test_is_waited_for() -> None:
    made = bench(ScriptedDevice(protocol.SELF_TEST))
    made.device.lasts[protocol.SELF_TEST] = 800
    made.run()
    assert made.client.result == "completed"


def test_but_not_for_ever() -> None:
    made = bench(ScriptedDevice(protocol.SELF_TEST))
    made.device.lasts[protocol.SELF_TEST] = 2_000
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "SELF_TEST" in made.client.refusal
    assert 9.9 < made.now_s < 10.5


@pytest.mark.parametrize("state", [protocol.DONE, protocol.STOPPED, protocol.FAULT])
def test_the_last_result_is_only_cleared_when_asked_for(state: int) -> None:
    made = bench(ScriptedDevice(state))
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert protocol.STATE_NAMES[state] in made.client.refusal
    assert set(made.verbs_sent()) == {"HELLO"}
    made = bench(ScriptedDevice(state), acknowledge=[state])
    made.device.result = protocol.RESULT_FAULT
    made.run()
    assert made.client.result == "completed"
    assert made.verbs_sent()[:3] == ["HELLO", "LEASE", "ACKNOWLEDGE"]


def test_a_fault_that_comes_back_ends_the_wait() -> None:
    made = bench(ScriptedDevice(protocol.FAULT), acknowledge=OVER)
    made.run(lambda: made.device.state == protocol.IDLE)
    made.device.fault("interlock_open")
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "FAULT, interlock_open" in made.client.refusal


@pytest.mark.parametrize("state", UNDER_WAY)
def test_another_host_s_run_is_left_alone(state: int) -> None:
    made = bench(ScriptedDevice(state))
    made.device.lasts = {}
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "another run is under way" in made.client.refusal
    assert set(made.verbs_sent()) == {"HELLO"}


def test_a_device_that_another_host_owns_is_waited_for_until_its_lease_runs_out() -> None:
    made = bench()
    made.device.owned = True
    made.run()
    assert made.client.result == "completed"
    assert made.now_s > LEASE_TICKS * 0.01


def test_but_not_if_that_host_keeps_it() -> None:
    made = bench()
    made.device.owned = True
    while not made.client.over:
        made.device._lease_tick = made.device.tick
        made.tick()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "another host" in made.client.refusal


def test_a_nonce_that_was_renewed_after_its_hello_is_asked_for_again() -> None:
    made = bench()
    made.run(lambda: made.client.phase is Phase.CLAIM)
    made.device.nonce = "815"
    made.run()
    assert made.client.result == "completed"


# Refusals


@pytest.mark.parametrize(
    ("verb", "code", "key", "value", "says"),
    [
        ("LEASE", protocol.ACK_NOT_OWNER, protocol.NO_KEY, 0, "LEASE: another host owns"),
        ("SET", protocol.ACK_UNKNOWN_KEY, 0, 0, "SET mode=0: unknown key"),
        ("SET", protocol.ACK_BAD_VALUE, 0, 0, "SET mode=0: value out of range (0 … 3)"),
        ("SET", protocol.ACK_WRONG_STATE, 0, 0, "not in this state"),
        ("SET", protocol.ACK_NOT_OWNER, 0, 0, "another host owns"),
        ("SET", protocol.ACK_UNKNOWN_VERB, 0, 0, "unknown verb"),
        ("SET", protocol.ACK_SYNTAX, 0, 0, "not a command"),
        ("CONFIGURE", protocol.ACK_CONTRADICTION, protocol.NO_KEY, 1, "target_mC: the target is not below"),
        ("CONFIGURE", protocol.ACK_WRONG_STATE, protocol.NO_KEY, 0, "not in this state"),
        ("ARM", protocol.ACK_WRONG_DIGEST, protocol.NO_KEY, 0, "ARM: digest differs"),
        ("ARM", protocol.ACK_SENSOR, protocol.NO_KEY, 0, "no fresh valid reading"),
        ("ARM", protocol.ACK_INTERLOCK, protocol.NO_KEY, 0, "the interlock is open"),
        ("ARM", protocol.ACK_GUARD, protocol.NO_KEY, 0, "guard thermocouple"),
        ("ARM", protocol.ACK_STAGE, protocol.NO_KEY, 0, "RF stage"),
        ("START", protocol.ACK_FOOTSWITCH, protocol.NO_KEY, 0, "START: the foot-switch"),
        ("START", 99, protocol.NO_KEY, 0, "number 99"),
    ],
)
def test_each_refusal_is_told_in_one_sentence(verb: str, code: int, key: int, value: int, says: str) -> None:
    made = bench()
    made.device.refusals[verb] = (code, key, value)
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "start_temperature" if code == protocol.ACK_GUARD else "none")
    assert says in made.client.refusal and "\n" not in made.client.refusal
    made.tick()
    # Whoever may have armed it disarms it; nobody else sends a stop.
    assert ("STOP" in made.verbs_sent()) == (verb in ("ARM", "START"))
    assert made.device.state not in UNDER_WAY


@pytest.mark.parametrize(
    ("code", "place", "cause", "says"),
    [
        (
            protocol.ACK_START_TEMPERATURE,
            0,
            "start_temperature",
            "control (number 1) reads 47.31 °C, and the plan says",
        ),
        (protocol.ACK_START_SPREAD, 0, "start_disagreement", "control (number 1) reads 47.31 °C and another 0.00 °C"),
        (protocol.ACK_GUARD, 1, "start_temperature", "none (number 2) reads 47.31 °C"),
    ],
)
def test_a_start_that_is_refused_names_the_thermocouple_and_its_reading(
    code: int, place: int, cause: str, says: str
) -> None:
    made = bench()
    made.device.refusals["ARM"] = (code, plan.INDEX["tc0_role"] + place, 47_310)
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", cause)
    assert says in made.client.refusal
    assert made.device.state not in UNDER_WAY


def test_a_value_out_of_range_names_its_key_and_range() -> None:
    made = Bench(RunClient(VALUES | {"ramp_mC_per_s": 6_000}, PROTO), ScriptedDevice())
    made.run()
    assert made.client.refusal == "the device refused SET ramp_mC_per_s=6000: value out of range (10 … 5000)"


def test_a_value_stored_otherwise_is_a_refusal() -> None:
    made = bench()
    made.device.stored["hold_ms"] = 1_000
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "hold_ms=1000 instead of 0" in made.client.refusal


def test_a_digest_that_differs_is_never_armed() -> None:
    made = bench()
    made.device.understood = 12_345
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "12345" in made.client.refusal
    assert "ARM" not in made.verbs_sent()


def test_a_fault_while_configuring_names_its_cause() -> None:
    made = bench()
    made.run(lambda: made.client.phase is Phase.CONFIGURE)
    made.device.fault("thermocouple_open")
    made.device.refusals["SET"] = (protocol.ACK_WRONG_STATE, protocol.NO_KEY, 0)
    made.run()
    assert made.client.refusal.endswith("not in this state (it is in FAULT, thermocouple_open)")
    assert outcome(made) == (Phase.FAILED, "refused", "none")


def test_a_fault_while_armed_is_a_fault() -> None:
    made = bench()
    run_to(made, protocol.ARMED)
    made.device.fault("interlock_open")
    made.device.refusals["START"] = (protocol.ACK_WRONG_STATE, protocol.NO_KEY, 0)
    made.run()
    assert made.client.result == "fault"
    assert made.client.cause == "interlock_open"
    assert made.client.fault is not None and made.client.fault.value("value") == 45_100


# Lost and damaged on the way


@pytest.mark.parametrize("verb", ["LEASE", "SET", "CONFIGURE", "GET", "ARM", "START", "ACKNOWLEDGE"])
@pytest.mark.parametrize("what", ["drop_acks", "drop_lines", "damage_lines"])
@pytest.mark.parametrize("times", [1, 4])
def test_what_is_lost_is_sent_again_with_its_id(verb: str, what: str, times: int) -> None:
    made = bench(ScriptedDevice(protocol.DONE), acknowledge=OVER)
    getattr(made.device, what)[verb] = times
    made.run()
    assert made.client.result == "completed"
    sent = Counter(line for line in made.device.lines if f" {verb}" in line and "HELLO" not in line)
    assert max(sent.values()) > 1
    assert made.device.acted[verb] == {"LEASE": 0, "SET": len(TOLD), "GET": len(ASKED)}.get(verb, 1)


@pytest.mark.parametrize("verb", ["LEASE", "SET", "CONFIGURE", "GET", "ARM", "START"])
def test_after_five_tries_the_link_is_lost(verb: str) -> None:
    made = bench()
    made.device.drop_lines[verb] = 1_000
    made.run()
    assert outcome(made) == (Phase.FAILED, "link_lost", "none")
    assert "not answered" in made.client.refusal
    counts = Counter(line for line in made.device.lines if f" {verb}" in line)
    assert counts.most_common(1)[0][1] == 5


def test_a_line_that_always_arrives_damaged_is_told_so() -> None:
    made = bench()
    made.device.damage_lines["CONFIGURE"] = 1_000
    made.run()
    assert outcome(made)[:2] == (Phase.FAILED, "link_lost")
    assert "damaged" in made.client.refusal


def test_an_id_that_the_device_remembers_from_another_host_is_replaced() -> None:
    made = bench()
    made.device.remembered = {
        2: (2, protocol.VERB_SET, protocol.ACK_OK, plan.INDEX["hold_ms"], 0, 0),
        len(plan.NAMES) + 3: (len(plan.NAMES) + 3, protocol.VERB_ARM, protocol.ACK_OK, protocol.NO_KEY, 0, 0),
    }
    made.run()
    assert made.client.result == "completed"
    assert made.device.acted["SET"] == len(TOLD)
    assert made.device.acted["CONFIGURE"] == made.device.acted["ARM"] == 1


def test_no_device_at_all() -> None:
    made = bench()
    made.up = made.down = False
    made.run()
    assert outcome(made) == (Phase.FAILED, "link_lost", "none")
    assert made.client.refusal == "no HELLO came within 5 s"
    assert len(made.sent) == 17


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_bad_link_never_tells_one_end_as_another(data: st.DataObject) -> None:
    """Whatever gets lost, the host tells what the device did, or that the link was lost."""
    made = bench()
    lost = data.draw(st.floats(0.0, 0.6))
    source = data.draw(st.randoms(use_true_random=False))
    while not made.client.over:
        made.up, made.down = source.random() >= lost, source.random() >= lost
        made.tick()
        assert made.now_s < 60
    word = protocol.RESULT_NAMES[made.device.result]
    assert made.client.result in ({word, "link_lost"} if word != "none" else {"refused", "link_lost", "none"})
    assert made.client.result != "none"


# STOP


@pytest.mark.parametrize("state", [protocol.ARMED, protocol.RAMP, protocol.HOLD])
def test_stop_goes_out_with_the_next_poll(state: int) -> None:
    made = bench()
    if state == protocol.ARMED:
        made.device.drop_lines["START"] = 100
    run_to(made, state)
    made.client.request_stop()
    made.tick()
    assert made.sent[-1][1].startswith(b"STOP\n")
    made.run()
    assert outcome(made) == (Phase.ENDED, "stopped", "operator_stop")
    assert made.device.acted["STOP"] <= 3


@pytest.mark.parametrize("phase", [Phase.HELLO, Phase.CLAIM, Phase.CONFIGURE])
def test_stop_before_arming_ends_it_there(phase: Phase) -> None:
    made = bench()
    made.run(lambda: made.client.phase is phase)
    made.client.request_stop()
    made.run(within_s=0.1)
    assert outcome(made) == (Phase.ENDED, "stopped", "operator_stop")
    assert made.device.lines[-1] == "STOP"
    assert "ARM" not in made.verbs_sent()


@pytest.mark.parametrize("phase", [Phase.ARM, Phase.START])
def test_stop_overtakes_whatever_has_not_been_sent(phase: Phase) -> None:
    made = bench()
    made.device.drop_lines.update({"ARM": 100} if phase is Phase.ARM else {"START": 100})
    made.run(lambda: made.client.phase is phase)
    made.client.request_stop()
    made.run()
    assert outcome(made) == (Phase.ENDED, "stopped", "operator_stop")
    assert made.device.state not in UNDER_WAY
    assert "ARM" not in " ".join(made.device.lines[made.device.lines.index("STOP") :])
    assert "START" not in " ".join(made.device.lines[made.device.lines.index("STOP") :])


def test_stop_is_repeated_every_100_ms_until_it_is_seen_to_work() -> None:
    made = bench()
    made.device.stops_ignored = 7
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    made.client.request_stop()
    made.run()
    times = [time for time, data in made.sent if b"STOP\n" in data]
    assert len(times) in (8, 9)
    assert all(0.095 < after - before < 0.105 for before, after in itertools.pairwise(times))
    assert outcome(made) == (Phase.ENDED, "stopped", "operator_stop")


def test_stop_while_cooling_down_changes_no_verdict() -> None:
    made = bench()
    made.device.lasts[protocol.COOLDOWN] = 10_000
    run_to(made, protocol.COOLDOWN)
    made.tick()
    made.client.request_stop()
    made.tick()
    made.device.go(protocol.DONE)
    made.run()
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")


# The end


def test_a_lost_end_event_is_made_up_for_by_telemetry() -> None:
    made = bench()
    made.device.tells_end = False
    made.run()
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")


def test_a_graver_end_while_cooling_down_replaces_the_first() -> None:
    made = bench()
    run_to(made, protocol.COOLDOWN)
    made.tick()
    made.device.fault("rf_while_disabled")
    made.run()
    assert outcome(made) == (Phase.ENDED, "fault", "rf_while_disabled")


@pytest.mark.parametrize("result", range(1, len(protocol.RESULT_NAMES)))
def test_each_result_of_the_device_keeps_its_name(result: int) -> None:
    made = bench()
    run_to(made, protocol.HOLD)
    made.device.end(result, "energy_ceiling", protocol.COOLDOWN)
    made.run()
    assert outcome(made) == (Phase.ENDED, protocol.RESULT_NAMES[result], "energy_ceiling")


def test_the_cool_down_is_listened_to_and_not_for_ever() -> None:
    made = bench()
    made.device.lasts[protocol.COOLDOWN] = 100_000
    run_to(made, protocol.COOLDOWN)
    begun_s = made.now_s
    made.run()
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")
    assert made.now_s - begun_s == pytest.approx(VALUES["cooldown_ms"] / 1000 + 5, abs=0.1)


def test_silence_in_the_cool_down_does_not_change_the_verdict() -> None:
    made = bench()
    run_to(made, protocol.COOLDOWN)
    made.tick()
    made.up = False
    made.run(within_s=1.2)
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")


def test_a_device_that_stops_without_a_verdict_is_a_lost_link() -> None:
    made = bench()
    run_to(made, protocol.HOLD)
    made.device.go(protocol.STOPPED)
    made.run()
    assert outcome(made)[:2] == (Phase.FAILED, "link_lost")
    assert "STOPPED" in made.client.refusal


def test_an_armed_device_that_does_not_start() -> None:
    made = bench()
    made.device.remembered[len(plan.NAMES) + 5] = (  # a renewal of the lease takes an id too
        len(plan.NAMES) + 5, protocol.VERB_START, protocol.ACK_OK, protocol.NO_KEY, 0, 0
    )  # fmt: skip
    made.run()
    assert outcome(made)[:2] == (Phase.FAILED, "refused")
    assert "stays ARMED" in made.client.refusal
    made.tick()
    assert made.device.state == protocol.STOPPED


# The link and the lease


def test_silence_is_a_lost_link_and_stop_is_sent_into_it() -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    cut_s = made.now_s
    made.up = made.down = False
    made.run(lambda: made.client.result != "none")
    assert 0.95 < made.now_s - cut_s < 1.15
    assert made.client.phase is Phase.RUNNING
    made.run()
    assert outcome(made) == (Phase.ENDED, "link_lost", "lease_lost")
    assert 2.9 < made.now_s - cut_s < 3.2
    stops = [time for time, data in made.sent if b"STOP\n" in data]
    assert 18 <= len(stops) <= 22
    assert made.client.device_result == "none"
    assert made.device.result == protocol.RESULT_LINK_LOST


@pytest.mark.parametrize(
    ("result", "cause", "told"),
    [
        (protocol.RESULT_STOPPED, "operator_stop", ("link_lost", "lease_lost")),
        (protocol.RESULT_LINK_LOST, "lease_lost", ("link_lost", "lease_lost")),
        (protocol.RESULT_COMPLETED, "hold_complete", ("completed", "hold_complete")),
        (protocol.RESULT_LIMITED, "energy_ceiling", ("limited", "energy_ceiling")),
        (protocol.RESULT_FAULT, "guard_dose", ("fault", "guard_dose")),
    ],
)
def test_a_link_that_comes_back_may_bring_the_device_s_own_word(result: int, cause: str, told: tuple[str, str]) -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    made.up = made.down = False
    made.run(lambda: made.client.result == "link_lost")
    made.device.result = protocol.RESULT_NONE
    made.device.end(result, cause, protocol.DONE)
    made.up = True
    made.run()
    assert outcome(made) == (Phase.ENDED, *told)
    assert made.client.device_result == protocol.RESULT_NAMES[result]


def test_a_paused_lease_lets_the_device_end_the_run() -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    made.client.pause_lease()
    paused_s = made.now_s
    made.run()
    assert outcome(made) == (Phase.ENDED, "link_lost", "lease_lost")
    assert made.client.device_result == "link_lost"
    assert "STOP" not in made.verbs_sent()
    assert 0.7 < made.now_s - paused_s < 1.2


def test_a_run_without_renewals() -> None:
    made = bench(lease=False)
    made.device.lasts[protocol.HOLD] = 5_000
    made.run()
    assert made.verbs_sent().count("LEASE") == 1
    assert made.client.result == "link_lost"


def test_a_lease_refused_before_the_start_ends_it() -> None:
    made = bench()
    made.run(lambda: made.device.acted["SET"] > 4)
    made.device.refusals["LEASE"] = (protocol.ACK_NOT_OWNER, protocol.NO_KEY, 0)
    made.device.drop_lines["SET"] = 1_000
    made.run()
    assert outcome(made) == (Phase.FAILED, "refused", "none")
    assert "LEASE" in made.client.refusal


# Restarts


@pytest.mark.parametrize("nonce", ["0", "4711"])
def test_a_hello_that_comes_again_changes_nothing(nonce: str) -> None:
    made = bench()
    for state in (protocol.ARMED, protocol.RAMP, protocol.HOLD, protocol.COOLDOWN):
        run_to(made, state)
        made.device.hello(nonce)
    made.run()
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")
    assert made.client.hello["nonce"] == "4711"
    assert made.phases == STRAIGHT


def test_an_old_verdict_in_telemetry_is_not_believed_while_the_run_goes_on() -> None:
    made = bench()
    run_to(made, protocol.RAMP)
    made.device.result = protocol.RESULT_STOPPED
    run_to(made, protocol.HOLD)
    assert made.client.result == "none"
    made.run()
    assert outcome(made) == (Phase.ENDED, "completed", "hold_complete")


def test_a_tick_count_that_falls_is_a_restart_though_nothing_else_tells() -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    for _ in range(120):
        made.tick()
    made.device.reboot("815")
    made.device.go(protocol.IDLE)
    made.run(within_s=0.2)
    assert outcome(made) == (Phase.ENDED, "fault", "reset_in_run")


@pytest.mark.parametrize("speaks", [True, False])
def test_a_restart_in_the_run_is_a_fault_of_its_own(speaks: bool) -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    for _ in range(30):
        made.tick()
    made.device.reboot("815")
    if speaks:
        made.device.hello()
    made.run(within_s=0.2)
    assert outcome(made) == (Phase.ENDED, "fault", "reset_in_run")
    assert "restarted" in made.client.refusal


def test_a_restart_behind_a_short_gap_is_still_seen() -> None:
    made = bench()
    made.device.lasts[protocol.HOLD] = 5_000
    run_to(made, protocol.HOLD)
    made.up = False
    made.device.reboot("815")
    for _ in range(60):
        made.tick()
    assert made.device.state == protocol.IDLE
    made.up = True
    made.run()
    assert outcome(made) == (Phase.ENDED, "fault", "reset_in_run")


def test_a_restart_after_the_verdict_leaves_it_standing() -> None:
    made = bench()
    made.device.lasts[protocol.COOLDOWN] = 1_000
    run_to(made, protocol.COOLDOWN)
    for _ in range(10):
        made.tick()
    made.device.reboot("815")
    made.run()
    assert outcome(made)[1:] == ("completed", "hold_complete")


@pytest.mark.parametrize("phase", [Phase.CLAIM, Phase.CONFIGURE, Phase.ARM])
def test_a_restart_before_the_start_begins_again(phase: Phase) -> None:
    made = bench()
    for _ in range(50):  # long enough for the tick count to be seen to fall
        made.device.exchange(b"")
    made.run(lambda: made.client.phase is phase)
    made.device.reboot("815")
    made.run()
    assert made.client.result == "completed"
    assert made.client.hello["nonce"] == "815"


def test_a_device_that_keeps_restarting_is_given_up() -> None:
    made = bench()
    for nonce in ("1", "2", "3"):
        made.run(lambda: made.client.phase is Phase.CONFIGURE or made.client.over)
        for _ in range(12):
            made.tick()
        made.device.reboot(nonce)
        made.tick()
    made.run()
    assert outcome(made)[:2] == (Phase.FAILED, "link_lost")
    assert "keeps restarting" in made.client.refusal
