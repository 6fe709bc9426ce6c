"""How uncertain an estimate is, voxel by voxel: half of the width of its 90 % interval.

The estimates of one voxel, by the slabs, planes and mirror images that are averaged, differ.
`metrics.calibration` turns their spread into an interval, by factors that were found on held-out
brains and are part of the model's card.
"""

from typing import Any

import numpy as np

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.metrics.calibration import Calibration, calibration_from, local_spread
from napari_mri7t.engine.models.card import ModelCard, models
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.volumes.intensity import Harmonization

UNCERTAINTY = "uncertainty"  # what a sidecar says was done
UNITS = "arbitrary"  # as BIDS writes the intensities of a T1w scan
CALIBRATED = ("step", "planes", "flips")  # settings that decide the spread
MEANING = (
    "Half of the width of the {percent:g} % interval around each voxel of the synthetic image, in "
    "that image's intensities; 0 outside the brain, where nothing is estimated. Calibrated on "
    "held-out brains with simulated noise: it knows no lesion, artefact or scanner that was not "
    "among them."
)


def why_uncalibrated(card: ModelCard, config: SynthesisConfig | None = None) -> str | None:
    """Return why a model cannot estimate its uncertainty; None if it can.

    Parameters
    ----------
    card : ModelCard
    config : SynthesisConfig, optional
        The settings that it would run with; by default those it was calibrated with.

    Examples
    --------
    >>> from napari_mri7t.engine.models.card import find_model, read_card
    >>> why_uncalibrated(read_card(find_model("slice_unet"))) is None
    True
    >>> why_uncalibrated(read_card(find_model("slice_unet")), SynthesisConfig(step=3))
    'slice_unet: its uncertainty was calibrated with step 1, planes axial, flips False: use these'
    """
    if not card.uncertainty:
        known = ", ".join(each.name for each in models() if each.uncertainty)
        return (
            f"{card.name}: its uncertainty was never calibrated on held-out brains: choose {known}"
        )
    wanted = card.uncertainty.get("settings", {})
    asked = None if config is None else config.of_model(card)
    if asked is None or all(_plain(getattr(asked, key)) == wanted.get(key) for key in CALIBRATED):
        return None
    settings = ", ".join(f"{key} {_shown(wanted.get(key))}" for key in CALIBRATED)
    return f"{card.name}: its uncertainty was calibrated with {settings}: use these"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def calibration_of(card: ModelCard, config: SynthesisConfig) -> Calibration:
    """Return the calibration of a model's uncertainty, if it holds for these settings.

    Parameters
    ----------
    card : ModelCard
    config : SynthesisConfig
        With the step that is really taken.

    Raises
    ------
    ModelError
        If the model was never calibrated, or with other settings.
    """
    if reason := why_uncalibrated(card, config):
        raise ModelError(reason, argument="uncertainty")
    try:
        return calibration_from(card.uncertainty)
    except ValueError as error:
        raise ModelError(f"{card.name}: its card has {error}: install the model again") from error


def half_width(
    source: np.ndarray,
    estimate: np.ndarray,
    spread: np.ndarray,
    calibration: Calibration,
    harmonization: Harmonization,
) -> np.ndarray:
    """Return half of the interval's width around every voxel, in the scan's intensities.

    Parameters
    ----------
    source, estimate : ndarray of float32, 3-D
        In [0, 1], before they are mapped back to the scan.
    spread : ndarray of float32, same shape
        Standard deviation of the estimates that were averaged; 0 outside the brain.
    calibration : Calibration
    harmonization : Harmonization
        Its map to the scan is not linear: the half-width is scaled by its mean slope within the
        interval.

    Returns
    -------
    ndarray of float32, same shape
    """
    width = calibration.half_width(estimate, local_spread(spread, estimate - source))
    if harmonization.scan is not None and harmonization.model is not None:
        low, high = (estimate - width).clip(0, 1), (estimate + width).clip(0, 1)
        ends = [np.interp(end, harmonization.model, harmonization.scan) for end in (low, high)]
        width = width * (ends[1] - ends[0]) / np.maximum(high - low, np.finfo(np.float32).eps)
    return width.astype(np.float32)


def describe(card: ModelCard) -> dict[str, Any]:
    """Return what the sidecar of an uncertainty says besides its provenance.

    Parameters
    ----------
    card : ModelCard
        Of a calibrated model.
    """
    facts = card.uncertainty
    return {
        "Units": UNITS,
        "Description": MEANING.format(percent=100 * facts["interval"]),
        "Calibration": {
            key: facts[key] for key in ("interval", "coverage", "held_out") if key in facts
        },
    }
