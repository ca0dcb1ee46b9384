"""`rfprobe run`: a plan on a device behind a port, from self-test to report; and `rfprobe stop`."""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfprobe.commands_simulate import DEFAULT_PROBE, print_summary, stop_signals
from rfprobe.errors import EXIT_BY_RESULT, BadInput, EnvironmentProblem, OperatorStop, Refused

if TYPE_CHECKING:
    from rfprobe.attended import Attendant
    from rfprobe.board_run import BoardRun
    from rfprobe.client import RunClient
    from rfprobe.plan_file import PlanFile
    from rfprobe.probe_file import ProbeFile
    from rfprobe.session_format import Json

PortOption = Annotated[
    str | None,
    typer.Option(
        "--port",
        "-p",
        metavar="P",
        help="A port, socket://HOST:PORT, @alias or id:SERIAL; the only board if not given.",
    ),
]


def run(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A plan file, or the name of a shipped plan.")],
    port: PortOption = None,
    probe: Annotated[
        str, typer.Option(metavar="FILE", help="A hardware profile, or the name of a shipped one.")
    ] = DEFAULT_PROBE,
    second_probe: Annotated[
        str | None, typer.Option(metavar="FILE", help="The second channel's profile. Default: as the first.")
    ] = None,
    sample: Annotated[Path | None, typer.Option("--sample", metavar="FILE", help="A sample file.")] = None,
    pairs: Annotated[
        list[str] | None, typer.Option("-m", metavar="KEY=VALUE", help="Something about the sample; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Arm without asking.")] = False,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Clear a fault that the device still shows.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the session goes.")] = Path(
        "sessions"
    ),
    report: Annotated[bool, typer.Option(help="Write the report beside the session.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")] = False,
    attended: Annotated[bool, typer.Option("--attended", hidden=True)] = False,
) -> None:
    """Run a plan on a board, or on a virtual probe behind a port.

    Configures the device, shows the plan as the device understood it, asks, arms, starts, and records everything
    in a session. Ctrl-C stops RF (exit code 5). Others can attach with `rfprobe monitor` meanwhile.
    """
    from rfprobe.bench_file import read_bench
    from rfprobe.calibration_kept import today_day
    from rfprobe.plan_file import read_plan
    from rfprobe.port_names import resolve_port
    from rfprobe.probe_file import device_values, read_probe
    from rfprobe.resources import find
    from rfprobe.sample_file import read_sample

    bench = read_bench()
    plan_file, probe_file = read_plan(find("plans", plan)), read_probe(find("probes", probe))
    second_file = probe_file if second_probe is None else read_probe(find("probes", second_probe))
    if second_probe is not None and 2 not in plan_file.channels:
        raise BadInput("--second-probe: the plan does not use the second channel: give it `channels = [1, 2]`")
    probes = [probe_file, second_file][: max(plan_file.channels)]
    told_values = [{**device_values(plan_file, each), "today_day": today_day()} for each in probes]
    told = read_sample(sample, pairs or [], bench)
    if not yes and not attended and not sys.stdin.isatty():
        raise BadInput("rfprobe run: nobody is there to confirm the plan (stdin is no terminal): give --yes")
    name = resolve_port(port, bench)
    _import_what_it_shows()
    wishes = _Wishes(yes, acknowledge, output, report, as_json)
    if attended:
        from rfprobe.attended import attendant

        wishes.attendant = attendant()
    result = _run_on(name, plan_file, probes, told_values, told, wishes)
    raise typer.Exit(EXIT_BY_RESULT[result])


def _import_what_it_shows() -> None:
    """Before the port is opened: on a busy machine an import takes as long as the device's lease lasts."""
    from importlib import import_module

    for name in ("rich.console", "rich.live", "rich.progress_bar", "rich.table", "rich.text", "rfprobe.live"):
        import_module(name)


class _Wishes:
    """What the options ask for."""

    def __init__(self, yes: bool, acknowledge: bool, output: Path, report: bool, as_json: bool) -> None:
        self.yes = yes
        self.acknowledge = acknowledge
        self.output = output
        self.report = report
        self.as_json = as_json
        self.attendant: Attendant | None = None
        """The process of ours that started this one and answers for its operator."""

    @property
    def hung_up(self) -> bool:
        """Whether the attendant is gone: its run does not go on without it."""
        return self.attendant is not None and self.attendant.gone.is_set()


