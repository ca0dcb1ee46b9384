"""The guard beside hot tissue: the governor keeps it below 44 °C without a trip, the trips alone below 45.5 °C.

Judged by the tissue's own temperature at the guard's place, while it cools too.
"""

from itertools import product
from pathlib import Path

import pytest

from tests.safety.worlds import Outcome, probe_with_guard, run, tissue, values

TISSUES = {
    "vertebra": ("vertebra", 1.0),
    "vertebra, no blood": ("vertebra", 0.0),
    "liver": ("liver", 1.0),
    "phantom": ("phantom", 1.0),
}
CASES = list(product((70, 90), (4.0, 5.0, 6.0), TISSUES, (1.0, 3.0)))
SAMPLE = [(70, 6.0, "vertebra", 3.0), (90, 4.0, "phantom", 1.0)]
assert len(CASES) == 48


def ablate(folder: Path, tip_C: int, guard_mm: float, world: str, lag_s: float, governor: int = 1) -> Outcome:
    probe = probe_with_guard(folder, guard_mm, lag_s)
    given = values(
        probe,
        target_mC=tip_C * 1000,
        max_temperature_mC=(tip_C + 10) * 1000,
        max_rf_on_ms=180_000,
        cooldown_ms=20_000,
        guard_governor=governor,
        telemetry_ticks=20,
    )
    return run(given, tissue(*TISSUES[world]), of=probe)


def check_governed(done: Outcome) -> None:
    assert (done.result, done.cause) in (("completed", "hold_complete"), ("limited", "guard_limited"))
    assert done.faults() == []
    assert done.plant.peak_C["guard"] <= 44.0


@pytest.mark.parametrize(("tip_C", "guard_mm", "world", "lag_s"), SAMPLE)
def test_the_governor_keeps_the_guard_cool(
    tip_C: int, guard_mm: float, world: str, lag_s: float, tmp_path: Path
) -> None:
    check_governed(ablate(tmp_path, tip_C, guard_mm, world, lag_s))


@pytest.mark.slow
@pytest.mark.parametrize(("tip_C", "guard_mm", "world", "lag_s"), CASES)
def test_the_governor_keeps_the_guard_cool_in_every_case(
    tip_C: int, guard_mm: float, world: str, lag_s: float, tmp_path: Path
) -> None:
    done = ablate(tmp_path, tip_C, guard_mm, world, lag_s)
    check_governed(done)


@pytest.mark.slow
@pytest.mark.parametrize(("tip_C", "guard_mm", "world", "lag_s"), CASES)
def test_without_the_governor_the_trips_alone_hold(
    tip_C: int, guard_mm: float, world: str, lag_s: float, tmp_path: Path
) -> None:
    done = ablate(tmp_path, tip_C, guard_mm, world, lag_s, governor=0)
    assert done.faults()[0] in ("guard_look_ahead", "guard_over_temperature", "guard_dose")
    assert done.plant.peak_C["guard"] <= 45.5


def test_where_the_guard_is_far_away_the_governor_leaves_the_run_alone(tmp_path: Path) -> None:
    done = ablate(tmp_path, 70, 14.0, "vertebra", 3.0)
    assert (done.result, done.cause) == ("completed", "hold_complete")
