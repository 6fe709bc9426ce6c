"""The quality of a preparation: mask, registration and intensities, as volumes and as text."""

from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.checks import ALIGNED, FAILED, sizes_in_words
from napari_mri7t.engine.preparation.domain import (
    LARGEST_CONTRAST_DISTANCE,
    contrast_distance,
    voxels_in_words,
)
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.steps import REGISTRATION, Decision
from napari_mri7t.engine.volumes.brain import BRAIN_LITRES, brain_litres
from napari_mri7t.engine.volumes.grids import LINEAR, downsample, resample
from napari_mri7t.engine.volumes.intensity import harmonize, symmetric_limit
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, shares_grid

CHECKER_MM = 24  # side of a square of the checkerboard
WINDOW = (1.0, 99.5)  # percentiles of the brain that become black and white
N_BINS = 80
USUAL_SCORE = "0.74 to 0.80"  # of the training brains with the template


@dataclass(frozen=True, eq=False)
class QualityVolumes:
    """A preparation on the grid of its result.

    Attributes
    ----------
    mask : Volume
        1 in the brain, 0 elsewhere.
    checkerboard : Volume
        Squares of the scan's brain and of the template, each in [0, 1].
    before : Volume
        The scan without its bias field.
    after : Volume
        The result.
    difference : Volume
        After minus before, inside the brain.
    limit : float
        The largest difference to show, the same for both signs; above 0.
    """

    mask: Volume
    checkerboard: Volume
    before: Volume
    after: Volume
    difference: Volume
    limit: float


@dataclass(frozen=True, eq=False)
class Histograms:
    """Brain intensities as the model sees them.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,)
        Of the bins, 0 to 1.
    scan, training : ndarray, shape (n,)
        Density of the harmonised scan and of the model's reference.
    """

    edges: np.ndarray
    scan: np.ndarray
    training: np.ndarray


@dataclass(frozen=True)
class QualityFigures:
    """What a preparation is judged by.

    Attributes
    ----------
    brain_litres : float
        Volume of the mask.
    registration_score : float
        The brain's correlation with the template.
    is_registered : bool
        Whether the scan was registered, or found to lie in MNI space.
    bias_field_strength : float or None
        As that of `Prepared`.
    contrast_distance : float
        Of the brain's intensities to the training data, as `domain.contrast_distance`.
    """

    brain_litres: float
    registration_score: float
    is_registered: bool
    bias_field_strength: float | None
    contrast_distance: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """The attributes whose value is out of its usual range."""
        low, high = BRAIN_LITRES
        doubtful = {
            "brain_litres": not low <= self.brain_litres <= high,
            "registration_score": self.is_registered and self.registration_score < ALIGNED,
            "contrast_distance": self.contrast_distance > LARGEST_CONTRAST_DISTANCE,
        }
        return tuple(name for name, is_doubtful in doubtful.items() if is_doubtful)


def measure(prepared: Prepared, card: ModelCard) -> QualityFigures:
    """Measure a preparation for a model."""
    return QualityFigures(
        brain_litres(prepared.scan, prepared.mask),
        prepared.registration_score,
        _is_registered(prepared),
        prepared.bias_field_strength,
        contrast_distance(
            prepared.brain.array, np.asarray(card.preprocessing["intensity_quantiles"], float)
        ),
    )


def quality_volumes(prepared: Prepared, result: Volume) -> QualityVolumes:
    """Resample scan, mask and template to the grid of a result.

    Parameters
    ----------
    prepared : Prepared
    result : Volume
        The estimate in its scan, on the scan's grid or in MNI space.
    """
    scan = prepared.scan
    if shares_grid(result, scan):
        to_grid, mask, before = np.eye(4), prepared.mask, prepared.corrected.array
    else:
        to_grid = prepared.to_mni
        mask = resample(scan.with_array(prepared.mask), result, to_grid, order=LINEAR) > 0.5
        before = resample(prepared.corrected, result, to_grid, order=LINEAR)
    before = prepared.scale.from_zero(before, mask)
    board = checkerboard(prepared, result, to_grid)
    difference = np.where(mask, result.array - before, 0)
    return QualityVolumes(
        mask=result.with_array(mask),
        checkerboard=result.with_array(board),
        before=result.with_array(before),
        after=result,
        difference=result.with_array(difference),
        limit=symmetric_limit(difference, mask),
    )