def _run_on(
    name: str,
    plan: "PlanFile",
    probes: "Sequence[ProbeFile]",
    told: Sequence[dict[str, int]],
    sample: "dict[str, Json]",
    wishes: _Wishes,
) -> str:
    """The whole run, with a probe and its values for each channel; returns its result. Raises where there was none."""
    from rfprobe.board_run import BoardRun, RunParts
    from rfprobe.client import OVER, FetchBox, RunClient
    from rfprobe.owner import Owner, take_port
    from rfprobe.progress import ProgressView
    from rfprobe.run_meta import channel_meta, group_digests, told_meta
    from rfprobe.session_writer import SessionWriter
    from rfprobe_core import protocol

    cleared = OVER if wishes.acknowledge else OVER - {protocol.FAULT}
    client = RunClient(
        told[0],
        protocol.protocol_digest(),
        second=told[1] if len(told) > 1 else None,
        acknowledge=cleared,
        ask_first=True,
        black_box=FetchBox.AFTER_FAULT,
        first_id=time.time_ns() % (1 << 28) + 1,
    )
    channels = [channel_meta(each.number, probes[each.number], told[each.number]) for each in client.channels]
    first = client.channels[0].number
    probe, values = probes[first], told[first]
    names = _names_of(name)
    with ExitStack() as stack:
        stop_requested = stack.enter_context(stop_signals())
        port = take_port(name)
        stack.callback(port.close)
        meta: dict[str, Json] = {
            **told_meta(plan, probe, values),
            "kind": "run",
            "runtime": "board",
            "port": name,
            "sample": sample,
            "digests": {**group_digests(values)},
            **({"channels": [*channels]} if len(probes) > 1 else {}),
        }
        writer = SessionWriter.create(wishes.output, plan.name, str(sample.get("id") or "sample"), meta)
        stack.callback(writer.close)
        # whoever attaches learns at once where the record is: it has what came before
        facts = {"plan": plan.name, "parameters": values, "session": str(writer.path.resolve()), "over": False}
        owner = stack.enter_context(Owner(name, f"rfprobe run {plan.name}", facts))
        view = ProgressView(probe.roles, values, first)

        def stop() -> bool:
            return stop_requested() or wishes.hung_up

        parts = RunParts(port, client, writer, owner, view, names, stop, channels if len(probes) > 1 else [])
        run = BoardRun(parts)
        try:
            _go(run, client, plan, told, wishes)
        finally:
            run.finish()
            owner.tell(over=True, result=client.result)
    return _told_end(run, client, writer.path, wishes)


def _go(
    run: "BoardRun", client: "RunClient", plan: "PlanFile", values: Sequence[dict[str, int]], wishes: _Wishes
) -> None:
    from rfprobe.commands_plan import understood_rows
    from rfprobe.live import LiveProgress

    if not run.until_configured():
        return

    def asked() -> bool:
        return _show(plan, client, values) and (wishes.yes or _confirmed())

    attendant = wishes.attendant
    if attendant is not None:
        rows = understood_rows(plan, client.understood)
        attendant.ask(plan.name, _device_told(client), rows, _told_back(client, values), _warnings(client))
    if not run.wait_for(_beside(asked) if attendant is None else attendant.answer):
        client.request_stop()
    if attendant is not None:
        run.to_the_end(lambda _: None)  # it watches for itself, and may have closed our stderr
        return
    with LiveProgress(plan.name) as progress:
        run.to_the_end(progress)


def _show(plan: "PlanFile", client: "RunClient", values: Sequence[dict[str, int]]) -> bool:
    """The device, and the plan as it understood it, on stderr; always True."""
    from rich.console import Console
    from rich.text import Text

    from rfprobe.commands_plan import understood_table

    print(_device_told(client), file=sys.stderr)
    console = Console(stderr=True, highlight=False)
    console.print(understood_table(plan, client.understood))
    console.print(Text(_told_back(client, values)))
    for note in _warnings(client):
        console.print(Text(f" {note} ", style="bold white on red"))
    return True


def _device_told(client: "RunClient") -> str:
    hello = client.hello
    return (
        f"{hello.get('board')} {hello.get('uid')}: firmware {hello.get('fw')} on {hello.get('mp')}, "
        f"self-test passed, dead-man {hello.get('dead_man')}"
    )


def _told_back(client: "RunClient", values: Sequence[dict[str, int]]) -> str:
    from rfprobe.calibration_kept import kept
    from rfprobe.client import TOLD

    lines: list[str] = []
    for channel in client.channels:
        sent = values[channel.number]
        confirmed = {name for name in TOLD if channel.understood.get(name) == sent[name]}
        found = kept(client.values_of(channel))
        calibration = f", calibration {found.digest} valid" if found.valid else ""
        which = f"channel {channel.number + 1}: " if len(values) > 1 else ""
        lines.append(
            f"{which}{len(confirmed)} of {len(TOLD)} values confirmed by the device, "
            f"digest {channel.digest:07x}{calibration}"
        )
    return "\n".join(lines)


def _warnings(client: "RunClient") -> list[str]:
    """What is to be known of the device's calibration before it is armed."""
    from rfprobe.calibration_kept import kept

    notes: list[str] = []
    for channel in client.channels:
        found = kept(client.values_of(channel))
        which = f"channel {channel.number + 1}: " if len(client.channels) > 1 else ""
        notes += [which + note for note in (found.copy_note, found.sentence) if note]
    return notes


