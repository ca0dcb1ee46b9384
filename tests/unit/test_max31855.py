"""The MAX31855 driver: the data sheet's vectors, ITS-90 instead of the chip's straight line, faults, dead buses."""

import math

import pytest
import thermocouple_its90
from hypothesis import given
from hypothesis import strategies as st

from rfprobe.sim.its90 import emf_mV
from rfprobe.sim.onboard import max31855_chip
from rfprobe.sim.onboard.max31855_chip import Max31855Chip
from rfprobe_core import thermometry
from rfprobe_drivers import its90
from rfprobe_drivers.max31855 import Max31855

TYPE_CODE = {"K": 3, "T": 7}
TABLE = {"K": its90.K, "T": its90.T}
SENSITIVITY_uV_C = {"K": 41.276, "T": 52.18}  # data sheet 19-5793, table 1
KINDS = pytest.mark.parametrize("kind", ["K", "T"])


class Bus:
    """A chip and its driver; `show` is the analogue side at the next conversion."""

    def __init__(self, kind: str = "K") -> None:
        self.chip = Max31855Chip()
        self.now_us = 0
        self.answers: bytes | None = None
        self.driver = Max31855(self, 0)
        self.driver.configure(TYPE_CODE[kind], 50)

    def spi_transfer(self, _select: int, buffer: bytearray) -> None:
        if self.answers is None:
            self.chip.transfer(buffer)
        else:
            buffer[:] = self.answers

    def show(self, code: int, junction: int, faults: int = 0) -> int:
        self.now_us += 120_000
        self.chip.advance(self.now_us, code, junction, faults)
        return self.driver.poll()

    def told(self, word: int) -> int:
        self.answers = word.to_bytes(4, "big")
        return self.driver.poll()


def codes(kind: str, hot_C: float, cold_C: float) -> tuple[int, int]:
    """What the chip makes of two temperatures: a straight line through its own cold junction, in its steps."""
    microvolts = 1000 * (emf_mV(kind, hot_C) - emf_mV(kind, cold_C))
    shown_C = cold_C + microvolts / SENSITIVITY_uV_C[kind]
    return math.floor(shown_C * 4 + 0.5), math.floor(cold_C * 16 + 0.5)


# The words of the data sheet


@pytest.mark.parametrize(
    ("bits", "reading_C"),
    [
        ("0001 1001 0000 00", 400.0), ("0000 0110 0100 11", 100.75), ("0000 0001 1001 00", 25.0),
        ("1111 1111 1111 11", -0.25), ("1111 1111 1111 00", -1.0),
    ],
)  # fmt: skip
def test_thermocouple_words_of_table_4(bits: str, reading_C: float) -> None:
    """With the cold junction at the reading no voltage is left: the temperature is the reading's own."""
    word = int(bits.replace(" ", ""), 2) << 18
    junction = round(min(reading_C, 125.0) * 16) & 0xFFF
    bus = Bus()
    assert bus.told(word | junction << 4) == thermometry.FRESH
    if reading_C <= 125.0:
        assert bus.driver.temperature_mC == pytest.approx(reading_C * 1000, abs=1)
    else:
        assert bus.driver.temperature_mC == 200_000, "beyond the table reads as its end"


