"""Robustness of a method to degraded input, and its effect on the contrast of lesions.

Robustness: pseudo-3T with less and more noise than in training, of a blurred brain, and with a bias
field, always scored against the original target. Where a method scores below its own input it no
longer helps.

Lesions: spheres of changed intensity are added to a brain before the noise. A method is run twice,
with and without them, on the same noise: the difference of the two estimates is the contrast that
is retained, independent of the anatomy around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.metrics.detail import Spacing
from napari_mri7t.engine.metrics.scoring import flatten
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.simulation.pseudo_3t import REPORT_VARIANCE, add_noise
from napari_mri7t.engine.volumes.intensity import match_histogram, normalize_volume
from napari_mri7t.engine.volumes.volume import Volume

Method = Callable[[Volume, Report], Volume]  # source to estimate
SUPERSAMPLING = 5  # points along each side of a voxel, to find its share inside a sphere
GAP_MM = 4.0  # between two spheres, so that a network does not merge them
HEADROOM = 0.05  # of intensity, between a lesion and the ends of [0, 1]


@dataclass(frozen=True)
class Condition:
    """One kind of degradation of the input, and its level.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    level : float
        In the unit of `KINDS`.
    """

    kind: str
    level: float


@dataclass(frozen=True)
class RobustnessPoint:
    """Scores of source and estimate under one condition.

    Parameters
    ----------
    kind, level
        As in `Condition`.
    source, estimate : dict
        As from `compare`, flattened: "brain_psnr" and so on.
    """

    kind: str
    level: float
    source: dict[str, float]
    estimate: dict[str, float]


KINDS: dict[str, str] = {
    "noise": "noise variance",
    "blur": "blur sigma, mm",
    "bias": "bias field amplitude",
}
CONDITIONS: tuple[Condition, ...] = (
    *(Condition("noise", level) for level in (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01)),
    *(Condition("blur", level) for level in (0.0, 0.4, 0.6, 0.8, 1.0, 1.5)),
    *(Condition("bias", level) for level in (0.0, 0.1, 0.2, 0.3, 0.4)),
)


def measure_robustness(
    target: Volume,
    method: Method,
    *,
    reference: Volume | None = None,
    conditions: Sequence[Condition] = CONDITIONS,
    report: Report = ignore,
) -> list[RobustnessPoint]:
    """Score a method under every condition.

    Parameters
    ----------
    target : Volume
        A 7T brain that the method was not trained on, any intensity scale.
    method : callable
        (source, report) to the estimate.
    reference : Volume, optional
        Whose histogram source and target are matched to; the target's own by default.
    conditions : sequence of Condition
    report : callable
        Called with the number of conditions done, and by the method.

    Returns
    -------
    list of RobustnessPoint
        In the order of the conditions, all with the same noise and bias field.
    """
    clean = normalize_volume(target)
    matched_to = clean if reference is None else normalize_volume(reference)
    target = target.with_array(match_histogram(clean, matched_to), name=f"{target.name}_7T")
    points = []
    for done, condition in enumerate(conditions):
        message = f"{KINDS[condition.kind]} {condition.level:g}"
        report(Progress(done, len(conditions), message))
        degraded = degrade_input(clean, condition, voxel_size=target.voxel_size)
        source = target.with_array(match_histogram(degraded, matched_to), name="pseudo-3T")
        estimate = method(source, part(report, done, len(conditions), message))
        scores = [flatten(compare(target, volume)) for volume in (source, estimate)]
        points.append(RobustnessPoint(condition.kind, condition.level, *scores))
    return points


def degrade_input(
    clean: np.ndarray,
    condition: Condition,
    *,
    seed: int = 0,
    voxel_size: Spacing = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Return the noisy, blurred or shaded input of one condition, before histogram matching.

    Parameters
    ----------
    clean : ndarray, shape (I, J, K)
        In [0, 1].
    condition : Condition
        Blur and bias field are followed by the report's noise.
    seed : int
        Of noise and field.
    voxel_size : tuple of float
        mm.

    Raises
    ------
    ValueError
        If the kind is unknown or the level negative.
    """
    if condition.kind not in KINDS:
        raise ValueError(f"{condition.kind}: unknown condition, expected one of {', '.join(KINDS)}")
    if not condition.level >= 0:
        raise ValueError(f"{condition.kind}: the level must not be negative, got {condition.level}")
    if condition.kind == "noise":
        return add_noise(clean, condition.level, seed)
    if condition.kind == "blur":
        sigma = [condition.level / side for side in voxel_size]
        return add_noise(gaussian_filter(clean, sigma), REPORT_VARIANCE, seed)
    field = 1 + condition.level * bias_shape(clean.shape, seed)
    return add_noise((clean * field).astype(np.float32), REPORT_VARIANCE, seed)


