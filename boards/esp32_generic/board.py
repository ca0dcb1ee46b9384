"""The pins of a board with an ESP32. What is behind them is in ../esp32/esp32_board.py."""

import rf_pins  # first: the RF pins are low from here on

# isort: split
from esp32_board import Esp32Board

NAME = "esp32_generic"


class Board(Esp32Board):
    """One ESP32. Make one; making another takes the same hardware anew and leaves RF off."""

    name = NAME

    def __init__(self):
        super().__init__(
            gpio_base=0x3FF44000,
            select_offset=0x530,
            enable=rf_pins.ENABLE,
            drive=rf_pins.DRIVE,
            spi_id=2,
            sck=18,
            mosi=23,
            miso=19,
            cs=(5, 21, 22, 25),
            adc=(34, 35, 39),  # RF voltage, RF current, spare: all of ADC1
            readback=33,
            inputs=(32, 13),  # interlock, foot-switch: high is closed, pressed; a broken wire is low
            led=2,
            service=4,
        )


def make_board():
    """The board with the channels that are fitted: here never more than one."""
    return Board()
