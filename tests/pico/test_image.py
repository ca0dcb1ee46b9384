"""Building the image: its inputs, the mirror, the cache, and what a user is told when something lacks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rfprobe import debian_toolchain as debian
from rfprobe import image, micropython_mends
from rfprobe.debian_toolchain import find_mirror
from rfprobe.errors import BadInput, EnvironmentProblem
from rfprobe.resources import shipped

from .conftest import FIRMWARE

KEY_BLOCK = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----"


def apt_folder(folder: Path, sources: str = "", one_line: str = "") -> Path:
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list.d" / "debian.sources").write_text(sources)
    (folder / "sources.list").write_text(one_line)
    return folder


def test_mirror_from_deb822_sources(tmp_path: Path) -> None:
    sources = (
        "Types: deb\n# a comment\nURIs: http://mirror.invalid/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main\nSigned-By: /keys/archive.gpg\n"
    )
    mirror = find_mirror(apt_folder=apt_folder(tmp_path, sources))
    assert (mirror.uri, mirror.signed_by) == ("http://mirror.invalid/debian", "/keys/archive.gpg")


def test_mirror_with_its_key_inline(tmp_path: Path) -> None:
    sources = (
        "Types: deb deb-src\nURIs: https://mirror.invalid/debian/\nSuites: trixie\nComponents: main contrib\n"
        f"Signed-By:\n{KEY_BLOCK}\n"
    )
    mirror = find_mirror(apt_folder=apt_folder(tmp_path, sources))
    assert mirror.signed_by is not None
    assert mirror.signed_by.strip().startswith("-----BEGIN PGP")


def test_mirror_from_one_line_sources(tmp_path: Path) -> None:
    lines = (
        "# deb http://commented.invalid/debian trixie main\n"
        "deb-src http://source.invalid/debian trixie main\n"
        "deb http://mirror.invalid/security trixie-security main\n"
        "deb [arch=amd64 signed-by=/keys/a.gpg] http://mirror.invalid/debian trixie main non-free-firmware\n"
    )
    mirror = find_mirror(apt_folder=apt_folder(tmp_path, one_line=lines))
    assert (mirror.uri, mirror.signed_by) == ("http://mirror.invalid/debian", "/keys/a.gpg")


@pytest.mark.parametrize(
    "stanza",
    [
        "Types: deb\nURIs: http://other.invalid/ubuntu\nSuites: noble\nComponents: main\n",
        "Types: deb\nURIs: http://m.invalid/debian\nSuites: trixie\nComponents: main\nEnabled: no\n",
        "Types: deb\nURIs: http://m.invalid/debian-security\nSuites: trixie-security\nComponents: main\n",
        "",
    ],
)
def test_machine_without_a_debian_archive_is_told_what_to_do(tmp_path: Path, stanza: str) -> None:
    with pytest.raises(EnvironmentProblem, match="--mirror or RFPROBE_DEBIAN_MIRROR"):
        find_mirror(apt_folder=apt_folder(tmp_path, stanza))


def test_named_mirror_wins(tmp_path: Path) -> None:
    assert find_mirror("http://mine.invalid/debian", apt_folder(tmp_path)).uri == "http://mine.invalid/debian"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("Get:1 x\nE: Failed to fetch y  404\nmore", "E: Failed to fetch y  404"),
        ("a.c: warning: w\na.c:3: error: no such thing\nninja: build stopped", "a.c:3: error: no such thing"),
        ("just this", "just this"),
        ("", "no output"),
    ],
)
def test_telling_line(output: str, line: str) -> None:
    assert debian.telling_line(output) == line


def test_digest_follows_each_input(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text("a = 1\n")
    first = image.collect_inputs("rpi_pico", tmp_path)
    assert "firmware/boot.py" in first.files
    assert "boards/rpi_pico/micropython/rf_pins.c" in first.files
    digest = first.digest()
    assert image.collect_inputs("rpi_pico", tmp_path).digest() == digest
    main.write_text("a = 2\n")
    assert image.collect_inputs("rpi_pico", tmp_path).digest() != digest
    (tmp_path / "more.py").write_text("")
    assert "firmware/more.py" in image.collect_inputs("rpi_pico", tmp_path).files


def test_sources_of_another_release_are_not_mended(tmp_path: Path) -> None:
    paths = [tmp_path / mend.path for mend in micropython_mends.MENDS]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    for mend in micropython_mends.MENDS:
        with (tmp_path / mend.path).open("a") as file:
            file.write(mend.before)
    paths[-1].write_text(paths[-1].read_text() * 2)
    with pytest.raises(EnvironmentProblem, match=f"{micropython_mends.MENDS[-1].path} is not the one"):
        micropython_mends.mend_sources(tmp_path)
    changed = paths[0].read_text()
    assert micropython_mends.MENDS[0].after in changed
    assert micropython_mends.MENDS[0].before not in changed


def test_the_toolchain_follows_its_mends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = debian.toolchain_key()
    (tmp_path / "other.py").write_text("MENDS = ()\n")
    monkeypatch.setattr(micropython_mends, "__file__", str(tmp_path / "other.py"))
    assert debian.toolchain_key() != before


def test_what_a_tick_runs_is_machine_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Core and drivers are staged compiled; main.py and the board file as they are."""
    compiled: list[str] = []
    monkeypatch.setattr(image, "run", lambda command, what: compiled.append(what))
    inputs = image.collect_inputs("rpi_pico")
    image._stage(inputs, tmp_path)
    image._compile_natively(inputs, tmp_path, Path("mpy-cross"))
    assert "compiling firmware/rfprobe_core/controller.py" in compiled
    assert "compiling firmware/rfprobe_drivers/max31856.py" in compiled
    assert not (tmp_path / "firmware/rfprobe_core/controller.py").exists()
    assert (tmp_path / "firmware/main.py").exists()
    assert (tmp_path / "boards/rpi_pico/board.py").exists()
    assert (tmp_path / "boards/calibration_files.py").exists()


