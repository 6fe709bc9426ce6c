"""Pseudo-3T from 7T, as the report makes it: noise, then histogram matching.

Report: "CNN network to synthesize 7T MRI images from 3T MRI images", Univ. Lille and Centrale
Lille, section on the data.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.preparation.intensity import match_histogram, normalize
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.volume import Volume

REPORT_VARIANCE = 0.003  # on a scale where the 7T volume fills [0, 1]; the report's code


@dataclass(frozen=True)
class SimulationConfig:
    """How a pseudo-3T volume is made.

    Parameters
    ----------
    variance : float
        Of the Gaussian noise, on the scale where the target fills [0, 1]; at least 0.
    seed : int
        Of the noise; the same seed gives the same volume, at least 0.
    """

    variance: float = REPORT_VARIANCE
    seed: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.variance) and self.variance >= 0):
            raise ValueError(f"variance must be a number of at least 0, got {self.variance}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


def add_noise(array: np.ndarray, variance: float, seed: int) -> np.ndarray:
    """Add white Gaussian noise, not clipped; float32, reproducible by the seed."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal(array.shape, dtype=np.float32)
    noisy: np.ndarray = array + np.float32(np.sqrt(variance)) * noise
    return noisy


def simulate_3t(
    target: Volume,
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),
) -> tuple[Volume, Volume]:
    """Make the pair (pseudo-3T source, 7T target) from one 7T volume.

    Parameters
    ----------
    target : Volume
        7T, brain-extracted, any intensity scale; its minimum and maximum become 0 and 1.
    reference : Volume, optional
        Volume whose whole-volume histogram both get, background included (the report took
        sub-TELL0106). By default the target itself, which then keeps its intensities.
    config : SimulationConfig
        Noise variance and seed.

    Returns
    -------
    source, target : Volume
        Both on the target's grid, intensities of the reference's range within [0, 1].

    Raises
    ------
    VolumeError
        If a volume is constant.
    """
    return run_to_end(simulate_3t_steps(target, reference=reference, config=config))


def simulate_3t_steps(
    target: Volume,
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),
) -> Generator[str, None, tuple[Volume, Volume]]:
    """Do the work of `simulate_3t`, yielding the name of each step before it."""
    yield "normalise"
    clean, _ = normalize(target.array)
    matched_to = clean if reference is None else normalize(reference.array)[0]
    yield "add noise"
    noisy = add_noise(clean, config.variance, config.seed)
    yield "match the source's histogram"
    source = match_histogram(noisy, matched_to)
    yield "match the target's histogram"
    matched = clean if reference is None else match_histogram(clean, matched_to)
    return (
        target.with_array(source, name=f"{target.name}_pseudo-3T"),
        target.with_array(matched, name=f"{target.name}_7T"),
    )
