"""Everything outside the board: tissue, thermocouples, RF stage, sense, inputs, the host's line, and their faults.

The truth is kept here, apart from anything the firmware says: temperatures at the sensors' places, the enable pin,
the power that flowed.
"""

import math
import random
import struct
from collections.abc import Sequence

from rfprobe.probe_file import ProbeFile
from rfprobe.sim.bench_setup import Baths, BenchSetup, SensorError
from rfprobe.sim.cem43 import Cem43
from rfprobe.sim.faults import Fault
from rfprobe.sim.onboard import exchange, max31856_chip
from rfprobe.sim.rf_stage import AdcModel, RfStageModel
from rfprobe.sim.sensors import ThermocoupleModel, max31855_reading
from rfprobe.sim.tissue import SphereTissue, TissuePreset
from rfprobe.wire import command_line

TICK_US = 10_000
TICK_S = 0.01
STEP_TICKS = 5  # the tissue and the sensors move in steps of 50 ms, the electrical side every tick
CLOCK_WRAP = 1 << 30
PLACES = 4
ROLES = ("control", "boundary", "guard")
JUNCTION_MASK = 0x3FFF  # 14 bits with a sign, as in the register
_REST = ((25 * 128), (25 * 64), 0, 0)

TruthRow = tuple[float | None, ...]


SECOND_HOST = (
    b"HELLO\n",
    b"STATUS\n",
    command_line(70_001, "LEASE", 12_345),
    command_line(70_002, "SET", "max_temperature_mC", 105_000),
    command_line(70_003, "CONFIGURE"),
    command_line(70_004, "ARM", 1, 12_345),
    command_line(70_005, "START", 12_345),
    command_line(70_006, "ACKNOWLEDGE"),
)


class HostLine:
    """What a fault does to the host's side of the link."""

    def __init__(self, seed: int) -> None:
        self.silent = False
        self.garbage = False
        self.flood = False
        self.stop = False
        self.replay = False
        self.reorder = False
        self.corrupt = False
        self.second_host = False
        self.late_ticks = 0  # from the next renewal of the lease on, nothing comes for so long
        self._quiet_ticks = 0
        self._renewal = b""
        self._held = b""
        self._said: list[bytes] = []
        self._ticks = 0
        self._random = random.Random(seed)

    def spoil(self, rx: bytes) -> bytes:
        """The bytes that arrive in place of `rx`, at most RX_MAX."""
        self._ticks += 1
        if self.silent:
            return b""
        rx = self._delay(rx)
        if self.replay or self.reorder or self.corrupt or self.second_host:
            rx = self._tamper(rx)
        if self.garbage:
            rx = self._noise(len(rx))
        if self.flood:
            rx += self._noise(exchange.RX_MAX - len(rx))
        return rx

    def _delay(self, rx: bytes) -> bytes:
        """After a renewal of the lease nothing comes, until the next one `late_ticks` later."""
        if self._quiet_ticks:
            self._quiet_ticks -= 1
            if b"LEASE" in rx:
                self._renewal = rx
            return b"" if self._quiet_ticks else self._renewal
        if self.late_ticks and b"LEASE" in rx:
            self._quiet_ticks, self.late_ticks = self.late_ticks, 0
        return rx

    def _tamper(self, rx: bytes) -> bytes:
        """What a bad cable, a second program or a man in the middle does to whole lines."""
        if rx.endswith(b"\n"):
            self._said = [*self._said[-15:], rx]
        if self.reorder and rx:
            rx, self._held = (self._held + rx, b"") if self._held else (b"", rx)
            rx = b"\n".join(reversed(rx.split(b"\n")))
        if self.corrupt and rx and self._random.random() < 0.3:
            at = self._random.randrange(len(rx))
            rx = rx[:at] + bytes([rx[at] ^ 1 << self._random.randrange(8)]) + rx[at + 1 :]
        if self.replay and self._said and self._ticks % 7 == 0:
            rx += self._random.choice(self._said)
        if self.second_host and self._ticks % 9 == 0:
            rx += self._random.choice(SECOND_HOST)
        return rx[: exchange.RX_MAX]

    def _noise(self, count: int) -> bytes:
        # no capitals or small letters of STOP: noise that says STOP stops, and that is another test
        return bytes(self._random.choice(b"0123456789abcdef *=\n\xff\x00-") for _ in range(count))


