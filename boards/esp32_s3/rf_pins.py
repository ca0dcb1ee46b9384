"""The two pins that can make RF. Importing this drives them low; boot.py and board.py do so first of all."""

from machine import Pin

ENABLE = 4
DRIVE = 5

Pin(ENABLE, Pin.OUT, value=0)
Pin(DRIVE, Pin.OUT, value=0)
