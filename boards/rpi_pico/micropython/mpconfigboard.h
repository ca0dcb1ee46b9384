// Board definition: a Raspberry Pi Pico carrying the RF ablation probe controller.
#define MICROPY_HW_BOARD_NAME                   "rfprobe on Raspberry Pi Pico"

// The same split as the official Pico image, so that changing images keeps the file system.
#define MICROPY_HW_FLASH_STORAGE_BYTES          (1408 * 1024)

// The RF pins are forced low before Python exists and again on each soft reset. boot.py and the
// toggling enable do not count on it: the official MicroPython image has no such hook.
void rfprobe_rf_pins_low(void);
#define MICROPY_BOARD_STARTUP()                 rfprobe_rf_pins_low()
#define MICROPY_BOARD_START_SOFT_RESET()        rfprobe_rf_pins_low()

// For the tick: a look-up of a name mostly hits the cache, and there are no threads. Names use half of its places, and
// 2048 of them share few: with a quarter of it a new name anywhere could cost each tick ten microseconds or two.
#define MICROPY_OPT_MAP_LOOKUP_CACHE_SIZE       (4096)
#define MICROPY_PY_THREAD                       (0)
