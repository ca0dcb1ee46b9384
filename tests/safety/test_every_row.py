"""Each row of the limit table is broken on purpose and must trip, with the plant's own limits out of the way.

The simulated stage never gives more than its full voltage and current, and tissue never goes far beyond boiling: a row
that seems to hold may be held up by that. Here the stage and the thermocouples do whatever they are told to.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rfprobe.client import RunClient
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import make_runtime
from rfprobe.sim.sensors import ThermocoupleModel, cold_code, tc_code
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol, safety
from tests.runtimes.loop import NONCE_SEED, UID, probe, short_values

UNLIMITED = 1e9
LASTS_TICKS = 30_000
AT_S = 6.2
CONTROL, GUARD = 0, 2
Curve = Callable[[float], float]
"""What a thermocouple reads, °C, by the time in s."""


class ToldThermocouple(ThermocoupleModel):
    """Reads what it is told, without lag; a little noise, so that each conversion is a new one."""

    def __init__(self, curve: Curve) -> None:
        super().__init__(1)
        self._curve = curve
        self._t_s = 0.0

    def update(self, true_C: float, dt_s: float, rf_on: float = 0.0) -> tuple[int, int, int]:
        self._t_s += dt_s
        wobble = 0.01 * (round(self._t_s / dt_s) % 3)
        return tc_code(self._curve(self._t_s) + wobble), cold_code(25.0), 0


@dataclass(frozen=True)
class Break:
    """How a row is broken: by faults, by what the stage does or a thermocouple reads; and in what plan."""

    faults: tuple[str, ...] = ()
    gain: float = 1.0
    """What the stage makes of its drive, from AT_S on."""
    load_ohm: float | None = None
    reads: dict[int, Curve] = field(default_factory=dict[int, Curve])
    changes: dict[str, int] = field(default_factory=dict[str, int])


def ramp(from_C: float, to_C: float, begins_s: float, lasts_s: float) -> Curve:
    """From one temperature to another in a straight line."""
    return lambda t_s: from_C + (to_C - from_C) * min(max((t_s - begins_s) / lasts_s, 0.0), 1.0)


WHOLE = {"target_mC": 70_000, "ramp_mC_per_s": 1_000, "hold_ms": 60_000, "cooldown_ms": 10_000}
LONG = {"hold_ms": 120_000, "max_rf_on_ms": 200_000}
HOLDS = {"hold_ms": 10_000}
# By the row's name, without the thermocouple's place.
BREAKS: dict[str, Break] = {
    "rf_while_disabled": Break(("stage_on@0.5",)),
    "enable_stuck_high": Break(("enable_high@0.4",)),
    "enable_stuck_low": Break((f"enable_low@{AT_S}",), changes=HOLDS),
    "interlock_open": Break((f"interlock@{AT_S}",), changes=HOLDS),
    "lease_age": Break((f"host_silence@{AT_S}",), changes=HOLDS),
    "deadman_refused": Break((f"deadman_deaf@{AT_S}",), changes=HOLDS),
    "over_voltage": Break(gain=8.0, load_ohm=900.0, changes=HOLDS),
    "over_current": Break(gain=3.0, load_ohm=10.0, changes={"min_impedance_mohm": 5_000, **HOLDS}),
    "over_power": Break(gain=1.9, changes={"max_power_mW": 1_500, **HOLDS}),
    "impedance_low": Break((f"impedance_short=19@{AT_S}",), changes={"ramp_mC_per_s": 500, **HOLDS}),
    "impedance_high": Break((f"impedance_open@{AT_S}",), changes=HOLDS),
    "stage_gain": Break(gain=0.3, changes=HOLDS),
    "tick_late": Break((f"late@{AT_S}",), changes=HOLDS),
    "ticks_missed": Break((f"missed@{AT_S}",), changes=HOLDS),
    "heap_free": Break(("heap_low@0",)),
    "age": Break((f"stale:control@{AT_S}",), changes=HOLDS),
    "status": Break((f"bus_zeros:control@{AT_S}",), changes=HOLDS),
    "not_believed": Break((f"jump:control@{AT_S}",), changes=HOLDS),
    "cold_junction": Break((f"cold_junction:boundary@{AT_S}",), changes=HOLDS),
    "over_temperature": Break((f"drift:control=4@{AT_S}",), changes={"max_temperature_mC": 55_000, **HOLDS}),
    "under_temperature": Break(reads={1: ramp(37.0, -5.0, 2.5, 8.0)}, changes=LONG),
    "guard_temperature": Break(
        reads={GUARD: ramp(37.0, 40.0, 3.0, 3.0)}, changes={"guard_trip_mC": 38_000, "guard_governor": 0, **HOLDS}
    ),
    "guard_look_ahead": Break(reads={GUARD: ramp(37.0, 44.0, 3.0, 4.0)}, changes={"guard_governor": 0, **HOLDS}),
    "guard_dose": Break(
        reads={GUARD: ramp(37.0, 43.8, 3.0, 60.0)},
        changes={"guard_governor": 0, **LONG},
    ),
    "not_heating": Break(reads={CONTROL: lambda _: 37.0}, changes=HOLDS),
    "energy_without_temperature": Break(("displaced:control=4@0",), changes={"ramp_mC_per_s": 1_000, **HOLDS}),
    "heating_too_fast": Break(
        reads={CONTROL: ramp(37.0, 80.0, 3.0, 8.0)}, changes={"ramp_mC_per_s": 500, "target_mC": 80_000, **LONG}
    ),
    "thermocouples_disagree": Break(reads={1: ramp(37.0, 60.0, 2.0, 10.0)}, changes={"ramp_mC_per_s": 500, **HOLDS}),
    "heating_when_off": Break(("drift:control=3@125",), changes=WHOLE | {"cooldown_ms": 60_000}),
    "memory": Break((f"upset_limit@{AT_S}",), changes=HOLDS),
    "not_cooling_when_off": Break(("drift:control=0.8@96.5",), changes=WHOLE),
}


def plain_name(row: int) -> str:
    """A row's name without its thermocouple's place."""
    name: str = safety.ROWS[row][0]
    return name[4:] if name[:2] == "tc" and name[2].isdigit() else name


def without_limits(plant: Plant, broken: Break) -> None:
    """The stage gives whatever its drive and gain come to, and thermocouples read what they are told."""
    plant.stage.max_I = UNLIMITED
    for place, curve in broken.reads.items():
        plant.thermocouples[place] = ToldThermocouple(curve)


class Unlimited:
    """The stage's own voltage limit, out of the way: `output` of the same stage with the gain put behind it."""

    def __init__(self, plant: Plant) -> None:
        self.gain = 1.0
        self._output = plant.stage.output
        plant.stage.output = self.output  # type: ignore[method-assign]

    def output(self, impedance_ohm: float, dt_s: float = 0.0) -> tuple[float, float]:
        volts, amps = self._output(impedance_ohm, dt_s)
        return volts * self.gain, amps * self.gain


