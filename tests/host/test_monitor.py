"""The monitor: its keys, its size, what it shows, as CSV lines and through the owner of a port."""

import asyncio
import csv
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Digits, RichLog, Static
from textual_plotext import PlotextPlot

from rfprobe.monitor import Monitor
from rfprobe.session import Session, list_sessions
from rfprobe.sources import Chunk
from rfprobe.watched import Watched, decimated
from tests.host.synthetic_run import SyntheticRun
from tests.host.virtual_bench import (
    LONG_PLAN,
    QUICK_PLAN,
    VirtualBench,
    finished,
    heating_on,
    rfprobe,
    until,
    virtual_bench,
)

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

TEXT = b"Traceback: <b>none</b>\r\n"


class FakeSource:
    """Gives what a test puts in; notes what it is asked."""

    title = "a port"
    past: Path | None = None

    def __init__(self, parameters: dict[str, int], chunks: list[Chunk]) -> None:
        self.parameters = parameters
        self.second: dict[str, int] = {}
        self.stops = 0
        self.notes: list[str] = []
        self.ended = threading.Event()
        self._chunks = chunks

    def chunks(self) -> Iterator[Chunk | None]:
        yield from self._chunks
        while not self.ended.is_set():
            time.sleep(0.01)
            yield None

    def stop(self) -> str:
        self.stops += 1
        return "STOP sent"

    def note(self, text: str) -> str:
        self.notes.append(text)
        return "noted in the session"

    def close(self) -> None:
        self.ended.set()


def a_run(until_tick: int = 3_000) -> FakeSource:
    made = SyntheticRun()
    chunks = [(host_ns, frame.raw) for frame, host_ns in made.frames() if frame.tick <= until_tick]
    return FakeSource(made.parameters, [*chunks, (chunks[-1][0], TEXT)])


def on_a_screen(source: FakeSource, act: Callable[[Monitor, Pilot[None]], Awaitable[None]], **how: Any) -> None:
    """Run the monitor without a terminal, and let `act` press its keys."""
    app = Monitor(source)

    async def go() -> None:
        async with app.run_test(**{"size": (80, 24), **how}) as pilot:
            for _ in range(100):
                await pilot.pause(0.05)
                if app.watched.remarks_made and not app._came:  # pyright: ignore[reportPrivateUsage]
                    break
            app.redraw()
            await pilot.pause()
            await act(app, pilot)
        source.close()

    asyncio.run(go())


def words(app: Monitor, selector: str) -> str:
    return str(app.query_one(selector, Static).render())


def test_it_says_the_state_in_words_and_the_temperatures_large() -> None:
    async def act(app: Monitor, _: Pilot[None]) -> None:
        assert words(app, "#state").startswith("HEATING TO THE TARGET")
        assert app.query_one("#state").has_class("hot")
        # a run of the past, played now: it is as live as it comes
        assert " · live · a port" in words(app, "#state")
        assert [app.query_one(f"#digits-{name}", Digits).value for name in ("control", "boundary", "guard")] == [
            "64.5",
            "40.0",
            "37.5",
        ]
        figures = words(app, "#figures")
        assert (
            "set 65.0 °C" in figures
            and "4.0 W" in figures
            and "123 Ω" in figures
            and "CEM43 min control 0.12  boundary 0.01  guard 0.00" in figures
        )
        assert "lost 0" in figures and "dropped 0" in figures
        log = "\n".join(strip.text for strip in app.query_one("#remarks", RichLog).lines)
        assert "State: heating to the target." in log and "Traceback: <b>none</b>" in log

    on_a_screen(a_run(), act)


def test_everything_is_on_a_screen_of_80_by_24() -> None:
    async def act(app: Monitor, _: Pilot[None]) -> None:
        for selector in ("#state", "#temperatures", "#figures", "#plot", "#remarks", "Footer"):
            region = app.query_one(selector).region
            assert region.height > 0 and region.bottom <= 24 and region.right <= 80, selector
        assert app.query_one("#plot").region.height >= 8
        # three digits and a point of each role are not cut
        for name in ("control", "boundary", "guard"):
            assert app.query_one(f"#digits-{name}").region.width >= 16

    on_a_screen(a_run(), act)


