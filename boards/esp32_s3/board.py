"""The pins of a board with an ESP32-S3. What is behind them is in ../esp32/esp32_board.py."""

import rf_pins  # first: the RF pins are low from here on

# isort: split
from esp32_board import Esp32Board

NAME = "esp32_s3"


class Board(Esp32Board):
    """One ESP32-S3. Make one; making another takes the same hardware anew and leaves RF off."""

    name = NAME

    def __init__(self):
        super().__init__(
            gpio_base=0x60004000,
            select_offset=0x554,
            enable=rf_pins.ENABLE,
            drive=rf_pins.DRIVE,
            spi_id=1,
            sck=12,
            mosi=11,
            miso=13,
            cs=(10, 14, 21, 18),
            adc=(1, 2, 8),  # RF voltage, RF current, spare: all of ADC1
            readback=6,
            inputs=(7, 15),  # interlock, foot-switch: high is closed, pressed; a broken wire is low
            led=17,
            service=16,
        )


def make_board():
    """The board with the channels that are fitted: here never more than one."""
    return Board()
