"""Each mode, whole: it completes on both runtimes, in the same bytes, and allocates nothing. Judged by the plant."""

import re
from pathlib import Path

import numpy as np
import pytest

import rfprobe
from rfprobe import words
from rfprobe.session import Session
from rfprobe.sim.runtimes import CPythonRuntime, MicroPythonRuntime
from rfprobe.summary import cumulative_cem43_min
from rfprobe.summary_words import figures
from rfprobe_core import plan, protocol
from tests.runtimes.loop import NONCE_SEED, ROOT, SHORT_BY_MODE, UID, Run, run

CAUSE_BY_MODE = {
    "temperature": "hold_complete",
    "power": "boundary_reached",
    "impedance": "rolloffs_complete",
    "pulsed": "hold_complete",
}
DOSE = {"end_by": plan.END_DOSE, "boundary_dose_ms": 5_000, "target_mC": 70_000, "hold_ms": 60_000}


def here(**changes: int) -> Run:
    return run(CPythonRuntime(NONCE_SEED, UID, 0, 0), most_ticks=20_000, **changes)


@pytest.mark.parametrize("mode", SHORT_BY_MODE)
def test_each_mode_completes_on_both_runtimes_with_the_heap_locked(mode: str) -> None:
    changes = SHORT_BY_MODE[mode]
    locked = run(MicroPythonRuntime(NONCE_SEED, UID, 0, 0, lock_heap=True), most_ticks=20_000, **changes)
    assert (locked.client.result, locked.client.cause) == ("completed", CAUSE_BY_MODE[mode])
    assert locked.bytes_of(protocol.HELLO) == here(**changes).bytes_of(protocol.HELLO)


def test_the_end_by_dose_is_the_same_on_both_runtimes() -> None:
    locked = run(MicroPythonRuntime(NONCE_SEED, UID, 0, 0, lock_heap=True), most_ticks=20_000, **DOSE)
    assert (locked.client.result, locked.client.cause) == ("completed", "dose_reached")
    assert locked.bytes_of(protocol.HELLO) == here(**DOSE).bytes_of(protocol.HELLO)


@pytest.mark.parametrize(
    ("end", "changes"),
    [
        ("dose", {"end_by": plan.END_DOSE, "boundary_dose_ms": 60_000_000}),
        ("boundary", {"end_by": plan.END_BOUNDARY, "boundary_end_mC": 90_000}),
    ],
)
def test_an_end_point_that_is_not_reached_in_time_is_told_as_missed(end: str, changes: dict[str, int]) -> None:
    done = here(**changes)
    assert (done.client.result, done.client.cause) == ("limited", "end_point_missed"), end


@pytest.mark.parametrize("tissue", ["vertebra", "phantom"])
def test_a_run_by_dose_ends_within_a_second_of_the_tissues_own_dose(tissue: str, tmp_path: Path) -> None:
    """The reference: CEM43 in floating point over the tissue's temperature at the boundary, in steps of 1 ms."""
    session = rfprobe.simulate(ROOT / "plans" / "dose-240.toml", tissue=tissue, runtime="cpython", out_dir=tmp_path)
    assert session.summary["stop_reason"] == "dose_reached"
    time_s = np.arange(0.0, float(session.truth["t_s"].iloc[-1]), 0.001)
    boundary_C = np.interp(time_s, session.truth["t_s"].to_numpy(float), session.truth["boundary_C"].to_numpy(float))
    reference_s = float(time_s[np.searchsorted(cumulative_cem43_min(time_s, boundary_C), 240.0)])
    edges = session.enable_edges
    off_s = float(edges[edges["level"] == 0]["t_s"].max())
    print(f"{tissue}: the tissue had 240 min CEM43 at {reference_s:.2f} s, RF ended at {off_s:.2f} s")
    assert abs(off_s - reference_s) <= 1.0


def test_power_is_constant_until_the_tip_is_at_its_ceiling(tmp_path: Path) -> None:
    session = rfprobe.simulate(ROOT / "plans" / "power-8W.toml", runtime="cpython", out_dir=tmp_path)
    summary = session.summary
    assert (summary["result"], summary["stop_reason"]) == ("completed", "boundary_reached")
    df = session.df[(session.df["state"] == "HOLD") & (session.df["control_C"] < 84.0)]
    assert df["power_W"].to_numpy(float) == pytest.approx(8.0, rel=0.08)
    assert len(df) > 100
    assert float(session.truth["control_C"].max()) <= 91.0
    cooled = summary["cooldown"]
    assert cooled["lasted_s"] == pytest.approx(30.0, abs=0.1)
    assert set(cooled["readings"]) == {"control", "boundary", "guard"}
    for name, read in cooled["readings"].items():
        assert read["end_C"] == pytest.approx(float(session.truth[f"{name}_C"].iloc[-1]), abs=1.0)
        told = dict(figures(summary))[f"Cooling, {name}"]
        assert told.startswith(f"{read['begin_C']:.1f} °C") and told.endswith(f"{read['end_C']:.1f} °C after 30 s")
    # heat goes on outwards after RF has ended
    assert cooled["readings"]["guard"]["highest_C"] > cooled["readings"]["guard"]["begin_C"]


