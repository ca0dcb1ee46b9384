"""Every fault on the virtual probe, one run each: what the device made of it, by the plant's own truth.

The table says what each fault must lead to: the cause, and how long after the world changed the enable pin may
still be high. A run that does otherwise, or heats the tissue beyond the plan's limit, is an escape.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from rfprobe.client import RunClient
from rfprobe.plan_file import PlanFile
from rfprobe.probe_file import ProbeFile, device_values
from rfprobe.sim.faults import BY_NAME, FAULT_KINDS, parse_fault, start_of_clock
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import TICK_S, Plant
from rfprobe.sim.runtimes import Runtime, make_runtime
from rfprobe.sim.tissue import TissuePreset
from rfprobe.wire import Frame
from rfprobe_core import protocol

AT_S = 20.0
PICO_AT_S = 4.0  # on the emulated chip a second takes seven: its faults come as soon as RF is well on
NONCE_SEED = 4711
UID = "campaign"
TAIL_TICKS = 30
ACCEPTED_S = 60.0

SEEN_S = 0.05 + 0.10 + 0.12  # simulation step, conversion, poll: until the first sample can show it
POLL_S = 0.12
TICK = TICK_S


@dataclass(frozen=True)
class Expected:
    """What a fault must lead to.

    `causes`: one of these, as the first and gravest news; empty where the run must go on to its end, unhurt.
    `within_s` bounds the time from the fault to the enable pin's last fall; NaN where nothing has to end.
    """

    fault: str
    causes: tuple[str, ...]
    within_s: float = math.nan
    result: str = "fault"
    values: tuple[tuple[str, int], ...] = ()
    pico: bool = False

    @property
    def kind(self) -> str:
        return self.fault.partition(":")[0].partition("=")[0].partition("@")[0]


def _ends(
    fault: str, cause: str | tuple[str, ...], within_s: float, result: str = "fault", pico: bool = False, **values: int
) -> Expected:
    causes = (cause,) if isinstance(cause, str) else cause
    return Expected(fault, causes, within_s, result, tuple(values.items()), pico)


def _goes_on(fault: str, **values: int) -> Expected:
    return Expected(fault, (), result="completed", values=tuple(values.items()))


TIP_CAUSES = ("energy_without_temperature", "not_heating")
# Where two rows see one fault, either is right: which comes first is a matter of the poll's phase.
TABLE: tuple[Expected, ...] = (
    _ends("open:control", "thermocouple_open", SEEN_S + 4 * POLL_S, pico=True),
    _ends("open:guard", "thermocouple_open", SEEN_S + 4 * POLL_S),
    _ends("short_gnd:boundary", "thermocouple_short", SEEN_S + 2 * POLL_S),
    _ends("short_vcc:guard", "thermocouple_short", SEEN_S + 2 * POLL_S),
    _ends("reversed:control", "thermocouple_jump", SEEN_S + 4 * POLL_S),
    _ends("reversed:control@0", "start_disagreement", math.nan, result="refused"),
    _ends("drift:control=-0.2", TIP_CAUSES, 60.0),
    _ends("drift:guard=0.5", ("guard_look_ahead", "guard_over_temperature"), 15.0),
    _ends("drift:boundary=3", "thermocouples_disagree", 20.0),
    _ends("drift:control=0.8@96.5", "not_cooling_when_off", 0.0),
    _ends("drift:control=-30@20+1", ("thermocouple_jump", *TIP_CAUSES), 2.0),
    _ends("drift:control=-4", TIP_CAUSES, 4.0),
    _ends("drift:control=5", "heating_too_fast", 3.0),
    # slower, and the loop keeps up with it by giving less: it is the reading alone that gets too hot
    _ends("drift:control=4", ("over_temperature", "heating_too_fast"), 15.0),
    _ends("stale:control", "sample_stale", 1.2 + SEEN_S, pico=True),
    _goes_on("spikes:control@20+5"),
    _goes_on("spikes:guard@20+5"),
    _ends("jump:control", "thermocouple_jump", SEEN_S + 4 * POLL_S, pico=True),
    _ends("jump:control=-20", "thermocouple_jump", SEEN_S + 4 * POLL_S),
    _ends("jump:control=12@0", "start_temperature", math.nan, result="refused"),
    _ends("jump:guard=-4@0", "start_disagreement", math.nan, result="refused"),
    _goes_on("pickup:control=3@0"),
    _ends("displaced:control=4@0", TIP_CAUSES, 8.0, pico=True),
    _ends("displaced:control=10@0", TIP_CAUSES, 8.0),
    _ends("displaced:control=4", ("thermocouple_jump", *TIP_CAUSES), 4.0),
    _ends("displaced:guard=4", ("guard_look_ahead", "guard_over_temperature", "thermocouple_jump"), 3.0),
    _ends("sluggish:control=15", TIP_CAUSES, 8.0),
    _ends("swapped@0", ("guard_look_ahead", "guard_over_temperature", *TIP_CAUSES), 12.0),
    _ends("swapped", ("thermocouple_jump",), SEEN_S + 4 * POLL_S),
    _ends("cold_junction:boundary", "cold_junction_range", SEEN_S + 2 * POLL_S),
    _ends("cold_junction:guard=-30", "cold_junction_range", SEEN_S + 2 * POLL_S),
    _ends("bus_zeros:control", "thermocouple_bus", SEEN_S + 2 * POLL_S, pico=True),
    _ends("bus_ones:guard", "thermocouple_bus", SEEN_S + 2 * POLL_S),
    _ends("stuck_bit:control", "thermocouple_config_lost", SEEN_S + 2 * POLL_S),
    _ends("other_chip:control", ("thermocouple_config_lost", "thermocouple_bus", "thermocouple_short"), 2.0),
    _ends("config_bit:control", "thermocouple_config_lost", 2.0),
    _ends("chip_reset:control", "thermocouple_config_lost", SEEN_S + 2 * POLL_S, pico=True),
    _ends("voltage_stuck=60000", "over_voltage", 5 * TICK),
    _ends("voltage_stuck=300", ("stage_weak", "impedance_low"), 1.0),
    _ends("current_stuck=300", "impedance_high", 8 * TICK),
    _ends("current_stuck=64000", "over_current", 5 * TICK),
    _ends("voltage_offset=15", ("stage_weak", "rf_while_disabled", *TIP_CAUSES), 10.0),
    _ends("current_offset=0.15", ("impedance_low", "rf_while_disabled", *TIP_CAUSES), 30.0),
    _ends("stage_on", "rf_while_disabled", math.nan),
    _ends("stage_off", "stage_weak", 0.8, pico=True),
    _ends("stage_gain=0.3", "stage_weak", 0.8),
    _ends("drive_inverted", ("over_power", "over_current", "stage_weak"), 0.2, pico=True),
    _ends("enable_high", ("safe_off_unverified", "enable_stuck_high"), math.nan),
    _ends("enable_low", "enable_stuck_low", 7 * TICK, pico=True),
    _ends("impedance_short", ("impedance_low", "over_current", "stage_weak"), 0.2),
    _ends("impedance_open", "impedance_high", 0.4, pico=True),
    _ends("roll_off", "impedance_high", 2.0),
    _ends("impedance_rise=0.05", "impedance_high", 60.0),
    _ends("interlock", "interlock_open", 3 * TICK, pico=True),
    _ends("interlock_bounce=20", "interlock_open", 0.3),
    _goes_on("interlock_bounce=10@20+5"),
    _ends("footswitch", "footswitch_released", 4 * TICK, result="stopped", footswitch_used=1),
    _ends("host_silence", "lease_lost", 1.3, result="link_lost", pico=True),
    _ends("host_garbage", "lease_lost", 1.3, result="link_lost"),
    _ends("host_flood", "lease_lost", 1.3, result="link_lost"),
    _ends("lease_late=1010", "lease_lost", 1.4, result="link_lost"),
    _goes_on("lease_late=1000"),
    _goes_on("second_host@5"),
    _goes_on("host_replay@2"),
    _goes_on("host_reorder@20"),
    _goes_on("host_corrupt@20+20"),
    _ends("operator_stop", "operator_stop", 0.5, result="stopped"),
    _ends("usb_unplugged", "lease_lost", 1.3, result="link_lost"),
    _ends("usb_suspended@20+2", "lease_lost", 1.3, result="link_lost"),
    _ends("port_closed", "lease_lost", 1.3, result="link_lost"),
    _ends("boot_loader", "lease_lost", 2 * TICK, result="link_lost"),
    _ends("power_lost", "lease_lost", 2 * TICK, result="link_lost"),
    _ends("reset", "reset_in_run", 3 * TICK, result="fault"),
    _goes_on("clock_wrap@60"),
    _ends("late", "tick_late", 5 * TICK),
    _ends("missed", "ticks_missed", 3 * TICK),
    _goes_on("missed=4@20"),
    _ends("heap_low@0", "heap_low", math.nan),
    _ends("deadman_deaf", "deadman_refused", 3 * TICK),
    _ends("upset_plan", "memory_corrupted", 2.2),
    _ends("upset_profile", "memory_corrupted", 2.2),
    _ends("upset_calibration", "memory_corrupted", 2.2),
    _ends("upset_limit", "memory_corrupted", 2.2),
    _goes_on("link_stalled@20+0.5"),
    _ends("link_stalled", "lease_lost", 6.0, result="link_lost"),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one fault on one runtime. `off_after_s` is NaN where RF was never on."""

    expected: Expected
    runtime: str
    result: str
    cause: str
    faults: tuple[str, ...]
    off_after_s: float
    tissue_peak_C: float
    limit_C: float

    @property
    def why_escaped(self) -> str:
        """One reason, or nothing."""
        expected = self.expected
        news = self.faults[0] if self.faults else self.cause
        if self.tissue_peak_C > self.limit_C:
            return f"the tissue came to {self.tissue_peak_C:.1f} °C, the plan's limit is {self.limit_C:g} °C"
        if self.result != expected.result:
            return f"ended {self.result} ({self.cause}), not {expected.result}"
        if expected.causes and news not in expected.causes:
            return f"told as {news}, not {' or '.join(expected.causes)}"
        if not expected.causes and self.faults:
            return f"a false trip: {self.faults[0]}"
        if self.off_after_s > expected.within_s:
            return f"RF off after {self.off_after_s:.2f} s, not within {expected.within_s:.2f} s"
        return ""


