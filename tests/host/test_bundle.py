"""A bundle holds a session and what explains it; a simulated one gives the same bytes again, elsewhere too."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rfprobe
from rfprobe.bundle import SESSION, open_bundle, rerun, write_bundle
from rfprobe.cli import app
from rfprobe.errors import BadInput, ExitCode
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import read_probe
from rfprobe.resources import shipped
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.engine import simulate
from tests.conftest import ROOT
from tests.host.synthetic_run import SyntheticRun
from tests.host.test_cli import QUICK

pytestmark = pytest.mark.slow  # seconds each: left to `make test`


def simulated(folder: Path, runtime: str = "cpython", **more: object) -> Session:
    plan = folder / "plan.toml"
    plan.write_text(QUICK, encoding="utf-8")
    return rfprobe.simulate(plan, runtime=runtime, seed=3, out_dir=folder, **more)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with simulated(folder, faults=("spikes:control@2",)) as session:
        write_bundle(session, folder / "b.zip")
    return folder / "b.zip"


def tree_with_another_gain(folder: Path) -> Path:
    """A copy of the firmware in which the proportional term is a thousandth larger."""
    tree = Path(shutil.copytree(ROOT / "firmware", folder / "firmware"))
    source = tree / "rfprobe_core" / "pid.py"
    text = source.read_text(encoding="utf-8")
    proportional = "(self.kp_mW_per_C * scale >> 10) * error // 1000"
    assert text.count(proportional) == 1
    source.write_text(text.replace(proportional, proportional.replace("1000", "999")))
    return tree


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["bundle", *arguments], prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


def test_it_holds_what_explains_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bench.toml").write_text('lab = "ours"\n')
    path = SyntheticRun().record(tmp_path / "sessions")
    code, stdout, stderr = run("last")
    assert (code, stderr) == (0, "")
    target = Path(f"{path.stem}.zip")
    assert stdout.startswith(f"{target}: bundle.json, session.rfp, ")
    with zipfile.ZipFile(target) as archive:
        index = json.loads(archive.read("bundle.json"))
        assert set(archive.namelist()) == {"bundle.json", *index["files"]}
        for name, digest in index["files"].items():
            assert sha256(archive.read(name)).hexdigest() == digest
        assert archive.read(SESSION) == path.read_bytes()
        assert archive.read("bench.toml") == b'lab = "ours"\n'
        assert archive.read("plan.toml").decode() == SyntheticRun().plan.text
        assert json.loads(archive.read("device.json"))["hello"]["fw"] == "0.1.0"
        assert b"numpy==" in archive.read("packages.txt")
    assert index["digests_here"].keys() == {"firmware", "simulation"}


def test_the_same_session_gives_the_same_bundle(tmp_path: Path) -> None:
    path = SyntheticRun().record(tmp_path)
    with Session(path) as session:
        for name in ("a.zip", "b.zip"):
            write_bundle(session, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_session_under_way_is_bundled_with_its_last_commit(tmp_path: Path) -> None:
    made_up = SyntheticRun()
    with SessionWriter.create(tmp_path, "p", "s", made_up.meta()) as writer:
        made_up.write(writer)
        writer.flush()
        with Session(writer.path) as session:
            write_bundle(session, tmp_path / "b.zip")
    with open_bundle(tmp_path / "b.zip") as (index, inside):
        assert index["closed"] is False
        assert inside.rows("SELECT count(*) FROM frames") == [(writer.frames,)]


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_a_simulation_gives_the_same_bytes_again(tmp_path: Path, runtime: str) -> None:
    with simulated(tmp_path, runtime, faults=("missed=4@2.5",)) as session:
        write_bundle(session, tmp_path / "b.zip")
        frames = session.rows("SELECT count(*) FROM frames")[0][0]
        name = session.id
    code, stdout, stderr = run("rerun", str(tmp_path / "b.zip"))
    assert (code, stderr) == (0, "")
    assert stdout == f"{name}: the same bytes in all {frames} frames, on {runtime}\n"


def test_another_runtime_gives_the_same_bytes_but_for_its_name(bundle: Path) -> None:
    code, stdout, stderr = run("rerun", str(bundle), "--runtime", "micropython")
    assert (code, stderr) == (0, "")
    assert "the same bytes in all" in stdout and stdout.endswith("on micropython\n")


def test_an_operators_stop_happens_again_at_the_same_tick(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(QUICK, encoding="utf-8")
    looks = iter(range(10_000))
    probe = read_probe(shipped("probes") / "bone-10mm.toml")
    with simulate(
        read_plan(plan), probe, "vertebra", "cpython", out_dir=tmp_path, stop_requested=lambda: next(looks) >= 11
    ) as session:
        assert session.summary["result"] == "stopped"
        folder = tmp_path / "again"
        folder.mkdir()
        assert rerun(session, folder).differences.none


def test_another_firmware_is_noticed_and_named(bundle: Path, tmp_path: Path) -> None:
    tree = tree_with_another_gain(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *sys.path])}
    command = [sys.executable, "-m", "rfprobe.cli", "bundle", "rerun", str(bundle)]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert told.returncode == ExitCode.CHECK_FAILED
    assert "note: the firmware here is not the one that recorded it" in told.stdout
    assert told.stderr.count("\n") == 1
    assert "another run on cpython: frame " in told.stderr and " at tick " in told.stderr


def changed(bundle: Path, target: Path, name: str, content: bytes) -> Path:
    """The bundle with one file of it replaced."""
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(target, "w") as archive:
        for each in source.namelist():
            archive.writestr(each, content if each == name else source.read(each))
    return target


def test_bad_bundles_are_one_line(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.zip").write_bytes(bundle.read_bytes()[:2_000])
    Path("other.zip").write_bytes(b"PK")
    changed(bundle, Path("plan.zip"), "plan.toml", b"[plan]\n")
    with zipfile.ZipFile("foreign.zip", "w") as archive:
        archive.writestr("readme", "hello")
    for arguments, told in (
        (["rerun", "none.zip"], "none.zip: there is no such bundle"),
        (["rerun", "cut.zip"], "cut.zip: not a whole bundle of ours"),
        (["rerun", "other.zip"], "other.zip: not a whole bundle of ours"),
        (["rerun", "foreign.zip"], "foreign.zip: not a whole bundle of ours"),
        (["rerun", "plan.zip"], "plan.zip: plan.toml is not what bundle.json says it is; the bundle was changed"),
        (["rerun", str(bundle), "--runtime", "abacus"], "--runtime abacus: must be one of cpython, micropython, pico"),
        (["rerun"], "rfprobe bundle rerun: takes one bundle, and writes nothing"),
        (["last"], "sessions: there are no sessions here"),
        (["a", "b"], "rfprobe bundle: one session at a time"),
        (["last", "--runtime", "cpython"], "--runtime: it goes with rerun"),
    ):
        assert run(*arguments) == (ExitCode.BAD_INPUT, "", told + "\n")


def test_what_was_not_simulated_is_not_simulated_again(tmp_path: Path) -> None:
    path = SyntheticRun(truth=False).record(tmp_path)
    with Session(path) as session:
        write_bundle(session, tmp_path / "b.zip")
        with pytest.raises(BadInput, match="only a simulated session can be simulated again"):
            rerun(session, tmp_path)
    assert run("rerun", str(tmp_path / "b.zip"))[0] == ExitCode.BAD_INPUT


def test_a_name_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SyntheticRun().record(tmp_path / "sessions")
    Path("file").write_text("")
    assert run("last", "-o", "b.tar")[0] == ExitCode.BAD_INPUT
    code, stdout, stderr = run("last", "-o", "file/b.zip")
    assert (code, stdout, stderr.count("\n")) == (ExitCode.ENVIRONMENT, "", 1)
    shutil.rmtree("sessions")


@pytest.mark.parametrize("how", [{"black_box": True}, {"faults": ("interlock@2",)}])
def test_a_black_box_that_was_fetched_is_fetched_again(tmp_path: Path, how: dict[str, object]) -> None:
    with simulated(tmp_path, **how) as session:
        assert len(session.blackbox) > 0
        write_bundle(session, tmp_path / "b.zip")
    code, stdout, _ = run("rerun", str(tmp_path / "b.zip"))
    assert (code, "the same bytes" in stdout) == (0, True)
