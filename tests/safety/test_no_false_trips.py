"""No false trips: runs without faults, over the range of tissue, noise and plans. All 3000: `make test-long`."""

import os
import random
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.safety.worlds import probe, run, tissue, values

ALL = int(os.environ.get("RUNS", "3000"))


def one(seed: int) -> tuple[int, str, list[str]]:
    """(seed, cause of the end, faults) of one run in tissue, noise and plan by the seed."""
    chance = random.Random(seed)
    world = tissue(
        chance.choice(("vertebra", "liver", "phantom")),
        perfusion=chance.uniform(0.0, 2.0),
        sigma=2.0 ** chance.uniform(-1.0, 1.0),
    )
    target_C = chance.uniform(45.0, 88.0)
    ramp_C_per_s = 10.0 ** chance.uniform(-0.3, 0.6)
    given = values(
        probe(),
        target_mC=round(target_C * 1000),
        max_temperature_mC=98_000,
        ramp_mC_per_s=round(ramp_C_per_s * 1000),
        hold_ms=chance.randrange(1_000, 30_000),
        cooldown_ms=10_000,
        max_rf_on_ms=300_000,
        telemetry_ticks=50,
    )
    done = run(given, world, seed=seed, sigma_C=chance.uniform(0.03, 0.1))
    return seed, done.cause, done.faults()


def upper_bound(runs: int) -> float:
    """Of the rate of false trips, at 95 %, after so many runs without one: 1 − 0.05^(1/n), close to 3 / n."""
    return 1.0 - 0.05 ** (1.0 / runs)


def check(results: Iterable[tuple[int, str, list[str]]]) -> int:
    """How many there were; none may have tripped."""
    seen = 0
    for seed, cause, faults in results:
        seen += 1
        assert faults == [], f"seed {seed}: a false trip, {faults}"
        assert cause in ("hold_complete", "guard_limited", "rf_on_time_ceiling"), f"seed {seed}: {cause}"
    return seen


def test_runs_without_faults_complete() -> None:
    check(map(one, range(1, 11)))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_runs_without_faults_complete_thousands_of_times(capsys: pytest.CaptureFixture[str]) -> None:
    with ProcessPoolExecutor() as pool:
        seen = check(pool.map(one, range(1, ALL + 1), chunksize=10))
    with capsys.disabled():
        print(f"\n{seen} runs without faults, 0 trips: fewer than {upper_bound(seen):.2%} of runs at 95 %")


def test_the_bound_is_the_rule_of_three() -> None:
    assert upper_bound(3_000) == pytest.approx(3 / 3_000, rel=0.01)
