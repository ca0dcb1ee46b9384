"""The thermocouple's lag, codes, noise and faults."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe.sim.sensors import (
    COLD_CODE_MAX,
    COLD_CODE_MIN,
    OPEN,
    OVUV,
    TC_CODE_MAX,
    TC_CODE_MIN,
    ThermocoupleModel,
    cold_code,
    tc_code,
)

PERIOD_S = 0.1


def quiet(**options: float) -> ThermocoupleModel:
    """Without noise and, unless asked for, without lag."""
    return ThermocoupleModel(1, **{"sigma_C": 0.0, "tau_s": 0.0, **options})  # type: ignore[arg-type]


def read_C(model: ThermocoupleModel, true_C: float, rf_on: float = 0.0) -> float:
    return model.update(true_C, PERIOD_S, rf_on)[0] / 128.0


# --- codes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true_C", "code"),
    [(0.0, 0), (37.0, 4736), (100.0, 12_800), (-1.0, -128), (-0.004, -1), (0.0039, 0), (0.0040, 1)],
)
def test_thermocouple_code(true_C: float, code: int) -> None:
    assert quiet().update(true_C, PERIOD_S)[0] == code == tc_code(true_C)


@given(true_C=st.floats(-3000.0, 3000.0), cold_C=st.floats(-200.0, 200.0))
def test_codes_fit_their_registers_and_are_nearest(true_C: float, cold_C: float) -> None:
    code, cold, flags = quiet(cold_junction_C=cold_C).update(true_C, PERIOD_S)
    assert type(code) is int and type(cold) is int and flags == 0
    assert TC_CODE_MIN <= code <= TC_CODE_MAX and COLD_CODE_MIN <= cold <= COLD_CODE_MAX
    if abs(true_C) < 2047.0:
        assert abs(code / 128.0 - true_C) <= 0.5 / 128.0 + 1e-9
    if abs(cold_C) < 127.0:
        assert abs(cold / 64.0 - cold_C) <= 0.5 / 64.0 + 1e-9


def test_cold_junction_can_change() -> None:
    model = quiet()
    assert model.update(37.0, PERIOD_S)[1] == 1600
    model.cold_junction_C = -0.25
    assert model.cold_junction_C == -0.25
    assert model.update(37.0, PERIOD_S) == (4736, -16, 0)
    assert cold_code(1000.0) == COLD_CODE_MAX


# --- lag ---------------------------------------------------------------------------------------


def test_lag_behind_a_ramp_is_the_time_constant() -> None:
    model = quiet(tau_s=0.7, start_C=37.0)
    for count in range(1, 101):
        model.update(37.0 + 2.0 * count * PERIOD_S, PERIOD_S)
    assert 37.0 + 20.0 - model.junction_C == pytest.approx(2.0 * 0.7, abs=1e-5)


@pytest.mark.parametrize("period_s", [0.001, 0.02, 0.1])
def test_lag_on_a_smooth_field_does_not_depend_on_the_period(period_s: float) -> None:
    """Against the exact response to 37 + 20·(1 − e^(−t/3))."""
    model, tau_s, field_tau_s = quiet(tau_s=0.5), 0.5, 3.0
    end_s = 4.0
    for count in range(1, round(end_s / period_s) + 1):
        model.update(37.0 + 20.0 * (1 - math.exp(-count * period_s / field_tau_s)), period_s)
    fast, slow = math.exp(-end_s / tau_s), math.exp(-end_s / field_tau_s)
    exact = 37.0 + 20.0 * (1 - (field_tau_s * slow - tau_s * fast) / (field_tau_s - tau_s))
    assert model.junction_C == pytest.approx(exact, abs=0.005)


def test_no_lag_and_no_time() -> None:
    assert read_C(quiet(), 80.0) == 80.0
    for wrong_s in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="between conversions"):
            quiet(tau_s=0.5).update(80.0, wrong_s)


@given(temperatures=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=30), period_s=st.floats(0.001, 10.0))
def test_lag_stays_within_what_was_seen(temperatures: list[float], period_s: float) -> None:
    model = quiet(tau_s=0.35)
    low, high = min(37.0, *temperatures), max(37.0, *temperatures)
    for true_C in temperatures:
        model.update(true_C, period_s)
        assert low - 1e-6 <= model.junction_C <= high + 1e-6


# --- noise -------------------------------------------------------------------------------------


def series(seed: int, channel: int = 0, count: int = 4000, **options: int) -> list[int]:
    model = ThermocoupleModel(seed, channel, sigma_C=0.05, **options)
    return [model.update(37.0, PERIOD_S)[0] for _ in range(count)]


def test_noise_has_its_size_and_comes_from_the_seed() -> None:
    first = series(1)
    assert np.std(first) / 128.0 == pytest.approx(0.05, rel=0.05)
    assert np.mean(first) / 128.0 == pytest.approx(37.0, abs=0.005)
    assert first == series(1) == series(1, block=3)
    for other in (series(2), series(1, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.06


# --- faults ------------------------------------------------------------------------------------


def test_open_reads_the_cold_junction_and_is_flagged_at_the_next_test() -> None:
    model = quiet()
    read_C(model, 60.0)
    model.open = True
    shown = [model.update(60.0, PERIOD_S) for _ in range(20)]
    assert all(code == 25 * 128 for code, _, _ in shown)
    assert [flags for _, _, flags in shown] == [0] * 15 + [OPEN] * 5
    model.open = False
    mended = [model.update(60.0, PERIOD_S) for _ in range(20)]
    assert all(code == 60 * 128 for code, _, _ in mended)
    assert [flags for _, _, flags in mended] == [OPEN] * 15 + [0] * 5


def test_open_is_flagged_at_once_where_every_conversion_tests() -> None:
    model = quiet(open_check_every=1)
    model.open = True
    assert model.update(60.0, PERIOD_S)[2] == OPEN
    model.open = False
    assert model.update(60.0, PERIOD_S) == (60 * 128, 1600, 0)


@pytest.mark.parametrize("rail", ["short_gnd", "short_vcc"])
def test_a_short_holds_the_code_and_raises_ovuv(rail: str) -> None:
    model = quiet()
    read_C(model, 60.0)
    setattr(model, rail, True)
    assert [model.update(true_C, PERIOD_S) for true_C in (70.0, 90.0)] == [(60 * 128, 1600, OVUV)] * 2
    setattr(model, rail, False)
    assert model.update(90.0, PERIOD_S) == (90 * 128, 1600, 0)


def test_reversed_falls_while_the_tissue_warms() -> None:
    model = quiet()
    model.reversed = True
    assert [read_C(model, true_C) for true_C in (25.0, 37.0, 70.0)] == [25.0, 13.0, -20.0]


def test_drift_grows_and_is_taken_away() -> None:
    model = quiet()
    model.drift_C_per_s = -0.5
    shown = [read_C(model, 60.0) for _ in range(40)]
    assert shown[0] == pytest.approx(59.95, abs=0.005)
    assert shown[-1] == pytest.approx(58.0, abs=0.005)
    model.drift_C_per_s = 0.0
    assert read_C(model, 60.0) == 60.0


def test_frozen_repeats_the_last_conversion() -> None:
    model = ThermocoupleModel(3, sigma_C=0.05, tau_s=0.0)
    last = model.update(60.0, PERIOD_S)
    model.frozen = True
    assert {model.update(true_C, PERIOD_S) for true_C in (61.0, 75.0, 90.0)} == {last}
    model.frozen = False
    assert read_C(model, 90.0) == pytest.approx(90.0, abs=0.3)


def test_spikes_come_as_often_and_as_large_as_asked() -> None:
    model = quiet()
    model.spike_probability, model.spike_C = 0.1, 30.0
    shown = [read_C(model, 60.0) for _ in range(5000)]
    assert set(shown) == {30.0, 60.0, 90.0}
    assert shown.count(30.0) == pytest.approx(250, rel=0.25)
    assert shown.count(90.0) == pytest.approx(250, rel=0.25)


def test_jump_and_pickup_add_up() -> None:
    model = quiet()
    model.jump_C, model.rf_pickup_C = 2.0, -8.0
    assert [read_C(model, 60.0, rf_on) for rf_on in (0.0, 0.5, 1.0)] == [62.0, 58.0, 54.0]


SETTINGS: dict[str, float] = {
    **dict.fromkeys(("open", "short_gnd", "short_vcc", "reversed", "frozen"), True),
    "drift_C_per_s": 0.3,
    "spike_probability": 0.5,
    "spike_C": 20.0,
    "jump_C": 5.0,
    "rf_pickup_C": 4.0,
}


@given(changes=st.lists(st.tuples(st.sampled_from(sorted(SETTINGS)), st.booleans(), st.integers(1, 20)), max_size=12))
def test_after_all_faults_the_reading_is_as_if_there_had_been_none(
    changes: list[tuple[str, bool, int]],
) -> None:
    faulty, twin = ThermocoupleModel(9), ThermocoupleModel(9)
    true_C = 37.0
    for name, on, conversions in changes:
        setattr(faulty, name, SETTINGS[name] if on else 0)
        assert getattr(faulty, name) == (SETTINGS[name] if on else 0)
        for _ in range(conversions):
            true_C += 0.1
            faulty.update(true_C, PERIOD_S, 1.0)
            twin.update(true_C, PERIOD_S, 1.0)
    for name in SETTINGS:
        setattr(faulty, name, 0)
    for _ in range(17):  # an OPEN flag may stand until the converter's next test
        faulty.update(true_C, PERIOD_S, 1.0)
        twin.update(true_C, PERIOD_S, 1.0)
    for _ in range(30):
        true_C += 0.1
        assert faulty.update(true_C, PERIOD_S, 1.0) == twin.update(true_C, PERIOD_S, 1.0)


def test_faults_start_off_and_belong_to_one_thermocouple() -> None:
    one, other = ThermocoupleModel(1), ThermocoupleModel(1)
    assert not any(getattr(one, name) for name in SETTINGS)
    one.jump_C = 3.0
    assert other.jump_C == 0.0


@pytest.mark.parametrize("wrong", [{"tau_s": -1.0}, {"sigma_C": -0.1}, {"sigma_C": math.nan}, {"open_check_every": 0}])
def test_senseless_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="thermocouple"):
        ThermocoupleModel(1, **wrong)  # type: ignore[arg-type]


# --- speed -------------------------------------------------------------------------------------


@pytest.mark.bench
def test_a_conversion_is_cheap() -> None:
    """Four converters at 10 Hz and 200 × real time leave 125 µs each; one per cent of that is enough."""
    model = ThermocoupleModel(1)
    best_ns = math.inf
    for _ in range(10):
        before = time.perf_counter_ns()
        for _ in range(5000):
            model.update(60.0, PERIOD_S, 1.0)
        best_ns = min(best_ns, (time.perf_counter_ns() - before) / 5000)
    assert best_ns < 2500
