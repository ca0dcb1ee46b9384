"""The MAX31856 driver on a chip of registers, conversions and broken buses."""

import pytest

from rfprobe.sim.onboard import max31856_chip
from rfprobe.sim.onboard.max31856_chip import Max31856Chip
from rfprobe_core import thermometry as t
from rfprobe_drivers.max31856 import Max31856
from tests.unit.scripted_board import ScriptedBoard

TYPE_T = 7
CR0, CR1 = 0, 1
AUTO, ONE_SHOT, FIFTY = 0x80, 0x40, 0x01
OPEN, OVUV, TC_LOW, TC_HIGH, CJ_LOW, CJ_HIGH, TC_RANGE, CJ_RANGE = (1 << bit for bit in range(8))


class Bus:
    """One chip on a bus, in time: `wait` lets conversions end; `writes` are those to CR0."""

    def __init__(self, mains_Hz: int = 50) -> None:
        self.chip = Max31856Chip(0)
        self.now_us = 0
        self.code, self.junction, self.faults = 37 * 128, 25 * 64, 0
        self.cr0_writes: list[int] = []
        self.sticky = 0  # bits of CR1 that the chip does not take
        self.driver = Max31856(self, 0)
        self.mains_Hz = mains_Hz

    def spi_transfer(self, _select: int, buffer: bytearray) -> None:
        if buffer[0] == 0x80:
            self.cr0_writes.append(buffer[1])
            if len(buffer) > 2:
                buffer[2] &= ~self.sticky
        self.chip.transfer(buffer)

    def wait(self, ms: int) -> None:
        """Time passes in ticks; no two conversions in a row read the same."""
        for _ in range(ms // 10):
            self.now_us += 10_000
            waver = self.now_us // 50_000 % 7
            self.chip.advance(self.now_us, self.code + waver, self.junction, self.faults)

    def poll(self) -> int:
        self.wait(10 * self.driver.poll_ticks)
        return self.driver.poll()

    def polls(self, count: int) -> list[int]:
        return [self.poll() for _ in range(count)]

    def started(self) -> "Bus":
        """Configured, and past the first readings."""
        assert self.driver.configure(TYPE_T, self.mains_Hz) == 0
        self.polls(6)
        return self


def told(temperature_word: int, junction_word: int = 0x1900, faults: int = 0) -> tuple[int, Max31856]:
    """What the driver makes of registers that hold these words: status and itself."""
    board = ScriptedBoard()
    driver = Max31856(board, 0)
    driver.configure(TYPE_T, 50)
    words = junction_word.to_bytes(2, "big") + temperature_word.to_bytes(3, "big") + bytes([faults])
    board.chips[0].answers = b"\xff" + words
    driver.poll(), driver.poll()
    return driver.poll(), driver


# Configuration


@pytest.mark.parametrize(("mains_Hz", "poll_ticks", "bit"), [(50, 12, FIFTY), (60, 10, 0)])
@pytest.mark.parametrize("kind", range(8))
def test_configuration_is_written_and_reads_back(kind: int, mains_Hz: int, poll_ticks: int, bit: int) -> None:
    bus = Bus()
    assert bus.driver.configure(kind, mains_Hz) == 0
    assert bus.driver.poll_ticks == poll_ticks
    assert bus.chip.registers[CR0] & FIFTY == bit
    assert bus.chip.registers[CR1] == kind
    # no mask; cold junction −20 … 85 °C; thermocouple the whole range; no offset
    assert bytes(bus.chip.registers[2:10]) == bytes([0, 85, 0xEC, 0x7F, 0xFF, 0x80, 0x00, 0])


def test_the_notch_changes_only_outside_automatic_mode() -> None:
    bus = Bus().started()
    before = len(bus.cr0_writes)
    bus.driver.configure(TYPE_T, 60)
    first, *others = bus.cr0_writes[before:]
    assert first & (AUTO | ONE_SHOT | FIFTY) == 0
    assert all(write & FIFTY == 0 for write in others)


@pytest.mark.parametrize("sticky", [0x01, 0x02, 0x04])
def test_a_chip_that_does_not_hold_what_was_written_is_told(sticky: int) -> None:
    bus = Bus()
    bus.sticky = sticky
    assert bus.driver.configure(TYPE_T, 50) == t.CONFIG_LOST


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_no_chip_at_all_is_a_dead_bus(byte: int) -> None:
    board = ScriptedBoard()
    board.chips[0].answers = bytes([byte] * 11)
    driver = Max31856(board, 0)
    assert driver.configure(TYPE_T, 50) == t.BUS
    assert [driver.poll() for _ in range(4)] == [t.QUESTIONED, t.QUESTIONED, t.BUS, t.BUS]


def test_the_first_reading_comes_with_the_third_poll() -> None:
    """A one-shot conversion with its open-circuit test comes first, then automatic mode."""
    bus = Bus()
    bus.driver.configure(TYPE_T, 50)
    assert bus.polls(4) == [t.QUESTIONED, t.QUESTIONED, t.FRESH, t.REPEAT]
    assert bus.chip.registers[CR0] & AUTO


@pytest.mark.parametrize("mains_Hz", [50, 60])
def test_every_poll_finds_a_new_conversion(mains_Hz: int) -> None:
    bus = Bus(mains_Hz).started()
    assert set(bus.polls(40)) == {t.FRESH}


# What a word means (data sheet, tables of the temperature formats)


@pytest.mark.parametrize(
    ("word", "temperature_mC"),
    [
        (0x640000, 1_600_000),
        (0x3E8000, 1_000_000),
        (0x064F00, 100_937),  # 100.9375
        (0x019000, 25_000),
        (0x000100, 62),  # 0.0625
        (0x000020, 7),  # the last bit, 1/128
        (0x00001F, 0),  # what stands below it means nothing
        (0xFFFF00, -63),  # −0.0625, rounded down
        (0xFFFFE0, -8),
        (0xFFFC00, -250),
        (0xFFF000, -1_000),
        (0xF06000, -250_000),
        (0x7FFFE0, 2_047_992),
        (0x800000, -2_048_000),
    ],
    ids=lambda value: f"{value:06x}" if value > 0xFFFF else str(value),
)
def test_nineteen_bits_with_a_sign(word: int, temperature_mC: int) -> None:
    status, driver = told(word)
    assert (status, driver.temperature_mC) == (t.FRESH, temperature_mC)


@pytest.mark.parametrize(
    ("word", "junction_mC"),
    [
        (0x7D00, 125_000),
        (0x4000, 64_000),
        (0x1900, 25_000),
        (0x0080, 500),
        (0x0004, 15),
        (0xFF80, -500),
        (0xC900, -55_000),
    ],
)
def test_fourteen_bits_of_cold_junction(word: int, junction_mC: int) -> None:
    _, driver = told(0x019000, word)
    assert driver.cold_junction_mC == junction_mC


# What is wrong


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        (OPEN, t.OPEN),
        (OPEN | OVUV, t.OPEN),
        (OVUV, t.SHORT),
        (CJ_HIGH, t.COLD_JUNCTION),
        (CJ_LOW, t.COLD_JUNCTION),
        (CJ_RANGE, t.COLD_JUNCTION),
        (CJ_RANGE | TC_RANGE, t.COLD_JUNCTION),
        (TC_RANGE, t.SHORT),
        (TC_HIGH | TC_LOW, t.FRESH),  # our thresholds are the range itself
        (0, t.FRESH),
    ],
)
def test_fault_register_names_the_fault(faults: int, status: int) -> None:
    assert told(0x019000, faults=faults)[0] == status


