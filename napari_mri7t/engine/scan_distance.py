"""How far a prepared scan lies from what a model was trained on, in numbers and in words."""

import numpy as np

from napari_mri7t.engine.cards import ModelCard
from napari_mri7t.engine.domain import LARGEST_CONTRAST_DISTANCE, contrast_distance, sizes_in_words
from napari_mri7t.engine.preparation.brain_extraction import BRAIN_LITRES
from napari_mri7t.engine.preparation.raw_scan import Prepared
from napari_mri7t.engine.preparation.recognition import ALIGNED, FAILED

USUAL_SCORE = "0.74 to 0.80"  # of the training brains with the template
NOT_REGISTERED = "skipped: not asked for"


def distance_in_words(prepared: Prepared, card: ModelCard) -> tuple[str, ...]:
    """Say how far a prepared scan lies from what the model was trained on.

    Parameters
    ----------
    prepared : Prepared
    card : ModelCard

    Returns
    -------
    tuple of str
        Spacing, mask volume, registration, intensities: each with its number and what is usual.
    """
    sizes, trained = (
        sizes_in_words(each)
        for each in (prepared.scan.voxel_size, card.preprocessing["voxel_size_mm"])
    )
    score = prepared.facts.get("registration_score", float("nan"))
    verdict = "good" if score >= ALIGNED else "doubtful" if score >= FAILED else "bad"
    if prepared.facts["registration"] == NOT_REGISTERED:
        verdict = "not registered"
    low, high = BRAIN_LITRES
    quantiles = np.asarray(card.preprocessing["intensity_quantiles"], float)
    distance = contrast_distance(prepared.brain.array, quantiles)
    return (
        f"voxels {sizes} mm (trained on {trained})",
        f"brain {prepared.facts['brain_litres']:.2f} litres (plausible {low} to {high})",
        f"correlation with the template {score:.2f}: {verdict} (good from {ALIGNED:g}, "
        f"training data: {USUAL_SCORE})",
        f"histogram's distance {distance:.3f} (training data: 0 to 0.06, "
        f"a warning above {LARGEST_CONTRAST_DISTANCE:g})",
    )


def doubts(prepared: Prepared) -> tuple[str, ...]:
    """Warn of a registration that neither failed nor is as good as usual.

    Parameters
    ----------
    prepared : Prepared

    Returns
    -------
    tuple of str
        One sentence, or nothing.
    """
    score = prepared.facts["registration_score"]
    if score >= ALIGNED or prepared.facts["registration"] == NOT_REGISTERED:
        return ()
    return (
        f"registration to MNI space is doubtful: the brain correlates with the template by "
        f"{score:.2f}, where {USUAL_SCORE} is usual: look at the checkerboard of the quality page",
    )
