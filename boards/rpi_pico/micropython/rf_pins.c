// Holds the RF pins of both channels low, whether or not the second is fitted, where no Python runs:
// before the file system is mounted (it may be being formatted, which takes seconds) and at the start
// of a soft reset, which by itself leaves a pin in its PIO or PWM function at whatever level it had.
//
// Only GPIO registers are touched. PIO and PWM keep running behind their pins; the port stops
// them a moment later.

#include "hardware/gpio.h"

#define RFPROBE_ENABLE_GPIO (2)
#define RFPROBE_DRIVE_GPIO (3)
#define RFPROBE_ENABLE_2_GPIO (4)
#define RFPROBE_DRIVE_2_GPIO (5)

static void drive_low(uint gpio) {
    // Level and direction first, the function last: the pad goes from what it was straight to low.
    gpio_put(gpio, false);
    gpio_set_dir(gpio, GPIO_OUT);
    gpio_set_function(gpio, GPIO_FUNC_SIO);
}

void rfprobe_rf_pins_low(void) {
    drive_low(RFPROBE_ENABLE_GPIO);
    drive_low(RFPROBE_ENABLE_2_GPIO);
    drive_low(RFPROBE_DRIVE_GPIO);
    drive_low(RFPROBE_DRIVE_2_GPIO);
}
