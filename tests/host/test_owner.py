"""The process that owns a port, as others find it: at once with its record, and also while it is too busy to answer."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfprobe import owner
from rfprobe.owner import Attached, find_owner, owners
from rfprobe.sources import PortSource
from tests.host.virtual_bench import QUICK_PLAN, VirtualBench, rfprobe, until, virtual_bench

pytestmark = [
    pytest.mark.slow,  # seconds each: left to `make test`
    pytest.mark.skipif(sys.platform == "win32", reason="needs pty"),
]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualBench]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with virtual_bench(tmp_path) as made:
        yield made


def the_record_of(port: str) -> Path:
    """Where the port's owner says that it records, told to whoever attaches as soon as it can be found."""
    until(lambda: find_owner(port) is not None)
    found = find_owner(port)
    assert found is not None
    with Attached(found) as attached:
        return Path(attached.facts["session"])


def test_whoever_attaches_first_is_told_where_the_record_is(bench: VirtualBench, tmp_path: Path) -> None:
    source = PortSource(bench.port, tmp_path / "sessions")
    assert the_record_of(bench.port).is_file()
    source.close()
    (tmp_path / "quick.toml").write_text(QUICK_PLAN, encoding="utf-8")
    run = rfprobe("run", "quick.toml", "--port", bench.port, "--attended", stdin=subprocess.PIPE)
    assert the_record_of(bench.port).is_file()
    run.communicate("no\n", timeout=60)


def record_of(pid: int, address: int) -> Path:
    path = owner.records_directory() / "0123456789abcdef.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"port": "left", "what": "rfprobe run", "pid": pid, "address": address, "token": "secret"}
    path.write_text(json.dumps(facts), encoding="utf-8")
    return path


def test_an_owner_that_is_too_busy_to_answer_is_none_the_less_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(owner, "ANSWER_WITHIN_S", 0.2)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with socket.create_server(("127.0.0.1", 0)) as busy:  # it takes the call, and says nothing
        kept = record_of(os.getpid(), busy.getsockname()[1])
        assert [each.port for each in owners()] == ["left"] and kept.is_file()
        # its port is another program's by now
        kept = record_of(gone.pid, busy.getsockname()[1])
        assert owners() == [] and not kept.exists()


def test_an_owner_that_was_killed_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()[1]
    kept = record_of(os.getpid(), address)
    assert owners() == [] and not kept.exists()
