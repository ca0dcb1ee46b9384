"""The virtual board: what the firmware finds where a real board has pins. Runs beside it, on CPython or in the VM."""
