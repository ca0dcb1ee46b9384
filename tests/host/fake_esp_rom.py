"""An ESP32's boot ROM on a pty, as far as esptool's `--no-stub` needs it: SLIP, registers, flash, MD5.

After esptool's documentation, "Serial Protocol". Code for the stub is refused, as by a ROM that cannot run it.
"""

import hashlib
import os
import select
import struct
import threading
import tty
from types import TracebackType
from typing import Self

SYNC, READ_REG, WRITE_REG = 0x08, 0x0A, 0x09
SPI_SET_PARAMS, SPI_ATTACH, CHANGE_BAUD = 0x0B, 0x0D, 0x0F
FLASH_BEGIN, FLASH_DATA, FLASH_END, FLASH_MD5 = 0x02, 0x03, 0x04, 0x13
MAGIC_REG, MAGIC_ESP32 = 0x40001000, 0x00F01D83
CLOCK_DIVIDER_REG, CLOCK_40_MHz = 0x3FF40014, 40_000_000 // 115_200
SPI_USR2_REG, SPI_W0_REG = 0x3FF42024, 0x3FF42080
READ_ID, FLASH_ID_4_MB = 0x9F, 0x164020
FLASH_SIZE = 4 << 20
INVALID, BAD_CHECKSUM = 5, 7
_END, _ESCAPE = 0xC0, 0xDB


def slip(payload: bytes) -> bytes:
    """A packet as it goes over the wire (RFC 1055)."""
    return b"\xc0" + payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class FakeEspRom:
    """`port` is what esptool opens; `flash` is what it wrote, `commands` what it asked for."""

    def __init__(self, corrupt_at: int | None = None, chip_magic: int = MAGIC_ESP32, deaf: bool = False) -> None:
        self.flash = bytearray(b"\xff" * FLASH_SIZE)
        self.commands: list[int] = []
        self._corrupt_at = corrupt_at
        self._deaf = deaf
        self._registers = {MAGIC_REG: chip_magic, CLOCK_DIVIDER_REG: CLOCK_40_MHz}
        self._offset = 0
        self._block = 0
        self._pending = b""
        self._closing = threading.Event()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _serve(self) -> None:
        while not self._closing.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.05)
            if ready:
                self._pending += os.read(self._master, 65_536)
                self._take_packets()

    def _take_packets(self) -> None:
        *packets, self._pending = self._pending.split(b"\xc0")
        for packet in packets:
            whole = packet.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
            if len(whole) >= 8 and whole[0] == 0 and not self._deaf:
                self._answer(*struct.unpack_from("<BHI", whole, 1), whole[8:])

    def _answer(self, command: int, size: int, checksum: int, body: bytes) -> None:
        assert len(body) == size
        self.commands.append(command)
        value, data, error = self._carry_out(command, checksum, body)
        status = bytes([1, error, 0, 0]) if error else bytes(4)
        answer = struct.pack("<BBHI", 1, command, len(data) + 4, value) + data + status
        for _ in range(8 if command == SYNC else 1):
            os.write(self._master, slip(answer))

    def _carry_out(self, command: int, checksum: int, body: bytes) -> tuple[int, bytes, int]:
        """(value, data, error) of the answer."""
        if command == SYNC:
            return 0x20120707, b"", 0
        if command == READ_REG:
            return self._read_register(*struct.unpack("<I", body)), b"", 0
        if command == WRITE_REG:
            address, value = struct.unpack_from("<II", body)
            self._registers[address] = value
            return 0, b"", 0
        if command in (SPI_SET_PARAMS, SPI_ATTACH, CHANGE_BAUD, FLASH_END):
            return 0, b"", 0
        if command == FLASH_BEGIN:
            _, _, self._block, self._offset = struct.unpack_from("<IIII", body)
            return 0, b"", 0
        if command == FLASH_DATA:
            return 0, b"", self._write(checksum, body)
        if command == FLASH_MD5:
            address, size = struct.unpack_from("<II", body)
            return 0, hashlib.md5(self.flash[address : address + size]).hexdigest().encode(), 0
        return 0, b"", INVALID

    def _read_register(self, address: int) -> int:
        if address == SPI_W0_REG:
            asked = self._registers.get(SPI_USR2_REG, 0) & 0xFF
            return FLASH_ID_4_MB if asked == READ_ID else 0
        return 0 if address == 0x3FF42000 else self._registers.get(address, 0)  # the SPI command is done at once

    def _write(self, checksum: int, body: bytes) -> int:
        size, number = struct.unpack_from("<II", body)
        data = body[16 : 16 + size]
        total = 0xEF
        for byte in data:
            total ^= byte
        if total != checksum:
            return BAD_CHECKSUM
        at = self._offset + number * self._block
        self.flash[at : at + size] = data
        if self._corrupt_at is not None and at <= self._corrupt_at < at + size:
            self.flash[self._corrupt_at] ^= 0x10
        return 0
