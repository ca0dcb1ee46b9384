"""Tuning: the tissue's answer is found, the rules' gains hold what they promise, and nothing is written unasked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rfprobe
from rfprobe.cli import app
from rfprobe.errors import CheckFailed
from rfprobe.probe_file import read_probe
from rfprobe.resources import find
from rfprobe.tune import RULES, Gains, Goal, StepModel, identify, predict, simc, with_gains

MODEL = StepModel(lag_s=0.9, fast_C_per_W=4.0, fast_s=12.0, slow_C_per_W=5.0, slow_s=50.0)
GOAL = Goal(start_C=37.0, target_C=70.0, ramp_C_per_s=1.0, ceiling_W=15.0, sensor_lag_s=0.7)
# the bounds of tests/bench/bench_control.py, of a single run
OVERSHOOT_C, SETTLING_S, STEADY_C = 0.6, 5.0, 0.1


def step_of(model: StepModel, power_W: float = 2.0, noise_C: float = 0.05) -> "tuple[Any, Any, Any]":
    """Times, power and reading of a step of 90 s, and of 30 s without power after it."""
    time = np.arange(0.0, 120.0, 0.05)
    power = np.where(time < 90.0, power_W, 0.0)
    noise = np.random.default_rng(1).normal(0.0, noise_C, len(time))
    return time, power, 37.0 + model.rise_C(power, 0.05) + noise


def run(*args: str) -> Any:
    return CliRunner().invoke(app, ["tune", *args])


def test_the_answer_is_found_in_the_noise() -> None:
    fit = identify(*step_of(MODEL))
    assert fit.residual_C < 0.08
    step_W = np.ones(600)
    assert fit.model.rise_C(step_W, 0.1) == pytest.approx(MODEL.rise_C(step_W, 0.1), abs=0.15)


def test_a_step_that_warms_too_little_or_that_was_disturbed_is_refused() -> None:
    with pytest.raises(CheckFailed, match="tells too little"):
        identify(*step_of(MODEL, power_W=0.2))
    time, power, reading = step_of(MODEL)
    with pytest.raises(CheckFailed, match="no step response"):
        identify(time, power, reading + np.where((time > 30) & (time < 60), 8.0, 0.0))


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_simc_gains_go_down_as_the_answer_goes_up(gain: float) -> None:
    once, scaled = simc(MODEL, GOAL), simc(MODEL.scaled(gain, MODEL.lag_s), GOAL)
    for key in ("kp_mW_per_C", "ki_mW_per_C_s", "feedforward_mW_s_per_C"):
        assert getattr(scaled, key) == pytest.approx(getattr(once, key) / gain, rel=0.02)


def test_what_is_predicted_tells_good_gains_from_bad() -> None:
    good = predict(MODEL, Gains(1500, 780, 2240, 0.0, 1.0), GOAL)
    hasty = predict(MODEL, Gains(1500, 4000, 6000, 0.0, 0.0), GOAL)
    idle = predict(MODEL, Gains(100, 0, 0, 0.0, 1.0), GOAL)
    assert good.overshoot_C < 0.5 < hasty.overshoot_C
    assert good.settling_s < 5.0 < idle.settling_s


def test_gains_go_into_the_control_table_and_nowhere_else() -> None:
    text = find("probes", "bone-10mm").read_text(encoding="utf-8")
    changed = with_gains(text, Gains(1, 2, 3, 4.5, 6.7))
    pairs = zip(text.splitlines(), changed.splitlines(), strict=True)
    different = [after for before, after in pairs if before != after]
    assert [line.split("#")[0].split() for line in different] == [
        ["kp_mW_per_C", "=", "1"],
        ["ki_mW_per_C_s", "=", "2"],
        ["feedforward_mW_s_per_C", "=", "3"],
        ["gain_C_per_W", "=", "4.5"],
        ["rounding_s", "=", "6.7"],
    ]
    assert different[3].endswith(text.split("gain_C_per_W = 8.0")[1].splitlines()[0].strip())


def test_a_profile_of_before_gets_the_keys_that_it_lacks(tmp_path: Path) -> None:
    text = find("probes", "bone-10mm").read_text(encoding="utf-8")
    older = "\n".join(line for line in text.splitlines() if not line.startswith(("gain_C", "rounding"))) + "\n"
    path = tmp_path / "older.toml"
    path.write_text(with_gains(older, Gains(1, 2, 3, 4.5, 6.7)), encoding="utf-8")
    control = read_probe(path).profile.control
    assert (control.kp_mW_per_C, control.gain_C_per_W, control.rounding_s) == (1, 4.5, 6.7)


TISSUES = {
    "liver": "liver",
    "muscle": """
