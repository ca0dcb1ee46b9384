"""Build the firmware image: MicroPython with the controller frozen in, to flash and for the emulated chip.

`python -m rfprobe.image --board rpi_pico` builds from Debian's packages (see `debian_toolchain`) and caches
what it made under a digest of everything that went into it: a second run with unchanged inputs copies the
image.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rfprobe import debian_toolchain as debian
from rfprobe.board_file import read_board
from rfprobe.debian_toolchain import Toolchain, find_tool, run, say
from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode, ExpectedError, reason_of
from rfprobe.resources import shipped

NATIVE_PACKAGES = ("firmware/rfprobe_core/", "firmware/rfprobe_drivers/")
"""What becomes machine code: all that a tick runs. The rest stays bytecode, which Ctrl-C can end anywhere."""
AT_REST = ("firmware/rfprobe_core/startcheck.py",)
"""What no tick runs: as bytecode it takes a quarter of the room."""

# Every image says that it was built at the moment MicroPython 1.25.0 was released, whenever it was built:
# equal inputs give equal bytes.
_SOURCE_DATE_EPOCH = "1744675200"

# Programs that a configured build tree goes on using, as CMakeCache.txt names them.
_NAMED_TOOLS = re.compile(r"^(?:CMAKE_COMMAND|CMAKE_MAKE_PROGRAM|Python3_EXECUTABLE):\w+=(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Inputs:
    """Everything that goes into an image, by its path in the staged tree."""

    board: str
    family: str
    """UF2 family: what board.toml says under [micropython]."""
    native_arch: str
    """The chip's architecture, as mpy-cross knows it; from there too."""
    room_bytes: int
    """What the flash has before the file system begins."""
    files: dict[str, Path]

    def digest(self, prefix: str = "") -> str:
        """Return the SHA-256 of all files below `prefix`, with their names."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            if name.startswith(prefix):
                content = self.files[name].read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode())
                digest.update(content)
        return digest.hexdigest()


@dataclass(frozen=True)
class Image:
    """A built image."""

    path: Path
    digest: str
    """SHA-256 of its inputs: the firmware, the board, the build and the toolchain."""
    cached: bool
    """True if it was taken from the cache."""
    versions: dict[str, str]
    """Debian version by package it was built from."""


def default_cache() -> Path:
    """Return the folder that holds toolchains and images: RFPROBE_CACHE or the user's cache folder."""
    named = os.environ.get("RFPROBE_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("rfprobe")


# Inputs


def collect_inputs(board: str, firmware: Path | None = None) -> Inputs:
    """Return the files that the image for `board` is made of.

    `firmware` replaces the project's firmware folder: main.py and modules for a test. Its boot.py may be
    missing, and then the project's is taken.
    """
    folder = shipped("boards") / board
    if not (folder / "manifest.py").is_file():
        known = ", ".join(sorted(path.parent.name for path in shipped("boards").glob("*/manifest.py"))) or "none"
        raise BadInput(f"no image can be built for board {board!r} (boards with a manifest.py: {known})")
    described = read_board(board)
    files = {f"boards/{board}/{path.name}": path for path in folder.glob("*.py")}
    for path in sorted((folder / "micropython").iterdir()):
        files[f"boards/{board}/micropython/{path.name}"] = path
    boards = folder.parent.resolve()
    files.update({f"boards/{path.relative_to(boards).as_posix()}": path for path in described.modules})
    files.update(_firmware_files(firmware))
    micropython, flash = described.micropython, described.flash
    room = (int(flash["size_KB"]) - int(flash["file_system_KB"])) * 1024
    return Inputs(board, str(micropython["uf2_family"]), str(micropython["native_arch"]), room, files)


def _firmware_files(override: Path | None) -> dict[str, Path]:
    own = _own_firmware_files()
    if override is None:
        return own
    if not (override / "main.py").is_file():
        raise BadInput(f"{override} has no main.py to freeze")
    return {"firmware/boot.py": own["firmware/boot.py"], **_python_files(override, "firmware")}


def firmware_files(folder: Path | None = None) -> dict[str, Path]:
    """Path on the board → source, of the firmware that is shipped, or of another folder."""
    return {name.removeprefix("firmware/"): path for name, path in _firmware_files(folder).items()}


def _own_firmware_files() -> dict[str, Path]:
    folder = shipped("firmware")
    files = _python_files(folder, "firmware")
    # Installed, the two packages are importable ones and not beside main.py.
    for package in ("rfprobe_core", "rfprobe_drivers"):
        spec = None if (folder / package).is_dir() else importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            files.update(_python_files(Path(spec.origin).parent, f"firmware/{package}"))
    return files


def _python_files(folder: Path, prefix: str) -> dict[str, Path]:
    paths = (path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    return {f"{prefix}/{path.relative_to(folder).as_posix()}": path for path in paths}


# Building


def build_image(inputs: Inputs, cache: Path, mirror: str | None = None) -> Image:
    """Return the image made of `inputs`, from `cache` or built into it."""
    cache.mkdir(parents=True, exist_ok=True)
    digest = _image_digest(inputs)
    image = cache / "images" / f"{inputs.board}-{digest[:24]}.uf2"
    record = image.with_suffix(".json")
    if image.is_file() and record.is_file():
        return Image(image, digest, True, json.loads(record.read_text()))
    with _locked(cache / "lock"):
        toolchain = debian.provide_toolchain(cache, mirror)
        binary = _compile(inputs, toolchain, cache)
        check_fits(binary.stat().st_size, inputs.room_bytes)
        image.parent.mkdir(exist_ok=True)
        _write_uf2(binary, image, inputs.family, toolchain)
        record.write_text(json.dumps(dict(toolchain.versions), indent=1, sort_keys=True) + "\n")
    return Image(image, digest, False, dict(toolchain.versions))


def check_fits(size_bytes: int, room_bytes: int) -> None:
    """Nothing else looks: a larger image is flashed, and the file system then overwrites its end."""
    if size_bytes > room_bytes:
        raise BadInput(
            f"the image has {size_bytes} bytes, and the flash has {room_bytes} before its file system: "
            f"take {size_bytes - room_bytes} bytes out of what is frozen"
        )


def _image_digest(inputs: Inputs) -> str:
    own_source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return hashlib.sha256(f"{debian.toolchain_key()} {own_source} {inputs.digest()}".encode()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the cache for one build at a time, across processes."""
    try:
        import fcntl  # not on Windows, where there is no apt either
    except ImportError as error:
        raise EnvironmentProblem("an image can only be built on Linux, with Debian's apt") from error
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tools_are_there(configured: Path) -> bool:
    """Whether a build tree is configured, by tools that still are where they were: a clone's .venv may be gone."""
    return configured.is_file() and all(Path(tool).exists() for tool in _NAMED_TOOLS.findall(configured.read_text()))


def _compile(inputs: Inputs, toolchain: Toolchain, cache: Path) -> Path:
    """Compile and link; return the flat binary.

    The build tree is kept per toolchain and board definition, so that a change of the firmware compiles the
    frozen modules and links, and nothing else.
    """
    definition = f"boards/{inputs.board}/micropython/"
    key = hashlib.sha256(f"{toolchain.root.name} {inputs.digest(definition)}".encode()).hexdigest()
    build = cache / f"build-{inputs.board}-{key[:16]}"
    stage = build / "stage"
    _stage(inputs, stage)
    _compile_natively(inputs, stage, toolchain.micropython / "mpy-cross" / "build" / "mpy-cross")
    env = debian.compiler_environment(toolchain.root)
    env.update(SOURCE_DATE_EPOCH=_SOURCE_DATE_EPOCH, MICROPY_GIT_TAG="v1.25.0", MICROPY_GIT_HASH="debian")
    cmake = find_tool("cmake", "cmake")
    tree = build / "tree"
    if not tools_are_there(tree / "CMakeCache.txt"):
        shutil.rmtree(tree, ignore_errors=True)
        say("configuring MicroPython's build")
        port = toolchain.micropython / "ports" / "rp2"
        run(
            [cmake, "-S", port, "-B", tree, *_generator(), *_definitions(inputs, toolchain, stage)],
            what="configuring MicroPython's build",
            env=env,
            log=build / "configure.log",
        )
    # Compiled modules are reused by file time, which says nothing about staged copies.
    shutil.rmtree(tree / "frozen_mpy", ignore_errors=True)
    say("compiling MicroPython with the firmware frozen in")
    run(
        [cmake, "--build", tree, "--parallel", str(os.cpu_count() or 1)],
        what="compiling MicroPython",
        env=env,
        log=build / "compile.log",
    )
    return tree / "firmware.bin"


def _stage(inputs: Inputs, stage: Path) -> None:
    shutil.rmtree(stage, ignore_errors=True)
    for name, path in inputs.files.items():
        target = stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # The board definition keeps its time, or everything would be compiled anew.
        (shutil.copy2 if "/micropython/" in name else shutil.copyfile)(path, target)


def _compile_natively(inputs: Inputs, stage: Path, mpy_cross: Path) -> None:
    """Put machine code in the place of the staged sources of NATIVE_PACKAGES; the manifest freezes either."""
    for name in inputs.files:
        if not name.startswith(NATIVE_PACKAGES) or name in AT_REST:
            continue
        source = stage / name
        options = [f"-march={inputs.native_arch}", "-X", "emit=native", "-s", name.removeprefix("firmware/")]
        run([mpy_cross, *options, source], what=f"compiling {name}")
        source.unlink()


def _generator() -> list[str]:
    return ["-G", "Ninja"] if shutil.which("ninja") else []


def _definitions(inputs: Inputs, toolchain: Toolchain, stage: Path) -> list[str]:
    board = stage / "boards" / inputs.board
    return [
        f"-DPICO_SDK_PATH_OVERRIDE={toolchain.pico_sdk}",
        "-DPICO_NO_PICOTOOL=1",
        f"-DMICROPY_BOARD=RFPROBE_{inputs.board.upper()}",
        f"-DMICROPY_BOARD_DIR={board / 'micropython'}",
        f"-DMICROPY_FROZEN_MANIFEST={board / 'manifest.py'}",
        f"-DPython3_EXECUTABLE={sys.executable}",
    ]


def _write_uf2(binary: Path, image: Path, family: str, toolchain: Toolchain) -> None:
    unfinished = image.with_suffix(".unfinished")
    converter = toolchain.micropython / "tools" / "uf2conv.py"
    run(
        [sys.executable, converter, "-c", "-f", family, "-b", "0x10000000", "-o", unfinished, binary],
        what="writing the UF2 file",
    )
    unfinished.replace(image)


# The command


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rfprobe.image", description=__doc__)
    parser.add_argument("--board", default="rpi_pico", help="folder below boards/ (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, help="where to put the image (default: build/BOARD/rfprobe.uf2)")
    parser.add_argument("--cache", type=Path, help="cache folder (default: RFPROBE_CACHE or the user's cache)")
    parser.add_argument("--firmware", type=Path, help="folder with a main.py to freeze in place of the firmware")
    parser.add_argument(
        "--mirror",
        default=os.environ.get("RFPROBE_DEBIAN_MIRROR"),
        help="Debian archive (default: RFPROBE_DEBIAN_MIRROR or the one in this machine's apt sources)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image and return the exit code: 0, 2 for bad input, 6 for what cannot be had."""
    options = _parse(arguments)
    output: Path = options.output or Path("build") / options.board / "rfprobe.uf2"
    started = time.monotonic()
    try:
        inputs = collect_inputs(options.board, options.firmware)
        image = build_image(inputs, options.cache or default_cache(), options.mirror)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.path, output)
    except ExpectedError as problem:
        print(f"image: {problem}", file=sys.stderr)
        return problem.exit_code
    except OSError as error:
        print(f"image: {error.filename or 'a file'}: {reason_of(error)}", file=sys.stderr)
        return ExitCode.ENVIRONMENT
    how = "from the cache" if image.cached else "built"
    say(f"{output}: {output.stat().st_size} bytes, {how} in {time.monotonic() - started:.1f} s")
    print(json.dumps({"image": str(output), "digest": image.digest, "cached": image.cached}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
