"""Tissue around the electrode: heat, conductivity, boiling and impedance in spherical shells.

The model is Pennes' bioheat equation on the radius r ≥ a, a being the radius of the sphere that has the
needle tip's impedance:

    ρc ∂T/∂t = ∇·(k∇T) + ρ_b c_b w_b (T_b − T) + q        q = I² / (16π² r⁴ σ(T))

- **Grid.** Nodes in geometric progression from the electrode's surface to the outer wall. Cell faces lie
  midway between nodes in 1/r and the conductance between nodes is that of the shell, so that the steady
  solution without perfusion, B/r − C/r², is met exactly on any grid; a layer boundary inside a cell is
  integrated over, not moved.
- **Time.** Backward Euler with one prefactored symmetric tridiagonal matrix: stable and free of over- and
  undershoot at any step, of first order (the field lags by half a step). Perfusion and conduction do not
  depend on temperature.
- **Electricity.** The current is the same through every shell, so a shell takes its share R_i/Z of the power,
  and Z = ∫ dr / (4π r² σ(T)) is the sum of the shells' resistances. σ rises by `sigma_per_C` per °C,
  compound.
- **Electrode.** A metal core of uniform temperature (its heat capacity joins the first cell), carrying no
  heat away.
- **Outer wall.** Not a wall but the field's own decay beyond it, exp(−mr)/r: an infinite medium, in the
  steady state.
- **Boiling**, an enthalpy per shell: from 100 °C on, heat turns water to steam while the shell warms by no
  more than 1 °C; σ falls a hundredfold on the way, evenly on a logarithmic scale (both are assumptions; the
  water is estimated from the layer's specific heat). Cooling condenses the steam again. A shell boiled dry
  passes its surplus on as steam that leaves (`vented_J`): without gas transport there is no better answer,
  and by then the impedance has ended the run.

Left out: the loss of perfusion in coagulated tissue, charring, steam moving from shell to shell, and whatever
is not a sphere.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.linalg.blas import daxpy
from scipy.linalg.lapack import dpttrf, dpttrs

BLOOD_RHO_C_J_m3K = 1060.0 * 3617.0
"""Heat capacity of blood per volume, the figure the analytic reference cases use."""
REFERENCE_C = 37.0
"""Temperature at which a preset states its conductivities, °C."""
CORE_RHO_C_J_m3K = 7900.0 * 500.0
"""Heat capacity of the electrode's metal per volume: stainless steel, a rounded handbook value."""
BOIL_C = 100.0
BOIL_RANGE_C = 1.0
"""A shell warms by this much while its water boils off, °C."""
WATER_LATENT_J_kg = 2.257e6
DRY_CONDUCTIVITY_RATIO = 0.01
"""Conductivity of a shell boiled dry, relative to the same shell just before boiling."""
WATER_C_J_kgK = 4180.0
DRY_C_J_kgK = 1500.0
"""Specific heats from which a layer's share of water by mass is taken (mixing rule; an assumption)."""

PRESETS_FILE = Path(__file__).with_name("presets.toml")

Vector = NDArray[np.float64]


