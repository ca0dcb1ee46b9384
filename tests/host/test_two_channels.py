"""A run of two channels, read and shown: the numbers of the two are never mixed, and what ended which is told.

The second probe has its thermocouples plugged in another order, so that whoever takes one channel for the other, or
names the second's places by the first's, shows a wrong temperature here.
"""

import asyncio
import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from rfprobe import words
from rfprobe.dashboard.link import Link
from rfprobe.dashboard.moment import moment
from rfprobe.export import export
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, read_probe
from rfprobe.report import build_html, build_png, differences, timeline
from rfprobe.report_compare import build_comparison
from rfprobe.report_data import extract
from rfprobe.report_pdf import build_pdf
from rfprobe.resources import shipped
from rfprobe.session import Session
from rfprobe.session_diff import diff_sessions
from rfprobe.session_verify import decode_frame
from rfprobe.sim.engine import simulate
from rfprobe.sources import Chunk, ReplaySource
from rfprobe.summary_words import figures
from rfprobe.watched import Watched
from rfprobe_core import protocol
from tests.host.synthetic_run import SyntheticRun, alter

if TYPE_CHECKING:
    from textual.pilot import Pilot

TICK_S = protocol.TICK_US / 1e6
CHANNELS = (0, 1)


def plan_of(folder: Path, channels: str) -> Any:
    """The shipped 40 °C check, by the channels of this list."""
    text = (shipped("plans") / "check-40C.toml").read_text(encoding="utf-8")
    path = folder / "two.toml"
    path.write_text(text.replace("[plan]\n", f"[plan]\nchannels = {channels}\n"), encoding="utf-8")
    return read_plan(path)


def plugged_otherwise(folder: Path) -> ProbeFile:
    """A bone probe with the guard at place 0, where the other has its control."""
    text = (shipped("probes") / "bone-10mm.toml").read_text(encoding="utf-8")
    head, *blocks = re.split(r"(?m)^(?=\[\[thermocouple)", text)
    last, tail = re.split(r"(?m)^(?=\[[a-z])", blocks[-1], maxsplit=1)
    path = folder / "plugged-otherwise.toml"
    path.write_text(head + "".join(reversed([*blocks[:-1], last])) + tail, encoding="utf-8")
    return read_probe(path)


