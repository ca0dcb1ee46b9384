"""The virtual board: the seam of a real `board.py`, with chip models behind the bus and records behind the pins."""

import struct

from .calibrated import copies_of
from .converters import Converters
from .exchange import (
    ANALOGUE_AT,
    DEADMAN_DEAF,
    ENABLE_READS_HIGH,
    ENABLE_READS_LOW,
    HEAP_LOW,
    LINK_READY,
    RESPONSE,
    RESPONSE_HEAD,
    RESPONSE_SIZE,
    RX_MAX,
    STIMULUS,
    STIMULUS_HEAD,
    TX_MAX,
)

_ADC = 2


class VirtualBoard:
    """`load` a stimulus, let the firmware tick, `store` the response."""

    name = "virtual"
    dead_man = "simulated"
    channels = 1

    def __init__(self, nonce_seed, uid, calibration="exact"):
        self._nonce_seed = nonce_seed
        self._uid = uid
        self.flash = copies_of(calibration)
        self._converters = Converters()
        self._now_us = 0
        self._adc = [0] * (2 * _ADC)
        self._adc_next = bytearray(_ADC)
        self._inputs = 0
        self._rx = bytearray(RX_MAX)
        self.received = 0
        self._rx_next = 0
        self._tx = bytearray(RESPONSE_SIZE)
        self._tx_count = 0
        self._connected = False
        self._fed = False
        self._held = False  # the feed of the tick before still holds the enable: 15.75 ms of 10
        self._duty = 0
        self._watchdog_ms = 0

    # ---- the record side --------------------------------------------------------------------------------------

    def load(self, stimulus):
        """Take one stimulus record: time passes, conversions end, bytes arrive."""
        now_us, volts, amps, volts_again, amps_again, inputs, received = struct.unpack_from(STIMULUS, stimulus, 0)
        self._now_us = now_us
        adc = self._adc
        adc[0] = volts
        adc[1] = amps
        adc[2] = volts_again
        adc[3] = amps_again
        self._adc_next[0] = 0
        self._adc_next[1] = 0
        self._inputs = inputs
        self.received = received
        self._rx_next = 0
        if received:
            self._rx[:] = stimulus[STIMULUS_HEAD : STIMULUS_HEAD + RX_MAX]
        self._tx_count = 0
        self._held = self._fed
        self._fed = False
        self._converters.pass_time(now_us, stimulus[ANALOGUE_AT:STIMULUS_HEAD])

    def store(self):
        """The response record of the tick that has just run."""
        struct.pack_into(RESPONSE, self._tx, 0, 1 if self._enabled() else 0, 0, self._duty, self._tx_count)
        return self._tx

    # ---- what the firmware sees -------------------------------------------------------------------------------

    def ticks_us(self):
        return self._now_us

    def spi_transfer(self, select, buffer):
        self._converters.transfer(select, buffer)

    def read_adc(self, channel):
        turn = self._adc_next[channel]
        self._adc_next[channel] = turn ^ 1
        return self._adc[2 * turn + channel]

    def set_duty(self, duty):
        self._duty = duty

    def rf_connect(self):
        """Connect the dead-man to its pin; still low."""
        self._connected = True

    def quiet_heap(self):
        """The heap is no part of what is simulated: as good as empty, but for a fault."""
        return 8_000 if self._inputs & HEAP_LOW else 1 << 28

    def free_heap(self):
        """Collections may run again."""

    def watchdog_start(self, timeout_ms):
        self._watchdog_ms = timeout_ms

    def watchdog_feed(self):
        """Time is virtual: no tick is ever so late."""

    def watchdog_stop(self):
        self._watchdog_ms = 0

    def test_dead_man(self):
        return 1 if self._inputs & DEADMAN_DEAF else 0

    def feed(self):
        if not self._connected or self._inputs & DEADMAN_DEAF:
            return False
        self._fed = True
        return True

    def _enabled(self):
        return self._fed or self._held

    def _let_go(self):
        self._connected = False
        self._fed = False
        self._held = False

    def enable_low(self):
        self._let_go()

    def read_enable(self):
        if self._inputs & ENABLE_READS_HIGH:
            return 1
        if self._inputs & ENABLE_READS_LOW:
            return 0
        return 1 if self._enabled() else 0

    def safe_off(self):
        self._let_go()
        self._duty = 0
        return self.read_enable() == 0

    def read_input(self, which):
        return self._inputs >> which & 1

    def link_ready(self):
        return self._inputs & LINK_READY

    def link_write(self, buffer, count):
        tx = self._tx
        at = RESPONSE_HEAD + self._tx_count
        if self._tx_count + count > TX_MAX:
            raise ValueError("the link was written to without asking link_ready")
        for index in range(count):
            tx[at + index] = buffer[index]
        self._tx_count += count

    def link_read(self):
        if self._rx_next >= self.received:
            return -1
        byte = self._rx[self._rx_next]
        self._rx_next += 1
        return byte

    def calibration_read(self, copy):
        return self.flash[copy]

    def calibration_write(self, copy, data):
        self.flash[copy] = bytes(data)

    def nonce_seed(self):
        return self._nonce_seed

    def unique_id(self):
        return self._uid

    def reset_cause(self):
        return 0

    def set_phase(self, phase):
        """Nothing here survives a reset."""

    def last_phase(self):
        return 0
