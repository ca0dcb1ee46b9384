"""A run as it goes on, on stderr: a table in its place on a terminal, a line for each state elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rfprobe.progress import Progress
from rfprobe.words import STATES

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

REDRAW_EVERY_S = 0.1


class LiveProgress:
    """Hand it to a run as its `progress`; use it as a context manager. Draws at most ten times a second."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._on_terminal = sys.stderr.isatty()
        self._live: Live | None = None
        self._drawn_s = 0.0
        self._told_state = ""

    def __enter__(self) -> Self:
        if self._on_terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def __call__(self, now: Progress) -> None:
        if self._live is None:
            self._tell_state(now)
            return
        clock_s = time.monotonic()
        if clock_s - self._drawn_s >= REDRAW_EVERY_S or now.state != self._told_state:
            self._drawn_s = clock_s
            self._told_state = now.state
            self._live.update(drawn(self._title, now), refresh=True)

    def _tell_state(self, now: Progress) -> None:
        if now.state == self._told_state:
            return
        self._told_state = now.state
        state = STATES.get(now.state, now.state)
        print(f"{now.t_s:8.1f} s  {state:32} control {_told(now.control_C, 1, '°C')}", file=sys.stderr)


def drawn(title: str, now: Progress) -> "Table":
    """One moment as a Rich table."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(min_width=32)
    remaining = "" if not now.remaining_s else f", {now.remaining_s:.0f} s left"
    rows = (
        ("state", f"{STATES.get(now.state, now.state)}{remaining}"),
        ("set-point", _told(now.setpoint_C, 1, "°C")),
        ("control", _told(now.control_C, 1, "°C")),
        ("boundary", _told(now.boundary_C, 1, "°C")),
        ("guard", _told(now.guard_C, 1, "°C")),
        ("power", _told(now.power_W, 1, "W")),
        ("impedance", _told(now.impedance_ohm, 0, "Ω")),
    )
    for label, value in rows:
        table.add_row(label, Text(value))
    if now.expected_s:
        table.add_row(
            f"{now.t_s:.0f} s",
            ProgressBar(now.expected_s, min(now.t_s, now.expected_s), complete_style="cyan"),
        )
    return table


def _told(value: float | None, digits: int, unit: str) -> str:
    return "—" if value is None else f"{value:.{digits}f} {unit}"
