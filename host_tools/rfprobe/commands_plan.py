"""`rfprobe plan`: check, begin and look at treatment plans."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfprobe.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from rfprobe.plan_file import PlanFile

plan_app = typer.Typer(
    help="Check, begin and look at treatment plans.",
    epilog="Example: rfprobe plan new my.toml && rfprobe plan check my.toml",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="A file, or the name of a shipped plan.")]
_BLOCKS = " ▁▂▃▄▅▆▇█"


@plan_app.command("check", epilog="Example: rfprobe plan check plans/*.toml --probe bone-10mm")
def check(
    plans: Annotated[list[str], typer.Argument(metavar="PLAN...", help="Files, or names of shipped plans.")],
    probe: Annotated[
        str | None, typer.Option(metavar="FILE", help="A hardware profile that they have to go with.")
    ] = None,
) -> None:
    """Check plans.

    Each problem is one line with file, line, key and reason, and makes the exit code 2.
    """
    from rfprobe.plan_file import read_plan
    from rfprobe.probe_file import device_values, read_probe
    from rfprobe.resources import find

    profile = None if probe is None else read_probe(find("probes", probe))
    bad = 0
    for name in plans:
        try:
            plan = read_plan(find("plans", name))
            if profile is not None:
                device_values(plan, profile)
        except BadInput as error:
            print(error, file=sys.stderr)
            bad += 1
            continue
        print(f"{plan.path}: good: {plan.name}")
        for remark in plan.remarks():
            print(f"{plan.path}: note: {remark}")
    if bad:
        raise typer.Exit(ExitCode.BAD_INPUT)


@plan_app.command("new", epilog='Example: rfprobe plan new sample-7.toml --name "sample 7, 65 °C"')
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    name: Annotated[str | None, typer.Option(help="What to call it; the file's name if not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a plan to start from.

    It has every key, with its range and what it means.
    """
    from rfprobe.plan_file import one_line, write_template

    title = path.stem if name is None else name
    if not title.strip() or not title.isprintable() or len(title) > 80:
        raise BadInput("--name: must be one line of 1 to 80 printable characters")
    write_template(path, one_line(title), overwrite=force)
    print(f"{path}: written; look at every number in it, then `rfprobe plan check {path}`")


@plan_app.command("show", epilog="Example: rfprobe plan show vertebra-70C")
def show(plan: PlanArgument) -> None:
    """Show a plan: its values and its set-point over time.

    The values are given as the device will be told them.
    """
    from rich.console import Console

    from rfprobe.plan_file import read_plan
    from rfprobe.resources import find

    file = read_plan(find("plans", plan))
    console = Console(highlight=False)
    console.print(_table(file))
    console.print(profile_plot(file), markup=False)
    for remark in file.remarks():
        console.print(f"note: {remark}", markup=False)


def understood_table(file: "PlanFile", understood: dict[str, int]) -> object:
    """The plan as a device understood it, beside what the file says."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{file.name}, as the device understood it"), title_justify="left", box=None)
    table.add_column("key")
    table.add_column("value", justify="right")
    for key, shown in understood_rows(file, understood):
        table.add_row(key, shown)
    return table


def understood_rows(file: "PlanFile", understood: dict[str, int]) -> list[tuple[str, str]]:
    """(key of the file, value as the device told it back) of everything in a plan."""
    from rfprobe.plan_file import PLAN_KEYS
    from rfprobe.toml_source import told_key

    def told(parameter: str) -> str:
        stored = understood.get(parameter)
        return "not told" if stored is None else _shown(parameter, stored)

    return [(told_key(PLAN_KEYS[parameter]), told(parameter)) for parameter in file.values()]


def _shown(parameter: str, value: int) -> str:
    from rfprobe.plan_file import PLAN_QUANTITIES

    quantity = PLAN_QUANTITIES.get(parameter)
    return _plain_value(parameter, value) if quantity is None else quantity.shown(value)


def _table(file: "PlanFile") -> object:
    from rich.table import Table
    from rich.text import Text

    from rfprobe.plan_file import PLAN_KEYS, PLAN_QUANTITIES
    from rfprobe.toml_source import told_key
    from rfprobe_core import plan as device

    table = Table(title=Text(f"{file.name} ({file.path}, digest {file.digest})"), title_justify="left")
    for heading in ("key", "value", "allowed", "on the device"):
        table.add_column(heading, justify="right" if heading in ("value", "on the device") else "left")
    for parameter, value in file.values().items():
        quantity = PLAN_QUANTITIES.get(parameter)
        allowed = "" if quantity is None else quantity.limits_told()
        shown = _shown(parameter, value)
        key = told_key(PLAN_KEYS[parameter])
        table.add_row(key, shown, allowed, f"{device.NAMES[device.INDEX[parameter]]} = {value}")
    return table


def _plain_value(parameter: str, value: int) -> str:
    from rfprobe_core import plan as device

    words = {
        "mode": lambda: device.MODE_NAMES[value],
        "channels": lambda: " and ".join(str(n + 1) for n, bit in enumerate(device.CHANNEL_BITS) if value & bit),
        "end_by": lambda: device.END_NAMES[value],
        "guard_needed": lambda: "true" if value else "false",
        "guard_governor": lambda: "true" if value else "false",
        "telemetry_ticks": lambda: f"{100 / value:g} Hz",
    }
    return str(words.get(parameter, lambda: value)())


def profile_plot(file: "PlanFile", width: int = 64, height: int = 10) -> str:
    """The set-point over time from 20 °C, in block characters, `width` by `height` of them."""
    from rfprobe.plan_file import RAMP_FROM_C

    target = file.plan.target
    total_s = file.ramp_s() + target.hold_s + target.cooldown_s
    span_C = max(target.temperature_C - RAMP_FROM_C, 1.0)
    eighths: list[int] = []
    for column in range(width):
        setpoint_C = file.setpoint_C((column + 0.5) * total_s / width, RAMP_FROM_C)
        level = 0.0 if setpoint_C is None else (setpoint_C - RAMP_FROM_C) / span_C
        eighths.append(round(level * height * 8))
    lines: list[str] = []
    for row in range(height, 0, -1):
        label = {height: f"{target.temperature_C:6.1f} °C", 1: f"{RAMP_FROM_C:6.1f} °C"}.get(row, " " * 9)
        cells = "".join(_BLOCKS[min(max(level - 8 * (row - 1), 0), 8)] for level in eighths)
        lines.append(f"{label} │{cells}".rstrip())
    lines.append(f"{' ' * 9} └{'─' * width}")
    lines.append(f"{' ' * 10} 0 s{f'{total_s:.0f} s':>{width - 3}}")
    ramp = f"ramp {file.ramp_s():.0f} s from {RAMP_FROM_C:g} °C"
    lines.append(f"{' ' * 10} {ramp}, hold {target.hold_s:g} s, cool-down {target.cooldown_s:g} s")
    return "\n".join(lines)