def run_case(
    expected: Expected, plan: PlanFile, probe: ProbeFile, tissue: TissuePreset, runtime: str, seed: int
) -> Outcome:
    """One run to its verdict."""
    at_s = PICO_AT_S if runtime == "pico" else AT_S
    asked = expected.fault if "@" in expected.fault else f"{expected.fault}@{at_s:g}"
    fault = parse_fault(asked, probe.roles)
    values = device_values(plan, probe) | dict(expected.values)
    start_us = start_of_clock([fault], 0)
    plant = Plant(tissue, probe, seed, [fault], start_us)

    def boot(now_us: int) -> Runtime:
        return make_runtime(runtime, NONCE_SEED + 1, UID, now_us)

    device = LockStep(plant, make_runtime(runtime, NONCE_SEED, UID, start_us), boot)
    client = RunClient(values, protocol.protocol_digest())
    most = (values["max_rf_on_ms"] + values["cooldown_ms"]) / 1000 + ACCEPTED_S
    faults: list[str] = []
    tail = TAIL_TICKS
    try:
        while tail and plant.t_s < most:
            if plant.host.stop:
                client.request_stop()
            for item in client.feed(device.exchange(client.poll(plant.t_s)), plant.t_s):
                if isinstance(item, Frame) and _is_fault(item):
                    faults.append(protocol.CAUSES[item.value("cause")])
            tail -= client.over
    finally:
        device.close()
    falls = [t_s for t_s, level in plant.enable_edges if level == 0]
    off_after_s = falls[-1] - fault.start_s if falls and not plant.enable else math.inf if plant.enable else math.nan
    return Outcome(
        expected,
        runtime,
        client.result,
        client.cause,
        tuple(faults),
        off_after_s,
        plant.tissue_peak_C,
        values["max_temperature_mC"] / 1000,
    )


