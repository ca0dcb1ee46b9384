"""Which port is meant: a name, an alias of the bench, a USB serial number, or the only board there is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from serial.tools.list_ports import comports

from rfprobe.bench_file import Bench, port_of_alias, read_bench
from rfprobe.errors import BadInput, EnvironmentProblem

PORT_VARIABLE = "RFPROBE_PORT"
BY_SERIAL = "id:"
# USB vendors of the boards and of the bridges that they carry.
BOARD_VENDORS = {
    0x2E8A: "Raspberry Pi",
    0x303A: "Espressif",
    0x10C4: "Silicon Labs CP210x",
    0x1A86: "WCH CH34x",
    0x0403: "FTDI",
}


@dataclass(frozen=True)
class UsbPort:
    """A serial port that looks like a board's. `serial` is None where the chip has none."""

    name: str
    vendor: int
    product: int
    serial: str | None

    @property
    def told(self) -> str:
        return f"{BOARD_VENDORS[self.vendor]} {self.vendor:04x}:{self.product:04x}"


def usb_ports() -> list[UsbPort]:
    """The boards' ports, by name. On macOS the `cu.` names, which do not wait for a carrier."""
    found = [
        UsbPort(port.device, port.vid, port.pid or 0, port.serial_number or None)
        for port in comports()
        if port.vid in BOARD_VENDORS
    ]
    return sorted(found, key=lambda each: each.name)


def resolve_port(given: str | None, bench: Bench | None = None) -> str:
    """The name to open. Raises BadInput where it is not clear which port is meant."""
    if given is None:
        return _only_port()
    if given.startswith("@"):
        return resolve_port(port_of_alias(given, bench or read_bench()), bench)
    if given.startswith(BY_SERIAL):
        return _port_of_serial(given.removeprefix(BY_SERIAL))
    if not given.strip():
        raise BadInput("--port: the name is empty")
    return given


def _only_port() -> str:
    boards = usb_ports()
    if len(boards) == 1:
        return boards[0].name
    named = os.environ.get(PORT_VARIABLE)
    if named:
        return resolve_port(named)
    if not boards:
        raise BadInput(f"no board was found: name its port with --port or {PORT_VARIABLE}")
    raise BadInput(f"there are {len(boards)} boards: name one with --port: {', '.join(each.name for each in boards)}")


def _port_of_serial(serial: str) -> str:
    found = [each.name for each in usb_ports() if each.serial == serial]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"--port id:{serial}: {len(found)} boards have this serial number: {', '.join(found)}")
    raise EnvironmentProblem(f"--port id:{serial}: no board with this serial number is plugged in")