class TissueLayer(BaseModel):
    """One concentric layer. Ranges are wide: they catch slips of unit, not unusual tissue."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    outer_radius_mm: float = Field(gt=0.0, le=500.0)
    k_W_mK: float = Field(ge=0.02, le=10.0)
    rho_kg_m3: float = Field(ge=200.0, le=4000.0)
    c_J_kgK: float = Field(ge=400.0, le=6000.0)
    sigma_S_m: float = Field(ge=1e-3, le=20.0)
    perfusion_per_s: float = Field(ge=0.0, le=0.1)


class TissuePreset(BaseModel):
    """A tissue: layers from the electrode outwards, temperatures in °C, and where the figures come from."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=200)
    source: str = Field(min_length=1)
    layers: Annotated[tuple[TissueLayer, ...], Field(min_length=1, max_length=20, strict=False)]
    start_C: float = Field(ge=0.0, le=60.0)
    blood_C: float = Field(ge=0.0, le=60.0)
    sigma_per_C: float = Field(ge=0.0, le=0.05)

    @model_validator(mode="after")
    def _layers_outwards(self) -> "TissuePreset":
        radii = [layer.outer_radius_mm for layer in self.layers]
        if any(inner >= outer for inner, outer in pairwise(radii)):
            raise ValueError("layers: outer_radius_mm must grow from one layer to the next")
        return self

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 over the canonical JSON of every field."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]

    def scaled(self, sigma: float = 1.0, k: float = 1.0, perfusion: float = 1.0) -> "TissuePreset":
        """A variant with every layer's σ, k and perfusion multiplied; its name says by what.

        Raises ValueError if a layer leaves its range.
        """
        factors = {"sigma_S_m": sigma, "k_W_mK": k, "perfusion_per_s": perfusion}
        labels = {"sigma": sigma, "k": k, "perfusion": perfusion}
        changed = [f"{label}*{factor:g}" for label, factor in labels.items() if factor != 1.0]
        if not changed:
            return self
        fields = self.model_dump()
        fields["name"] = f"{self.name} {' '.join(changed)}"
        for layer in fields["layers"]:
            layer.update({key: layer[key] * factor for key, factor in factors.items()})
        return _validated(fields, f"{self.name} scaled by {', '.join(changed)}")


def _validated(fields: dict[str, object], where: str) -> TissuePreset:
    """The preset, or ValueError with one line: where, which key, what is wrong with it."""
    try:
        return TissuePreset.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        given = "" if isinstance(first["input"], (dict, list)) else f" (given: {first['input']!r})"
        raise ValueError(f"{where}{key}: {first['msg']}{given}") from None