def test_a_fault_leaves_the_last_values() -> None:
    bus = Bus().started()
    bus.driver.question()
    bus.faults = OPEN
    bus.code = 0
    assert bus.polls(2)[-1] == t.OPEN
    assert bus.driver.temperature_mC // 100 == 370


@pytest.mark.parametrize("asked_at", range(16))
def test_an_open_wire_is_found_within_three_polls_of_the_question(asked_at: int) -> None:
    """In automatic mode the chip would look only once in 16 conversions."""
    bus = Bus().started()
    bus.polls(asked_at)
    bus.faults, bus.code = OPEN, 25 * 128
    bus.driver.question()
    assert t.OPEN in bus.polls(3)


def test_without_the_question_it_takes_up_to_sixteen_conversions() -> None:
    bus = Bus().started()
    bus.faults, bus.code = OPEN, 25 * 128
    assert 3 < bus.polls(20).index(t.OPEN) < 16


def test_a_question_is_asked_once_and_automatic_mode_follows() -> None:
    bus = Bus().started()
    before = len(bus.cr0_writes)
    bus.driver.question()
    bus.driver.question()
    assert bus.polls(4) == [t.QUESTIONED, t.FRESH, t.REPEAT, t.FRESH]
    asked, answered = bus.cr0_writes[before:]
    assert asked & (AUTO | ONE_SHOT) == ONE_SHOT
    assert answered & (AUTO | ONE_SHOT) == AUTO


@pytest.mark.parametrize("mode", [max31856_chip.BUS_ZEROS, max31856_chip.BUS_ONES], ids=["zeros", "ones"])
def test_a_bus_that_dies_is_told_by_the_next_poll(mode: int) -> None:
    bus = Bus().started()
    bus.chip.mode = mode
    assert bus.poll() == t.BUS
    assert bus.driver.check_config() == t.BUS


def test_a_stuck_bit_is_found_in_the_configuration() -> None:
    bus = Bus().started()
    assert bus.driver.check_config() == 0
    bus.chip.mode = max31856_chip.BUS_STUCK_BIT
    assert bus.driver.check_config() == t.CONFIG_LOST


def test_a_chip_that_was_reset_in_mid_run_is_found() -> None:
    bus = Bus().started()
    bus.chip.reset()
    assert bus.driver.check_config() == t.CONFIG_LOST
    assert bus.poll() == t.BUS  # its registers are all zero: never a temperature


@pytest.mark.parametrize("register", range(10))
def test_any_bit_that_changes_in_the_configuration_is_found(register: int) -> None:
    for bit in range(8):
        bus = Bus().started()
        bus.chip.registers[register] ^= 1 << bit
        assert bus.driver.check_config() == t.CONFIG_LOST


def test_while_a_question_is_under_way_the_configuration_still_holds() -> None:
    bus = Bus().started()
    bus.driver.question()
    assert bus.driver.check_config() == 0


def test_the_same_bits_again_prove_no_new_conversion() -> None:
    bus = Bus().started()
    bus.chip.mode = max31856_chip.FROZEN
    assert bus.polls(3)[1:] == [t.REPEAT, t.REPEAT]


@pytest.mark.parametrize("change", ["code", "junction"])
def test_a_change_in_either_word_is_a_new_conversion(change: str) -> None:
    board = ScriptedBoard()
    board.chips[0].frozen = True
    driver = Max31856(board, 0)
    driver.configure(TYPE_T, 50)
    driver.poll(), driver.poll(), driver.poll()
    assert driver.poll() == t.REPEAT
    board.chips[0].codes(37 * 128 + (change == "code"), 25 * 64 + (change == "junction"))
    assert driver.poll() == t.FRESH
