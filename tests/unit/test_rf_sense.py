"""From ADC counts to volts and amperes."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe_core.plan import INDEX, PARAMETERS
from rfprobe_drivers.rf_sense import CURRENT_MAX_UA, RfSense


class Converters:
    """The ADC: a queue of counts for each channel, and the order in which they were read."""

    def __init__(self, volts: list[int], amps: list[int]) -> None:
        self._counts = (volts, amps)
        self.order: list[int] = []

    def read_adc(self, channel: int) -> int:
        self.order.append(channel)
        counts = self._counts[channel]
        return counts[(len(self.order) - 1) // 2 % len(counts)]


def sense(
    volts: list[int],
    amps: list[int],
    full_scale: tuple[int, int] = (100_000, 1_200_000),
    gain_ppm: tuple[int, int] = (1_000_000, 1_000_000),
    offset: tuple[int, int] = (0, 0),
) -> RfSense:
    made = RfSense(Converters(volts, amps))
    made.configure(*full_scale, gain_ppm[0], offset[0], gain_ppm[1], offset[1])
    made.read()
    return made


def within(name: str) -> st.SearchStrategy[int]:
    row = PARAMETERS[INDEX[name]]
    return st.integers(row[2], row[3])


@given(
    st.integers(0, 65_535),
    st.tuples(within("v_sense_full_scale_mV"), within("i_sense_full_scale_uA")),
    st.tuples(within("v_gain_ppm"), within("i_gain_ppm")),
    st.tuples(within("v_offset_mV"), within("i_offset_uA")),
)
def test_readings_are_calibrated(
    count: int, full_scale: tuple[int, int], gain_ppm: tuple[int, int], offset: tuple[int, int]
) -> None:
    """Counts × full scale × gain + offset to one part in 8192, and never below nothing."""
    made = sense([count], [count], full_scale, gain_ppm, offset)
    for got, largest, full, ppm, shift in (
        (made.voltage_mV, 500_000, full_scale[0], gain_ppm[0], offset[0]),
        (made.current_uA, CURRENT_MAX_UA, full_scale[1], gain_ppm[1], offset[1]),
    ):
        scaled = Fraction(count * full * ppm, 65_535 * 1_000_000)
        assert min(max(scaled * Fraction(8_191, 8_192) + shift - 2, 0), largest) <= got
        assert got <= max(scaled + shift, 0)


def test_voltage_and_current_are_of_the_same_moment() -> None:
    """Two readings of each, interleaved."""
    made = sense([10_000, 30_000], [20_000, 40_000])
    assert made._board.order == [0, 1, 0, 1]
    assert made.voltage_mV == pytest.approx(20_000 * 100_000 / 65_535, rel=2e-4)
    assert made.current_uA == pytest.approx(30_000 * 1_200_000 / 65_535, rel=2e-4)


@pytest.mark.parametrize(
    ("volts", "amps", "permille"),
    [(0, 0, 0), (65_535, 0, 999), (0, 65_535, 999), (3_277, 1_311, 50), (655, 6_554, 99)],
)
def test_the_larger_of_the_two_says_whether_rf_is_there(volts: int, amps: int, permille: int) -> None:
    assert sense([volts], [amps]).permille() == pytest.approx(permille, abs=1)
