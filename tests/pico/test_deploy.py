"""Deploying by the real mpremote to the emulated Pico: what changed is copied, what is stale goes, the rest stays."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfprobe import deploy as deploying
from rfprobe.board_file import read_board
from rfprobe.cli import app
from rfprobe.client import RunClient
from rfprobe.deploy import MANIFEST, compile_firmware
from rfprobe.errors import BadInput, CheckFailed, EnvironmentProblem, ExitCode
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.resources import shipped
from rfprobe.sim.emulated_pico import EmulatedPico
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.pico_flash import file_system
from rfprobe.sim.pico_port import PicoPort, serve_tcp
from rfprobe.sim.pico_runtime import PicoRuntime
from rfprobe.sim.plant import Plant
from rfprobe.sim.tissue import load_tissue
from rfprobe_core import protocol
from tests.runtimes.loop import probe, short_values

pytestmark = [pytest.mark.pico, pytest.mark.slow]

OF_THE_BOARD = ["board.mpy", "calibration_files.mpy", "pair_board.mpy", "rf_pins.mpy"]
PLACES = ["boot.py", "main.py", *OF_THE_BOARD, "extra/__init__.mpy", "extra/one.mpy", MANIFEST]


@pytest.fixture(scope="module")
def firmware_image() -> Path:
    """The image that is flashed: it says HELLO after every reset."""
    try:
        return build_image(collect_inputs("rpi_pico"), default_cache()).path
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")


@pytest.fixture
def port(firmware_image: Path) -> Iterator[PicoPort]:
    pico = EmulatedPico()
    pico.boot(firmware_image)
    with serve_tcp(pico) as served:
        yield served


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small firmware folder beside which the board's own files go: the whole one takes emulated minutes."""
    folder = tmp_path / "firmware"
    (folder / "extra").mkdir(parents=True)
    (folder / "main.py").write_text("import extra.one\n")
    (folder / "extra" / "__init__.py").write_text('"""Nothing."""\n')
    (folder / "extra" / "one.py").write_text("ONE = 1\n")
    return folder


def run(port: PicoPort, tree: Path, *more: str) -> tuple[int, str, str]:
    arguments = ["deploy", "--port", port.url, "--firmware", str(tree), *more]
    result = CliRunner().invoke(app, arguments, prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


def on_board(port: PicoPort, script: str) -> str:
    return deploying._exec(port.url, script)


@pytest.mark.timeout(600)
def test_the_second_time_nothing_is_copied_and_a_removed_file_goes(port: PicoPort, tree: Path) -> None:
    on_board(port, "f = open('/calibration.bin', 'wb'); f.write(b'kept'); f.close()")
    code, stdout, stderr = run(port, tree, "--wait", "240")
    assert code == 0, stderr
    counts, runs = stdout.splitlines()
    assert counts == f"{port.url}: {len(PLACES)} files copied, 0 removed, 0 unchanged"
    assert re.fullmatch(rf"{re.escape(port.url)}: runs rfprobe \S+, on micropython \S+, board rpi_pico, id \w+", runs)
    assert sorted(line.split(" (")[0] for line in stderr.splitlines()) == sorted(PLACES)
    assert stderr.splitlines()[-1].startswith("main.py (")
    assert on_board(port, "import extra.one; print(extra.one.ONE, extra.one.__file__)").split() == [
        "1",
        "extra/one.mpy",
    ]

    code, stdout, stderr = run(port, tree, "--wait", "0")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[0] == f"{port.url}: 0 files copied, 0 removed, {len(PLACES)} unchanged"

    (tree / "extra" / "one.py").unlink()
    (tree / "main.py").write_text("import extra\n")
    code, stdout, stderr = run(port, tree, "--wait", "0")
    assert code == 0, stderr
    assert stdout.splitlines()[0] == f"{port.url}: 2 files copied, 1 removed, {len(PLACES) - 3} unchanged"
    listed = on_board(port, "import os; print(os.listdir('/'), os.listdir('/extra'))")
    assert "one.mpy" not in listed
    assert on_board(port, "print(open('/calibration.bin').read())").strip() == "kept"


def test_the_whole_firmware_starts_from_its_files_and_can_be_armed(firmware_image: Path, tmp_path: Path) -> None:
    """Loaded into RAM it leaves memory in pieces; calibrated, so that CONFIGURE and ARM do all they do."""
    told: list[str] = []
    for number, (name, content) in enumerate(compile_firmware(read_board("rpi_pico")).items()):
        path = tmp_path / str(number)
        path.write_bytes(content)
        told.append(f"{name}={path}")
    plant = Plant(load_tissue("vertebra"), probe(), 1)
    device = LockStep(plant, PicoRuntime(firmware_image, file_system("exact", *told)))
    client = RunClient(short_values(), protocol.protocol_digest())
    while client.state != protocol.ARMED and not client.over and plant.t_s < 12.0:
        client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s)
    assert client.state == protocol.ARMED, (client.phase, client.refusal)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_whole_firmware_runs_from_its_files_and_is_copied_once(port: PicoPort, tmp_path: Path) -> None:
    """mpremote waits ten seconds of real time for each answer: on a busy machine the emulated board is too slow."""
    firmware = tmp_path / "whole"
    shutil.copytree(shipped("firmware"), firmware, ignore=shutil.ignore_patterns("__pycache__"))
    (firmware / "rfprobe_core" / "version.py").write_text('VERSION = "0.0.77"\n')
    code, stdout, stderr = run(port, firmware, "--wait", "240")
    assert code == 0, stderr
    counts, runs = stdout.splitlines()
    copied = re.fullmatch(rf"{re.escape(port.url)}: (\d+) files copied, 0 removed, 0 unchanged", counts)
    assert copied is not None
    assert int(copied[1]) > 25
    assert "runs rfprobe 0.0.77, on micropython" in runs, "the files, not what is frozen into the image"
    code, stdout, stderr = run(port, firmware, "--wait", "0")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[0] == f"{port.url}: 0 files copied, 0 removed, {copied[1]} unchanged"


