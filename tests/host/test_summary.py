"""The summary: every figure against a run made up for it, and null for all that is not known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from rfprobe import words
from rfprobe.errors import EXIT_BY_RESULT, ExitCode
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.cem43 import Cem43
from rfprobe.summary import Course, cumulative_cem43_min, judge, rf_off_ms, summarise
from rfprobe.summary_words import dose_told, figures, tiles
from rfprobe_core import protocol, safety
from tests.host.synthetic_run import COST_US, ENDS, HEAP_FREE, OFF_LATER_S, SyntheticRun, alter, truth_C

CONTRACT = {
    "schema",
    "session_id",
    "result",
    "stop_reason",
    "runtime",
    "seed",
    "versions",
    "digests",
    "simulated_s",
    "wall_s",
    "target_C",
    "overshoot_C",
    "settling_s",
    "steady_error_C",
    "peak_C",
    "cem43_min",
    "energy_J",
    "rf_on_s",
    "frames",
    "tick",
    "fault",
    "log",
}


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return SyntheticRun().session(tmp_path_factory.mktemp("sessions"))


def test_every_key_of_the_contract_is_there_and_it_is_json(completed: Session) -> None:
    summary = summarise(completed)
    assert set(summary) >= CONTRACT
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["schema"] == 1
    assert summary["session_id"] == completed.path.stem
    assert summary["log"] == str(completed.path)
    assert set(summary["versions"]) >= {"firmware", "micropython", "protocol"}
    assert set(summary["digests"]) >= {"firmware", "protocol", "plan", "profile", "calibration", "simulation"}
    assert set(summary["frames"]) == {"sent", "received", "lost", "dropped"}
    assert set(summary["tick"]) >= {"count", "cost_us_median", "cost_us_max", "late_us_max", "heap_bytes"}
    assert "channels" not in summary


def test_the_run_is_judged_on_the_tissue(completed: Session) -> None:
    summary = summarise(completed)
    assert summary["judged_on"] == "tissue"
    assert summary["target_C"] == 70.0
    assert summary["overshoot_C"] == pytest.approx(0.9)
    assert summary["settling_s"] == pytest.approx(2.0, abs=0.051)
    assert summary["steady_error_C"] == pytest.approx(0.1)
    assert summary["peak_C"] == pytest.approx({"control": 70.9, "boundary": 40.0, "guard": 37.5})
    reference = Cem43()
    for row in SyntheticRun().truth_rows():
        reference.add(float(row[1] or 0.0), 0.05)
    assert summary["cem43_min"]["control"] == pytest.approx(reference.minutes, rel=1e-6)
    assert summary["cem43_min"]["guard"] == 0.0


def test_without_truth_it_is_judged_on_the_reading(tmp_path: Path) -> None:
    summary = SyntheticRun(truth=False).session(tmp_path).summary
    assert summary["judged_on"] == "reading"
    assert summary["overshoot_C"] == pytest.approx(0.4)
    assert summary["settling_s"] == 0.0
    assert summary["steady_error_C"] == pytest.approx(0.4)
    assert summary["peak_C"]["control"] == 70.4
    assert summary["cem43_min"] == pytest.approx({"control": 0.12, "boundary": 0.01, "guard": 0.001})


def test_energy_time_frames_and_ticks_come_from_the_wire(completed: Session) -> None:
    summary = summarise(completed)
    assert summary["energy_J"] == pytest.approx(9_300 * 40 / 1000)
    assert summary["rf_on_s"] == pytest.approx(93.0)
    count = len(list(SyntheticRun().frames()))
    assert summary["frames"] == {"sent": count, "received": count, "lost": 0, "dropped": 0}
    tick = summary["tick"]
    assert tick["count"] == 10_021
    assert (tick["cost_us_median"], tick["cost_us_max"], tick["late_us_max"]) == (COST_US, COST_US + 50, 7)
    assert tick["heap_bytes"] == 0
    assert tick["heap_free_min_bytes"] == HEAP_FREE
    assert summary["versions"]["micropython"] == "1.29.0"


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [
        ("completed", ExitCode.COMPLETED),
        ("limited", ExitCode.LIMITED),
        ("stopped", ExitCode.OPERATOR),
        ("fault", ExitCode.SAFETY),
        ("link_lost", ExitCode.LINK_LOST),
    ],
)
def test_each_end_is_told_as_itself(tmp_path: Path, end: str, exit_code: ExitCode) -> None:
    summary = SyntheticRun(end=end).session(tmp_path).summary
    assert summary["result"] == end
    assert summary["stop_reason"] == ENDS[end][1]
    assert EXIT_BY_RESULT[summary["result"]] == exit_code
    assert summary["stop_text"] == words.CAUSES[ENDS[end][1]]
    assert (summary["fault"] is not None) == (end in ("fault", "link_lost"))


def test_a_fault_says_when_why_and_how_soon_the_pin_was_low(tmp_path: Path) -> None:
    fault = SyntheticRun(end="fault").session(tmp_path).summary["fault"]
    assert fault["kind"] == "interlock_open"
    assert fault["at_s"] == 20.0
    assert fault["first_at_s"] == 19.99
    assert fault["rf_off_ms"] == pytest.approx(1000 * OFF_LATER_S)
    assert (fault["value"], fault["limit"], fault["row"]) == (1, 0, "interlock_open")


def test_without_edges_the_rows_of_truth_say_when_the_pin_was_low(tmp_path: Path) -> None:
    session = SyntheticRun(end="fault", edges=False).session(tmp_path)
    assert session.summary["fault"]["rf_off_ms"] == 0.0
    assert rf_off_ms(session, 19.5) == pytest.approx(500.0)


def test_a_pin_that_stays_high_has_no_time(tmp_path: Path) -> None:
    run = SyntheticRun(end="fault", edges=False)
    with SessionWriter(tmp_path / "x.rfp", run.meta()) as writer:
        for frame, host_ns in run.frames():
            writer.frame(frame, host_ns)
        writer.truth_rows(run.truth_rows())
        writer.enable_edge(2.0, True)
    assert Session(tmp_path / "x.rfp").summary["fault"]["rf_off_ms"] is None


def test_nothing_is_invented_for_a_run_without_truth(tmp_path: Path) -> None:
    fault = SyntheticRun(end="fault", truth=False).session(tmp_path).summary["fault"]
    assert fault["rf_off_ms"] is None


def test_a_run_that_never_met_its_target_has_no_quality(tmp_path: Path) -> None:
    summary = SyntheticRun(end="fault").session(tmp_path).summary
    assert summary["overshoot_C"] is None
    assert summary["settling_s"] is None
    assert summary["steady_error_C"] is None


def test_a_hold_cut_short_has_an_overshoot_but_no_steady_error(tmp_path: Path) -> None:
    summary = SyntheticRun(end="stopped").session(tmp_path).summary
    assert summary["overshoot_C"] == pytest.approx(0.9)
    assert summary["settling_s"] == pytest.approx(2.0, abs=0.051)
    assert summary["steady_error_C"] is None


def test_settling_is_null_if_it_never_settles() -> None:
    time_s = np.arange(0.0, 100.0, 0.1)
    wrong = judge(Course(0.0, 30.0, 30.0, 99.0), time_s, np.where(time_s < 98.0, 70.0, 72.0), 70.0, 60.0)
    assert wrong.settling_s is None
    early = judge(Course(0.0, 30.0, 30.0, 99.0), time_s, np.full(len(time_s), 70.0), 70.0, 60.0)
    assert early.settling_s == 0.0


def test_the_tolerance_is_two_per_cent_of_the_step() -> None:
    time_s = np.arange(0.0, 100.0, 0.1)
    course = Course(0.0, 40.0, 40.0, 99.0)

    def settled(error_C: float) -> float | None:
        temperature_C = np.where(time_s < 1.0, 20.0, np.where(time_s < 50.0, 70.0 + error_C, 70.0))
        return judge(course, time_s, temperature_C, 70.0, 50.0).settling_s

    assert settled(0.99) == 0.0
    assert settled(1.01) == pytest.approx(10.0, abs=0.11)


@pytest.mark.parametrize("end", sorted(ENDS))
def test_the_verdict_stands_in_telemetry_if_its_event_was_lost(tmp_path: Path, end: str) -> None:
    run = SyntheticRun(end=end)
    path = run.record(tmp_path)
    alter(path, "DELETE FROM events WHERE code = ?", protocol.EVENT_END)
    assert Session(path).summary["result"] == end


def test_a_record_that_was_cut_off_has_no_verdict(tmp_path: Path) -> None:
    summary = SyntheticRun(verdict_told=False).session(tmp_path).summary
    assert summary["result"] is None
    assert summary["stop_reason"] is None
    assert words.result_title(summary["result"]) == "No verdict"


@pytest.mark.parametrize("host", ["refused", "link_lost"])
def test_what_only_the_host_can_know_is_its_to_tell(tmp_path: Path, host: str) -> None:
    run = SyntheticRun(verdict_told=False)
    meta = {**run.meta(), "result": host, "cause": "none", "refusal": "the interlock is open"}
    with SessionWriter(tmp_path / "x.rfp", meta) as writer:
        run.write(writer)
    summary = Session(tmp_path / "x.rfp").summary
    assert summary["result"] == host
    assert summary["stop_text"] == "the interlock is open"


def test_lost_and_dropped_frames_are_told_apart(tmp_path: Path) -> None:
    run = SyntheticRun(lost=frozenset({500, 501}), dropped=frozenset({600}), dropped_before=3)
    frames = run.session(tmp_path).summary["frames"]
    assert frames == {"sent": frames["received"] + 2, "received": frames["received"], "lost": 2, "dropped": 1}


@pytest.mark.parametrize("first_tick", [0, 12_345, protocol.U32_MAX - 4_000])
def test_ticks_may_begin_anywhere(tmp_path: Path, first_tick: int) -> None:
    summary = SyntheticRun(end="fault", first_tick=first_tick, first_sequence=65_000).session(tmp_path).summary
    assert summary["fault"]["at_s"] == 20.0
    assert summary["fault"]["first_at_s"] == 19.99
    assert summary["tick"]["count"] == 2_521
    assert summary["frames"]["lost"] == 0


def test_what_a_channel_that_rests_tells_is_nobodys_figure(tmp_path: Path) -> None:
    """A device with two channels tells of both, also where only one runs."""
    path = SyntheticRun(end="stopped").record(tmp_path)
    alter(path, "UPDATE telemetry SET channel = 1, energy_mJ = 999999999 WHERE frame > 1000")
    session = Session(path)
    assert (session.channels, session.telling) == ((0,), (0, 1))
    assert "channels" not in session.summary
    assert session.summary["energy_J"] < 999_999


def test_dose_adds_up_as_the_reference_does() -> None:
    time_s = np.arange(0.0, 60.0, 0.5)
    temperature_C = np.linspace(36.0, 60.0, len(time_s))
    reference = Cem43()
    for value in temperature_C[1:]:
        reference.add(float(value), 0.5)
    assert cumulative_cem43_min(time_s, temperature_C)[-1] == pytest.approx(reference.minutes)


def test_words_cover_the_whole_protocol() -> None:
    assert set(words.CAUSES) == set(protocol.CAUSES)
    assert set(words.STATES) - {""} == set(protocol.STATE_NAMES)
    assert set(words.RESULTS) >= set(protocol.RESULT_NAMES[1:])
    assert len({sentence for _, sentence in words.RESULTS.values()}) == len(words.RESULTS)
    assert len({title for title, _ in words.RESULTS.values()}) == len(words.RESULTS)
    for row in range(len(safety.ROWS)):
        unit, per_unit = words.row_unit(row)
        assert not unit.startswith(("m°", "mΩ", "mV", "mW", "µA")), unit
        assert per_unit > 0
    assert words.row_name(protocol.NO_ROW) is None
    assert "number 99" in words.name_of(protocol.CAUSES, 99)


@pytest.mark.parametrize("end", sorted(ENDS))
def test_figures_and_tiles_can_be_told_of_every_end(tmp_path: Path, end: str) -> None:
    summary = SyntheticRun(end=end).session(tmp_path).summary
    told = dict(figures(summary))
    assert told["Result"] == words.RESULTS[end][0]
    assert ("Fault" in told) == (summary["fault"] is not None)
    assert all(value for _, value, _ in tiles(summary))


def test_doses_are_told_in_words_of_their_size() -> None:
    assert dose_told(None) == "—"
    assert dose_told(0.0123) == "0.0123 min"
    assert dose_told(8_948.2) == "8948 min"
    assert dose_told(1.45e8) == "1.4 · 10⁸ min"


def test_the_synthetic_tissue_is_what_the_tests_take_it_for() -> None:
    assert truth_C(3_499) == pytest.approx(69.99)
    assert truth_C(3_500) == pytest.approx(70.9)
    assert truth_C(3_700) == pytest.approx(70.1)
    assert not math.isnan(truth_C(0))
