"""Runs without faults, many of them: `make false-trips`, or `python -m tests.safety.false_trips --runs 500`.

Each run is in tissue, noise and plan by its own seed. What came of each is kept for the firmware it was tried on, so
that the next call goes on where this one ended, and the bound is over all of them.
"""

import argparse
import json
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.progress import track

from rfprobe.run_meta import firmware_digest
from tests.safety.worlds import ROOT, probe, run, tissue, values

KEPT = ROOT / "build" / "false_trips.json"
ENDS = ("hold_complete", "guard_limited", "rf_on_time_ceiling")
"""How a run without faults may end."""


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


def told(results: Mapping[str, list[object]]) -> str:
    """The result in one line."""
    trips = {seed: faults for seed, (_, faults) in results.items() if faults}
    if trips:
        first, faults = next(iter(trips.items()))
        return f"{len(results)} runs without faults, {len(trips)} false trips; seed {first}: {faults}"
    bound = upper_bound(len(results))
    return f"{len(results)} runs without faults, 0 trips: fewer than {bound:.2%} of runs at 95 %"


def _kept(path: Path, firmware: str) -> dict[str, list[object]]:
    """What is known of this firmware; of another one it is worth nothing."""
    if not path.exists():
        return {}
    known = json.loads(path.read_text())
    return dict(known["runs"]) if known["firmware"] == firmware else {}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.safety.false_trips", description=__doc__)
    parser.add_argument("--runs", type=int, default=3_000, help="how many more to do, up to seed 3000")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one a core")
    asked = parser.parse_args()
    firmware = firmware_digest()
    results = _kept(KEPT, firmware)
    seeds = [seed for seed in range(1, 3_001) if str(seed) not in results][: asked.runs]
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(asked.workers) as pool:
        done = pool.map(one, seeds, chunksize=2)
        for seed, cause, faults in track(done, description="runs", total=len(seeds)):
            results[str(seed)] = [cause, faults]
            KEPT.write_text(json.dumps({"firmware": firmware, "runs": results}))
    print(told(results))
    odd = {seed: cause for seed, (cause, faults) in results.items() if cause not in ENDS and not faults}
    if odd or any(faults for _, faults in results.values()):
        raise SystemExit(f"not as it should be: {odd or 'see above'}")


if __name__ == "__main__":
    main()
