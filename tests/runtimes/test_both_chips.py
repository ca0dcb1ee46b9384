"""A MAX31855 and a MAX31856 on one board: the same bytes on both runtimes, and each fault named."""

import pytest

from rfprobe.sim.runtimes import CPythonRuntime, MicroPythonRuntime, make_runtime
from rfprobe_core import protocol
from tests.runtimes.loop import NONCE_SEED, UID, probe_with_both_chips, run

AT_S = 6.0
SEEN_S = 0.05 + 0.10 + 0.12 + 2 * 0.12  # simulation step, conversion, poll, and two polls more: until the third sample


def test_a_run_completes_and_both_runtimes_send_the_same_bytes() -> None:
    here = run(CPythonRuntime(NONCE_SEED, UID, 0, 0), fitted=probe_with_both_chips())
    there = run(MicroPythonRuntime(NONCE_SEED, UID, 0, 0, lock_heap=True), fitted=probe_with_both_chips())
    assert here.client.result == "completed"
    assert here.bytes_of(protocol.HELLO) == there.bytes_of(protocol.HELLO)
    assert here.plant.peak_C["control"] == pytest.approx(50.0, abs=1.0), "by the tissue, not by the reading"


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("open:control", "thermocouple_open"),
        ("open:boundary", "thermocouple_open"),
        ("short_gnd:control", "thermocouple_short"),
        ("short_vcc:guard", "thermocouple_short"),
        ("bus_zeros:control", "thermocouple_bus"),
        ("bus_ones:guard", "thermocouple_bus"),
        ("stuck_bit:guard", "thermocouple_jump"),
        ("jump:control", "thermocouple_jump"),
        ("cold_junction:guard", "cold_junction_range"),
        ("chip_reset:boundary", "thermocouple_config_lost"),
    ],
)
def test_each_fault_is_named_and_rf_goes_off(runtime: str, fault: str, cause: str) -> None:
    device = make_runtime(runtime, NONCE_SEED, UID)
    done = run(device, [f"{fault}@{AT_S}"], fitted=probe_with_both_chips())
    assert (done.client.result, done.client.cause) == ("fault", cause)
    most_s = 1.0 if fault == "stuck_bit:guard" else SEEN_S + 0.25
    assert 0.0 <= done.rf_off_s - AT_S <= most_s
