"""The dashboard in a real browser. Whether it stops is judged by the simulated enable pin."""

import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rfprobe.session import Session, list_sessions
from tests.host.dashboard_browser import HEATING, Served, chromium, dashboard, opened, shows
from tests.host.synthetic_run import SyntheticRun
from tests.host.virtual_bench import LONG_PLAN, VirtualBench, heating_on, rfprobe, until, virtual_bench

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport="


@pytest.fixture(scope="module")
def browser(require_tool: Callable[[str, str], Path]) -> Iterator["Browser"]:
    with chromium(require_tool) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("bench")
    (made / "long.toml").write_text(LONG_PLAN, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setenv("XDG_STATE_HOME", str(made / "state"))
        yield made


@pytest.fixture(scope="module")
def bench(folder: Path) -> Iterator[VirtualBench]:
    with virtual_bench(folder) as made:
        yield made
        assert not made.enabled, "a test left RF on"


@pytest.fixture
def other_bench(folder: Path, tmp_path: Path) -> Iterator[VirtualBench]:
    """A second one, for what the first one's dashboard must not see."""
    with virtual_bench(tmp_path) as made:
        yield made
        assert not made.enabled, "a test left RF on"


@pytest.fixture(scope="module")
def served(bench: VirtualBench) -> Iterator[Served]:
    """The one that owns the port whenever no run does."""
    with dashboard("long.toml", "--port", bench.port, "--no-report") as made:
        yield made


@pytest.fixture(autouse=True)
def _no_page_stays_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each costs the machine some pictures a second."""
    yield
    if "browser" in request.fixturenames:
        for context in request.getfixturevalue("browser").contexts:
            context.close()


def started(page: "Page", bench: VirtualBench) -> None:
    """Start a run as the operator does, and wait for heat."""
    page.get_by_role("button", name="Start…").click()
    page.get_by_role("button", name="Configure").click()
    page.get_by_role("button", name="Arm and start").click(timeout=30_000)
    until(lambda: bench.enabled)
    shows(page, *HEATING)


def ended(folder: Path) -> Path:
    """The newest run's session, when it is closed."""
    runs: list[Path] = []

    def closed() -> bool:
        runs[:] = [path for path in list_sessions(folder / "sessions") if "watch" not in path.name]
        with Session(runs[0]) as session:
            return session.closed

    until(closed)
    return runs[0]


# What it shows


def test_the_operator_starts_what_the_device_understood_and_a_viewer_stops_it(
    served: Served, browser: "Browser", bench: VirtualBench, folder: Path
) -> None:
    operator, viewer = opened(browser, served.operator), opened(browser, served.address)
    assert operator.url == served.address, "the token stays in no address bar"
    shows(viewer, "idle")
    operator.get_by_role("button", name="Start…").click()
    operator.get_by_role("button", name="Configure").click()
    arm = operator.get_by_role("button", name="Arm and start")
    arm.wait_for(timeout=30_000)
    cells = operator.locator(".understood td").all_inner_texts()
    told = dict(zip(cells[::2], cells[1::2], strict=True))
    assert (told["target.temperature_C"], told["limits.guard_trip_C"]) == ("45 °C", "44 °C")
    assert not bench.enabled, "nothing is armed before it is confirmed"
    assert viewer.get_by_role("button", name="Arm and start").count() == 0
    arm.click()
    until(lambda: bench.enabled)
    shows(viewer, *HEATING)
    assert viewer.text_content(".head .rf") == "RF ON"
    viewer.wait_for_timeout(1_000)
    values = [float(each) for each in viewer.locator(".tile .value").all_text_contents()]
    assert len(values) == 3 and all(30.0 < value < 60.0 for value in values)
    assert "State: heating to the target." in viewer.inner_text(".log")
    operator.get_by_role("button", name="Note").click()
    operator.get_by_label("A note for the session").fill("pale ring")
    operator.keyboard.press("Enter")
    operator.wait_for_timeout(500)
    viewer.get_by_role("button", name="STOP RF").click()
    until(lambda: not bench.enabled, 2.0)
    shows(viewer, "stopped")
    with Session(ended(folder)) as session:
        assert session.meta["result"] == "stopped"
        assert list(session.notes["text"]) == ["pale ring"]
    operator.get_by_text("Stopped by the operator.").first.wait_for()
    shows(viewer, "stopped")
    until(lambda: "watched" in (viewer.text_content(".footnote") or ""))  # the port is owned again


def test_it_sees_a_run_of_another_process_live_and_asks_nobody_else(
    other_bench: VirtualBench, browser: "Browser", folder: Path
) -> None:
    run = rfprobe("run", "long.toml", "--port", other_bench.port, "--yes", "--no-report")
    heating_on(other_bench, run)
    with dashboard("--port", other_bench.port) as served:
        page = browser.new_context().new_page()
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(served.address)
        shows(page, *HEATING)
        drawn = "() => getElement(document.querySelector('.chart').id.slice(1)).points()"
        page.wait_for_function(f"({drawn})() > 0")  # on a busy machine the first drawing comes after the words
        known = page.evaluate(drawn)
        page.wait_for_timeout(1_500)
        later = page.evaluate(drawn)
        assert later > known > 10, "the past is drawn, and it goes on"
        page.keyboard.press("Shift+S")
        until(lambda: not other_bench.enabled, 2.0)
        assert run.wait(timeout=30) == 5
        run.communicate()
        shows(page, "stopped")
    hosts = {url.split("/")[2] for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {f"127.0.0.1:{served.port}"}, "it works offline"
    assert wrong == []


def test_a_recorded_session_is_played(folder: Path, browser: "Browser") -> None:
    path = SyntheticRun().record(folder / "recorded")
    with dashboard("--replay", str(path), "--speed", "100") as served:
        page = opened(browser, served.address)
        page.get_by_text("Completed.").first.wait_for()
        page.get_by_role("button", name="STOP RF").click()
        page.get_by_text("a replay has nothing to stop").wait_for()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stop_is_in_reach_and_nothing_is_cut_at_any_width(
    served: Served, browser: "Browser", width: int, scheme: str
) -> None:
    height = 844 if width == 390 else 800
    page = opened(browser, served.address, viewport={"width": width, "height": height}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for place in ("0", "document.body.scrollHeight"):
        page.evaluate(f"scrollTo(0, {place})")
        box = page.get_by_role("button", name="STOP RF").bounding_box()
        assert box is not None and box["height"] >= 48
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
    sizes = page.evaluate(
        "[...document.querySelectorAll('.tile .value')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 40, "to be read across the room"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].startswith("13,")
    assert dark is (scheme == "dark")


# Stop


def test_stop_needs_no_websocket(served: Served, browser: "Browser", bench: VirtualBench) -> None:
    operator = opened(browser, served.operator)
    started(operator, bench)
    deaf = browser.new_context().new_page()
    deaf.route_web_socket("**", lambda socket: socket.close())
    deaf.goto(served.address)
    deaf.get_by_role("button", name="STOP RF").click()
    until(lambda: not bench.enabled, 2.0)
    deaf.get_by_text("this picture is old").wait_for()  # and it does not pass for a live one


def test_a_dashboard_that_is_killed_takes_the_run_it_began_with_it(
    other_bench: VirtualBench, browser: "Browser", folder: Path
) -> None:
    with dashboard("long.toml", "--port", other_bench.port, "--no-report", "-o", "killed/sessions") as served:
        operator = opened(browser, served.operator)
        started(operator, other_bench)
        served.process.kill()
        until(lambda: not other_bench.enabled, 1.0)
    with Session(ended(folder / "killed")) as session:
        assert session.meta["result"] == "stopped", "and it was told to stop, not left to its lease"


def test_the_stop_of_a_page_without_scripts_is_a_plain_form(served: Served, browser: "Browser") -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(served.address)
    page.get_by_role("button", name="STOP RF").click()
    page.wait_for_load_state()
    assert page.url == served.address


# Who may what


FORGE = """label => {
  for (const [id, element] of Object.entries(mounted_app.elements))
    if (element.props?.label === label || element.text === label)
      for (const { listener_id } of element.events)
        socket.emit("event", { id: +id, client_id: clientId, listener_id, args: [] });
}"""


def test_a_viewer_cannot_start_not_even_by_forged_messages(
    served: Served, browser: "Browser", bench: VirtualBench
) -> None:
    viewer, operator = opened(browser, served.address), opened(browser, served.operator)
    for name in ("Start…", "Note", "Configure", "Arm and start"):
        assert not viewer.get_by_role("button", name=name).is_visible()
        viewer.evaluate(FORGE, name)
    arm = operator.get_by_role("button", name="Arm and start")
    operator.wait_for_timeout(2_000)  # a run would have configured the device by then
    assert not arm.is_visible() and "rfprobe run" not in (viewer.text_content(".footnote") or "")

    operator.evaluate(FORGE, "Configure")
    arm.wait_for()  # so the forgery is a good one, and what it lacks is the token
    viewer.evaluate(FORGE, "Arm and start")
    operator.wait_for_timeout(500)
    assert not bench.enabled
    operator.get_by_role("button", name="Do not arm").click()
    operator.get_by_text("Nothing was armed.").first.wait_for()
    assert not bench.enabled


def test_a_wrong_token_makes_no_operator_and_the_right_one_does(served: Served, browser: "Browser") -> None:
    assert (
        not opened(browser, served.address + "?operator=" + "0" * 32).get_by_role("button", name="Start…").is_visible()
    )
    page = opened(browser, served.address)
    page.get_by_role("button", name="Operator").click()
    for token, right in (("0" * 32, False), (served.token, True)):
        page.get_by_label("token").fill(token)
        page.keyboard.press("Enter")
        if not right:
            page.get_by_text("That is not the token.").wait_for()
        assert page.get_by_role("button", name="Start…").is_visible() is False or right
    page.get_by_role("button", name="Start…").wait_for()


def status(served: Served, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{served.port}", "Content-Length": "0", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    told = connection.getresponse().status
    connection.close()
    return told


def upgraded(served: Served, host: str, origin: str) -> int:
    """The status with which a websocket is answered."""
    lines = (
        f"GET {SOCKET}websocket HTTP/1.1",
        f"Host: {host}",
        f"Origin: {origin}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        return int(connection.recv(1_000).split()[1])


def test_a_foreign_host_or_origin_gets_nothing(served: Served) -> None:
    own = f"127.0.0.1:{served.port}"
    for method, path in (("GET", "/"), ("POST", "/stop"), ("GET", SOCKET + "polling"), ("GET", "/favicon.ico")):
        assert status(served, method, path, Origin=f"http://{own}") in (200, 303), path
        assert status(served, method, path, Host="evil.example") == 403, path
        assert status(served, method, path, Host=f"evil.example:{served.port}") == 403, path
        assert status(served, method, path, Origin="http://evil.example") == 403, path
        assert status(served, method, path, Origin="http://127.0.0.1:1") == 403, path
        assert status(served, method, path, Origin="null") == 403, path
    assert upgraded(served, own, f"http://{own}") == 101
    assert upgraded(served, own, "http://evil.example") == 403
    assert upgraded(served, own, "http://localhost:1") == 403
    assert upgraded(served, "evil.example", "http://evil.example") == 403


FOREIGN = b"""<script>
async function attack(address) {
  const told = {};
  try { told.stop = (await fetch(address + "stop", { method: "POST" })).status; } catch { told.stop = "refused"; }
  const open = new WebSocket(address.replace("http", "ws") + "_nicegui_ws/socket.io/?EIO=4&transport=websocket");
  told.socket = await new Promise((done) => {
    open.onopen = () => done("open");
    open.onerror = () => done("refused");
  });
  const frame = document.body.appendChild(document.createElement("iframe"));
  await new Promise((done) => { frame.onload = done; frame.src = address; });
  return told;
}
</script><body>"""


class ForeignPage(http.server.BaseHTTPRequestHandler):
    """A page of somebody else's on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(FOREIGN)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to say."""


def test_a_page_of_another_site_can_neither_stop_nor_listen_and_the_operators_key_does(
    served: Served, browser: "Browser", bench: VirtualBench
) -> None:
    operator = opened(browser, served.operator)
    started(operator, bench)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ForeignPage) as foreign:
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        page = browser.new_context().new_page()
        page.goto(f"http://localhost:{foreign.server_address[1]}/")
        told = page.evaluate("address => attack(address)", served.address)
        foreign.shutdown()
    assert (told["stop"], told["socket"]) == ("refused", "refused")
    assert all(frame.query_selector(".tile") is None for frame in page.frames)
    assert bench.enabled, "and the run goes on"

    # by a key, with a dialog open, and a line of text in it
    operator.get_by_role("button", name="Note").click()
    operator.get_by_label("A note for the session").fill("pale ring")
    operator.keyboard.press("Shift+S")
    until(lambda: not bench.enabled, 2.0)
    assert operator.get_by_label("A note for the session").input_value() == "pale ring"
    shows(operator, "stopped")