def checkerboard(prepared: Prepared, grid: Volume, to_grid: np.ndarray) -> np.ndarray:
    """Alternate squares of the registered scan and of the template, each on its own scale.

    Parameters
    ----------
    prepared : Prepared
    grid : Volume
        Where they are shown.
    to_grid : ndarray, shape (4, 4)
        mm of the scan to mm of the grid.

    Returns
    -------
    ndarray of float32, shape of the grid
        In [0, 1].
    """
    from_mni = to_grid @ np.linalg.inv(prepared.to_mni)
    fixed = resample(load_template(), grid, from_mni, order=LINEAR)
    moved = downsample(prepared.corrected, grid, to_grid)
    mask = downsample(prepared.scan.with_array(prepared.mask), grid, to_grid) > 0.5
    pair = [_scaled(fixed, fixed > 0), np.where(mask, _scaled(moved, mask), 0)]
    return _alternated(pair[0], pair[1], grid.voxel_size)


def pair_checkerboard(source: Volume, target: Volume) -> Volume:
    """Alternate squares of a pair's 3T and 7T, each on its own scale.

    Parameters
    ----------
    source, target : Volume
        On one grid, 0 outside the brain.

    Returns
    -------
    Volume
        In [0, 1].
    """
    pair = [_scaled(volume.array, volume.array > 0) for volume in (source, target)]
    return target.with_array(_alternated(pair[0], pair[1], target.voxel_size), name="checkerboard")


def _alternated(
    first: np.ndarray, second: np.ndarray, voxel_size: tuple[float, float, float]
) -> np.ndarray:
    sides = zip(first.shape, voxel_size, strict=True)
    along = [np.arange(n) * size // CHECKER_MM for n, size in sides]
    steps = np.meshgrid(*along, indexing="ij", sparse=True)
    board = np.where((steps[0] + steps[1] + steps[2]) % 2 == 0, first, second)
    return board.astype(np.float32)


def histograms(prepared: Prepared, card: ModelCard) -> Histograms:
    """Return the scan's histogram as the model sees it, and that of the training data."""
    quantiles = np.asarray(card.preprocessing["intensity_quantiles"])
    brain = prepared.brain.array
    seen = harmonize(brain, quantiles).to_model(brain)[prepared.mask]
    counts, edges = np.histogram(seen, N_BINS, range=(0, 1), density=True)
    share = np.diff(np.interp(edges, quantiles, np.linspace(0, 1, len(quantiles))))
    return Histograms(edges, counts, share * N_BINS)


def window_of(array: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Return the intensities that are shown black and white; black is at most 0."""
    low, high = np.percentile(array[mask], WINDOW)
    return min(0.0, float(low)), float(high)


def _scaled(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        return np.zeros_like(array)
    low, high = window_of(array, mask)
    scaled: np.ndarray = ((array - low) / max(high - low, 1e-9)).clip(0, 1)
    return scaled


def describe_distance(
    prepared: Prepared, card: ModelCard, figures: QualityFigures | None = None
) -> tuple[str, ...]:
    """Describe how far a prepared scan is from what the model was trained on.

    Parameters
    ----------
    prepared : Prepared
    card : ModelCard
    figures : QualityFigures, optional
        Those of `measure`, where they are known.

    Returns
    -------
    tuple of str
        Spacing, mask volume, registration, intensities: each with its number and what is usual.
    """
    sizes = sizes_in_words(prepared.scan.voxel_size)
    found = measure(prepared, card) if figures is None else figures
    score = found.registration_score
    verdict = "good" if score >= ALIGNED else "doubtful" if score >= FAILED else "bad"
    if not found.is_registered:
        verdict = "not registered"
    low, high = BRAIN_LITRES
    return (
        f"voxels {sizes} mm (the model is for {voxels_in_words(card)})",
        f"brain {found.brain_litres:.2f} litres (plausible {low} to {high})",
        f"correlation with the template {score:.2f}: {verdict} (good from {ALIGNED:g}, "
        f"training data: {USUAL_SCORE})",
        f"histogram distance {found.contrast_distance:.3f} (training data: 0 to 0.06, "
        f"warning above {LARGEST_CONTRAST_DISTANCE:g})",
    )


def registration_warnings(prepared: Prepared) -> tuple[str, ...]:
    """Return a warning if a registration did not fail but is worse than usual.

    Returns
    -------
    tuple of str
        One sentence, or nothing.
    """
    score = prepared.registration_score
    if score >= ALIGNED or not _is_registered(prepared):
        return ()
    return (
        f"registration to MNI space is doubtful: the brain's correlation with the template is "
        f"{score:.2f}, usually {USUAL_SCORE}: check the checkerboard of the quality page",
    )


def _is_registered(prepared: Prepared) -> bool:
    return prepared.decisions.get(REGISTRATION) not in (None, Decision.NOT_REQUESTED)
