"""Tissues, electrodes and sensors to judge control on: each by its seed, none of them twice."""

import random
from dataclasses import dataclass

from rfprobe.sim.tissue import TissuePreset, load_tissue

TISSUES = ("vertebra", "liver", "phantom")
k_W_mK = (0.3, 0.6)
PERFUSION_MAX_per_s = 6.4e-3
"""Of the tissue at the electrode: the liver's, the largest of the presets. 6 ml a minute and millilitre, nearly."""
SIGMA_OCTAVES = 1.0
CONTACT = (0.85, 1.0)
"""How much of the tip touches: the electrode's radius, of the one in the profile."""
MISPLACED_mm = 1.0
LAG_s = (0.35, 1.4)
LAG_WRONG = 0.3
NOISE_C = (0.03, 0.1)

JUDGED = range(1, 201)
TRAINING = range(10_001, 10_025)


@dataclass(frozen=True)
class World:
    """What a controller meets, and does not know."""

    seed: int
    tissue: TissuePreset
    electrode_radius_mm: float
    place_mm: float
    lag_s: float
    lag_believed_s: float
    noise_C: float


def world(seed: int, place_mm: float, electrode_radius_mm: float) -> World:
    """The world of this seed, for a sensor that was meant to be at `place_mm` from the electrode's centre."""
    chance = random.Random(seed)
    preset = load_tissue(chance.choice(TISSUES))
    inner = preset.layers[0]
    k = chance.uniform(*k_W_mK) / inner.k_W_mK
    perfusion_per_s = chance.uniform(0.0, PERFUSION_MAX_per_s)
    sigma = 2.0 ** chance.uniform(-SIGMA_OCTAVES, SIGMA_OCTAVES)
    radius_mm = electrode_radius_mm * chance.uniform(*CONTACT)
    layers = tuple(
        layer.model_copy(
            update={
                "k_W_mK": layer.k_W_mK * k,
                "sigma_S_m": layer.sigma_S_m * sigma,
                # around the innermost the blood flows less, by as much as in the preset
                "perfusion_per_s": perfusion_per_s * _share(layer.perfusion_per_s, inner.perfusion_per_s),
            }
        )
        for layer in preset.layers
    )
    place_mm = max(radius_mm, place_mm + chance.uniform(-MISPLACED_mm, MISPLACED_mm))
    lag_s = LAG_s[0] * (LAG_s[1] / LAG_s[0]) ** chance.random()
    return World(
        seed=seed,
        tissue=preset.model_copy(update={"layers": layers}),
        electrode_radius_mm=radius_mm,
        place_mm=place_mm,
        lag_s=lag_s,
        lag_believed_s=lag_s * chance.uniform(1.0 - LAG_WRONG, 1.0 + LAG_WRONG),
        noise_C=chance.uniform(*NOISE_C),
    )


def _share(of: float, inner: float) -> float:
    return of / inner if inner else 1.0
