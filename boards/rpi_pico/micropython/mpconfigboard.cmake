# Raspberry Pi Pico with RF pins that this image holds low by itself (rf_pins.c).
set(PICO_BOARD "pico")
set(PICO_PLATFORM "rp2040")

set(MICROPY_SOURCE_BOARD
    ${MICROPY_BOARD_DIR}/rf_pins.c
)
