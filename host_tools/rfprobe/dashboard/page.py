"""What the browser shows, by NiceGUI. A few times a second every viewer is told what has changed, and nothing else.

Stop goes by a plain request of its own (`stop.html`), past all of this. Only a page that was opened with the
operator's token has what starts a run.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from nicegui import app as nicegui_app
from nicegui import core, ui
from nicegui.client import Client

from rfprobe.dashboard.door import Door
from rfprobe.dashboard.launch import Launch
from rfprobe.dashboard.link import SPANS, Link
from rfprobe.dashboard.moment import FIGURES, OF_THE_DEVICE, Moment, Place, moment
from rfprobe.dashboard.plot import Plot
from rfprobe.words import NOT_A_MEDICAL_DEVICE

REFRESH_EVERY_s: Final = 0.33
SPAN_s: Final = {"all": 0, "10 min": 600, "2 min": 120}
LOG_LINES: Final = 200
TURN_s: Final = 0.001
"""How long a thread that takes in an hour of record may keep the one that hears Stop waiting; Python's own is 5 ms."""
_HERE = Path(__file__).parent
_ROLES = ("control", "boundary", "guard")


@dataclass(frozen=True)
class Offer:
    """What the operator may start: plans by name, and the arguments of `rfprobe run` after the plan."""

    plans: Mapping[str, str]
    arguments: Sequence[str]


class Dashboard:
    """The link, the viewers and the run that was started here."""

    def __init__(self, link: Link, token: str, offer: Offer) -> None:
        self.link = link
        self.offer = offer
        self.launch: Launch | None = None
        self._starting = threading.Lock()
        self._token = token
        self._viewers: dict[str, Viewer] = {}

    def is_operator(self, token: str) -> bool:
        """Whether this is the token that was printed at the start."""
        return secrets.compare_digest(token.strip().encode(), self._token.encode())

    def show(self, client: Client, operator: bool) -> None:
        """Build the page of one viewer."""
        viewer = Viewer(self, operator)
        self._viewers[client.id] = viewer
        client.on_delete(lambda: self._viewers.pop(client.id, None))

    async def refresh(self) -> None:
        """Tell every viewer what is new. Between two of them a Stop that has come is passed on."""
        link = self.link
        self._tend_launch()
        with link.lock:
            watched, told = link.watched, link.told or link.silence or link.title
            now = [moment(watched, link.age_s, told, link.live, channel) for channel in watched.channels]
            remarks, made = list(link.watched.remarks), link.watched.remarks_made
            for viewer in self._viewers.values():
                if viewer.connected:
                    viewer.take_plot()
        for viewer in list(self._viewers.values()):
            if viewer.connected:
                viewer.refresh(now, remarks, made)
                await asyncio.sleep(0)

    def stop(self) -> None:
        """RF off: through whoever owns the port, and, should that be no one yet, by hanging up on our own run."""
        self.link.stop()
        if self.launch is not None and not self.launch.over:
            self.launch.stop()

    def start(self, plan: str, acknowledge: bool) -> str:
        """Begin a run, which asks before it arms; says why not, if not. Takes a while: not for the event loop."""
        if plan not in self.offer.plans:
            return "no such plan is offered here"
        if not self._starting.acquire(blocking=False):
            return "a run is being started"
        try:
            if self.launch is not None and not self.launch.over:
                return "a run is under way"
            self.launch = None  # what is over takes the port back no more
            if not self.link.lend():
                self.link.take_back()
                return "the port belongs to another process"
            cleared = ("--acknowledge",) if acknowledge else ()
            self.launch = Launch((self.offer.plans[plan], *self.offer.arguments, *cleared))
            return ""
        finally:
            self._starting.release()

    def close(self) -> None:
        """A run that was started here ends with this."""
        if self.launch is not None and not self.launch.over:
            self.launch.stop()
            self.launch.wait(5.0)

    def _tend_launch(self) -> None:
        launch = self.launch
        if launch is None:
            return
        launch.look()
        if launch.over and self._starting.acquire(blocking=False):  # else the next run wants the port
            try:
                self.link.take_back()
            finally:
                self._starting.release()