def _is_fault(frame: Frame) -> bool:
    return frame.type == protocol.EVENT and frame.value("code") == protocol.EVENT_FAULT


def missing_kinds(table: Sequence[Expected] = TABLE) -> list[str]:
    """Kinds of fault that no row of the table tries."""
    tried = {each.kind for each in table}
    return [kind.name for kind in FAULT_KINDS if kind.name not in tried]


def unknown_kinds(table: Sequence[Expected] = TABLE) -> list[str]:
    return [each.fault for each in table if each.kind not in BY_NAME]


def run_all(
    plan: PlanFile,
    probe: ProbeFile,
    tissue: TissuePreset,
    runtimes: Sequence[str],
    seed: int = 1,
    table: Sequence[Expected] = TABLE,
    workers: int | None = None,
) -> Iterator[Outcome]:
    """Every row on every runtime, in their order; on `pico` those that are chosen for it."""
    cases = [(expected, runtime) for runtime in runtimes for expected in table if runtime != "pico" or expected.pico]
    with ProcessPoolExecutor(workers) as pool:
        under_way = [pool.submit(run_case, expected, plan, probe, tissue, runtime, seed) for expected, runtime in cases]
        for each in under_way:
            yield each.result()


ON_THE_BOARD = "## On the virtual board"
ON_THE_CHIP = "## In the image that is flashed, on an emulated chip"
_TITLE = "# Faults, tried one by one"


