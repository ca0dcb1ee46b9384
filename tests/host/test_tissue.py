"""The tissue model against analytic fields, its own energy balance and its presets' rules."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expi, expn

from rfprobe.sim.cem43 import Cem43, cem43_rate
from rfprobe.sim.tissue import (
    BLOOD_RHO_C_J_m3K,
    SphereTissue,
    TissueLayer,
    TissuePreset,
    builtin_presets,
    equal_impedance_radius_mm,
    load_presets,
    load_tissue,
)

FOREVER_S = 1e9
"""A step this long is the steady state: backward Euler has no limit of stability."""


def layer(
    outer_radius_mm: float = 60.0,
    k_W_mK: float = 0.5,
    sigma_S_m: float = 0.33,
    perfusion_per_s: float = 0.0,
    rho_kg_m3: float = 1060.0,
    c_J_kgK: float = 3617.0,
) -> TissueLayer:
    return TissueLayer(
        outer_radius_mm=outer_radius_mm,
        k_W_mK=k_W_mK,
        rho_kg_m3=rho_kg_m3,
        c_J_kgK=c_J_kgK,
        sigma_S_m=sigma_S_m,
        perfusion_per_s=perfusion_per_s,
    )


def preset(
    *layers: TissueLayer, start_C: float = 37.0, blood_C: float = 37.0, sigma_per_C: float = 0.0
) -> TissuePreset:
    return TissuePreset(
        name="test",
        source="made for the test",
        layers=layers or (layer(),),
        start_C=start_C,
        blood_C=blood_C,
        sigma_per_C=sigma_per_C,
    )


def settle(tissue: SphereTissue, power_W: float) -> None:
    for _ in range(3):
        tissue.step(power_W)


# --- steady state ------------------------------------------------------------------------------

# Reference case: a = 1.5 mm, k = 0.5 W/mK, sigma = 0.33 S/m, 12 V to infinity, blood and start at 37 °C.
# The figures are closed forms, checked with a boundary-value solver; by perfusion, 1/s, and radius.
REFERENCE_RADII_MM = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0)
REFERENCE_C = {
    0.0: (84.520, 81.550, 72.640, 65.957, 61.235, 55.184, 50.187, 46.029),
    6.4e-3: (65.379, 62.551, 54.413, 48.751, 45.102, 41.085, 38.619, 37.407),
}
REFERENCE_POWER_W = 4.0 * math.pi * 0.33 * 1.5e-3 * 12.0**2


def reference_errors_C(perfusion_per_s: float, shells: int) -> np.ndarray:
    tissue = SphereTissue(
        preset(layer(perfusion_per_s=perfusion_per_s)), 1.5, REFERENCE_RADII_MM, FOREVER_S, shells=shells
    )
    settle(tissue, REFERENCE_POWER_W)
    return np.array(tissue.sensor_C) - REFERENCE_C[perfusion_per_s]


@pytest.mark.parametrize("perfusion_per_s", REFERENCE_C)
@pytest.mark.parametrize("place", range(len(REFERENCE_RADII_MM)), ids=[f"{r}mm" for r in REFERENCE_RADII_MM])
def test_reference_case_to_a_twentieth_of_a_degree(perfusion_per_s: float, place: int) -> None:
    assert abs(reference_errors_C(perfusion_per_s, shells=60)[place]) <= 0.05


@pytest.mark.parametrize("perfusion_per_s", REFERENCE_C)
def test_refining_the_grid_converges_in_second_order(perfusion_per_s: float) -> None:
    worst = [float(np.abs(reference_errors_C(perfusion_per_s, shells)).max()) for shells in (15, 60, 240)]
    assert worst[1] < worst[0] / 4.0
    assert worst[2] < worst[1] / 8.0
    assert worst[2] <= 0.0025  # the table is rounded to 0.0005


def test_reference_impedance_and_power() -> None:
    tissue = SphereTissue(preset(), 1.5, [1.5], 0.02)
    assert tissue.impedance_ohm == pytest.approx(160.76, abs=0.005)
    assert pytest.approx(0.8957, abs=5e-5) == REFERENCE_POWER_W


@pytest.mark.parametrize("shells", [8, 20, 60])
def test_unperfused_surface_is_exact_on_any_grid(shells: int) -> None:
    tissue = SphereTissue(preset(), 1.5, [1.5], FOREVER_S, shells=shells)
    settle(tissue, 1.0)
    assert tissue.sensor_C[0] - 37.0 == pytest.approx(1.0 / (8.0 * math.pi * 0.5 * 1.5e-3), rel=1e-6)


def perfused_rise_C(radius_m: float, a: float, k: float, sigma: float, w_b: float, volts: float) -> float:
    """Steady rise around an insulated electrode in perfused tissue, in closed form with Ei and E3."""
    w = BLOOD_RHO_C_J_m3K * w_b
    m = math.sqrt(w / k)
    source = sigma * volts**2 * a**2 / k

    def f(s: float) -> float:
        grown = math.exp(m * s)
        return -grown / (2 * s**2) - m * grown / (2 * s) + m**2 / 2 * float(expi(m * s))

    def particular(r: float) -> float:
        inner = math.exp(-m * r) * (f(r) - f(a))
        outer = math.exp(m * r) * float(expn(3, m * r)) / r**2
        return source / (2 * m) * (inner + outer)

    step = a * 1e-5
    slope = (-1.5 * particular(a) + 2 * particular(a + step) - 0.5 * particular(a + 2 * step)) / step
    amplitude = (slope - particular(a) / a) / (math.exp(-m * a) * (m + 1 / a))
    return (amplitude * math.exp(-m * radius_m) + particular(radius_m)) / radius_m


@pytest.mark.parametrize(
    ("a_mm", "k", "sigma", "w_b", "volts"),
    [
        (1.5, 0.5, 0.33, 6.4e-3, 12.0),
        (1.9, 0.57, 0.40, 5.88e-3, 14.0),
        (2.5, 0.31, 0.0866, 1e-3, 20.0),
        (1.0, 0.6, 1.0, 0.02, 8.0),
    ],
)
def test_perfused_field_of_other_tissues(a_mm: float, k: float, sigma: float, w_b: float, volts: float) -> None:
    radii_mm = [a_mm * factor for factor in (1.0, 1.3, 2.0, 3.0, 5.0, 8.0)]
    one = preset(layer(k_W_mK=k, sigma_S_m=sigma, perfusion_per_s=w_b))
    tissue = SphereTissue(one, a_mm, radii_mm, FOREVER_S)
    settle(tissue, 4.0 * math.pi * sigma * a_mm * 1e-3 * volts**2)
    for radius_mm, shown_C in zip(radii_mm, tissue.sensor_C, strict=True):
        expected = perfused_rise_C(radius_mm * 1e-3, a_mm * 1e-3, k, sigma, w_b, volts)
        assert shown_C - 37.0 == pytest.approx(expected, rel=2e-3, abs=0.05)


def test_two_layers_against_quadrature() -> None:
    """The boundary, where k and sigma jump, lies inside a cell; the reference integrates piece by piece."""
    a, boundary = 1.9e-3, 11.0e-3
    inner, outer = layer(11.0, 0.57, 0.40), layer(60.0, 0.31, 0.0866)
    radii_mm = [1.9, 4.0, 10.0, 12.0, 30.0]
    tissue = SphereTissue(preset(inner, outer), 1.9, radii_mm, FOREVER_S, shells=60)
    power_W = 1.5

    def ohm_within(radius: float) -> float:
        first = (1 / a - 1 / min(radius, boundary)) / 0.40
        second = (1 / boundary - 1 / radius) / 0.0866 if radius > boundary else 0.0
        return (first + second) / (4 * math.pi)

    total_ohm = ohm_within(1e9)
    assert tissue.impedance_ohm == pytest.approx(total_ohm, rel=1e-9)
    settle(tissue, power_W)

    def slope(inverse: float) -> float:
        """dT over d(1/r): heat made inside r, divided by 4πk."""
        radius = 1 / inverse
        k = 0.57 if radius <= boundary else 0.31
        return power_W * ohm_within(radius) / total_ohm / (4 * math.pi * k)

    for radius_mm, shown_C in zip(radii_mm, tissue.sensor_C, strict=True):
        expected = quad(slope, 1e-9, 1e3 / radius_mm, points=[1 / boundary], limit=200)[0]
        assert shown_C - 37.0 == pytest.approx(expected, abs=0.1)


# --- electricity -------------------------------------------------------------------------------


@pytest.mark.parametrize("a_mm", [0.5, 1.5, 4.0])
@pytest.mark.parametrize("start_C", [20.0, 37.0, 57.0])
def test_impedance_of_a_uniform_medium(a_mm: float, start_C: float) -> None:
    tissue = SphereTissue(preset(start_C=start_C, sigma_per_C=0.018), a_mm, [], 0.02)
    sigma = 0.33 * 1.018 ** (start_C - 37.0)
    assert tissue.impedance_ohm == pytest.approx(1.0 / (4 * math.pi * sigma * a_mm * 1e-3), rel=1e-9)


def test_impedance_falls_while_heating_and_sigma_scale_divides_it() -> None:
    tissue = SphereTissue(preset(sigma_per_C=0.018), 1.5, [1.5], 0.05)
    cold = tissue.impedance_ohm
    for _ in range(400):
        tissue.step(1.0)
    warm = tissue.impedance_ohm
    assert 0.5 * cold < warm < 0.9 * cold
    tissue.set_sigma_scale(2.0)
    assert tissue.impedance_ohm == pytest.approx(warm / 2.0, rel=1e-12)
    tissue.step(0.0)
    assert warm / 2.0 < tissue.impedance_ohm < 0.6 * warm
    tissue.reset()
    assert tissue.impedance_ohm == pytest.approx(cold / 2.0, rel=1e-12)


def test_needle_and_sphere_of_equal_impedance() -> None:
    assert equal_impedance_radius_mm(3.0, 3.0) == 1.5
    # A long thin spheroid: c / ln(2c/b), here 5 / ln(20) against the exact form.
    assert equal_impedance_radius_mm(10.0, 1.0) == pytest.approx(5.0 / math.log(20.0), rel=0.005)
    with pytest.raises(ValueError, match="longer than thick"):
        equal_impedance_radius_mm(1.0, 2.0)


# --- time --------------------------------------------------------------------------------------


def test_heating_begins_at_the_density_of_the_current() -> None:
    """Before heat spreads, the surface warms by q/(ρc) with q = I²/(16π²a⁴σ)."""
    tissue = SphereTissue(preset(), 1.5, [1.5], 1e-5, shells=400, core_rho_c_J_m3K=0.0)
    power_W = 2.0
    current_A = math.sqrt(power_W / tissue.impedance_ohm)
    density_W_m3 = current_A**2 / (16 * math.pi**2 * 1.5e-3**4 * 0.33)
    tissue.step(power_W)
    rate_C_per_s = (tissue.sensor_C[0] - 37.0) / 1e-5
    assert rate_C_per_s == pytest.approx(density_W_m3 / (1060.0 * 3617.0), rel=0.02)


def test_metal_core_slows_the_start_and_leaves_the_end() -> None:
    plain = SphereTissue(preset(), 1.5, [1.5], 0.02, core_rho_c_J_m3K=0.0)
    metal = SphereTissue(preset(), 1.5, [1.5], 0.02)
    for _ in range(25):
        plain.step(2.0)
        metal.step(2.0)
    assert plain.sensor_C[0] - metal.sensor_C[0] > 1.0
    steady = [SphereTissue(preset(), 1.5, [1.5], FOREVER_S, core_rho_c_J_m3K=c) for c in (0.0, 3.95e6)]
    for tissue in steady:
        settle(tissue, 1.0)
    assert steady[0].sensor_C[0] == pytest.approx(steady[1].sensor_C[0], abs=1e-6)


def test_time_step_is_of_first_order() -> None:
    def tip_after_ten_seconds(step_s: float) -> float:
        tissue = SphereTissue(builtin_presets()["vertebra"], 1.9, [1.9], step_s)
        for _ in range(round(10.0 / step_s)):
            tissue.step(1.5)
        return tissue.sensor_C[0]

    fine = tip_after_ten_seconds(0.0025)
    coarse, middle = (abs(tip_after_ten_seconds(step_s) - fine) for step_s in (0.08, 0.02))
    assert middle < 0.05
    assert 3.0 < coarse / middle < 5.5


@pytest.mark.parametrize("name", sorted(builtin_presets()))
def test_energy_is_conserved(name: str) -> None:
    """What went in is stored, in the blood, or through the wall; perfusion and sigma change on the way."""
    tissue = SphereTissue(builtin_presets()[name], 1.9, [1.9], 0.05)
    lost_J = 0.0
    for count in range(4000):
        if count == 2000:
            tissue.set_perfusion_scale(0.3)
            tissue.set_sigma_scale(0.7)
        tissue.step(2.0 if count % 1000 < 700 else 0.0)
        lost_J += sum(tissue.heat_flows()) * 0.05
    assert tissue.vented_J == 0.0
    assert 0.95 * 280.0 < tissue.absorbed_J < 280.0
    assert tissue.stored_J() + lost_J == pytest.approx(tissue.absorbed_J, rel=1e-9)
    if name != "phantom":
        assert lost_J > 10.0


def test_cooling_returns_to_the_start() -> None:
    tissue = SphereTissue(builtin_presets()["liver"], 1.9, [1.9, 10.0], 0.05)
    for _ in range(600):
        tissue.step(2.0)
    assert tissue.peak_C > 50.0
    for _ in range(40_000):
        tissue.step(0.0)
    assert tissue.sensor_C == pytest.approx([37.0, 37.0], abs=0.05)


def test_perfusion_can_be_stopped_and_raised_in_mid_run() -> None:
    tissue = SphereTissue(builtin_presets()["liver"], 1.9, [1.9], 0.5)

    def tip_after(scale: float) -> float:
        tissue.set_perfusion_scale(scale)
        for _ in range(2000):
            tissue.step(1.0)
        return tissue.sensor_C[0]

    usual, none, strong = tip_after(1.0), tip_after(0.0), tip_after(5.0)
    assert none > usual + 3.0
    assert strong < usual - 3.0
    assert tip_after(1.0) == pytest.approx(usual, abs=0.3)


# --- bounds ------------------------------------------------------------------------------------

temperatures_C = st.floats(15.0, 45.0)
powers_W = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 60.0)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    start_C=temperatures_C,
    blood_C=temperatures_C,
    powers=powers_W,
    step_s=st.sampled_from([0.01, 0.05, 1.0, 20.0]),
)
def test_temperature_stays_between_the_coldest_and_boiling(
    start_C: float, blood_C: float, powers: list[float], step_s: float
) -> None:
    layers = layer(8.0, 0.57, 0.4, 6e-3), layer(60.0, 0.31, 0.0866, 1e-3)
    tissue = SphereTissue(
        preset(*layers, start_C=start_C, blood_C=blood_C, sigma_per_C=0.018), 1.9, [1.9, 5.0, 60.0], step_s
    )
    floor_C = min(start_C, blood_C) - 1e-9
    for power_W in powers:
        tissue.step(power_W)
        _, field_C = tissue.profile()
        assert floor_C <= field_C.min() and field_C.max() <= 101.0 + 1e-9
        assert floor_C <= min(tissue.sensor_C) and max(tissue.sensor_C) <= tissue.peak_C + 1e-9
        assert tissue.peak_C == field_C.max()
        assert 0.0 < tissue.impedance_ohm < math.inf


@settings(max_examples=40, deadline=None)
@given(power_W=st.floats(0.0, 3.0), more_W=st.floats(0.01, 3.0), steps=st.integers(1, 300))
def test_more_power_is_hotter_everywhere(power_W: float, more_W: float, steps: int) -> None:
    fields: list[np.ndarray] = []
    for power in (power_W, power_W + more_W):
        tissue = SphereTissue(builtin_presets()["vertebra"], 1.9, [], 0.05)
        for _ in range(steps):
            tissue.step(power)
        fields.append(tissue.profile()[1])
    assert (fields[1] >= fields[0] - 1e-9).all()
    assert fields[1][0] > fields[0][0]


# --- boiling -----------------------------------------------------------------------------------


def test_boiling_raises_the_impedance_and_pins_the_temperature() -> None:
    tissue = SphereTissue(builtin_presets()["phantom"], 1.9, [1.9, 3.0], 0.02)
    cold_ohm = tissue.impedance_ohm
    lowest_ohm, boiling_from_s, doubled_at_s = cold_ohm, None, None
    for count in range(1, 3000):
        tissue.step(12.0)
        assert tissue.peak_C <= 101.0
        lowest_ohm = min(lowest_ohm, tissue.impedance_ohm)
        if boiling_from_s is None and tissue.peak_C >= 100.0:
            boiling_from_s = count * 0.02
        if doubled_at_s is None and tissue.impedance_ohm >= 2.0 * lowest_ohm:
            doubled_at_s = count * 0.02
    assert lowest_ohm < 0.7 * cold_ohm
    assert tissue.impedance_ohm >= 2.0 * cold_ohm
    assert tissue.sensor_C[0] >= 100.0
    assert boiling_from_s is not None and doubled_at_s is not None
    assert doubled_at_s > boiling_from_s + 1.0  # the water has to go first: Z is a late sign


def test_steam_condenses_when_the_power_stops() -> None:
    tissue = SphereTissue(builtin_presets()["phantom"], 1.9, [1.9], 0.02)
    for _ in range(1000):
        tissue.step(20.0)
    high_ohm = tissue.impedance_ohm
    for _ in range(10_000):
        tissue.step(0.0)
    assert tissue.peak_C < 100.0
    assert tissue.impedance_ohm < 0.5 * high_ohm
    fresh = SphereTissue(builtin_presets()["phantom"], 1.9, [1.9], 0.02)
    assert tissue.impedance_ohm < fresh.impedance_ohm


def test_energy_is_conserved_while_boiling() -> None:
    """Steam is counted as stored, what leaves as vented; no blood here, so that the losses stay exact."""
    tissue = SphereTissue(builtin_presets()["phantom"], 1.9, [1.9], 0.02)
    lost_J = 0.0
    for count in range(4000):
        tissue.step(12.0 if count < 2500 else 0.0)
        lost_J += tissue.heat_flows().through_wall_W * 0.02
    assert tissue.vented_J > 1.0
    assert tissue.stored_J() + lost_J + tissue.vented_J == pytest.approx(tissue.absorbed_J, rel=1e-9)


def test_below_boiling_a_warm_field_has_no_steam() -> None:
    tissue = SphereTissue(preset(), 1.5, [1.5], FOREVER_S)
    settle(tissue, 8.0 * math.pi * 0.5 * 1.5e-3 * 62.9)
    assert tissue.peak_C == pytest.approx(99.9, abs=0.01)
    assert tissue.vented_J == 0.0


# --- sensors -----------------------------------------------------------------------------------


def test_sensors_read_the_surface_and_can_be_displaced() -> None:
    tissue = SphereTissue(builtin_presets()["vertebra"], 1.9, [1.9, 5.0], 0.05)
    for _ in range(400):
        tissue.step(2.0)
    radii_mm, field_C = tissue.profile()
    assert tissue.sensor_C[0] == field_C[0]
    assert np.interp(-5.0, -radii_mm[::-1], field_C[::-1]) == pytest.approx(tissue.sensor_C[1], abs=0.1)
    assert all(type(value) is float for value in tissue.sensor_C)
    near_C = tissue.sensor_C[1]
    tissue.set_sensor_radius_mm(1, 9.0)
    assert tissue.sensor_radii_mm == (1.9, 9.0)
    assert tissue.sensor_C[1] < near_C - 2.0
    for index, radius_mm in enumerate(radii_mm):
        tissue.set_sensor_radius_mm(1, float(np.clip(radius_mm, 1.9, 60.0)))
        assert tissue.sensor_C[1] == pytest.approx(field_C[index], abs=1e-9)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SphereTissue(preset(), 0.05, [], 0.02), "electrode radius"),
        (lambda: SphereTissue(preset(), 30.0, [], 0.02), "electrode radius"),
        (lambda: SphereTissue(preset(), 1.5, [], 0.0), "time step"),
        (lambda: SphereTissue(preset(), 1.5, [], math.nan), "time step"),
        (lambda: SphereTissue(preset(layer(40.0)), 1.5, [], 0.02), "layers end at 40 mm"),
        (lambda: SphereTissue(preset(), 1.5, [], 0.02, shells=3), "shells"),
        (lambda: SphereTissue(preset(), 1.5, [1.4], 0.02), "sensor at 1.4 mm"),
        (lambda: SphereTissue(preset(), 1.5, [61.0], 0.02), "sensor at 61.0 mm"),
        (lambda: SphereTissue(preset(), 1.5, [], 0.02).step(-1.0), "power"),
        (lambda: SphereTissue(preset(), 1.5, [], 0.02).step(math.nan), "power"),
        (lambda: SphereTissue(preset(), 1.5, [], 0.02).set_sigma_scale(0.0), "conductivity scale"),
        (lambda: SphereTissue(preset(), 1.5, [], 0.02).set_perfusion_scale(-1.0), "perfusion scale"),
    ],
)
def test_senseless_geometry_is_refused(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        build()
    assert "\n" not in str(refusal.value)


GOOD_FILE = """
[mine]
source = "measured on the bench"
start_C = 22
blood_C = 37.0
sigma_per_C = 0.02

