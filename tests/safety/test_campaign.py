"""The fault campaign: every kind of fault has a row, every row holds, and a hole in the firmware is an escape."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.plan_file import read_plan
from rfprobe.sim.campaign import (
    ON_THE_BOARD,
    ON_THE_CHIP,
    TABLE,
    Expected,
    Outcome,
    as_markdown,
    missing_kinds,
    page,
    run_case,
    unknown_kinds,
)
from rfprobe.sim.faults import BY_NAME
from rfprobe.sim.tissue import load_tissue
from rfprobe_core import protocol, safety
from tests.safety.worlds import ROOT, probe

PLAN = ROOT / "plans" / "vertebra-70C.toml"
ids = pytest.mark.parametrize("expected", TABLE, ids=lambda expected: expected.fault)
SAMPLE = ("open:control", "displaced:control=4@0", "interlock", "host_silence", "upset_limit", "reset")
IN_MAKE_TEST = [expected for expected in TABLE if expected.fault in SAMPLE]


def tried(expected: Expected, runtime: str = "cpython") -> Outcome:
    return run_case(expected, read_plan(PLAN), probe(), load_tissue("vertebra"), runtime, seed=1)


def test_every_kind_of_fault_has_a_row_and_every_row_a_kind() -> None:
    assert (missing_kinds(), unknown_kinds()) == ([], [])
    assert missing_kinds([each for each in TABLE if each.kind != "open"]) == ["open"]
    assert unknown_kinds([replace(TABLE[0], fault="opened:control")]) == ["opened:control"]


def test_every_cause_that_is_expected_is_one_that_the_device_can_tell() -> None:
    assert {cause for expected in TABLE for cause in expected.causes} <= set(protocol.CAUSES)


def test_every_row_of_the_limit_table_is_tripped_by_some_fault() -> None:
    """But for those that a fault of another row comes before, which the unit tests of the table trip."""
    told = {cause for expected in TABLE for cause in expected.causes}
    never = {row[1] for row in safety.ROWS} - told
    assert never == {"guard_dose", "under_temperature", "heating_when_off"}


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
@pytest.mark.parametrize("expected", IN_MAKE_TEST, ids=lambda expected: expected.fault)
def test_a_sample_of_the_matrix(expected: Expected, runtime: str) -> None:
    assert tried(expected, runtime).why_escaped == ""


@pytest.mark.slow
@ids
def test_the_matrix(expected: Expected) -> None:
    assert tried(expected).why_escaped == ""


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("interlock_open", "interlock"),
        ("energy_without_temperature", "displaced:control=4@0"),
        ("memory", "upset_limit"),
        ("tc0_age", "stale:control"),
    ],
)
def test_a_row_that_is_never_judged_lets_its_fault_escape(
    row: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure = safety.LimitTable.configure

    def without_the_row(limits: safety.LimitTable, values: object) -> None:
        configure(limits, values)
        limits.table[3 * safety.SIZE + safety.ROW[row]] = 0

    monkeypatch.setattr(safety.LimitTable, "configure", without_the_row)
    expected = next(each for each in TABLE if each.fault == fault)
    assert tried(expected).why_escaped


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"faults": ("sample_stale",)}, "told as sample_stale"),
        ({"off_after_s": 0.9}, "RF off after 0.90 s"),
        ({"off_after_s": math.inf}, "RF off after inf s"),
        ({"tissue_peak_C": 90.1}, "the tissue came to 90.1 °C"),
        ({"result": "completed"}, "ended completed"),
        ({}, ""),
    ],
)
def test_what_an_escape_is(changes: dict[str, object], why: str) -> None:
    good = Outcome(TABLE[0], "cpython", "fault", "thermocouple_open", ("thermocouple_open",), 0.7, 60.0, 90.0)
    assert replace(good, **changes).why_escaped.startswith(why)  # type: ignore[arg-type]
    assert bool(replace(good, **changes).why_escaped) == bool(why)  # type: ignore[arg-type]


def test_a_false_trip_is_an_escape() -> None:
    harmless = next(each for each in TABLE if not each.causes)
    false = Outcome(harmless, "cpython", "completed", "hold_complete", ("tick_late",), 75.0, 70.0, 90.0)
    assert false.why_escaped == "a false trip: tick_late"


def test_the_page_in_the_docs_has_a_row_for_each_fault() -> None:
    """If this fails: `make faults`."""
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    for expected in TABLE:
        assert f"| `{expected.fault}` |" in page, expected.fault
    assert "; 0 escapes." in page


def test_the_page_has_a_section_for_the_chip_with_its_dozen() -> None:
    """If this fails: `make faults-pico`."""
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    chosen = [expected for expected in TABLE if expected.pico]
    section = text.partition(ON_THE_CHIP)[2]
    assert len(chosen) == 12
    assert all(f"| `{expected.fault}` |" in section for expected in chosen)
    assert "; 0 escapes." in section


@pytest.mark.pico
@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("expected", [each for each in TABLE if each.pico], ids=lambda expected: expected.fault)
def test_the_dozen_on_the_chip(expected: Expected) -> None:
    assert tried(expected, "pico").why_escaped == ""


def test_a_section_that_was_not_tried_is_kept() -> None:
    here = Outcome(TABLE[0], "cpython", "fault", "thermocouple_open", ("thermocouple_open",), 0.6, 60.0, 90.0)
    chip = replace(here, runtime="pico", off_after_s=0.7)
    both = page([here, chip])
    assert both.count("| `open:control` |") == 2
    assert both.index(ON_THE_BOARD) < both.index(ON_THE_CHIP)
    assert page([chip], page([here])) == page([here], page([chip])) == both == page([], both)


def test_the_verb_tells_each_run_and_keeps_the_table(tmp_path: Path) -> None:
    asked = ["campaign", str(PLAN), "--runtime", "cpython", "--fault", "interlock", "-o", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, asked)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["escapes"], len(told["runs"])) == (0, 0, 1)
    assert told["runs"][0]["cause"] == "interlock_open"
    assert "| `interlock` | `interlock_open` |" in (tmp_path / "faults.md").read_text(encoding="utf-8")


def test_the_worst_of_the_runtimes_is_in_the_table() -> None:
    fast = Outcome(TABLE[0], "cpython", "fault", "thermocouple_open", ("thermocouple_open",), 0.6, 60.0, 90.0)
    slow = replace(fast, runtime="micropython", off_after_s=0.7, tissue_peak_C=61.0)
    assert "| thermocouple_open | 0.70 s | 61.0 °C |" in as_markdown([fast, slow])


@pytest.mark.parametrize(("cause", "code"), [("interlock_open", 0), ("lease_lost", 8), ("nonsense", 2)])
def test_simulate_can_expect_a_cause(cause: str, code: int, tmp_path: Path) -> None:
    asked = ["simulate", str(PLAN), "--runtime", "cpython", "--fault", "interlock@5", "-o", str(tmp_path)]
    assert CliRunner().invoke(app, [*asked, "--expect", cause]).exit_code == code


def test_the_names_of_the_kinds_are_words() -> None:
    assert all(name.replace("_", "").isalpha() for name in BY_NAME)
