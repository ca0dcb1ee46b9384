"""Taking calibration points on a device behind a port: what its sensors show, once they stand still.

Everything goes the way of every run: claimed by its nonce, configured, armed in two steps, held by a lease. The
device is told no date, so that it reads its sensors with nominal values and allows half the power at most.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rfprobe.calibration_fit import BathPoint, LoadPoint
from rfprobe.client import OVER, Phase, RunClient
from rfprobe.errors import CheckFailed, OperatorStop, Refused
from rfprobe.owner import Owner
from rfprobe.ports import Port
from rfprobe.probe_file import ProbeFile
from rfprobe.wire import Frame
from rfprobe_core import plan, protocol

TELEMETRY_TICKS: Final = 5
# Between the means of the window's three thirds: a slope alone is zero at the turning point of a slow curve.
DRIFT_MAX_C: Final = 0.08
SPREAD_MAX_C: Final = 0.15
MOVED_SHARE: Final = 0.5  # of the way between two baths: then the probe is in the next one
SETTLE_S: Final = 1.0  # after RF has come on, before its readings count
LEAST_FRAMES: Final = 10  # of telemetry at a point, however fast the wattmeter answers
LOAD_LOW, LOAD_HIGH = 0.4, 2.5  # times the load: outside, it is not the load that was named
PAUSE_S: Final = 0.002
_TICK_S = protocol.TICK_US / 1e6
_TICK_MASK = protocol.U32_MAX
_BUSY_WITHIN_S = 4.0


class Line(Protocol):
    """The way to the device, and its clock."""

    @property
    def now_s(self) -> float: ...
    def exchange(self, out: bytes) -> bytes:
        """Send, and give what has come since."""
        ...


class PortLine:
    """A port that this process owns; whoever is attached sees what comes."""

    def __init__(self, port: Port, owner: Owner) -> None:
        self._port = port
        self._owner = owner
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._began_s

    def exchange(self, out: bytes) -> bytes:
        self._port.write(out)
        data = self._port.read()
        if data:
            self._owner.publish(time.time_ns(), data)
        else:
            time.sleep(PAUSE_S)
        return data


Tell = Callable[[str, float], None]
"""Told now and then: what is awaited, in words, and how far it is, 0 to 1."""


def quiet(_text: str, _share: float) -> None:
    """Nobody watches."""


@dataclass
class CalibrationBench:
    """A device that is to be calibrated, on its way of bytes. `stop_requested` breaks off, RF off first."""

    line: Line
    probe: ProbeFile
    stop_requested: Callable[[], bool]
    tell: Tell = quiet
    first_id: int = 1
    channel: int = 1

    def _client(self, values: dict[str, int], ask_first: bool) -> RunClient:
        # ids go on, so that a device that remembers some is not asked the same again
        self.first_id += 400
        values = {**values, "channels": plan.CHANNEL_BITS[self.channel - 1]}
        return RunClient(
            values,
            protocol.protocol_digest(),
            second=values,
            ask_first=ask_first,
            acknowledge=OVER - {protocol.FAULT},
            first_id=self.first_id,
            hello_within_s=_BUSY_WITHIN_S + 1.0,
        )

    def _frames(self, client: RunClient) -> Iterator[Frame | None]:
        """What comes, frame by frame, and None after each exchange, until the client is over."""
        while not client.over:
            if self.stop_requested():
                client.request_stop()
            data = self.line.exchange(client.poll(self.line.now_s))
            for item in client.feed(data, self.line.now_s):
                if isinstance(item, Frame) and item.channel == self.channel - 1:
                    yield item
            yield None

    def configured(self, values: dict[str, int]) -> RunClient:
        """A client that holds the device, configured and not armed. Raises what was in the way."""
        client = self._client(values, ask_first=True)
        self._until_confirm(client)
        return client

    def _until_confirm(self, client: RunClient) -> None:
        for _ in self._frames(client):
            if client.phase is Phase.CONFIRM:
                return
        raise why_not(client)

    def wait_for(self, client: RunClient, answer: Callable[[], bool]) -> None:
        """Keep the lease alive until there is an answer."""
        for _ in self._frames(client):
            if answer():
                return
        raise why_not(client)

    # ---- baths ----------------------------------------------------------------------------------------------------

    def bath_point(
        self,
        client: RunClient,
        places: Sequence[int],
        reference_C: float,
        before: Sequence[BathPoint] | None,
        window_s: float,
        within_s: float,
    ) -> list[BathPoint]:
        """What each place shows in this bath, as soon as all have stood still for `window_s`.

        With the points `before`, not until each has moved by half the way there. Raises CheckFailed after `within_s`.
        """
        windows = [_Window(window_s) for _ in places]
        began: int | None = None
        for frame in self._frames(client):
            if frame is None or frame.type != protocol.TELEMETRY:
                continue
            began = frame.tick if began is None else began
            waited_s = ((frame.tick - began) & _TICK_MASK) * _TICK_S
            why: list[str] = []
            for window, place in zip(windows, places, strict=True):
                window.take(frame, place)
            for at, window in enumerate(windows):
                earlier = before[at] if before else None
                why += window.why_not_yet(self.probe.roles[places[at]], reference_C, earlier)
            if not why:
                return [window.point(reference_C) for window in windows]
            self.tell(why[0], min(window.share for window in windows))
            if waited_s > within_s:
                raise CheckFailed(f"no steady reading at {reference_C:g} °C within {within_s:g} s: {'; '.join(why)}")
        raise why_not(client)

    # ---- dummy load -----------------------------------------------------------------------------------------------

    def load_point(
        self, power_W: float, load_ohm: float, on_s: float, read_meter: Callable[[float], Reading]
    ) -> tuple[LoadPoint, tuple[float, float]]:
        """One power into the load, for `on_s` at most: (point, what V and A showed before RF came on).

        `read_meter(power_W)` begins to ask for the wattmeter's reading; RF goes off as soon as it is there. Raises
        Refused or CheckFailed where the device ended the run for another reason.
        """
        client = self._client(load_values(self.probe, power_W, load_ohm, on_s), ask_first=False)
        zeros: list[tuple[float, float]] = []
        shown: list[tuple[float, float]] = []
        reading: Reading | None = None
        on_tick: int | None = None
        for frame in self._frames(client):
            if reading is not None and reading.done and (reading.failed or len(shown) >= LEAST_FRAMES):
                client.request_stop()
            if frame is None or frame.type != protocol.TELEMETRY:
                continue
            pair = frame.value("voltage_cV") / 100, frame.value("current_dmA") / 10_000
            if client.phase in (Phase.ARM, Phase.START) and frame.state in (protocol.IDLE, protocol.ARMED):
                zeros.append(pair)
            if frame.state != protocol.RAMP or frame.value("flags") & protocol.FLAG_PROBE_CHECK:
                continue
            on_tick = frame.tick if on_tick is None else on_tick
            on_for_s = ((frame.tick - on_tick) & _TICK_MASK) * _TICK_S
            self.tell(f"{power_W:g} W into the load", min(1.0, on_for_s / on_s))
            if on_for_s >= SETTLE_S and reading is None:
                reading = read_meter(power_W)
            if reading is not None and (not reading.done or len(shown) < LEAST_FRAMES):
                shown.append(pair)
        self._check_end(client, power_W)
        meter_W = None if reading is None else reading.wait()
        if meter_W is None or not shown or not zeros:
            raise CheckFailed(f"{power_W:g} W: RF was not on for long enough to be measured")
        return LoadPoint(power_W, meter_W, *_mean(shown), len(shown)), _mean(zeros)

    def _check_end(self, client: RunClient, power_W: float) -> None:
        if not client.arm_asked or self.stop_requested() or client.refusal:
            raise why_not(client)
        if client.cause not in ("rf_on_time_ceiling", "operator_stop"):
            from rfprobe.words import cause_sentence

            raise Refused(f"{power_W:g} W: the device ended it, {client.cause}: {cause_sentence(client.cause)}")

    # ---- keeping --------------------------------------------------------------------------------------------------

    def store(self, client: RunClient, changes: dict[str, int], today_day: int) -> dict[str, int]:
        """Have the device keep these values; all its values as it understood them afterwards."""
        client.store(changes, today_day)
        self._until_confirm(client)
        kept = client.values
        wrong = [name for name, value in changes.items() if kept[name] != value]
        if not client.stored or wrong:
            raise CheckFailed(f"the device does not keep what it was given: {wrong[0] if wrong else 'it restarted'}")
        return kept

    def let_go(self, client: RunClient) -> None:
        """The lease runs out by itself; an unarmed device needs no stop."""
        client.pause_lease()


class _Window:
    """The last samples of one thermocouple, a fresh conversion each."""

    def __init__(self, window_s: float) -> None:
        self._window_ticks = round(window_s / _TICK_S)
        self._samples: deque[tuple[int, float]] = deque()
        self._age = 255

    def take(self, frame: Frame, place: int) -> None:
        age = frame.value(f"tc{place}_age")
        if age < self._age or age < TELEMETRY_TICKS:
            self._samples.append((frame.tick, frame.value(f"tc{place}_mC") / 1000))
        self._age = age
        while self._samples and (frame.tick - self._samples[0][0]) & _TICK_MASK > self._window_ticks:
            self._samples.popleft()

    @property
    def share(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        span = (self._samples[-1][0] - self._samples[0][0]) & _TICK_MASK
        return min(1.0, span / (0.9 * self._window_ticks))

    def _drift_C(self) -> float:
        values = [value for _, value in self._samples]
        third = len(values) // 3
        means = [sum(part) / third for part in (values[:third], values[third : 2 * third], values[-third:])]
        return max(means) - min(means)

    def _mean(self) -> float:
        return sum(value for _, value in self._samples) / len(self._samples)

    def _spread_C(self) -> float:
        mean = self._mean()
        return math.sqrt(sum((value - mean) ** 2 for _, value in self._samples) / len(self._samples))

    def why_not_yet(self, role: str, reference_C: float, before: BathPoint | None) -> list[str]:
        """What keeps it from being taken, in words; nothing if it may be."""
        if len(self._samples) < 2:
            return [f"{role}: no reading"]
        shown_C = self._mean()
        if before is not None:
            way_C = reference_C - before.reference_C
            if (shown_C - before.shown_C) / way_C < MOVED_SHARE if way_C else False:
                return [f"{role} {shown_C:.2f} °C: not in the bath of {reference_C:g} °C yet"]
        if self.share < 1.0:
            return [f"{role} {shown_C:.2f} °C: watched for too short a time"]
        if len(self._samples) < 9:
            return [f"{role} {shown_C:.2f} °C: too few readings"]
        drift_C, spread_C = self._drift_C(), self._spread_C()
        if drift_C > DRIFT_MAX_C or spread_C > SPREAD_MAX_C:
            return [f"{role} {shown_C:.2f} °C: drifts by {drift_C:.2f} °C, spread {spread_C:.2f} °C"]
        return []

    def point(self, reference_C: float) -> BathPoint:
        return BathPoint(reference_C, self._mean(), len(self._samples), self._spread_C())


class Reading:
    """A wattmeter's answer, asked for in a thread so that the lease goes on."""

    def __init__(self, ask: Callable[[], float]) -> None:
        self._ask = ask
        self.answer: float | None = None
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="wattmeter", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether there is an answer, or there will be none."""
        return not self._thread.is_alive()

    @property
    def failed(self) -> bool:
        return self._problem is not None

    def _work(self) -> None:
        try:
            self.answer = self._ask()
        except Exception as problem:  # raised by whoever waits for the answer
            self._problem = problem

    def wait(self) -> float:
        """The answer. Raises what went wrong when it was asked for."""
        self._thread.join()
        if self._problem is not None or self.answer is None:
            raise self._problem or CheckFailed("the wattmeter gave no answer")
        return self.answer


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(pair[0] for pair in pairs) / len(pairs), sum(pair[1] for pair in pairs) / len(pairs)


def why_not(client: RunClient) -> Exception:
    """Why the device did not do what it was asked."""
    from rfprobe.commands_run import nothing_begun

    if client.result == "stopped":
        return OperatorStop("rfprobe: stopped; nothing was written to the device")
    return nothing_begun(client)


def resting_values(probe: ProbeFile) -> dict[str, int]:
    """Values for a device that is only to be read: a plan that heats nothing, and no date."""
    rows = {row[0]: row[4] for row in plan.PARAMETERS}
    test_mW = probe.values()["test_power_mW"]
    mild = {"guard_needed": 0, "max_power_mW": max(100, test_mW), "telemetry_ticks": TELEMETRY_TICKS}
    return _fitting({**rows, **probe.values(), **mild})


_ANY_START = {
    "start_min_mC": plan.PARAMETERS[plan.INDEX["start_min_mC"]][2],
    "start_max_mC": plan.PARAMETERS[plan.INDEX["start_max_mC"]][3],
    "start_spread_mC": plan.PARAMETERS[plan.INDEX["start_spread_mC"]][3],
}


def load_values(probe: ProbeFile, power_W: float, load_ohm: float, on_s: float) -> dict[str, int]:
    """Values for one power into a dummy load: a set-point that the cold tip never comes near, so that the loop stays
    at the power allowed, which without a date is half of max_power. The model of the tip's warming expects nothing:
    the heat is in the load. What the thermocouples read before is as good as free: they may not be calibrated yet.
    Every other limit is in force; RF ends by itself after `on_s` and the energy of it.
    """
    power_mW = round(power_W * 1000)
    on_ms = round(on_s * 1000)
    return _fitting(
        {
            **resting_values(probe),
            "target_mC": 95_000,
            "max_temperature_mC": 105_000,
            "ramp_mC_per_s": 5_000,
            "cooldown_ms": 0,
            "max_power_mW": 2 * power_mW,
            "max_rf_on_ms": on_ms,
            "max_energy_mJ": power_mW * on_ms // 1000 * 3 // 2,
            "min_impedance_mohm": max(5_000, round(load_ohm * LOAD_LOW * 1000)),
            "max_impedance_mohm": max(50_000, round(load_ohm * LOAD_HIGH * 1000)),
            "stage_power_mW": max(power_mW, probe.values()["stage_power_mW"]),
            "kp_mW_per_C": 20_000,
            "ki_mW_per_C_s": 0,
            "feedforward_mW_s_per_C": 0,
            "gain_mC_per_W": 0,
            "rounding_ms": 0,
            "tip_fast_mC_per_W": 1,
            "tip_slow_mC_per_W": 1,
            **_ANY_START,
        }
    )


def _fitting(values: dict[str, int]) -> dict[str, int]:
    """With the impedance window that these values can measure. Raises CheckFailed where they contradict one another."""
    table = array("i", [values[name] for name in plan.NAMES])
    measurable_mohm = plan.measurable_ohm(table) * 1000
    if values["max_impedance_mohm"] >= measurable_mohm:
        values = {**values, "max_impedance_mohm": measurable_mohm - 1000}
    table = array("i", [values[name] for name in plan.NAMES])
    broken = plan.contradiction(table)
    if broken >= 0:
        name, text = plan.CONTRADICTIONS[broken]
        raise CheckFailed(f"this probe cannot be calibrated so: {name}: {text}")
    return values
