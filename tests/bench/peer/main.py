"""The peer: what a user would take from PyPI today, at 100 Hz: one thermocouple, a PID, a line of JSON a tick."""

import gc
import json
import time
from array import array

from adafruit_max31856 import MAX31856
from machine import SPI, Pin
from simple_pid import PID

TICK_US = 10_000
TICKS = 300
HEAP_TICKS = 20

sensor = MAX31856(SPI(0, sck=Pin(18), mosi=Pin(19), miso=Pin(16)), Pin(17, Pin.OUT, value=1), baudrate=5_000_000)
sensor.start_autoconverting()
pid = PID(1.0, 0.1, 0.0, setpoint=60.0, output_limits=(0, 20))
costs = array("H", [0] * TICKS)
lates = array("H", [0] * TICKS)


def tick(count):
    temperature_C = sensor.unpack_temperature()
    open_circuit = sensor.fault["open_tc"]
    power_W = pid(temperature_C, dt=0.01)
    print(json.dumps({"n": count, "T": temperature_C, "P": power_W, "open": open_circuit}))


def run():
    due = time.ticks_add(time.ticks_us(), TICK_US)
    for count in range(TICKS):
        wait_us = time.ticks_diff(due, time.ticks_us())
        if wait_us > 0:
            time.sleep_us(wait_us)
        began = time.ticks_us()
        tick(count)
        costs[count] = time.ticks_diff(time.ticks_us(), began)
        lates[count] = time.ticks_diff(began, due)
        due = time.ticks_add(due, TICK_US)


def heap_per_tick():
    """Apart from the times: to ask for the heap's use takes longer than a tick, and a collection would hide it."""
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for count in range(HEAP_TICKS):
        tick(count)
        time.sleep_ms(10)
    return (gc.mem_alloc() - before) // HEAP_TICKS


run()
print("kept", TICKS, heap_per_tick())
for at in range(TICKS):
    print(costs[at], lates[at])
print("shown")
