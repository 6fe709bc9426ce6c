"""What may be wrong with a pair of scans, named."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from napari_mri7t.engine.metrics.pair_agreement import MOST_CORRELATION, PairAgreement
from napari_mri7t.engine.metrics.tissue import GREY, WHITE, cluster_tissues
from napari_mri7t.engine.volumes.grids import bounding_box_mm, downsample, upright_grid
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.provenance import refuse_made
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume

FIELDS = ("3T", "7T")
COMPARED_MM, MARGIN_MM = 2.0, 10.0  # voxels in which brains are compared, and around the template
BRAIN = 0.1  # of the template's range
LEAST_OVERLAP = 0.85  # of the two masks
# Measured on two people scanned twice: 0.23 mm and 1.24, with another person 1.54 mm and 1.03.
FARTHEST_MM = 0.8  # between the boundaries of white matter
LEAST_INFORMATION = 1.06
LEAST_BETTER = 0.01  # of the mirrored information: a symmetric brain fits both ways
LEAST_CONTRAST = 1.05  # of white over grey matter


def check_side(scan: Volume, field: str, *, is_uniform: bool = False) -> None:
    """Refuse what a training would refuse of a pair, before another grid hides what it is.

    Parameters
    ----------
    scan : Volume
    field : {"3T", "7T"}
    is_uniform : bool
        Whether it is the uniform image of an MP2RAGE, whose air is noise of any sign.

    Raises
    ------
    VolumeError
        If a model has made it, it is a pseudo-3T in the place of a 7T, or as `check_t1w`.
    """
    refuse_made(scan, field)
    if not is_uniform:
        check_t1w(scan)


def pair_problems(
    agreement: PairAgreement, in_mni: Mapping[str, np.ndarray | None]
) -> tuple[str, ...]:
    """Return why a pair should not be trained on, a sentence for each reason.

    Parameters
    ----------
    agreement : PairAgreement
    in_mni : mapping of str to ndarray
        "3T" and "7T" to the brain on `comparison_grid`, each by its own registration; None where
        there is none.
    """
    found = [
        f"The {name} does not look T1-weighted: white matter is not brighter than grey matter."
        for name, array in in_mni.items()
        if array is not None and _white_over_grey(array) < LEAST_CONTRAST
    ]
    if agreement.mirrored_information > agreement.mutual_information + LEAST_BETTER:
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
    if agreement.correlation > MOST_CORRELATION:
        found.append(
            "One scan seems to be a copy of the other: their correlation is "
            f"{agreement.correlation:.4f} (two scans of one person: below 0.99)."
        )
    if agreement.overlap < LEAST_OVERLAP:
        found.append(
            f"The brain masks overlap by {agreement.overlap:.2f} only (usually 0.95): check both."
        )
    return tuple(found)


def comparison_grid() -> Volume:
    """Return the empty grid of 2 mm in MNI space in which brains are compared."""
    template = load_template()
    corners = bounding_box_mm(template.array > 0, template.affine, MARGIN_MM)
    return upright_grid(corners, COMPARED_MM)


def comparable(volume: Volume, to_mni: np.ndarray) -> np.ndarray:
    """Resample an image of a pair to a coarse grid in MNI space, where people are compared.

    Parameters
    ----------
    volume : Volume
        0 outside the brain.
    to_mni : ndarray, shape (4, 4)
        mm of its grid to mm of MNI space: `source_grid_to_mni` or `target_grid_to_mni`.

    Returns
    -------
    ndarray of float32
        One shape for all.
    """
    return downsample(volume, comparison_grid(), to_mni)


def _is_apart(agreement: PairAgreement) -> bool:
    is_far = agreement.boundary_mm is not None and agreement.boundary_mm > FARTHEST_MM
    return is_far or agreement.mutual_information < LEAST_INFORMATION


def _white_over_grey(array: np.ndarray) -> float:
    """Return the signal of white over that of grey matter, by the template's tissues."""
    sides = [array[tissue & (array > 0)] for tissue in _template_tissues()]
    if not all(side.size for side in sides):
        return 0.0
    return float(np.median(sides[0]) / max(np.median(sides[1]), np.finfo(np.float32).tiny))


@cache
def _template_tissues() -> tuple[np.ndarray, np.ndarray]:
    coarse = downsample(load_template(), comparison_grid())
    tissues = cluster_tissues(coarse, coarse > BRAIN)
    return tissues == WHITE, tissues == GREY
