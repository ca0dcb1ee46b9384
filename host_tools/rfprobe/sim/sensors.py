"""Thermocouples and their converter's numbers: from the tissue's true temperature to register codes.

The codes are the MAX31856's: thermocouple 19 bits signed, 1/128 °C; cold junction 14 bits signed, 1/64 °C.
`max31855_reading` makes of them what a MAX31855 shows: fewer bits, the two shorts apart, and a straight line where
the thermocouple has a curve.
"""

import math
import random

import numpy as np

from rfprobe.sim.its90 import emf_mV
from rfprobe.sim.onboard import max31855_chip

TC_CODES_PER_C = 128
TC_CODE_MIN, TC_CODE_MAX = -(1 << 18), (1 << 18) - 1
COLD_CODES_PER_C = 64
COLD_CODE_MIN, COLD_CODE_MAX = -(1 << 13), (1 << 13) - 1

OPEN = 0x01
"""Status bit of the MAX31856: the thermocouple is open."""
OVUV = 0x02
"""Status bit of the MAX31856: an input lies above the supply or below ground; conversions are suspended."""


def tc_code(temperature_C: float) -> int:
    """Thermocouple code of a temperature, held to the register's 19 bits."""
    return min(max(math.floor(temperature_C * TC_CODES_PER_C + 0.5), TC_CODE_MIN), TC_CODE_MAX)


def cold_code(temperature_C: float) -> int:
    """Cold-junction code of a temperature, held to the register's 14 bits."""
    return min(max(math.floor(temperature_C * COLD_CODES_PER_C + 0.5), COLD_CODE_MIN), COLD_CODE_MAX)


MAX31855_uV_C = {"K": 41.276, "T": 52.18}
"""Nominal sensitivities, MAX31855 data sheet 19-5793 Rev 5, table 1."""


def max31855_reading(kind: str, code: int, cold: int, flags: int, to_vcc: bool) -> tuple[int, int, int]:
    """What a MAX31855 for thermocouples of type `kind` shows of a reading in this module's codes.

    Thermocouple in 1/4 °C, cold junction in 1/16 °C, both as two's complement of the chip's width, and its fault bits.
    """
    cold_C = cold / COLD_CODES_PER_C
    hot_C = min(max(code / TC_CODES_PER_C, -200.0), 400.0)
    shown_C = cold_C + 1000.0 * (emf_mV(kind, hot_C) - emf_mV(kind, cold_C)) / MAX31855_uV_C[kind]
    faults = max31855_chip.OPEN if flags & OPEN else 0
    if flags & OVUV:
        faults |= max31855_chip.SHORT_TO_VCC if to_vcc else max31855_chip.SHORT_TO_GND
    return math.floor(shown_C * 4 + 0.5), math.floor(cold_C * 16 + 0.5) & 0xFFF, faults


