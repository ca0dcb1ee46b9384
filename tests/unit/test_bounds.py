"""Every intermediate of the control path is a small integer of a 32-bit board: −2^30 … 2^30−1, never a float.

Not each function's result, but each sum, product and shift in it (see `small_integers`), at the ends of the
documented ranges. The last tests show that nothing was left out and that a planted overflow is found.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rfprobe.client import FetchBox
from rfprobe.sim.onboard import exchange
from rfprobe.sim.onboard.board import VirtualBoard
from rfprobe.sim.onboard.pair_board import VirtualPairBoard
from rfprobe.wire import command_line
from rfprobe_core import plan, protocol
from rfprobe_core.thermometry import Thermocouple
from tests.runtimes.pair_loop import run_pair
from tests.unit.scripted_board import NONCE, Bench, ScriptedBoard, table
from tests.unit.small_integers import LARGEST, SMALLEST, Checked, OutOfBoundsError
from tests.unit.whole_run import closed_loop

# What runs at rest, when a board may use its heap: why each may.
AT_REST = {
    "plan.digest": "CONFIGURE: SHA-256 and text",
    "calibration._layout": "while the module is loaded",
    "protocol.specification": "HELLO: text",
    "protocol.protocol_digest": "HELLO: SHA-256",
    "protocol.hello_text": "HELLO: text",
    "rf_sense._scale": "CONFIGURE: full scale × gain is up to 5e12",
    "safety._bound": "CONFIGURE: a limit × per mille is up to 3e9",
    "safety._place": "while the module is loaded",
    "safety.describe": "on the host, for people",
    "controller._python": "HELLO: text",
    "controller.Controller.hello_fields": "HELLO: text",
    "lines.word_hash": "while the module is loaded",
    "kernels._crc_table": "while the module is loaded",
}

Exercise = Callable[[Checked, int], None]
EXERCISES: dict[str, Exercise] = {}
EXAMPLES = 40
A_LOOK = 15  # enough for every operation to be reached


def exercise(function: Exercise) -> Exercise:
    EXERCISES[function.__name__] = function
    return function


def drive(examples: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Runs the decorated function at once, on `examples` cases: always the same ones."""
    chosen = settings(
        deadline=None,
        derandomize=True,
        max_examples=examples,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    return lambda function: chosen(given(*strategies)(function))()


def corners(low: int, high: int) -> st.SearchStrategy[int]:
    """Mostly the ends of a range, else anything in it."""
    return st.sampled_from((low, high, low, high, (low + high) // 2)) | st.integers(low, high)


def parameters() -> st.SearchStrategy[dict[str, int]]:
    """Any values that a host may send; often all at their smallest or all at their largest."""
    rows = plan.PARAMETERS
    return st.one_of(
        st.just({row[0]: row[2] for row in rows}),
        st.just({row[0]: row[3] for row in rows}),
        st.fixed_dictionaries({row[0]: corners(row[2], row[3]) for row in rows}),
    )


def runs_of(*columns: tuple[int, int], most: int = 30) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Steps of several values, each in its range (low, high); often all at one end."""
    return st.one_of(
        st.just([tuple(low for low, _ in columns)] * most),
        st.just([tuple(high for _, high in columns)] * most),
        st.tuples(*[corners(low, high) for low, high in columns]).map(lambda step: [step] * most),
        st.lists(st.tuples(*[corners(low, high) for low, high in columns]), max_size=most),
    )


def parameter(name: str) -> st.SearchStrategy[int]:
    row = plan.PARAMETERS[plan.INDEX[name]]
    return corners(row[2], row[3])


HOTTEST_mC = (95_000, 95_000, 104_000, 42_000)  # target of each mode


def _reconciled(values: dict[str, int]) -> dict[str, int]:
    """The nearest values that do not contradict one another."""
    fitted = values["thermocouples"]
    mode = values["mode"] if values["mode"] in plan.MODES_AVAILABLE else plan.MODE_TEMPERATURE
    ends = [end for end in plan.ENDS[mode] if fitted > 2 or end not in (plan.END_DOSE, plan.END_BOUNDARY)]
    values |= {
        "channels": plan.CHANNEL_BITS[0],
        "mode": mode,
        "end_by": ends[values["end_by"] % len(ends)],
        "power_mW": min(values["power_mW"], values["max_power_mW"], values["stage_power_mW"]),
        "burst_ms": min(values["burst_ms"], values["burst_period_ms"] // 2),
        "mains_hz": 50 if values["mains_hz"] < 55 else 60,
        "target_mC": min(values["target_mC"], values["max_temperature_mC"] - 1, HOTTEST_mC[mode]),
        "max_temperature_mC": min(values["max_temperature_mC"], 45_000)
        if mode == plan.MODE_PULSED
        else values["max_temperature_mC"],
        "rolloff_step_mohm": 1_000 if mode == plan.MODE_IMPEDANCE else values["rolloff_step_mohm"],
        "min_impedance_mohm": min(values["min_impedance_mohm"], values["max_impedance_mohm"] - 1),
        "max_rf_on_ms": max(values["max_rf_on_ms"], values["hold_ms"]),
        "max_voltage_mV": min(values["max_voltage_mV"], values["full_scale_voltage_mV"]),
        "test_power_mW": min(values["test_power_mW"], values["max_power_mW"]),
        "guard_needed": 0 if fitted == 1 else values["guard_needed"],
        "drive_inverted": 0,
        "max_duty": 65_535,
        "guard_lag_max_ms": 3_000,
        "start_max_mC": max(values["start_max_mC"], values["start_min_mC"] + 1),
    }
    values["start_min_mC"] = min(values["start_min_mC"], values["start_max_mC"] - 1)
    values |= {f"tc{place}_lag_ms": min(values[f"tc{place}_lag_ms"], 3_000) for place in (1, 3)}
    # an impedance that can be measured: the window below what voltage and current allow, whatever they are
    reach_mohm = values["max_voltage_mV"] * 1000 // values["min_current_uA"] * 1000
    if values["max_impedance_mohm"] >= reach_mohm:
        values["min_current_uA"] = min(values["min_current_uA"], max(values["max_voltage_mV"] // 10, 100))
        values["max_impedance_mohm"] = min(values["max_impedance_mohm"], 1_000_000)
        values["min_impedance_mohm"] = min(values["min_impedance_mohm"], values["max_impedance_mohm"] - 1)
    if mode == plan.MODE_IMPEDANCE:  # a roll-off of 1 Ω fits into the window
        values["min_impedance_mohm"] = min(values["min_impedance_mohm"], values["max_impedance_mohm"] - 1_001)
    roles = [plan.ROLE_CONTROL, plan.ROLE_GUARD, plan.ROLE_BOUNDARY, plan.ROLE_GUARD]
    values |= {f"tc{place}_role": roles[place] if place < fitted else 0 for place in range(plan.THERMOCOUPLES)}
    types = [values[f"tc{place}_type"] for place in range(plan.THERMOCOUPLES)]
    values |= {f"tc{place}_chip": 0 for place, kind in enumerate(types) if kind not in plan.MAX31855_TYPES}
    assert plan.contradiction(table(values)) == -1
    return values


counts = corners(0, 65_535)
temperatures = corners(-100_000, 300_000)
CORRECTED = (-300_000, 500_000)  # a reading and 40 °C/s over a lag of 5 s
ticks = corners(0, protocol.U32_MAX)


@exercise
def dose(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.dose")

    @drive(examples, runs_of((-100_000, 300_000), (0, 255)) | runs_of((38_999, 67_900), (0, 255)), st.booleans())
    def run(samples: list[tuple[int, ...]], full: bool) -> None:
        total = module.Dose()
        total.total_ms = module.DOSE_MAX_MS if full else 0
        total._fraction = (1 << 20) - 1
        for temperature_mC, dt_ms in samples:
            total.add(temperature_mC, dt_ms)
        total.reset()


@exercise
def thermometry(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.thermometry")

    @drive(
        examples,
        st.lists(temperatures, min_size=1, max_size=40),
        st.integers(1, 15),
        corners(10, 250),
    )
    def windows(values: list[int], half_wave: int, period_ms: int) -> None:
        for points in (8, 15):
            window = module.SlopeWindow(points)
            window.reset(values[0])
            swings = [(-100_000, 300_000)[at // half_wave % 2] for at in range(40)]
            for value in values + swings:
                window.push(value)
                window.slope_mC_per_s(period_ms)

    @drive(examples, st.lists(st.tuples(st.integers(0, 8), corners(-2_048_000, 2_047_992), ticks)), parameters())
    def samples(polls: list[tuple[int, int, int]], values: dict[str, int]) -> None:
        thermocouple = module.Thermocouple()
        thermocouple.offset_mC, thermocouple.lag_ms = values["tc0_offset_mC"], values["tc0_lag_ms"]
        thermocouple.gain = (values["tc0_gain_ppm"] - 1_000_000) * 256 // 15_625
        for status, measured_mC, tick in polls:
            thermocouple.take(status, measured_mC, 120, tick)
            for now in (0, tick, protocol.U32_MAX):
                thermocouple.age_ticks(now)

    @drive(examples, parameter("tc0_lag_ms"), st.sampled_from((1, -1)), corners(10, 250))
    def slopes(lag_ms: int, sign: int, period_ms: int) -> None:
        thermocouple = module.Thermocouple()
        thermocouple.lag_ms = lag_ms
        for step in range(90):
            thermocouple.take(step % 2, 100_000 + sign * (step * 5_000 - 200_000), period_ms, step)


@exercise
def temperature_loop(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.pid")
    # set-point, its rate, corrected reading, ticks, ceiling, achieved power
    steps = runs_of((0, 95_000), (-15_000, 5_000), CORRECTED, (1, 25), (0, 50_000), (0, 1_000_000))

    @drive(
        examples,
        parameter("kp_mW_per_C"),
        parameter("ki_mW_per_C_s"),
        parameter("feedforward_mW_s_per_C"),
        parameter("gain_mC_per_W"),
        temperatures,
        steps,
    )
    def run(kp: int, ki: int, feedforward: int, gain: int, base_mC: int, steps: list[tuple[int, ...]]) -> None:
        loop = module.TemperatureLoop()
        loop.configure(kp, ki, feedforward, gain)
        loop.begin(base_mC)
        for arguments in steps:
            loop.update(*arguments)

    @drive(examples, st.sampled_from((16_000, 1)), st.sampled_from((3_001, 300_000)))
    def learn_for_long(gain: int, rise_mC: int) -> None:
        """Long enough that the learnt power and the scale come to their ends."""
        loop = module.TemperatureLoop()
        loop.configure(20_000, 4_000, 20_000, gain)
        loop.begin(0)
        for _ in range(150):
            loop.update(rise_mC + 20_000, -15_000, rise_mC, 25, 50_000, 1_000_000)


@exercise
def heat_watch(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.heatwatch")
    names = ("tip_lag_ms", "tip_fast_mC_per_W", "tip_fast_ms", "tip_slow_mC_per_W", "tip_slow_ms")
    # reading, energy of the interval (at most 1 kW), ticks
    steps = runs_of((-100_000, 300_000), (0, 250_000), (1, 1_000))

    @drive(examples, st.tuples(*[parameter(name) for name in names]), temperatures, temperatures, steps, st.booleans())
    def run(tip: tuple[int, ...], control_mC: int, coolest_mC: int, steps: list[tuple[int, ...]], off: bool) -> None:
        watch = module.HeatWatch()
        watch.configure(*tip, not off)
        watch.begin(control_mC, min(coolest_mC, control_mC))
        energy_mJ = 0
        for reading_mC, more_mJ, elapsed in steps:
            energy_mJ = min(energy_mJ + more_mJ, 500_000_000)
            watch.update(reading_mC, energy_mJ, elapsed)
        for reading_mC, _, elapsed in steps:
            watch.rest(reading_mC, elapsed, off)

    @drive(examples, st.sampled_from((300_000, 60_000)), st.sampled_from((16_000, 8_000)), st.booleans())
    def hot(reading_mC: int, answer: int, may_boil: bool) -> None:
        """As far as the model goes: all the power there is, for long, into the smallest tip."""
        watch = module.HeatWatch()
        watch.configure(300, answer, 300, answer, 300, may_boil)
        watch.begin(-100_000, -100_000)
        for step in range(60):
            watch.update(reading_mC, min(step * 15_000, 500_000_000), 25)
        for _ in range(30):
            watch.rest(reading_mC, 25, True)


@exercise
def integrity(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.integrity")

    @drive(examples, st.lists(corners(-(1 << 29), LARGEST), min_size=1, max_size=80))
    def run(words: list[int]) -> None:
        made = module.Integrity()
        made.take(words, words, 0, len(words))
        words[0] ^= 1
        for _ in range(9):
            made.step()


@exercise
def endpoint(checked: Checked, examples: int) -> None:
    """Hot long enough, and not at all, at the boundary."""
    boundary = {"tc1_role": plan.ROLE_BOUNDARY, "guard_needed": 0}
    made = bench(checked, boundary | {"end_by": plan.END_BOUNDARY, "boundary_end_mC": 38_000}).in_state(protocol.HOLD)
    made.board.chips[1].show(39.0)
    for _ in range(120):
        made.take_lease()
        made.tick()
    assert made.controller.sequence.cause == protocol.CAUSE["boundary_reached"]


@exercise
def governor(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.governor")

    @drive(
        examples, st.booleans(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), corners(-(1 << 28), 1 << 28)))
    )
    def run(used: bool, readings: list[tuple[int, int, int]]) -> None:
        made = module.Governor()
        made.configure(used)
        for reading in readings:
            made.take(*reading)


@exercise
def start_check(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.startcheck")
    places = st.tuples(st.integers(0, 3), temperatures | corners(10_000, 40_000))

    @drive(examples, parameters(), st.lists(places, min_size=4, max_size=4))
    def run(values: dict[str, int], readings: list[tuple[int, int]]) -> None:
        thermocouples = [Thermocouple() for _ in readings]
        for thermocouple, (role, reading_mC) in zip(thermocouples, readings, strict=True):
            thermocouple.role, thermocouple.temperature_mC = role, reading_mC
        thermocouples[0].role = plan.ROLE_CONTROL
        made = module.StartCheck(thermocouples)
        made.configure(table(values))
        made.judge()
        for thermocouple in thermocouples[1:]:
            thermocouple.temperature_mC = 10_000
        thermocouples[0].temperature_mC = 40_000
        made.configure(table({}))
        made.judge()


@exercise
def setpoint(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.setpoint")

    @drive(
        examples,
        corners(*CORRECTED),
        parameter("target_mC"),
        parameter("ramp_mC_per_s"),
        parameter("rounding_ms"),
        st.lists(st.tuples(corners(1, 100), corners(-3_000, 1_000)), max_size=5),
    )
    def run(start_mC: int, target_mC: int, rate: int, rounding_ms: int, steps: list[tuple[int, int]]) -> None:
        ramp = module.SetpointRamp()
        ramp.configure(rounding_ms)
        ramp.begin(start_mC, target_mC, rate)
        for elapsed, permille in steps:
            ramp.advance(elapsed, permille)
            ramp.at_target()


@exercise
def sense_and_power(checked: Checked, examples: int) -> None:
    sense_module, module = checked.module("rfprobe_drivers.rf_sense"), checked.module("rfprobe_core.power")

    @drive(examples, parameters(), runs_of((0, 65_535), (0, 65_535), (1, 100), (0, 50_000)))
    def run(values: dict[str, int], steps: list[tuple[int, ...]]) -> None:
        values = _reconciled(values)
        board = ScriptedBoard()
        sense, power = sense_module.RfSense(board), module.PowerLoop()
        names = ("v_sense_full_scale_mV", "i_sense_full_scale_uA", "v_gain_ppm", "v_offset_mV", "i_gain_ppm")
        sense.configure(*[values[name] for name in names], values["i_offset_uA"])
        names = (
            "full_scale_voltage_mV",
            "max_voltage_mV",
            "max_current_uA",
            "min_current_uA",
            "min_impedance_mohm",
        )
        power.configure(*[values[name] for name in names])
        power.take_achieved_mW()
        for volts, amps, elapsed, demand_mW in steps:
            board.adc = [volts, amps]
            sense.read()
            sense.permille()
            power.measure(sense.voltage_mV, sense.current_uA, elapsed, values["max_energy_mJ"])
            power.drive(demand_mW)
        power.take_achieved_mW()


@exercise
def stage(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_drivers.rf_stage")

    @drive(examples, st.integers(0, 2), st.booleans(), parameter("max_duty"), counts, st.booleans())
    def run(law: int, inverted: bool, max_duty: int, fraction: int, deaf: bool) -> None:
        board = ScriptedBoard()
        board.deadman_deaf = deaf
        stage = module.RfStage(board)
        stage.configure(law, inverted, max_duty)
        stage.drive(fraction)
        stage.feed()
        stage.enable_reads_high()
        stage.off()
        stage.safe_off()


@exercise
def thermocouple_chip(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_drivers.max31856")
    words = st.one_of(
        st.binary(max_size=11),
        st.sampled_from([b"\0" + each for each in (b"\xff" * 10, b"\x80\0\x80\0\0\0", b"\x7f\xff\x7f\xff\xe0\0")]),
        st.sampled_from([b"\0\x19\0\x01\x90\0" + bytes([1 << bit]) for bit in range(8)]),
    )

    @drive(examples, words, st.integers(0, 7), st.sampled_from((50, 60)))
    def run(answers: bytes, kind: int, mains_Hz: int) -> None:
        board = ScriptedBoard()
        chip = module.Max31856(board, 0)
        chip.configure(kind, mains_Hz)
        board.chips[0].answers = answers
        for _ in range(5):
            chip.poll()
        chip.check_config()


@exercise
def thermocouple_chip_that_is_only_read(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_drivers.max31855")
    ends = st.sampled_from([b"\x7f\xfc\x7f\xf0", b"\x80\0\x80\0", b"\x7f\xfc\x80\0", b"\x80\0\x7f\xf0"])
    faults = st.sampled_from([b"\0\1\0\1", b"\0\1\0\2", b"\0\1\0\0"])
    words = st.binary(min_size=4, max_size=4) | ends | faults

    @drive(examples, words, st.sampled_from(plan.MAX31855_TYPES))
    def run(answers: bytes, kind: int) -> None:
        board = ScriptedBoard()
        chip = module.Max31855(board, 0)
        chip.configure(kind, 50)
        board.chips[0].answers = answers
        chip.poll()
        chip.question()
        chip.check_config()


@exercise
def voltages(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_drivers.its90")

    @drive(examples, st.booleans(), corners(-600_000, 2_600_000), corners(-2_000_000, 2_000_000), temperatures)
    def run(is_k: bool, hot_mC: int, volts: int, near_mC: int) -> None:
        table = module.K if is_k else module.T
        module.emf(table, hot_mC)
        module.temperature_mC(table, volts, near_mC)


@exercise
def pacing(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.pacing")

    @drive(examples, ticks, st.lists(ticks | corners(0, 30_000), max_size=8))
    def run(start_us: int, readings: list[int]) -> None:
        pacer = module.Pacer(start_us)
        for now_us in readings:
            pacer.wait_us(now_us)
            pacer.since_us(start_us, now_us)
            pacer.elapsed(now_us)


@exercise
def meter(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.meter")
    half = (1 << 29) - 1

    @drive(
        examples,
        st.lists(st.tuples(corners(-1, half), corners(0, half), corners(1, half // 10_000)), min_size=1, max_size=9),
    )
    def run(notes: list[tuple[int, int, int]]) -> None:
        made = module.TickMeter()
        made.ticks_missed = protocol.U32_MAX
        for note in notes:
            made.note(*note)
        made.cost_us_mean()
        made.begin_period()


@exercise
def sequence(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.sequence")

    @drive(
        examples,
        parameters(),
        st.lists(st.tuples(corners(1, 100), corners(0, 500_000_000))),
        st.booleans(),
        st.booleans(),
    )
    def run(values: dict[str, int], steps: list[tuple[int, int]], energised: bool, holding: bool) -> None:
        made = module.Sequence()
        made.configure(*[values[name] for name in ("hold_ms", "cooldown_ms", "max_rf_on_ms", "max_energy_mJ")])
        if energised:
            made.start()
        if holding:
            made.hold()
        for elapsed, energy_mJ in steps:
            made.advance(elapsed, energy_mJ)


@exercise
def loops_of_the_kernels(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.kernels")
    stored = corners(0, LARGEST)

    @drive(examples, stored, st.binary(max_size=200), counts, st.integers(0, 255))
    def run(value: int, data: bytes, crc: int, byte: int) -> None:
        module.isqrt(value)
        module.crc16(data, len(data), crc)
        module.crc16_byte(crc, byte)
        module.crc16_words([value, -value, -1], 0, 3, crc)
        module.cobs_encode(data + b"\0", len(data) + 1, bytearray(len(data) + 4))

    @drive(examples, st.lists(st.tuples(stored, stored, stored, st.integers(0, 3)), min_size=2, max_size=2))
    def judge(rows: list[tuple[int, int, int, int]]) -> None:
        sections = [list(section) for section in zip(*rows, strict=True)]
        module.judge_rows([*chain(*sections), 1, 2, 0, LARGEST - 1], 2, 0, 2, 1)


@exercise
def lines(checked: Checked, examples: int) -> None:
    module = checked.module("rfprobe_core.lines")
    digits = st.text("0123456789-*ABCDEFabcdef =STOP\n", max_size=100).map(str.encode)

    @drive(
        examples,
        st.lists(st.binary(max_size=90) | digits | st.just(b"536870912 -536870912 9999999999*FFFF\n"), max_size=5),
    )
    def run(pieces: list[bytes]) -> None:
        parser = module.LineParser()
        for byte in b"".join(pieces):
            parser.push(byte)
        parser.drop()


@exercise
def black_box(checked: Checked, examples: int) -> None:
    """Its records at the ends of all ranges, and its way to the host."""
    module = checked.module("rfprobe_core.kernels")
    stored, millis = corners(1 << 29, LARGEST), corners(-300_000, 300_000)
    power = st.tuples(*[corners(0, high) for high in (500_000, 1 << 22, 1_000_000, 500_000_000, 1, 8_192)])

    @drive(examples, power, st.lists(stored, min_size=6, max_size=6), ticks, counts, corners(*CORRECTED), millis)
    def records(state: tuple[int, ...], rows: list[int], tick: int, count: int, setpoint: int, slope: int) -> None:
        ring = bytearray(64)
        judged = protocol.RAMP if tick & 1 else protocol.IDLE
        module.write_record(ring, 1, state, rows, tick, judged, 9, 100, 1_000_000, 1, count, 50_000, setpoint)
        module.write_poll(ring, 1, 3, 8, slope, slope)
        module.write_tip(ring, 1, rows, 0, 1, 2)

    made = bench(checked).in_state(protocol.RAMP)
    for lasts in (20, 1_100):
        for _ in range(lasts):
            made.take_lease()
            made.tick()
        made.board.interlock_closed = False
        made.tick(2)
        for asked in ((0, 1_000), (3, 2), (-1, 5)):
            made.say(command_line(1, "BLACKBOX", *asked))
            for _ in range(40):
                made.controller.rest()
                made.tick()
        made = bench(checked, {"hold_ms": 60_000}).in_state(protocol.HOLD)


def bench(checked: Checked, changes: dict[str, int] | None = None, first_tick: int = 0) -> Bench:
    rig = checked.module("rfprobe_drivers.rig")
    return Bench(changes, build=lambda board: rig.build_controller(board, first_tick))


@exercise
def whole_ticks(checked: Checked, examples: int) -> None:
    """Any values, any readings, any state. In every third tick inputs and clock misbehave too."""
    codes = st.tuples(corners(-(1 << 18), (1 << 18) - 1), corners(-(1 << 13), (1 << 13) - 1), st.integers(0, 255))
    step = st.tuples(counts, counts, codes, corners(2, 53_687), corners(0, (1 << 29) - 1), st.integers(0, 15))

    @drive(
        examples,
        parameters(),
        st.sampled_from((protocol.IDLE, protocol.ARMED, protocol.RAMP, protocol.HOLD, protocol.FAULT)),
        ticks,
        st.lists(step, max_size=12),
    )
    def run(values: dict[str, int], state: int, first_tick: int, steps: list[Any]) -> None:
        made = bench(checked, _reconciled(values), first_tick)
        made.in_state(state) if state == protocol.FAULT else _in_any_way(made, state)
        for at, (volts, amps, (code, junction, faults), elapsed, late_us, inputs) in enumerate(steps):
            bad = at % 3 == 2
            made.board.load_ohm = None
            made.board.adc = [volts, amps]
            made.board.interlock_closed = not (bad and inputs & 1)
            made.board.footswitch_pressed = not (bad and inputs & 2)
            made.board.link_is_ready = not inputs & 4
            made.board.deadman_deaf = bool(bad and inputs & 8)
            for chip in made.board.chips:
                chip.codes(code, junction, faults if bad else 0)
            made.controller.tick(*((elapsed, late_us) if bad else (1, 0)))
        made.controller.unexpected()


def _in_any_way(made: Bench, state: int) -> None:
    """In `state`, whatever a check on the way there says to these values."""
    controller = made.controller
    controller.configure()
    made.take_lease()
    if state >= protocol.ARMED:
        controller.sequence.arm()
    if state >= protocol.RAMP:
        controller.start()
    if state == protocol.HOLD:
        controller.sequence.hold()


@exercise
def starts_that_are_refused(checked: Checked, examples: int) -> None:
    made = bench(checked).in_state(protocol.IDLE)
    for reading_C in (45.0, 5.0):
        made.board.chips[0].show(reading_C)
        made.tick(150)
        made.take_lease()
        made.say(command_line(round(reading_C), "ARM", made.controller.digest, NONCE))
        assert made.state == protocol.IDLE


@exercise
def rare_moments(checked: Checked, examples: int) -> None:
    """What chance seldom brings: counters at their ends, the foot-switch, a ceiling, a contradiction."""
    made = bench(checked, first_tick=protocol.U32_MAX)
    reporter = made.controller.reporter
    made.controller.faults = reporter.frames_sent = reporter.frames_dropped = protocol.U32_MAX
    made.controller.commands.lines_refused = 0xFFFF
    made.controller.unexpected()
    for value in (SMALLEST, -1, 0, 65_535, 65_536, LARGEST):
        reporter.clip(value, 0xFFFF)
    for _ in range(40):
        reporter.event(0, 0, 0, 0, 0, SMALLEST, LARGEST, 0)
        made.tick()
    made.tick(20)  # the events have gone by, and telemetry tells that a field did not fit

    made = bench(checked, {"footswitch_used": 1}).in_state(protocol.RAMP)
    made.board.footswitch_pressed = False
    made.tick(3)
    made.controller.tick(3, 0)
    made.tick(99)

    made = bench(checked, {"max_rf_on_ms": 2_000, "kp_mW_per_C": 20_000}).in_state(protocol.RAMP)
    for _ in range(300):
        made.take_lease()
        made.tick()
    assert made.controller.sequence.result == protocol.RESULT_LIMITED

    made = bench(checked, {"max_rf_on_ms": 2_000, "mode": plan.MODE_POWER, "power_mW": 200}).in_state(protocol.RAMP)
    for _ in range(300):
        made.take_lease()
        made.tick()

    impedance = {"mode": plan.MODE_IMPEDANCE, "power_mW": 4_000, "hold_ms": 60_000, "rest_ms": 1_000}
    pulsed = {"mode": plan.MODE_PULSED, "power_mW": 4_000, "target_mC": 41_000, "max_temperature_mC": 45_000}
    for changes in (impedance, pulsed | {"hold_ms": 60_000}):
        made = bench(checked, changes).in_state(protocol.RAMP)
        for at in range(900):
            made.board.load_ohm = 100.0 if at < 600 else 140.0
            made.take_lease()
            made.tick()

    made = bench(checked, {"mains_hz": 55})
    assert made.controller.configure() < 0
    for state, reads in ((protocol.IDLE, 1), (protocol.RAMP, 0)):
        made = bench(checked).in_state(state)
        made.tick()
        made.board.enable_reads = reads
        made.tick(2)

    loop = checked.module("rfprobe_core.pid").TemperatureLoop()
    for kp, feedforward, error_mC, achieved_mW in ((0, 20_000, -10_000, 50_000), (0, 0, 10_000, 50_000), (0, 0, 0, 0)):
        loop.kp_mW_per_C, loop.ki_mW_per_C_s, loop.feedforward_mW_s_per_C = kp, 4_000, feedforward
        for _ in range(30):
            loop.update(60_000 + error_mC, 5_000, 60_000, 25, 50_000, achieved_mW)


@exercise
def commands(checked: Checked, examples: int) -> None:
    """Command lines, good ones, again, and noise, while the ticks go on."""
    number = corners(-(1 << 29), 1 << 29)
    words = st.one_of(
        st.tuples(st.sampled_from(("HELLO", "STATUS", "CONFIGURE", "ACKNOWLEDGE", "STORE"))),
        st.tuples(st.sampled_from(("LEASE", "START")), number | st.just(NONCE)),
        st.tuples(st.just("GET"), st.sampled_from(plan.NAMES)),
        st.tuples(st.just("SET"), st.sampled_from(plan.NAMES), number),
        st.tuples(st.just("ARM"), number, number | st.just(NONCE)),
        st.tuples(st.just("BLACKBOX"), number | st.just(0), number),
    )
    good = st.builds(lambda command_id, line: command_line(command_id, *line), corners(0, 1 << 29), words)
    lines = st.lists(good | st.binary(max_size=20) | st.just(b"STOP"), max_size=12)
    twice = [command_line(3, "SET", "hold_ms", 5), command_line(3, "SET", "hold_ms", 5)]
    wrong = [command_line(4, "SET", "mains_hz", 55), command_line(5, "CONFIGURE")]

    @drive(examples, ticks, lines, st.booleans(), st.sampled_from((twice, wrong)))
    def run(first_tick: int, pieces: list[bytes], silent: bool, more: list[bytes]) -> None:
        made = bench(checked, first_tick=first_tick)
        for piece in [command_line(1, "LEASE", NONCE), *more, command_line(2, "LEASE", NONCE), *pieces]:
            made.say(piece)
            made.controller.rest()
            made.controller.tick(100 if silent else 1, 0)
        made.controller.commands.lost()


@exercise
def calibration(checked: Checked, examples: int) -> None:
    """Kept, read back and judged, with any values; and a flash that fails, or has lost a copy."""
    module = checked.module("rfprobe_core.calibration")

    @drive(examples, parameters(), st.integers(0, 2))
    def run(values: dict[str, int], spoilt: int) -> None:
        board = ScriptedBoard()
        board.flash = [b"", b"\0" * module.RECORD_SIZE]
        kept = module.Calibration(board)
        table_of_values = table(values)
        assert kept.save(table_of_values)
        board.flash[spoilt % 2] = (board.flash[spoilt % 2], b"", bytes(module.RECORD_SIZE))[spoilt]
        kept.load(table_of_values)
        module.judge(table_of_values)
        module.sense(table_of_values)
        for place in range(plan.THERMOCOUPLES):
            module.thermocouple(table_of_values, place)
        module.allowed_power_mW(table_of_values)

    class Failing(ScriptedBoard):
        def calibration_read(self, copy: int) -> bytes:
            raise OSError

        def calibration_write(self, copy: int, data: bytes) -> None:
            raise OSError

    kept = module.Calibration(Failing())
    assert not kept.save(table({}))
    out_of_range = bytearray(module.packed(table({"tc0_gain_ppm": 2_000_000}), 1))
    assert module.generation_of(out_of_range) == 0


@exercise
def answers_of_the_table(checked: Checked, examples: int) -> None:
    safety = checked.module("rfprobe_core.safety")
    limits = safety.LimitTable()
    limits.configure(table({}))
    for row in range(safety.SIZE):
        for value in (0, safety.BIAS, LARGEST):
            limits.table[row] = value
            limits.value(row), limits.limit(row), limits.counted(row), limits.samples(row)
        for status in range(7):
            safety.cause_of(row, status)


@exercise
def a_closed_loop(checked: Checked, examples: int) -> None:
    """A whole ablation in simulated bone, while the tick count and the microsecond counter wrap."""
    start_us = LARGEST - 5_000_000
    board = VirtualBoard(NONCE, "u")
    controller = checked.module("rfprobe_drivers.rig").build_controller(board, protocol.U32_MAX - 700)
    pacer = checked.module("rfprobe_core.pacing").Pacer(start_us)

    def device(stimulus: bytes) -> bytearray:
        board.load(stimulus)
        controller.rest()
        controller.listen(exchange.RX_MAX)
        elapsed = pacer.elapsed(board.ticks_us())
        if elapsed:
            controller.tick(elapsed, pacer.late_us)
            controller.meter.note(7_000, pacer.late_us, elapsed)
        return board.store()

    client = closed_loop(device, start_us, target_mC=42_000)
    assert client.result == "completed"


class _CheckedDevice:
    """A pair of checked controllers on a virtual board, as a runtime."""

    name = "checked"

    def __init__(self, checked: Checked, start_us: int) -> None:
        self.board = VirtualPairBoard(NONCE, "u")
        self.controller = checked.module("rfprobe_drivers.rig").build_controller(self.board, protocol.U32_MAX - 300)
        self._pacer = checked.module("rfprobe_core.pacing").Pacer(start_us)

    def exchange(self, stimulus: bytes) -> bytearray:
        self.board.load(stimulus)
        self.controller.rest()
        self.controller.listen(exchange.RX_MAX)
        elapsed = self._pacer.elapsed(self.board.ticks_us())
        if elapsed:
            self.controller.tick(elapsed, self._pacer.late_us)
            self.controller.meter.note(7_000, self._pacer.late_us, elapsed)
        response: bytearray = self.board.store()
        return response

    def close(self) -> None:
        """Nothing to end."""


@exercise
def two_channels(checked: Checked, examples: int) -> None:
    """Both heated to the end, one faulted, one refused, and every way out; `examples` do not change what is run."""
    for faults in ([], ["2/open:control@5"], ["stage_off@5"], ["2/interlock@0"]):
        device = _CheckedDevice(checked, 0)
        run_pair(device, faults, black_box=FetchBox.AFTER_FAULT, target_mC=42_000, hold_ms=500)
        device.controller.channels[1].store_calibration()
        device.controller.interrupted()
        device.controller.unexpected()
        device.board.safe_off()


@pytest.fixture
def checked() -> Iterator[Checked]:
    made = Checked(exempt=tuple(AT_REST))
    yield made
    made.close()


@pytest.mark.parametrize("name", EXERCISES)
def test_every_intermediate_stays_small(name: str, checked: Checked) -> None:
    EXERCISES[name](checked, EXAMPLES)


def test_no_operation_is_left_out(checked: Checked) -> None:
    checked.load_all()
    for run in EXERCISES.values():
        run(checked, A_LOOK)
    assert checked.unseen() == []


def test_every_exempt_function_is_there(checked: Checked) -> None:
    checked.load_all()
    assert set(AT_REST) - checked.functions == set()


def _closest_to_the_limit(name: str) -> str:
    """The operation that this exercise takes farthest."""
    plain = Checked(exempt=tuple(AT_REST))
    EXERCISES[name](plain, A_LOOK)
    plain.close()
    seen = [site for site in plain.sites if site.seen and site.low <= site.high]
    return max(seen, key=lambda site: max(-site.low, site.high)).place


@pytest.mark.parametrize("name", ["dose", "thermometry", "temperature_loop", "sense_and_power", "pacing"])
@pytest.mark.parametrize("planted", ["doubled", "floating"])
def test_what_is_planted_near_the_limit_is_found(name: str, planted: str) -> None:
    """Twice the result, or a float in its place: each exercise does come as far as its documented ranges go."""
    checked = Checked(exempt=tuple(AT_REST), **{planted: _closest_to_the_limit(name)})
    with pytest.raises(OutOfBoundsError):
        EXERCISES[name](checked, A_LOOK)
    checked.close()