def test_capital_s_stops_from_anywhere_even_from_a_note() -> None:
    source = a_run()

    async def act(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        assert source.stops == 0, "a small s is no stop"
        await pilot.press("S")
        assert source.stops == 1
        await pilot.press("m", "x", "S")
        assert source.stops == 2
        await pilot.press("escape", "p", "S")
        assert source.stops == 3
        app.redraw()
        assert "STOP sent" in words(app, "#state")

    on_a_screen(source, act)


def test_m_adds_a_note() -> None:
    source = a_run()

    async def act(_: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("m", *"pale ring", "enter")
        await pilot.pause()
        await pilot.press("m", "x", "escape")
        await pilot.press("m", "enter")
        await pilot.pause()

    on_a_screen(source, act)
    assert source.notes == ["pale ring"]


def test_the_plot_is_paused_scrolled_and_goes_on_while_data_comes_in() -> None:
    source = a_run()

    async def act(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert app.paused_at_s == pytest.approx(30.0)
        await pilot.press("plus", "plus", "left")
        assert app.paused_at_s == pytest.approx(22.5)
        app._came.append((int(source._chunks[-1][0] + 5e9), TEXT))  # pyright: ignore[reportPrivateUsage]
        app.redraw()
        assert app.watched.now_s == pytest.approx(35.0) and app.paused_at_s == pytest.approx(22.5)
        assert "PLOT PAUSED" in words(app, "#state")
        await pilot.press("right", "right", "right")
        assert app.paused_at_s == pytest.approx(35.0)
        await pilot.press("p", "t", "t", "t")
        assert app.paused_at_s is None

    on_a_screen(source, act)


def test_limits_are_drawn_with_the_temperatures() -> None:
    async def act(app: Monitor, _: Pilot[None]) -> None:
        assert app.watched.limits_C() == {"guard trip": 44.0, "highest": 90.0}
        plot = app.query_one("#plot", PlotextPlot)
        assert "guard trip 44 °C, highest 90 °C" in str(plot.render())
        assert set(app.points("temperature", 0.0, 30.0, 70)) == {"setpoint_C", "control_C", "boundary_C", "guard_C"}
        assert set(app.points("power", 0.0, 30.0, 70)) == {"power_W"}

    on_a_screen(a_run(), act)


def test_an_hour_at_a_hundred_a_second_is_drawn_with_two_points_a_column() -> None:
    async def act(app: Monitor, pilot: Pilot[None]) -> None:
        count = 360_000
        app.watched.t_s.extend(np.arange(1, count + 1) / 100 + app.watched.now_s)
        for name in app.watched.names:
            app.watched.series[name].extend(np.sin(np.arange(count) / 50) * 10 + 60)
        found = app.points("temperature", 0.0, 3_600.0, 72)
        assert max(len(times) for times, _ in found.values()) <= 2 * 72
        assert max(found["control_C"][1]) == pytest.approx(70.0, abs=0.01)
        await pilot.press("minus")

    on_a_screen(a_run(), act)


@given(st.lists(st.floats(-100, 100) | st.just(float("nan")), min_size=1, max_size=400), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_decimation_keeps_extremes_and_invents_nothing(values: list[float], columns: int) -> None:
    t_s = np.arange(len(values), dtype=float)
    column = np.array(values)
    times, shown = decimated(t_s, column, 0.0, float(len(values)), columns)
    known = column[~np.isnan(column)]
    assert len(times) == len(shown) <= 2 * columns
    assert sorted(times) == times
    assert set(shown) <= set(known.tolist())
    if len(known):
        assert (min(shown), max(shown)) == (known.min(), known.max())


# As a command


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualBench]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "quick.toml").write_text(QUICK_PLAN, encoding="utf-8")
    (tmp_path / "long.toml").write_text(LONG_PLAN, encoding="utf-8")
    with virtual_bench(tmp_path) as made:
        yield made


def first_rows(process: "subprocess.Popen[str]", count: int) -> list[dict[str, str]]:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count + 1)]
    return list(csv.DictReader(lines))


