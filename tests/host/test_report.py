"""The report: one file that needs no other, whose data are the session's, with the verdict in words."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rfprobe import words
from rfprobe.errors import EnvironmentProblem
from rfprobe.report import build_html, build_png, differences, timeline, verdict, write_report
from rfprobe.report_data import ELEMENT_ID, extract, plotted_series
from rfprobe.report_plots import SMALLEST_DOSE_MIN
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from tests.host.synthetic_run import ENDS, EPOCH_NS, SyntheticRun

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

VOID = {"meta", "link", "br", "img", "hr", "input"}
DOSES = ("t_s", "control_cem43_min", "boundary_cem43_min", "guard_cem43_min")
TEMPERATURES = ("t_s", "control_C", "boundary_C", "guard_C")
SERIES_OF = {
    "telemetry": (*TEMPERATURES, "setpoint_C", "power_W", "demand_W", "duty", "impedance_ohm"),
    "dose": DOSES,
    "truth": (*TEMPERATURES, "peak_C", "power_W", "impedance_ohm"),
    "truth_dose": DOSES,
}
SERIES = [(group, name) for group, names in SERIES_OF.items() for name in names]


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return SyntheticRun(end="fault").session(tmp_path_factory.mktemp("sessions"))


@pytest.fixture(scope="module")
def html(session: Session) -> str:
    return build_html(session)


def with_data(html: str, data: object) -> str:
    """The same page with other embedded data."""
    return re.sub(
        rf'(id="{ELEMENT_ID}">).*?(</script>)',
        lambda found: found[1] + json.dumps(data) + found[2],
        html,
        flags=re.S,
    )


def test_the_embedded_data_are_the_sessions(session: Session, html: str) -> None:
    assert differences(html, session) == []
    data = extract(html)
    assert data["session_id"] == session.id
    assert data["summary"] == session.summary
    for group, name in SERIES:
        frame = {"telemetry": session.df, "dose": session.dose, "truth": session.truth}.get(group)
        if frame is not None:
            expected = [None if value != value else value for value in frame[name].tolist()]
            assert data["series"][group][name] == expected
    assert sum(len(series) for series in data["series"].values()) == len(SERIES)


@pytest.mark.parametrize(("group", "name"), SERIES)
def test_a_series_that_was_deleted_is_missed(session: Session, html: str, group: str, name: str) -> None:
    data = extract(html)
    del data["series"][group][name]
    assert f"{group}.{name} is missing" in differences(with_data(html, data), session)


@pytest.mark.parametrize(("group", "name"), SERIES)
def test_a_value_that_was_changed_is_noticed(session: Session, html: str, group: str, name: str) -> None:
    data = extract(html)
    last = data["series"][group][name][-1]
    data["series"][group][name][-1] = (last or 0.0) * (1 + 1e-15) + 1e-15
    assert differences(with_data(html, data), session) == [f"{group}.{name} differs from the session"]


@pytest.mark.parametrize(("group", "name"), [each for each in SERIES if each[1] != "t_s"])
def test_a_curve_that_was_not_drawn_is_missed(session: Session, html: str, group: str, name: str) -> None:
    for layout in ("wide", "narrow"):
        spoilt = html.replace(f'id="{layout}-{group}-{name}"', "")
        assert differences(spoilt, session) == [f"{group}.{name} is not plotted in the {layout} layout"]


def test_a_series_that_is_not_the_sessions_is_noticed(session: Session, html: str) -> None:
    data = extract(html)
    data["series"]["telemetry"]["made_up"] = [0.0]
    assert differences(with_data(html, data), session) == ["telemetry.made_up is not in the session"]


def test_every_curve_has_a_path_and_its_ids_are_unique(html: str) -> None:
    ids = [value for _, name, value in Page(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for group, name in SERIES:
        visible = max(value or 0.0 for value in extract(html)["series"][group][name]) > SMALLEST_DOSE_MIN
        if name != "t_s" and visible:
            found = re.search(rf'<g id="wide-{group}-{name}">\s*<path d="M [^"]{{20,}}"', html)
            assert found is not None, name


def test_it_needs_nothing_beside_itself(html: str) -> None:
    page = Page(html)
    assert not {"link", "img", "iframe", "object", "embed", "audio", "video"} & page.seen
    for tag, name, value in page.attributes:
        if name in ("href", "xlink:href", "src", "srcset", "action", "data"):
            assert value.startswith("#"), (tag, name, value)
    assert re.findall(r"url\((?!#)[^)]*\)", html) == []
    assert "@import" not in html
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    scripts = [value for tag, name, value in page.attributes if (tag, name) == ("script", "type")]
    assert scripts == ["application/json"]
    assert "default-src 'none'" in html


def test_nobody_takes_it_for_a_medical_device(html: str) -> None:
    assert Page(html).text.count(words.NOT_A_MEDICAL_DEVICE) == 2
    style = html[html.index("<style>") : html.index("</style>")]
    assert words.NOT_A_MEDICAL_DEVICE in style, "each printed page says it"


def test_plan_profile_versions_and_digests_are_on_it(session: Session, html: str) -> None:
    text = Page(html).text
    run = SyntheticRun()
    assert run.plan.text in text
    assert run.probe.text in text
    for name, value in {**session.summary["versions"], **session.summary["digests"]}.items():
        assert value is None or f"{name}{value}" in text.replace("\n", "")
    assert "target_mC70000" in text
    assert "over_temperature" in text
    assert session.id in text


def test_light_dark_and_paper_are_thought_of(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert "size: A4" in html
    drawn = html[html.index("<figure") : html.rindex("</figure>")]
    assert "var(--control)" in drawn
    assert re.findall(r"(?:stroke|fill): #(?!000000|ffffff)[0-9a-f]{6}", drawn) == []


@pytest.mark.parametrize("end", sorted(ENDS))
def test_the_verdict_is_told_in_words(tmp_path: Path, end: str) -> None:
    told = Page(verdict(SyntheticRun(end=end).session(tmp_path).summary)).text
    title, sentence = words.RESULTS[end]
    assert f"{title}{sentence}{words.CAUSES[ENDS[end][1]]}" in told
    others = {each for name, (_, each) in words.RESULTS.items() if name != end}
    assert not any(other in told for other in others)


def test_a_fault_is_told_with_its_time_and_the_pins(html: str) -> None:
    text = Page(html).text
    assert "Stopped by safety" in text
    assert "At 20.00 s; the enable pin was low 4 ms later." in text
    assert "interlock_open at 20.00 s" in text


def test_the_timeline_has_all_that_happened_in_order(session: Session) -> None:
    rows = timeline(session)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert (1.0, "host", "Sent ARM.") in rows
    assert (4.0, "note", "sample moved") in rows
    assert (3.0, "text", "Traceback: <b>none</b>\n") in rows
    assert any(who == "device" and text.startswith("Stopped by safety.") for _, who, text in rows)


def test_text_cannot_become_markup(tmp_path: Path) -> None:
    run = SyntheticRun(end="fault")
    evil = "</script><script>alert(1)</script>"
    meta = run.meta()
    meta.update(plan_name=evil, profile=evil, plan=evil, tissue={"name": evil}, faults=[evil])
    with SessionWriter(tmp_path / "x.rfp", meta) as writer:
        run.write(writer)
        writer.note(EPOCH_NS, evil)
    with Session(tmp_path / "x.rfp") as opened:
        html = build_html(opened)
        assert "alert(1)</script><" not in html
        page = Page(html)
        assert [value for tag, _, value in page.attributes if tag == "script"] == [
            "application/json",
            ELEMENT_ID,
        ]
        assert page.text.count(evil) >= 5
        assert differences(html, opened) == []


def test_a_real_run_has_no_truth_and_says_so(tmp_path: Path) -> None:
    session = SyntheticRun(truth=False).session(tmp_path)
    html = build_html(session)
    assert set(extract(html)["series"]) == {"telemetry", "dose"}
    assert differences(html, session) == []
    assert "Judged on the thermocouples' readings." in Page(html).text
    assert "simulated truth" not in html


def test_a_session_of_one_frame_still_has_a_report(tmp_path: Path) -> None:
    frame, host_ns = next(iter(SyntheticRun().frames()))
    with SessionWriter(tmp_path / "x.rfp", {}) as writer:
        writer.frame(frame, host_ns)
    with Session(tmp_path / "x.rfp") as session:
        assert "No verdict" in Page(build_html(session)).text
        assert build_png(session).startswith(b"\x89PNG")


def test_the_same_session_gives_the_same_report(session: Session, html: str) -> None:
    with Session(session.path) as again:
        assert build_html(again) == html


def test_files_are_written_where_they_are_wanted(session: Session, tmp_path: Path) -> None:
    written = write_report(session, tmp_path / "r.html", tmp_path / "r.png")
    assert written == [tmp_path / "r.html", tmp_path / "r.png"]
    png = (tmp_path / "r.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(png[16:20], "big") > 900
    assert extract((tmp_path / "r.html").read_text(encoding="utf-8"))["session_id"] == session.id
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        write_report(session, tmp_path / "none" / "r.html")


def test_a_page_without_data_is_told_so(session: Session) -> None:
    with pytest.raises(ValueError, match="no embedded data"):
        differences("<html></html>", session)
    assert plotted_series(session)
