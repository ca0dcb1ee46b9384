"""The virtual probe as one device: plant and board in lock step, one tick a call, bytes of the host in and out."""

import struct
from collections.abc import Callable, Sequence

from rfprobe.sim.onboard import exchange
from rfprobe.sim.plant import CLOCK_WRAP, TICK_US, Plant
from rfprobe.sim.runtimes import Runtime

_HEAD = struct.Struct(exchange.RESPONSE)


class LockStep:
    """What a host tool meets in place of a board. `exchange` takes any number of bytes and keeps what waits."""

    tick_us = TICK_US

    def __init__(
        self,
        plant: Plant,
        runtime: Runtime,
        boot: Callable[[int], Runtime] | None = None,
        second: Plant | None = None,
    ) -> None:
        """`boot` makes the board anew after a reset, its microsecond counter at what it is given.

        `second` is what the second channel of a board with two is in; link and clock are the first's.
        """
        self.plant = plant
        self.plants: Sequence[Plant] = (plant,) if second is None else (plant, second)
        self.runtime = runtime
        self._boot = boot
        self._waiting = b""

    def exchange(self, rx: bytes) -> bytes:
        """One 10 ms tick: bytes from the host in, bytes to the host out."""
        plant = self.plant
        if plant.reset_wanted and self._boot is not None:
            plant.reset_wanted = False
            self.runtime.close()
            self.runtime = self._boot(plant.now_us % CLOCK_WRAP)
        if plant.gone:
            for each in self.plants:
                each.stimulus(b"")  # the world goes on
                each.take(0, 0)
            return b""
        if rx or self._waiting:
            self._waiting += rx
            rx = self._waiting[: exchange.RX_MAX]
            self._waiting = self._waiting[exchange.RX_MAX :]
        stimulus = plant.stimulus(rx)
        if len(self.plants) > 1:
            return self._exchange_pair(stimulus)
        response = self.runtime.exchange(stimulus)
        enable, _, duty, count = _HEAD.unpack_from(response)
        plant.take(enable, duty)
        if not count:
            return b""
        return bytes(response[exchange.RESPONSE_HEAD : exchange.RESPONSE_HEAD + count])

    def _exchange_pair(self, stimulus: bytes) -> bytes:
        """One record of each channel in, one out; what the host hears is in the first's."""
        first, second = self.plants
        response = self.runtime.exchange(stimulus + second.stimulus(b""))
        second.missed_ticks = first.missed_ticks  # the CPU is away for both
        enable, _, duty, count = _HEAD.unpack_from(response)
        first.take(enable, duty)
        enable, _, duty, _ = _HEAD.unpack_from(response, exchange.RESPONSE_SIZE)
        second.take(enable, duty)
        return bytes(response[exchange.RESPONSE_HEAD : exchange.RESPONSE_HEAD + count])

    def close(self) -> None:
        """Power off."""
        self.runtime.close()
