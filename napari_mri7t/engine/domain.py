"""Is a scan like those a model was trained on? Differences, in words."""

from collections.abc import Iterable

import numpy as np

from napari_mri7t.engine.cards import ModelCard
from napari_mri7t.engine.preparation.brain_extraction import (
    BRAIN_LITRES,
    brain_litres,
    is_mostly_background,
)
from napari_mri7t.engine.preparation.harmonization import background_of, brain_quantiles
from napari_mri7t.engine.volume import Volume

SPACING_TOLERANCE = 0.1  # relative
LARGEST_TILT = 15.0  # degrees
# Mean difference of brain quantiles, 2 and 98 % at 0 and 1: the ten training brains reach 0.06,
# six real 3T scans 0.08 to 0.11 once corrected (docs/raw_scans.md), inverted contrast 0.35.
LARGEST_CONTRAST_DISTANCE = 0.1
TAIL = 0.02  # part of the brain at either end that is left out: vessels, rims


def check_domain(volume: Volume, card: ModelCard) -> tuple[str, ...]:
    """Compare a scan with what a model expects.

    Parameters
    ----------
    volume : Volume
    card : ModelCard

    Returns
    -------
    tuple of str
        One sentence per difference: what differs and what to do; empty where the scan fits.
    """
    found = []
    expected = np.asarray(card.preprocessing["voxel_size_mm"], float)
    if np.any(np.abs(np.asarray(volume.voxel_size) / expected - 1) > SPACING_TOLERANCE):
        found.append(
            f"voxels of {sizes_in_words(volume.voxel_size)} mm; the model was trained on "
            f"{sizes_in_words(expected)} mm: "
            "resample the scan, or compare with care"
        )
    foreground = volume.array > background_of(volume.array)
    litres = brain_litres(volume, foreground)
    if card.preprocessing.get("brain_extracted", True):
        if not is_mostly_background(foreground):
            found.append(
                "the background is not 0: the scan does not look brain-extracted; extract the "
                "brain first"
            )
        elif not BRAIN_LITRES[0] <= litres <= BRAIN_LITRES[1]:
            found.append(
                f"{litres:.2f} litres lie above 0, where an adult brain has "
                f"{BRAIN_LITRES[0]} to {BRAIN_LITRES[1]}: check the brain mask"
            )
    distance = contrast_distance(
        volume.array, np.asarray(card.preprocessing["intensity_quantiles"])
    )
    if distance > LARGEST_CONTRAST_DISTANCE:
        found.append(
            "the brain's intensities are distributed unlike those of the training data (by "
            f"{distance:.2f}, there at most {LARGEST_CONTRAST_DISTANCE:g}): check that the scan is "
            "T1w and free of a bias field, and look at the result with care"
        )
    tilt = _tilt(volume.affine)
    if tilt > LARGEST_TILT:
        found.append(
            f"the scan is tilted by {tilt:.0f} degrees; the model knows upright brains: reorient it"
        )
    return tuple(found)


def is_brain_extracted(array: np.ndarray) -> bool:
    """Tell by the part of its background whether a scan shows the brain alone.

    Parameters
    ----------
    array : ndarray
        The scan, any scale.

    Returns
    -------
    bool
    """
    return is_mostly_background(array > background_of(array))


def contrast_distance(array: np.ndarray, quantiles: np.ndarray) -> float:
    """Measure how far a scan's distribution of brain intensities is from a model's.

    Parameters
    ----------
    array : ndarray
        The scan, any scale; the brain is what lies above the background.
    quantiles : ndarray, shape (n,)
        Of the model's reference, at even steps from 0 to 1.

    Returns
    -------
    float
        Mean absolute difference of the quantiles between 2 and 98 %, which are put at 0 and 1.
    """
    levels = np.linspace(0, 1, len(quantiles))
    inner = (levels >= TAIL) & (levels <= 1 - TAIL)
    curves = []
    for each in (brain_quantiles(array, len(quantiles)), quantiles):
        low, high = np.interp((TAIL, 1 - TAIL), levels, each)
        curves.append((each[inner] - low) / max(high - low, np.finfo(float).tiny))
    return float(np.abs(curves[0] - curves[1]).mean())


def sizes_in_words(sizes: Iterable[float]) -> str:
    """Set the sides of a voxel as "1 x 1 x 1.2"."""
    return " x ".join(f"{size:.3g}" for size in sizes)


def _tilt(affine: np.ndarray) -> float:
    """Give the largest angle between a voxel axis and its nearest anatomical axis, degrees."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(directions).max(axis=0).clip(0, 1)
    return float(np.degrees(np.arccos(cosines)).max())
