"""The test image and a chip that runs it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rfprobe.errors import EnvironmentProblem
from rfprobe.image import build_image, collect_inputs, default_cache
from rfprobe.sim.emulated_pico import EmulatedPico

FIRMWARE = Path(__file__).parent / "firmware"
ENABLE, DRIVE, MARK = 2, 3, 15


class Bench:
    """An emulated chip that runs the test image, RF pins and marker watched from the first cycle."""

    def __init__(self, image: Path) -> None:
        """Boot to the prompt."""
        self.pico = EmulatedPico()
        self.enable = self.pico.watch(ENABLE)
        self.drive = self.pico.watch(DRIVE)
        self.mark = self.pico.watch(MARK)
        self.text = b""
        self.pico.boot(image)
        self.expect(rb"test image ready.*>>> ", 3_000_000)

    def type(self, line: str) -> None:
        """Type a line at the prompt without waiting for what comes of it."""
        self.text = b""
        self.pico.write(line.encode() + b"\r")

    def expect(self, pattern: bytes, limit_us: float = 2_000_000) -> re.Match[bytes]:
        """Run until what the chip has printed since the last line was typed matches."""
        found: list[re.Match[bytes]] = []

        def look() -> bool:
            self.text += self.pico.read()
            match = re.search(pattern, self.text, re.DOTALL)
            if match:
                found.append(match)
            return bool(match)

        assert self.pico.run_until(look, limit_us), f"no {pattern!r} in {self.text!r}"
        return found[0]

    def run(self, line: str, pattern: bytes, limit_us: float = 2_000_000) -> re.Match[bytes]:
        """Type a line and run until its output matches."""
        self.type(line)
        return self.expect(pattern, limit_us)


@pytest.fixture(scope="session")
def test_image() -> Path:
    """The image with tests/pico/firmware frozen in, and the real board files."""
    try:
        return build_image(collect_inputs("rpi_pico", FIRMWARE), default_cache()).path
    except EnvironmentProblem as problem:
        pytest.skip(f"needs a firmware image: {problem}")


@pytest.fixture
def bench(test_image: Path) -> Iterator[Bench]:
    """A freshly booted chip at the prompt."""
    yield Bench(test_image)


@pytest.fixture
def boot(test_image: Path) -> Callable[[], Bench]:
    """Boot a further chip."""
    return lambda: Bench(test_image)
