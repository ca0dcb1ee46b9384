"""`rfprobe calibrate`: thermocouples in baths, the RF sense on a dummy load, and what the device keeps of it."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rfprobe.commands_run import PortOption
from rfprobe.commands_simulate import DEFAULT_PROBE, stop_signals
from rfprobe.errors import BadInput, CheckFailed, EnvironmentProblem, OperatorStop, reason_of

if TYPE_CHECKING:
    from rfprobe.calibration_bench import CalibrationBench, Reading
    from rfprobe.calibration_fit import BathPoint, LoadPoint
    from rfprobe.calibration_kept import Kept
    from rfprobe.client import RunClient
    from rfprobe.probe_file import ProbeFile

calibrate_app = typer.Typer(
    help="Calibrate thermocouples and RF sense, and see what the device keeps of it.",
    epilog="Example: rfprobe calibrate show --port /dev/ttyACM0",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RECORDS = Path("calibrations")
VALID_DAYS = 365
METER_WITHIN_S = 20.0

ProbeOption = Annotated[
    str, typer.Option("--probe", metavar="FILE", help="The hardware profile, or a shipped one's name.")
]
ReferenceOption = Annotated[
    str | None,
    typer.Option("--reference", metavar="NAME", help='What it is compared with: "Pt100 no. 4, certificate K-117".'),
]
ValidOption = Annotated[
    int, typer.Option("--valid-days", metavar="N", min=1, max=3650, help="After so many days it has expired.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Write to the device without asking.")]
RecordOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Where the record of the calibration goes.")
]
ChannelOption = Annotated[
    int, typer.Option("--channel", metavar="N", min=1, max=2, help="Of a device with two channels: which of them.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@calibrate_app.command(
    "tc",
    epilog='Example: rfprobe calibrate tc --place control --reference "Pt100 no. 4, K-117" --point 20.02 --point 60.05',
)
def tc(
    port: PortOption = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--place", metavar="ROLE", help="control, boundary, guard, or tc0 … tc3; repeatable. All, if not given."
        ),
    ] = None,
    reference: ReferenceOption = None,
    point: Annotated[
        list[float] | None,
        typer.Option(
            "--point", metavar="C", help="What the reference reads in a bath; repeatable. Asked for if not given."
        ),
    ] = None,
    window: Annotated[
        float, typer.Option("--window", metavar="S", min=2.0, max=120.0, help="How long a reading must stand still.")
    ] = 5.0,
    within: Annotated[
        float, typer.Option("--within", metavar="S", min=5.0, max=3600.0, help="The longest wait for a bath.")
    ] = 600.0,
    valid_days: ValidOption = VALID_DAYS,
    probe: ProbeOption = DEFAULT_PROBE,
    channel: ChannelOption = 1,
    yes: YesOption = False,
    output: RecordOption = RECORDS,
    as_json: JsonOption = False,
) -> None:
    """Calibrate thermocouples in two baths or more, against a reference.

    A point is taken as soon as the readings have stood still for --window seconds: the means of its three thirds
    within 0.08 °C, the spread below 0.15 °C. With --point for each bath the probe may be moved without a key: the next
    point is waited for until the readings have gone half the way there. RF stays off.
    """
    from rfprobe.calibration_bench import resting_values
    from rfprobe.calibration_fit import check_bath_temperatures, fit_thermocouple, left_over_C
    from rfprobe.calibration_kept import reference_digest, today_day

    name = _reference_named(reference)
    if point:
        check_bath_temperatures(point)
    else:
        _need_terminal("--point for each bath")
    if not yes:
        _need_terminal("--yes")
    profile = _profile(probe)
    places = _places_named(place or [], profile)
    with _bench(port, profile, "rfprobe calibrate tc", channel) as bench:
        client = bench.configured(resting_values(profile))
        _say(f"{_told(client)}; calibrating {', '.join(_roles(profile, places))} against {name}")
        rows = _bath_rows(bench, client, places, point or [], window, within)
        bench.let_go(client)
        changes: dict[str, int] = {}
        fitted: list[dict[str, Any]] = []
        for at, which in enumerate(places):
            points = [row[at] for row in rows]
            role = profile.roles[which]
            line, residuals = fit_thermocouple(role, points)
            changes |= {
                f"tc{which}_offset_mC": round(line.offset * 1000),
                f"tc{which}_gain_ppm": round(line.gain * 1e6),
                f"tc{which}_cal_day": today_day(),
                f"tc{which}_cal_valid_days": valid_days,
                f"tc{which}_cal_residual_mC": round(left_over_C(points, residuals) * 1000),
                f"tc{which}_cal_reference": reference_digest(name),
            }
            fitted.append({"place": f"tc{which}", "role": role, "offset_C": line.offset, "gain": line.gain,
                           "points": [vars(each) for each in points], "residuals_C": list(residuals)})  # fmt: skip
        _print_baths(fitted)
        _keep(bench, changes, _Record("tc", name, valid_days, fitted), yes, output, as_json)


@calibrate_app.command(
    "rf",
    epilog='Example: rfprobe calibrate rf --load 100.2 --reference "wattmeter no. 7, K-120" '
    "--point 1 --point 2 --point 4 --point 6 --point 10",
)
def rf(
    port: PortOption = None,
    load: Annotated[
        float | None, typer.Option("--load", metavar="OHM", help="The dummy load, as measured at the carrier.")
    ] = None,
    reference: ReferenceOption = None,
    point: Annotated[
        list[float] | None, typer.Option("--point", metavar="W", help="A power to set, five or more; repeatable.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=3.0, max=60.0, help="The longest time with RF on at a point.")
    ] = 15.0,
    wattmeter: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Prints what the wattmeter reads, in W. Asked for if not given."),
    ] = None,
    valid_days: ValidOption = VALID_DAYS,
    probe: ProbeOption = DEFAULT_PROBE,
    channel: ChannelOption = 1,
    yes: YesOption = False,
    output: RecordOption = RECORDS,
    as_json: JsonOption = False,
) -> None:
    """Calibrate RF voltage and current on a dummy load, against a wattmeter.

    Each point is a run of its own: armed in two steps, held by the lease, every limit in force, and RF ends as soon as
    the wattmeter has been read. It heats the load. Before each, the zero is read with RF off.
    """
    from rfprobe.calibration_fit import check_powers, fit_rf
    from rfprobe.calibration_kept import reference_digest, today_day
    from rfprobe_core.calibration import UNCALIBRATED_MAX_MW

    name = _reference_named(reference)
    profile = _profile(probe)
    most_W = min(UNCALIBRATED_MAX_MW / 1000, profile.profile.rf_stage.max_power_W)
    powers = point or []
    check_powers(powers, most_W)
    load_ohm = _load_told(load, powers, profile)
    if wattmeter is None:
        _need_terminal("--wattmeter")
    if not yes:
        _need_terminal("--yes")
        _say(f"RF will be on {len(powers)} times, {seconds:g} s at most, up to {max(powers):g} W into {load_ohm:g} Ω.")
        if not _asked("Is the dummy load connected in place of the probe? [y/N] "):
            raise OperatorStop("rfprobe: stopped before anything was armed")
    with _bench(port, profile, "rfprobe calibrate rf", channel) as bench:
        points: list[LoadPoint] = []
        zeros: list[tuple[float, float]] = []
        for power_W in powers:
            taken, zero = bench.load_point(power_W, load_ohm, seconds, lambda watts: _meter(watts, wattmeter))
            shown = f"shown {taken.shown_V:.2f} V, {taken.shown_A:.4f} A"
            _say(f"{power_W:g} W set: wattmeter {taken.meter_W:.3f} W, {shown}")
            points.append(taken)
            zeros.append(zero)
        zero = (sum(each[0] for each in zeros) / len(zeros), sum(each[1] for each in zeros) / len(zeros))
        sense = profile.profile.sense
        fit = fit_rf(points, zero, load_ohm, (sense.v_full_scale_V, sense.i_full_scale_A))
        changes = {
            "v_gain_ppm": round(fit.voltage.gain * 1e6),
            "v_offset_mV": round(fit.voltage.offset * 1000),
            "i_gain_ppm": round(fit.current.gain * 1e6),
            "i_offset_uA": round(fit.current.offset * 1e6),
            "rf_cal_day": today_day(),
            "rf_cal_valid_days": valid_days,
            "rf_cal_residual_ppm": round(fit.worst * 1e6),
            "rf_cal_reference": reference_digest(name),
        }
        fitted: list[dict[str, Any]] = [
            {"place": "rf", "load_ohm": load_ohm, "zero_V": zero[0], "zero_A": zero[1],
             "voltage": vars(fit.voltage), "current": vars(fit.current),
             "points": [vars(each) for each in points], "residuals": list(fit.residuals)}
        ]  # fmt: skip
        _print_loads(fitted[0])
        _keep(bench, changes, _Record("rf", name, valid_days, fitted), yes, output, as_json)


@calibrate_app.command("show", epilog="Example: rfprobe calibrate show --port @left --json")
def show(
    port: PortOption = None,
    probe: ProbeOption = DEFAULT_PROBE,
    channel: ChannelOption = 1,
    output: RecordOption = RECORDS,
    as_json: JsonOption = False,
) -> None:
    """Show the calibration that the device keeps: dates, expiry, reference, residuals, and the state of each copy.

    Exit code 8 unless it holds today for all that this probe uses.
    """
    from rfprobe.calibration_bench import resting_values
    from rfprobe.calibration_kept import kept, today_day

    profile = _profile(probe)
    with _bench(port, profile, "rfprobe calibrate show", channel) as bench:
        client = bench.configured({**resting_values(profile), "today_day": today_day()})
        found = kept(client.values, _references(output))
        told = _told(client)
    if as_json:
        print(json.dumps({"schema": 1, "device": client.hello.get("uid"), **found.meta()}, ensure_ascii=False))
    else:
        print(told)
        print_kept(found)
    if not found.valid:
        raise CheckFailed(found.sentence)


# What the options say


def _reference_named(name: str | None) -> str:
    if name is None or not name.strip() or not name.isprintable():
        raise BadInput('--reference: name what it is compared with, as in "Pt100 no. 4, certificate K-117"')
    return name.strip()


def _need_terminal(option: str) -> None:
    if not sys.stdin.isatty():
        raise BadInput(f"rfprobe calibrate: nobody is there to ask (stdin is no terminal): give {option}")


def _profile(probe: str) -> "ProbeFile":
    from rfprobe.probe_file import read_probe
    from rfprobe.resources import find

    return read_probe(find("probes", probe))


def _roles(profile: "ProbeFile", places: Sequence[int]) -> list[str]:
    return [profile.roles[place] for place in places]


def _places_named(names: Sequence[str], profile: "ProbeFile") -> list[int]:
    """Places by role or number, each once. Raises BadInput for one that this probe does not have."""
    known: dict[str, list[int]] = {}
    for place, role in enumerate(profile.roles):
        known.setdefault(role, []).append(place)
        known[f"tc{place}"] = [place]
    if not names:
        return list(range(len(profile.roles)))
    for name in names:
        if name not in known:
            raise BadInput(f"--place {name}: this probe has no such thermocouple; there are {', '.join(known)}")
    return sorted({place for name in names for place in known[name]})


def _load_told(load: float | None, powers: Sequence[float], profile: "ProbeFile") -> float:
    """The load. Raises BadInput for one that the stage cannot drive at these powers."""
    if load is None:
        raise BadInput("--load: say what the dummy load is, in Ω, as measured at the carrier")
    stage = profile.profile.rf_stage
    if not 10.0 <= load <= 2000.0:
        raise BadInput(f"--load {load:g}: must be 10 to 2000 Ω")
    volts, amps = (max(powers) * load) ** 0.5, (max(powers) / load) ** 0.5
    if volts > 0.9 * stage.max_voltage_V or amps > 0.9 * stage.max_current_A:
        raise BadInput(
            f"--load {load:g}: {max(powers):g} W would take {volts:.1f} V and {amps:.2f} A; "
            f"the stage has {stage.max_voltage_V:g} V and {stage.max_current_A:g} A"
        )
    return load


# The bench


@contextmanager
def _bench(port: str | None, profile: "ProbeFile", what: str, channel: int) -> "Generator[CalibrationBench]":
    """The device, owned by this process until the block ends."""
    import time
    from importlib import import_module

    from rfprobe.calibration_bench import CalibrationBench, PortLine
    from rfprobe.owner import Owner, take_port
    from rfprobe.port_names import resolve_port

    name = resolve_port(port)
    for module in ("numpy", "rich.progress", "rich.table"):  # now: later they take as long as the lease lasts
        import_module(module)
    with stop_signals() as stop_requested:
        opened = take_port(name)
        try:
            with Owner(name, what, {"plan": what, "over": False}) as owner, _progress() as tell:
                yield CalibrationBench(
                    PortLine(opened, owner),
                    profile,
                    lambda: owner.stop_asked.is_set() or stop_requested(),
                    tell,
                    time.time_ns() % (1 << 28) + 1,
                    channel,
                )
        finally:
            opened.close()


@contextmanager
def _progress() -> Generator[Callable[[str, float], None]]:
    """A bar on stderr with what is awaited, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _text, _share: None
        return
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) as shown:
        task = shown.add_task("", total=1.0)
        yield lambda text, share: shown.update(task, description=text, completed=share)


