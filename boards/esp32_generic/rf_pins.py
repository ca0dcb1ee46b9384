"""The two pins that can make RF. Importing this drives them low; boot.py and board.py do so first of all."""

from machine import Pin

ENABLE = 27
DRIVE = 26

Pin(ENABLE, Pin.OUT, value=0)
Pin(DRIVE, Pin.OUT, value=0)
