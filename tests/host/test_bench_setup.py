"""What a simulated bench can be made of, and what it cannot."""

import pytest

from rfprobe.errors import BadInput
from rfprobe.sim.bench_setup import Baths, BenchSetup, SensorError

TICK_S = 0.01


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"calibration": "good"}, "--calibration good: must be one of exact"),
        ({"errors": ("control",)}, "NAME=OFFSET[,GAIN]"),
        ({"errors": ("control=1,2",)}, "a gain of 0.5 to 1.5"),
        ({"errors": ("control=21",)}, "an offset up to ±20"),
        ({"errors": ("current=0.3",)}, "an offset up to ±0.2"),
        ({"errors": ("control=1e",)}, "is no number"),
        ({"bath": "20,hot"}, "--bath 20,hot: must be"),
        ({"bath": "20,140"}, "each 0 to 100 °C"),
        ({"bath": "20@0"}, "--bath 20@0"),
        ({"load_ohm": 1.0}, "--load 1: must be 5 to 5000 Ω"),
    ],
)
def test_what_it_cannot_be_is_refused_by_option_and_reason(given: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        BenchSetup(**given)  # type: ignore[arg-type]
    assert told in str(raised.value)


def test_an_error_of_a_thermocouple_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match="no such sensor; there are control, voltage, current"):
        BenchSetup(errors=("guard=1",)).check_roles(["control"])


def test_a_session_gives_back_the_setup_it_was_made_with() -> None:
    setup = BenchSetup("expired", ("control=1.5,1.02", "current=-0.01"), "20,60@5", 100.0)
    assert BenchSetup.from_meta(setup.meta()) == setup
    assert BenchSetup.from_meta(None) == BenchSetup()
    assert setup.error("control") == SensorError(1.5, 1.02)
    assert setup.error("guard") == SensorError()


def test_a_bath_lasts_as_long_as_a_host_is_there_and_no_longer_than_a_store() -> None:
    baths = Baths(BenchSetup(bath="20,60@2"), TICK_S)
    for _ in range(1000):
        baths.pass_tick(b"")
    assert baths.bath_C == 20.0
    for tick in range(200):
        baths.pass_tick(b"LEASE" if tick % 25 == 0 else b"")
    assert baths.bath_C == 60.0
    baths.pass_tick(b"7 STORE*1234\n")
    assert (baths.bath_C, baths.left) == (None, False)
