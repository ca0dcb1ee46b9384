"""The calibration in the device's flash: power lost anywhere in its writing, copies that are spoilt, dates, and what
follows for reading and power."""

from array import array

import pytest

from rfprobe.sim.onboard.calibrated import FACTORY_DAY, copies_of
from rfprobe_core import calibration, plan
from rfprobe_core import protocol as p
from rfprobe_core.calibration import RECORD_SIZE, Calibration, generation_of, packed
from rfprobe_core.plan import INDEX
from tests.unit.scripted_board import VALUES, Bench, ScriptedBoard, table

OLD = {"tc0_offset_mC": -1_500, "v_gain_ppm": 1_050_000, "tc0_cal_day": FACTORY_DAY, "rf_cal_day": FACTORY_DAY}
NEW = {"tc0_offset_mC": 2_500, "v_gain_ppm": 930_000, "tc0_cal_day": FACTORY_DAY, "rf_cal_day": FACTORY_DAY}
TODAY = FACTORY_DAY + 100


class PowerLost(BaseException):
    """The board is gone in the middle of a write."""


class FailingFlash(ScriptedBoard):
    """Its power fails when `left` more bytes have been written; what is torn is short, or has the old rest."""

    def __init__(self, flash: list[bytes], left: int, keeps_rest: bool) -> None:
        super().__init__()
        self.flash = list(flash)
        self._left = left
        self._keeps_rest = keeps_rest

    def calibration_write(self, copy: int, data: bytes) -> None:
        written = data[: self._left]
        self._left -= len(written)
        if len(written) < len(data) or self._left == 0:
            self.flash[copy] = written + (self.flash[copy][len(written) :] if self._keeps_rest else b"")
            raise PowerLost
        self.flash[copy] = data


def kept(values: dict[str, int]) -> list[bytes]:
    """The flash of a device that keeps these values."""
    board = ScriptedBoard()
    board.flash = [b"", b""]
    assert Calibration(board).save(table(values))
    return board.flash


def loaded(flash: list[bytes], **changes: int) -> "array[int]":
    """The values of a device that starts with this flash, on TODAY."""
    board = ScriptedBoard()
    board.flash = flash
    values: array[int] = table({"thermocouples": 1, "tc0_role": plan.ROLE_CONTROL, "today_day": TODAY} | changes)
    Calibration(board).load(values)
    return values


def of(values: "array[int]", name: str) -> int:
    return values[INDEX[name]]


@pytest.mark.parametrize("keeps_rest", [False, True], ids=["short", "over the old one"])
def test_power_lost_at_any_byte_of_the_writing_keeps_the_old_one_or_the_new_one(keeps_rest: bool) -> None:
    before = kept(OLD)
    ends: list[int] = []
    for bytes_written in range(2 * RECORD_SIZE):
        board = FailingFlash(before, bytes_written, keeps_rest)
        values = table(NEW)
        with pytest.raises(PowerLost):
            keeper = Calibration(board)
            keeper.load(table({}))
            keeper.save(values)
        found = loaded(board.flash)
        assert of(found, "calibration_state") == calibration.VALID
        ends.append(of(found, "tc0_offset_mC"))
        assert of(found, "v_gain_ppm") == (OLD if ends[-1] == OLD["tc0_offset_mC"] else NEW)["v_gain_ppm"]
    old, new = OLD["tc0_offset_mC"], NEW["tc0_offset_mC"]
    assert ends == [old] * RECORD_SIZE + [new] * RECORD_SIZE


