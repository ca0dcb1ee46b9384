"""The command: exit codes, one line where something is wrong, JSON alone on stdout, nothing left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import rfprobe
from rfprobe.cli import app
from rfprobe.errors import EnvironmentProblem, ExitCode
from rfprobe.session import Session, list_sessions
from rfprobe.sim import engine
from rfprobe.wire import HELLO_LINE, Frame, FrameDecoder
from rfprobe.words import NOT_A_MEDICAL_DEVICE
from rfprobe_core import protocol
from rfprobe_core.version import VERSION
from tests.host.synthetic_run import SyntheticRun
from tests.host.test_plan_file import BROKEN, GOOD, TOLD

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

VERBS = [
    ["simulate"],
    ["run"],
    ["stop"],
    ["monitor"],
    ["dashboard"],
    ["devices"],
    ["doctor"],
    ["console"],
    ["replay"],
    ["report"],
    ["export"],
    ["bundle"],
    ["flash"],
    ["deploy"],
    ["plan"],
    ["plan", "check"],
    ["plan", "new"],
    ["plan", "show"],
    ["sessions"],
    ["sessions", "list"],
    ["sessions", "verify"],
    ["sessions", "diff"],
]
QUICK = GOOD.replace("70.0", "40.0").replace("hold_s = 60.0", "hold_s = 2.0\ncooldown_s = 1.0")


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command in this process."""
    result = CliRunner().invoke(app, list(arguments), prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


def start(*arguments: str) -> "subprocess.Popen[str]":
    """A command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "rfprobe.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def finish(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def written(content: str, name: str = "plan.toml") -> Path:
    path = Path(name)
    path.write_text(content, encoding="utf-8")
    return path


def test_the_version_says_that_it_is_no_medical_device() -> None:
    assert run("--version") == (0, f"rfprobe {VERSION}. {NOT_A_MEDICAL_DEVICE}\n", "")
    assert rfprobe.__version__ == VERSION


@pytest.mark.parametrize("verb", [[], *VERBS], ids=" ".join)
def test_every_help_has_an_example(verb: list[str]) -> None:
    code, stdout, stderr = run(*verb, "--help")
    assert (code, stderr) == (0, "")
    command = " ".join(["rfprobe", *verb]) if verb else "rfprobe simulate"
    assert f"Example: {command}" in stdout


def test_the_examples_of_simulate_and_report_can_be_run() -> None:
    """Every option that an example names is one that the verb has."""
    for verb in VERBS:
        _, stdout, _ = run(*verb, "--help")
        example = re.search(r"Example: (.*)", stdout)
        assert example is not None
        for option in re.findall(r"\s(--?[a-z-]+)", example[1]):
            assert option in stdout.replace(example[0], ""), (verb, option)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frobnicate"], "rfprobe: No such command 'frobnicate'."),
        (["simulate", "--frobnicate"], "rfprobe: No such option: --frobnicate"),
        (["simulate", "vertebra-70C", "--seed", "x"], "rfprobe: Invalid value for '--seed'"),
        (["simulate", "vertebra-70C", "--seed", "-1"], "rfprobe: Invalid value for '--seed'"),
        (["simulate"], "rfprobe simulate: PLAN is missing; shipped plans: check-40C, "),
        (["simulate", "none"], "none: neither a file nor one of the shipped plans"),
        (["simulate", "none.toml"], "none.toml:1: key `plan`: cannot be read: there is no such file"),
        (
            ["simulate", "vertebra-70C", "--probe", "none.toml"],
            "none.toml:1: key `probe`: cannot be read: there is no",
        ),
        (["simulate", "vertebra-70C", "--tissue", "cheese"], "--tissue: "),
        (
            ["simulate", "vertebra-70C", "--runtime", "abacus"],
            "--runtime abacus: must be one of cpython, micropython",
        ),
        (
            ["simulate", "vertebra-70C", "--runtime", "cpython", "--fault", "gremlin"],
            "--fault gremlin: no such kind",
        ),
        (["plan", "check", "none.toml"], "none.toml:1: key `plan`: cannot be read"),
        (["plan", "show", "none.toml"], "none.toml:1: key `plan`: cannot be read"),
        (["plan", "new", "x.toml", "--name", ""], "--name: must be one line"),
        (["sessions", "verify"], "sessions: there are no sessions here"),
        (["sessions", "verify", "--all"], "sessions: there are no sessions here"),
        (["sessions", "verify", "none"], "none: no session of that name in sessions"),
        (["report", "none.rfp"], "none.rfp: there is no such session file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], told: str) -> None:
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (ExitCode.BAD_INPUT, "")
    assert stderr.startswith(told)
    assert stderr.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_plan_starts_nothing_and_leaves_nothing(broken: Any) -> None:
    path = written(GOOD.replace(broken.old, broken.new))
    code, stdout, stderr = run("simulate", str(path), "--json", "--runtime", "cpython", "-o", "out")
    assert (code, stdout) == (ExitCode.BAD_INPUT, "")
    first = TOLD.fullmatch(stderr.splitlines()[0])
    assert first is not None
    assert (first["file"], int(first["line"]), first["key"]) == (str(path), broken.line, broken.key)
    assert [each.name for each in Path().iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"[plan]\nname = 1\n"], ids=["empty", "binary", "wrong"])
def test_a_broken_plan_ends_a_real_process_with_exit_2(content: bytes) -> None:
    Path("plan.toml").write_bytes(content)
    code, stdout, stderr = finish("simulate", "plan.toml")
    assert (code, stdout) == (ExitCode.BAD_INPUT, "")
    assert "Traceback" not in stderr
    assert TOLD.fullmatch(stderr.splitlines()[0])
    assert [each.name for each in Path().iterdir()] == ["plan.toml"]


def test_without_a_verb_the_help_is_shown() -> None:
    code, stdout, stderr = run()
    assert (code, stdout) == (ExitCode.BAD_INPUT, "")
    assert stderr.startswith("Usage: rfprobe")
    assert "Commands:" in stderr


def test_plans_are_checked_all_at_once() -> None:
    good, bad = written(GOOD, "good.toml"), written(GOOD.replace("hold_s", "holds"), "bad.toml")
    code, stdout, stderr = run("plan", "check", str(good), str(bad), "vertebra-70C")
    assert code == ExitCode.BAD_INPUT
    assert stdout.splitlines()[0] == "good.toml: good: L3 phantom, 10 mm tip"
    assert "vertebra 70 °C" in stdout
    assert stderr == "bad.toml:7: key `target.holds`: unknown key; did you mean `hold_s`?\n"
    assert run("plan", "check", str(good), "--probe", "bone-20mm")[0] == ExitCode.COMPLETED


def test_a_new_plan_is_a_good_plan() -> None:
    assert run("plan", "new", "mine.toml", "--name", "sample 7")[0] == 0
    assert run("plan", "check", "mine.toml") == (0, "mine.toml: good: sample 7\n", "")
    code, _, stderr = run("plan", "new", "mine.toml")
    assert (code, stderr) == (
        ExitCode.BAD_INPUT,
        "mine.toml: the file is there already; --force overwrites it\n",
    )
    assert run("plan", "new", "mine.toml", "--force")[0] == 0
    assert run("plan", "new", "none/mine.toml")[0] == ExitCode.ENVIRONMENT


def test_a_plan_is_shown_with_its_profile() -> None:
    code, stdout, _ = run("plan", "show", "vertebra-70C")
    assert code == 0
    assert "target_mC = 70000" in stdout
    assert "38 to 95 °C" in stdout
    assert "70.0 °C │" in stdout
    assert "ramp 50 s from 20 °C, hold 60 s, cool-down 30 s" in stdout


def test_sessions_are_listed_verified_and_reported() -> None:
    good = SyntheticRun().record(Path("sessions"))
    time.sleep(0.002)
    lossy = SyntheticRun(end="fault", lost=frozenset({40})).record(Path("sessions"))
    Path("sessions/broken.rfp").write_bytes(b"SQLite format 3\x00 and then nothing of the kind")
    code, stdout, _ = run("sessions", "list")
    assert code == 0
    assert "Completed" in stdout
    assert "Stopped by safety: interlock_open" in stdout
    assert "broken" in stdout
    listed = json.loads(run("sessions", "list", "--json")[1])
    assert {each["session_id"]: each["result"] for each in listed} == {
        good.stem: "completed",
        lossy.stem: "fault",
        "broken": None,
    }
    assert run("sessions", "verify", good.stem)[0] == ExitCode.COMPLETED
    code, stdout, stderr = run("sessions", "verify", good.stem, lossy.stem)
    assert code == ExitCode.CHECK_FAILED
    assert f"{good}: good" in stdout
    assert f"{lossy}: failed: 1 frames are lost" in stderr
    Path("sessions/broken.rfp").unlink()
    assert run("sessions", "verify", "--all")[0] == ExitCode.CHECK_FAILED


def test_a_report_goes_beside_its_session_or_where_it_is_wanted() -> None:
    session = SyntheticRun(end="fault").record(Path("elsewhere"))
    code, stdout, stderr = run("report", "last", "-o", "elsewhere")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [str(session.with_suffix(".html")), str(session.with_suffix(".png"))]
    assert run("report", str(session), "-o", "mine.html", "--no-picture")[1] == "mine.html\n"
    assert session.with_suffix(".html").read_bytes() == Path("mine.html").read_bytes()
    assert run("report", str(session), "-o", "mine.txt")[0] == ExitCode.BAD_INPUT
    assert run("report", str(session), "-o", "none/mine.html")[0] == ExitCode.BAD_INPUT
    assert not Path("mine.png").exists()


def test_faults_are_listed_one_a_line_name_first() -> None:
    code, stdout, _ = run("simulate", "--list-faults")
    assert code == 0
    names = [line.split()[0] for line in stdout.splitlines()]
    assert names == [kind.name for kind in engine_faults()]
    assert len(names) > 5


def engine_faults() -> list[Any]:
    from rfprobe.sim.faults import list_faults

    return list(list_faults())


@pytest.mark.parametrize(
    ("fault", "exit_code", "result"),
    [
        ([], ExitCode.COMPLETED, "completed"),
        (["--fault", "interlock@2.5"], ExitCode.SAFETY, "fault"),
        (["--fault", "host_silence@2.5"], ExitCode.LINK_LOST, "link_lost"),
        (["--fault", "operator_stop@2.5"], ExitCode.OPERATOR, "stopped"),
    ],
    ids=["completed", "fault", "link_lost", "stopped"],
)
def test_a_run_ends_with_the_exit_code_of_its_result(fault: list[str], exit_code: ExitCode, result: str) -> None:
    path = written(QUICK)
    code, stdout, stderr = run("simulate", str(path), "--json", "--runtime", "cpython", "-o", "out", *fault)
    assert code == exit_code, stderr
    summary = json.loads(stdout)
    assert summary["result"] == result
    assert stdout.count("\n") == 1
    assert Path(summary["log"]).is_file()
    (session,) = list_sessions(Path("out"))
    assert Session(session).summary == summary
    assert run("sessions", "verify", "last", "-d", "out")[0] == ExitCode.COMPLETED


def test_a_ceiling_ends_a_run_as_limited() -> None:
    path = written(QUICK + "max_energy_J = 5.0\n")
    code, stdout, _ = run("simulate", str(path), "--json", "--runtime", "cpython")
    assert code == ExitCode.LIMITED
    assert json.loads(stdout)["stop_reason"] == "energy_ceiling"


def test_the_summary_is_a_table_with_the_verdict() -> None:
    code, stdout, stderr = run("simulate", str(written(QUICK)), "--runtime", "cpython")
    assert code == 0
    assert "L3 phantom, 10 mm tip: completed" in stdout
    assert "the simulated tissue" in stdout
    assert NOT_A_MEDICAL_DEVICE in stdout
    assert "heating to the target" in stderr
    assert re.search(r"sessions/\d{8}T\d{9}Z_l3-phantom-10-mm-tip_vertebra\.rfp", stdout)


def test_the_default_runtime_is_named_with_its_reason() -> None:
    runtime, why = engine.default_runtime()
    _, stdout, stderr = run("simulate", str(written(QUICK)), "--json")
    assert f"runtime: {runtime} ({why})" in stderr
    assert json.loads(stdout)["runtime"] == runtime


def test_an_exception_nobody_expected_is_exit_1_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Session:
        raise ZeroDivisionError("once in a while")

    monkeypatch.setattr(engine, "simulate", fail)
    code, stdout, stderr = run("simulate", str(written(QUICK)), "--runtime", "cpython")
    assert (code, stdout) == (ExitCode.BUG, "")
    assert stderr.startswith("rfprobe: this is a bug (ZeroDivisionError: once in a while). The traceback is in ")
    assert stderr.count("\n") == 1
    traceback = Path(stderr.strip().rpartition(" ")[2])
    assert "once in a while" in traceback.read_text(encoding="utf-8")


def test_the_environments_problems_are_exit_6(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("taken").write_text("", encoding="utf-8")
    code, stdout, stderr = run("simulate", str(written(QUICK)), "--runtime", "cpython", "-o", "taken")
    assert (code, stdout) == (ExitCode.ENVIRONMENT, "")
    assert stderr.splitlines()[-1] == "taken: not a directory"

    def missing(*_: object, **__: object) -> Session:
        raise EnvironmentProblem("MicroPython's VM is not here")

    monkeypatch.setattr(engine, "simulate", missing)
    assert run("simulate", "plan.toml", "--runtime", "cpython")[0] == ExitCode.ENVIRONMENT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_through_the_device(number: signal.Signals) -> None:
    path = written(QUICK.replace("hold_s = 2.0", "hold_s = 3600.0").replace("GOOD", ""))
    process = start("simulate", str(path), "--runtime", "cpython", "--json", "-o", "out")
    assert process.stderr is not None
    while "holding" not in (line := process.stderr.readline()):
        assert line, "it ended before it held"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OPERATOR, stderr
    summary = json.loads(stdout)
    assert (summary["result"], summary["stop_reason"]) == ("stopped", "operator_stop")
    (session,) = list_sessions(Path("out"))
    assert Session(session).closed


def test_served_it_is_a_device_behind_a_port() -> None:
    process = start("simulate", "vertebra-70C", "--serve", "--json", "--runtime", "cpython")
    try:
        assert process.stdout is not None
        links = json.loads(process.stdout.readline())["links"]
        (port,) = [int(link.rpartition(":")[2]) for link in links if link.startswith("socket://")]
        frames = hear_hello(port)
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OPERATOR, stderr
    (hello, *_) = [frame for frame in frames if frame.type == protocol.HELLO]
    assert hello.hello["fw"] == VERSION
    assert list(Path().iterdir()) == []


def hear_hello(port: int) -> list[Frame]:
    decoder, frames = FrameDecoder(), list[Frame]()
    until_s = time.monotonic() + 30
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(HELLO_LINE)
        while not any(frame.type == protocol.HELLO for frame in frames):
            assert time.monotonic() < until_s
            frames += [item for item in decoder.feed(connection.recv(4096)) if isinstance(item, Frame)]
    return frames


def test_help_imports_nothing_that_takes_time() -> None:
    heavy = (
        "numpy",
        "pandas",
        "matplotlib",
        "scipy",
        "pydantic",
        "tree_sitter",
        "serial",
        "rfprobe.sim.engine",
    )
    code = f"import sys, rfprobe, rfprobe.cli; print([name for name in {heavy!r} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.bench
@pytest.mark.parametrize("verb", [[], ["simulate"], ["report"]], ids=["rfprobe", "simulate", "report"])
def test_help_answers_within_half_a_second(verb: list[str]) -> None:
    finish(*verb, "--help")  # compiled and in the disk's cache from here on
    times_s: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        assert finish(*verb, "--help")[0] == 0
        times_s.append(time.perf_counter() - began)
    assert min(times_s) < 0.5


def test_the_python_interface_does_what_the_command_does() -> None:
    path = written(QUICK)
    session = rfprobe.simulate(path, runtime="cpython", seed=3, out_dir="out")
    assert session.summary["result"] == "completed"
    assert session.summary["seed"] == 3
    assert rfprobe.open("last", "out").id == session.id
    assert rfprobe.open(session.path).df.equals(session.df)
