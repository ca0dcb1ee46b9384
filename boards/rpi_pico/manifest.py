# What is frozen into the image, beside MicroPython's own _boot.py and rp2.py.
#
# `python -m rfprobe.image` stages this file and the firmware in this same layout; with the
# MicroPython tree at hand, `make BOARD_DIR=<this folder>/micropython FROZEN_MANIFEST=<this file>`
# in ports/rp2 does the same. No require(): it would need a checkout of micropython-lib.

freeze("$(PORT_DIR)/modules")
freeze("../../firmware")
module("rf_pins.py")
module("calibration_files.py", base_path="..")
module("board.py")
module("pair_board.py")