class Plant:
    """`stimulus` is what the board sees in this tick, `take` what it did."""

    def __init__(
        self,
        tissue: TissuePreset,
        probe: ProbeFile,
        seed: int,
        faults: Sequence[Fault] = (),
        start_us: int = 0,
        setup: BenchSetup | None = None,
    ) -> None:
        profile = probe.profile
        setup = setup or BenchSetup()
        self.probe = probe
        self.roles = probe.roles
        self._places_mm = [each.place_mm for each in profile.thermocouple]
        self.tissue = SphereTissue(
            tissue, profile.probe.electrode_radius_mm, self._places_mm, step_s=STEP_TICKS * TICK_S
        )
        self.thermocouples = [
            ThermocoupleModel(seed, place, start_C=tissue.start_C, tau_s=each.lag_s, open_check_every=1)
            for place, each in enumerate(profile.thermocouple)
        ]
        self.stage = RfStageModel(
            profile.rf_stage.drive_law,
            max_V=profile.rf_stage.full_scale_voltage_V,
            max_I=profile.rf_stage.max_current_A * 1.5,
            pwm_Hz=round(profile.rf_stage.drive_pwm_kHz * 1000),
            polarity="active_low" if profile.rf_stage.inverted else "active_high",
        )
        self.adcs = (
            AdcModel(profile.sense.v_full_scale_V, seed, 0),
            AdcModel(profile.sense.i_full_scale_A, seed, 1),
        )
        self.host = HostLine(seed)
        self._errors = [setup.error(role) for role in self.roles]
        self._sense_errors = (setup.error("voltage"), setup.error("current"))
        self._sense_is_off = self._sense_errors != (SensorError(), SensorError())
        self._baths = Baths(setup, TICK_S)
        self.fixed_impedance_ohm = setup.load_ohm
        self.impedance_rise_per_s = 0.0
        self.interlock_bounce_ticks = 0
        self.late_us = 0
        self.missed_ticks = 0
        self.upset = 0  # which bit of the firmware's memory has flipped, see onboard/upset.py
        self.gone = False  # the board has no power, or runs something else
        self.reset_wanted = False
        self.tick = 0
        self.now_us = start_us
        self.enable = 0
        self.duty = 0
        self.power_W = 0.0
        self.energy_J = 0.0
        self.rf_on_s = 0.0
        self.enable_edges: list[tuple[float, int]] = []
        self.rows: list[TruthRow] = []
        self.tissue_peak_C = tissue.start_C
        self.peak_C = {role: -math.inf for role in ROLES if role in self.roles}
        self.dose = {role: Cem43() for role in ROLES if role in self.roles}
        self._impedance_factor = 1.0
        self._swapped = False
        self._voltage_V = 0.0
        self._current_A = 0.0
        self._step_J = 0.0
        self._inputs = exchange.INTERLOCK_CLOSED | exchange.FOOTSWITCH_PRESSED | exchange.LINK_READY
        self._modes = [max31856_chip.BUS_GOOD] * PLACES
        fitted = enumerate(profile.thermocouple)
        self._straight = {place: each.type for place, each in fitted if each.chip == "max31855"}
        self._chips = b""
        self._head = struct.Struct(f"{exchange.STIMULUS}{exchange.ANALOGUE_AT - struct.calcsize(exchange.STIMULUS)}x")
        self._chip_fields = struct.Struct(exchange.ANALOGUE)
        self._schedule = sorted(
            [(fault.start_s, 0, index, fault) for index, fault in enumerate(faults)]
            + [(fault.end_s, 1, index, fault) for index, fault in enumerate(faults) if fault.end_s < math.inf]
        )
        self._faulty = bool(faults)
        self._convert()

    @property
    def t_s(self) -> float:
        """Simulated time since power-up."""
        return self.tick * TICK_S

    # ---- what the board sees --------------------------------------------------------------------------------------

    def stimulus(self, rx: bytes) -> bytes:
        """The record of this tick: `rx` (at most RX_MAX bytes) is what the host has sent."""
        if self._faulty:
            self._apply_due()
            rx = self.host.spoil(rx)
        if self._baths.left:
            self._baths.pass_tick(rx)
        voltage_V, current_A = self._voltage_V, self._current_A
        if self._sense_is_off:
            voltage_V, current_A = (error.shown(true) for error, true in self._sensed())
        volts, amps = self.adcs
        first_volts, second_volts = volts.read_twice(voltage_V)
        first_amps, second_amps = amps.read_twice(current_A)
        head = self._head.pack(
            (self.now_us + self.late_us) % CLOCK_WRAP,
            first_volts,
            first_amps,
            second_volts,
            second_amps,
            self._inputs_now() if self._faulty else self._inputs,
            len(rx),
        )
        if self.upset:
            head = head[: exchange.UPSET_AT] + bytes((self.upset, 0))
        return head + self._chips + rx.ljust(exchange.RX_MAX, b"\0")

    def _sensed(self) -> tuple[tuple[SensorError, float], ...]:
        return tuple(zip(self._sense_errors, (self._voltage_V, self._current_A), strict=True))

    def _inputs_now(self) -> int:
        period = 20
        if self.interlock_bounce_ticks and self.tick % period < self.interlock_bounce_ticks:
            return self._inputs & ~exchange.INTERLOCK_CLOSED
        return self._inputs

    def _apply_due(self) -> None:
        while self._schedule and self._schedule[0][0] <= self.t_s:
            _, ends, _, fault = self._schedule.pop(0)
            fault.kind.apply(self, fault.place, fault.value, not ends)

    # ---- what the board did ---------------------------------------------------------------------------------------

    def take(self, enable: int, duty: int) -> None:
        """The pins as the tick left them; a tick's worth of time passes."""
        if enable != self.enable:
            self.enable_edges.append((self.t_s, enable))
        self.enable = enable
        self.duty = duty
        stage = self.stage
        stage.enable = bool(enable)
        if duty != stage.duty_u16:
            stage.set_duty(duty)
        self._voltage_V, self._current_A = stage.output(self.impedance_ohm(), TICK_S)
        self.power_W = self._voltage_V * self._current_A
        self._step_J += self.power_W * TICK_S
        if enable:
            self.rf_on_s += TICK_S
        self._pass_tick()

    def _pass_tick(self) -> None:
        self.tick += 1
        self.now_us += TICK_US
        if self.impedance_rise_per_s:
            self._impedance_factor *= (1.0 + self.impedance_rise_per_s) ** TICK_S
        if self.tick % STEP_TICKS == 0:
            self._step()
        if self.missed_ticks:
            self._be_away()

    def _be_away(self) -> None:
        """The CPU is gone for a while: the pins keep what they were fed with until the dead-man's time is over."""
        away = self.missed_ticks
        self.missed_ticks = 0
        self.take(self.enable, self.duty)
        for _ in range(away - 1):
            self.take(0, self.duty)

    def impedance_ohm(self) -> float:
        """The load as the stage sees it."""
        if self.fixed_impedance_ohm is not None:
            return self.fixed_impedance_ohm
        return self.tissue.impedance_ohm * self._impedance_factor

    def _step(self) -> None:
        """Tissue, thermocouples and truth move on by STEP_TICKS."""
        power_W = self._step_J / (STEP_TICKS * TICK_S)
        # power in a forced impedance does not reach the tissue: it goes where the fault is
        self.tissue.step(0.0 if self.fixed_impedance_ohm is not None else power_W)
        self.energy_J += self._step_J
        self._step_J = 0.0
        self._convert()
        self._note_truth(power_W)

    @property
    def sensor_C(self) -> Sequence[float]:
        """The true temperature at each thermocouple."""
        bath_C = self._baths.bath_C
        return self.tissue.sensor_C if bath_C is None else [bath_C] * len(self.thermocouples)

    def _convert(self) -> None:
        """What each converter's analogue side shows until the next step."""
        true_C = self.sensor_C
        errors = self._errors
        dt_s = STEP_TICKS * TICK_S
        rf_on = float(self.enable)
        readings = [
            model.update(errors[place].shown(true_C[place]), dt_s, rf_on)
            for place, model in enumerate(self.thermocouples)
        ]
        if self._swapped:
            control, guard = self.roles.index("control"), self.roles.index("guard")
            readings[control], readings[guard] = readings[guard], readings[control]
        codes: list[int] = []
        for place, reading in enumerate(readings):
            codes += self._before_chip(place, reading)
        codes.extend(_REST * (PLACES - len(readings)))
        self._chips = self._chip_fields.pack(*codes)

    def _before_chip(self, place: int, reading: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """A reading in the steps of the chip that is fitted at this place, and how its bus behaves."""
        if place in self._straight:
            to_vcc = bool(self.thermocouples[place].short_vcc)
            return *max31855_reading(self._straight[place], *reading, to_vcc), self._modes[place] | exchange.MAX31855
        code, junction, flags = reading
        return code, junction & JUNCTION_MASK, flags, self._modes[place]

    def _note_truth(self, power_W: float) -> None:
        by_role: dict[str, float] = {}
        true_C = self.sensor_C
        for place, role in enumerate(self.roles):
            if role in self.peak_C:
                temperature_C = true_C[place]
                by_role[role] = temperature_C
                if temperature_C > self.peak_C[role]:
                    self.peak_C[role] = temperature_C
                self.dose[role].add(temperature_C, STEP_TICKS * TICK_S)
        get = by_role.get
        # the columns of session_format.TRUTH_COLUMNS
        self.rows.append(
            (
                self.t_s,
                get("control"),
                get("boundary"),
                get("guard"),
                self.tissue.peak_C,
                self.enable,
                self.duty,
                power_W,
                self._voltage_V,
                self._current_A,
                self.impedance_ohm(),
            )
        )
        self.tissue_peak_C = max(self.tissue_peak_C, self.tissue.peak_C)

    def take_rows(self) -> list[TruthRow]:
        """The truth since the last call."""
        rows = self.rows
        self.rows = []
        return rows

    # ---- what faults turn -----------------------------------------------------------------------------------------

    def set_chip_mode(self, place: int, mode: int) -> None:
        self._modes[place] = mode
        self._repack()

    def _repack(self) -> None:
        fields = list(self._chip_fields.unpack(self._chips))
        for place, mode in enumerate(self._modes):
            fields[4 * place + 3] = mode | exchange.MAX31855 if place in self._straight else mode
        self._chips = self._chip_fields.pack(*fields)

    def force_input(self, bit: int, high: bool) -> None:
        self._inputs = self._inputs | bit if high else self._inputs & ~bit

    def displace(self, place: int, radius_mm: float | None) -> None:
        """Move a junction to `radius_mm` from the centre (None: back to where the profile has it)."""
        wanted = self._places_mm[place] if radius_mm is None else radius_mm
        radius = min(max(wanted, self.tissue.electrode_radius_mm), 50.0)
        self.tissue.set_sensor_radius_mm(place, radius)

    def slow_down(self, place: int, tau_s: float | None) -> None:
        """Another time constant for a junction (None: that of the profile), from the next conversion on."""
        model = self.thermocouples[place]
        model.set_lag(self.probe.profile.thermocouple[place].lag_s if tau_s is None else tau_s)

    def swap_control_and_guard(self, on: bool) -> None:
        self._swapped = on and "control" in self.roles and "guard" in self.roles
