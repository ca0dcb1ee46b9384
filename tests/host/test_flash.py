"""Flashing: RP2040 onto a fake volume, ESP32 by the real esptool onto a fake boot ROM; nothing wrong is started."""

import errno
import os
import random
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rfprobe import flash_esptool, flash_uf2
from rfprobe.board_file import board_names, read_board
from rfprobe.cli import app
from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode
from rfprobe.flash_uf2 import FAMILIES, copy_image, read_uf2
from rfprobe.serve import ByteServer, serve
from rfprobe.sim.onboard.board import VirtualBoard
from rfprobe.sim.onboard.device import VirtualDevice
from tests.host.fake_esp_rom import FLASH_DATA, FLASH_MD5, FakeEspRom

pytestmark = pytest.mark.slow  # esptool takes seconds: left to `make test`

INFO = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
BLOCKS = 800


def uf2(family: int = FAMILIES["rp2040"], blocks: int = BLOCKS) -> bytes:
    """An image as the UF2 specification has it."""
    source = random.Random(5)
    return b"".join(
        struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + 256 * at, 256, at, blocks, family)
        + source.randbytes(256).ljust(476, b"\0")
        + struct.pack("<I", 0x0AB16F30)
        for at in range(blocks)
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "rfprobe.uf2"
    path.write_bytes(uf2())
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "RPI-RP2"
    folder.mkdir()
    (folder / "INFO_UF2.TXT").write_text(INFO)
    return folder


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["flash", *arguments], prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


@contextmanager
def restarting_board(volume: Path, size: int) -> Generator[str]:
    """A board that restarts when its volume has the whole image: the volume goes, the firmware says HELLO."""
    over = threading.Event()
    device = VirtualDevice(VirtualBoard(7, "e66058388353"), 0, 0)
    with ByteServer(pty=False) as server:
        port = server.links()[0]
        server.unplug()

        def live() -> None:
            while not over.is_set() and sum(path.stat().st_size for path in volume.glob("*.uf2")) < size:
                time.sleep(0.01)
            shutil.rmtree(volume)
            server.replug()
            serve(_Board(device), server, stop=over.is_set)

        thread = threading.Thread(target=live)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            thread.join()


class _Board:
    """The firmware in this process, with nothing before its sensors."""

    tick_us = 10_000

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device
        self._now_us = 0

    def exchange(self, rx: bytes) -> bytes:
        self._now_us += self.tick_us
        stimulus = struct.pack("<IHHHHBB", self._now_us, 0, 0, 0, 0, 7, len(rx)).ljust(48, b"\0") + rx.ljust(64, b"\0")
        response = self._device.run(stimulus)
        return bytes(response[6 : 6 + (response[4] | response[5] << 8)])


# ---- RP2040 ------------------------------------------------------------------------------------------------------


def test_the_image_is_copied_whole_and_the_board_says_what_it_runs(image: Path, volume: Path) -> None:
    with restarting_board(volume, len(uf2())) as port:
        code, stdout, stderr = run(str(image), "--volume", str(volume), "--port", port)
    assert (code, stderr) == (0, f"{image}: {512 * BLOCKS} bytes are on {volume}\n")
    assert stdout.startswith(f"{port}: runs rfprobe 0.")
    assert stdout.endswith(", board virtual, id e66058388353\n")
    assert not volume.exists()


