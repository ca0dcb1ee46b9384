"""The monitor's screen. A thread takes what comes; ten times a second the screen is told what is new.

The plot is decimated to its own columns before it is drawn, so an hour takes no longer than a minute.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.screen import ModalScreen, Screen
from textual.widgets import Digits, Footer, Input, Label, RichLog, Static
from textual_plotext import PlotextPlot

from rfprobe.errors import ExpectedError
from rfprobe.sources import Chunk, Source, past_of
from rfprobe.summary_words import number
from rfprobe.watched import Watched, WatchedChannel, decimated
from rfprobe.wire import Frame
from rfprobe.words import NOT_A_MEDICAL_DEVICE, STATES

REDRAW_EVERY_S: Final = 0.1
WINDOWS_s: Final = (30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
FIRST_WINDOW: Final = 2
STALE_S: Final = 0.5
COLORS: Final = {"setpoint_C": "gray", "control_C": "red", "boundary_C": "orange", "guard_C": "cyan"}
_OTHER_COLORS = ("green", "blue", "magenta", "white")
_LIMIT_COLOR = "yellow"
_PICTURES = ("temperature", "power", "impedance")
_HOT_STATES = ("RAMP", "HOLD", "REST")


class NoteInput(Input):
    """A line of text without capital S, which stops RF wherever it is pressed."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return character != "S" and super().check_consume_key(key, character)