def _told(client: "RunClient") -> str:
    hello = client.hello
    return f"{hello.get('board')} {hello.get('uid')}: firmware {hello.get('fw')} on {hello.get('mp')}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _asked(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _bath_rows(
    bench: "CalibrationBench",
    client: "RunClient",
    places: Sequence[int],
    given_C: Sequence[float],
    window_s: float,
    within_s: float,
) -> "list[list[BathPoint]]":
    """One row of points for each bath, with a point for each place."""
    rows: list[list[BathPoint]] = []
    for number, reference_C in enumerate(given_C or _typed_baths(bench, client), start=1):
        if given_C:
            _say(f"bath {number} of {len(given_C)}: waiting for a steady reading at {reference_C:g} °C")
        row = bench.bath_point(client, places, reference_C, rows[-1] if rows else None, window_s, within_s)
        rows.append(row)
        shown = ", ".join(
            f"{role} {point.shown_C:.2f} °C" for role, point in zip(_roles(bench.probe, places), row, strict=True)
        )
        _say(f"bath {number}: reference {reference_C:g} °C, {shown} (mean of {row[0].samples})")
    if not given_C:
        from rfprobe.calibration_fit import check_bath_temperatures

        check_bath_temperatures([row[0].reference_C for row in rows])
    return rows