def test_what_runs_at_rest_alone_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays bytecode."""
    compiled: list[str] = []
    monkeypatch.setattr(image, "run", lambda command, what: compiled.append(what))
    inputs = image.collect_inputs("rpi_pico")
    image._stage(inputs, tmp_path)
    image._compile_natively(inputs, tmp_path, Path("mpy-cross"))
    for name in image.AT_REST:
        assert name in inputs.files
        assert f"compiling {name}" not in compiled
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "no_such_board"], "no image can be built for board 'no_such_board'"),
        (["--firmware", "nowhere"], "nowhere has no main.py"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert image.main([*arguments, "--cache", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_missing_tool_is_one_line_and_exit_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert image.main(["--firmware", str(FIRMWARE), "--cache", str(tmp_path / "cache")]) == 6
    error = capsys.readouterr().err
    assert "is needed and not installed (Debian package: make)" in error
    assert error.count("\n") == 1


def test_unreachable_archive_is_one_clear_line_and_exit_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    code = image.main(["--firmware", str(FIRMWARE), "--cache", str(cache), "--mirror", f"file:{tmp_path}/nowhere"])
    assert code == 6
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("image: fetching Debian's package lists failed: ")
    assert not list(cache.glob("toolchain-*/versions.json"))


@pytest.mark.parametrize("name", ["CMAKE_COMMAND:INTERNAL", "CMAKE_MAKE_PROGRAM:FILEPATH", "Python3_EXECUTABLE:STRING"])
def test_a_build_tree_whose_tools_are_gone_is_not_used(name: str, tmp_path: Path) -> None:
    """It is kept outside the repository, and may have been configured from a clone that is no more."""
    configured = tmp_path / "CMakeCache.txt"
    assert not image.tools_are_there(configured)
    configured.write_text(f"# made by a test\n{name}={sys.executable}\nCMAKE_HOME_DIRECTORY:INTERNAL=/nowhere\n")
    assert image.tools_are_there(configured)
    configured.write_text(f"# made by a test\n{name}={tmp_path}/gone/bin/tool\n")
    assert not image.tools_are_there(configured)


@pytest.mark.pico
def test_an_image_that_would_run_into_the_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It boots, until the first file that is written takes its end."""
    inputs = image.collect_inputs("rpi_pico")
    binary = tmp_path / "firmware.bin"
    binary.write_bytes(bytes(inputs.room_bytes + 1))
    monkeypatch.setattr(debian, "provide_toolchain", lambda *_: None)
    monkeypatch.setattr(image, "_compile", lambda *_: binary)
    with pytest.raises(BadInput, match=rf"has {inputs.room_bytes + 1} bytes.*take 1 bytes out"):
        image.build_image(inputs, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.uf2"))


def test_the_room_is_what_micropython_leaves_before_the_file_system() -> None:
    header = (shipped("boards") / "rpi_pico" / "micropython" / "mpconfigboard.h").read_text()
    told = re.search(r"MICROPY_HW_FLASH_STORAGE_BYTES\s+\((\d+) \* 1024\)", header)
    assert told is not None
    assert image.collect_inputs("rpi_pico").room_bytes == (2048 - int(told[1])) * 1024


def test_second_build_comes_from_the_cache_at_once(test_image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "rfprobe.uf2"
    command = [sys.executable, "-m", "rfprobe.image", "--firmware", str(FIRMWARE), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cached"] is True
    assert output.read_bytes() == test_image.read_bytes()


@pytest.mark.pico
def test_equal_inputs_give_equal_bytes_after_another_build(test_image: Path, tmp_path: Path) -> None:
    """The kept build tree leaves nothing of one firmware in the next."""
    cache = image.default_cache()
    inputs: list[image.Inputs] = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(f"import {name}\nprint({name!r}, {name}.value)\n")
        (tmp_path / name / f"{name}.py").write_text(f"value = {str(tmp_path)!r}\n")
        inputs.append(image.collect_inputs("rpi_pico", tmp_path / name))
    one, other = (image.build_image(each, cache) for each in inputs)
    before = one.path.read_bytes()
    assert other.path.read_bytes() != before
    one.path.unlink()
    again = image.build_image(inputs[0], cache)
    assert not again.cached
    assert again.path.read_bytes() == before
    for built in (again, other):
        built.path.unlink()
        built.path.with_suffix(".json").unlink()