def load_presets(path: Path) -> dict[str, TissuePreset]:
    """Every tissue of a TOML file, by name.

    Raises ValueError, one line naming file and key, for what cannot be read, unknown keys, wrong types and
    values out of range.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    strays = [name for name, table in tables.items() if not isinstance(table, dict)]
    if strays:
        raise ValueError(f"{path}: {strays[0]}: a tissue file holds one table per tissue and nothing outside")
    if not tables:
        raise ValueError(f"{path}: holds no tissue")
    named = [name for name, table in tables.items() if "name" in table]
    if named:
        raise ValueError(f"{path}: {named[0]}.name: not a key here, the table's own name is the tissue's")
    return {name: _validated({"name": name, **table}, f"{path}: {name}") for name, table in tables.items()}


@cache
def builtin_presets() -> dict[str, TissuePreset]:
    """The tissues that come with the simulation, by name."""
    return load_presets(PRESETS_FILE)


def load_tissue(name_or_file: str) -> TissuePreset:
    """A built-in tissue by name, or the one in a user's file `FILE.toml`, or one of several as
    `FILE.toml:NAME`.

    Raises ValueError, one line, if there is no such tissue.
    """
    known = builtin_presets()
    if name_or_file in known:
        return known[name_or_file]
    file, marker, name = name_or_file.rpartition(".toml:")
    path = Path(f"{file}.toml") if marker else Path(name_or_file)
    if not marker and path.suffix != ".toml":
        raise ValueError(f"tissue {name_or_file!r}: neither a .toml file nor one of {', '.join(known)}")
    presets = load_presets(path)
    if not marker and len(presets) > 1:
        raise ValueError(f"{path}: holds several tissues ({', '.join(presets)}); choose one as {path}:NAME")
    chosen = name if marker else next(iter(presets))
    if chosen not in presets:
        raise ValueError(f"{path}: holds no tissue {chosen!r}, only {', '.join(presets)}")
    return presets[chosen]


def equal_impedance_radius_mm(tip_length_mm: float, tip_diameter_mm: float) -> float:
    """Radius of the sphere with the impedance of a needle tip; the tip is taken as a prolate spheroid."""
    if not 0.0 < tip_diameter_mm <= tip_length_mm:
        raise ValueError(
            f"tip {tip_length_mm} mm long, {tip_diameter_mm} mm thick: must be longer than thick, and above 0"
        )
    half_length, half_width = tip_length_mm / 2.0, tip_diameter_mm / 2.0
    focus = math.sqrt(half_length**2 - half_width**2)
    if focus < 1e-6 * half_length:
        return half_length
    return focus / math.log((half_length + focus) / half_width)


class HeatFlows(NamedTuple):
    """Where the heat of the last step went, W."""

    into_blood_W: float
    through_wall_W: float


class SphereTissue:
    """Temperature field and impedance of a tissue around a spherical electrode.

    Attributes, renewed by each `step`:
        impedance_ohm: electrode to far away, Ω.
        sensor_C: temperatures at the sensors' radii, °C, in the order given. A new list each step.
        peak_C: highest temperature anywhere, °C.
    Totals since `reset`:
        absorbed_J: heat deposited between electrode and outer wall, J.
        vented_J: heat that left as steam, J.
    """

    def __init__(
        self,
        preset: TissuePreset,
        electrode_radius_mm: float,
        sensor_radii_mm: Sequence[float],
        step_s: float,
        outer_radius_mm: float = 60.0,
        *,
        shells: int = 60,
        core_rho_c_J_m3K: float = CORE_RHO_C_J_m3K,
    ) -> None:
        """Build the grid.

        Args:
            preset: the tissue; its last layer must reach the outer radius.
            electrode_radius_mm: radius a of the equal-impedance sphere, 0.1 to a third of the outer radius.
            sensor_radii_mm: the thermocouples' places, from a (the electrode's surface) to the outer radius.
            step_s: simulated time per `step`, s, above 0.
            outer_radius_mm: end of the simulated region.
            shells: cells, at least 8. 60 holds the perfused steady state to 0.05 °C with a = 1.5 mm.
            core_rho_c_J_m3K: heat capacity of the metal electrode per volume; 0 for none.

        Raises:
            ValueError: one line, for a geometry outside these bounds.
        """
        _check_geometry(preset, electrode_radius_mm, step_s, outer_radius_mm, shells, core_rho_c_J_m3K)
        self.preset = preset
        self.step_s = step_s
        self.electrode_radius_mm = electrode_radius_mm
        self.outer_radius_mm = outer_radius_mm
        self._build_grid(electrode_radius_mm * 1e-3, outer_radius_mm * 1e-3, shells, core_rho_c_J_m3K)
        self._perfusion_scale = 1.0
        self._sigma_scale = 1.0
        self._factor_matrix()
        self._fit_resistances()
        self._sensor_radii_mm = [0.0] * len(sensor_radii_mm)
        self._weights = np.zeros((len(sensor_radii_mm), shells))
        self.reset()
        for sensor, radius_mm in enumerate(sensor_radii_mm):
            self.set_sensor_radius_mm(sensor, radius_mm)

    def _build_grid(self, inner_m: float, outer_m: float, shells: int, core_rho_c_J_m3K: float) -> None:
        layers = self.preset.layers
        nodes_m: Vector = np.geomspace(inner_m, outer_m, shells)
        nodes_m[0], nodes_m[-1] = inner_m, outer_m
        inverse = 1.0 / nodes_m
        faces_m = np.concatenate(([inner_m], 2.0 / (inverse[:-1] + inverse[1:]), [outer_m]))
        edges_m = np.array([0.0, *(layer.outer_radius_mm * 1e-3 for layer in layers[:-1]), np.inf])

        def volume(radius_m: Vector) -> Vector:
            return 4.0 / 3.0 * math.pi * radius_m**3

        def resistance(radius_m: Vector) -> Vector:
            return -1.0 / (4.0 * math.pi * radius_m)

        k = np.array([layer.k_W_mK for layer in layers])
        rho = np.array([layer.rho_kg_m3 for layer in layers])
        c = np.array([layer.c_J_kgK for layer in layers])
        water = np.clip((c - DRY_C_J_kgK) / (WATER_C_J_kgK - DRY_C_J_kgK), 0.05, 1.0)
        perfusion = np.array([layer.perfusion_per_s for layer in layers])
        resistivity = 1.0 / np.array([layer.sigma_S_m for layer in layers])

        self._nodes_m = nodes_m
        self._capacity_J_K = _per_interval(faces_m, edges_m, volume, rho * c)
        self._capacity_J_K[0] += core_rho_c_J_m3K * 4.0 / 3.0 * math.pi * inner_m**3
        self._latent_J = _per_interval(faces_m, edges_m, volume, rho * water * WATER_LATENT_J_kg)
        self._perfused_W_K = _per_interval(faces_m, edges_m, volume, perfusion * BLOOD_RHO_C_J_m3K)
        self._conductance_W_K = 1.0 / _per_interval(nodes_m, edges_m, resistance, 1.0 / k)
        self._shell_ohm = _per_interval(faces_m, edges_m, resistance, resistivity)
        # What lies beyond the wall is part of the impedance. Half of its heat counts as the last cell's: with
        # that the decay condition at the wall is exact for the steady field of the r⁻⁴ source, B/r − C/r².
        beyond_ohm = float(resistivity[-1]) / (4.0 * math.pi * outer_m)
        self._shell_ohm[-1] += 0.5 * beyond_ohm
        self._beyond_ohm = 0.5 * beyond_ohm
        self._rate_W_K = self._capacity_J_K / self.step_s
        # For boiling: whole arrays, because numpy takes a third less time for them than for scalars.
        self._per_capacity_K_J: Vector = 1.0 / self._capacity_J_K
        self._full_J: Vector = self._latent_J + self._capacity_J_K * BOIL_RANGE_C
        self._per_full_J: Vector = 1.0 / self._full_J
        self._boil_C: Vector = np.full(shells, BOIL_C)
        self._boil_range_C: Vector = np.full(shells, BOIL_RANGE_C)
        self._dry_log: Vector = np.full(shells, -math.log(DRY_CONDUCTIVITY_RATIO))
        self._ones: Vector = np.ones(shells)
        self._zeros: Vector = np.zeros(shells)
        self._cells = shells

    def _factor_matrix(self) -> None:
        """Factor the backward-Euler matrix for the present perfusion."""
        outer_m = float(self._nodes_m[-1])
        last = self.preset.layers[-1]
        perfused_W_K = self._perfused_W_K * self._perfusion_scale
        wall_perfusion_per_s = last.perfusion_per_s * self._perfusion_scale
        decay_per_m = math.sqrt(wall_perfusion_per_s * BLOOD_RHO_C_J_m3K / last.k_W_mK)
        self._wall_W_K = 4.0 * math.pi * outer_m**2 * last.k_W_mK * (1.0 / outer_m + decay_per_m)
        self._far_C = self.preset.blood_C if last.perfusion_per_s > 0.0 else self.preset.start_C
        diagonal = self._rate_W_K + perfused_W_K
        diagonal[:-1] += self._conductance_W_K
        diagonal[1:] += self._conductance_W_K
        diagonal[-1] += self._wall_W_K
        self._diagonal, self._offdiagonal, info = dpttrf(diagonal, -self._conductance_W_K)
        if info != 0:
            raise ArithmeticError(f"the conduction matrix is not positive definite (dpttrf: {info})")
        self._constant_W = perfused_W_K * self.preset.blood_C
        self._constant_W[-1] += self._wall_W_K * self._far_C

    def _fit_resistances(self) -> None:
        """Logarithm of each shell's resistance at 0 °C, for the present scale of σ."""
        slope_per_C = math.log1p(self.preset.sigma_per_C)
        self._minus_slope = np.full(len(self._nodes_m), -slope_per_C)
        self._log_ohm: Vector = np.log(self._shell_ohm / self._sigma_scale) + slope_per_C * REFERENCE_C
        far_factor = math.exp(-slope_per_C * (self.preset.start_C - REFERENCE_C))
        self._tail_ohm = self._beyond_ohm * far_factor / self._sigma_scale

    def reset(self) -> None:
        """Start again: starting temperature everywhere, no steam, totals at zero. Scales and sensors stay."""
        cells = self._cells
        self._T: Vector = np.full(cells, self.preset.start_C)
        self._ohm: Vector = np.empty(cells)
        self._steam_J: Vector = np.zeros(cells)
        self._steam_log: Vector = np.zeros(cells)
        self._surplus_J: Vector = np.empty(cells)
        self._dryness: Vector = np.empty(cells)
        self._boiling = False
        self.absorbed_J = 0.0
        self.vented_J = 0.0
        self.peak_C = self.preset.start_C
        self.sensor_C: list[float] = (self._weights @ self._T).tolist()
        self.impedance_ohm = self._renew_impedance()

    def step(self, power_W: float) -> None:
        """Advance by `step_s` with this power, W, flowing from the electrode for the whole step.

        The shells' shares are those of the step's beginning. Raises ValueError for a negative power or NaN.
        """
        if not power_W >= 0.0:
            raise ValueError(f"power {power_W} W: must be 0 or more")
        T = self._T
        per_ohm = power_W / self.impedance_ohm
        self.absorbed_J += (power_W - per_ohm * self._tail_ohm) * self.step_s
        np.multiply(T, self._rate_W_K, T)
        np.add(T, self._constant_W, T)
        daxpy(self._ohm, T, self._cells, per_ohm)
        dpttrs(self._diagonal, self._offdiagonal, T, 1)
        peak_C: float = T.item(T.argmax())
        if peak_C > BOIL_C or self._boiling:
            peak_C = self._boil()
        self.peak_C = peak_C
        self.sensor_C = self._weights.dot(T).tolist()
        ohm = self._ohm
        np.multiply(T, self._minus_slope, ohm)
        np.add(ohm, self._log_ohm, ohm)
        if self._boiling:
            np.add(ohm, self._steam_log, ohm)
        np.exp(ohm, ohm)
        self.impedance_ohm = float(ohm.dot(self._ones)) + self._tail_ohm

    def _boil(self) -> float:
        """Turn heat above 100 °C into steam, and steam below it back into heat. Returns the peak, °C."""
        T, surplus_J, dryness = self._T, self._surplus_J, self._dryness
        np.subtract(T, self._boil_C, surplus_J)
        np.multiply(surplus_J, self._capacity_J_K, surplus_J)
        np.add(surplus_J, self._steam_J, surplus_J)
        np.multiply(surplus_J, self._per_full_J, dryness)
        np.maximum(dryness, self._zeros, out=dryness)
        if dryness.item(dryness.argmax()) > 1.0:
            # T is overwritten below: until then it is the place for what exceeds a full shell.
            np.subtract(dryness, self._ones, T)
            np.maximum(T, self._zeros, out=T)
            self.vented_J += float(T.dot(self._full_J))
            np.minimum(dryness, self._ones, out=dryness)
        np.multiply(dryness, self._latent_J, self._steam_J)
        np.multiply(dryness, self._dry_log, self._steam_log)
        # 100 °C, above it by the dryness (1 °C when dry), below it by what is missing.
        np.minimum(surplus_J, self._zeros, out=T)
        np.multiply(T, self._per_capacity_K_J, T)
        np.multiply(dryness, self._boil_range_C, dryness)
        np.add(T, dryness, T)
        np.add(T, self._boil_C, T)
        peak_C: float = T.item(T.argmax())
        self._boiling = peak_C > BOIL_C
        return peak_C

    def _renew_impedance(self) -> float:
        np.exp(self._T * self._minus_slope + self._log_ohm + self._steam_log, out=self._ohm)
        return float(self._ohm.dot(self._ones)) + self._tail_ohm

    def set_perfusion_scale(self, scale: float) -> None:
        """Multiply the preset's perfusion, from now on; 0 stops the blood. ValueError unless 0 to 100."""
        if not 0.0 <= scale <= 100.0:
            raise ValueError(f"perfusion scale {scale}: must be 0 to 100")
        self._perfusion_scale = scale
        self._factor_matrix()

    def set_sigma_scale(self, scale: float) -> None:
        """Multiply the preset's conductivity, from now on. Raises ValueError unless 0.001 to 1000."""
        if not 1e-3 <= scale <= 1e3:
            raise ValueError(f"conductivity scale {scale}: must be 0.001 to 1000")
        self._sigma_scale = scale
        self._fit_resistances()
        self.impedance_ohm = self._renew_impedance()

    def set_sensor_radius_mm(self, sensor: int, radius_mm: float) -> None:
        """Move a sensor (0 is the first).

        Raises ValueError for a radius outside the tissue, IndexError if there is no such sensor.
        """
        if not self.electrode_radius_mm <= radius_mm <= self.outer_radius_mm:
            raise ValueError(
                f"sensor at {radius_mm} mm: must be {self.electrode_radius_mm} mm (the electrode's surface) "
                f"to {self.outer_radius_mm} mm"
            )
        row = self._weights[sensor]
        row[:] = 0.0
        inverse = 1.0 / self._nodes_m
        wanted = min(max(1e3 / radius_mm, float(inverse[-1])), float(inverse[0]))
        inner = min(int(np.searchsorted(-inverse, -wanted, side="right")) - 1, self._cells - 2)
        # Linear in 1/r: exact where the field is conduction alone, and never outside its two nodes.
        outer_share = float((inverse[inner] - wanted) / (inverse[inner] - inverse[inner + 1]))
        row[inner], row[inner + 1] = 1.0 - outer_share, outer_share
        self._sensor_radii_mm[sensor] = radius_mm
        self.sensor_C = (self._weights @ self._T).tolist()

    @property
    def sensor_radii_mm(self) -> tuple[float, ...]:
        """Where the sensors are now, mm."""
        return tuple(self._sensor_radii_mm)

    def profile(self) -> tuple[Vector, Vector]:
        """Radii in mm and temperatures in °C of the nodes; copies."""
        return self._nodes_m * 1e3, self._T.copy()

    def stored_J(self) -> float:
        """Heat held above the starting temperature, steam included, J."""
        return float(self._capacity_J_K.dot(self._T - self.preset.start_C) + self._steam_J.sum())

    def heat_flows(self) -> HeatFlows:
        """Heat flowing into the blood and out through the wall at the present temperatures."""
        into_blood_W = self._perfused_W_K.dot(self._T - self.preset.blood_C) * self._perfusion_scale
        return HeatFlows(float(into_blood_W), self._wall_W_K * float(self._T[-1] - self._far_C))


