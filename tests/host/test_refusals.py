"""Each command, given what it cannot use: one clear line, the contract's exit code, and nothing lost."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.owner import Owner
from rfprobe.serve import ByteServer
from tests.host.synthetic_run import SyntheticRun
from tests.host.test_plan_file import GOOD

pytestmark = [
    pytest.mark.slow,  # left to `make test`
    pytest.mark.skipif(sys.platform == "win32", reason="needs pty"),
]

PORT_COMMANDS = (
    ["run", "plan.toml", "--yes"],
    ["stop"],
    ["monitor", "--lines"],
    ["console"],
)
SESSION_COMMANDS = (
    ["report"],
    ["export"],
    ["replay"],
    ["replay", "--through"],
    ["monitor", "--lines", "--replay"],
    ["sessions", "verify"],
)
told = " ".join


def run(*arguments: str) -> tuple[int, str, list[str]]:
    """(exit code, stdout, lines of stderr) of a command in this process."""
    result = CliRunner().invoke(app, list(arguments), prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr.splitlines()


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RFPROBE_PORT", raising=False)
    Path("plan.toml").write_text(GOOD, encoding="utf-8")
    Path("file.txt").write_text("no port and no session", encoding="utf-8")


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[str]:
    name = str(tmp_path / "port")
    with ByteServer(symlink=tmp_path / "port"), Owner(name, "rfprobe run somebody's plan", {}):
        yield name


@pytest.mark.parametrize("command", PORT_COMMANDS, ids=told)
@pytest.mark.parametrize(
    ("port", "code", "says"),
    [
        ("nowhere", 6, "there is no port nowhere"),
        ("file.txt", 6, "not a serial port"),
        ("socket://127.0.0.1:1", 6, "nobody listens"),
        ("socket://a:b", 2, "socket://a:b"),
        ("id:0815", 6, "no board with this serial number"),
        ("@left", 2, "no such name under [ports]"),
        ("", 2, "--port"),
    ],
)
def test_a_port_that_cannot_be_used(command: list[str], port: str, code: int, says: str) -> None:
    found = run(*command, "--port", port)
    assert (found[0], found[1], len(found[2])) == (code, "", 1), found
    assert says in found[2][0]
    assert not Path("sessions").exists()


@pytest.mark.parametrize("command", PORT_COMMANDS, ids=told)
def test_no_port_named_and_none_found(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfprobe.port_names.usb_ports", list)
    found = run(*command)
    assert (found[0], found[1]) == (2, "")
    assert found[2] == ["no board was found: name its port with --port or RFPROBE_PORT"]


@pytest.mark.parametrize("command", [PORT_COMMANDS[0], PORT_COMMANDS[3]], ids=told)
def test_a_port_that_is_owned_names_its_owner(command: list[str], owned: str) -> None:
    code, stdout, stderr = run(*command, "--port", owned)
    assert (code, stdout, len(stderr)) == (6, "", 1)
    assert "`rfprobe run somebody's plan` (process " in stderr[0]


def broken(kind: str) -> str:
    """A file that is no whole session, by name."""
    path = SyntheticRun().record(Path("kept"))
    target = Path(f"{kind}.rfp")
    data = path.read_bytes()
    if kind == "truncated":
        target.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        target.touch()
    elif kind == "other":
        with closing(sqlite3.connect(target)) as database:
            database.execute("CREATE TABLE a (b)")
    elif kind == "text":
        return "file.txt"
    elif kind == "newer":
        target.write_bytes(data)
        with closing(sqlite3.connect(target)) as database:
            database.execute("PRAGMA user_version = 99")
    return str(target)


@pytest.mark.parametrize("command", SESSION_COMMANDS, ids=told)
@pytest.mark.parametrize(
    ("kind", "codes", "says"),
    [
        ("absent", {2}, "no such session file"),
        ("text", {2}, "not a session file"),
        ("empty", {2}, "not a session file"),
        ("other", {2}, "not a session file"),
        ("newer", {2}, "schema 99"),
        ("truncated", {6, 8}, "truncated.rfp"),
    ],
)
def test_what_is_no_session(command: list[str], kind: str, codes: set[int], says: str) -> None:
    name = broken(kind)
    before = Path(name).read_bytes() if Path(name).exists() else None
    code, stdout, stderr = run(*command, name)
    assert code in codes, (stdout, stderr)
    assert stdout == "" and len(stderr) == 1 and says in stderr[0], stderr
    assert (Path(name).read_bytes() if Path(name).exists() else None) == before
    assert not Path("export").exists() or not list(Path("export").rglob("*.csv"))


@pytest.mark.parametrize("command", SESSION_COMMANDS, ids=told)
def test_no_session_of_that_name(command: list[str]) -> None:
    code, stdout, stderr = run(*command, "20990101")
    assert (code, stdout, len(stderr)) == (2, "", 1)
    assert "no session of that name" in stderr[0]