class FaultKnob:
    """A fault of a thermocouple: a plain number to its users, True and False for a switch; 0 is off.

    Setting one tells the model, so that a healthy reading need not look at them all.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_{name}"

    def __get__(self, model: "ThermocoupleModel", owner: type) -> float:
        value: float = getattr(model, self._slot, 0)
        return value

    def __set__(self, model: "ThermocoupleModel", value: float) -> None:
        setattr(model, self._slot, value)
        model.note_faults()


class ThermocoupleModel:
    """One thermocouple and the converter's analogue side, advanced one conversion at a time.

    The junction follows the tissue with a first-order lag (the tissue taken to change evenly between
    conversions); then come the faults, and white noise. Everything random comes from the seed, and no fault
    shifts the noise of later readings.

    Faults, plain attributes, all off at first:
        open: the wire is broken. Reads the cold junction (no voltage: an assumption, a floating input may
            read anything) and shows OPEN from the converter's next test: `open_check_every` conversions after
            the break, which is the longest the chip takes; the flag goes as late when the wire is mended.
        short_gnd, short_vcc: an input tied to a rail. OVUV at once; the last code stays, as no conversion
            ends.
        reversed: the wires are swapped: the deviation from the cold junction has the wrong sign.
        drift_C_per_s: an error that grows with time; 0 takes it away again.
        frozen: the last codes and flags repeat.
        spike_probability, spike_C: chance per conversion of a reading that is off by this much, up or down.
        jump_C: a constant error.
        rf_pickup_C: an error while RF is on, in proportion to `rf_on`.
    Settable too:
        cold_junction_C: temperature of the converter.
    """

    open = FaultKnob()
    short_gnd = FaultKnob()
    short_vcc = FaultKnob()
    reversed = FaultKnob()
    drift_C_per_s = FaultKnob()
    frozen = FaultKnob()
    spike_probability = FaultKnob()
    spike_C = FaultKnob()
    jump_C = FaultKnob()
    rf_pickup_C = FaultKnob()

    def __init__(
        self,
        seed: int,
        channel: int = 0,
        *,
        start_C: float = 37.0,
        tau_s: float = 0.35,
        sigma_C: float = 0.05,
        cold_junction_C: float = 25.0,
        open_check_every: int = 16,
        block: int = 1024,
    ) -> None:
        """Start at rest.

        Args:
            seed, channel: choose the noise; channels of one seed are independent of each other.
            start_C: temperature of tissue and junction at the beginning.
            tau_s: time constant of the junction in tissue, s; 0 for none.
            sigma_C: standard deviation of the noise of one conversion.
            cold_junction_C: temperature of the converter.
            open_check_every: conversions from one open-circuit test to the next: 16 in the MAX31856's
                automatic mode.
            block: noise values drawn at once.

        Raises:
            ValueError: negative time constant or noise, or `open_check_every` below 1.
        """
        if not (tau_s >= 0.0 and sigma_C >= 0.0 and open_check_every >= 1):
            raise ValueError(
                f"thermocouple: time constant {tau_s} s and noise {sigma_C} °C must be 0 or more, "
                f"open_check_every {open_check_every} 1 or more"
            )
        self.tau_s = tau_s
        self.sigma_C = sigma_C
        self.open_check_every = open_check_every
        noise_seed, spike_seed = np.random.SeedSequence(seed, spawn_key=(0x7C, channel)).spawn(2)
        self._random = np.random.Generator(np.random.PCG64(noise_seed))
        self._spikes = random.Random(int(spike_seed.generate_state(1, np.uint64)[0]))
        self._block = block
        self._draw = iter(list[float]()).__next__
        self._dt_s = math.nan
        self._decay = 0.0
        self._ramp = 0.0
        self._drift_C = 0.0
        self._since_change = 0
        self._flags = 0
        self._healthy = True
        self._true_C = start_C
        self._junction_C = start_C
        self._code = tc_code(start_C)
        self.cold_junction_C = cold_junction_C

    @property
    def junction_C(self) -> float:
        """Temperature of the junction: the tissue's, lagged; before noise and faults."""
        return self._junction_C

    @property
    def cold_junction_C(self) -> float:
        """Temperature of the converter."""
        return self._cold_C

    @cold_junction_C.setter
    def cold_junction_C(self, temperature_C: float) -> None:
        self._cold_C = temperature_C
        self._cold_code = cold_code(temperature_C)

    def note_faults(self) -> None:
        """Look through the faults; called when one is set."""
        wire = self.open or self.short_gnd or self.short_vcc or self.reversed or self.frozen
        error = self.drift_C_per_s or self.spike_probability or self.jump_C or self.rf_pickup_C
        # A flag or a drift still stands after its cause is gone, until a conversion has cleared it.
        self._healthy = not (wire or error or self._flags or self._drift_C)

    def update(self, true_C: float, dt_s: float, rf_on: float = 0.0) -> tuple[int, int, int]:
        """One conversion, `dt_s` after the last: thermocouple code, cold-junction code, and the flags OPEN
        and OVUV.

        `rf_on` is the share of the conversion with RF on, 0 to 1; it matters to `rf_pickup_C` only. Raises
        ValueError unless `dt_s` is above 0.
        """
        if dt_s != self._dt_s:
            self._fit_lag(dt_s)
        before_C = self._true_C
        ramp_C = (true_C - before_C) * self._ramp
        junction_C = true_C - ramp_C + (self._junction_C - before_C + ramp_C) * self._decay
        self._true_C = true_C
        self._junction_C = junction_C
        try:
            noise_C = self._draw()
        except StopIteration:
            noise_C = self._draw_block()
        if not self._healthy:
            return self._update_faulty(junction_C, noise_C, dt_s, rf_on)
        # Halves are rounded up: int() cuts towards zero, and the shift keeps its argument positive.
        code = int((junction_C + noise_C) * TC_CODES_PER_C - TC_CODE_MIN + 0.5) + TC_CODE_MIN
        if not TC_CODE_MIN <= code <= TC_CODE_MAX:
            code = tc_code(junction_C + noise_C)
        self._code = code
        return code, self._cold_code, 0

    def _draw_block(self) -> float:
        noise_C: list[float] = (self._random.standard_normal(self._block) * self.sigma_C).tolist()
        self._draw = iter(noise_C).__next__
        return self._draw()

    def _update_faulty(self, junction_C: float, noise_C: float, dt_s: float, rf_on: float) -> tuple[int, int, int]:
        """The conversion with a fault on, or with something left over from one."""
        self._drift_C = self._drift_C + self.drift_C_per_s * dt_s if self.drift_C_per_s else 0.0
        if self.frozen:
            return self._code, self._cold_code, self._flags
        if self.short_gnd or self.short_vcc:
            self._flags |= OVUV
            return self._code, self._cold_code, self._flags
        self._flags &= ~OVUV
        self._test_for_open()
        self._code = tc_code(self._cold_C if self.open else self._with_errors(junction_C, rf_on) + noise_C)
        shown = self._code, self._cold_code, self._flags
        self.note_faults()
        return shown

    def _test_for_open(self) -> None:
        """The flag follows the wire `open_check_every` conversions late."""
        if bool(self.open) == bool(self._flags & OPEN):
            self._since_change = 0
            return
        self._since_change += 1
        if self._since_change >= self.open_check_every:
            self._since_change = 0
            self._flags ^= OPEN

    def _with_errors(self, junction_C: float, rf_on: float) -> float:
        shown_C = 2.0 * self._cold_C - junction_C if self.reversed else junction_C
        shown_C += self._drift_C + self.jump_C + self.rf_pickup_C * rf_on
        if self.spike_probability and self._spikes.random() < self.spike_probability:
            shown_C += self.spike_C if self._spikes.random() < 0.5 else -self.spike_C
        return shown_C

    def set_lag(self, tau_s: float) -> None:
        """Another time constant, s, from now on: the junction has another contact with the tissue."""
        self.tau_s = tau_s
        self._dt_s = math.nan

    def _fit_lag(self, dt_s: float) -> None:
        """Coefficients of the lag over `dt_s`, for an input that runs evenly from its last value to the
        present one.
        """
        if not dt_s > 0.0:
            raise ValueError(f"time between conversions {dt_s} s: must be above 0")
        self._dt_s = dt_s
        self._ramp = self.tau_s / dt_s
        self._decay = math.exp(-dt_s / self.tau_s) if self.tau_s > 0.0 else 0.0
