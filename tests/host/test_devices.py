"""`devices`, `doctor` and `console`: what is told of each port, and that nothing is disturbed by asking."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfprobe import devices, doctor
from rfprobe.bench_file import Bench
from rfprobe.devices import bootloaders, look_at
from rfprobe.serve import ByteServer
from tests.host.virtual_bench import (
    LONG_PLAN,
    VirtualBench,
    behind,
    finished,
    heating_on,
    rfprobe,
    virtual_bench,
)

pytestmark = [
    pytest.mark.slow,  # seconds each: left to `make test`
    pytest.mark.skipif(sys.platform == "win32", reason="needs pty"),
]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RFPROBE_PORT", raising=False)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[VirtualBench]:
    with virtual_bench(tmp_path) as made:
        yield made


class Answering:
    """Something at a port that is none of ours."""

    tick_us = 10_000

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heard = b""

    def exchange(self, rx: bytes) -> bytes:
        self.heard += rx
        return rx + self.answer if rx else b""


REPL = b"\r\nTraceback (most recent call last):\r\n  File \"<stdin>\", line 1\r\nNameError: name 'HELLO'\r\n>>> "


@pytest.mark.parametrize(
    ("answer", "runs", "says"),
    [
        (REPL, "micropython", "stock MicroPython"),
        (b"", "nothing", "nothing answers"),
        (b"\xfe\x01", "nothing", "nothing"),
    ],
)
def test_what_is_none_of_ours_is_told_by_how_it_answers(tmp_path: Path, answer: bytes, runs: str, says: str) -> None:
    with ByteServer(symlink=tmp_path / "port") as server, behind(Answering(answer), server):
        found = look_at(str(tmp_path / "port"))
    assert (found.runs, says in found.text) == (runs, True)


def test_a_board_tells_what_it_runs_under_the_bench_s_name(bench: VirtualBench) -> None:
    Path("bench.toml").write_text(f'[ports]\nleft = "{bench.port}"\nright = "id:0815"\n', encoding="utf-8")
    code, stdout, stderr = finished("devices", "--json")
    assert (code, stderr) == (0, "")
    left, right = sorted(json.loads(stdout), key=lambda each: each["aliases"])
    assert (left["runs"], left["aliases"], left["port"]) == ("firmware", ["@left"], bench.port)
    assert left["hello"]["uid"] == "sim00000001" and "unique id sim00000001" in left["text"]
    assert (right["runs"], right["aliases"]) == ("unreachable", ["@right"])


def test_a_run_is_named_and_not_disturbed(bench: VirtualBench) -> None:
    Path("long.toml").write_text(LONG_PLAN, encoding="utf-8")
    run = rfprobe("run", "long.toml", "--port", bench.port, "--yes", "--no-report")
    heating_on(bench, run)
    code, stdout, _ = finished("devices")
    assert code == 0 and f"(process {run.pid})" in stdout and bench.port in stdout
    assert finished("doctor")[0] == 0
    code, _, stderr = finished("console", "--port", bench.port)
    assert code == 6 and f"(process {run.pid})" in stderr
    assert bench.enabled
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=30)


def test_a_bootloader_s_volume_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = tmp_path / "RPI-RP2"
    volume.mkdir()
    (volume / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    monkeypatch.setattr(devices, "mounted_volumes", lambda: iter([tmp_path, volume]))
    (found,) = bootloaders()
    assert (found.port, found.runs) == (str(volume), "bootloader") and "RPI-RP2" in found.text


# doctor


def test_all_is_well_with_a_board_and_a_disk(bench: VirtualBench) -> None:
    code, stdout, stderr = finished("doctor", "--port", bench.port)
    assert (code, stderr) == (0, ""), stdout
    assert "rfprobe 0.1.0 on cpython" in stdout and "WRONG" not in stdout


@pytest.mark.parametrize(
    ("port", "says", "cure"),
    [
        ("nowhere", "there is no port nowhere", "plug it in"),
        ("plain.txt", "is not a serial port", "name a serial port"),
        ("socket://127.0.0.1:1", "nobody listens", "simulate PLAN --serve"),
    ],
)
def test_what_stands_in_the_way_is_told_with_its_cure(port: str, says: str, cure: str) -> None:
    Path("plain.txt").touch()
    code, stdout, _ = finished("doctor", "--port", port, "--json")
    finding = json.loads(stdout)[-1]
    assert code == 8
    assert finding["grave"] and says in finding["found"] and cure in finding["cure"]


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 60)
    finding = next(each for each in doctor.examine(Bench(), tmp_path / "a" / "b", "nowhere") if each.what == "disk")
    assert finding.grave and "move old sessions away" in finding.cure


def test_what_is_not_installed_is_told_with_the_extra_that_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    cures = {each.cure for each in doctor.examine(Bench(), tmp_path, "nowhere")}
    assert {"pip install 'rfprobe[export]'", "pip install 'rfprobe[pico]'"} <= cures


# console


def test_the_console_sees_rf_off_and_then_is_mpremote_s(bench: VirtualBench) -> None:
    pytest.importorskip("mpremote")
    Path("long.toml").write_text(LONG_PLAN, encoding="utf-8")
    run = rfprobe("run", "long.toml", "--port", bench.port, "--yes", "--no-report")
    heating_on(bench, run)
    run.kill()
    run.communicate()
    master, slave = os.openpty()
    process = rfprobe("console", "--port", bench.port, stdin=slave, stdout=slave)
    said = b""
    while b"Connected to MicroPython" not in said:
        said += os.read(master, 1024)
    assert not bench.enabled, "off before the prompt is there"
    time.sleep(0.2)
    os.write(master, b"\x1d")
    assert process.wait(timeout=20) == 0
    process.communicate()
    os.close(slave)
    os.close(master)
