"""The two pins that can make RF. Importing this drives them low; boot.py and board.py do so first of all.

The image's C hook (micropython/rf_pins.c) names the same pins.
"""

from machine import Pin

ENABLE = 2
DRIVE = 3

Pin(ENABLE, Pin.OUT, value=0)
Pin(DRIVE, Pin.OUT, value=0)
