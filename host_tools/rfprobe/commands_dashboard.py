"""`rfprobe dashboard`: a device, a run or a session on a page in the browser; the operator can start a run there."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rfprobe.commands_run import PortOption
from rfprobe.commands_simulate import DEFAULT_PROBE
from rfprobe.errors import BadInput, EnvironmentProblem, reason_of

WEB_PORT = 8050


def dashboard(
    plans: Annotated[
        list[str] | None, typer.Argument(metavar="[PLAN]...", help="What the operator can start from the page.")
    ] = None,
    port: PortOption = None,
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="SESSION", help="A session, instead of a port.")
    ] = None,
    speed: Annotated[float, typer.Option(metavar="X", help="With --replay: how many times as fast as it was.")] = 1.0,
    probe: Annotated[
        str, typer.Option(metavar="FILE", help="A hardware profile for PLAN, or the name of a shipped one.")
    ] = DEFAULT_PROBE,
    sample: Annotated[Path | None, typer.Option("--sample", metavar="FILE", help="A sample file, for PLAN.")] = None,
    pairs: Annotated[
        list[str] | None, typer.Option("-m", metavar="KEY=VALUE", help="Something about the sample; repeatable.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write a report beside the session of each run of PLAN.")] = True,
    web_port: Annotated[
        int, typer.Option("--web-port", metavar="N", min=0, max=65535, help="Of the page; 0 takes any that is free.")
    ] = WEB_PORT,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where sessions are.")] = Path(
        "sessions"
    ),
) -> None:
    """Show a device in the browser, on 127.0.0.1: state, temperatures, power, dose, events, plots.

    Attaches to the run that owns the port; where nobody does, it owns the port itself, and records. Anyone who has
    the page can stop RF, by one click or by capital S. Starting a PLAN needs the token that is printed here, and
    the operator's yes to the plan as the device understood it. Ctrl-C ends the dashboard, and a run begun from it.
    """
    from secrets import token_hex

    from rfprobe.bench_file import read_bench
    from rfprobe.port_names import resolve_port
    from rfprobe.session import open_session

    if not 0.01 <= speed <= 1000:
        raise BadInput(f"--speed {speed:g}: must be 0.01 to 1000")
    if plans and replay is not None:
        raise BadInput("rfprobe dashboard: a replayed session cannot run a PLAN")
    _need_nicegui()
    offered = _offered(plans or [], probe, sample, pairs or [])
    session = open_session(replay, output) if replay is not None else None
    name = resolve_port(port, read_bench()) if session is None else None

    from rfprobe.dashboard.link import Link
    from rfprobe.dashboard.page import Dashboard, Offer, listen, serve

    try:
        listening = listen(web_port)
    except OSError as error:
        raise EnvironmentProblem(f"--web-port {web_port}: cannot listen there: {reason_of(error)}") from None
    arguments = ["--port", name or "", "--probe", probe, "-o", str(output)]
    arguments += [] if report else ["--no-report"]
    arguments += ["--sample", str(sample)] if sample is not None else []
    arguments += [part for pair in pairs or [] for part in ("-m", pair)]
    token = token_hex(16)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    with listening, Link(name, session, speed, output) as link:
        shown = Dashboard(link, token, Offer(offered, arguments))
        try:
            serve(shown, listening, lambda: _tell(address, token, bool(offered)))
        finally:
            shown.close()


def _need_nicegui() -> None:
    from importlib.util import find_spec

    if find_spec("nicegui") is None:
        raise EnvironmentProblem("rfprobe dashboard needs NiceGUI: pip install 'rfprobe[dashboard]'")


def _offered(plans: list[str], probe: str, sample: Path | None, pairs: list[str]) -> dict[str, str]:
    """Name → file of each plan, everything about them checked now. Raises BadInput."""
    from rfprobe.bench_file import read_bench
    from rfprobe.plan_file import read_plan
    from rfprobe.probe_file import device_values, read_probe
    from rfprobe.resources import find
    from rfprobe.sample_file import read_sample

    if not plans:
        return {}
    read_sample(sample, pairs, read_bench())
    profile = read_probe(find("probes", probe))
    offered: dict[str, str] = {}
    for plan in plans:
        file = read_plan(find("plans", plan))
        device_values(file, profile)
        offered[file.name] = str(file.path)
    return offered


def _tell(address: str, token: str, may_start: bool) -> None:
    print(f"dashboard: {address}", flush=True)
    print(f"operator:  {address}?operator={token}", flush=True)
    starts = "starts runs and " if may_start else ""
    print(f"The operator's page {starts}adds notes; everybody's stops RF. Ctrl-C ends the dashboard.", file=sys.stderr)