class NoteScreen(ModalScreen[str]):
    """One line of the operator's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "app.stop_rf", "STOP RF", priority=True),  # a modal screen hides the app's own keys
        Binding("escape", "dismiss('')", "cancel"),
    ]

    def compose(self) -> ComposeResult:
        yield NoteInput(
            placeholder="A note for the session; Enter keeps it. A capital S stops RF even here.", id="note"
        )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Monitor(App[None]):
    """`run_to_the_end` shows it until it is quit; what the source raises is raised again then."""

    TITLE = "rfprobe monitor"
    CSS = """
    #state { height: 1; text-style: bold; padding: 0 1; }
    #state.hot { background: $error; }
    #state.bad { background: $warning; color: $text; }
    #temperatures { height: 4; }
    #temperatures Vertical { width: 1fr; }
    #temperatures Label { padding: 0 1; }
    Digits { padding: 0 1; width: 1fr; }
    #figures { height: 2; padding: 0 1; }
    #plot { height: 1fr; min-height: 6; }
    #remarks { height: 4; border-top: solid $primary; padding: 0 1; }
    .two #temperatures, .two #temperatures-2 { height: 3; }
    .two #temperatures Vertical, .two #temperatures-2 Vertical { layout: horizontal; }
    .two #temperatures Label, .two #temperatures-2 Label { width: 9; padding: 1 0 0 1; }
    .two #figures, .two #figures-2 { height: 1; }
    .two #remarks { height: 3; }
    #state-2 { height: 1; text-style: bold; padding: 0 1; }
    #state-2.hot { background: $error; }
    #state-2.bad { background: $warning; color: $text; }
    #temperatures-2 Vertical { width: 1fr; }
    #figures-2 { padding: 0 1; }
    NoteScreen { align: center middle; }
    #note { width: 90%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "stop_rf", "STOP RF", priority=True),
        Binding("m", "note", "note"),
        Binding("p", "pause", "pause"),
        Binding("t", "picture", "plot"),
        Binding("c", "channel", "channel"),
        Binding("plus,equals_sign", "zoom(-1)", "zoom in", show=False),
        Binding("minus", "zoom(1)", "zoom out", show=False),
        Binding("left", "scroll(-1)", "back", show=False),
        Binding("right", "scroll(1)", "on", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.watched = Watched(source.parameters, second_parameters=source.second)
        self.paused_at_s: float | None = None
        self.told = ""
        self._source = source
        self._came: deque[Chunk] = deque()
        self._heard_s: float | None = None
        """When something last came, by the monotonic clock: what is replayed has a time of its own."""
        self._failure: ExpectedError | None = None
        self._ended = False
        self._closing = False
        self._window = FIRST_WINDOW
        self._picture = 0
        self._shown = 0
        """The channel that is plotted."""
        self._remarks_shown = 0

    def run_to_the_end(self) -> None:
        """Show it until it is quit. Raises what ended the source, if it did not end well."""
        self.run()
        if self._failure is not None:
            raise self._failure

    def compose(self) -> ComposeResult:
        yield Static("waiting for the device", id="state")
        with Horizontal(id="temperatures"):
            for name in self.watched.places:
                with Vertical():
                    yield Label(f"{name} °C")
                    yield Digits("—", id=_digits(self.watched, name))
        yield Static(NOT_A_MEDICAL_DEVICE, id="figures")
        yield PlotextPlot(id="plot")
        yield RichLog(id="remarks", max_lines=500, wrap=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._show_past()
        gc.collect()
        gc.freeze()  # what is imported stays: a full collection that looks through it takes as long as four frames
        self.set_interval(REDRAW_EVERY_S, self.redraw)
        self.run_worker(self._listen, thread=True, name="source")

    def on_unmount(self) -> None:
        self._closing = True

    def _show_past(self) -> None:
        """What the owner has recorded so far."""
        try:
            for chunk in past_of(self._source):
                self.watched.feed(*chunk)
        except ExpectedError as error:
            self.told = f"the past cannot be shown: {error}"
        self.watched.begin_live()

    def _listen(self) -> None:
        try:
            for chunk in self._source.chunks():
                if chunk is not None:
                    self._came.append(chunk)
                    self._heard_s = time.monotonic()
                if self._closing:
                    return
        except ExpectedError as error:
            self._failure = error
        self._ended = True

    # What is shown

    @property
    def _main(self) -> Screen[object]:
        """The screen below whatever lies on it."""
        return self.screen_stack[0]

    def redraw(self) -> None:
        """Take in what came and show it."""
        while self._came:
            self.watched.feed(*self._came.popleft())
        if self.watched.second is not None and not self._main.has_class("two"):
            self._make_room(self.watched.second)
        try:
            for channel in self.watched.channels:
                self._show_state(channel)
                self._show_figures(channel)
            self._show_remarks()
            if self.paused_at_s is None:
                self._show_plot()
        except NoMatches:
            return  # the screen is being taken down

    def _make_room(self, second: WatchedChannel) -> None:
        """For the second channel, below the first."""
        main = self._main
        main.add_class("two")
        cells = [Vertical(Label(f"{name} °C"), Digits("—", id=_digits(second, name))) for name in second.places]
        main.mount(
            Static(id="state-2"), Horizontal(*cells, id="temperatures-2"), Static(id="figures-2"), after="#figures"
        )
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The key for the other channel is there where there is one."""
        return action != "channel" or self.watched.second is not None

    def _show_state(self, channel: WatchedChannel) -> None:
        watched = self.watched
        bar = self._main.query_one(f"#state{_of(channel)}", Static)
        state = STATES.get(channel.state, channel.state)
        age_s = None if self._heard_s is None else time.monotonic() - self._heard_s
        silent = age_s is not None and age_s > STALE_S
        link = "ended" if self._ended else f"silent for {age_s:.0f} s" if silent else "live"
        pause = "" if self.paused_at_s is None else " · PLOT PAUSED"
        told = f"{watched.now_s:.1f} s · {link}{pause} · {self.told or self._source.title}"
        if channel.number:
            dropped = "?" if watched.dropped is None else watched.dropped
            told = f"lost {watched.decoder.lost}  dropped {dropped}"
        number = "" if watched.second is None else f"{channel.number + 1}  "
        bar.update(Text(f"{number}{state.upper()} · {told}"))
        bar.set_class(channel.state in _HOT_STATES, "hot")
        bar.set_class(silent or channel.state == "FAULT", "bad")

    def _show_figures(self, channel: WatchedChannel) -> None:
        for name in channel.places:
            value = channel.latest(f"{name}_C")
            digits = self._main.query_one(f"#{_digits(channel, name)}", Digits)
            digits.update("--.-" if math.isnan(value) else f"{value:.1f}")
        last = channel.last
        if last is None:
            return
        told = self._figures_of_one(last) if self.watched.second is None else _figures_of_two(channel, last)
        figures = self._main.query_one(f"#figures{_of(channel)}", Static)
        figures.update(Text(told, no_wrap=True, overflow="ellipsis"))

    def _figures_of_one(self, last: Frame) -> str:
        watched = self.watched
        dropped = "?" if watched.dropped is None else watched.dropped
        oldest = max(last.value(f"tc{place}_age") for place in watched.places.values())
        told_oldest = f"{'over ' if oldest == 255 else ''}{oldest / 100:.2f} s"
        return (
            f"set {_told(watched, 'setpoint_C', 1, '°C')}  {_told(watched, 'power_W', 1, 'W')}  "
            f"{_told(watched, 'impedance_ohm', 0, 'Ω')}  {last.value('energy_mJ') / 1000:.0f} J  "
            f"lost {watched.decoder.lost}  dropped {dropped}\n"
            f"CEM43 min {_doses(watched) or '—'}   oldest reading {told_oldest}"
        )

    def _show_remarks(self) -> None:
        watched = self.watched
        new = min(watched.remarks_made - self._remarks_shown, len(watched.remarks))
        self._remarks_shown = watched.remarks_made
        log = self._main.query_one("#remarks", RichLog)
        for t_s, text in list(watched.remarks)[len(watched.remarks) - new :]:
            log.write(Text(f"{t_s:8.1f} s  {text}"))

    def _show_plot(self) -> None:
        plot = self._main.query_one("#plot", PlotextPlot)
        picture = _PICTURES[self._picture]
        channel = self.watched.channel(self._shown)
        to_s = max(self.watched.now_s if self.paused_at_s is None else self.paused_at_s, 1.0)
        from_s = max(0.0, to_s - WINDOWS_s[self._window])
        columns = max(plot.size.width - 8, 20)
        plt = plot.plt
        plt.clear_figure()
        limits = channel.limits_C() if picture == "temperature" else {}
        told = "".join(f", {name} {limit:g} °C" for name, limit in limits.items())
        of = "" if self.watched.second is None else f"channel {self._shown + 1}: "
        plt.title(f"{of}{picture}, last {WINDOWS_s[self._window]:g} s{told}")
        plt.xlim(from_s, to_s)
        for limit in limits.values():
            plt.hline(limit, _LIMIT_COLOR)
        for name, (times, values) in self.points(picture, from_s, to_s, columns).items():
            plt.plot(times, values, label=name, color=_color(name), marker="braille")
        plot.refresh()

    def points(
        self, picture: str, from_s: float, to_s: float, columns: int
    ) -> dict[str, tuple[list[float], list[float]]]:
        """What is plotted, of one channel: at most two points a column of each series."""
        watched = self.watched.channel(self._shown)
        shown = {
            "temperature": [name for name in watched.names if name.endswith("_C")],
            "power": ["power_W"],
            "impedance": ["impedance_ohm"],
        }[picture]
        t_s = np.frombuffer(watched.t_s)
        found: dict[str, tuple[list[float], list[float]]] = {}
        for name in shown:
            times, values = decimated(t_s, np.frombuffer(watched.series[name]), from_s, to_s, columns)
            if times:
                found[name] = (times, values)
        return found

    # What the operator does

    def action_stop_rf(self) -> None:
        self._do(self._source.stop)

    def action_note(self) -> None:
        def keep(text: str | None) -> None:
            if text and text.strip():
                self._do(lambda: self._source.note(text.strip()))

        self.push_screen(NoteScreen(), keep)

    def action_pause(self) -> None:
        self.paused_at_s = self.watched.now_s if self.paused_at_s is None else None
        self._show_plot()

    def action_picture(self) -> None:
        self._picture = (self._picture + 1) % len(_PICTURES)
        self._show_plot()

    def action_channel(self) -> None:
        self._shown = (self._shown + 1) % len(self.watched.channels)
        self._show_plot()

    def action_zoom(self, step: int) -> None:
        self._window = min(max(self._window + step, 0), len(WINDOWS_s) - 1)
        self._show_plot()

    def action_scroll(self, step: int) -> None:
        """Scrolling pauses: what is looked at must not run away."""
        at_s = self.watched.now_s if self.paused_at_s is None else self.paused_at_s
        self.paused_at_s = min(max(at_s + step * WINDOWS_s[self._window] / 4, 1.0), self.watched.now_s)
        self._show_plot()

    def _do(self, act: Callable[[], str]) -> None:
        try:
            self.told = act()
        except ExpectedError as error:
            self.told = str(error)


def _of(channel: WatchedChannel) -> str:
    """What ends the names of a channel's widgets."""
    return f"-{channel.number + 1}" if channel.number else ""


def _digits(channel: WatchedChannel, name: str) -> str:
    return f"digits{_of(channel)}-{name}"


def _doses(channel: WatchedChannel) -> str:
    return "  ".join(f"{name} {minutes:.{0 if minutes >= 100 else 2}f}" for name, minutes in channel.dose_min.items())


def _figures_of_two(channel: WatchedChannel, last: Frame) -> str:
    """One line: there are two of them."""
    return (
        f"set {_told(channel, 'setpoint_C', 1, '°C')}  {_told(channel, 'power_W', 1, 'W')}  "
        f"{_told(channel, 'impedance_ohm', 0, 'Ω')}  {last.value('energy_mJ') / 1000:.0f} J  "
        f"CEM43 {' '.join(f'{minutes:.3g}' for minutes in channel.dose_min.values()) or '—'} min"
    )


def _told(watched: WatchedChannel, name: str, digits: int, unit: str) -> str:
    value = watched.latest(name)
    return number(None if math.isnan(value) else value, digits, unit)


def _color(name: str) -> str:
    return COLORS.get(name, _OTHER_COLORS[len(name) % len(_OTHER_COLORS)])