def page(outcomes: Sequence[Outcome], before: str = "") -> str:
    """The matrix as a page, in two sections; one that was not tried now is kept as it was `before`."""
    parts = {ON_THE_BOARD: "", ON_THE_CHIP: ""}
    heading = ""
    for line in before.splitlines():
        heading = line if line.startswith("## ") else heading
        if heading in parts:
            parts[heading] += f"{line}\n"
    chip = [outcome for outcome in outcomes if outcome.runtime == "pico"]
    board = [outcome for outcome in outcomes if outcome.runtime != "pico"]
    for heading, each in ((ON_THE_BOARD, board), (ON_THE_CHIP, chip)):
        if each:
            parts[heading] = f"{heading}\n\n{as_markdown(each)}\n"
    told = "\n".join(part.rstrip("\n") + "\n" for part in parts.values() if part)
    return f"{_TITLE}\n\n{told}"


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """One row a fault, the worst of its runtimes."""
    runtimes = ", ".join(sorted({outcome.runtime for outcome in outcomes}))
    escapes = sum(bool(outcome.why_escaped) for outcome in outcomes)
    on_chip = runtimes == "pico"
    lines = [
        f"Made by `{'make faults-pico' if on_chip else 'make faults'}`: each fault on the virtual probe, judged by the "
        "simulated enable pin and the tissue's",
        f"own temperature, not by what the firmware says. {len(outcomes)} runs on {runtimes}; {escapes} escapes.",
        "Times are from the moment the world changed to the pin's last fall; the slowest and hottest of the runtimes.",
        "",
        "| fault | must be told as | RF off within | told as | RF off after | hottest tissue |",
        "|---|---|---|---|---|---|",
    ]
    by_fault: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_fault.setdefault(outcome.expected.fault, []).append(outcome)
    for fault, each in by_fault.items():
        expected = each[0].expected
        causes = ", ".join(f"`{cause}`" for cause in expected.causes) or "nothing: the run completes"
        told = ", ".join(sorted({(o.faults[0] if o.faults else o.cause) for o in each}))
        bound = "—" if math.isnan(expected.within_s) else f"{expected.within_s:.2f} s"
        offs = [o.off_after_s for o in each if not math.isnan(o.off_after_s)]
        off = f"{max(offs):.2f} s" if offs and expected.causes else "—"
        lines.append(
            f"| `{fault}` | {causes} | {bound} | {told} | {off} | {max(o.tissue_peak_C for o in each):.1f} °C |"
        )
    return "\n".join(lines)