def test_the_port_may_be_an_alias_of_the_bench(
    image: Path, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with restarting_board(volume, len(uf2())) as port:
        Path("bench.toml").write_text(f'[ports]\nleft = "{port}"\n', encoding="utf-8")
        code, stdout, stderr = run(str(image), "--volume", str(volume), "--port", "@right")
        assert (code, stdout) == (ExitCode.BAD_INPUT, "") and "@right" in stderr
        assert not list(volume.glob("*.uf2")), "and nothing is written"
        code, stdout, _ = run(str(image), "--volume", str(volume), "--port", "@left")
    assert (code, stdout.split(":")[0]) == (0, "socket"), stdout
    assert stdout.startswith(f"{port}: runs rfprobe 0.")


def test_every_byte_is_on_the_volume(image: Path, volume: Path) -> None:
    seen: list[int] = []
    copy_image(read_uf2(image, "rp2040"), volume, lambda written, total: seen.append(written))
    assert (volume / "rfprobe.uf2").read_bytes() == uf2()
    assert seen == sorted(seen) and seen[-1] == len(uf2()) and len(seen) > 3


def test_a_board_that_does_not_come_back_is_told(image: Path, volume: Path) -> None:
    code, stdout, stderr = run(str(image), "--volume", str(volume), "--port", "/dev/none", "--wait", "0.3")
    assert (code, stdout) == (ExitCode.ENVIRONMENT, "")
    assert stderr.splitlines()[1].startswith("the board did not say HELLO within 0.3 s: there is no port /dev/none")


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (INFO.replace("RPI-RP2", "SAMD21"), "another board: INFO_UF2.TXT says Board-ID 'SAMD21', not 'RPI-RP2'"),
        ("", "another board: INFO_UF2.TXT says Board-ID None, not 'RPI-RP2'"),
        (None, "not a boot loader's volume: it has no INFO_UF2.TXT"),
    ],
    ids=["another board", "empty", "an ordinary folder"],
)
def test_a_wrong_volume_is_left_alone(image: Path, volume: Path, info: str | None, told: str) -> None:
    (volume / "INFO_UF2.TXT").unlink()
    if info is not None:
        (volume / "INFO_UF2.TXT").write_text(info)
    before = sorted(volume.iterdir())
    assert run(str(image), "--volume", str(volume)) == (ExitCode.BAD_INPUT, "", f"{volume}: {told}\n")
    assert sorted(volume.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a whole UF2 file: 0 bytes"),
        (uf2()[:-1], "not a whole UF2 file: 409599 bytes"),
        (uf2()[:-512], "not a whole UF2 file: block 0 says it is 0 of 800"),
        (b"\0" * 1024, "not a UF2 file: block 0 is none"),
        (uf2(family=0xE48BFF59), "not an image for rp2040: its family is 0xe48bff59"),
    ],
    ids=["empty", "cut in a block", "cut between blocks", "zeros", "of the RP2350"],
)
def test_a_wrong_image_is_not_written(image: Path, volume: Path, content: bytes, told: str) -> None:
    image.write_bytes(content)
    code, stdout, stderr = run(str(image), "--volume", str(volume))
    assert (code, stdout, stderr.count("\n")) == (ExitCode.BAD_INPUT, "", 1)
    assert stderr.startswith(f"{image}: {told}")
    assert [path.name for path in volume.iterdir()] == ["INFO_UF2.TXT"]


class Failing(FileIO):
    """A file that fails after so many bytes, or when it is synced, as a volume does that is pulled out."""

    def __init__(self, path: Path, after: int, number: int) -> None:
        super().__init__(path, "wb")
        self._left, self._number = after, number

    def write(self, data: Any) -> int:
        if self._left <= 0:
            raise OSError(self._number, os.strerror(self._number))
        written = super().write(data[: self._left]) or 0
        self._left -= written
        return written


