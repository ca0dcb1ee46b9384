"""`rfprobe simulate`: a whole run on the virtual probe, or the virtual probe behind a port."""

import json
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfprobe.errors import EXIT_BY_RESULT, BadInput, CheckFailed, OperatorStop

if TYPE_CHECKING:
    from rfprobe.session import Session
    from rfprobe.sim.bench_setup import BenchSetup
    from rfprobe.sim.engine import SimulationInput

DEFAULT_PROBE = "bone-10mm"


def simulate(
    plan: Annotated[
        str | None, typer.Argument(metavar="PLAN", help="A plan file, or the name of a shipped plan.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="What runs the firmware: micropython or cpython. Default: the first that is here.",
        ),
    ] = None,
    tissue: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A preset (vertebra, liver, phantom) or a tissue file.")
    ] = "vertebra",
    probe: Annotated[
        str, typer.Option(metavar="FILE", help="A hardware profile, or the name of a shipped one.")
    ] = DEFAULT_PROBE,
    second_tissue: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="What the second channel is in. Default: as the first.")
    ] = None,
    second_probe: Annotated[
        str | None, typer.Option(metavar="FILE", help="The second channel's profile. Default: as the first.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:TARGET][=VALUE][@START_s[+DURATION_s]]",
            help="Something to go wrong; repeatable. 2/KIND… happens to the second channel.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of all noise; the same seed gives the same bytes.")
    ] = 1,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Put the virtual probe behind a port, in real time, instead of running the plan."),
    ] = False,
    calibration: Annotated[
        str, typer.Option(metavar="KIND", help="What the device keeps: exact, none, corrupt, one_corrupt or expired.")
    ] = "exact",
    sensor_error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=OFFSET[,GAIN]", help="A role, voltage or current that shows what is not; repeatable."
        ),
    ] = None,
    bath: Annotated[
        str, typer.Option(metavar="C,C…[@S]", help="Baths before the tissue, each for S seconds of a host's company.")
    ] = "",
    load: Annotated[float | None, typer.Option(metavar="OHM", help="A dummy load in place of the tissue.")] = None,
    wattmeter: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --serve: the true power in W is kept in this file.")
    ] = None,
    link: Annotated[Path | None, typer.Option(metavar="FILE", help="With --serve: a lasting name for the pty.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the session goes.")] = Path(
        "sessions"
    ),
    record_pins: Annotated[
        bool, typer.Option("--record-pins", help="Record SPI words, ADC counts and decisions, for `replay --through`.")
    ] = False,
    black_box: Annotated[
        bool,
        typer.Option("--blackbox", help="Fetch the last 10 s at full rate after any run, not only after a fault."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")] = False,
    expect: Annotated[
        str | None,
        typer.Option(metavar="CAUSE", help="Exit 0 if the run ended by this cause and no other, 8 if it did not."),
    ] = None,
    faults_wanted: Annotated[bool, typer.Option("--list-faults", help="List what can go wrong, and end.")] = False,
) -> None:
    """Run a plan on the virtual probe, from power-up to cool-down.

    The firmware runs against simulated chips, RF stage and tissue. Leaves a session in the output directory.
    The exit code says how the run ended: 0 completed, 3 stopped by safety, 4 link lost, 5 stopped by the
    operator, 7 limited.
    """
    if faults_wanted:
        _print_faults()
        return
    if plan is None:
        raise BadInput("rfprobe simulate: PLAN is missing; shipped plans: " + ", ".join(_shipped_plans()))
    given = _read_input(plan, probe, tissue, runtime, seed, fault or [])
    _read_second(given, second_probe, second_tissue)
    given.setup = _setup(given, calibration, sensor_error or [], bath, load)
    _check_expected(expect)
    if serve:
        if record_pins:
            raise BadInput("--record-pins: needs a session to record into, which --serve has none of")
        _serve(given, link, wattmeter, as_json)
    for name, value in (("--link", link), ("--wattmeter", wattmeter)):
        if value is not None:
            raise BadInput(f"{name}: goes with --serve")
    if record_pins and given.channels_fitted > 1:
        raise BadInput("--record-pins: records the pins of one channel, and the plan uses the second")
    given.record_pins = record_pins
    given.black_box = black_box
    _run(given, output, as_json, expect)


def _shipped_plans() -> list[str]:
    from rfprobe.resources import names

    return names("plans")


def _print_faults() -> None:
    from rfprobe.sim.faults import list_faults

    for kind in list_faults():
        target = f":{'|'.join(kind.targets)}" if kind.targets else ""
        value = "" if kind.value != kind.value else f"={kind.value:g} {kind.unit}".rstrip()
        print(f"{kind.name:18}{target:26}{value:14}{kind.text}")


def _read_input(
    plan: str, probe: str, tissue: str, runtime: str | None, seed: int, faults: list[str]
) -> "SimulationInput":
    """Everything checked before anything starts. Raises BadInput."""
    from rfprobe.plan_file import read_plan
    from rfprobe.probe_file import read_probe
    from rfprobe.resources import find

    plan_file, probe_file = read_plan(find("plans", plan)), read_probe(find("probes", probe))
    from rfprobe.sim.engine import SimulationInput, default_runtime
    from rfprobe.sim.faults import check_channel, of_channel, parse_fault
    from rfprobe.sim.runtimes import RUNTIMES
    from rfprobe.sim.tissue import load_tissue

    try:
        preset = load_tissue(tissue)
    except ValueError as error:
        raise BadInput(f"--tissue: {error}") from None
    if runtime is None:
        runtime, why = default_runtime()
        print(f"runtime: {runtime} ({why})", file=sys.stderr)
    if runtime not in RUNTIMES:
        raise BadInput(f"--runtime {runtime}: must be one of {', '.join(RUNTIMES)}")
    for each in faults:
        check_channel(each, plan_file.channels)
    for each in of_channel(faults, 1):
        parse_fault(each, probe_file.roles)
    return SimulationInput(plan_file, probe_file, preset, runtime, seed, faults)


def _read_second(given: "SimulationInput", probe: str | None, tissue: str | None) -> None:
    """What the second channel is in. Raises BadInput, also where the plan has no use for it."""
    from rfprobe.probe_file import read_probe
    from rfprobe.resources import find
    from rfprobe.sim.faults import of_channel, parse_fault
    from rfprobe.sim.tissue import load_tissue

    for name, value in (("--second-probe", probe), ("--second-tissue", tissue)):
        if value is not None and 2 not in given.plan.channels:
            raise BadInput(f"{name}: the plan does not use the second channel: give it `channels = [1, 2]`")
    if probe is not None:
        given.second_probe = read_probe(find("probes", probe))
    if tissue is not None:
        try:
            given.second_tissue = load_tissue(tissue)
        except ValueError as error:
            raise BadInput(f"--second-tissue: {error}") from None
    for each in of_channel(given.faults, 2):
        parse_fault(each, (given.second_probe or given.probe).roles)
    _ = given.fitted  # what does not fit the second channel's probe is told before anything starts


def _setup(
    given: "SimulationInput", calibration: str, errors: list[str], bath: str, load: float | None
) -> "BenchSetup":
    """Raises BadInput for what this bench cannot be."""
    from rfprobe.sim.bench_setup import BenchSetup

    return BenchSetup(calibration, tuple(errors), bath, load).check_roles(given.probe.roles)


def _check_expected(cause: str | None) -> None:
    from rfprobe_core.protocol import CAUSES

    if cause is not None and cause not in CAUSES[1:]:
        raise BadInput(f"--expect {cause}: no such cause; one of {', '.join(CAUSES[1:])}")


def _run(given: "SimulationInput", directory: Path, as_json: bool, expect: str | None) -> None:
    from rfprobe.live import LiveProgress
    from rfprobe.sim.engine import simulate as run

    with stop_signals() as stop_requested, LiveProgress(given.plan.name) as progress:
        session = run(
            given.plan,
            given.probe,
            given.tissue,
            runtime=given.runtime,
            seed=given.seed,
            faults=given.faults,
            out_dir=directory,
            record_pins=given.record_pins,
            black_box=given.black_box,
            setup=given.setup,
            second_probe=given.second_probe,
            second_tissue=given.second_tissue,
            progress=progress,
            stop_requested=stop_requested,
        )
    with session:
        summary = session.summary
        causes = _causes_told(session)
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print_summary(summary)
    result = summary["result"]
    if result is None:
        raise RuntimeError(f"the run ended without a verdict; its session is {summary['log']}")
    if expect is None:
        raise typer.Exit(EXIT_BY_RESULT[result])
    causes = causes or {str(summary["stop_reason"])}
    if causes != {expect}:
        raise CheckFailed(f"--expect {expect}: the run ended {result}, by {', '.join(sorted(causes))}")


def _causes_told(session: "Session") -> set[str]:
    """The causes of all faults that the device told."""
    from rfprobe_core import protocol

    told = session.rows("SELECT DISTINCT cause FROM events WHERE code = ?", (protocol.EVENT_FAULT,))
    return {protocol.CAUSES[int(row[0])] for row in told}


def print_summary(summary: dict[str, Any]) -> None:
    """The summary as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rfprobe.summary_words import figures
    from rfprobe.words import NOT_A_MEDICAL_DEVICE, result_title

    title = f"{summary['plan']}: {result_title(summary['result']).lower()}"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in figures(summary):
        table.add_row(label, Text(value))
    table.add_row("Session", Text(str(summary["log"])))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(NOT_A_MEDICAL_DEVICE, style="dim"))


@contextmanager
def stop_signals() -> Generator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask the run to stop, through the device; a second one breaks off."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


WATTMETER_EVERY_TICKS = 10
WATTMETER_TICKS = 100
"""It shows the mean of a second, as a bench's does: of a loop on an ADC of few bits, a single tick is 2 % off."""


def _serve(given: "SimulationInput", link: Path | None, wattmeter: Path | None, as_json: bool) -> None:
    """Serve until stopped. The plan is the host's to send; tissue, probe, seed and faults count here."""
    from rfprobe.serve import ByteServer
    from rfprobe.serve import serve as serve_device
    from rfprobe.sim.engine import build
    from rfprobe.whole_files import written_whole

    device = build(given)
    try:
        with stop_signals() as stop_requested, ByteServer(symlink=link) as server:
            links = server.links()
            print(json.dumps({"schema": 1, "links": links}) if as_json else "\n".join(links), flush=True)
            print("the virtual probe is behind these ports, in real time; Ctrl-C ends it", file=sys.stderr)

            shown_W: deque[float] = deque(maxlen=WATTMETER_TICKS)

            def forget_truth(tick: int, _received: bytes, _sent: bytes) -> None:
                for plant in device.plants:
                    plant.take_rows()
                shown_W.append(device.plant.power_W)
                if wattmeter is not None and tick % WATTMETER_EVERY_TICKS == 0:
                    with written_whole(wattmeter) as file:
                        file.write(f"{sum(shown_W) / len(shown_W):.4f}\n".encode())

            serve_device(device, server, stop=stop_requested, on_tick=forget_truth)
    finally:
        device.close()
    raise OperatorStop("rfprobe: stopped")
