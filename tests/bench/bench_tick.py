"""What a tick costs on the emulated RP2040 at 125 MHz: ours beside what a user would take from PyPI today."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from rfprobe.image import build_image, collect_inputs, default_cache  # noqa: E402
from rfprobe.sim.emulated_pico import EmulatedPico  # noqa: E402
from rfprobe.sim.onboard.max31856_chip import Max31856Chip  # noqa: E402
from rfprobe_core import safety  # noqa: E402
from tests.pico.tick_run import four_thermocouples, measuring_image, run_ticks  # noqa: E402

PEER = Path(__file__).parent / "peer"
PACKAGES = ROOT / "build" / "peer"
CS_PIN = 17
PEER_LIMIT_s = 20
OUR_TICKS = 300


class PeerChip:
    """The one MAX31856 on the peer's wires, at 60 °C."""

    def __init__(self) -> None:
        self._chip = Max31856Chip(0)
        self.select = self._chip.select
        self.transfer = self._chip.exchange_byte

    def deselect(self) -> None:
        pass

    def advance(self, now_us: int) -> None:
        self._chip.advance(now_us & (1 << 30) - 1, 60 * 128, 25 * 64, 0)


def _row(what: str, cost: npt.NDArray[np.int64], late: npt.NDArray[np.int64], heap: float) -> dict[str, object]:
    return {
        "on the chip": what,
        "ticks": len(cost),
        "median µs": round(float(np.median(cost))),
        "worst µs": int(cost.max()),
        "late µs": int(late.max()),
        "heap B/tick": round(heap),
    }


def peer_image(folder: Path) -> Path:
    """The peer's packages, unchanged and by their hashes, frozen in with main.py and a stand-in for its SPI device."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
    command += ["--no-deps", "--no-compile", "--upgrade", "--target", str(PACKAGES)]
    subprocess.run([*command, "-r", str(ROOT / "requirements" / "peer.txt")], check=True)
    for origin in (PEER, PACKAGES):
        for path in origin.rglob("*.py"):
            target = folder / path.relative_to(origin)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return build_image(collect_inputs("rpi_pico", folder), default_cache()).path


def run_peer(image: Path) -> dict[str, object]:
    """Boot it and read the table that it prints after its last tick."""
    pico = EmulatedPico()
    chip = PeerChip()
    pico.attach_spi(CS_PIN, chip)
    pico.call_every_us(10_000, lambda: chip.advance(int(pico.time_us)))
    pico.boot(image)
    text = bytearray()
    while b"\nshown" not in text:
        assert pico.time_us < PEER_LIMIT_s * 1e6, bytes(text[-500:])
        pico.run_us(10_000)
        text += pico.read()
    kept = re.search(rb"kept (\d+) (\d+)\r\n(.*)shown", bytes(text), re.DOTALL)
    assert kept is not None
    table = np.array([line.split() for line in kept[3].decode().split("\r\n") if line], dtype=np.int64)
    return _row("adafruit-circuitpython-max31856 + simple-pid + json", table[:, 0], table[:, 1], int(kept[2]))


def run() -> list[dict[str, object]]:
    """Ours, the peer's, and how fast the emulation of ours was."""
    with tempfile.TemporaryDirectory() as folder:
        image = measuring_image(Path(folder))
        began_s = time.process_time()
        ours = run_ticks(image, four_thermocouples(Path(folder)), {"hold_ms": 1_000}, OUR_TICKS)
        took_s = time.process_time() - began_s
        rows = [
            _row(
                f"rfprobe: 4 thermocouples, {len(safety.ROWS)} limits, telemetry",
                ours.cost_us,
                ours.late_us,
                max(0, ours.heap_bytes) / len(ours.cost_us),
            ),
            run_peer(peer_image(Path(folder) / "peer")),
        ]
    print(f"emulated: {OUR_TICKS / 100:.0f} s with RF on, and the way there, in {took_s:.0f} s of processor time")
    return rows