def run(folder: Path, faults: tuple[str, ...] = (), channels: str = "[1, 2]") -> Session:
    return simulate(
        plan_of(folder, channels),
        read_probe(shipped("probes") / "bone-10mm.toml"),
        "vertebra",
        runtime="cpython",
        faults=faults,
        out_dir=folder,
        second_probe=plugged_otherwise(folder),
        second_tissue="liver",
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Both came to their end."""
    with run(tmp_path_factory.mktemp("done")) as session:
        yield session


@pytest.fixture(scope="module")
def tripped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A wire of the second breaks."""
    with run(tmp_path_factory.mktemp("tripped"), ("2/open:control@9",)) as session:
        yield session


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The second channel ran, the first rested."""
    with run(tmp_path_factory.mktemp("alone"), channels="[2]") as session:
        yield session


def telemetry(session: Session, channel: int) -> list[Any]:
    """The frames of a channel, from the bytes as they came."""
    rows = session.rows("SELECT raw FROM frames WHERE type = ? ORDER BY id", (protocol.TELEMETRY,))
    frames = [decode_frame(bytes(row[0])) for row in rows]
    return [frame for frame in frames if frame is not None and frame.channel == channel]


# The session


def test_a_channels_view_has_the_numbers_that_came_in_its_own_frames(done: Session) -> None:
    assert done.channels == CHANNELS
    for number in CHANNELS:
        view = done.channel(number)
        frames = telemetry(done, number)
        assert list(view.df["power_W"]) == [frame.value("power_mW") / 1000 for frame in frames]
        for name, place in view.places().items():
            assert list(view.df[f"{name}_age_s"].dropna()) == pytest.approx(
                [frame.value(f"tc{place}_age") * TICK_S for frame in frames if frame.value(f"tc{place}_age") < 255]
            )
        assert set(view.df["channel"]) == set(view.dose["channel"]) == set(view.events["channel"]) == {number}
        assert {row[0] for row in view.rows("SELECT DISTINCT channel FROM frames")} == {number}
    assert len(done.df) == sum(len(done.channel(number).df) for number in CHANNELS)


def test_each_thermocouple_goes_by_the_name_that_its_own_probe_gives_it(done: Session) -> None:
    first, second = (done.channel(number) for number in CHANNELS)
    assert (first.places()["control"], second.places()["control"]) == (0, 2)
    for number in CHANNELS:
        hold = done.df[(done.df["state"] == "HOLD") & (done.df["channel"] == number)]
        assert hold["control_C"].mean() == pytest.approx(40.0, abs=0.5)
        assert hold["guard_C"].mean() == pytest.approx(37.0, abs=0.5)
        view = done.channel(number).df
        rows = done.df[done.df["channel"] == number].reset_index(drop=True)[list(view.columns)]
        pd.testing.assert_frame_equal(rows, view, check_dtype=False)


def test_rows_of_both_are_in_the_order_in_which_they_came(done: Session) -> None:
    came = [int(row[0]) for row in done.rows("SELECT channel FROM telemetry ORDER BY frame")]
    assert list(done.df["channel"]) == came
    assert done.df["t_s"].is_monotonic_increasing


def test_what_the_simulation_knows_of_each_is_apart(done: Session) -> None:
    first, second = (done.channel(number).truth for number in CHANNELS)
    assert len(first) == len(second) and not np.allclose(first["power_W"], second["power_W"])
    assert list(first.columns) == list(second.columns) and "channel" not in first
    assert list(done.truth["channel"].unique()) == [0, 1]
    for number in CHANNELS:
        edges = done.channel(number).enable_edges
        assert edges["level"].tolist() == [1.0, 0.0]


def test_both_have_one_clock(done: Session) -> None:
    first, second = (done.channel(number) for number in CHANNELS)
    assert first.clock is second.clock is done.clock
    assert first.health is second.health is done.health


def test_a_run_of_one_channel_is_no_view_and_has_no_table_of_the_second(tmp_path: Path) -> None:
    with SyntheticRun().session(tmp_path) as session:
        assert session.channels == (0,) and session.runs() == [session] and session.channel(0) is session
        assert "channel" not in session.truth and "channel" not in session.enable_edges
        tables = {row[0] for row in session.rows("SELECT name FROM sqlite_master")}
        assert not tables & {"truth_2", "enable_edges_2"}
        with pytest.raises(Exception, match="channel 2 had no part in it"):
            session.channel(1)


def test_the_second_alone_is_told_as_itself(alone: Session) -> None:
    """The first tells of itself all the while, at rest, and its truth is nobody's."""
    assert (alone.channels, alone.telling) == ((1,), (0, 1))
    (view,) = alone.runs()
    summary = alone.summary
    assert "channels" not in summary and summary["result"] == "completed"
    assert summary["energy_J"] == view.df["energy_J"].iloc[-1] > 5.0
    assert summary["peak_C"]["control"] == pytest.approx(view.truth["control_C"].max(), abs=0.05)


@pytest.mark.slow
def test_the_report_of_the_second_alone_is_of_one_channel(alone: Session) -> None:
    html = build_html(alone)
    assert differences(html, alone) == [] and "series" in extract(html)


def test_a_session_with_both_is_verified_as_any_other(done: Session, tripped: Session, tmp_path: Path) -> None:
    for session in (done, tripped):
        found = session.verify()
        assert (found.problems, found.lost) == ([], 0) and found.frames > 500
    copy = tmp_path / tripped.path.name
    shutil.copy(tripped.path, copy)
    alter(copy, "UPDATE telemetry SET channel = 0 WHERE frame = (SELECT max(frame) FROM telemetry WHERE channel = 1)")
    with Session(copy) as tampered:
        assert "its decoded telemetry is not what its bytes say" in tampered.verify().problems[0]


def test_a_difference_is_told_with_its_channel(done: Session, tripped: Session, tmp_path: Path) -> None:
    assert diff_sessions(done, done).none
    found = diff_sessions(done, tripped)
    assert "channel 2: faults is [] in the first, ['open:control@9'] in the second" in found.given
    assert not any(line.startswith("channel 1") for line in found.given)
    with SyntheticRun().session(tmp_path) as one:
        assert "channels that ran: 1 and 2 in the first, 1 in the second" in diff_sessions(done, one).given


# How it ended


def test_a_fault_of_either_ends_rf_of_both_in_the_same_tick(tripped: Session) -> None:
    """By the simulated enable pins, not by the device's word."""
    ends = [tripped.channel(number).enable_edges for number in CHANNELS]
    assert [edges["level"].tolist() for edges in ends] == [[1.0, 0.0]] * 2
    falls = [float(edges["t_s"].iloc[-1]) for edges in ends]
    assert abs(falls[0] - falls[1]) <= TICK_S / 2


def test_the_device_ended_by_the_fault_and_the_other_channel_by_the_first(tripped: Session) -> None:
    summary = tripped.summary
    assert (summary["result"], summary["stop_reason"]) == ("fault", "thermocouple_open")
    assert summary["fault"]["channel"] == 2 and summary["fault"]["row"] == "tc2_status"
    told = {number: (each["result"], each["stop_reason"]) for number, each in summary["channels"].items()}
    assert told == {"1": ("fault", "other_channel"), "2": ("fault", "thermocouple_open")}
    assert words.cause_sentence("other_channel") in tripped.channel(0).summary["stop_text"]
    said = list(tripped.channel(0).events["text"])
    assert any("other channel" in text and words.CAUSES["thermocouple_open"] in text for text in said)


def test_a_fault_of_the_one_that_rested_is_the_devices_and_its_own(tmp_path: Path) -> None:
    """RF where nobody wants any: gravest of all, on the channel that the plan does not use."""
    with run(tmp_path, ("enable_high@6",), "[2]") as session:
        summary = session.summary
        assert (summary["result"], summary["stop_reason"]) == ("fault", "safe_off_unverified")
        assert summary["fault"]["channel"] == 1 and summary["channels"]["2"]["stop_reason"] == "other_channel"
        assert summary["energy_J"] == session.channel(1).df["energy_J"].iloc[-1] > 0.0
        assert summary["channels"]["1"]["probe"] is None and summary["channels"]["1"]["energy_J"] == 0.0
        assert any(who == "channel 1" and "Remove power" in text for _, who, text in timeline(session))


def test_both_completed_is_completed(done: Session) -> None:
    summary = done.summary
    assert (summary["result"], summary["fault"]) == ("completed", None)
    assert {each["result"] for each in summary["channels"].values()} == {"completed"}


def test_the_figures_of_each_are_its_own_tissues(done: Session) -> None:
    summary = done.summary
    for number, told in summary["channels"].items():
        truth = done.channel(int(number) - 1).truth
        for role in ("control", "boundary", "guard"):
            assert told["peak_C"][role] == pytest.approx(truth[f"{role}_C"].max(), abs=0.05)
        assert told["energy_J"] == pytest.approx(float((truth["power_W"] * TICK_S * 5).sum()), rel=0.05)
        assert told == {**told, **{key: done.channel(int(number) - 1).summary[key] for key in told}}
    one, two = summary["channels"].values()
    assert one["energy_J"] != two["energy_J"] and (one["tissue"], two["tissue"]) == ("vertebra", "liver")
    assert {key: summary[key] for key in one if key not in ("fault", "result")} == {
        key: value for key, value in one.items() if key not in ("fault", "result")
    }
    json.dumps(summary, allow_nan=False)


def test_the_printed_table_says_of_each_line_whose_it_is(done: Session) -> None:
    rows = figures(done.summary)
    labels = [label for label, _ in rows]
    assert len(labels) == len(set(labels))
    for number, told in done.summary["channels"].items():
        assert (f"{number} · Energy", f"{told['energy_J']:.1f} J") in rows
        assert (f"{number} · Peak, control", f"{told['peak_C']['control']:.2f} °C") in rows
    assert ("Target", "40.0 °C") in rows and "Energy" not in labels


def test_the_black_box_is_that_of_the_channel_that_tripped(tripped: Session) -> None:
    assert len(tripped.channel(0).blackbox) == 0
    box = tripped.channel(1).blackbox
    assert len(box) > 300 and box["t_s"].iloc[-1] == pytest.approx(tripped.summary["fault"]["at_s"], abs=TICK_S)
    assert set(box["polled"]) == {"", "control", "boundary", "guard"}
    assert set(tripped.blackbox["channel"]) == {1}


# The report


@pytest.fixture(scope="module")
def html(tripped: Session) -> str:
    return build_html(tripped)


@pytest.mark.slow
def test_the_report_has_a_section_for_each_with_its_own_curves(tripped: Session, html: str) -> None:
    assert differences(html, tripped) == []
    data = extract(html)
    assert data["channels"].keys() == {"1", "2"} and "series" not in data
    assert "box" in data["channels"]["2"]["series"] and "box" not in data["channels"]["1"]["series"]
    first, second = (html.index(f'id="ch{number}"') for number in (1, 2))
    assert html.count("<h1>") == 1 and first < second < html.index("What happened")
    assert not re.search(r'id="plot-ch1-box', html) and re.search(r'id="plot-ch2-box-tripped', html)
    names = re.findall(r' id="([^"]+)"', html)
    assert len(names) == len(set(names)), "a name that both channels' pictures use"


@pytest.mark.slow
def test_a_report_that_shows_the_other_channels_curve_is_found(tripped: Session, html: str) -> None:
    data = extract(html)
    data["channels"]["1"], data["channels"]["2"] = data["channels"]["2"], data["channels"]["1"]
    start = html.index('id="session-data">') + len('id="session-data">')
    exchanged = html[:start] + json.dumps(data) + html[html.index("</script>", start) :]
    assert any(line.startswith("channel 1: telemetry.power_W differs") for line in differences(exchanged, tripped))


def test_what_happened_says_to_which_channel(tripped: Session) -> None:
    rows = timeline(tripped)
    assert {who for _, who, _ in rows} >= {"channel 1", "channel 2", "host"}
    assert any("CONFIGURE@2" in what for _, who, what in rows if who == "host")


@pytest.mark.slow
def test_the_pdf_the_picture_and_the_comparison_have_both(tripped: Session, done: Session, tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(build_pdf(tripped))
    pages = [page.extract_text() for page in PdfReader(path).pages]
    assert "Channel 1" in pages[0] and "Channel 2" in pages[0] and "thermocouple_open" in pages[0]
    assert sum(page.startswith("Channel 1:") or "\nChannel 1:" in page for page in pages) >= 1
    assert any("HARDWARE PROFILE, CHANNEL 2" in page for page in pages)
    assert build_png(done)[:4] == b"\x89PNG"
    side_by_side = build_comparison([done])
    assert "channel 1" in side_by_side and "channel 2" in side_by_side


# Exports


def test_csv_tells_of_each_row_whose_it_is(tripped: Session, tmp_path: Path) -> None:
    written = {each.table: each.path for each in export(tripped, "csv", tmp_path)}
    for table in ("runs", "telemetry", "dose", "events", "truth", "enable_edges", "blackbox"):
        with written[table].open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        expected = {"1"} if table == "blackbox" else {"0", "1"}
        assert {row["channel"] for row in rows} == expected, table
    with written["runs"].open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            told = tripped.summary["channels"][str(int(row["channel"]) + 1)]
            assert (row["stop_reason"], float(row["energy_J"])) == (told["stop_reason"], told["energy_J"])


def test_parquet_keeps_the_numbers_of_each(tripped: Session, tmp_path: Path) -> None:
    written = {each.table: each.path for each in export(tripped, "parquet", tmp_path)}
    table = pd.read_parquet(written["telemetry"])
    for number in CHANNELS:
        mine = table[table["channel"] == number]["control_C"].to_numpy()
        np.testing.assert_array_equal(mine, tripped.channel(number).df["control_C"].to_numpy())


def test_no_topic_of_an_mcap_has_both(tripped: Session, tmp_path: Path) -> None:
    """A viewer draws a topic's field as one curve."""
    from mcap.reader import make_reader

    (written,) = export(tripped, "mcap", tmp_path)
    seen: dict[str, set[int]] = {}
    with written.path.open("rb") as file:
        for _, topic, message in make_reader(file).iter_messages():
            row = json.loads(message.data)
            if "channel" in row:
                seen.setdefault(topic.topic, set()).add(row["channel"])
    assert all(len(channels) == 1 for channels in seen.values())
    assert seen["/channel_1/telemetry"] == {0} and seen["/channel_2/telemetry"] == {1}


# Watching


def chunks_of(session: Session) -> list[Chunk]:
    return [(ns, bytes(raw)) for ns, raw in session.rows("SELECT host_ns, raw FROM frames ORDER BY id")]


class Shown(ReplaySource):
    """The session at once, and then silence."""

    def chunks(self) -> Iterator[Chunk | None]:
        yield from chunks_of(self._session)

    def close(self) -> None:
        """The session is the test's."""


def watched_whole(session: Session) -> Watched:
    source = Shown(session, 1.0)
    watched = Watched(source.parameters, second_parameters=source.second)
    for chunk in source.chunks():
        assert chunk is not None
        watched.feed(*chunk)
    return watched


def test_whoever_watches_keeps_a_series_for_each(tripped: Session) -> None:
    watched = watched_whole(tripped)
    assert len(watched.channels) == 2
    for channel in watched.channels:
        df = tripped.channel(channel.number).df
        for name in channel.names:
            np.testing.assert_array_equal(np.frombuffer(channel.series[name]), df[name].to_numpy(), name)
    assert [moment(watched, 0.1, "", True, channel).kind for channel in watched.channels] == ["bad", "bad"]
    first, second = (moment(watched, 0.1, "", True, channel) for channel in watched.channels)
    assert words.CAUSES["other_channel"] in first.detail and words.CAUSES["thermocouple_open"] in second.detail
    assert any(text.startswith("channel 2: Fault:") for _, text in watched.remarks)


def test_a_device_with_one_channel_is_watched_as_ever(tmp_path: Path) -> None:
    with SyntheticRun().session(tmp_path) as session:
        watched = watched_whole(session)
    assert watched.second is None and watched.channels == [watched]
    assert not any(text.startswith("channel") for _, text in watched.remarks)


def test_the_dashboards_pictures_are_of_one_channel_each(done: Session, tmp_path: Path) -> None:
    path = tmp_path / "replayed.rfp"
    shutil.copy(done.path, path)
    link = Link(None, Session(path), 1000.0, tmp_path)
    with link:
        for thread in link._threads[:1]:  # pyright: ignore[reportPrivateUsage]
            thread.join(20)
    assert len(link.pictures) == 2
    for number, pictures in enumerate(link.pictures):
        told = pictures["all"].since(0)
        df = done.channel(number).df
        assert max(each for each in told["high"]["power_W"] if each is not None) == df["power_W"].max()
        assert min(each for each in told["low"]["power_W"] if each is not None) == df["power_W"].min()


def on_screen(session: Session, act: Callable[[Any, "Pilot[None]"], Any]) -> None:
    """The monitor in 80 × 24 with the whole session in it."""
    from rfprobe.monitor import Monitor

    app = Monitor(Shown(session, 1.0))

    async def go() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            for _ in range(100):
                await pilot.pause(0.05)
                if app._ended and not app._came:  # pyright: ignore[reportPrivateUsage]
                    break
            for _ in range(2):
                app.redraw()
                await pilot.pause()
            await act(app, pilot)

    asyncio.run(go())


@pytest.mark.slow
def test_the_monitor_shows_both_in_80_by_24_and_plots_the_one_that_was_chosen(tripped: Session) -> None:
    from textual.widgets import Digits, Static

    async def act(app: Any, pilot: "Pilot[None]") -> None:
        for number, ending in ((0, ""), (1, "-2")):
            df = tripped.channel(number).df
            state = app.query_one(f"#state{ending}", Static)
            assert str(state.render()).startswith(f"{number + 1}  STOPPED BY A FAULT") and state.has_class("bad")
            for name in ("boundary", "guard"):
                shown = app.query_one(f"#digits{ending}-{name}", Digits)
                assert shown.value == f"{df[f'{name}_C'].iloc[-1]:.1f}" and shown.size.width >= 15
            figures = str(app.query_one(f"#figures{ending}", Static).render())
            assert f"{df['energy_J'].iloc[-1]:.0f} J" in figures and "CEM43" in figures
        assert app.query_one("#plot").size.height >= 8
        for number in (0, 1, 0):
            times, values = app.points("power", 0.0, 100.0, 10_000)["power_W"]
            assert values == tripped.channel(number).df["power_W"].tolist() and len(times) == len(values)
            await pilot.press("c")

    on_screen(tripped, act)


@pytest.mark.slow
def test_with_one_channel_the_monitor_has_no_key_for_another(tmp_path: Path) -> None:
    with SyntheticRun(end="fault").session(tmp_path) as session:

        async def act(app: Any, _pilot: "Pilot[None]") -> None:
            assert not app.query("#state-2") and not app.screen.has_class("two")
            assert "c" not in {key for key, each in app.screen.active_bindings.items() if each.enabled}

        on_screen(session, act)


@pytest.mark.slow
def test_lines_end_with_the_channel(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    from rfprobe.commands_monitor import monitor

    monitor(replay=str(done.path), speed=1000.0, lines=True)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(rows[0])[-1] == "channel"
    for number in CHANNELS:
        mine = [float(row["guard_C"] or "nan") for row in rows if row["channel"] == str(number)]
        np.testing.assert_allclose(mine, done.channel(number).df["guard_C"].to_numpy())


@pytest.mark.slow
def test_the_dashboard_shows_both_in_a_browser(
    tripped: Session, require_tool: Callable[[str, str], Path], tmp_path: Path
) -> None:
    from tests.host.dashboard_browser import chromium, dashboard, opened

    with (
        chromium(require_tool) as browser,
        dashboard("--replay", str(tripped.path), "--speed", "100") as served,
    ):
        page = opened(browser, served.address)
        page.wait_for_selector(".head.second")
        told = "[...document.querySelectorAll('.head .state')].every(each => each.textContent.includes('fault'))"
        page.wait_for_function(told)
        states = [each.text_content() for each in page.query_selector_all(".head .state")]
        assert states == ["1 · stopped by a fault", "2 · stopped by a fault"]
        names = [each.text_content() for each in page.query_selector_all(".tile .name")]
        assert names == [f"{number + 1} · {name}" for number in CHANNELS for name in tripped.channel(number).places()]
        guards = {f"{number + 1} · guard": tripped.channel(number).df["guard_C"].iloc[-1] for number in CHANNELS}
        for tile in page.query_selector_all(".tile"):
            name = (tile.query_selector(".name") or tile).text_content() or ""
            if name in guards:
                assert (tile.query_selector(".value") or tile).text_content() == f"{guards[name]:.1f}"
        page.click("text=channel 2")
        page.wait_for_timeout(700)
