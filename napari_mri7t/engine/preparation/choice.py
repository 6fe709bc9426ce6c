"""Which of the bundled models a scan is for: by its intensities and its noise."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from napari_mri7t.engine.metrics.noise import noise_level
from napari_mri7t.engine.models.card import DEFAULT_MODEL, REPORT_MODEL, find_model, read_card
from napari_mri7t.engine.preparation.domain import contrast_distance
from napari_mri7t.engine.volumes.brain import background_of, looks_extracted
from napari_mri7t.engine.volumes.scale import zeroed
from napari_mri7t.engine.volumes.volume import Volume

# Noise as a part of the bright tissue: the ten pseudo-3T brains 0.027 to 0.070, the 7T that they
# were made from 0.011 to 0.020, the template 0.010.
LEAST_NOISE = 0.023
BRIGHT = 95  # percentile of the brain
BY_SCAN = (DEFAULT_MODEL, REPORT_MODEL)  # where no model is named


def model_for(scan: Volume) -> str:
    """Return the bundled model that a scan is for.

    Parameters
    ----------
    scan : Volume
        T1w as it was given, on any linear scale.

    Returns
    -------
    str
        The report's model for an extracted brain whose histogram is nearer to that of its card than
        to the default's, with noise as strong as in the report's pseudo-3T; else the default.

    Examples
    --------
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> model_for(load_template())
    'scan_unet'
    """
    scan = zeroed(scan)
    if not looks_extracted(scan):
        return DEFAULT_MODEL
    array = scan.array
    brain = array > background_of(array)
    if not brain.any():
        return DEFAULT_MODEL
    nearest = min(BY_SCAN, key=lambda name: _distance(array, name))
    least = LEAST_NOISE * np.percentile(array[brain], BRIGHT)
    return nearest if nearest == DEFAULT_MODEL or noise_level(array) >= least else DEFAULT_MODEL


def _distance(array: np.ndarray, name: str) -> float:
    """Return how far intensities are from what a model's card expects."""
    quantiles = read_card(find_model(name)).preprocessing["intensity_quantiles"]
    return contrast_distance(array, np.asarray(quantiles))


def model_for_all(names: Iterable[str]) -> str:
    """Return the model for several scans, each for one of `names`: the default unless all agree."""
    agreed = set(names)
    return agreed.pop() if len(agreed) == 1 else DEFAULT_MODEL


def possible_models(model: str | None) -> tuple[Path, ...]:
    """Return the folders of the models that may serve: the named one, or those chosen by scan.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    return tuple(find_model(name) for name in ([model] if model else BY_SCAN))
