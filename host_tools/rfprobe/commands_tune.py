"""`rfprobe tune`: gains for a probe, from a step of power on the virtual probe or in a session that was recorded."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfprobe.commands_simulate import DEFAULT_PROBE
from rfprobe.errors import BadInput, CheckFailed, reason_of

if TYPE_CHECKING:
    from rfprobe.plan_file import PlanFile
    from rfprobe.probe_file import ProbeFile
    from rfprobe.session import Session
    from rfprobe.tune import Fit, Gains, Goal, Prediction

STEP_PLAN = "tune-step"
MOVED_C = 0.05
LABELS = {
    "kp_mW_per_C": "kp, mW/°C",
    "ki_mW_per_C_s": "ki, mW/°C/s",
    "feedforward_mW_s_per_C": "feed-forward, mW·s/°C",
    "gain_C_per_W": "for a gain of, °C/W",
    "rounding_s": "rounding, s",
}


def tune(
    probe: Annotated[
        str, typer.Option("--probe", metavar="FILE", help="A hardware profile, or the name of a shipped one.")
    ] = DEFAULT_PROBE,
    session: Annotated[
        str | None,
        typer.Option("--from", metavar="SESSION", help="A step recorded on a real probe: `last`, or a session's file."),
    ] = None,
    tissue: Annotated[
        str, typer.Option("--tissue", metavar="NAME|FILE", help="Of the virtual probe; without --from.")
    ] = "vertebra",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the virtual probe's noise.")] = 1,
    step: Annotated[
        str, typer.Option("--step", metavar="PLAN", help="The step of power, a plan of mode power.")
    ] = STEP_PLAN,
    goal: Annotated[
        str, typer.Option("--for", metavar="PLAN", help="The plan that the gains are for: its target, ramp and power.")
    ] = "vertebra-70C",
    rule: Annotated[str, typer.Option("--rule", metavar="NAME", help="Which rule's gains to try and to write.")] = (
        "no-overshoot"
    ),
    write: Annotated[bool, typer.Option("--write", help="Put that rule's gains into the profile's [control].")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where sessions and the picture go.")
    ] = Path("sessions"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Find gains for a probe from how the tissue answers to a step of power.

    On the virtual probe the step is run here, and the plan of --for after it, with the rule's gains: predicted beside
    actual. On a real probe run the step first (`rfprobe run tune-step --port …`), then tune --from last. The profile is
    written with --write only.
    """
    from rfprobe.plan_file import read_plan
    from rfprobe.probe_file import read_probe
    from rfprobe.resources import find
    from rfprobe.tune import RULES, predict, with_gains

    if rule not in RULES:
        raise BadInput(f"--rule {rule}: must be one of {', '.join(RULES)}")
    profile, wanted = read_probe(find("probes", probe)), read_plan(find("plans", goal))
    virtual = session is None
    log = _stepped(profile, step, tissue, seed, output) if session is None else _recorded(session, output)
    with log:
        fit, start_C = _identified(log)
        source = log.path
    aim = _goal(wanted, profile, start_C)
    found: dict[str, tuple[Gains, Prediction]] = {}
    for name in RULES:
        gains = _gains(name, fit, aim)
        found[name] = gains, predict(fit.model, gains, aim)
    gains, predicted = found[rule]
    text = with_gains(profile.text, gains)
    actual = _tried(text, goal, tissue, seed, output) if virtual else None
    picture = _picture(source.with_suffix(".tune.png"), fit, predicted, aim, actual)
    if write:
        _write(profile.path, text)
    if as_json:
        print(json.dumps(_told(fit, found, rule, actual, profile.path if write else None, picture), ensure_ascii=False))
        return
    _print(fit, found, rule, actual)
    print(f"The picture: {picture}")
    print(f"written: {profile.path}" if write else f"{profile.path} is as it was; --write puts the gains there")