def bias_shape(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return a smooth field like that of coils: a random polynomial of order 2, from -1 to 1.

    Parameters
    ----------
    shape : tuple of int
        (I, J, K).
    seed : int
        Of the coefficients.
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    terms = [axes[a] * axes[b] for a in range(3) for b in range(a, 3)] + list(axes)
    weights = np.random.default_rng(seed).normal(size=len(terms))
    field = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    low, high = float(np.min(field)), float(np.max(field))
    scaled = 2 * (field - low) / max(high - low, np.finfo(float).tiny) - 1
    return np.asarray(np.broadcast_to(scaled, shape))


def turning_points(
    points: Sequence[RobustnessPoint], kind: str, key: str = "brain_psnr"
) -> list[tuple[float, bool]]:
    """Return the levels at which a method starts or stops to improve on its own input.

    Parameters
    ----------
    points : sequence of RobustnessPoint
    kind : str
        Of `KINDS`.
    key : str
        A metric of which more is better.

    Returns
    -------
    list of (float, bool)
        The lowest level and whether the method helps there; then each level at which the gain
        crosses zero, interpolated between measured levels, and whether the method helps beyond.
        Empty if the kind was not measured.
    """
    of_kind = sorted((p for p in points if p.kind == kind), key=lambda point: point.level)
    gains = [point.estimate[key] - point.source[key] for point in of_kind]
    turns = [(of_kind[0].level, gains[0] > 0)] if of_kind else []
    for place in range(1, len(of_kind)):
        before, after = gains[place - 1], gains[place]
        if (before > 0) != (after > 0):
            low, high = of_kind[place - 1].level, of_kind[place].level
            turns.append((low + before / (before - after) * (high - low), after > 0))
    return turns


@dataclass(frozen=True)
class LesionConfig:
    """Lesions to add.

    Parameters
    ----------
    diameters_mm : tuple of float
    contrast : float
        Added (bright) or subtracted (dark), where the brain's intensities span [0, 1].
    n_each : int
        Bright ones, and as many dark ones, of each diameter.
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
    """A sphere: centre in voxels, diameter in mm, and the intensity it adds at full occupancy."""

    centre: tuple[int, int, int]
    diameter_mm: float
    contrast: float


@dataclass(frozen=True)
class LesionResult:
    """Contrast retained of one lesion.

    Parameters
    ----------
    lesion : Lesion
    target_contrast : float
        Mean change inside the sphere in the target, after histogram matching.
    source_retained, estimate_retained : float
        The same change in source and estimate, as a share of the target's.
    """

    lesion: Lesion
    target_contrast: float
    source_retained: float
    estimate_retained: float


def measure_lesions(
    target: Volume,
    method: Method,
    *,
    reference: Volume | None = None,
    config: LesionConfig = LesionConfig(),
    report: Report = ignore,
) -> list[LesionResult]:
    """Add lesions to a brain and measure the contrast that a method retains.

    Parameters
    ----------
    target : Volume
        A 7T brain that the method was not trained on, any intensity scale.
    method : callable
        (source, report) to the estimate.
    reference : Volume, optional
        Whose histogram source and target are matched to; the target's own by default.
    config : LesionConfig
    report : callable
        Called for each of the two runs, and by the method.

    Returns
    -------
    list of LesionResult
        Fewer than requested if the brain has no room.

    Raises
    ------
    ValueError
        If there is room for none.
    """
    report(Progress(0, 2, "placing lesions"))
    clean = normalize_volume(target)
    matched_to = clean if reference is None else normalize_volume(reference)
    lesions = place_lesions(clean, target.voxel_size, config)
    spheres = [occupancy(lesion, clean.shape, target.voxel_size) for lesion in lesions]
    with_lesions = clean.copy()
    for lesion, (box, share) in zip(lesions, spheres, strict=True):
        with_lesions[box] += np.float32(lesion.contrast) * share
    runs = []
    for done, (array, message) in enumerate(
        ((clean, "without lesions"), (with_lesions, "with lesions"))
    ):
        report(Progress(done, 2, message))
        noisy = add_noise(array, config.variance, config.seed)
        source = target.with_array(match_histogram(noisy, matched_to), name="pseudo-3T")
        estimate = method(source, part(report, done, 2, message))
        runs.append((match_histogram(array, matched_to), source.array, estimate.array))
    changes = [after - before for before, after in zip(*runs, strict=True)]
    return [
        _measure(lesion, sphere, changes) for lesion, sphere in zip(lesions, spheres, strict=True)
    ]


def place_lesions(clean: np.ndarray, voxel_size: Spacing, config: LesionConfig) -> list[Lesion]:
    """Place spheres at random where brain and intensities leave room, apart from one another.

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
        Largest first, as they need the most room.

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
        raise ValueError("the brain has no room for a single lesion; use smaller diameters")
    return lesions


def occupancy(
    lesion: Lesion, shape: Sequence[int], voxel_size: Spacing
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the share of each voxel inside a sphere, so that small spheres are not blocky.

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
    """Exclude the surroundings of a lesion for centres of lesions of a given diameter."""
    around = Lesion(lesion.centre, lesion.diameter_mm + diameter_mm + 2 * GAP_MM, 0)
    box, share = occupancy(around, free.shape, voxel_size)
    free[box] &= share == 0


def _measure(
    lesion: Lesion, sphere: tuple[tuple[slice, ...], np.ndarray], changes: Sequence[np.ndarray]
) -> LesionResult:
    """Return the mean change over a sphere in target, source and estimate."""
    box, share = sphere
    target, source, estimate = (
        float((change[box] * share).sum() / share.sum()) for change in changes
    )
    scale = target if target != 0 else math.nan
    return LesionResult(lesion, target, source / scale, estimate / scale)
