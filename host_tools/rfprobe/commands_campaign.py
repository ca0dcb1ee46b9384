"""`rfprobe campaign`: every fault on the virtual probe, as a table; a fault that escapes is a failed check."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfprobe.errors import BadInput, CheckFailed

if TYPE_CHECKING:
    from rfprobe.sim.campaign import Outcome

RUNTIMES = ("cpython", "micropython")


def campaign(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A plan file, or the name of a shipped plan.")],
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="R", help="What runs the firmware; repeatable. Default: cpython and micropython."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--fault", metavar="KIND", help="Only faults of this kind; repeatable.")
    ] = None,
    tissue: Annotated[str, typer.Option(metavar="NAME|FILE", help="A preset or a tissue file.")] = "vertebra",
    probe: Annotated[str, typer.Option(metavar="FILE", help="A hardware profile, or a shipped one.")] = "bone-10mm",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of all noise.")] = 1,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where faults.md goes.")] = Path(
        "sessions"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Try every fault and judge each run by the plant's own truth: the cause told, the enable pin, the tissue.

    Leaves the table in DIR/faults.md; on pico, a chosen dozen, in a section of its own. Exit 8 if one escaped: told
    as something else, RF on for too long, or tissue hotter than the plan's limit.
    """
    from rfprobe.plan_file import read_plan
    from rfprobe.probe_file import read_probe
    from rfprobe.resources import find
    from rfprobe.sim.campaign import TABLE, page, run_all
    from rfprobe.sim.runtimes import RUNTIMES as KNOWN
    from rfprobe.sim.tissue import load_tissue

    plan_file, probe_file = read_plan(find("plans", plan)), read_probe(find("probes", probe))
    try:
        preset = load_tissue(tissue)
    except ValueError as error:
        raise BadInput(f"--tissue: {error}") from None
    for each in runtime or ():
        if each not in KNOWN:
            raise BadInput(f"--runtime {each}: must be one of {', '.join(KNOWN)}")
    tried = [each for each in TABLE if not kind or each.kind in kind]
    for each in kind or ():
        if each not in {row.kind for row in TABLE}:
            raise BadInput(f"--fault {each}: no such kind; `rfprobe simulate --list-faults` lists them")
    outcomes: list[Outcome] = []
    for outcome in run_all(plan_file, probe_file, preset, runtime or RUNTIMES, seed, tried):
        outcomes.append(outcome)
        if not as_json:
            print(told(outcome), flush=True)
    escapes = [each for each in outcomes if each.why_escaped]
    output.mkdir(parents=True, exist_ok=True)
    kept = output / "faults.md"
    before = kept.read_text(encoding="utf-8") if kept.exists() else ""
    kept.write_text(page(outcomes, before), encoding="utf-8")
    if as_json:
        print(json.dumps({"schema": 1, "runs": [as_dict(each) for each in outcomes], "escapes": len(escapes)}))
    else:
        print(f"{len(outcomes)} runs, {len(escapes)} escapes; the table is in {output / 'faults.md'}")
    if escapes:
        first = escapes[0]
        more = f" (and {len(escapes) - 1} more)" if len(escapes) > 1 else ""
        raise CheckFailed(f"campaign: {first.expected.fault} on {first.runtime} escaped: {first.why_escaped}{more}")


def told(outcome: "Outcome") -> str:
    """One line about one run."""
    news = outcome.faults[0] if outcome.faults else outcome.cause
    off = "" if math.isnan(outcome.expected.within_s) else f"RF off after {outcome.off_after_s:6.2f} s"
    verdict = f"ESCAPED: {outcome.why_escaped}" if outcome.why_escaped else "ok"
    return (
        f"{outcome.runtime:12}{outcome.expected.fault:27}{news:27}{off:24}"
        f"tissue {outcome.tissue_peak_C:5.1f} °C  {verdict}"
    )


def as_dict(outcome: "Outcome") -> dict[str, Any]:
    within_s, off_s = outcome.expected.within_s, outcome.off_after_s
    return {
        "fault": outcome.expected.fault,
        "runtime": outcome.runtime,
        "expected": list(outcome.expected.causes),
        "result": outcome.result,
        "cause": outcome.cause,
        "faults": list(outcome.faults),
        "within_s": within_s if math.isfinite(within_s) else None,
        "rf_off_s": off_s if math.isfinite(off_s) else None,
        "tissue_peak_C": outcome.tissue_peak_C,
        "escaped": outcome.why_escaped or None,
    }