[other]
source = "Made up, and of no rule's choosing: perfused muscle in what is perfused less."
start_C = 37.0
blood_C = 37.0
sigma_per_C = 0.018
layers = [
  { outer_radius_mm = 9.0, k_W_mK = 0.49, rho_kg_m3 = 1.1e3, c_J_kgK = 3e3, sigma_S_m = 0.44, perfusion_per_s = 7e-4 },
  { outer_radius_mm = 60.0, k_W_mK = 0.4, rho_kg_m3 = 1e3, c_J_kgK = 3000.0, sigma_S_m = 0.3, perfusion_per_s = 2e-4 },
]
""",
    "dry bone": """
[other]
source = "Made up, and of no rule's choosing: little heat capacity, little conduction, no blood."
start_C = 37.0
blood_C = 37.0
sigma_per_C = 0.018
layers = [
  { outer_radius_mm = 60.0, k_W_mK = 0.3, rho_kg_m3 = 1.2e3, c_J_kgK = 2e3, sigma_S_m = 0.2, perfusion_per_s = 0.0 },
]
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TISSUES)
def test_in_a_tissue_never_seen_the_gains_hold_the_temperature(name: str, tmp_path: Path) -> None:
    tissue = TISSUES[name]
    if "\n" in tissue:
        (tmp_path / "other.toml").write_text(tissue, encoding="utf-8")
        tissue = str(tmp_path / "other.toml")
    profile = tmp_path / "probe.toml"
    before = find("probes", "bone-10mm").read_text(encoding="utf-8")
    profile.write_text(with_gains(before, Gains(100, 0, 0, 0.0, 0.0)), encoding="utf-8")
    done = run("--probe", str(profile), "--tissue", tissue, "--write", "--json", "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    actual = told["actual"]
    assert actual["result"] == "completed"
    assert actual["overshoot_C"] <= OVERSHOOT_C
    assert actual["settling_s"] <= SETTLING_S
    assert actual["steady_error_C"] <= STEADY_C
    assert abs(told["rules"]["no-overshoot"]["predicted"]["overshoot_C"] - actual["overshoot_C"]) < 0.3
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    # what was written is what was tried: the same run again, from the profile
    again = rfprobe.simulate("vertebra-70C", probe=profile, tissue=tissue, out_dir=tmp_path)
    assert again.summary["overshoot_C"] == actual["overshoot_C"]


def test_nothing_is_written_without_being_asked(tmp_path: Path) -> None:
    profile = tmp_path / "probe.toml"
    profile.write_text(find("probes", "bone-10mm").read_text(encoding="utf-8"), encoding="utf-8")
    before = profile.read_bytes()
    stepped = rfprobe.simulate("tune-step", probe=profile, tissue="liver", out_dir=tmp_path)
    done = run("--probe", str(profile), "--from", str(stepped.path), "--rule", "simc", "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert profile.read_bytes() == before
    assert "is as it was" in done.output
    assert all(name in done.output for name in RULES)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--rule", "guess"), 2, "--rule guess: must be one of no-overshoot, simc"),
        (("--step", "vertebra-70C"), 2, "a step has constant power"),
        (("--for", "power-8W", "--from", "STEP"), 2, "gains are for a plan of mode temperature"),
        (("--from", "no-such.rfp"), 2, "no-such.rfp"),
        (("--probe", "no-such"), 2, "neither a file nor one of the shipped probes"),
    ],
)
def test_what_cannot_be_tuned_is_told_in_one_line(args: tuple[str, ...], code: int, says: str, tmp_path: Path) -> None:
    if "STEP" in args:
        stepped = rfprobe.simulate("tune-step", tissue="liver", runtime="cpython", out_dir=tmp_path)
        args = tuple(str(stepped.path) if each == "STEP" else each for each in args)
    done = run(*args, "-o", str(tmp_path))
    assert done.exit_code == code, done.output
    assert says in done.output
    assert "Traceback" not in done.output
