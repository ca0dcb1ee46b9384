"""Each mode, whole: it completes on both runtimes, in the same bytes, and allocates nothing. Judged by the plant."""

from pathlib import Path

import numpy as np
import pytest

import rfprobe
from rfprobe.sim.runtimes import CPythonRuntime, MicroPythonRuntime
from rfprobe.summary import cumulative_cem43_min
from rfprobe_core import plan, protocol
from tests.runtimes.loop import NONCE_SEED, ROOT, SHORT_BY_MODE, UID, Run, run

CAUSE_BY_MODE = {"temperature": "hold_complete", "power": "boundary_reached"}
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
