"""The wire's tables against themselves: every number has its name, every size is what its layout has."""

import struct
from hashlib import sha256

import pytest

from rfprobe import words
from rfprobe_core import protocol as p

# Units by the ending of a field's name.
UNITS = {
    "_mC": "m°C",
    "_cC": "10 m°C",
    "_mW": "mW",
    "_cV": "10 mV",
    "_dmA": "0.1 mA",
    "_mJ": "mJ",
    "_ms": "ms",
    "_us": "µs",
    "_us_mean": "µs",
    "_us_max": "µs",
    "_bytes": "B",
    "_ticks": "ticks",
    "_tick": "ticks",
    "_age": "ticks",
    "ticks_missed": "ticks",
}
# Fields without a unit in their names, by frame.
PLAIN = {
    "telemetry": {"flags", "cause", "result", "impedance_dohm", "duty"},
    "dose": set[str](),
    "health": {"frames_sent", "frames_dropped", "lines_refused", "faults"},
    "event": {"code", "cause", "row", "value", "limit"},
    "ack": {"id", "verb", "code", "key", "value", "value2"},
    "hello": set[str](),
    "blackbox": {"count", "first"},
    "record": {"tick", "seen", "flags", "impedance_dohm", "duty", "gain", "detail0", "detail1", "detail2"},
}

# What a frame tells, in its order. Sessions, exports and notebooks know the fields by these names.
FIELDS = {
    "telemetry": """flags cause result tc0_mC tc1_mC tc2_mC tc3_mC tc0_age tc1_age tc2_age tc3_age setpoint_mC demand_mW
        power_mW voltage_cV current_dmA impedance_dohm duty energy_mJ remaining_ticks""",
    "dose": """tc0_cem43_ms tc1_cem43_ms tc2_cem43_ms tc3_cem43_ms tc0_peak_mC tc1_peak_mC tc2_peak_mC tc3_peak_mC
        rf_on_ms""",
    "health": """cost_us_mean cost_us_max late_us_max heap_free_bytes frames_sent frames_dropped ticks_missed
        lines_refused lease_left_ms faults""",
    "event": "code cause row value limit first_tick",
    "ack": "id verb code key value value2",
    "hello": "",
    "blackbox": "last_tick count first",
    "record": """tick seen flags late_us lease_ticks voltage_cV current_dmA power_mW demand_mW impedance_dohm duty
        setpoint_cC gain detail0 detail1 detail2""",
}


def numbers(prefix: str) -> dict[str, int]:
    """The constants whose names begin so, without it."""
    return {name.removeprefix(prefix): value for name, value in vars(p).items() if name.startswith(prefix)}


def fields(name: str) -> tuple[tuple[str, str, str], ...]:
    if name == "record":
        return p.RECORD_FIELDS  # type: ignore[no-any-return]
    return next(row[2] for row in p.FRAMES.values() if row[0] == name)


def test_states_results_and_events_are_numbered_as_they_are_named() -> None:
    assert [vars(p)[name] for name in p.STATE_NAMES] == list(range(len(p.STATE_NAMES)))
    results = numbers("RESULT_")
    del results["NAMES"]
    assert results == {name.upper(): number for number, name in enumerate(p.RESULT_NAMES)}
    events = numbers("EVENT_")
    del events["NAMES"]
    assert events == {name.upper(): number for number, name in enumerate(p.EVENT_NAMES) if name}
    assert p.EVENT_NAMES[0] == ""


def test_flags_are_one_bit_each() -> None:
    flags = numbers("FLAG_")
    del flags["NAMES"]
    assert flags == {name.upper(): 1 << bit for bit, name in enumerate(p.FLAG_NAMES)}


def test_every_answer_has_its_number_and_its_words() -> None:
    answers = numbers("ACK_")
    del answers["NAMES"]
    assert sorted(answers.values()) == list(range(len(p.ACK_NAMES)))
    assert [name for name, _ in sorted(answers.items(), key=lambda each: each[1])][:7] == [
        "OK",
        "UNKNOWN_VERB",
        "UNKNOWN_KEY",
        "BAD_VALUE",
        "WRONG_STATE",
        "CRC",
        "SYNTAX",
    ]
    assert p.ACK_NAMES[answers["OK"]] == "ok"
    by_words = {"CRC": "CRC", "INTERLOCK": "interlock", "FOOTSWITCH": "foot-switch", "STAGE": "RF stage"}
    by_words |= {"WRONG_DIGEST": "digest", "NOT_OWNER": "owns", "CONTRADICTION": "contradict", "GUARD": "guard"}
    by_words |= {"SENSOR": "needed thermocouple"}
    for name, word in by_words.items():
        assert word in p.ACK_NAMES[answers[name]]


def test_what_acts_needs_an_id_and_a_crc_and_what_only_reads_or_stops_does_not() -> None:
    verbs = numbers("VERB_")
    assert verbs == {row[0]: number for number, row in enumerate(p.VERBS)}
    told = {name: (guarded, values) for name, guarded, values, _ in p.VERBS}
    assert told == {
        "HELLO": (False, 0),
        "STATUS": (False, 0),
        "GET": (False, 1),
        "LEASE": (True, 1),
        "SET": (True, 2),
        "CONFIGURE": (True, 0),
        "ARM": (True, 2),
        "START": (True, 1),
        "STOP": (False, 0),
        "ACKNOWLEDGE": (True, 0),
        "BLACKBOX": (False, 2),
        "STORE": (True, 0),
    }


