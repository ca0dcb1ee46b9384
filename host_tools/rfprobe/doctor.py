"""What may stand in the way at this bench, each finding with its cure."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rfprobe.bench_file import Bench
from rfprobe.devices import Device, find_devices
from rfprobe.errors import ExpectedError
from rfprobe_core.version import VERSION

FREE_BYTES: Final = 500_000_000
"""A session of an hour at 100 Hz is about 100 MB."""
EXTRAS: Final = (
    ("pyarrow", "export", "export to Parquet"),
    ("mcap", "export", "export to MCAP"),
    ("mpremote", "pico", "console and deploy"),
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `cure` is empty where nothing is wrong; `grave` is what stops a run."""

    what: str
    found: str
    cure: str = ""
    grave: bool = False


def examine(bench: Bench, sessions: Path, port: str | None = None) -> list[Finding]:
    """Look at everything. Nothing is changed, and no device that is owned is spoken to."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _versions,
        lambda: _disk(sessions),
        _virtual_machine,
        _extras,
        _modem_manager,
        lambda: _ports(bench, port),
    ]
    return [finding for check in checks for finding in check()]


def _versions() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    yield Finding("versions", f"rfprobe {VERSION} on {system}")


def _disk(sessions: Path) -> Iterator[Finding]:
    folder = next(each for each in (sessions.absolute(), *sessions.absolute().parents) if each.exists())
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        yield Finding("disk", f"{folder} cannot be written", "choose another folder with -o", grave=True)
    elif free < FREE_BYTES:
        cure = "move old sessions away, or choose another disk with -o"
        yield Finding("disk", f"{free / 1e6:.0f} MB free where sessions go ({folder})", cure, grave=True)
    else:
        yield Finding("disk", f"{free / 1e9:.1f} GB free where sessions go ({folder})")


def _virtual_machine() -> Iterator[Finding]:
    from rfprobe.sim.runtimes import micropython_path

    try:
        yield Finding("virtual probe", f"runtime micropython: {micropython_path().name} is here")
    except ExpectedError as error:
        yield Finding("virtual probe", str(error), "nothing: simulate uses the cpython runtime here")


def _extras() -> Iterator[Finding]:
    for module, extra, purpose in EXTRAS:
        if find_spec(module) is None:
            yield Finding(purpose, f"{module} is not installed", f"pip install 'rfprobe[{extra}]'")
        else:
            yield Finding(purpose, f"{module} is here")


def _modem_manager() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    if any(_name_of(process) == "ModemManager" for process in Path("/proc").glob("[0-9]*")):
        yield Finding(
            "ModemManager",
            "runs, and talks to every new serial port for some seconds",
            'add ENV{ID_MM_DEVICE_IGNORE}="1" for the board in a udev rule, or stop the service',
        )
    else:
        yield Finding("ModemManager", "does not run")


def _name_of(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""  # it has ended


def _ports(bench: Bench, port: str | None) -> Iterator[Finding]:
    devices = find_devices(bench, port)
    if not devices:
        yield Finding("boards", "none was found", "plug one in with a cable that carries data; or simulate --serve")
    for device in devices:
        yield _port(device)
        yield from _calibration(device)


_CURES: Final = (
    ("no permission", "add yourself to the group it names (sudo usermod -aG dialout $USER), and log in again"),
    ("is in use by", "end that program, or wait until it lets go"),
    ("there is no port", "plug it in, or mend the name in bench.toml or RFPROBE_PORT"),
    ("is not a serial port", "name a serial port"),
    ("nobody listens", "start what serves it: rfprobe simulate PLAN --serve"),
)


def _calibration(device: Device) -> Iterator[Finding]:
    """What its HELLO says; whether it holds today is known once it is told the date: `calibrate show`."""
    state = device.hello.get("cal", "").partition(" ")[2]
    if state in ("none", "expired", "corrupt"):
        yield Finding(f"calibration of {device.port}", state, "rfprobe calibrate tc and rf; till then half the power")


def _port(device: Device) -> Finding:
    what = f"port {device.port}"
    if device.runs == "unreachable":
        cure = next((cure for told, cure in _CURES if told in device.text), "look at the cable and at the board")
        return Finding(what, device.text, cure, grave=True)
    if device.runs == "micropython":
        return Finding(what, device.text, "deploy the firmware on it")
    if device.runs == "nothing":
        return Finding(what, device.text, "reset the board; if it stays silent, hold BOOT and flash it", grave=True)
    if "ANOTHER PROTOCOL" in device.text:
        return Finding(
            what, device.text, "deploy this version's firmware, or use that version's host tools", grave=True
        )
    return Finding(what, device.text)
