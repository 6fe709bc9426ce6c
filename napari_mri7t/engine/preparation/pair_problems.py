"""What may be wrong with a pair of scans, named."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from napari_mri7t.engine.metrics.pair_agreement import PairAgreement
from napari_mri7t.engine.metrics.tissue import GREY, WHITE, cluster_tissues
from napari_mri7t.engine.volumes.grids import bounding_box_mm, downsample, upright_grid
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume

LEAST_OVERLAP = 0.85  # of the two masks
FARTHEST_MM = 0.8  # between the boundaries of white matter
LEAST_INFORMATION = 1.06
LEAST_CONTRAST = 0.05  # of white over grey matter
FIELDS = ("3T", "7T")


def pair_problems(
    volumes: Sequence[Volume],
    mask: np.ndarray,
    agreement: PairAgreement,
    in_mni: Sequence[np.ndarray],
) -> tuple[str, ...]:
    """Return why a pair should not be trained on, a sentence for each reason.

    Parameters
    ----------
    volumes : sequence of Volume
        3T and 7T on one grid.
    mask : ndarray of bool
        The brain in both.
    agreement : PairAgreement
    in_mni : sequence of ndarray
        Both brains on the coarse grid of MNI space, each by its own registration.
    """
    found = [
        f"The {name} does not look T1-weighted: white matter is not brighter than grey matter."
        for name, array in zip(FIELDS, in_mni, strict=True)
        if _white_over_grey(array) < 1 + LEAST_CONTRAST
    ]
    if agreement.mirrored_information > agreement.mutual_information:
        found.append(
            "One scan seems to be mirrored left to right: the mirrored 3T fits the 7T better "
            f"({agreement.mirrored_information:.3f} against {agreement.mutual_information:.3f})."
        )
    elif not found and _is_apart(agreement):
        found.append(
            "The scans may show different people, or the registration failed: mutual information "
            f"{agreement.mutual_information:.3f}, boundaries {agreement.boundary_mm or 0:.2f} mm "
            "apart."
        )
    if agreement.overlap < LEAST_OVERLAP:
        found.append(
            f"The brain masks overlap by {agreement.overlap:.2f} only (usually 0.95): check both."
        )
    return tuple(found)


def _is_apart(agreement: PairAgreement) -> bool:
    is_far = agreement.boundary_mm is not None and agreement.boundary_mm > FARTHEST_MM
    return is_far or agreement.mutual_information < LEAST_INFORMATION


def _white_over_grey(array: np.ndarray) -> float:
    """Return the signal of white over that of grey matter, by the template's tissues."""
    white, grey = _template_tissues(array.shape)
    sides = [array[tissue & (array > 0)] for tissue in (white, grey)]
    if not all(side.size for side in sides):
        return 0.0
    return float(np.median(sides[0]) / max(np.median(sides[1]), np.finfo(np.float32).tiny))


@cache
def _template_tissues(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    template = load_template()
    for voxel_mm, margin in ((2.0, 10.0),):
        corners = bounding_box_mm(template.array > 0, template.affine, margin)
        coarse = downsample(template, upright_grid(corners, voxel_mm))
    tissues = cluster_tissues(coarse, coarse > 0.1)
    return tissues == WHITE, tissues == GREY