def test_after_a_lost_power_the_next_writing_makes_both_copies_whole_again() -> None:
    board = FailingFlash(kept(OLD), RECORD_SIZE // 2, False)
    keeper = Calibration(board)
    keeper.load(table({}))
    with pytest.raises(PowerLost):
        keeper.save(table(NEW))
    again = ScriptedBoard()
    again.flash = board.flash
    keeper = Calibration(again)
    keeper.load(table({}))
    assert keeper.save(table(NEW))
    assert again.flash[0] == again.flash[1]
    assert of(loaded(again.flash), "tc0_offset_mC") == NEW["tc0_offset_mC"]


def test_every_flipped_bit_of_a_record_is_seen() -> None:
    [record, _] = kept(OLD)
    for bit in range(8 * len(record)):
        spoilt = bytearray(record)
        spoilt[bit // 8] ^= 1 << bit % 8
        assert generation_of(bytes(spoilt)) == 0


@pytest.mark.parametrize("size", [0, 1, RECORD_SIZE - 1, RECORD_SIZE + 1])
def test_a_record_of_another_length_is_none(size: int) -> None:
    [record, _] = kept(OLD)
    assert generation_of((record + b"\0")[:size]) == 0


def test_a_value_out_of_range_makes_a_record_none_of_ours() -> None:
    assert generation_of(packed(table({"tc0_gain_ppm": 2_000_000}), 1)) == 0


@pytest.mark.parametrize("lost", [0, 1])
def test_with_one_copy_spoilt_the_other_one_serves_and_it_is_told(lost: int) -> None:
    flash = kept(OLD)
    flash[lost] = copies_of("corrupt")[0]
    found = loaded(flash)
    assert of(found, "calibration_state") == calibration.VALID
    assert of(found, "tc0_offset_mC") == OLD["tc0_offset_mC"]
    copies = [of(found, "calibration_copy_a"), of(found, "calibration_copy_b")]
    assert (copies[lost], copies[1 - lost]) == (calibration.BROKEN, calibration.IN_USE)


def test_with_both_copies_spoilt_nothing_of_them_is_used_and_it_is_named() -> None:
    found = loaded(copies_of("corrupt"))
    assert of(found, "calibration_state") == calibration.CORRUPT
    assert [of(found, row[0]) for row in plan.PARAMETERS if row[1] == plan.CALIBRATION] == [
        row[4] for row in plan.PARAMETERS if row[1] == plan.CALIBRATION
    ]


def test_an_empty_flash_is_no_calibration() -> None:
    assert of(loaded([b"", b""]), "calibration_state") == calibration.NONE


def test_a_flash_that_cannot_be_read_or_written_is_told() -> None:
    class Broken(ScriptedBoard):
        def calibration_read(self, copy: int) -> bytes:
            raise OSError(5)

        def calibration_write(self, copy: int, data: bytes) -> None:
            raise OSError(28)

    values = table({})
    keeper = Calibration(Broken())
    keeper.load(values)
    assert of(values, "calibration_state") == calibration.CORRUPT
    assert not keeper.save(values)


@pytest.mark.parametrize(
    ("day", "valid_days", "today", "state"),
    [
        (0, 365, TODAY, calibration.NONE),
        (TODAY, 365, TODAY, calibration.VALID),
        (TODAY - 365, 365, TODAY, calibration.VALID),
        (TODAY - 366, 365, TODAY, calibration.EXPIRED),
        (TODAY - 3_000, 0, TODAY, calibration.VALID),
        (TODAY + 1, 365, TODAY, calibration.UNDATED),
        (TODAY, 365, 0, calibration.UNDATED),
    ],
)
def test_a_date_makes_it_valid_or_names_why_not(day: int, valid_days: int, today: int, state: int) -> None:
    changes = {"tc0_cal_day": day, "tc0_cal_valid_days": valid_days, "rf_cal_day": 1, "today_day": today}
    values = table({"tc0_role": plan.ROLE_CONTROL} | changes)
    assert calibration.sensor_state(values, 0) == state
    assert calibration.judge(values) == state


def test_one_sensor_in_use_that_is_not_calibrated_is_enough() -> None:
    flash = kept({f"{name}_cal_day": 1 for name in calibration.SENSORS if name != "tc2"})
    guarded = {"thermocouples": 3, "tc2_role": plan.ROLE_GUARD}
    assert of(loaded(flash, **guarded), "calibration_state") == calibration.NONE
    assert of(loaded(flash, thermocouples=2, tc1_role=plan.ROLE_GUARD), "calibration_state") == calibration.VALID


def test_what_is_expired_is_not_applied() -> None:
    expired = NEW | {"tc0_cal_day": 1, "tc0_cal_valid_days": 1, "tc0_gain_ppm": 1_050_000}
    values = loaded(kept(expired))
    assert (calibration.thermocouple(values, 0), of(values, "tc0_offset_mC")) == ((0, 0), NEW["tc0_offset_mC"])
    assert calibration.sense(values)[0] == NEW["v_gain_ppm"]


@pytest.mark.parametrize(("max_mW", "allowed"), [(10_000, 5_000), (50_000, 10_000), (150, 100), (100, 100)])
def test_without_a_valid_one_half_the_power_is_allowed_and_never_more_than_10_W(max_mW: int, allowed: int) -> None:
    values = table({"max_power_mW": max_mW, "test_power_mW": 100})
    assert calibration.allowed_power_mW(values) == allowed
    values[INDEX["calibration_state"]] = calibration.VALID
    assert calibration.allowed_power_mW(values) == max_mW


@pytest.mark.parametrize(("gain_ppm", "offset_mC"), [(900_000, -5_000), (1_031_250, 1_234), (1_100_000, 5_000)])
@pytest.mark.parametrize("shown_C", [-20.0, 0.0, 37.0, 95.0, 250.0])
def test_a_thermocouple_reads_gain_times_what_its_chip_says_and_offset(
    gain_ppm: int, offset_mC: int, shown_C: float
) -> None:
    bench = Bench()
    days = {f"{name}_cal_day": FACTORY_DAY for name in calibration.SENSORS}
    bench.board.flash = kept({"tc0_gain_ppm": gain_ppm, "tc0_offset_mC": offset_mC} | days)
    bench.board.chips[0].show(shown_C)
    bench.in_state(p.IDLE)
    expected_mC = shown_C * 1000 * gain_ppm / 1e6 + offset_mC
    assert bench.controller.thermocouples[0].temperature_mC == pytest.approx(expected_mC, abs=12)


def test_the_power_sought_is_half_without_a_calibration() -> None:
    sought: dict[str, int] = {}
    for kind in ("exact", "none", "corrupt", "expired"):
        bench = Bench({"kp_mW_per_C": 20_000, "ki_mW_per_C_s": 0, "ramp_mC_per_s": 5_000})
        bench.board.flash = copies_of(kind)
        bench.in_state(p.RAMP)
        bench.take_lease()
        bench.tick(95)
        sought[kind] = bench.controller.demand_mW
    half = VALUES["max_power_mW"] // 2
    assert sought == {"exact": 2 * half, "none": half, "corrupt": half, "expired": half}


@pytest.mark.parametrize("kind", ["exact", "none", "corrupt", "expired"])
def test_hello_names_digest_and_state(kind: str) -> None:
    bench = Bench()
    bench.board.flash = copies_of(kind)
    bench.in_state(p.IDLE)
    digest = plan.digest(bench.controller.values, plan.CALIBRATION)
    assert said_hello(bench)["cal"] == f"{digest:07x} {'valid' if kind == 'exact' else kind}"


def test_a_long_hello_is_not_cut() -> None:
    bench = Bench()
    bench.board.flash = copies_of("corrupt")
    bench.board.name = "esp32_generic"  # type: ignore[misc]
    bench.board.unique_id = lambda: "e6616407e3646b2f"  # type: ignore[method-assign]
    bench.in_state(p.IDLE)
    bench.controller.commands.owned = False
    bench.controller.commands.nonce = (1 << 20) - 1
    bench.controller.tick_count = p.U32_MAX - 100
    assert said_hello(bench)["caps"] == ",".join(plan.MODE_NAMES[mode][:5] for mode in plan.MODES_AVAILABLE)


def said_hello(bench: Bench) -> dict[str, str]:
    from tests.unit.scripted_board import frames

    bench.tick(20)
    bench.board.sent.clear()
    bench.say(b"HELLO\n")
    bench.controller.rest()
    bench.tick(3)
    [hello] = [frame.hello for frame in frames(bench.board.sent) if frame.type == p.HELLO]
    return dict(hello)


def test_what_was_set_and_not_stored_is_gone_with_configure() -> None:
    bench = Bench()
    bench.controller.set_parameter(INDEX["tc0_offset_mC"], 4_000)
    bench.in_state(p.IDLE)
    assert bench.controller.values[INDEX["tc0_offset_mC"]] == 0


def test_a_store_asks_for_a_configure_before_the_next_run() -> None:
    bench = Bench().in_state(p.IDLE)
    assert bench.controller.digest >= 0
    assert bench.controller.store_calibration() == p.ACK_OK
    assert bench.controller.digest == -1


def test_nothing_is_written_where_rf_is_not_seen_off() -> None:
    bench = Bench().in_state(p.IDLE)
    before = list(bench.board.flash)
    bench.board.enable_reads = 1
    bench.controller.set_parameter(INDEX["tc0_offset_mC"], 4_000)
    assert bench.controller.store_calibration() == p.ACK_STAGE
    assert bench.board.flash == before
