"""No false trips: runs without faults, over the range of tissue, noise and plans. All 3000: `make test-long`."""

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.safety.false_trips import ENDS, one, told, upper_bound

ALL = int(os.environ.get("RUNS", "3000"))


def check(results: Iterable[tuple[int, str, list[str]]]) -> int:
    """How many there were; none may have tripped."""
    seen = 0
    for seed, cause, faults in results:
        seen += 1
        assert faults == [], f"seed {seed}: a false trip, {faults}"
        assert cause in ENDS, f"seed {seed}: {cause}"
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


def test_a_trip_is_told_with_its_seed() -> None:
    good, bad = ["hold_complete", []], ["over_power", ["over_power"]]
    assert told({"1": good, "2": good}).startswith("2 runs without faults, 0 trips: fewer than 77.64%")
    assert told({"1": good, "2": bad}) == "2 runs without faults, 1 false trips; seed 2: ['over_power']"
