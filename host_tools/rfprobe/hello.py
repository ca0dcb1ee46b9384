"""Waiting until a board that was flashed or reset says what it runs."""

import time
from collections.abc import Callable

from serial.tools.list_ports import comports

from rfprobe.errors import EnvironmentProblem, ExpectedError
from rfprobe.ports import open_port
from rfprobe.wire import HELLO_LINE, Frame, FrameDecoder
from rfprobe_core import protocol

ASK_EVERY_S = 0.5


def ports_of(usb: tuple[int, int]) -> list[str]:
    """Ports of the boards that show this vendor and product id."""
    return sorted(port.device for port in comports() if (port.vid, port.pid) == usb)


def wait_for_hello(find: Callable[[], list[str]], within_s: float) -> tuple[str, dict[str, str]]:
    """(port, HELLO) of the first port that `find` gives and that answers. Raises EnvironmentProblem with the reason."""
    until_s = time.monotonic() + within_s
    why = "no port of it has come"
    while time.monotonic() < until_s:
        for port in find():
            try:
                hello = _ask(port, until_s)
            except ExpectedError as error:  # it is still coming up: the last reason counts
                why = str(error)
                continue
            if hello is not None:
                return port, hello
            why = f"{port} does not answer HELLO: it runs something else"
        time.sleep(0.1)
    raise EnvironmentProblem(f"the board did not say HELLO within {within_s:g} s: {why}")


def _ask(name: str, until_s: float) -> dict[str, str] | None:
    decoder = FrameDecoder()
    with open_port(name) as port:
        asked_s = 0.0
        while (now_s := time.monotonic()) < until_s:
            if now_s - asked_s > ASK_EVERY_S:
                port.write(HELLO_LINE)
                asked_s = now_s
            for item in decoder.feed(port.read()):
                if isinstance(item, Frame) and item.type == protocol.HELLO:
                    return item.hello
            time.sleep(0.01)
    return None


def told(hello: dict[str, str]) -> str:
    """What the device runs, in one line."""
    parts = (("fw", "rfprobe {}"), ("mp", "on {}"), ("board", "board {}"), ("uid", "id {}"))
    return ", ".join(form.format(hello[key]) for key, form in parts if key in hello)