def test_frames_are_numbered_and_named() -> None:
    assert {name: vars(p)[name.upper()] for name, _, _ in p.FRAMES.values()} == {
        row[0]: kind for kind, row in p.FRAMES.items()
    }
    assert sorted(p.FRAMES) == list(range(1, len(p.FRAMES) + 1))


def test_sizes_are_those_of_the_layouts() -> None:
    assert struct.calcsize(p.HEADER) == p.HEADER_SIZE == 10
    assert len(struct.unpack(p.HEADER, bytes(p.HEADER_SIZE))) == len(p.HEADER_FIELDS)
    assert p.HEADER_FIELDS == ("type", "schema", "channel", "state", "sequence", "tick")
    assert struct.calcsize(p.RECORD) == p.RECORD_SIZE == 2 * len(p.RECORD_FIELDS)
    assert p.MAX_PAYLOAD == p.HEADER_SIZE + p.MAX_BODY + p.CRC_SIZE
    assert p.MAX_FRAME == p.MAX_PAYLOAD + 2
    assert (p.CRC_SIZE, p.MAX_BODY, p.CRC_START, p.SCHEMA) == (2, 232, 0xFFFF, 1)
    assert struct.calcsize(p.FRAMES[p.BLACKBOX][1]) + p.RECORDS_PER_FRAME * p.RECORD_SIZE == p.MAX_BODY
    assert (p.TICK_US, p.TICK_MS) == (10_000, 10)
    assert p.U32_MAX == p.NOT_MEASURED == (1 << 30) - 1
    assert p.NO_KEY == p.NO_ROW == 0xFFFF


def test_bits_of_a_record_are_one_each() -> None:
    names = ("ENABLE", "ENABLE_STUCK_HIGH", "ENABLE_STUCK_LOW", "INTERLOCK_OPEN", "IMPEDANCE_KNOWN")
    assert [vars(p)[f"RECORD_{name}"] for name in names] == [1, 2, 4, 8, 16]
    assert (p.SEEN_NOTHING, p.SEEN_PLACE, p.SEEN_TIP) == (0, 1, 5)


@pytest.mark.parametrize("name", PLAIN)
def test_a_field_tells_its_unit_in_its_name(name: str) -> None:
    for field, unit, _ in fields(name):
        endings = [ending for ending in UNITS if field.endswith(ending)]
        if field in PLAIN[name]:
            assert unit in ("", "0.1 Ω", "1/65535", "1/4096", "ticks"), field
        else:
            assert unit == UNITS[max(endings, key=len)], field
    assert PLAIN[name] <= {field for field, _, _ in fields(name)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_frame_has_these_fields_in_this_order(name: str) -> None:
    assert [field for field, _, _ in fields(name)] == FIELDS[name].split()


def test_the_thermocouples_fields_are_named_by_their_places() -> None:
    telemetry = [field for field, _, _ in fields("telemetry")]
    assert telemetry[3:11] == [f"tc{place}_{what}" for what in ("mC", "age") for place in range(4)]
    dose = [field for field, _, _ in fields("dose")]
    assert dose[:8] == [f"tc{place}_{what}" for what in ("cem43_ms", "peak_mC") for place in range(4)]


def test_every_cause_has_its_sentence_and_its_number() -> None:
    assert set(p.CAUSES) == set(words.CAUSES)
    assert {name: p.CAUSES[number] for name, number in p.CAUSE.items()} == {name: name for name in p.CAUSES}
    assert [p.CAUSE[name] for name in p.GRAVEST] == list(range(p.CAUSE[p.GRAVEST[0]], p.CAUSE[p.GRAVEST[0]] + 3))
    assert p.GRAVEST == ("rf_while_disabled", "safe_off_unverified", "enable_stuck_high")
    assert p.CAUSES[0] == "none"


def test_the_digest_is_of_the_whole_specification() -> None:
    text = p.specification()
    assert p.protocol_digest() == sha256(text.encode()).hexdigest()[:8]
    lines = text.split("\n")
    assert lines[:2] == [str(p.SCHEMA), p.HEADER]
    for kind, (name, layout, theirs) in p.FRAMES.items():
        at = lines.index(f"{kind} {name} {layout}")
        assert lines[at + 1 : at + 1 + len(theirs)] == [f"{field}[{unit}]" for field, unit, _ in theirs]
    for table in (p.STATE_NAMES, p.RESULT_NAMES, p.EVENT_NAMES, p.ACK_NAMES, p.FLAG_NAMES, p.CAUSES):
        assert ",".join(table) in lines
    for verb, guarded, values, _ in p.VERBS:
        assert f"{verb} {guarded:d} {values}" in lines
    at = lines.index(p.RECORD)
    assert lines[at + 1 : at + 17] == [f"{field}[{unit}]" for field, unit, _ in p.RECORD_FIELDS]


def test_a_parameter_that_changes_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = p.specification()
    name, group, low, high, start = p.PARAMETERS[0]
    for row in (
        ("x", group, low, high, start),
        (name, group + 1, low, high, start),
        (name, group, low + 1, high, start),
    ):
        monkeypatch.setattr(p, "PARAMETERS", (row, *p.PARAMETERS[1:]))
        assert p.specification() != before
    monkeypatch.setattr(p, "PARAMETERS", ((name, group, low, high + 1, start), *p.PARAMETERS[1:]))
    assert p.specification() != before


def test_hello_is_lines_of_key_and_value_and_no_longer_than_a_body() -> None:
    assert p.hello_text((("fw", "1"), ("nonce", 7))) == b"fw=1\nnonce=7"
    assert len(p.hello_text((("fw", "x" * 300),))) == p.MAX_BODY