def _per_interval(
    bounds_m: Vector, edges_m: Vector, antiderivative: Callable[[Vector], Vector], of_layer: Vector
) -> Vector:
    """Integral of a layered property over each interval of `bounds_m`, by its measure's antiderivative."""
    low = np.maximum(bounds_m[:-1, None], edges_m[None, :-1])
    high = np.maximum(np.minimum(bounds_m[1:, None], edges_m[None, 1:]), low)
    return (antiderivative(high) - antiderivative(low)) @ of_layer


def _check_geometry(
    preset: TissuePreset,
    electrode_radius_mm: float,
    step_s: float,
    outer_radius_mm: float,
    shells: int,
    core_rho_c: float,
) -> None:
    reach_mm = preset.layers[-1].outer_radius_mm
    rules = (
        (
            0.1 <= electrode_radius_mm <= outer_radius_mm / 3.0,
            f"electrode radius {electrode_radius_mm} mm: must be 0.1 to {outer_radius_mm / 3.0:g} mm",
        ),
        (step_s > 0.0 and math.isfinite(step_s), f"time step {step_s} s: must be above 0"),
        (
            outer_radius_mm <= reach_mm,
            f"tissue {preset.name}: layers end at {reach_mm:g} mm, the region at {outer_radius_mm:g} mm",
        ),
        (shells >= 8, f"{shells} shells: must be 8 or more"),
        (core_rho_c >= 0.0, f"heat capacity of the electrode {core_rho_c} J/m³K: must be 0 or more"),
    )
    for holds, complaint in rules:
        if not holds:
            raise ValueError(complaint)