def test_lines_of_a_port_that_nobody_owns_are_recorded_too(bench: VirtualBench) -> None:
    process = rfprobe("monitor", "--port", bench.port, "--lines")
    rows = first_rows(process, 20)
    code, _, stderr = finished("run", "quick.toml", "--port", bench.port, "--yes")
    assert code == 6 and f"`rfprobe monitor` (process {process.pid})" in stderr
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 5
    assert rows[0]["state"] in ("IDLE", "SELF_TEST") and float(rows[-1]["t_s"]) > float(rows[0]["t_s"])
    (path,) = list_sessions(Path("sessions"))
    with Session(path) as session:
        assert len(session.df) >= 20 and session.closed


def test_lines_of_a_run_come_through_its_owner(bench: VirtualBench) -> None:
    run = rfprobe("run", "long.toml", "--port", bench.port, "--yes", "--no-report", "--json")
    heating_on(bench, run)
    watchers = [rfprobe("monitor", "--port", bench.port, "--lines") for _ in range(2)]
    for watcher in watchers:
        rows = first_rows(watcher, 10)
        assert {row["state"] for row in rows} <= {"RAMP", "HOLD"}
        assert 36.0 < float(rows[-1]["control_C"]) < 46.0 and 36.0 < float(rows[-1]["guard_C"]) < 40.0
        assert rows[-1]["lost"] == "0"
    assert finished("stop", "--port", bench.port)[0] == 0
    assert run.wait(timeout=30) == 5
    run.communicate()
    for watcher in watchers:
        watcher.communicate(timeout=20)
        assert watcher.returncode == 0, "a run that ends ends the watching"


def test_in_a_terminal_of_80_by_24_capital_s_stops_the_run_of_another_process(bench: VirtualBench) -> None:
    run = rfprobe("run", "long.toml", "--port", bench.port, "--yes", "--no-report", "--json")
    heating_on(bench, run)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    monitor = subprocess.Popen(
        [sys.executable, "-m", "rfprobe.cli", "monitor", "--port", bench.port],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm-256color"},
    )
    try:
        said = b""
        while b"HEATING TO THE TARGET" not in said and b"HOLDING THE TARGET" not in said:
            said += os.read(master, 65_536)
        os.write(master, b"S")
        reader = threading.Thread(target=_read_on, args=(master,), daemon=True)
        reader.start()  # nobody who does not read may keep the monitor from working
        until(lambda: not bench.enabled)
        os.write(master, b"q")
        assert monitor.wait(timeout=30) == 0
    finally:
        monitor.kill()
        monitor.wait()
    assert run.wait(timeout=30) == 5
    assert json.loads(run.communicate()[0])["stop_reason"] == "operator_stop"
    os.close(slave)
    reader.join()
    os.close(master)


def _read_on(master: int) -> None:
    try:
        while os.read(master, 65_536):
            continue
    except OSError:
        return  # the terminal is gone


def test_lines_of_a_session(tmp_path: Path) -> None:
    path = SyntheticRun().record(tmp_path)
    code, stdout, stderr = finished("monitor", "--replay", str(path), "--speed", "1000", "--lines")
    assert (code, stderr) == (0, "")
    rows = list(csv.DictReader(stdout.splitlines()))
    with Session(path) as session:
        assert [float(row["control_C"]) for row in rows] == pytest.approx(list(session.df["control_C"]))


def test_without_a_terminal_it_says_what_to_do() -> None:
    code, stdout, stderr = finished("monitor", "--port", "nowhere")
    assert (code, stdout) == (2, "") and "--lines" in stderr
    code, stdout, stderr = finished("monitor", "--port", "nowhere", "--lines")
    assert (code, stdout) == (6, "") and stderr.startswith("there is no port nowhere")


def test_watched_without_parameters_knows_one_thermocouple() -> None:
    assert list(Watched().places) == ["control"]
