"""Whole runs on simulated tissue: 20 seeds from the commit's hash, every preset, both runtimes.

Judged on the tissue at the sensor's place, not on the lagging reading.
"""

import re
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

import rfprobe

ROOT = Path(__file__).parents[2]
PLAN = ROOT / "plans" / "vertebra-70C.toml"
COOLDOWN = re.compile(r"^cooldown_s = \S+", re.MULTILINE)
SEEDS = 20
OVERSHOOT_C = 1.0
STEADY_ERROR_C = 0.25
SETTLING_S = 10.0


def commit_hash() -> str:
    """The commit under test; a tree without git (an unpacked archive) is named by its version."""
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or rfprobe.__version__


def seed_of(index: int) -> int:
    return int.from_bytes(sha256(f"{commit_hash()} {index}".encode()).digest()[:4], "big")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
@pytest.mark.parametrize("tissue", ["vertebra", "liver", "phantom"])
@pytest.mark.parametrize("index", range(SEEDS))
def test_a_run_completes_within_its_bounds(index: int, tissue: str, runtime: str, tmp_path: Path) -> None:
    plan = tmp_path / PLAN.name
    plan.write_text(COOLDOWN.sub("cooldown_s = 5.0", PLAN.read_text(encoding="utf-8")), encoding="utf-8")
    session = rfprobe.simulate(plan, tissue=tissue, runtime=runtime, seed=seed_of(index), out_dir=tmp_path)
    told = session.summary
    assert told["judged_on"] == "tissue"
    assert (told["result"], told["runtime"], told["frames"]["lost"]) == ("completed", runtime, 0)
    assert told["overshoot_C"] <= OVERSHOOT_C
    assert told["steady_error_C"] <= STEADY_ERROR_C
    assert told["settling_s"] is not None
    assert told["settling_s"] <= SETTLING_S
