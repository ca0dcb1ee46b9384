"""The RF stage's drive laws, limits and faults, and the converter's counts."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfprobe.sim.rf_stage import (
    WIDE_CODES,
    AdcModel,
    DriveLaw,
    RfStageModel,
    pwm_levels,
    quantised_duty,
    rp2040_adc_table,
)


def stage(law: DriveLaw = "envelope", duty_u16: int = 32768, **options: float) -> RfStageModel:
    made = RfStageModel(law, **{"max_V": 100.0, "max_I": 2.0, **options})  # type: ignore[arg-type]
    made.enable = True
    made.set_duty(duty_u16)
    return made


# --- drive PWM ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pwm_Hz", "levels"), [(480_000, 260), (100_000, 1250), (20_000, 6250), (2_000, 62_500), (1_000_000, 125)]
)
def test_levels_without_a_divider(pwm_Hz: int, levels: int) -> None:
    assert pwm_levels(pwm_Hz) == levels


@given(pwm_Hz=st.integers(10, 1_000_000))
def test_levels_make_the_frequency_and_fit_the_counter(pwm_Hz: int) -> None:
    """With the divider in sixteenths the frequency is met, and the counter is used as far as it goes."""
    levels = pwm_levels(pwm_Hz)
    assert 1 <= levels <= 65_535
    divider_16ths = max(16, round(16 * 125e6 / (levels * pwm_Hz)))
    assert 16 * 125e6 / divider_16ths / levels == pytest.approx(pwm_Hz, rel=0.5 / levels + 1e-4)
    if pwm_Hz < 1900:
        assert levels > 57_000  # a step of the divider is a sixteenth at most


@given(duty_u16=st.integers(0, 65_535), pwm_Hz=st.sampled_from([480_000, 100_000, 20_000, 1_000, 50]))
def test_duty_is_quantised_to_the_nearest_level(duty_u16: int, pwm_Hz: int) -> None:
    levels = pwm_levels(pwm_Hz)
    on_time = quantised_duty(duty_u16, levels)
    assert abs(on_time - duty_u16 / 65_535) <= 0.5 / levels + 1e-9
    assert abs(on_time * levels - round(on_time * levels)) < 1e-6


def test_ends_of_the_duty_are_exact() -> None:
    for pwm_Hz in (480_000, 20_000, 50):
        levels = pwm_levels(pwm_Hz)
        assert (quantised_duty(0, levels), quantised_duty(65_535, levels)) == (0.0, 1.0)


def test_a_fast_drive_pwm_has_few_outputs() -> None:
    made = stage(pwm_Hz=480_000)
    seen: set[float] = set()
    for duty_u16 in range(0, 65_536, 16):
        made.set_duty(duty_u16)
        seen.add(made.output(100.0)[0])
    assert len(seen) == 261


# --- drive laws --------------------------------------------------------------------------------


@given(duty_u16=st.integers(0, 65_535), ohm=st.floats(60.0, 2000.0))
def test_envelope_voltage_is_proportional_to_the_duty(duty_u16: int, ohm: float) -> None:
    volts, amperes = stage(duty_u16=duty_u16).output(ohm)
    assert volts == pytest.approx(100.0 * quantised_duty(duty_u16, 6250))
    assert amperes == pytest.approx(volts / ohm)


@given(duty_u16=st.integers(0, 65_535))
def test_bridge_power_is_sine_squared(duty_u16: int) -> None:
    volts, amperes = stage("sin2", duty_u16).output(100.0)
    on_time = quantised_duty(duty_u16, 6250)
    assert volts * amperes == pytest.approx(100.0 * math.sin(math.pi * on_time) ** 2, abs=1e-9)


def test_bridge_is_greatest_at_half_and_silent_at_both_ends() -> None:
    made = stage("sin2", 0)
    outputs: list[float] = []
    for duty_u16 in (0, 16_384, 32_768, 49_151, 65_535):
        made.set_duty(duty_u16)
        outputs.append(made.output(100.0)[0])
    assert outputs[0] == outputs[4] == 0.0
    assert outputs[2] == pytest.approx(100.0, rel=1e-6)
    assert outputs[1] == pytest.approx(100.0 / math.sqrt(2.0), rel=1e-3) == outputs[3]


def test_supply_follows_with_its_time_constant() -> None:
    made = stage("supply", 65_535, supply_tau_s=0.2)
    assert made.output(100.0, 0.0) == (0.0, 0.0)
    assert made.output(100.0, 0.2)[0] == pytest.approx(100.0 * (1 - math.exp(-1)))
    for _ in range(20):
        made.output(100.0, 0.01)
    assert made.output(100.0)[0] == pytest.approx(100.0 * (1 - math.exp(-2)))
    # With the output off the supply stays up, and is there at once when it comes back.
    made.enable = False
    assert made.output(100.0, 10.0) == (0.0, 0.0)
    made.enable = True
    assert made.output(100.0)[0] == pytest.approx(100.0)
    made.set_duty(0)
    assert made.output(100.0, 0.2)[0] == pytest.approx(100.0 * math.exp(-1))


# --- limits ------------------------------------------------------------------------------------


@given(duty_u16=st.integers(0, 65_535), ohm=st.floats(0.0, 1e6), gain=st.floats(0.0, 10.0))
def test_voltage_and_current_keep_their_limits(duty_u16: int, ohm: float, gain: float) -> None:
    made = stage(duty_u16=duty_u16)
    made.gain = gain
    volts, amperes = made.output(ohm)
    assert 0.0 <= volts <= 100.0 and 0.0 <= amperes <= 2.0
    assert volts == pytest.approx(amperes * ohm)


def test_short_and_open_circuit() -> None:
    made = stage(duty_u16=65_535)
    assert made.output(0.0) == (0.0, 2.0)
    assert made.output(10.0) == (20.0, 2.0)
    assert made.output(math.inf) == (100.0, 0.0)
    made.set_duty(0)
    assert made.output(0.0) == (0.0, 0.0)


# --- enable and faults -------------------------------------------------------------------------


@given(
    law=st.sampled_from(["envelope", "supply", "sin2"]),
    duty_u16=st.integers(0, 65_535),
    polarity=st.sampled_from(["active_high", "active_low"]),
    inverted=st.booleans(),
    gain=st.floats(0.0, 5.0),
    ohm=st.floats(0.0, 1e5),
)
def test_disabled_is_exactly_nothing(
    law: DriveLaw, duty_u16: int, polarity: str, inverted: bool, gain: float, ohm: float
) -> None:
    made = RfStageModel(law, max_V=100.0, max_I=2.0, polarity=polarity)  # type: ignore[arg-type]
    made.set_duty(duty_u16)
    made.gain, made.inverted = gain, inverted
    assert made.output(ohm, 1.0) == (0.0, 0.0)


def test_stuck_on_ignores_enable_and_has_a_floor() -> None:
    made = stage(duty_u16=0)
    made.enable = False
    made.stuck_on = True
    assert made.output(100.0) == (25.0, 0.25)
    made.stuck_drive = 0.0
    assert made.output(100.0) == (0.0, 0.0)
    made.set_duty(65_535)
    assert made.output(100.0)[0] == 100.0
    made.stuck_on = False
    assert made.output(100.0) == (0.0, 0.0)


def test_stuck_off_and_weak_and_inverted() -> None:
    made = stage(duty_u16=65_535)
    made.stuck_off = True
    assert made.output(100.0) == (0.0, 0.0)
    made.stuck_off, made.gain = False, 0.3
    assert made.output(100.0)[0] == pytest.approx(30.0)
    made.gain, made.inverted = 1.0, True
    assert made.output(100.0) == (0.0, 0.0)
    made.set_duty(0)
    assert made.output(100.0)[0] == 100.0


def test_active_low_drive_is_off_when_high() -> None:
    made = RfStageModel(max_V=100.0, max_I=2.0, polarity="active_low")
    made.enable = True
    made.set_duty(65_535)
    assert made.output(100.0) == (0.0, 0.0)
    made.set_duty(0)
    assert made.output(100.0)[0] == 100.0
    made.inverted = True
    assert made.output(100.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: RfStageModel("square", max_V=1.0, max_I=1.0), "drive law"),  # type: ignore[arg-type]
        (lambda: RfStageModel(max_V=1.0, max_I=1.0, polarity="up"), "polarity"),  # type: ignore[arg-type]
        (lambda: RfStageModel(max_V=0.0, max_I=1.0), "max_V"),
        (lambda: RfStageModel(max_V=1.0, max_I=math.nan), "max_I"),
        (lambda: RfStageModel(max_V=1.0, max_I=1.0, pwm_Hz=5), "too slow"),
        (lambda: RfStageModel(max_V=1.0, max_I=1.0, pwm_Hz=100_000_000), "drive PWM"),
        (lambda: stage(duty_u16=65_536), "duty"),
        (lambda: stage(duty_u16=-1), "duty"),
        (lambda: stage().output(-1.0), "impedance"),
        (lambda: stage().output(math.nan), "impedance"),
        (lambda: AdcModel(0.0, seed=1), "full scale"),
        (lambda: AdcModel(1.0, seed=1, noise_LSB=-1.0), "noise"),
    ],
)
def test_senseless_values_are_refused(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        build()
    assert "\n" not in str(refusal.value)


# --- ADC ---------------------------------------------------------------------------------------


def codes_of(adc: AdcModel, values: np.ndarray) -> np.ndarray:
    """12-bit codes behind the 16-bit counts."""
    return np.array([adc.read_u16(value) >> 4 for value in values.tolist()])


def test_counts_are_twelve_bits_spread_over_sixteen() -> None:
    ideal = AdcModel(4095.0, seed=0, noise_LSB=0.0, wide_LSB=0.0)
    for code in range(4096):
        assert ideal.read_u16(float(code)) == code << 4 | code >> 8
    assert ideal.read_u16(-5.0) == 0
    assert ideal.read_u16(1e9) == 65_535
    assert ideal.read_u16(4095.0) == 65_535


def test_full_scale_maps_to_full_counts_on_both_channels() -> None:
    for full_scale in (250.0, 2.5):
        adc = AdcModel(full_scale, seed=3, noise_LSB=0.0)
        assert adc.read_u16(full_scale) == 65_535
        assert adc.read_u16(full_scale / 2) == pytest.approx(32_768, abs=10 * 16)


def test_effective_bits_by_sine_fit() -> None:
    """What a fitted sine over the full range leaves over gives the effective bits: 8.8."""
    adc = AdcModel(4095.0, seed=11)
    phase = 2 * math.pi * np.arange(60_000) * 0.0123456789
    codes = codes_of(adc, 2047.5 + 2040.0 * np.sin(phase))
    basis = np.column_stack((np.sin(phase), np.cos(phase), np.ones_like(phase)))
    fitted, *_ = np.linalg.lstsq(basis, codes, rcond=None)
    residual_LSB = float(np.std(codes - basis @ fitted))
    assert 8.6 < 12.0 - math.log2(residual_LSB * math.sqrt(12.0)) < 8.95


def test_the_four_wide_codes_and_the_sawtooth() -> None:
    adc = AdcModel(4095.0, seed=0, noise_LSB=0.0)
    ramp = np.arange(0.0, 4095.0, 1.0 / 16.0)
    codes = codes_of(adc, ramp)
    assert (np.diff(codes) >= 0).all()
    widths = np.bincount(codes, minlength=4096) / 16.0
    assert sorted(np.argsort(widths)[-4:].tolist()) == sorted(WIDE_CODES)
    assert widths[list(WIDE_CODES)] == pytest.approx(8.84, abs=0.2)
    assert np.delete(widths[1:4094], [code - 1 for code in WIDE_CODES]) == pytest.approx(0.992, abs=0.2)
    error = codes - ramp
    assert np.ptp(np.convolve(error, np.ones(64) / 64, "valid")) == pytest.approx(7.85, abs=0.8)


def test_noise_has_its_size_and_comes_from_the_seed() -> None:
    def sample(seed: int, channel: int, **options: int) -> list[int]:
        adc = AdcModel(4095.0, seed, channel, wide_LSB=0.0, **options)
        return [adc.read_u16(1000.0) >> 4 for _ in range(5000)]

    first = sample(1, 0)
    assert np.std(first) == pytest.approx(math.hypot(1.36, 1 / math.sqrt(12)), rel=0.05)
    assert np.mean(first) == pytest.approx(1000.0, abs=0.1)
    assert first == sample(1, 0) == sample(1, 0, block=7)
    for other in (sample(2, 0), sample(1, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.06


def test_adc_faults_and_recovery() -> None:
    faulty, twin = AdcModel(100.0, seed=5), AdcModel(100.0, seed=5)
    faulty.stuck_u16 = 12_345
    assert {faulty.read_u16(value) for value in (0.0, 50.0, 100.0)} == {12_345}
    for value in (0.0, 50.0, 100.0):
        twin.read_u16(value)
    faulty.stuck_u16 = None
    faulty.offset = 10.0
    assert [faulty.read_u16(40.0) for _ in range(50)] == [twin.read_u16(50.0) for _ in range(50)]
    faulty.offset = 0.0
    assert [faulty.read_u16(40.0) for _ in range(50)] == [twin.read_u16(40.0) for _ in range(50)]


def test_the_table_is_built_once() -> None:
    assert rp2040_adc_table(7.85) is rp2040_adc_table(7.85)


# --- speed -------------------------------------------------------------------------------------


def cost_us(call: Callable[[], object]) -> float:
    """Best of several runs: what the work costs when nothing else disturbs it."""
    best_ns = math.inf
    for _ in range(10):
        before = time.perf_counter_ns()
        for _ in range(5000):
            call()
        best_ns = min(best_ns, (time.perf_counter_ns() - before) / 5000)
    return best_ns / 1000.0


@pytest.mark.bench
def test_reading_and_driving_are_cheap() -> None:
    """At 200 × real time a tick of 10 ms, with two reads and one output, has 50 µs for everything."""
    adc, made = AdcModel(100.0, seed=1), stage()
    assert cost_us(lambda: adc.read_u16(40.0)) < 1.5
    assert cost_us(lambda: made.output(100.0, 0.01)) < 3.0
