"""Prints the file system of a Pico's flash, calibrated: `vm_flash.py KIND CHANNELS SIZE [FILE]…`, in the VM.

`KIND` is what onboard/calibrated.py takes, for each of CHANNELS; the files named are there too. Those of the
calibration are written by the board's own calibration_files.py, into the file system that the chip makes for itself
(`_boot.py` of MicroPython's port rp2), here in RAM.
"""

import os
import sys

import vfs
from calibration_files import CalibrationFiles
from onboard.calibrated import copies_of

BLOCK_BYTES = 4096
PROGRAMMED_BYTES = 256
ERASED = 0xFF


class RamFlash:
    """A block device as rp2.Flash is one."""

    def __init__(self, size):
        self.data = bytearray(size)
        for at in range(size):
            self.data[at] = ERASED

    def readblocks(self, block, buffer, offset=0):
        at = block * BLOCK_BYTES + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        at = block * BLOCK_BYTES + offset
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        if operation == 4:  # how many blocks
            return len(self.data) // BLOCK_BYTES
        if operation == 5:
            return BLOCK_BYTES
        if operation == 6:  # erase
            at = argument * BLOCK_BYTES
            self.data[at : at + BLOCK_BYTES] = bytes([ERASED]) * BLOCK_BYTES
        return 0


def _content(path):
    with open(path, "rb") as file:
        return file.read()


def _name_and_path(told):
    """`NAME=PATH`, with at most one folder in NAME, or a path whose last part is the name."""
    name, _, path = told.rpartition("=")
    return name or path.split("/")[-1], path


def _format_and_mount(device):
    vfs.VfsLfs2.mkfs(device, progsize=PROGRAMMED_BYTES)
    fresh = vfs.VfsLfs2(device, progsize=PROGRAMMED_BYTES, mtime=False)  # no times: the same bytes each time
    vfs.mount(fresh, "/flash")


def main():
    copies = copies_of(sys.argv[1]) * int(sys.argv[2])
    flash = RamFlash(int(sys.argv[3]))
    _format_and_mount(flash)
    told = [_name_and_path(each) for each in sys.argv[4:]]
    contents = [_content(path) for _, path in told]
    os.chdir("/flash")
    for (name, _), content in zip(told, contents):
        folder = name.rpartition("/")[0]
        if folder and folder not in os.listdir():
            os.mkdir(folder)
        with open(name, "wb") as file:
            file.write(content)
    files = CalibrationFiles()
    for copy in range(len(copies)):
        if copies[copy]:
            files.calibration_write(copy, copies[copy])
    os.chdir("/")
    vfs.umount("/flash")
    sys.stdout.buffer.write(flash.data)


main()
