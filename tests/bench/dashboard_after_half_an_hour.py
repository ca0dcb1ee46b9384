"""`rfprobe` with half an hour at 20 Hz before whatever a dashboard is attached to: for `bench_dashboard`."""

import time
from collections.abc import Iterator
from functools import cache

import rfprobe.dashboard.link as link
from rfprobe.cli import app
from rfprobe.sources import Chunk, Source, past_of
from tests.host.synthetic_run import EPOCH_NS, SyntheticRun

PAST_s = 1_800
TICKS = 9_500  # of one made-up run; then it comes again


@cache
def made_up() -> list[tuple[int, bytes]]:
    """(ns after its start, raw) of one made-up run."""
    return [(host_ns - EPOCH_NS, frame.raw) for frame, host_ns in SyntheticRun().frames() if frame.tick < TICKS]


def after_half_an_hour(source: Source) -> Iterator[Chunk]:
    """The past of a run; what is only watched has none, so that the next run is not waited for."""
    begun_ns = time.time_ns() - PAST_s * 1_000_000_000
    for again in range(PAST_s * 100 // TICKS if source.past is not None else 0):
        for after_ns, raw in made_up():
            yield begun_ns + again * TICKS * 10_000_000 + after_ns, raw
    yield from past_of(source)


link.past_of = after_half_an_hour

if __name__ == "__main__":
    app()