@pytest.mark.timeout(300)
def test_another_kind_of_board_is_left_alone(port: PicoPort, tree: Path) -> None:
    code, stdout, stderr = run(port, tree, "--board", "esp32_generic")
    assert (code, stdout) == (ExitCode.BAD_INPUT, "")
    assert stderr == f"{port.url}: another board: it is rp2, and esp32_generic is esp32\n"


def test_what_cannot_be_compiled_is_one_line_and_touches_nothing(tree: Path) -> None:
    (tree / "extra" / "one.py").write_text("def broken(:\n")
    with pytest.raises(BadInput, match=r"one\.py: cannot be compiled: SyntaxError: invalid syntax"):
        compile_firmware(read_board("rpi_pico"), tree)


def test_compiled_files_do_not_name_this_machine(tree: Path) -> None:
    files = compile_firmware(read_board("rpi_pico"), tree)
    assert set(files) == set(PLACES) - {MANIFEST}
    assert not [name for name, content in files.items() if str(tree).encode() in content]
    assert files == compile_firmware(read_board("rpi_pico"), tree)


def test_what_arrived_otherwise_is_noticed() -> None:
    with pytest.raises(CheckFailed, match=r"main\.py is another; 2 files are wrong"):
        deploying._verify({"main.py": "a", "boot.py": "b"}, [], {"main.py": "x"})
    with pytest.raises(CheckFailed, match=r"old\.mpy is still there"):
        deploying._verify({}, ["old.mpy"], {"old.mpy": "x"})


def test_main_comes_last_and_sources_that_would_win_go(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"main.py", "boot.py", "board.mpy", "core/a.mpy", MANIFEST}
    assert deploying._in_order(names) == ["core/a.mpy", "board.mpy", MANIFEST, "boot.py", "main.py"]
    wanted = dict.fromkeys(names, "new")
    there = dict.fromkeys(
        ("board.py", "core/a.py", "core/old.mpy", "notes.txt", "user.mpy", "gone.mpy", MANIFEST), "old"
    )
    monkeypatch.setattr(deploying, "_exec", lambda *_: '["gone.mpy", "board.mpy"]')
    assert deploying._stale("port", wanted, there) == ["board.py", "core/a.py", "core/old.mpy", "gone.mpy"]


def test_a_port_that_is_not_there_is_one_line(tree: Path) -> None:
    result = CliRunner().invoke(app, ["deploy", "--port", "/dev/none", "--firmware", str(tree)], prog_name="rfprobe")
    assert (result.exit_code, result.stdout) == (ExitCode.ENVIRONMENT, "")
    assert result.stderr.startswith("there is no port /dev/none; ")
