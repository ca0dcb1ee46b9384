"""A thermocouple that is elsewhere, off or swapped before ARM: refused, named, and the enable pin never rises."""

import re
from dataclasses import dataclass

import pytest

from rfprobe.client import RunClient
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import Runtime, make_runtime
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, probe, run, short_values

RUNTIMES = pytest.mark.parametrize("runtime", ["cpython", "micropython"])


@dataclass
class Broken:
    """What is wrong from the start, and how ARM is refused."""

    fault: str
    cause: str
    who: str
    reads_C: float


TABLE = (
    Broken("jump:control=12", "start_temperature", "control (number 1)", 49.0),
    Broken("jump:boundary=10", "start_temperature", "boundary (number 2)", 47.0),
    Broken("jump:guard=3.5", "start_temperature", "guard (number 3)", 40.5),
    Broken("jump:boundary=-30", "start_temperature", "boundary (number 2)", 7.0),
    Broken("jump:control=-4", "start_disagreement", "control (number 1)", 33.0),
    Broken("jump:guard=-4", "start_disagreement", "guard (number 3)", 33.0),
    # with its wires swapped it reads 12 °C below the cold junction's 25 °C instead of above it
    Broken("reversed:control", "start_disagreement", "control (number 1)", 13.0),
    Broken("reversed:boundary", "start_disagreement", "boundary (number 2)", 13.0),
)


@RUNTIMES
@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.fault)
def test_an_implausible_thermocouple_refuses_arm(broken: Broken, runtime: str) -> None:
    done = run(make_runtime(runtime, NONCE_SEED, UID), [f"{broken.fault}@0"])
    assert (done.client.result, done.client.cause) == ("refused", broken.cause)
    told_C = re.search(rf"{re.escape(broken.who)} reads (\S+) °C", done.client.refusal)
    assert told_C is not None, done.client.refusal
    assert float(told_C[1]) == pytest.approx(broken.reads_C, abs=0.3)
    assert done.plant.enable_edges == []
    assert done.plant.energy_J == 0.0
    (told,) = done.events(protocol.EVENT_REFUSED)
    assert protocol.CAUSES[told.value("cause")] == broken.cause
    assert f"{told.value('value') / 1000:.2f} °C" in done.client.refusal


@RUNTIMES
@pytest.mark.parametrize("offset_C", [-2.7, 2.7])
def test_what_sensors_may_differ_by_is_not_refused(offset_C: float, runtime: str) -> None:
    assert run(make_runtime(runtime, NONCE_SEED, UID), [f"jump:boundary={offset_C}@0"]).client.result == "completed"


class Bench:
    """One probe in one tissue, for several runs."""

    def __init__(self, runtime: Runtime) -> None:
        self.plant = Plant(load_tissue("vertebra"), probe(), 1)
        self.device = LockStep(self.plant, runtime)

    def run(self) -> RunClient:
        client = RunClient(short_values(), protocol.protocol_digest(), acknowledge=(protocol.DONE,))
        while not client.over:
            for item in client.feed(self.device.exchange(client.poll(self.plant.t_s)), self.plant.t_s):
                assert isinstance(item, Frame), item
        return client

    def let(self, fault: str) -> None:
        told = parse_fault(fault, probe().roles)
        told.kind.apply(self.plant, told.place, told.value, True)


@RUNTIMES
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("", "control (number 1) reads 4"),
        ("swapped", "guard (number 3) reads 4"),
        ("displaced:guard=2", "control (number 1) reads 4"),
    ],
)
def test_what_is_warm_from_the_run_before_shows_who_sits_where(fault: str, says: str, runtime: str) -> None:
    bench = Bench(make_runtime(runtime, NONCE_SEED, UID))
    try:
        assert bench.run().result == "completed"
        if fault:
            bench.let(fault)
        edges = len(bench.plant.enable_edges)
        again = bench.run()
    finally:
        bench.device.close()
    assert (again.result, again.cause) == ("refused", "start_temperature")
    assert says in again.refusal
    assert len(bench.plant.enable_edges) == edges
    assert bench.plant.enable == 0