def changed_plan(name: str, folder: Path, **instead: str) -> Path:
    """A shipped plan with some values in other words: `hold_s="500.0"`."""
    text = (ROOT / "plans" / f"{name}.toml").read_text(encoding="utf-8")
    for key, value in instead.items():
        text, count = re.subn(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count == 1, key
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def state_ticks(session: Session, state: str) -> list[float]:
    """When the device entered a state, in s."""
    told = session.events[session.events["kind"] == "state"]
    return [float(t_s) for t_s, text in zip(told["t_s"], told["text"], strict=True) if words.STATES[state] in text]


@pytest.mark.parametrize("tissue", ["phantom", "liver"])
def test_each_roll_off_is_found_within_half_a_second_and_none_while_rf_rests(tissue: str, tmp_path: Path) -> None:
    """By the model's own impedance: 30 Ω above the lowest since RF came on. Boiling begins seconds before."""
    session = rfprobe.simulate(
        ROOT / "plans" / "impedance-20W.toml", tissue=tissue, runtime="cpython", out_dir=tmp_path
    )
    truth = session.truth
    time_s = truth["t_s"].to_numpy(float)
    impedance_ohm = truth["impedance_ohm"].to_numpy(float)
    peak_C = truth["peak_C"].to_numpy(float)
    rests_s, holds_s = state_ticks(session, "REST"), state_ticks(session, "HOLD")
    assert len(rests_s) >= 3
    late_s: list[float] = []
    begun_s = [state_ticks(session, "RAMP")[0], *(each for each in holds_s if each > rests_s[0])]
    for began_s, rest_s in zip(begun_s, rests_s, strict=False):
        span = (time_s >= began_s + 0.5) & (time_s <= rest_s)
        risen = impedance_ohm[span] - np.minimum.accumulate(impedance_ohm[span])
        crossed_s = float(time_s[span][np.argmax(risen >= 30.0)])
        onset_s = float(time_s[span][np.argmax(peak_C[span] >= 100.0)])
        late_s.append(rest_s - crossed_s)
        print(f"{tissue}: boiling from {onset_s:.2f} s, +30 Ω at {crossed_s:.2f} s, found at {rest_s:.2f} s")
    assert max(late_s) <= 0.5
    assert min(late_s) >= 0.0
    # no count while RF rests: each rest is whole, and is followed by RF
    resumed_s = [min(each for each in holds_s if each > rest_s) for rest_s in rests_s[:-1]]
    assert [later - rest_s for rest_s, later in zip(rests_s, resumed_s, strict=False)] == pytest.approx(
        [15.0] * len(resumed_s), abs=0.02
    )
    off = (time_s > rests_s[0] + 0.2) & (time_s < resumed_s[0] - 0.1)
    assert not truth["enable"].to_numpy(float)[off].any()
    assert truth["power_W"].to_numpy(float)[off].max() == 0.0


def test_what_rests_are_worth_against_one_delivery_without_them(tmp_path: Path) -> None:
    """The same power without a rest is over at the first roll-off: less energy, and a smaller zone."""
    rested = rfprobe.simulate(
        ROOT / "plans" / "impedance-20W.toml", tissue="liver", runtime="cpython", out_dir=tmp_path
    ).summary
    path = changed_plan("impedance-20W", tmp_path)
    path.write_text(path.read_text() + '\n[end]\nby = "rolloffs"\nrolloffs = 1\n')
    once = rfprobe.simulate(path, tissue="liver", runtime="cpython", out_dir=tmp_path).summary
    for name, told in (("with rests", rested), ("until the first roll-off", once)):
        print(
            f"{name}: {told['energy_J']:.0f} J in {told['rf_on_s']:.0f} s, boundary {told['peak_C']['boundary']:.1f} °C"
        )
    assert rested["energy_J"] > 2 * once["energy_J"]
    # the report of the run with rests says so itself
    beside = rested["against_continuous"]
    assert beside["until_rolloff_J"] == pytest.approx(once["energy_J"], rel=0.02)
    assert beside["same_time_J"] == pytest.approx(18.0 * beside["lasted_s"])
    assert dict(figures(rested))["Without a rest"].endswith(f"after {beside['until_rolloff_J']:.1f} J")
    assert rested["peak_C"]["boundary"] > once["peak_C"]["boundary"]


def test_a_thousand_bursts_are_exact_to_the_tick_and_the_tip_stays_cool(tmp_path: Path) -> None:
    path = changed_plan("pulsed-42C", tmp_path, hold_s="500.0", cooldown_s="1.0")
    session = rfprobe.simulate(path, tissue="vertebra", runtime="cpython", out_dir=tmp_path)
    edges = session.enable_edges
    level, time_s = edges["level"].to_numpy(float), edges["t_s"].to_numpy(float)
    on_s, off_s = time_s[level == 1.0][1:], time_s[level == 0.0][1:]  # but for the probe check, the first
    assert len(on_s) == 1_000
    lengths_ms, periods_ms = 1000.0 * (off_s - on_s), 1000.0 * np.diff(on_s)
    print(f"bursts of {lengths_ms.min():.3f} to {lengths_ms.max():.3f} ms", end=" ")
    print(f"every {periods_ms.min():.3f} to {periods_ms.max():.3f} ms, tip {session.truth['control_C'].max():.2f} °C")
    assert lengths_ms == pytest.approx(20.0, abs=0.01)
    assert periods_ms == pytest.approx(500.0, abs=0.01)
    assert float(session.truth["control_C"].max()) <= 42.0
    assert session.summary["energy_J"] > 50.0
    assert float(session.df["power_W"].max()) > 1.0, "telemetry sees the bursts"
