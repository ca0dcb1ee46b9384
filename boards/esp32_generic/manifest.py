# What is frozen into an image, beside MicroPython's own modules: with the MicroPython tree at hand,
# `make BOARD=… FROZEN_MANIFEST=<this file>` in ports/esp32. No such image has been built or run.

include("$(PORT_DIR)/boards/manifest.py")
freeze("../../firmware")
module("esp32_board.py", base_path="../esp32")
module("calibration_files.py", base_path="..")
module("rf_pins.py")
module("board.py")
