"""A bench for tests: the virtual probe behind a port, in real time; its cable can be pulled, its pins are seen."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rfprobe.plan_file import read_plan
from rfprobe.probe_file import read_probe
from rfprobe.resources import find
from rfprobe.serve import ByteServer, LockStepDevice, serve
from rfprobe.sim.bench_setup import BenchSetup
from rfprobe.sim.engine import SimulationInput, build
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.tissue import load_tissue
from tests.host.test_plan_file import GOOD

# One run follows the other while the tissue is still warm, and some of the probes are off.
STILL_WARM = "\n[start]\nwarmest_C = 50.0\ndifference_C = 10.0\n"
QUICK_PLAN = GOOD.replace("70.0", "40.0").replace("hold_s = 60.0", "hold_s = 2.0\ncooldown_s = 1.0") + STILL_WARM
LONG_PLAN = GOOD.replace("70.0", "45.0").replace("hold_s = 60.0", "hold_s = 600.0\ncooldown_s = 1.0") + STILL_WARM


@dataclass
class VirtualBench:
    """The device, its port and where its links are."""

    device: LockStep
    server: ByteServer
    port: str

    @property
    def enabled(self) -> bool:
        """The simulated enable pin."""
        return bool(self.device.plant.enable)

    def pull(self, away_s: float) -> None:
        """Pull the cable, and plug it in again after that time."""
        self.server.unplug()
        time.sleep(away_s)
        self.server.replug()


@contextmanager
def behind(device: LockStepDevice, server: ByteServer, speed: float = 1.0) -> Generator[None]:
    """Serve the device in a thread until the block ends."""
    done = threading.Event()
    thread = threading.Thread(target=serve, args=(device, server), kwargs={"stop": done.is_set, "speed": speed})
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def virtual_probe(*faults: str, seed: int = 1, setup: BenchSetup | None = None, runtime: str = "cpython") -> LockStep:
    """The virtual probe with the shipped probe in a vertebra."""
    plan, probe = read_plan(find("plans", "vertebra-70C")), read_probe(find("probes", "bone-10mm"))
    tissue = load_tissue("vertebra")
    return build(SimulationInput(plan, probe, tissue, runtime, seed, faults, setup=setup or BenchSetup()))


@contextmanager
def virtual_bench(
    folder: Path, *faults: str, seed: int = 1, setup: BenchSetup | None = None, speed: float = 1.0
) -> Generator[VirtualBench]:
    """The virtual probe behind a pty with a lasting name, or a socket where there is no pty."""
    device = virtual_probe(*faults, seed=seed, setup=setup)
    link = None if sys.platform == "win32" else folder / "port"
    with ByteServer(symlink=link) as server, behind(device, server, speed):
        yield VirtualBench(device, server, str(link) if link else server.links()[0])


def rfprobe(*arguments: str, **how: object) -> "subprocess.Popen[str]":
    """The command in a process of its own."""
    return subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-m", "rfprobe.cli", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **how},
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )


def finished(*arguments: str, **how: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command."""
    process = rfprobe(*arguments, **how)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def heating_on(bench: VirtualBench, process: "subprocess.Popen[str]") -> None:
    """Wait until the run has come to heat, well after START was answered; AssertionError with its words if it ends."""

    def heats() -> bool:
        assert process.poll() is None, process.communicate()
        return bench.enabled and bench.device.plant.rf_on_s > 0.3

    until(heats, 60.0)


def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for it; AssertionError if it takes too long."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, f"not within {within_s:g} s"
        time.sleep(0.01)
