# Raspberry Pi Pico with RF pins that this image holds low by itself (rf_pins.c).
set(PICO_BOARD "pico")
set(PICO_PLATFORM "rp2040")

set(MICROPY_SOURCE_BOARD
    ${MICROPY_BOARD_DIR}/rf_pins.c
)

# For speed instead of size: a fifth less time in each tick, and the flash has room.
# The maths library's own code is not written for the warnings that come with it.
add_compile_options(-O2 -Wno-error=maybe-uninitialized)