def failing(monkeypatch: pytest.MonkeyPatch, after: int, number: int) -> None:
    def opened(path: Path) -> Failing:
        return Failing(path, after, number)

    monkeypatch.setattr(flash_uf2, "_open", opened)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EIO, "the board was unplugged or restarted: 100000 of 409600 bytes were written; nothing was started"),
        (errno.ENODEV, "the board was unplugged or restarted: 100000 of 409600 bytes"),
        (errno.ENOSPC, "no space is left: 100000 of 409600 bytes"),
        (errno.EPERM, "cannot be written: operation not permitted: 100000 of 409600 bytes"),
    ],
)
def test_what_breaks_off_is_told_with_how_far_it_came(
    image: Path, volume: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    failing(monkeypatch, 100_000, number)
    code, stdout, stderr = run(str(image), "--volume", str(volume))
    assert (code, stdout, stderr.count("\n")) == (ExitCode.ENVIRONMENT, "", 1)
    assert stderr.startswith(f"{volume}: {told}")


def test_a_volume_that_goes_with_the_last_block_is_no_error(
    image: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chip restarts before the host has synced: `fsync` fails on a volume that has all it needs."""

    def gone(_: int) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "fsync", gone)
    copy_image(read_uf2(image, "rp2040"), volume, lambda *_: None)
    failing(monkeypatch, 100_000, errno.EIO)
    with pytest.raises(EnvironmentProblem, match="unplugged"):
        copy_image(read_uf2(image, "rp2040"), volume, lambda *_: None)


@pytest.fixture
def mounted(volume: Path) -> Iterator[Callable[[str], None]]:
    """`mounted(options)` puts a real small file system over the volume."""

    def mount(options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", volume], check=False, capture_output=True
        )
        if done.returncode:
            pytest.skip("no file system can be mounted here; the injected errors are the same ones")
        (volume / "INFO_UF2.TXT").write_text(INFO)
        subprocess.run(["mount", "-o", f"remount,{options}", volume], check=True)

    yield mount
    subprocess.run(["umount", volume], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "ro",
            "it is mounted read-only: 0 of 409600 bytes were written; nothing was started. Mount it again, writable",
        ),
        ("rw", "no space is left: "),
    ],
    ids=["read-only", "full disk"],
)
def test_a_real_volume_that_cannot_take_it(
    image: Path, volume: Path, mounted: Callable[[str], None], options: str, told: str
) -> None:
    mounted(options)
    code, stdout, stderr = run(str(image), "--volume", str(volume))
    assert (code, stdout, stderr.count("\n")) == (ExitCode.ENVIRONMENT, "", 1)
    assert stderr.startswith(f"{volume}: {told}")


def test_no_volume_comes_with_the_advice_how_to_get_one(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_uf2, "_mounted", lambda: iter(()))
    code, _, stderr = run(str(image))
    assert (code, stderr.count("\n")) == (ExitCode.ENVIRONMENT, 1)
    assert stderr.startswith("no RPI-RP2 volume is mounted. Hold BOOTSEL while plugging the board in")


def test_a_volume_is_found_and_two_are_not_guessed_among(
    image: Path, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_uf2, "_mounted", lambda: iter((tmp_path, volume)))
    assert run(str(image), "--wait", "0")[0] == 0
    assert (volume / image.name).read_bytes() == uf2()
    (tmp_path / "INFO_UF2.TXT").write_text(INFO)
    assert run(str(image), "--wait", "0")[0] == ExitCode.BAD_INPUT


# ---- ESP32 -------------------------------------------------------------------------------------------------------


def esp_image(chip_id: int = 0, size: int = 50_000) -> bytes:
    """A header that the boot ROM would take, and bytes that have every SLIP escape in them."""
    head = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, 0x40080000) + bytes([0xEE, 0, 0, 0])
    head += struct.pack("<H", chip_id) + bytes(10)
    return head + b"\xc0\xdb\xdc\xdd\xc0" + random.Random(6).randbytes(size - len(head) - 5)


@pytest.fixture
def esp_file(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(esp_image())
    return path


def test_esptool_writes_and_verifies_without_the_stub(esp_file: Path) -> None:
    """The first try is refused (the fake ROM runs no stub), the slow one goes through; every byte is in the flash."""
    with FakeEspRom() as rom:
        code, stdout, stderr = run(str(esp_file), "--board", "esp32_generic", "--port", rom.port, "--wait", "0")
    assert code == 0, stderr
    assert stdout == ""
    assert stderr.splitlines()[-1] == f"{esp_file}: written and verified on {rom.port} (slow, without the stub)"
    content = esp_image()
    assert bytes(rom.flash[0x1000 : 0x1000 + len(content)]) == content
    assert set(rom.flash[:0x1000]) == {0xFF}
    assert rom.commands.count(FLASH_MD5) >= 2, "checked after writing, and once more by verify-flash"
    assert rom.commands.count(FLASH_DATA) == -(-len(content) // 0x400)


def test_a_flash_that_keeps_a_bit_wrong_is_noticed(esp_file: Path) -> None:
    with FakeEspRom(corrupt_at=0x1000 + 30_000) as rom:
        code, stdout, stderr = run(str(esp_file), "--board", "esp32_generic", "--port", rom.port, "--wait", "0")
    assert (code, stdout) == (ExitCode.ENVIRONMENT, "")
    assert stderr.splitlines()[-1].startswith(f"{rom.port}: esptool could not flash it: ")
    assert "Hold BOOT while pressing EN, then flash again." in stderr.splitlines()[-1]


def test_a_chip_that_does_not_answer_comes_with_the_button(esp_file: Path) -> None:
    with FakeEspRom(deaf=True) as rom, pytest.raises(EnvironmentProblem, match=r"Hold BOOT\.$") as raised:
        slow_once = flash_esptool.Attempt("once", ("--baud", "115200", "--no-stub", "--connect-attempts", "1"))
        flash_esptool.write_and_verify(esp_file, rom.port, "esp32", 0x1000, "Hold BOOT.", print, [slow_once])
    assert "\n" not in str(raised.value)


def test_a_wrong_esp_image_is_refused_before_esptool_starts(esp_file: Path) -> None:
    for content, told in (
        (b"", "not an ESP32 image: it does not begin with 0xE9"),
        (uf2(), "not an ESP32 image: it does not begin with 0xE9"),
        (esp_image(chip_id=9), "not an image for esp32: its chip id is 9, not 0"),
    ):
        esp_file.write_bytes(content)
        code, stdout, stderr = run(str(esp_file), "--board", "esp32_generic", "--port", "none")
        assert (code, stdout, stderr) == (ExitCode.BAD_INPUT, "", f"{esp_file}: {told}\n")


def test_bad_input_is_one_line(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RFPROBE_PORT", raising=False)
    monkeypatch.setattr("rfprobe.port_names.usb_ports", list)
    Path("esp.bin").write_bytes(esp_image())
    for arguments, told in (
        (["none.uf2"], "none.uf2: there is no such image"),
        (["rfprobe.uf2", "--board", "abacus"], f"--board abacus: must be one of {', '.join(board_names())}"),
        (["esp.bin", "--board", "esp32_generic"], "no board was found: name its port with --port or RFPROBE_PORT"),
        (
            ["esp.bin", "--board", "esp32_generic", "--volume", "x"],
            "--volume: esp32_generic is flashed through its port",
        ),
    ):
        assert run(*arguments) == (ExitCode.BAD_INPUT, "", told + "\n")


def test_offsets_belong_to_the_chip() -> None:
    offsets = {name: read_board(name).flash.get("offset") for name in board_names()}
    assert offsets == {"esp32_generic": 0x1000, "esp32_s3": 0, "rpi_pico": None}
    with pytest.raises(BadInput, match="must be one of"):
        read_board("../boards")
