"""Other forms of the report: several sessions on one page, and a PDF."""

import re
from pathlib import Path

import pytest
from pypdf import PdfReader
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.errors import ExitCode
from rfprobe.report_compare import build_comparison
from rfprobe.report_pdf import build_pdf
from rfprobe.session import Session
from rfprobe.words import NOT_A_MEDICAL_DEVICE
from tests.host.synthetic_run import SyntheticRun
from tests.host.test_report import Page

pytestmark = pytest.mark.slow  # seconds each: left to `make test`


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sessions")
    runs = [SyntheticRun(end=end) for end in ("completed", "fault", "stopped")]
    runs[2].parameters["target_mC"] = 71_000
    return [run.record(folder / run.end) for run in runs]


@pytest.fixture(scope="module")
def sessions(paths: list[Path]) -> list[Session]:
    return [Session(path) for path in paths]


@pytest.fixture(scope="module")
def page(sessions: list[Session]) -> str:
    return build_comparison(sessions)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", *arguments], prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


def rows_of(page: str, title: str) -> dict[str, tuple[bool, list[str]]]:
    """label → (marked as differing, values) of the table under a heading."""
    table = page.split(f"<h2>{title}</h2>")[1].split("</section>", maxsplit=1)[0].split("<tbody>")[1]
    return {
        label: (bool(mark), re.findall(r"<td>(.*?)</td>", cells))
        for mark, label, cells in re.findall(r"<tr( class=\"differs\")?><th>(.*?)</th>((?:<td>.*?</td>)+)</tr>", table)
    }


def test_every_session_has_its_verdict_and_figures(page: str, sessions: list[Session]) -> None:
    text = Page(page).text
    for told in (NOT_A_MEDICAL_DEVICE, "Completed", "Stopped by safety", "Stopped by the operator"):
        assert told in text
    rows = rows_of(page, "Figures")
    energies = [f"{session.summary['energy_J']:.1f} J" for session in sessions]
    assert rows["Energy"] == (True, energies)
    assert rows["Judged on"] == (False, ["the simulated tissue"] * 3)
    assert rows["Fault"] == (True, ["—", "interlock_open at 20.00 s", "—"])


def test_only_what_was_set_differently_is_listed(page: str) -> None:
    assert rows_of(page, "Set differently") == {"target_mC": (True, ["70000", "70000", "71000"])}


def test_each_row_of_plots_has_the_same_axes(page: str) -> None:
    """The completed run is the longest: its last time label is on every plot of temperatures."""
    figure = page.split('id="plot-temperatures"')[1].split("</figure>", maxsplit=1)[0]
    labels = [
        set(re.findall(r">(\d+)</text>", drawn)) for drawn in re.findall(r"<svg.*?</svg>", figure, flags=re.DOTALL)
    ]
    assert len(labels) == 3
    assert labels[0] == labels[1] == labels[2]
    assert "100" in labels[0] or "75" in labels[0]


def test_the_page_needs_no_other_file(page: str) -> None:
    parsed = Page(page)
    assert "script" not in parsed.seen
    assert [
        value for _, name, value in parsed.attributes if name in ("src", "href") and not value.startswith("#")
    ] == []


def test_several_sessions_become_one_page(paths: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "together.html"
    assert run(*map(str, paths), "-o", str(target)) == (0, f"{target}\n", "")
    code, stdout, _ = run(str(paths[0]), str(paths[1]))
    assert (code, stdout) == (0, f"{paths[0].with_name(paths[0].stem + '_beside_1.html')}\n")


def test_too_many_and_a_pdf_of_several_are_refused(paths: list[Path]) -> None:
    code, stdout, stderr = run(*[str(paths[0])] * 7)
    assert (code, stdout, stderr) == (
        ExitCode.BAD_INPUT,
        "",
        "rfprobe report: 7 sessions; at most 6 fit side by side\n",
    )
    code, stdout, stderr = run(str(paths[0]), str(paths[1]), "--pdf")
    assert (code, stdout, stderr.count("\n")) == (ExitCode.BAD_INPUT, "", 1)


def test_a_pdf_says_what_the_page_says(sessions: list[Session], tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(build_pdf(sessions[1]))
    pages = [page.extract_text() for page in PdfReader(path).pages]
    assert all(NOT_A_MEDICAL_DEVICE in page for page in pages)
    for told in ("vertebra 70 °C", "Stopped by safety", "interlock_open at 20.00 s", sessions[1].id):
        assert told in pages[0]
    assert "time, s" in pages[1]
    rest = "\n".join(pages[2:])
    for told in ("sample moved", "target_mC", "mode = ", "[probe]"):
        assert told in rest, told


def test_a_pdf_is_the_same_twice_and_goes_beside_the_page(paths: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    code, stdout, stderr = run(str(paths[1]), "-o", str(target), "--no-picture", "--pdf")
    assert (code, stdout, stderr) == (0, f"{target}\n{target.with_suffix('.pdf')}\n", "")
    with Session(paths[1]) as session:
        assert target.with_suffix(".pdf").read_bytes() == build_pdf(session)
