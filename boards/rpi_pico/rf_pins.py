"""The pins that can make RF, of both channels. Importing this drives them low; boot.py and board.py do so first of all.

They are low whether or not the second channel is fitted. The image's C hook (micropython/rf_pins.c) names the same pins.
"""

from machine import Pin

ENABLE = 2
DRIVE = 3
ENABLE_2 = 4
DRIVE_2 = 5

Pin(ENABLE, Pin.OUT, value=0)
Pin(ENABLE_2, Pin.OUT, value=0)
Pin(DRIVE, Pin.OUT, value=0)
Pin(DRIVE_2, Pin.OUT, value=0)