class Viewer:
    """One page in one browser."""

    def __init__(self, dashboard: Dashboard, operator: bool) -> None:
        self._dashboard = dashboard
        self._client = ui.context.client
        self._operator = operator
        self._span = "all"
        self._shown = 0
        """The channel that is plotted."""
        self._news: dict[str, Any] = {}
        self._places: tuple[tuple[str, ...], ...] = ()
        self._tiles: list[dict[str, dict[str, ui.element]]] = []
        self._figures: list[dict[str, ui.label]] = []
        self._names_of_first: dict[str, ui.label] = {}
        self._heads: list[Head] = []
        self._of_second: list[ui.element] = []
        self._remarks_shown = 0
        self._source_count = 0
        self._launch_told = ""
        self._asked: object = None
        ui.add_css(_HERE / "page.css")
        ui.add_body_html((_HERE / "stop.html").read_text(encoding="utf-8"))
        self._build_dialogs()
        with ui.element("main").classes("board") as self._board:
            self._build_head()
            self._tiles_box = ui.element("section").classes("tiles")
            self._build_figures(FIGURES)
            self._build_plot()
            with ui.element("section").classes("log card"):
                self._log = ui.log(max_lines=LOG_LINES).props('aria-label="events"')
        with ui.element("footer").classes("footnote"):
            self._source = ui.label()
            ui.label(NOT_A_MEDICAL_DEVICE)

    @property
    def connected(self) -> bool:
        return self._client.has_socket_connection

    # What is built once

    def _build_head(self) -> None:
        head = Head()
        self._heads.append(head)
        with head.box, ui.element("div").classes("tools"):
            self._start = ui.button("Start…", color=None, on_click=self._open_start).props("outline no-caps")
            self._note = ui.button("Note", color=None, on_click=self._note_dialog.open).props("outline no-caps")
            self._become = ui.button("Operator", color=None, on_click=self._token_dialog.open)
            self._become.props('flat no-caps icon="lock"')
            dark = ui.dark_mode(None)
            ui.button(color=None, on_click=lambda: _turn(dark)).props(
                'flat round icon="contrast" aria-label="light or dark"'
            )
        self._show_rights()

    def _build_figures(self, names: Sequence[str], before: str = "") -> ui.element:
        labels: dict[str, ui.label] = {}
        self._figures.append(labels)
        with ui.element("section").classes("figures card") as box:
            for name in names:
                with ui.element("div").classes("figure"):
                    named = ui.label(before + name).classes("label")
                    if name not in OF_THE_DEVICE and not before:
                        self._names_of_first[name] = named
                    labels[name] = ui.label("—").classes("value")
        return box

    def _build_plot(self) -> None:
        with ui.element("section").classes("plot card") as self._plot_box:
            spans = ui.toggle(list(SPANS), value=self._span, on_change=lambda event: self._look_at(event.value))
            spans.classes("spans").props("dense flat no-caps")
            self._plot = Plot().classes("chart")

    def _show_second(self, there: bool) -> None:
        """What the second channel has of its own, where there is one."""
        if there == bool(self._of_second):
            return
        for name, label in self._names_of_first.items():
            _say(label, f"1 · {name}" if there else name)
        if not there:
            for each in self._of_second:
                each.delete()
            del self._heads[1:], self._figures[1:]
            self._of_second = []
            self._shown = 0
            self._board.classes(remove="two")
            return
        self._board.classes(add="two")
        with self._board:
            head = Head()
            figures = self._build_figures([name for name in FIGURES if name not in OF_THE_DEVICE], "2 · ")
            self._heads.append(head)
        with self._plot_box:
            names = {0: "channel 1", 1: "channel 2"}
            which = ui.toggle(names, value=self._shown, on_change=lambda event: self._look_at_channel(event.value))
            which.classes("which").props("dense flat no-caps")
        self._of_second = [head.box.classes("second"), figures.classes("second"), which]

    def _build_tiles(self, places: Sequence[Sequence[str]]) -> None:
        self._tiles_box.clear()
        if len(places) == 1:
            with self._tiles_box:
                self._tiles = [self._tiles_of(places[0], "")]
            return
        self._tiles = []
        for number, names in enumerate(places, start=1):
            with self._tiles_box, ui.element("div").classes("column"):
                self._tiles.append(self._tiles_of(names, f"{number} · "))

    def _tiles_of(self, names: Sequence[str], before: str) -> dict[str, dict[str, ui.element]]:
        tiles: dict[str, dict[str, ui.element]] = {}
        for name in names:
            role = name.partition("_")[0]
            with ui.element("article").classes(f"tile card {role if role in _ROLES else 'other'}") as tile:
                ui.label(before + name.replace("_", " ")).classes("name")
                parts: dict[str, ui.element] = {"tile": tile, "value": ui.label("--.-").classes("value")}
                with ui.element("div").classes("under"):
                    parts["dose"], parts["limit"] = ui.label(), ui.label()
                with ui.element("div").classes("gauge"):
                    parts["gauge"] = ui.element("div")
            tiles[name] = parts
        return tiles

    def _build_dialogs(self) -> None:
        with ui.dialog() as self._token_dialog, ui.card().classes("dialog"):
            ui.label("The operator's token, as `rfprobe dashboard` printed it")
            token = ui.input("token", password=True).classes("w-full").props("autofocus autocomplete=off")
            token.on("keydown.enter", lambda: self._try_token(token))
            ui.button("Unlock", on_click=lambda: self._try_token(token)).props("unelevated no-caps")
        with ui.dialog() as self._note_dialog, ui.card().classes("dialog"):
            note = ui.input("A note for the session").classes("w-full").props("autofocus maxlength=500")
            note.on("keydown.enter", lambda: self._keep_note(note))
            ui.button("Keep", on_click=lambda: self._keep_note(note)).props("unelevated no-caps")
        with ui.dialog() as self._start_dialog, ui.card().classes("dialog"):
            ui.label("Which plan?").classes("text-h6")
            plans = list(self._dashboard.offer.plans)
            self._plan = ui.radio(plans, value=plans[0] if plans else None)
            self._acknowledge = ui.checkbox("Acknowledge the fault that the device still shows")
            with ui.row():
                ui.button("Configure", on_click=self._configure).props("unelevated no-caps")
                ui.button("Cancel", on_click=self._start_dialog.close).props("flat no-caps")
        with ui.dialog().props("persistent") as self._confirm_dialog, ui.card().classes("dialog"):
            self._confirm = ui.column().classes("w-full")

    # What changes

    def take_plot(self) -> None:
        """What is new in the plot; under the link's lock."""
        link = self._dashboard.link
        shown = min(self._shown, len(link.pictures) - 1)
        which = (link.source_count, self._span, shown)
        limits_C = link.watched.channels[shown].limits_C()
        self._news = self._plot.news(link.pictures[shown][self._span], which, limits_C)
        self._news |= {"span_s": SPAN_s[self._span], "now_s": link.watched.now_s}
        if link.source_count != self._source_count:
            self._source_count = link.source_count
            self._remarks_shown = 0

    def refresh(self, now: Sequence[Moment], remarks: Sequence[tuple[float, str]], made: int) -> None:
        """Show this moment of each channel."""
        self._plot.add(self._news)
        several = len(now) > 1
        self._show_second(several)
        _say(self._source, f"{self._dashboard.link.title} · {now[0].link}")
        places = tuple(tuple(each.places) for each in now)
        if places != self._places:
            self._places = places
            self._build_tiles(places)
        for number, each in enumerate(now):
            self._heads[number].show(each, f"{number + 1} · " if several else "")
            for name, label in self._figures[number].items():
                _say(label, each.figures[name])
            for name, place in each.places.items():
                self._show_place(self._tiles[number][name], place)
        fresh = min(made - self._remarks_shown, len(remarks))
        for t_s, text in remarks[len(remarks) - fresh :] if fresh > 0 else ():
            self._log.push(f"{t_s:8.1f} s   {text}")
        self._remarks_shown = made
        self._show_launch()

    def _show_place(self, parts: Mapping[str, ui.element], place: Place) -> None:
        for part in ("value", "dose", "limit"):
            label = parts[part]
            assert isinstance(label, ui.label)
            _say(label, getattr(place, part))
        _mark(parts["tile"], place.kind, ("near", "over", "old"))
        level = f"{place.level:.2f}"
        if parts["gauge"].style.get("--level") != level:
            parts["gauge"].style(f"--level: {level}")

    def _show_launch(self) -> None:
        launch = self._dashboard.launch
        if launch is None or not self._operator:
            return
        if launch.phase == "confirm" and launch.asked is not self._asked:
            self._asked = launch.asked
            self._ask(launch)
        if launch.phase != "confirm" and self._confirm_dialog.value:
            self._confirm_dialog.close()
        if launch.over and launch.told != self._launch_told:
            self._launch_told = launch.told
            self._log.push(launch.told)  # to be read also by who looks away for a moment
            with self._client:
                ui.notify(launch.told, timeout=8000, close_button="Close", position="bottom")

    def _show_rights(self) -> None:
        self._start.set_visibility(self._operator and bool(self._dashboard.offer.plans))
        self._note.set_visibility(self._operator)
        self._become.set_visibility(not self._operator)

    # What the viewer does

    def _look_at(self, span: str) -> None:
        if span in SPANS:
            self._span = span

    def _look_at_channel(self, number: int) -> None:
        if number in (0, 1):
            self._shown = number

    def _try_token(self, token: ui.input) -> None:
        self._operator = self._dashboard.is_operator(token.value or "")
        token.value = ""
        if not self._operator:
            ui.notify("That is not the token.", type="negative", position="bottom")
            return
        self._token_dialog.close()
        self._show_rights()

    async def _keep_note(self, note: ui.input) -> None:
        text = (note.value or "").strip()
        note.value = ""
        self._note_dialog.close()
        if self._operator and text:
            await asyncio.to_thread(self._dashboard.link.note, text[:500])

    def _open_start(self) -> None:
        faulty = any(channel.state == "FAULT" for channel in self._dashboard.link.watched.channels)
        self._acknowledge.value = False
        self._acknowledge.set_visibility(faulty)
        self._start_dialog.open()

    async def _configure(self) -> None:
        self._start_dialog.close()
        if not self._operator:
            return
        self._launch_told = ""
        plan, acknowledge = str(self._plan.value), bool(self._acknowledge.value)
        why_not = await asyncio.to_thread(self._dashboard.start, plan, acknowledge)
        ui.notify(why_not or "Configuring the device…", position="bottom", timeout=8000 if why_not else 1500)

    def _ask(self, launch: Launch) -> None:
        asked = launch.asked
        assert asked is not None
        self._confirm.clear()
        with self._confirm:
            ui.label(f"{asked.title}, as the device understood it").classes("text-h6")
            with ui.element("table").classes("understood"):
                for key, value in asked.rows:
                    with ui.element("tr"):
                        with ui.element("td"):
                            ui.label(key)
                        with ui.element("td"):
                            ui.label(value)
            for warning in asked.warnings:
                ui.label(warning).classes("warning")
            ui.label(asked.confirmed)
            ui.label(asked.device)
            with ui.row():
                ui.button("Arm and start", on_click=lambda: self._answer(launch, True)).props(
                    "unelevated no-caps color=negative"
                )
                ui.button("Do not arm", on_click=lambda: self._answer(launch, False)).props("flat no-caps")
        self._confirm_dialog.open()

    def _answer(self, launch: Launch, arm: bool) -> None:
        if self._operator:
            launch.answer(arm)
        self._confirm_dialog.close()


