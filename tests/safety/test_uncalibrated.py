"""Half the power is argued from a sense that reads low by as much as a calibration would still accept: here it does."""

import pytest

from rfprobe.calibration_bench import load_values
from rfprobe.calibration_fit import RF_GAIN_RANGE
from rfprobe.client import RunClient
from rfprobe.probe_file import SIMULATED_DAY, read_probe
from rfprobe.resources import find
from rfprobe.sim.bench_setup import BenchSetup
from rfprobe_core import protocol
from tests.host.virtual_bench import virtual_probe

LOAD_OHM = 100.0
MAX_W = 12.0
LOW = 1 / RF_GAIN_RANGE[1]


def most_power_W(calibration: str) -> float:
    """The largest true power of a run at the power allowed, with voltage and current read low."""
    errors = (f"voltage=0,{LOW:.4f}", f"current=0,{LOW:.4f}")
    device = virtual_probe(setup=BenchSetup(calibration, errors, load_ohm=LOAD_OHM))
    values = load_values(read_probe(find("probes", "bone-10mm")), MAX_W / 2, LOAD_OHM, 2.0)
    client = RunClient(values | {"today_day": SIMULATED_DAY}, protocol.protocol_digest())
    most_W = 0.0
    while not client.over:
        client.feed(device.exchange(client.poll(device.plant.t_s)), device.plant.t_s)
        device.plant.take_rows()
        most_W = max(most_W, device.plant.power_W)
    assert client.arm_asked
    return most_W


@pytest.mark.parametrize("calibration", ["none", "corrupt", "expired"])
def test_without_a_calibration_the_true_power_stays_within_the_plans(calibration: str) -> None:
    assert 0.9 * MAX_W < most_power_W(calibration) < 1.05 * MAX_W


def test_what_is_believed_though_it_reads_low_heats_with_twice_the_plans_power() -> None:
    """So the cap, and nothing else, is what the other test has seen."""
    assert most_power_W("exact") > 1.5 * MAX_W
