"""The RF stage between drive PWM and electrode, and the converter that reads its output back.

`RfStageModel` turns the two pins of the firmware, enable and drive, into volts and amperes at the electrode.
`AdcModel` turns those into the counts that `machine.ADC.read_u16()` gives on an RP2040.
Both carry their faults as plain attributes, to be set and cleared at any time.
"""

import math
from bisect import bisect_right
from functools import cache
from typing import Literal, get_args

import numpy as np

DriveLaw = Literal["envelope", "supply", "sin2"]
Polarity = Literal["active_high", "active_low"]
DRIVE_LAWS: tuple[str, ...] = get_args(DriveLaw)
POLARITIES: tuple[str, ...] = get_args(Polarity)

DUTY_FULL = 65535
PWM_TOP_MAX = 65534
PWM_DIVIDER_LIMIT_16THS = 256 * 16


def pwm_levels(pwm_Hz: int, system_clock_Hz: int = 125_000_000) -> int:
    """Counts in one PWM period as MicroPython sets up an RP2040 slice: the steps the duty can have.

    Raises ValueError for a frequency the slice cannot make.
    """
    if not 1 <= pwm_Hz <= system_clock_Hz // 2:
        raise ValueError(f"drive PWM at {pwm_Hz} Hz: must be 1 to {system_clock_Hz // 2} Hz")
    undivided = (system_clock_Hz + pwm_Hz // 2) // pwm_Hz
    if undivided < PWM_TOP_MAX:
        return undivided
    divider_16ths = -(-16 * system_clock_Hz // (PWM_TOP_MAX * pwm_Hz))
    if divider_16ths >= PWM_DIVIDER_LIMIT_16THS:
        raise ValueError(f"drive PWM at {pwm_Hz} Hz: too slow for the PWM's divider")
    rate = divider_16ths * pwm_Hz
    return (16 * system_clock_Hz + rate // 2) // rate


def quantised_duty(duty_u16: int, levels: int) -> float:
    """On-time, 0 to 1, of a PWM pin with `levels` counts a period, rounded as MicroPython rounds."""
    return (duty_u16 * levels + DUTY_FULL // 2) // DUTY_FULL / levels


class RfStageModel:
    """Output voltage and current of the RF stage into an impedance; values are RMS at the carrier.

    Drive laws, D being the drive pin's on-time (of the right polarity), 0 to 1:
        envelope: V = max_V · D. The amplitude follows at once.
        supply:   the same, but D sets the supply, which follows with the time constant `supply_tau_s`.
        sin2:     a directly keyed bridge. The carrier is the fundamental of the pulse train, V = max_V ·
                  sin(πD), so P ∝ sin²(πD): greatest at D = ½ and falling beyond it.
    Limits: the voltage never exceeds max_V, and is folded back until the current is at most max_I.

    Attributes to set:
        enable: the enable pin; off is exactly no output.
    Faults, plain attributes:
        stuck_on: the output is on whatever the enable says, driven at least by `stuck_drive` (0 to 1 of
            max_V; 0 means that only the enable is stuck and the drive still governs).
        stuck_off: no output.
        gain: factor on the voltage; below 1 a weak stage, above 1 a strong one (max_V and max_I still hold).
        inverted: the drive acts upside down, 0 being full.
    """

    def __init__(
        self,
        law: DriveLaw = "envelope",
        *,
        max_V: float,
        max_I: float,
        pwm_Hz: int = 20_000,
        system_clock_Hz: int = 125_000_000,
        polarity: Polarity = "active_high",
        supply_tau_s: float = 0.05,
    ) -> None:
        """Start disabled, at duty 0.

        Args:
            law: what the drive PWM means, see above.
            max_V, max_I: largest output, V and A RMS.
            pwm_Hz, system_clock_Hz: of the drive pin; together they give the duty's steps.
            polarity: `active_low` if a high drive pin is off; the duty is then 65535 for no output.
            supply_tau_s: for the supply law.

        Raises:
            ValueError: one line, for an unknown law or polarity, or a value that is not above 0.
        """
        if law not in DRIVE_LAWS:
            raise ValueError(f"drive law {law!r}: must be one of {', '.join(DRIVE_LAWS)}")
        if polarity not in POLARITIES:
            raise ValueError(f"drive polarity {polarity!r}: must be one of {', '.join(POLARITIES)}")
        for name, value in (("max_V", max_V), ("max_I", max_I), ("supply_tau_s", supply_tau_s)):
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} {value}: must be above 0")
        self.law = law
        self.polarity = polarity
        self.max_V = max_V
        self.max_I = max_I
        self.supply_tau_s = supply_tau_s
        self.levels = pwm_levels(pwm_Hz, system_clock_Hz)
        self.enable = False
        self.stuck_on = False
        self.stuck_drive = 0.25
        self.stuck_off = False
        self.gain = 1.0
        self.inverted = False
        self._duty_u16 = 0
        self._pin_on_time = 0.0
        self._supply = 0.0
        self._active_low = polarity == "active_low"
        laws = {"envelope": self._envelope_drive, "supply": self._supply_drive, "sin2": self._bridge_drive}
        self._drive = laws[law]

    @property
    def duty_u16(self) -> int:
        """What the drive pin was last set to, 0 to 65535."""
        return self._duty_u16

    def set_duty(self, duty_u16: int) -> None:
        """Set the drive pin as `PWM.duty_u16()` does. Raises ValueError outside 0 to 65535."""
        if not 0 <= duty_u16 <= DUTY_FULL:
            raise ValueError(f"duty {duty_u16}: must be 0 to {DUTY_FULL}")
        self._duty_u16 = duty_u16
        self._pin_on_time = quantised_duty(duty_u16, self.levels)

    def output(self, impedance_ohm: float, dt_s: float = 0.0) -> tuple[float, float]:
        """Volts and amperes into this impedance, after `dt_s` more of simulated time.

        Only the supply law has a memory and needs `dt_s`; its supply follows the drive while the output is
        off too. An impedance of `inf` is an open circuit, 0 a short. Raises ValueError for a negative one.
        """
        if not impedance_ohm >= 0.0:
            raise ValueError(f"impedance {impedance_ohm} Ω: must be 0 or more")
        on_time = self._pin_on_time
        if self.inverted != self._active_low:
            on_time = 1.0 - on_time
        drive = self._drive(on_time, dt_s)
        if self.stuck_on:
            drive = max(drive, self.stuck_drive)
        elif not self.enable:
            return 0.0, 0.0
        if self.stuck_off or drive <= 0.0:
            return 0.0, 0.0
        if impedance_ohm == 0.0:
            return 0.0, self.max_I
        voltage_V = min(self.max_V * drive * self.gain, self.max_V)
        current_A = voltage_V / impedance_ohm
        if current_A > self.max_I:
            return self.max_I * impedance_ohm, self.max_I
        return voltage_V, current_A

    def _envelope_drive(self, on_time: float, _dt_s: float) -> float:
        return on_time

    def _supply_drive(self, on_time: float, dt_s: float) -> float:
        self._supply -= (on_time - self._supply) * math.expm1(-dt_s / self.supply_tau_s)
        return self._supply

    def _bridge_drive(self, on_time: float, _dt_s: float) -> float:
        # sin(π) is 1.2e-16, not 0; a pin that never toggles makes no carrier.
        return math.sin(math.pi * on_time) if on_time < 1.0 else 0.0


ADC_CODES = 4096
ADC_STEPS_PER_LSB = 8
"""The conversion table resolves an eighth of a code."""
WIDE_CODES = (512, 1536, 2560, 3584)


@cache
def rp2040_adc_table(wide_LSB: float) -> tuple[int, ...]:
    """`read_u16` counts by input in eighths of an LSB, with four codes `wide_LSB` wider than the others.

    The RP2040's capacitor array makes these codes wide and all others a little narrow: a sawtooth error.
    """
    widths = np.full(ADC_CODES, 1.0 - len(WIDE_CODES) * wide_LSB / ADC_CODES)
    widths[list(WIDE_CODES)] += wide_LSB
    # Where each code ends. An ideal converter's codes sit in the middle of their width: n LSB read n.
    ends: list[float] = (np.cumsum(widths) - 0.5).tolist()
    inputs = (step / ADC_STEPS_PER_LSB for step in range((ADC_CODES - 1) * ADC_STEPS_PER_LSB + 1))
    codes = (min(bisect_right(ends, value), ADC_CODES - 1) for value in inputs)
    return tuple((code << 4) | (code >> 8) for code in codes)


class AdcModel:
    """One channel of the RP2040's 12-bit ADC behind a sensing network, read with `machine.ADC.read_u16()`.

    Defaults after a published characterisation of the Pico (pico-adc.markomo.me): input noise 1.36 LSB RMS
    with the board's regulator in PWM mode, and an integral nonlinearity of 7.85 LSB from peak to peak, which
    the wide codes 512, 1536, 2560 and 3584 make. Together that is 8.8 effective bits, as a test measures with
    a sine.

    Faults, plain attributes:
        stuck_u16: reads this, whatever the input; None for no fault.
        offset: added to the input, in its unit (V or A).
    """

    def __init__(
        self,
        full_scale: float,
        seed: int,
        channel: int = 0,
        *,
        noise_LSB: float = 1.36,
        wide_LSB: float = 7.85,
        block: int = 4096,
    ) -> None:
        """Build the conversion table.

        Args:
            full_scale: V or A RMS at the electrode that read 65535.
            seed, channel: choose the noise; channels of one seed are independent of each other.
            noise_LSB: standard deviation of the noise, in 12-bit counts; 0 for none.
            wide_LSB: by how much the wide codes exceed the others; 0 for none.
            block: noise values drawn at once.

        Raises:
            ValueError: one line, for a full scale that is not above 0, or noise or width out of range.
        """
        if not (full_scale > 0.0 and math.isfinite(full_scale)):
            raise ValueError(f"full scale {full_scale}: must be above 0")
        if not (0.0 <= noise_LSB <= 1000.0 and 0.0 <= wide_LSB <= 100.0):
            raise ValueError(f"noise {noise_LSB} LSB must be 0 to 1000, wide codes {wide_LSB} LSB 0 to 100")
        self.full_scale = full_scale
        self.stuck_u16: int | None = None
        self.offset = 0.0
        self._table = rp2040_adc_table(wide_LSB)
        self._last_step = len(self._table) - 1
        self._steps_per_unit = self._last_step / full_scale
        self._noise_steps = noise_LSB * ADC_STEPS_PER_LSB
        self._random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0xADC, channel))))
        self._block = block
        self._drawn = iter(list[float]())

    def read_u16(self, value: float) -> int:
        """Counts, 0 to 65535, for an input in the unit of the full scale; held at the ends of the range."""
        noise_steps = next(self._drawn, None)
        if noise_steps is None:
            noise_steps = self._draw_block()
        if self.stuck_u16 is not None:
            return self.stuck_u16
        return self._at(int((value + self.offset) * self._steps_per_unit + noise_steps))

    def read_twice(self, value: float) -> tuple[int, int]:
        """Two readings of the same input, as `read_u16` gives them, in less time: it is called in every tick."""
        first_steps = next(self._drawn, None)
        if first_steps is None:
            first_steps = self._draw_block()
        second_steps = next(self._drawn, None)
        if second_steps is None:
            second_steps = self._draw_block()
        if self.stuck_u16 is not None:
            return self.stuck_u16, self.stuck_u16
        steps = (value + self.offset) * self._steps_per_unit
        first, second = int(steps + first_steps), int(steps + second_steps)
        table = self._table
        if 0 <= first < self._last_step > second >= 0:
            return table[first], table[second]
        return self._at(first), self._at(second)

    def _at(self, step: int) -> int:
        return self._table[step] if 0 <= step < self._last_step else 0 if step < 0 else 65535

    def _draw_block(self) -> float:
        noise_steps: list[float] = (self._random.standard_normal(self._block) * self._noise_steps).tolist()
        self._drawn = iter(noise_steps)
        return next(self._drawn)
