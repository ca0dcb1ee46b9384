"""A host, two plants and a device with two channels in closed loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rfprobe.client import FetchBox, RunClient
from rfprobe.sim.faults import of_channel, parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import Runtime
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol
from tests.runtimes.loop import TAIL_TICKS, probe, short_values

TISSUES = ("vertebra", "liver")
BOTH = 3


@dataclass
class PairRun:
    """What came of a run; by channel number, from 0."""

    plants: Sequence[Plant]
    client: RunClient
    frames: list[Frame] = field(default_factory=list[Frame])

    def bytes_of(self, *left_out: int) -> bytes:
        """All frames as sent, but for these types."""
        return b"".join(frame.raw for frame in self.frames if frame.type not in left_out)

    @property
    def words(self) -> list[tuple[str, str] | None]:
        """Result and cause of each channel that ran."""
        return [channel.word for channel in self.client.channels]

    def energised(self, channel: int) -> bool:
        """Whether its simulated enable pin was ever high."""
        return any(level for _, level in self.plants[channel].enable_edges)

    def off_s(self, channel: int) -> float:
        """When that pin went low for the last time."""
        t_s, level = self.plants[channel].enable_edges[-1]
        assert level == 0
        return t_s


def run_pair(
    runtime: Runtime,
    faults: Sequence[str] = (),
    *,
    channels: int = BOTH,
    stop_at_s: float | None = None,
    black_box: FetchBox = FetchBox.NEVER,
    most_ticks: int = 4000,
    each_tick: Callable[[Sequence[Plant]], None] = lambda _plants: None,
    **changes: int,
) -> PairRun:
    """Run the short plan on the channels of `channels`; a fault that begins with `2/` is the second's."""
    plants = [
        Plant(load_tissue(tissue), probe(), seed, [parse_fault(f, probe().roles) for f in of_channel(faults, number)])
        for number, tissue, seed in zip((1, 2), TISSUES, (1, 2), strict=True)
    ]
    device = LockStep(plants[0], runtime, second=plants[1])
    values = short_values(channels=channels, **changes)
    client = RunClient(values, protocol.protocol_digest(), second=values, black_box=black_box)
    done = PairRun(plants, client)
    tail = TAIL_TICKS
    try:
        while tail and plants[0].tick < most_ticks:
            if stop_at_s is not None and plants[0].t_s >= stop_at_s:
                client.request_stop()
            for item in client.feed(device.exchange(client.poll(plants[0].t_s)), plants[0].t_s):
                assert isinstance(item, Frame), item
                done.frames.append(item)
            each_tick(plants)
            tail -= client.over
    finally:
        device.close()
    return done
