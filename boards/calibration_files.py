"""Where a board keeps the two copies of each channel's calibration: as files in its flash. For every board with a file system."""

import os

CALIBRATION_FILES = ("calibration_a.bin", "calibration_b.bin", "calibration_2a.bin", "calibration_2b.bin")


class CalibrationFiles:
    """The seam of a board to its calibration. At rest only: a sector of flash stops a chip for tens of milliseconds."""

    def calibration_read(self, copy):
        """Return the bytes of copy 0 or 1 (of the second channel 2 or 3), none where there is no such file."""
        if CALIBRATION_FILES[copy] not in os.listdir():
            return b""
        with open(CALIBRATION_FILES[copy], "rb") as file:
            return file.read()

    def calibration_write(self, copy, data):
        """Replace a copy."""
        with open(CALIBRATION_FILES[copy], "wb") as file:
            file.write(data)