def _stepped(profile: "ProbeFile", step: str, tissue: str, seed: int, output: Path) -> "Session":
    """The step on the virtual probe, with gains of its own: whatever the profile's are, the power is there at once."""
    from rfprobe.plan_file import read_plan
    from rfprobe.resources import find
    from rfprobe.tune import STEP_GAINS, with_gains

    plan = read_plan(find("plans", step))
    _check_step(plan.values()["mode"], str(plan.path))
    return _simulated(plan, with_gains(profile.text, STEP_GAINS), tissue, seed, output)


def _simulated(plan: "PlanFile", profile_text: str, tissue: str, seed: int, output: Path) -> "Session":
    from rfprobe.live import LiveProgress
    from rfprobe.probe_file import read_probe
    from rfprobe.sim.engine import simulate

    with tempfile.TemporaryDirectory() as folder, LiveProgress(plan.name) as progress:
        path = Path(folder) / "tuned.toml"
        path.write_text(profile_text, encoding="utf-8")
        return simulate(plan, read_probe(path), tissue, seed=seed, out_dir=output, progress=progress)


def _recorded(which: str, output: Path) -> "Session":
    from rfprobe.session import find_session, open_session

    session = open_session(find_session(which, output))
    _check_step(session.parameters().get("mode", 0), str(session.path))
    return session


def _check_step(mode: int, where: str) -> None:
    from rfprobe_core import plan

    if mode != plan.MODE_POWER:
        raise BadInput(f"{where}: a step has constant power: a plan of mode power, such as {STEP_PLAN}")


def _identified(log: "Session") -> "tuple[Fit, float]":
    """The fit to this run, and the temperature that it began with. Raises CheckFailed for a run that broke off."""
    from rfprobe.tune import identify

    result = log.summary["result"]
    if result != "completed":
        raise CheckFailed(
            f"tune: the step ended {result or 'without a verdict'}, see {log.path}; nothing follows from it"
        )
    df = log.df
    run = df[df["state"].isin(["RAMP", "HOLD", "COOLDOWN"])].dropna(subset=["power_W", "control_C"])
    fit = identify(run["t_s"].to_numpy(float), run["power_W"].to_numpy(float), run["control_C"].to_numpy(float))
    return fit, float(fit.measured_C[0])


def _goal(plan: "PlanFile", profile: "ProbeFile", start_C: float) -> "Goal":
    from rfprobe.tune import Goal

    values = plan.values()
    if values["mode"] != 0:
        raise BadInput(f"--for {plan.path}: gains are for a plan of mode temperature")
    lag_s = next(each.lag_s for each in profile.profile.thermocouple if each.role == "control")
    ceiling_mW = min(values["max_power_mW"], profile.values()["stage_power_mW"])
    return Goal(start_C, values["target_mC"] / 1000, values["ramp_mC_per_s"] / 1000, ceiling_mW / 1000, lag_s)


def _gains(name: str, fit: "Fit", aim: "Goal") -> "Gains":
    from rich.console import Console
    from rich.progress import Progress

    from rfprobe.tune import RULES

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=1.0)
        return RULES[name][1](fit.model, aim, lambda share: progress.update(task, completed=share))


def _tried(text: str, goal: str, tissue: str, seed: int, output: Path) -> dict[str, Any]:
    """The plan with these gains, on the virtual probe: its summary, and the tissue's course."""
    from rfprobe.plan_file import read_plan
    from rfprobe.resources import find

    with _simulated(read_plan(find("plans", goal)), text, tissue, seed, output) as session:
        summary = session.summary
        truth = session.truth
        begin = truth["t_s"].to_numpy(float) >= _begin_s(session)
        course = truth["t_s"].to_numpy(float)[begin], truth["control_C"].to_numpy(float)[begin]
    keys = ("result", "overshoot_C", "settling_s", "steady_error_C", "log")
    return {key: summary[key] for key in keys} | {"course": (course[0] - course[0][0], course[1])}