def told(broken: Break) -> list[str]:
    """The rows of the faults that the device tells, in order, by their plain names."""
    plant = Plant(load_tissue("vertebra"), probe(), 1, [parse_fault(each, probe().roles) for each in broken.faults])
    without_limits(plant, broken)
    stage = Unlimited(plant)
    device = LockStep(plant, make_runtime("cpython", NONCE_SEED, UID))
    client = RunClient(short_values(**broken.changes), protocol.protocol_digest())
    rows: list[str] = []
    tail = 100
    while tail and plant.tick < LASTS_TICKS and not rows:
        if plant.t_s >= AT_S:
            stage.gain = broken.gain
            if broken.load_ohm is not None:
                plant.fixed_impedance_ohm = broken.load_ohm
        for item in client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s):
            if isinstance(item, Frame) and item.type == protocol.EVENT and item.value("code") == protocol.EVENT_FAULT:
                row = item.value("row")
                rows.append("none" if row == protocol.NO_ROW else plain_name(row))
        tail -= client.over
    device.close()
    return rows


def test_every_row_has_its_break_and_every_break_a_row() -> None:
    assert set(BREAKS) == {plain_name(row) for row in range(safety.SIZE)}


@pytest.mark.parametrize("name", BREAKS)
def test_each_row_trips_when_it_is_broken_without_the_plants_own_limits(name: str) -> None:
    assert told(BREAKS[name])[:1] == [name]


SOME = ("interlock_open", "over_current", "guard_dose", "energy_without_temperature")


def without_the_row(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of the same break when no such row is judged."""
    configure = safety.LimitTable.configure

    def configure_without(limits: safety.LimitTable, values: object) -> None:
        configure(limits, values)
        for row in range(safety.SIZE):
            if plain_name(row) == name:
                limits.table[3 * safety.SIZE + row] = 0

    monkeypatch.setattr(safety.LimitTable, "configure", configure_without)
    return told(BREAKS[name])


@pytest.mark.parametrize("name", SOME)
def test_a_row_that_is_taken_away_does_not_trip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same break, and no such row: so it was that row which told."""
    assert without_the_row(name, monkeypatch)[:1] != [name]


@pytest.mark.long
@pytest.mark.parametrize("name", [each for each in BREAKS if each not in SOME])
def test_no_row_that_is_taken_away_trips(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_the_row(name, monkeypatch)[:1] != [name]
