"""What the dashboard is made of, without a browser: columns, words, the door, and what the command says."""

import asyncio
import math
import subprocess
import sys
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.dashboard.columns import Columns
from rfprobe.dashboard.door import Door, Message
from rfprobe.dashboard.moment import Moment, moment
from rfprobe.watched import Watched
from rfprobe_core import protocol
from tests.host.synthetic_run import SyntheticRun

NAN = math.nan
ROWS = st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(-50, 150) | st.just(NAN)), min_size=1, max_size=300)


# Columns


def filled(columns: Columns, rows: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Add rows that come that much later each; returns them with their times."""
    t_s, told = 0.0, []
    for later_s, value in rows:
        t_s += later_s
        columns.add(t_s, (value,))
        told.append((t_s, value))
    return told


@given(ROWS)
def test_all_columns_keep_every_extreme_in_its_place_and_are_few(rows: list[tuple[float, float]]) -> None:
    columns = Columns(("x",), 0.1, whole=True, most=16)
    told = filled(columns, rows)
    picture = columns.since(0)
    assert len(columns) <= 16 and picture["index"] == sorted(set(picture["index"]))
    expected: dict[int, list[float]] = {}
    for t_s, value in told:
        # by halving, as the columns were made: the same place whenever it came
        expected.setdefault(int(t_s / 0.1) >> columns.remade, []).extend([value] if value == value else [])
    assert picture["index"] == sorted(expected)
    for index, low, high in zip(picture["index"], picture["low"]["x"], picture["high"]["x"], strict=True):
        known = expected[index]
        assert (low, high) == ((min(known), max(known)) if known else (None, None))


@given(ROWS, st.integers(1, 40))
def test_a_viewer_that_is_told_the_news_knows_the_whole_picture(rows: list[tuple[float, float]], every: int) -> None:
    columns = Columns(("x",), 0.1, whole=True, most=16)
    known: dict[int, tuple[Any, Any]] = {}
    remade, newest = 0, 0
    for at in range(0, len(rows), every):
        t_s = sum(later_s for later_s, _ in rows[:at])
        for later_s, value in rows[at : at + every]:
            t_s += later_s
            columns.add(t_s, (value,))
        if columns.remade != remade:
            known, remade, newest = {}, columns.remade, 0
        news = columns.since(newest)
        known = {index: extent for index, extent in known.items() if index < news["from"]}
        known |= dict(zip(news["index"], zip(news["low"]["x"], news["high"]["x"], strict=True), strict=True))
        newest = max(columns.last, 0)
    picture = columns.since(0)
    extents = zip(picture["low"]["x"], picture["high"]["x"], strict=True)
    assert known == dict(zip(picture["index"], extents, strict=True))


def test_the_newest_columns_are_kept_where_not_all_are_wanted() -> None:
    columns = Columns(("x",), 1.0, whole=False, most=20)
    filled(columns, [(1.0, float(at)) for at in range(1, 101)])
    assert 18 <= len(columns) <= 20 and columns.last == 100
    assert columns.since(99)["high"] == {"x": [99.0, 100.0]}


def test_half_an_hour_is_told_in_a_few_columns_and_its_news_in_one_or_two() -> None:
    columns = Columns(("x",), 0.1, whole=True)
    filled(columns, [(0.05, float(at)) for at in range(36_000)])
    assert len(columns.since(0)["index"]) <= 600
    newest = columns.last
    filled_on = columns.since(newest)
    assert len(filled_on["index"]) == 1


# Words


def watched_until(tick: int, end: str = "completed") -> Watched:
    made = SyntheticRun(end)
    watched = Watched(made.parameters)
    for frame, host_ns in made.frames():
        if frame.tick <= tick:
            watched.feed(host_ns, frame.raw)
    return watched


def at(tick: int, *, later_s: float = 0.1, live: bool = True, end: str = "completed") -> Moment:
    return moment(watched_until(tick, end), later_s, "a port", live)


def test_a_moment_says_it_in_words_and_figures() -> None:
    now = at(3_000)
    assert (now.state, now.kind, now.rf, now.link) == ("heating to the target", "hot", "RF ON", "live")
    assert [now.places[name].value for name in ("control", "boundary", "guard")] == ["64.5", "40.0", "37.5"]
    assert [now.places[name].limit for name in ("control", "guard")] == ["limit 90 °C", "limit 44 °C"]
    assert now.places["control"].dose == "CEM43 0.12 min"
    assert now.figures["set-point"] == "65.0 °C" and now.figures["lost"] == "0" and now.figures["dropped"] == "0"
    last = watched_until(3_000).last
    assert last is not None
    oldest_s = max(last.value(f"tc{place}_age") for place in range(3)) / 100
    assert now.figures["sample age"] == f"{oldest_s + 0.1:.1f} s"


def test_a_device_that_is_silent_while_it_heats_is_not_said_to_heat_nor_to_be_off() -> None:
    now = at(3_000, later_s=2.0)
    assert (now.kind, now.rf, now.link) == ("bad", "RF unknown", "silent for 2.0 s")
    assert at(3_000, live=False).rf == "RF unknown"
    assert at(50, later_s=2.0).rf == "RF off"


@pytest.mark.parametrize(
    ("end", "begins"), [("completed", "Completed."), ("stopped", "Stopped by the op"), ("fault", "Stopped by safety.")]
)
def test_how_it_ended_is_told_with_its_reason(end: str, begins: str) -> None:
    now = at(99_999, end=end)
    assert now.detail.startswith(begins) and now.rf == "RF off"


def test_rf_that_could_not_be_switched_off_is_shouted() -> None:
    watched = watched_until(3_000, "fault")
    watched.last = cast(Any, _Gravest(watched.last))
    assert moment(watched, 0.1, "a port", True).rf == "RF MAY BE ON"


class _Gravest:
    """A frame whose cause is the gravest."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def value(self, name: str) -> int:
        return protocol.CAUSE["rf_while_disabled"] if name == "cause" else self._frame.value(name)


def test_close_to_its_limit_and_above_it_a_thermocouple_is_marked() -> None:
    watched = watched_until(3_000)
    watched.series["guard_C"][-1] = 43.0
    assert moment(watched, 0.1, "", True).places["guard"].kind == "near"
    watched.series["guard_C"][-1] = 44.0
    assert moment(watched, 0.1, "", True).places["guard"].kind == "over"


def test_nothing_heard_yet_is_no_state() -> None:
    now = moment(Watched(), None, "waiting", True)
    assert (now.state, now.rf) == ("waiting for the device", "RF unknown")
    assert now.places["control"].value == "--.-"


# The door

PORT = 8050
GOOD_HOST = f"127.0.0.1:{PORT}"


def knock(kind: str, **headers: str) -> tuple[bool, list[Message]]:
    """(whether the application within was asked, what was sent)."""
    asked: list[str] = []
    sent: list[Message] = []

    async def within(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(Door(within, PORT)({"type": kind, "headers": raw}, receive, send))
    return bool(asked), sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host", [GOOD_HOST, f"localhost:{PORT}"])
def test_its_own_pages_come_in(kind: str, host: str) -> None:
    assert knock(kind, host=host, origin=f"http://{host}")[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example", "origin": "http://evil.example"},
        {"host": f"evil.example:{PORT}", "origin": f"http://evil.example:{PORT}"},
        {"host": "127.0.0.1:1", "origin": "http://127.0.0.1:1"},
        {"host": GOOD_HOST, "origin": "http://evil.example"},
        {"host": GOOD_HOST, "origin": "http://127.0.0.1:9000"},
        {"host": GOOD_HOST, "origin": f"https://{GOOD_HOST}"},
        {"host": GOOD_HOST, "origin": f"http://{GOOD_HOST}.evil.example"},
        {"host": GOOD_HOST, "origin": "null"},
        {"origin": f"http://{GOOD_HOST}"},
    ],
    ids=str,
)
def test_a_foreign_host_or_origin_is_refused(kind: str, headers: dict[str, str]) -> None:
    asked, sent = knock(kind, **headers)
    assert not asked
    assert sent[0]["type"] == ("websocket.close" if kind == "websocket" else "http.response.start")
    assert kind == "websocket" or sent[0]["status"] == 403


def test_a_websocket_without_an_origin_is_no_browser_of_ours() -> None:
    assert not knock("websocket", host=GOOD_HOST)[0]
    assert knock("http", host=GOOD_HOST)[0], "a page that is typed in has none"


def test_what_is_answered_may_not_be_framed_nor_fetch_from_elsewhere() -> None:
    _, sent = knock("http", host=GOOD_HOST)
    headers = dict(sent[0]["headers"])
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
    assert headers[b"content-security-policy"].startswith(b"default-src 'self' ")


# The command


@pytest.mark.slow
def test_without_nicegui_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["dashboard", "--port", "nowhere"])
    assert result.exit_code == 6 and result.stderr.strip() == (
        "rfprobe dashboard needs NiceGUI: pip install 'rfprobe[dashboard]'"
    )


@pytest.mark.slow
def test_the_command_line_does_not_import_it() -> None:
    program = "import rfprobe.cli, sys; print({'nicegui', 'fastapi', 'rfprobe.dashboard'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["no-such-plan", "--port", "nowhere"], 2, "no-such-plan"),
        (["--port", "nowhere"], 6, "there is no port nowhere"),
        (["--replay", "nothing"], 2, "nothing"),
        (["vertebra-70C", "--replay", "last"], 2, "cannot run a PLAN"),
        (["--replay", "last", "--speed", "0"], 2, "--speed 0"),
    ],
)
def test_bad_input_starts_nothing(
    arguments: list[str], code: int, told: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["dashboard", "--web-port", "0", *arguments])
    assert result.exit_code == code and told in result.stderr and result.stderr.count("\n") == 1