@pytest.mark.parametrize(
    ("bits", "junction_C"),
    [
        ("0111 1111 0000", 127.0), ("0110 0100 1001", 100.5625), ("0001 1001 0000", 25.0), ("1111 1111 1111", -0.0625),
        ("1111 1111 0000", -1.0), ("1110 1100 0000", -20.0), ("1100 1001 0000", -55.0),
    ],
)  # fmt: skip
def test_cold_junction_words_of_table_5(bits: str, junction_C: float) -> None:
    bus = Bus()
    assert bus.told(25 * 4 << 18 | int(bits.replace(" ", ""), 2) << 4) == thermometry.FRESH
    assert bus.driver.cold_junction_mC == math.floor(junction_C * 1000)


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        (max31855_chip.OPEN, thermometry.OPEN),
        (max31855_chip.SHORT_TO_GND, thermometry.SHORT),
        (max31855_chip.SHORT_TO_VCC, thermometry.SHORT),
        (max31855_chip.OPEN | max31855_chip.SHORT_TO_GND, thermometry.OPEN),
    ],
)
def test_a_fault_is_named_and_leaves_the_last_values(faults: int, status: int) -> None:
    bus = Bus()
    assert bus.show(37 * 4, 25 * 16) == thermometry.FRESH
    before = bus.driver.temperature_mC, bus.driver.cold_junction_mC
    assert bus.show(90 * 4, 30 * 16, faults) == status
    assert (bus.driver.temperature_mC, bus.driver.cold_junction_mC) == before


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF, 0x00010000, 0x06420190, 0x06401908], ids=hex)
def test_what_no_chip_says_is_no_temperature(word: int) -> None:
    """All zeros, all ones, a fault without a cause, a reserved bit: the bus, not a value."""
    bus = Bus()
    assert bus.told(word) == thermometry.BUS


def test_a_chip_that_does_not_answer_is_told_at_configuration() -> None:
    bus = Bus()
    bus.answers = bytes(4)
    assert bus.driver.configure(TYPE_CODE["K"], 50) == thermometry.BUS
    bus.answers = None
    bus.show(25 * 4, 25 * 16)
    assert bus.driver.configure(TYPE_CODE["K"], 50) == 0


def test_a_type_it_has_no_table_for_is_refused() -> None:
    with pytest.raises(KeyError):
        Bus().driver.configure(2, 50)


# ITS-90


@KINDS
def test_the_tables_are_the_reference_functions(kind: str) -> None:
    reference = thermocouple_its90.get(kind)
    assert list(TABLE[kind]) == [round(reference.emf(float(t)) * 1e5) for t in range(-40, 201, 10)]


@KINDS
@given(temperature_C=st.floats(-200.0, 400.0))
def test_the_simulations_function_is_the_reference_function(kind: str, temperature_C: float) -> None:
    assert emf_mV(kind, temperature_C) == pytest.approx(thermocouple_its90.get(kind).emf(temperature_C), abs=1e-6)


@KINDS
@given(temperature_mC=st.integers(-40_000, 200_000), near_mC=st.integers(-500_000, 2_000_000))
def test_there_and_back(kind: str, temperature_mC: int, near_mC: int) -> None:
    table = TABLE[kind]
    volts = its90.emf(table, temperature_mC)
    assert volts == pytest.approx(emf_mV(kind, temperature_mC / 1000) * 1e5, abs=130)
    assert its90.temperature_mC(table, volts, near_mC) == pytest.approx(temperature_mC, abs=2)


@KINDS
@given(hot_C=st.floats(-20.0, 120.0), cold_C=st.floats(10.0, 50.0))
def test_a_reading_is_within_0_3_degrees(kind: str, hot_C: float, cold_C: float) -> None:
    bus = Bus(kind)
    assert bus.show(*codes(kind, hot_C, cold_C)) == thermometry.FRESH
    assert abs(bus.driver.temperature_mC / 1000 - hot_C) <= 0.3


def test_the_chips_own_line_would_be_far_off() -> None:
    """What the correction is for: type T at 90 °C reads 10.9 °C low."""
    code, _ = codes("T", 90.0, 25.0)
    assert code / 4 - 90.0 == pytest.approx(-10.9, abs=0.2)


@KINDS
@given(code=st.integers(-8192, 8191), junction=st.integers(-2048, 2047))
def test_any_word_gives_a_temperature_on_the_table(kind: str, code: int, junction: int) -> None:
    bus = Bus(kind)
    if bus.show(code, junction) == thermometry.FRESH:
        assert -40_000 <= bus.driver.temperature_mC <= 200_000
    else:
        assert code == junction == 0
