"""Pseudo-3T from 7T: as the report makes it, noise and histogram matching, or more truthful.

Report: "CNN network to synthesize 7T MRI images from 3T MRI images", Univ. Lille and Centrale
Lille, section on the data.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.preparation.intensity import match_histogram, normalize
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.volume import Volume

SIMULATIONS = ("report", "realistic")
REPORT_VARIANCE = 0.003  # on a scale where the 7T volume fills [0, 1]; the report's code


@dataclass(frozen=True)
class SimulationConfig:
    """How a pseudo-3T volume is made.

    Parameters
    ----------
    variance : float
        Of the report's Gaussian noise, on the scale where the target fills [0, 1]; at least 0.
    seed : int
        Of all that is random; the same seed gives the same volume, at least 0.
    preset : {"report", "realistic"}
        Gaussian noise, or contrast, resolution, shading and Rician noise as `realistic.py`.
    """

    variance: float = REPORT_VARIANCE
    seed: int = 0
    preset: str = "report"

    def __post_init__(self) -> None:
        if self.preset not in SIMULATIONS:
            raise ValueError(f"preset must be one of {', '.join(SIMULATIONS)}, got {self.preset!r}")
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


def realistic_3t(
    clean: np.ndarray, voxel_size: tuple[float, float, float], seed: int
) -> np.ndarray:
    """Make a 7T array look like a 3T scan, its strengths drawn by the seed.

    Parameters
    ----------
    clean : ndarray, shape (I, J, K)
        In [0, 1], background 0.
    voxel_size : tuple of float
        mm.
    seed : int

    Returns
    -------
    ndarray of float32, same shape
        At least 0, background 0; white matter as bright as in `clean`.
    """
    import torch  # widgets and the reader load without it

    from napari_mri7t.engine.preparation import realistic

    generator = torch.Generator().manual_seed(seed)
    strengths = realistic.draw_strengths(1, generator)
    coarse = realistic.lower_resolution(clean, voxel_size)
    pair = [torch.from_numpy(np.ascontiguousarray(each))[None] for each in (clean, coarse)]
    white = torch.tensor([realistic.white_of(clean)])
    made = realistic.degrade(pair[0], pair[1], white, strengths, generator)
    return made[0].numpy()


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
        Preset, noise variance and seed.

    Returns
    -------
    source, target : Volume
        Both on the target's grid, intensities of the reference's range within [0, 1]. Without a
        reference a realistic source keeps the contrast it was given.

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
    if config.preset == "realistic":
        yield "contrast, resolution, shading and noise"
        source = realistic_3t(clean, target.voxel_size, config.seed)
    else:
        yield "add noise"
        source = add_noise(clean, config.variance, config.seed)
    if reference is not None or config.preset == "report":
        yield "match the source's histogram"
        source = match_histogram(source, matched_to)
    yield "match the target's histogram"
    matched = clean if reference is None else match_histogram(clean, matched_to)
    return (
        target.with_array(source, name=f"{target.name}_pseudo-3T"),
        target.with_array(matched, name=f"{target.name}_7T"),
    )
