"""The ways in which a CPU hangs: bytecode, machine code of either kind, and with the interrupts off."""

import machine
import micropython


def python_loop():
    while True:
        pass


@micropython.native
def native_loop():
    while True:
        pass


@micropython.viper
def viper_loop():
    n = 0
    while True:
        n += 1


def interrupts_off():
    machine.disable_irq()
    while True:
        pass