def _confirmed() -> bool:
    print("Arm and start? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _beside(act: Callable[[], bool]) -> Callable[[], bool | None]:
    """Do what takes its time in a thread, so that the lease is renewed meanwhile; what is returned gives its answer.

    What goes wrong there counts as a no.
    """
    answers: list[bool] = []

    def work() -> None:
        answer = False
        try:
            answer = act()
        finally:
            answers.append(answer)

    threading.Thread(target=work, name="confirmation", daemon=True).start()
    return lambda: answers[0] if answers else None


def _names_of(name: str) -> Callable[[], Sequence[str]]:
    """The names under which a port may come back: its own, and where its USB serial number is seen again."""
    from rfprobe.port_names import usb_ports

    serials = {each.serial for each in usb_ports() if each.name == name and each.serial}

    def names() -> Sequence[str]:
        return [name, *(each.name for each in usb_ports() if each.serial in serials and each.name != name)]

    return names


def _told_end(run: "BoardRun", client: "RunClient", path: Path, wishes: _Wishes) -> str:
    """Say how it ended; returns the result."""
    from rfprobe.session import Session

    if not client.arm_asked:
        raise nothing_begun(client)
    if run.failure is not None:
        raise EnvironmentProblem(f"{run.failure}. The run was stopped; what was recorded before is in {path}")
    with Session(path) as session:
        summary = session.summary
        if wishes.as_json:
            print(json.dumps(summary, ensure_ascii=False))
        else:
            print_summary(summary)
        if wishes.report:
            from rfprobe.report import write_report

            for written in write_report(session, path.with_suffix(".html")):
                print(f"report: {written}", file=sys.stderr)
    result = summary["result"]
    if result is None:
        raise RuntimeError(f"the run ended without a verdict; its session is {path}")
    return str(result)


def nothing_begun(client: "RunClient") -> Exception:
    """Why there was no run: nothing was armed."""
    from rfprobe.client import OVER
    from rfprobe.ports import PortLost

    kinds: dict[str, Callable[[str], Exception]] = {
        "link_lost": PortLost,
        "stopped": lambda _: OperatorStop("rfprobe: stopped before anything was armed"),
    }
    sentence = client.refusal
    if client.watch_only:
        return EnvironmentProblem(f"{sentence}. Deploy this host's firmware, or use the host tools of that version")
    if client.state in OVER:
        return Refused(f"{sentence.partition(':')[0]}: look at what it means, then give --acknowledge")
    return kinds.get(client.result, EnvironmentProblem)(sentence)


def stop(
    port: PortOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run of this user on this machine.")] = False,
) -> None:
    """Stop RF: through the process that owns the port, or straight on the wire where nobody does.

    Ends when the device has been seen to have stopped, or fails with exit code 4.
    """
    from rfprobe.owner import find_owner, owners
    from rfprobe.port_names import resolve_port

    if everything:
        found = owners()
        if not found:
            print("nothing runs")
        for record in found:
            _stop_through(record)
        return
    name = resolve_port(port)
    owner = find_owner(name)
    if owner is not None:
        _stop_through(owner)
    else:
        print(stop_directly(name))


STOPPED_WITHIN_S = 5.0


def _stop_through(record: object) -> None:
    from rfprobe.owner import Attached, Record
    from rfprobe.ports import PortLost

    assert isinstance(record, Record)
    with Attached(record) as attached:
        attached.stop()
        if not attached.wait_for_end(STOPPED_WITHIN_S):
            raise PortLost(
                f"{record.told()} was asked to stop {record.port} and has not ended in {STOPPED_WITHIN_S:g} s"
            )
    print(f"stopped {record.port}, through {record.told()}")


def stop_directly(name: str) -> str:
    """STOP on the wire until a frame shows that nothing is under way; says so. Raises PortLost where none does."""
    from rfprobe.client import STOP_EVERY_S, UNDER_WAY
    from rfprobe.ports import PortLost, open_port
    from rfprobe.wire import STOP_LINE, Frame, FrameDecoder

    decoder = FrameDecoder()
    with open_port(name) as port:
        until = time.monotonic() + STOPPED_WITHIN_S
        while time.monotonic() < until:
            port.write(STOP_LINE)
            again = time.monotonic() + STOP_EVERY_S
            states: dict[int, int] = {}
            while time.monotonic() < again:
                heard = [item for item in decoder.feed(port.read()) if isinstance(item, Frame)]
                states.update({frame.channel: frame.state for frame in heard})
                time.sleep(0.005)
            if states and not UNDER_WAY & set(states.values()):
                told = " and ".join(_state_name(states[channel]) for channel in sorted(states))
                return f"stopped {name}: it is in {told}"
    raise PortLost(
        f"{name}: STOP was sent for {STOPPED_WITHIN_S:g} s and nothing showed that it was heard: remove power"
    )


def _state_name(state: int) -> str:
    from rfprobe.words import name_of
    from rfprobe_core import protocol

    return name_of(protocol.STATE_NAMES, state)