def _begin_s(session: "Session") -> float:
    """When the set-point began to rise: after the probe check."""
    ramp = session.df[session.df["state"] == "RAMP"]
    time_s, setpoint_C = ramp["t_s"].to_numpy(float), ramp["setpoint_C"].to_numpy(float)
    return float(time_s[setpoint_C > setpoint_C[0] + MOVED_C][0])


def _picture(path: Path, fit: "Fit", predicted: "Prediction", aim: "Goal", actual: dict[str, Any] | None) -> Path:
    """The step, measured and fitted; and the plan, predicted and actual."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    step, run = figure.subplots(1, 2)
    step.plot(fit.time_s, fit.measured_C, color="#cc5200", linewidth=0.8, label="measured")
    step.plot(fit.time_s, fit.modelled_C, color="#1b1f24", linestyle="--", label=f"fitted, ±{fit.residual_C:.2f} °C")
    step.set_title("The step of power")
    run.plot(predicted.time_s, predicted.temperature_C, color="#1b1f24", linestyle="--", label="predicted")
    if actual is not None:
        run.plot(*actual["course"], color="#cc5200", label="actual, the tissue")
    run.axhline(aim.target_C, color="#667080", linewidth=0.6)
    run.set_xlim(0.0, float(predicted.time_s[-1]))
    run.set_title("The plan, with these gains")
    for axes in (step, run):
        axes.set_xlabel("s")
        axes.set_ylabel("°C")
        axes.legend()
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise BadInput(f"{path}: {reason_of(error)}") from None
    return path


def _write(path: Path, text: str) -> None:
    from rfprobe.whole_files import written_whole

    try:
        with written_whole(path) as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {reason_of(error)}; the profile is as it was") from None


def _told(
    fit: "Fit",
    found: "dict[str, tuple[Gains, Prediction]]",
    rule: str,
    actual: dict[str, Any] | None,
    written: Path | None,
    picture: Path,
) -> dict[str, Any]:
    rules = {
        name: {
            "gains": asdict(gains),
            "predicted": {"overshoot_C": round(run.overshoot_C, 3), "settling_s": round(run.settling_s, 1)},
        }
        for name, (gains, run) in found.items()
    }
    kept = None if actual is None else {key: value for key, value in actual.items() if key != "course"}
    return {
        "schema": 1,
        "model": asdict(fit.model),
        "residual_C": round(fit.residual_C, 3),
        "rules": rules,
        "rule": rule,
        "actual": kept,
        "picture": str(picture),
        "written": None if written is None else str(written),
    }


def _print(fit: "Fit", found: "dict[str, tuple[Gains, Prediction]]", rule: str, actual: dict[str, Any] | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from rfprobe.tune import RULES
    from rfprobe.words import NOT_A_MEDICAL_DEVICE

    model = fit.model
    print(
        f"The tissue's answer: {model.fast_C_per_W:.2f} °C/W in {model.fast_s:.1f} s and {model.slow_C_per_W:.2f} °C/W "
        f"in {model.slow_s:.0f} s, behind {model.lag_s:.2f} s; fitted to ±{fit.residual_C:.2f} °C"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in found:
        table.add_column(f"{name}{' *' if name == rule else ''}", justify="right")
    for key, label in LABELS.items():
        table.add_row(label, *[f"{getattr(gains, key):g}" for gains, _ in found.values()])
    table.add_row("predicted overshoot, °C", *[f"{run.overshoot_C:.2f}" for _, run in found.values()])
    table.add_row("predicted settling, s", *[f"{run.settling_s:.1f}" for _, run in found.values()])
    Console(highlight=False).print(table)
    for name in found:
        print(f"{name}: {RULES[name][0]}")
    if actual is not None:
        settled = "never" if actual["settling_s"] is None else f"{actual['settling_s']:.1f}"
        print(
            f"* actual: {actual['result']}, over {actual['overshoot_C']:.2f} °C, settled {settled} s: {actual['log']}"
        )
    print(NOT_A_MEDICAL_DEVICE)
