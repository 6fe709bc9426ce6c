"""Pseudo-3T from 7T: as in the report (noise and histogram matching), or more realistic.

Report: "CNN network to synthesize 7T MRI images from 3T MRI images", Univ. Lille and Centrale
Lille, section on the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.typed import check_kind, check_types
from napari_mri7t.engine.volumes.intensity import (
    bright_at_one,
    histogram_table,
    match_histogram,
    normalize,
    normalize_volume,
)
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.provenance import (
    SIMULATE,
    Execution,
    refuse_made,
    sidecar,
)
from napari_mri7t.engine.volumes.scale import zeroed
from napari_mri7t.engine.volumes.volume import Volume, VolumeLike, as_volume, save_volumes

N_STEPS = 4  # that a simulation reports
PAIR = ("source", "target")  # pseudo-3T and 7T, as `simulate_3t` returns them
PREVIEW_VOXELS = 300_000  # of a preview's histograms: a tenth of a second
SLAB = 8  # planes on either side of a realistic preview
SIMULATIONS = ("report", "realistic", "noise")
MOST_VARIANCE = 1.0  # noise as strong as the whole range of the image
LARGEST_SEED = 2**63 - 1  # that torch takes
REPORT_VARIANCE = 0.003  # on a scale where the 7T volume fills [0, 1]; the report's code


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of a pseudo-3T volume.

    Parameters
    ----------
    variance : float
        Of the report's Gaussian noise, on the scale where the target fills [0, 1]; 0 to 1.
    seed : int
        Of the random numbers, at least 0; the same seed gives the same volume.
    preset : {"report", "realistic", "noise"}
        Gaussian noise; or contrast, resolution, shading and Rician noise (`realistic.py`); or
        Rician noise of random strength in random tones (`noise.py`).
    """

    variance: float = REPORT_VARIANCE
    seed: int = 0
    preset: str = "report"

    def __post_init__(self) -> None:
        check_types(self)
        if self.preset not in SIMULATIONS:
            known = ", ".join(SIMULATIONS)
            raise ValueError(f"preset must be one of {known}, got {brief(self.preset)}")
        if not 0 <= self.variance <= MOST_VARIANCE:
            raise ValueError(f"variance must be 0 to {MOST_VARIANCE:g}, got {self.variance}")
        if self.variance != REPORT_VARIANCE and self.preset != "report":
            raise ValueError(f"variance is of the preset report; {self.preset} draws its own noise")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed must be 0 to {LARGEST_SEED}, got {brief(self.seed)}")

    def of_subject(self, index: int) -> "SimulationConfig":
        """Return the settings of a subject of a dataset: no two share their noise."""
        return replace(self, seed=(self.seed + index) % (LARGEST_SEED + 1))


def add_noise(array: np.ndarray, variance: float, seed: int) -> np.ndarray:
    """Add white Gaussian noise.

    Returns
    -------
    ndarray of float32, same shape
        Not clipped.
    """
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal(array.shape, dtype=np.float32)
    noisy: np.ndarray = array + np.float32(np.sqrt(variance)) * noise
    return noisy


def realistic_3t(
    clean: np.ndarray, voxel_size: tuple[float, float, float], seed: int
) -> np.ndarray:
    """Degrade a 7T array to a realistic 3T scan, with strengths drawn at random.

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


def noisy_3t(
    clean: np.ndarray, voxel_size: tuple[float, float, float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Add noise of random strength to a brain in random tones.

    Parameters
    ----------
    clean : ndarray, shape (I, J, K)
        Background 0, bright tissue near 1.
    voxel_size : tuple of float
        mm.
    seed : int

    Returns
    -------
    noisy, target : ndarray of float32, same shape
        In the same tones; at least 0, background 0.
    """
    import torch  # widgets and the reader load without it

    from napari_mri7t.engine.simulation import noise, realistic

    generator = torch.Generator().manual_seed(seed)
    coarse = realistic.lower_resolution(clean, voxel_size)
    pair = [torch.from_numpy(np.ascontiguousarray(each))[None] for each in (clean, coarse)]
    strengths = noise.draw_noise(1, generator)
    noisy, target, _ = noise.add_scan_noise(pair[0], pair[1], strengths, generator)
    return noisy[0].numpy(), target[0].numpy()


def _noisy(clean: np.ndarray, voxel_size: tuple[float, float, float], seed: int) -> np.ndarray:
    return noisy_3t(clean, voxel_size, seed)[0]


#: Presets whose simulation looks at neighbours, not at the volume's histogram.
LOCAL = {"realistic": realistic_3t, "noise": _noisy}


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """A pseudo-3T volume and its 7T target; unpacks into the two.

    Parameters
    ----------
    source, target : Volume
        On one grid, in [0, 1]; with the preset "noise" a little above 1 in vessels.
    inputs : tuple of Volume
        The 7T volume, and the reference if there is one.
    config : SimulationConfig
    """

    source: Volume
    target: Volume
    inputs: tuple[Volume, ...]
    config: SimulationConfig

    def __iter__(self) -> Iterator[Volume]:
        return iter((self.source, self.target))

    def sidecar(self, image: str = PAIR[0]) -> dict[str, Any]:
        """Return the provenance of one image, "source" or "target"; `mri7t repeat` reads it."""
        settings = {"noise": self.config, "image": image}
        return sidecar(SIMULATE, self.inputs, Execution(seed=self.config.seed), settings=settings)

    def save(
        self, path: str | Path, target_path: str | Path | None = None, *, overwrite: bool = False
    ) -> Path:
        """Save the pseudo-3T, and the target if it has a path, with their sidecars: all or none.

        Parameters
        ----------
        path, target_path : str or Path
            .nii or .nii.gz.
        overwrite : bool
            True replaces existing files.

        Returns
        -------
        Path
            The pseudo-3T.

        Raises
        ------
        Mri7tError
            If a file exists, or cannot be written.
        """
        paths = [Path(file) for file in (path, target_path) if file is not None]
        parts = [
            (volume, file, self.sidecar(image))
            for volume, file, image in zip(self, paths, PAIR, strict=False)
        ]
        return save_volumes(parts, overwrite=overwrite)[0]


