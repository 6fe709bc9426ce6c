"""Pseudo-3T from 7T: as the report makes it, noise and histogram matching, or more truthful.

Report: "CNN network to synthesize 7T MRI images from 3T MRI images", Univ. Lille and Centrale
Lille, section on the data.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.volumes.intensity import histogram_table, match_histogram, normalize
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.engine.volumes.volume import Volume

PAIR = ("source", "target")  # pseudo-3T and 7T, as `simulate_3t` gives them
PREVIEW_VOXELS = 300_000  # from which a preview takes the histograms: a tenth of a second
SLAB = 8  # planes on either side, that a realistic preview is made with
SIMULATIONS = ("report", "realistic")
REPORT_VARIANCE = 0.003  # on a scale where the 7T volume fills [0, 1]; the report's code


def _sample(array: np.ndarray) -> np.ndarray:
    step = max(1, round((array.size / PREVIEW_VOXELS) ** (1 / 3)))
    return array[::step, ::step, ::step]


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

    from napari_mri7t.engine.simulation import realistic

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


def simulation_sidecar(
    inputs: Sequence[Volume], config: SimulationConfig, image: str = PAIR[0]
) -> dict[str, Any]:
    """Describe one image of a simulated pair, so that it can be made again.

    Parameters
    ----------
    inputs : sequence of Volume
        Target, and the reference if there was one.
    config : SimulationConfig
    image : {"source", "target"}

    Returns
    -------
    dict
        As `provenance.sidecar`.
    """
    settings = {"noise": config, "image": image}
    return sidecar("simulate", inputs, Execution(seed=config.seed), settings=settings)


def preview_plane(
    target: Volume,
    plane: tuple[int, int],
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),
) -> np.ndarray:
    """Simulate one plane, with histograms from an even sample of the volume.

    Parameters
    ----------
    target : Volume
        7T.
    plane : tuple of int
        Array axis (0, 1 or 2) and voxel index along it.
    reference : Volume, optional
        As for `simulate_3t`.
    config : SimulationConfig
        Noise variance and seed; the noise is not that which a whole volume gets.

    Returns
    -------
    ndarray of float32
        The plane, its axes in the order of the array's.

    Raises
    ------
    VolumeError
        If a volume is constant.
    """
    sample, (low, high) = normalize(_sample(target.array))
    matched_to = sample if reference is None else normalize(_sample(reference.array))[0]
    axis, index = plane
    if config.preset == "realistic":
        first = max(0, index - SLAB)
        slab = np.take(target.array, range(first, min(index + SLAB + 1, target.shape[axis])), axis)
        clean = ((slab - low) / (high - low)).astype(np.float32)
        whole = realistic_3t(clean, target.voxel_size, config.seed)
        made: np.ndarray = np.take(whole, index - first, axis)
        if reference is None:
            return made
        whole = realistic_3t(sample, target.voxel_size, config.seed)
        return histogram_table(whole, matched_to)(made)
    clean = (np.take(target.array, index, axis) - low) / (high - low)
    table = histogram_table(add_noise(sample, config.variance, config.seed), matched_to)
    return table(add_noise(clean.astype(np.float32), config.variance, config.seed))
