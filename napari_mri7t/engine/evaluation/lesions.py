"""Lesions: how much of the contrast of something small and unusual survives synthesis.

Spheres of changed intensity are put into a brain before the noise. A method is run twice, with and
without them, on the same noise: the difference of the two estimates is what is left of the
lesions, and the anatomy around them plays no part.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from napari_mri7t.engine.evaluation.robustness import Method, RobustnessProgress, run_method
from napari_mri7t.engine.preparation.intensity import match_histogram, normalize
from napari_mri7t.engine.preparation.simulation import REPORT_VARIANCE, add_noise
from napari_mri7t.engine.volume import Volume

SUPERSAMPLING = 5  # points along each side of a voxel, to find its share inside a sphere
GAP_MM = 4.0  # between two spheres: a network must not take them for one
HEADROOM = 0.05  # of intensity, left between a lesion and the ends of [0, 1]

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class LesionConfig:
    """Which lesions are put in.

    Parameters
    ----------
    diameters_mm : tuple of float
    contrast : float
        Added (bright) or taken away (dark), where the brain's intensities span [0, 1].
    n_each : int
        Bright ones, and as many dark ones, of every diameter.
    variance : float
        Of the noise.
    seed : int
        Of places and noise.
    """

    diameters_mm: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0, 8.0)
    contrast: float = 0.2
    n_each: int = 4
    variance: float = REPORT_VARIANCE
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.diameters_mm or min(self.diameters_mm) <= 0:
            raise ValueError(f"diameters_mm must be positive, got {self.diameters_mm}")
        if not 0 < self.contrast < 0.5:
            raise ValueError(f"contrast must lie between 0 and 0.5, got {self.contrast}")
        if self.n_each < 1:
            raise ValueError(f"n_each must be at least 1, got {self.n_each}")


@dataclass(frozen=True)
class Lesion:
    """A sphere: its centre in voxels, its diameter in mm, and what it adds at full occupancy."""

    centre: tuple[int, int, int]
    diameter_mm: float
    contrast: float


@dataclass(frozen=True)
class LesionResult:
    """What was left of one lesion.

    Parameters
    ----------
    lesion : Lesion
    target_contrast : float
        Mean change inside the sphere in the target, after histogram matching.
    source_retained, estimate_retained : float
        The same change in source and estimate, as a share of the target's: 1 is all of it.
    """

    lesion: Lesion
    target_contrast: float
    source_retained: float
    estimate_retained: float


def lesion_steps(
    target: Volume,
    method: Method,
    *,
    reference: Volume | None = None,
    config: LesionConfig = LesionConfig(),
) -> Generator[RobustnessProgress, None, list[LesionResult]]:
    """Put lesions into a brain and measure what a method leaves of them.

    Parameters
    ----------
    target : Volume
        A 7T brain that the method was not trained on, any intensity scale.
    method : callable
        Source to a generator that returns the estimate.
    reference : Volume, optional
        Whose histogram source and target get; the target's own by default.
    config : LesionConfig

    Yields
    ------
    RobustnessProgress

    Returns
    -------
    list of LesionResult
        Fewer than asked for where the brain has no room.

    Raises
    ------
    ValueError
        If there is room for none.
    """
    yield RobustnessProgress(0, 2, "placing lesions")
    clean = normalize(target.array)[0]
    matched_to = clean if reference is None else normalize(reference.array)[0]
    lesions = place_lesions(clean, target.voxel_size, config)
    spheres = [occupancy(lesion, clean.shape, target.voxel_size) for lesion in lesions]
    harmed = clean.copy()
    for lesion, (box, share) in zip(lesions, spheres, strict=True):
        harmed[box] += np.float32(lesion.contrast) * share
    versions = []
    for number, array in enumerate((clean, harmed)):
        now = RobustnessProgress(number, 2, ("without lesions", "with lesions")[number])
        yield now
        noisy = add_noise(array, config.variance, config.seed)
        source = target.with_array(match_histogram(noisy, matched_to), name="pseudo-3T")
        estimate = yield from run_method(method, source, now)
        aim = match_histogram(array, matched_to)
        versions.append((aim, source.array, estimate.array))
    changes = [with_them - without for without, with_them in zip(*versions, strict=True)]
    return [
        _measure(lesion, sphere, changes) for lesion, sphere in zip(lesions, spheres, strict=True)
    ]


def place_lesions(clean: np.ndarray, voxel_size: Spacing, config: LesionConfig) -> list[Lesion]:
    """Find places where the spheres fit into the brain, into its intensities, and apart.

    Parameters
    ----------
    clean : ndarray, shape (I, J, K)
        In [0, 1], 0 outside the brain.
    voxel_size : tuple of float
        mm.
    config : LesionConfig

    Returns
    -------
    list of Lesion
        Largest first, since they find room least easily.

    Raises
    ------
    ValueError
        If there is room for none.
    """
    rng = np.random.default_rng(config.seed)
    depth = distance_transform_edt(np.pad(clean > 0, 1), sampling=voxel_size)[1:-1, 1:-1, 1:-1]
    lesions: list[Lesion] = []
    for diameter in sorted(config.diameters_mm, reverse=True):
        free = np.ones(clean.shape, bool)
        for lesion in lesions:
            _occupy(free, lesion, voxel_size, diameter)
        local = gaussian_filter(clean, [diameter / 4 / side for side in voxel_size])
        bounds = {
            config.contrast: local <= 1 - config.contrast - HEADROOM,
            -config.contrast: local >= config.contrast + HEADROOM,
        }
        for _ in range(config.n_each):
            for contrast, has_headroom in bounds.items():
                fits = free & has_headroom & (depth > diameter / 2 + min(voxel_size))
                places = np.flatnonzero(fits)
                if places.size == 0:
                    continue
                i, j, k = np.unravel_index(rng.choice(places), clean.shape)
                lesion = Lesion((int(i), int(j), int(k)), diameter, contrast)
                lesions.append(lesion)
                _occupy(free, lesion, voxel_size, diameter)
    if not lesions:
        raise ValueError("the brain has no room for a single lesion; take smaller diameters")
    return lesions


def occupancy(
    lesion: Lesion, shape: Sequence[int], voxel_size: Spacing
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Share of each voxel that lies inside a sphere, so that small spheres are not blocks.

    Parameters
    ----------
    lesion : Lesion
    shape : sequence of int
        Of the volume.
    voxel_size : tuple of float
        mm.

    Returns
    -------
    box : tuple of slice
        The part of the volume that the sphere touches.
    share : ndarray of float32, shape of the box
        In [0, 1]; its sum times the voxel's volume is about the sphere's.
    """
    radius = lesion.diameter_mm / 2
    box, offsets = [], []
    for centre, n, side in zip(lesion.centre, shape, voxel_size, strict=True):
        reach = math.ceil(radius / side)
        first, last = max(0, centre - reach), min(n, centre + reach + 1)
        box.append(slice(first, last))
        points = np.arange((last - first) * SUPERSAMPLING) + 0.5
        offsets.append((points / SUPERSAMPLING - 0.5 + first - centre) * side)
    x, y, z = np.meshgrid(*offsets, indexing="ij", sparse=True)
    inside = x**2 + y**2 + z**2 <= radius**2
    counts = [part.stop - part.start for part in box]
    blocks = inside.reshape([n for count in counts for n in (count, SUPERSAMPLING)])
    return tuple(box), blocks.mean(axis=(1, 3, 5)).astype(np.float32)


def _occupy(free: np.ndarray, lesion: Lesion, voxel_size: Spacing, diameter_mm: float) -> None:
    """Close the surroundings of a lesion to the centres of others of a given diameter."""
    around = Lesion(lesion.centre, lesion.diameter_mm + diameter_mm + 2 * GAP_MM, 0)
    box, share = occupancy(around, free.shape, voxel_size)
    free[box] &= share == 0


def _measure(
    lesion: Lesion, sphere: tuple[tuple[slice, ...], np.ndarray], changes: Sequence[np.ndarray]
) -> LesionResult:
    """Mean change over a sphere in target, source and estimate."""
    box, share = sphere
    target, source, estimate = (
        float((change[box] * share).sum() / share.sum()) for change in changes
    )
    scale = target if target != 0 else math.nan
    return LesionResult(lesion, target, source / scale, estimate / scale)
