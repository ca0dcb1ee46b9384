"""The control core: plain integers, no hardware, the same bits on CPython, the MicroPython VM and the chip."""