[[mine.layers]]
outer_radius_mm = 10
rho_kg_m3 = 1050
c_J_kgK = 3600
k_W_mK = 0.5
sigma_S_m = 0.4
perfusion_per_s = 0

[[mine.layers]]
outer_radius_mm = 80
rho_kg_m3 = 1180
c_J_kgK = 2300
k_W_mK = 0.3
sigma_S_m = 0.1
perfusion_per_s = 1e-3
"""


@pytest.fixture
def tissue_file(tmp_path: Path) -> Path:
    path = tmp_path / "tissue.toml"
    path.write_text(GOOD_FILE, encoding="utf-8")
    return path


def test_a_users_file_loads(tissue_file: Path) -> None:
    mine = load_tissue(str(tissue_file))
    assert (mine.name, mine.start_C, len(mine.layers)) == ("mine", 22.0, 2)
    assert load_tissue(f"{tissue_file}:mine") == mine
    assert SphereTissue(mine, 1.5, [2.0], 0.02, 70.0).sensor_C == [pytest.approx(22.0)]


@pytest.mark.parametrize(
    ("find", "replace", "words"),
    [
        ("sigma_per_C = 0.02", "sigma_per_C = 0.02\nconductance = 3", "mine.conductance"),
        ("start_C = 22", "start_C = 220", "mine.start_C"),
        ("start_C = 22", "start_C = true", "mine.start_C"),
        ("start_C = 22", 'start_C = "22"', "mine.start_C"),
        ("start_C = 22", "start_C = nan", "mine.start_C"),
        ("start_C = 22", 'name = "yours"', "mine.name"),
        ("start_C = 22\n", "", "mine.start_C"),
        ("k_W_mK = 0.3", "k_W_mK = 300.0", r"mine.layers\[1\].k_W_mK"),
        ("sigma_S_m = 0.4", "sigma_mS_m = 0.4", r"mine.layers\[0\].sigma"),
        ("sigma_S_m = 0.4", "sigma_S_m = 0.0", r"mine.layers\[0\].sigma_S_m"),
        ("perfusion_per_s = 1e-3", "perfusion_per_s = -1e-3", r"mine.layers\[1\].perfusion_per_s"),
        ("outer_radius_mm = 80", "outer_radius_mm = 8", "outer_radius_mm must grow"),
        ("[mine]", "stray = 1\n[mine]", "stray"),
        ("[mine]", "[mine", "tissue.toml: "),
        (GOOD_FILE, "", "holds no tissue"),
        (GOOD_FILE, "mine = 3", "mine"),
    ],
)
def test_a_faulty_file_is_refused_by_file_and_key(tissue_file: Path, find: str, replace: str, words: str) -> None:
    text = tissue_file.read_text(encoding="utf-8")
    assert find in text
    tissue_file.write_text(text.replace(find, replace, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=words) as refusal:
        load_tissue(str(tissue_file))
    assert str(tissue_file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_name_that_is_nothing_is_refused(tissue_file: Path) -> None:
    for wrong in ("granite", "no/such/file.toml", f"{tissue_file}:yours"):
        with pytest.raises(ValueError) as refusal:
            load_tissue(wrong)
        assert "\n" not in str(refusal.value)
    tissue_file.write_text(GOOD_FILE + GOOD_FILE.replace("mine", "other"), encoding="utf-8")
    with pytest.raises(ValueError, match="several tissues"):
        load_tissue(str(tissue_file))
    assert load_tissue(f"{tissue_file}:other").name == "other"
    tissue_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="UTF-8"):
        load_presets(tissue_file)


@pytest.mark.parametrize("name", ["vertebra", "liver", "phantom"])
def test_builtin_presets(name: str) -> None:
    tissue = load_tissue(name)
    assert tissue.start_C == 37.0
    assert len(tissue.source) > 100
    assert (tissue.layers[0].perfusion_per_s == 0.0) == (name == "phantom")
    assert tissue.layers[-1].outer_radius_mm >= 60.0
    if name == "vertebra":
        assert 10.0 <= tissue.layers[0].outer_radius_mm <= 12.0
    # The impedance window of real probes: 20 to 500 ohm for these tissues and needle tips of 5 to 20 mm.
    for tip_mm in (5.0, 20.0):
        ohm = SphereTissue(tissue, equal_impedance_radius_mm(tip_mm, 1.5), [], 0.02).impedance_ohm
        assert 20.0 < ohm < 500.0


def test_digest_and_scaling() -> None:
    liver = load_tissue("liver")
    assert liver.digest() == TissuePreset.model_validate(liver.model_dump()).digest()
    assert len(liver.digest()) == 12 and int(liver.digest(), 16) >= 0
    assert liver.scaled() is liver
    half = liver.scaled(sigma=0.5, k=1.2, perfusion=0.0)
    assert half.digest() != liver.digest()
    assert half.name == "liver sigma*0.5 k*1.2 perfusion*0"
    assert half.layers[0].sigma_S_m == pytest.approx(0.333 / 2)
    assert half.layers[0].k_W_mK == pytest.approx(0.52 * 1.2)
    assert half.layers[0].perfusion_per_s == 0.0
    with pytest.raises(ValueError, match=r"layers\[0\].sigma_S_m"):
        liver.scaled(sigma=1e6)
    with pytest.raises(ValueError):
        liver.start_C = 20.0  # frozen


def test_changing_any_figure_changes_the_digest() -> None:
    base = load_tissue("vertebra")
    seen = {base.digest()}
    fields = base.model_dump()
    for key in ("source", "start_C", "blood_C", "sigma_per_C"):
        changed = {**fields, key: fields[key] + (" " if isinstance(fields[key], str) else 0.001)}
        seen.add(TissuePreset.model_validate(changed).digest())
    for key in TissueLayer.model_fields:
        layers = [{**fields["layers"][0], key: fields["layers"][0][key] * 1.001}, fields["layers"][1]]
        seen.add(TissuePreset.model_validate({**fields, "layers": layers}).digest())
    assert len(seen) == 1 + 4 + 6


# --- dose --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature_C", "minutes", "seconds"),
    [
        (43.0, 240.0, 14_400.0), (45.0, 240.0, 3600.0), (47.0, 240.0, 900.0), (50.0, 240.0, 112.5),
        (52.0, 240.0, 28.125), (55.0, 240.0, 3.515625), (43.0, 2.0, 120.0), (44.0, 2.0, 60.0),
        (45.0, 2.0, 30.0), (46.0, 9.0, 67.5), (48.0, 9.0, 16.875),
    ],
)  # fmt: skip
def test_dose_by_the_table(temperature_C: float, minutes: float, seconds: float) -> None:
    dose = Cem43()
    for _ in range(1000):
        dose.add(temperature_C, seconds / 1000.0)
    assert dose.minutes == pytest.approx(minutes, rel=1e-9)


def test_dose_below_43_and_below_39() -> None:
    assert cem43_rate(42.0) == 0.25
    assert cem43_rate(39.0) == 0.25**4
    assert cem43_rate(38.999) == 0.0
    dose = Cem43()
    dose.add(38.9, 1e6)
    assert dose.minutes == 0.0


# --- speed -------------------------------------------------------------------------------------


@pytest.mark.bench
@pytest.mark.parametrize("power_W", [1.0, 30.0], ids=["warm", "boiling"])
def test_step_leaves_time_for_200_times_real_time(power_W: float) -> None:
    """At 20 ms a step and 200 × real time a step has 100 µs for everything; the tissue may take a third."""
    tissue = SphereTissue(load_tissue("vertebra"), 1.9, [1.9, 5.0, 8.0, 11.0], 0.02)
    costs_ns: list[int] = []
    for _ in range(10_000):
        before = time.perf_counter_ns()
        tissue.step(power_W)
        costs_ns.append(time.perf_counter_ns() - before)
    assert (tissue.peak_C > 100.0) == (power_W > 10.0)
    assert float(np.median(costs_ns)) < 33_000