class Head:
    """A channel's state, in colour."""

    def __init__(self) -> None:
        with ui.element("header").classes("head card") as self.box:
            self._state = ui.label().classes("state").props('role="status"')
            self._detail = ui.label().classes("detail")
            self._rf = ui.label().classes("rf")

    def show(self, now: Moment, before: str) -> None:
        """Show this moment, with the channel's number `before` its state."""
        _say(self._state, before + now.state)
        _say(self._detail, now.detail)
        _say(self._rf, now.rf)
        _mark(self.box, now.kind, ("hot", "armed", "bad", "good"))


def _say(label: ui.label, text: str) -> None:
    if label.text != text:
        label.set_text(text)


def _mark(element: ui.element, kind: str, kinds: Sequence[str]) -> None:
    if kind and kind not in element.classes:
        element.classes(add=kind, remove=" ".join(each for each in kinds if each != kind))
    elif not kind and any(each in element.classes for each in kinds):
        element.classes(remove=" ".join(kinds))


def _turn(dark: ui.dark_mode) -> None:
    """Dark, light, and what the system says."""
    following = {None: True, True: False, False: None}
    dark.value = following[dark.value]


def application(dashboard: Dashboard) -> FastAPI:
    """The page and the Stop; to be put behind a door."""
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def stop(request: Request) -> Response:
        dashboard.stop()
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/", status_code=303)  # a form without its script: back to the page
        return PlainTextResponse("Stop was passed on\n")

    outer.post("/stop")(stop)

    async def index(operator: str = "") -> None:
        if operator:  # out of the address bar and the history
            ui.add_head_html("<script>history.replaceState(null, '', '/')</script>")
        dashboard.show(ui.context.client, bool(operator) and dashboard.is_operator(operator))

    ui.page("/", title="rfprobe dashboard")(index)
    ui.run_with(
        outer,
        dark=None,
        tailwind=False,
        reconnect_timeout=10.0,
        message_history_length=200,
        gzip_middleware_factory=None,  # on the loopback it would only cost the event loop's time
        show_welcome_message=False,
    )
    nicegui_app.timer(REFRESH_EVERY_s, dashboard.refresh)
    return outer


def serve(dashboard: Dashboard, listening: socket.socket, told: Callable[[], None]) -> None:
    """Until Ctrl-C. `told` is called when the page can be had."""
    port = listening.getsockname()[1]
    door = Door(application(dashboard), port)
    core.sio.eio.cors_allowed_origins = sorted(door.origins)
    config = uvicorn.Config(door, log_level="warning", ws="wsproto", timeout_graceful_shutdown=1)
    nicegui_app.on_startup(told)
    sys.setswitchinterval(TURN_s)
    nicegui_app.on_startup(gc.freeze)  # what is imported stays: no collection looks through it while Stop waits
    uvicorn.Server(config).run(sockets=[listening])


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; 0 takes a port that is free. Raises OSError."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError:
        listening.close()
        raise
    return listening