def simulate_3t(
    target: VolumeLike,
    *,
    reference: VolumeLike | None = None,
    config: SimulationConfig = SimulationConfig(),
    seed: int | None = None,
    report: Report = ignore,
) -> SimulatedPair:
    """Simulate the pair (pseudo-3T source, 7T target) from one 7T volume.

    Parameters
    ----------
    target : str, Path, nibabel image or Volume
        7T, brain-extracted, any intensity scale; its minimum and maximum become 0 and 1.
    reference : str, Path, nibabel image or Volume, optional
        Volume to whose histogram both are matched, background included (the report uses
        sub-TELL0106). By default the target itself, which then keeps its intensities.
    config : SimulationConfig
        Preset, noise variance and seed.
    seed : int, optional
        In place of the seed of `config`.
    report : callable
        Called before each step, and at the end.

    Returns
    -------
    SimulatedPair
        Both on the target's grid, intensities in [0, 1]. Without a reference a realistic source
        keeps its simulated contrast.

    Raises
    ------
    VolumeError
        If a volume is constant or cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> volume = Volume(np.linspace(0, 400, 64).reshape(4, 4, 4), np.eye(4), name="brain")
    >>> source, target = simulate_3t(volume, seed=0)
    >>> source.name, target.name
    ('brain_pseudo-3T', 'brain_7T')
    >>> float(target.array.max())
    1.0
    """
    check_kind(config=(config, SimulationConfig))
    config = config if seed is None else replace(config, seed=seed)
    target = as_volume(target)
    inputs = (target,) if reference is None else (target, as_volume(reference))
    for volume in inputs:
        refuse_made(volume, "7T")
        check_t1w(volume)
    report(Progress(0, N_STEPS, "normalise"))
    clean = normalize_volume(target)
    matched_to = clean if reference is None else normalize_volume(inputs[-1])
    if config.preset == "realistic":
        report(Progress(1, N_STEPS, "simulating contrast, resolution, shading and noise"))
        source = realistic_3t(clean, target.voxel_size, config.seed)
    elif config.preset == "noise":
        report(Progress(1, N_STEPS, "changing the contrast and adding noise"))
        source, clean = noisy_3t(bright_at_one(target), target.voxel_size, config.seed)
    else:
        report(Progress(1, N_STEPS, "adding noise"))
        source = add_noise(clean, config.variance, config.seed)
    if reference is not None or config.preset == "report":
        report(Progress(2, N_STEPS, "matching the source's histogram"))
        source = match_histogram(source, matched_to)
    report(Progress(3, N_STEPS, "matching the target's histogram"))
    matched = clean if reference is None else match_histogram(clean, matched_to)
    report(Progress(N_STEPS, N_STEPS, "simulated"))
    return SimulatedPair(
        target.with_array(source, name=f"{target.name}_pseudo-3T"),
        target.with_array(matched, name=f"{target.name}_7T"),
        inputs,
        config,
    )


def preview_plane(
    target: Volume,
    plane: tuple[int, int],
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),
) -> np.ndarray:
    """Simulate one plane, with histograms from a regular sample of the volume.

    Parameters
    ----------
    target : Volume
        7T.
    plane : tuple of int
        Array axis (0, 1 or 2) and voxel index along it.
    reference : Volume, optional
        As for `simulate_3t`.
    config : SimulationConfig
        The noise differs from that of a whole volume.

    Returns
    -------
    ndarray of float32
        The plane, its axes in the array's order.

    Raises
    ------
    VolumeError
        If a volume is constant.
    """
    target = zeroed(target)
    sample, (low, high) = normalize(_sample(target.array))
    matched_to = sample if reference is None else normalize(_sample(zeroed(reference).array))[0]
    axis, index = plane
    if config.preset in LOCAL:
        first = max(0, index - SLAB)
        slab = np.take(target.array, range(first, min(index + SLAB + 1, target.shape[axis])), axis)
        clean = ((slab - low) / (high - low)).astype(np.float32)
        simulate = LOCAL[config.preset]
        whole = simulate(clean, target.voxel_size, config.seed)
        made: np.ndarray = np.take(whole, index - first, axis)
        if reference is None:
            return made
        whole = simulate(sample, target.voxel_size, config.seed)
        return histogram_table(whole, matched_to)(made)
    clean = (np.take(target.array, index, axis) - low) / (high - low)
    table = histogram_table(add_noise(sample, config.variance, config.seed), matched_to)
    return table(add_noise(clean.astype(np.float32), config.variance, config.seed))


def _sample(array: np.ndarray) -> np.ndarray:
    step = max(1, round((array.size / PREVIEW_VOXELS) ** (1 / 3)))
    return array[::step, ::step, ::step]
