"""A run of the product's firmware on the emulated chip, taken to HOLD once; each test has a copy of it from there.

The copy is a forked process: chip, tissue and host as they are at that moment, to the cycle.
"""

import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rfprobe.client import RunClient
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, device_values
from rfprobe.resources import shipped
from rfprobe.sim.emulated_pico import Edge
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.pico_runtime import PicoRuntime
from rfprobe.sim.plant import Plant
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame, FrameDecoder
from rfprobe_core import protocol
from rfprobe_core.plan import CHANNEL_BITS, CHANNELS

PLAN = {
    "target_mC": 39_000,
    "ramp_mC_per_s": 1_000,
    "telemetry_ticks": 5,
    "hold_ms": 60_000,
    "max_rf_on_ms": 90_000,
}
MARK_PIN = 25
MISHAP_SCRATCH = 3
MISHAPS = (
    "none",
    "python_loop",
    "native_loop",
    "viper_loop",
    "interrupts_off",
    "out_of_memory",
    "leave",
    "soft_reset",
    "reset",
    "feed_by_interrupt",
    "mumble",
)
HOLD_WITHIN_TICKS = 1_500


class TracedRuntime(PicoRuntime):
    """Keeps every edge of the enable pins."""

    def _forget_edges(self) -> None:
        pass


class ChipRun:
    """Chip, tissue and host in lock step; all edges of the enable pins and of the marker are kept from power-on.

    With two channels each has a probe like the other's in tissue like the other's, of another seed.
    """

    def __init__(
        self, image: Path, probe: ProbeFile, changes: Mapping[str, int] | None = None, channels: int = 1
    ) -> None:
        plan = read_plan(shipped("plans") / "vertebra-70C.toml")
        values = device_values(plan, probe) | PLAN | (changes or {})
        if channels == CHANNELS:
            values["channels"] = sum(CHANNEL_BITS)
        self.plants = [Plant(load_tissue("vertebra"), probe, seed=1 + number) for number in range(channels)]
        self.plant = self.plants[0]
        self.runtime = TracedRuntime(image, channels=channels)
        self.pico = self.runtime.pico
        second = self.plants[1] if channels == CHANNELS else None
        self.device = LockStep(self.plant, self.runtime, second=second)
        self.client = RunClient(values, protocol.protocol_digest(), second=values)
        self.enables = [wires.enable_trace for wires in self.runtime.wires]
        self.enable = self.enables[0]
        self.mark = self.pico.watch(MARK_PIN)
        self.text = ""
        self.frames: list[Frame] = []
        self.decoder = FrameDecoder()
        self.most_drive = 0
        self.idle_after_us = 0.0

    def tick(self, said: bytes | None = None) -> None:
        """10 ms further; the host says what its client would, or `said`."""
        asked = self.client.poll(self.plant.t_s) if said is None else said
        heard = self.device.exchange(asked)
        if said is None:
            self.client.feed(heard, self.plant.t_s)
        for item in self.decoder.feed(heard):
            if isinstance(item, Frame):
                self.frames.append(item)
                if not self.idle_after_us and item.state == protocol.IDLE:
                    self.idle_after_us = self.pico.time_us
            else:
                self.text += item
        self.most_drive = max(self.most_drive, *self.duties())

    def duties(self) -> list[int]:
        """What each channel's drive is now, 0…65535."""
        return [self.pico.pwm(wires.pins.drive).duty_u16 for wires in self.runtime.wires]

    def to_state(self, state: int) -> None:
        """As the client does it, until the device tells of `state`."""
        for _ in range(HOLD_WITHIN_TICKS):
            self.tick()
            assert not self.client.over, (self.client.result, self.client.cause, self.client.refusal)
            if self.frames and self.frames[-1].state == state:
                return
        raise AssertionError(f"no state {protocol.STATE_NAMES[state]} within {HOLD_WITHIN_TICKS} ticks")

    def work(self, mishap: str) -> None:
        """Let a mishap happen in the next tick, or none."""
        self.pico.write_scratch(MISHAP_SCRATCH, MISHAPS.index(mishap))

    def expect(self, pattern: str, ticks: int) -> re.Match[str]:
        """Silently go on until the text between frames matches."""
        for _ in range(ticks):
            found = re.search(pattern, self.text, re.DOTALL)
            if found:
                return found
            self.tick(b"")
        raise AssertionError(f"no {pattern!r} in {self.text!r}")

    def hello(self) -> dict[str, str]:
        """Ask who is there, and return its answer."""
        count = len(self.frames)
        for turn in range(300):
            self.tick(b"HELLO\n" if turn % 20 == 0 else b"")
            for frame in self.frames[count:]:
                if frame.type == protocol.HELLO:
                    return frame.hello
        raise AssertionError(f"no HELLO; the device said {self.text!r}")


def in_a_copy(task: Callable[[], Any]) -> Any:
    """What `task` returns, run in a fork of this process: whatever it does to chip and tissue is undone by it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "wb") as pipe:
            try:
                pickle.dump((True, task()), pipe)
            except BaseException as error:  # told by the parent, whatever it is
                pickle.dump((False, f"{type(error).__name__}: {error}"), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer, "the copy ended without a word"
    good, result = pickle.loads(answer)
    assert good, result
    return result


def edges_after(edges: list[Edge], time_us: float) -> list[float]:
    """Times of the edges later than a moment."""
    return [edge.time_us for edge in edges if edge.time_us > time_us]