def _typed_baths(bench: "CalibrationBench", client: "RunClient") -> Generator[float]:
    """What the reference reads, typed bath by bath; an empty line ends it."""
    from rfprobe.calibration_bench import Reading

    while True:
        _say("Put probe and reference into the next bath. What does the reference read, in °C? (Enter ends)")
        typed: list[str] = []

        def ask(into: list[str] = typed) -> float:
            into.append(sys.stdin.readline().strip())
            return 0.0

        reading = Reading(ask)
        bench.wait_for(client, lambda reading=reading: reading.done)
        if not typed[0]:
            return
        try:
            yield float(typed[0].replace(",", "."))
        except ValueError:
            _say(f"{typed[0]!r} is no temperature")


def _meter(power_W: float, command: str | None) -> "Reading":
    from rfprobe.calibration_bench import Reading

    if command is not None:
        return Reading(lambda: _meter_of_command(command))
    _say(f"{power_W:g} W is on. What does the wattmeter read, in W?")
    return Reading(lambda: _meter_value(sys.stdin.readline(), "what was typed"))


def _meter_of_command(command: str) -> float:
    import shlex

    try:
        done = subprocess.run(
            shlex.split(command),
            capture_output=True,
            text=True,
            timeout=METER_WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise EnvironmentProblem(f"--wattmeter {command}: {reason_of(error)}") from None
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(f"--wattmeter {command}: no answer in {METER_WITHIN_S:g} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise EnvironmentProblem(f"--wattmeter {command}: ended with {done.returncode}: {last}")
    return _meter_value(done.stdout, f"what `{command}` printed")


def _meter_value(text: str, what: str) -> float:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        raise CheckFailed(f"{what} is no number of watts: {text.strip()[:40]!r}") from None
    if not 0.0 < value < 1000.0:
        raise CheckFailed(f"{what} is no power in W: {value:g}")
    return value


# What comes of it


@dataclass(frozen=True)
class _Record:
    kind: str
    reference: str
    valid_days: int
    fitted: list[dict[str, Any]]


def _keep(
    bench: "CalibrationBench",
    changes: dict[str, int],
    record: _Record,
    yes: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Write it to the device, if that is wanted, and beside it a record for people."""
    from rfprobe.calibration_bench import resting_values
    from rfprobe.calibration_kept import kept, today_day

    if not yes and not _asked("Write this to the device? [y/N] "):
        raise OperatorStop("rfprobe: nothing was written to the device")
    client = bench.configured(resting_values(bench.probe))
    values = bench.store(client, changes, today_day())
    bench.let_go(client)
    path = _written(folder, record, client, changes)
    found = kept(values, _references(folder))
    if as_json:
        print(json.dumps({"schema": 1, "device": client.hello.get("uid"), "record": str(path), **found.meta()}))
        return
    _say(f"kept by the device, both copies read back; the record is {path}")
    print_kept(found)


def _written(folder: Path, record: _Record, client: "RunClient", changes: dict[str, int]) -> Path:
    """The record, as JSON: readings, fit, reference."""
    from datetime import UTC, datetime

    from rfprobe.whole_files import written_whole
    from rfprobe_core.version import VERSION

    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}_{record.kind}_{client.hello.get('uid')}.json"
    content = {
        "schema": 1,
        "kind": record.kind,
        "at": now.isoformat(timespec="seconds"),
        "device": dict(client.hello),
        "reference": record.reference,
        "valid_days": record.valid_days,
        "fitted": record.fitted,
        "values": changes,
        "rfprobe": VERSION,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: cannot be made: {reason_of(error)}") from None
    with written_whole(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    return path


def _references(folder: Path) -> dict[int, str]:
    """Names of references by their digest, of all records in the folder; what is none of ours is left alone."""
    from rfprobe.calibration_kept import reference_digest

    names = ["simulated, exact"]
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        reference = cast("dict[str, object]", told).get("reference") if isinstance(told, dict) else None
        if isinstance(reference, str):
            names.append(reference)
    return {reference_digest(name): name for name in names}


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], to_stdout: bool = False) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(stderr=not to_stdout, highlight=False, markup=False).print(table)


def _print_baths(fitted: Sequence[dict[str, Any]]) -> None:
    for each in fitted:
        rows = [
            (
                f"{point['reference_C']:.2f} °C",
                f"{point['shown_C']:.3f} °C",
                f"{residual:+.3f} °C",
                str(point["samples"]),
            )
            for point, residual in zip(each["points"], each["residuals_C"], strict=True)
        ]
        title = f"{each['role']}: {each['offset_C']:+.3f} °C, gain {each['gain']:.5f}"
        _table(title, ("reference", "shown", "left over", "samples"), rows)


def _print_loads(fitted: dict[str, Any]) -> None:
    rows = [("0 W", "RF off", f"{fitted['zero_V']:.2f} V", f"{fitted['zero_A']:.4f} A", "")]
    rows += [
        (
            f"{point['set_W']:g} W",
            f"{point['meter_W']:.3f} W",
            f"{point['shown_V']:.2f} V",
            f"{point['shown_A']:.4f} A",
            f"{100 * residual:+.2f} %",
        )
        for point, residual in zip(fitted["points"], fitted["residuals"], strict=True)
    ]
    volts, amps = fitted["voltage"], fitted["current"]
    title = (
        f"voltage: {volts['offset']:+.3f} V, gain {volts['gain']:.4f}; "
        f"current: {1000 * amps['offset']:+.2f} mA, gain {amps['gain']:.4f}"
    )
    _table(title, ("set", "wattmeter", "shown", "", "left over"), rows)


def print_kept(found: "Kept") -> None:
    """What the device keeps, on stdout."""
    names = [f"{each.role} ({each.name})" for each in found.sensors]
    columns = ("sensor", "state", "calibrated", "expires", "left over")
    states = [(each.state, each.date, each.expires, each.residual) for each in found.sensors]
    rows = [(name, *state) for name, state in zip(names, states, strict=True)]
    _table(f"calibration {found.digest}: {found.state}", columns, rows, to_stdout=True)
    for name, each in zip(names, found.sensors, strict=True):
        print(f"{name}: {each.correction}" + (f", against {each.reference}" if each.reference else ""))
    print(f"copies: A {found.copies[0]}, B {found.copies[1]}")
    if found.copy_note:
        print(found.copy_note)
