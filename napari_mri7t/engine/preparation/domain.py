"""How a scan differs from what a model was trained on."""

import numpy as np

from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.checks import (
    SPACING_TOLERANCE,
    is_dark_within,
    sizes_in_words,
)
from napari_mri7t.engine.volumes.brain import (
    BRAIN_LITRES,
    background_of,
    brain_litres,
    is_mostly_background,
)
from napari_mri7t.engine.volumes.intensity import brain_quantiles
from napari_mri7t.engine.volumes.volume import Volume

LARGEST_TILT = 15.0  # degrees
# Mean difference of brain quantiles, 2 and 98 % at 0 and 1: the ten training brains reach 0.06,
# six real 3T scans 0.08 to 0.11 once corrected (docs/raw_scans.md), inverted contrast 0.35.
LARGEST_CONTRAST_DISTANCE = 0.1
TAIL = 0.02  # part of the brain at either end that is left out: vessels, rims


def check_domain(volume: Volume, card: ModelCard) -> tuple[str, ...]:
    """Compare a scan with what a model expects.

    Returns
    -------
    tuple of str
        One sentence per difference; empty where the scan fits.
    """
    found = [*check_grid(volume, card)]
    if card.preprocessing.get("brain_extracted", True) and (why := _why_no_brain(volume)):
        found.append(why)
    quantiles = np.asarray(card.preprocessing["intensity_quantiles"])
    distance = contrast_distance(volume.array, quantiles)
    if distance > LARGEST_CONTRAST_DISTANCE:
        found.append(
            f"intensity histogram differs from the training data ({distance:.3f}; limit "
            f"{LARGEST_CONTRAST_DISTANCE:.2f}): check that the scan is T1w and free of a bias field"
        )
    return tuple(found)


def check_grid(volume: Volume, card: ModelCard) -> tuple[str, ...]:
    """Compare a scan's voxels with what a model expects, which no preparation changes.

    Returns
    -------
    tuple of str
        As `check_domain`: of their size, and of how far they are tilted.
    """
    found = []
    sizes = sizes_in_words(volume.voxel_size)
    smallest, largest = (np.array(volume.voxel_size) / bound for bound in card.voxel_bounds_mm)
    if (smallest < 1 - SPACING_TOLERANCE).any() or (largest > 1 + SPACING_TOLERANCE).any():
        found.append(f"voxels are {sizes} mm; the model is for {voxels_in_words(card)} mm")
    tilt = _tilt(volume.affine)
    if tilt > LARGEST_TILT:
        found.append(
            f"the scan is tilted by {tilt:.0f} degrees; the model was trained on upright brains: "
            "reorient it"
        )
    return tuple(found)


def check_ahead(scan: Volume, card: ModelCard, *, is_prepared: bool) -> tuple[str, ...]:
    """Compare a scan with what a model expects, as far as that is known before a run.

    Parameters
    ----------
    scan : Volume
        As it was given.
    card : ModelCard
    is_prepared : bool
        Whether the scan will be prepared, which changes all but its voxels.

    Returns
    -------
    tuple of str
        As `check_domain`.
    """
    return check_grid(scan, card) if is_prepared else check_domain(scan, card)


def _why_no_brain(volume: Volume) -> str:
    """Return why a scan does not look like one extracted brain; empty if it does."""
    foreground = volume.array > background_of(volume.array)
    litres = brain_litres(volume, foreground)
    low, high = BRAIN_LITRES
    told = f"{litres:.2f} litres lie above the background (adult brains: {low} to {high}): "
    if litres < low:
        return f"{told}check the brain mask, unless the scan shows only a part of a brain"
    if not is_mostly_background(foreground):
        return (
            "the background is not 0: the scan does not look brain-extracted; extract the brain "
            "first"
        )
    if litres > high:
        return f"{told}check the brain mask"
    if is_dark_within(volume.with_array(np.where(foreground, volume.array, 0))):
        return (
            "the brain is darker within than near its surface, unlike a T1w image: check that it "
            "is no T2w, FLAIR or map"
        )
    return ""


def contrast_distance(array: np.ndarray, quantiles: np.ndarray) -> float:
    """Return how far a scan's distribution of brain intensities is from a model's.

    Parameters
    ----------
    array : ndarray
        The scan, any scale; the brain is what lies above the background.
    quantiles : ndarray, shape (n,)
        Of the model's reference, at even steps from 0 to 1.

    Returns
    -------
    float
        Mean absolute difference of the quantiles between 2 and 98 %, which are put at 0 and 1; 0
        where the model's are too few to tell.
    """
    levels = np.linspace(0, 1, len(quantiles))
    inner = (levels >= TAIL) & (levels <= 1 - TAIL)
    if not inner.any():
        return 0.0
    curves = []
    for each in (brain_quantiles(array, len(quantiles)), quantiles):
        low, high = np.interp((TAIL, 1 - TAIL), levels, each)
        curves.append((each[inner] - low) / max(high - low, np.finfo(float).tiny))
    return float(np.abs(curves[0] - curves[1]).mean())


def voxels_in_words(card: ModelCard) -> str:
    """Return the voxels that a model is for, as in "1 x 1 x 1" or "0.87 to 1"."""
    smallest, largest = card.voxel_bounds_mm
    if smallest == largest:
        return sizes_in_words(smallest)
    return f"{smallest[0]:g} to {largest[0]:g}"


def _tilt(affine: np.ndarray) -> float:
    """Return the largest angle of a voxel axis to its nearest anatomical axis, degrees."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(directions).max(axis=0).clip(0, 1)
    return float(np.degrees(np.arccos(cosines)).max())
