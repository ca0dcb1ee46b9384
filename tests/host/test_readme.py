"""The README's day at the bench, typed as it stands there, line by line."""

import os
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from rfprobe.session import Session, list_sessions

pytestmark = [
    pytest.mark.slow,  # two minutes in real time
    pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell and a pty"),
]

README = Path(__file__).resolve().parents[2] / "README.md"
# Typed after each line: what a person waits to see before the next.
PROMPT = 'status=$?; for i in $(seq 300); do test -e left && break; sleep 0.1; done; echo "[$status]"'


def the_day() -> list[str]:
    section = README.read_text(encoding="utf-8").partition("## A day at the bench")[2]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].splitlines()


def test_the_day_at_the_bench_runs_as_written(tmp_path: Path) -> None:
    lines = the_day()
    assert len(lines) > 8
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"])),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    script = "set -m\n" + "\n".join(f"{line}\n{PROMPT if not line.startswith('kill') else ''}" for line in lines)
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
        check=False,
    )
    statuses = re.findall(r"^\[(\d+)\]$", done.stdout, re.MULTILINE)
    assert statuses == ["0"] * (len(lines) - 1), (done.stdout, done.stderr)
    (path,) = list_sessions(tmp_path / "sessions")
    with Session(path) as session:
        assert session.summary["result"] == "completed"
        assert session.meta["sample"] == {"id": "gel-7", "batch": "B12"}
        rows = len(session.df)
    assert path.with_suffix(".html").is_file()
    assert len((tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()) == rows + 1
    assert list((tmp_path / "export").rglob("*.parquet"))
    print(f"a day at the bench: {len(lines)} lines in {time.monotonic() - began:.0f} s")
