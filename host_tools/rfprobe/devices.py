"""What is at each port: our firmware, a stock MicroPython, a bootloader's volume, a process that owns it, nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from rfprobe.bench_file import Bench
from rfprobe.errors import ExpectedError
from rfprobe.owner import find_owner, owners
from rfprobe.port_names import PORT_VARIABLE, resolve_port, usb_ports
from rfprobe.ports import Port, open_port
from rfprobe.wire import HELLO_LINE, Frame, FrameDecoder
from rfprobe_core import protocol

ANSWER_WITHIN_S: Final = 1.5
ASK_EVERY_S: Final = 0.4
PROMPT: Final = ">>>"
UF2_INFO: Final = "INFO_UF2.TXT"


@dataclass
class Device:
    """One port or volume. `runs` is firmware, micropython, bootloader, owned, unreachable or nothing."""

    port: str
    runs: str
    text: str
    usb: str = ""
    serial: str | None = None
    aliases: list[str] = field(default_factory=list[str])
    hello: dict[str, str] = field(default_factory=dict[str, str])

    def as_json(self) -> dict[str, object]:
        """The same as plain data."""
        return asdict(self)


def find_devices(bench: Bench, given: str | None = None) -> list[Device]:
    """Every board's port, what the bench and RFPROBE_PORT name, what is owned, and bootloaders' volumes."""
    usb = {each.name: each for each in usb_ports()}
    aliases = _aliases(bench)
    named = [os.environ.get(PORT_VARIABLE) or "", *aliases, *(record.port for record in owners())]
    names = [given] if given else sorted({*usb, *(name for name in named if name)})
    found: list[Device] = []
    for name in names:
        device = look_at(name)
        device.aliases = aliases.get(name, [])
        if name in usb:
            device.usb, device.serial = usb[name].told, usb[name].serial
        found.append(device)
    return found if given else [*found, *bootloaders()]


def _aliases(bench: Bench) -> dict[str, list[str]]:
    """Port → its names in the bench; one that is not plugged in stands by what it is looked for by."""
    found: dict[str, list[str]] = {}
    for alias, wanted in bench.ports.items():
        try:
            name = resolve_port(wanted, bench)
        except ExpectedError:
            name = wanted
        found.setdefault(name, []).append(f"@{alias}")
    return found


def look_at(name: str) -> Device:
    """Ask what is at a port that nobody owns; a run that is under way is left alone."""
    owner = find_owner(name)
    if owner is not None:
        return Device(name, "owned", f"owned by {owner.told()}")
    try:
        with open_port(name) as port:
            return _asked(name, port)
    except ExpectedError as error:
        return Device(name, "unreachable", str(error).removeprefix(f"{name} "))


def _asked(name: str, port: Port) -> Device:
    decoder = FrameDecoder()
    heard = ""
    began = time.monotonic()
    asked = -ASK_EVERY_S
    state = ""
    while time.monotonic() < began + ANSWER_WITHIN_S:
        if time.monotonic() - began >= asked + ASK_EVERY_S:
            asked = time.monotonic() - began
            port.write(HELLO_LINE)
        for item in decoder.feed(port.read()):
            if isinstance(item, str):
                heard += item
            elif item.type == protocol.HELLO:
                return Device(name, "firmware", _firmware_told(item), hello=dict(item.hello))
            else:
                state = protocol.STATE_NAMES[item.state]
        time.sleep(0.005)
    heard += "".join(item for item in decoder.flush() if isinstance(item, str))
    if state:
        return Device(name, "firmware", f"rfprobe firmware in {state}: says HELLO when its run is over")
    if PROMPT in heard or "MicroPython" in heard:
        return Device(name, "micropython", "stock MicroPython at its prompt")
    return Device(name, "nothing", "nothing answers")


def _firmware_told(hello: Frame) -> str:
    said = hello.hello
    fits = "" if said.get("proto") == protocol.protocol_digest() else ", ANOTHER PROTOCOL than these host tools"
    return (
        f"rfprobe {said.get('fw')} on {said.get('mp')}, board {said.get('board')}, unique id {said.get('uid')}, "
        f"{protocol.STATE_NAMES[hello.state]}{fits}"
    )


def bootloaders() -> list[Device]:
    """The volumes of boards that wait for an image."""
    found: list[Device] = []
    for folder in mounted_volumes():
        info = folder / UF2_INFO
        try:
            lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        board = next((line.partition(":")[2].strip() for line in lines if line.startswith("Board-ID:")), "?")
        found.append(Device(str(folder), "bootloader", f"UF2 bootloader, {board}: waits for an image"))
    return found


def mounted_volumes() -> Iterator[Path]:
    """Where removable volumes are mounted on this system."""
    if sys.platform == "linux":
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, folder, kind = line.split()[:3]
            if kind in ("vfat", "msdos"):
                yield Path(folder.replace("\\040", " "))
    elif sys.platform == "darwin":
        yield from Path("/Volumes").iterdir()
    else:
        yield from (Path(f"{letter}:\\") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ" if Path(f"{letter}:\\").exists())
