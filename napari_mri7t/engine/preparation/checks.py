"""What a scan needs before a model can process it."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.registration import centre_of
from napari_mri7t.engine.preparation.steps import EXTRACTION, REGISTRATION, Decision
from napari_mri7t.engine.volumes.brain import (
    BRAIN_LITRES,
    background_of,
    brain_litres,
    foreground_mask,
    looks_extracted,
)
from napari_mri7t.engine.volumes.grids import (
    LINEAR,
    bounding_box_mm,
    downsample,
    resample,
    upright_grid,
)
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume

MODEL_VOXEL_MM = 1.0  # of every volume the models were trained on
SPACING_TOLERANCE = 0.1  # relative
LARGEST_VOXEL_MM = 2.0
ROUNDING = 1.001  # an oblique affine in float32 holds voxels of 2 mm as 2.00000004
LARGEST_ANISOTROPY = 2.0  # longest over shortest side of a voxel
SCORING_MM = 4.0  # voxels of both brains while they are compared
# A brain lies in MNI space if it correlates with the template by more than IN_PLACE, and less when
# moved: it then lies there within half of the moves. Measured (docs/raw_scans.md): training brains
# and their pseudo-3T correlate by 0.56 and more, mirrored or turned by 90 degrees by 0.28 at most.
IN_PLACE = 0.42
MOVE_MM, MOVE_DEGREES = 8.0, 8.0
PLACE_MARGIN_MM = 24.0  # around the template: room for a brain that is moved
BRAIN_EDGE = 0.05  # part of the greatest intensity that counts as brain in a smoothed brain
# Measured (docs/raw_scans.md): the training brains score 0.74 to 0.80 as they lie, real scans 0.6
# and more after registration; turned by 90 degrees or mirrored front to back or top to bottom no
# brain scores more than 0.49.
ALIGNED = 0.6
FAILED = 0.55
CUT = 0.2  # area of an end plane over the largest; a whole brain ends in tips
SIDES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))  # RAS+
ORIENTATION = (
    "check that the header's orientation is correct (the scan may be mirrored or rotated by 90 "
    "degrees) and that the scan is a T1w image of a whole head; or provide a transform"
)
GREY_LAYER_MM, WHITE_LAYER_MM = (4.0, 8.0), (14.0, 30.0)  # below the surface: mostly grey, white


def check_resolution(scan: Volume, *, allowed: bool = False) -> tuple[str, ...]:
    """Check that a scan is not too coarse or too anisotropic for the models.

    Parameters
    ----------
    scan : Volume
    allowed : bool
        True returns a warning instead of raising.

    Returns
    -------
    tuple of str
        The warning, or nothing.

    Raises
    ------
    VolumeError
        If the scan is out of the domain and that is not allowed.
    """
    sizes = scan.voxel_size
    largest, ratio = max(sizes) / ROUNDING, max(sizes) / min(sizes) / ROUNDING
    if largest <= LARGEST_VOXEL_MM and ratio <= LARGEST_ANISOTROPY:
        return ()
    what = (
        f"voxels of {sizes_in_words(sizes)} mm; the models were trained at 1 mm and accept at most "
        f"{LARGEST_VOXEL_MM:g} mm, and voxels at most {LARGEST_ANISOTROPY:g} times longer than wide"
    )
    if allowed:
        return (f"outside the models' domain: {what}: do not rely on the result",)
    raise VolumeError(
        f"{scan.name}: {what}: use another scan, or allow scans outside the models' domain",
        argument="allow_out_of_domain",
    )


def check_handedness(scan: Volume) -> None:
    """Check that a file's sform and qform agree on which side is left.

    Parameters
    ----------
    scan : Volume
        With its file's geometry, if it came from one.

    Raises
    ------
    VolumeError
        If both forms count and one is the mirror image of the other.
    """
    geometry = scan.geometry
    if geometry is None or geometry.sform_code <= 0 or geometry.qform_code <= 0:
        return
    handed = [np.linalg.det(form[:3, :3]) for form in (geometry.sform, geometry.qform)]
    if handed[0] * handed[1] < 0:
        raise VolumeError(
            f"{scan.name}: sform and qform mirror each other, so left and right are ambiguous: "
            "find out which one is correct and set the other to it",
        )


def fits_as_it_is(scan: Volume) -> bool:
    """Return whether a scan needs no preparation, or shows too little for one.

    Returns
    -------
    bool
        True for a brain that is extracted, has voxels of 1 mm and lies in MNI space; also for
        less than a brain (a slab, a phantom), which no step can handle: such a scan goes to the
        model as is, with its warnings.
    """
    if brain_litres(scan, scan.array > background_of(scan.array)) < BRAIN_LITRES[0]:
        return True
    apart = np.abs(np.asarray(scan.voxel_size) / MODEL_VOXEL_MM - 1).max()
    if apart > SPACING_TOLERANCE or not looks_extracted(scan):
        return False
    return lies_in_mni(scan.with_array(np.where(foreground_mask(scan), scan.array, 0)))


def lies_in_mni(brain: Volume) -> bool:
    """Return whether a brain lies in MNI space as it is.

    It does where it correlates with the template, and less wherever it is moved to. Noise and
    contrast decide how high a correlation is, but not where it is highest.

    Parameters
    ----------
    brain : Volume
        0 outside the brain, whose holes may be 0, too.
    """
    template = load_template()
    corners = bounding_box_mm(template.array > 0, template.affine, PLACE_MARGIN_MM)
    grid = upright_grid(corners, SCORING_MM)
    fixed = downsample(template, grid)
    fixed_mask = downsample(template.with_array(template.array > 0), grid) > 0.5
    moving = grid.with_array(downsample(brain, grid))
    mask = binary_fill_holes(brain.array > 0).astype(np.float32)
    moving_mask = grid.with_array(downsample(brain.with_array(mask), grid))

    def likeness(move: np.ndarray) -> float:
        inside = resample(moving_mask, grid, move, order=LINEAR) > 0.5
        either = fixed_mask | inside
        moved = resample(moving, grid, move, order=LINEAR)[either]
        return float(np.corrcoef(fixed[either], moved)[0, 1]) if moved.any() else 0.0

    here = likeness(np.eye(4))
    if here < IN_PLACE:
        return False
    return all(likeness(move) < here for move in _moves(centre_of(template)))


def _moves(centre: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rigid moves both ways along and about each axis, mm."""
    for axis, way in itertools.product(range(3), (1, -1)):
        shift, turn, angle = np.eye(4), np.eye(4), np.radians(way * MOVE_DEGREES)
        shift[axis, 3] = way * MOVE_MM
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        turn[:3, 3] = centre - turn[:3, :3] @ centre
        yield from (shift, turn)


def alignment(brain: Volume, transform: np.ndarray) -> float:
    """Return how well a brain is aligned with the template's, whatever its size.

    Parameters
    ----------
    brain : Volume
        Extracted.
    transform : ndarray, shape (4, 4)
        mm of the scan to mm of MNI space.

    Returns
    -------
    float
        Correlation of the intensities at 4 mm, where either brain is, at most 1; the brain is
        scaled about its centre to the template's volume, since a rigid transform leaves a small
        brain small.
    """
    template = load_template()
    grid = upright_grid(
        bounding_box_mm(template.array > 0, template.affine, SCORING_MM), SCORING_MM
    )
    if not (brain.array > background_of(brain.array)).any():
        return 0.0
    pair = [downsample(template, grid), downsample(brain, grid, transform @ enlargement(brain))]
    if pair[1].max() <= 0:
        return 0.0  # nowhere near the template
    either = np.logical_or(*(array > BRAIN_EDGE * array.max() for array in pair))
    return float(np.corrcoef(pair[0][either], pair[1][either])[0, 1])


def enlargement(brain: Volume) -> np.ndarray:
    """Return the scaling of a brain about its centre to the template's volume, (4, 4), mm."""
    volumes = [
        brain_litres(each, each.array > background_of(each.array))
        for each in (load_template(), brain)
    ]
    scale = (volumes[0] / volumes[1]) ** (1 / 3)
    scaling = np.diag([scale, scale, scale, 1.0])
    scaling[:3, 3] = (1 - scale) * centre_of(brain)
    return scaling


def enlarged(brain: Volume) -> Volume:
    """Return a brain with the template's volume; its voxels grow about its centre."""
    return Volume(brain.array, enlargement(brain) @ brain.affine, brain.name)


def check_alignment(
    brain: Volume, score: float, decisions: Mapping[str, Decision] | None = None
) -> None:
    """Check that a brain is aligned with the template's after registration.

    A brain mirrored left to right is not detected: the template is symmetric.

    Parameters
    ----------
    brain : Volume
        0 outside the brain.
    score : float
        As `alignment` returns it.
    decisions : mapping, optional
        How each step was decided.

    Raises
    ------
    VolumeError
        If the score is too low, with the likeliest reason.
    """
    if score >= FAILED:  # not so where there is none
        return
    what = (
        f"{brain.name}: registration to MNI space failed (its correlation with the template is "
        f"{score:.2f}, and at least {FAILED} is needed): "
    )
    how = dict(decisions or {})
    if how.get(REGISTRATION) is Decision.GIVEN:
        raise VolumeError(f"{what}the transform does not fit this scan", argument="transform")
    check_contrast(brain, what)
    if cut := _cut_sides(brain.array > 0):
        raise VolumeError(
            f"{what}the brain is cut off at its {' and '.join(cut)} end: use a scan of the whole "
            "brain, or provide a transform",
            argument="transform",
        )
    if how.get(EXTRACTION) is Decision.EXTRACTED:
        raise VolumeError(
            f"{what}the scan was taken for an extracted brain because its background is constant. "
            "If it shows skull or scalp, request the full preparation or provide a brain mask; "
            f"otherwise {ORIENTATION}",
            argument="prepare",
        )
    raise VolumeError(f"{what}{ORIENTATION}", argument="transform")


def check_contrast(brain: Volume, what: str = "") -> None:
    """Refuse a brain that does not look T1-weighted; `what` begins the message."""
    if is_dark_within(brain):
        raise VolumeError(
            f"{what}the brain is darker within than near its surface, so the scan does not look "
            "T1-weighted (T2w, FLAIR or PD?): use a T1w image"
        )


def is_dark_within(brain: Volume) -> bool:
    """Return whether a brain is darker within than near its surface, unlike a T1w image.

    Parameters
    ----------
    brain : Volume
        0 outside the brain.
    """
    steps = [max(1, round(SCORING_MM / 2 / size)) for size in brain.voxel_size]
    array = brain.array[tuple(slice(None, None, step) for step in steps)]
    sizes = [step * size for step, size in zip(steps, brain.voxel_size, strict=True)]
    brain_mask = binary_fill_holes(array > 0)  # where white matter saturated, an inverted one is 0
    depth = distance_transform_edt(np.pad(brain_mask, 1), sampling=sizes)[1:-1, 1:-1, 1:-1]
    layers = [
        array[(depth > low) & (depth <= high)] for low, high in (GREY_LAYER_MM, WHITE_LAYER_MM)
    ]
    return all(each.size for each in layers) and bool(np.median(layers[0]) > np.median(layers[1]))


def _cut_sides(mask: np.ndarray) -> list[str]:
    """Return the sides at which a brain ends in a plane, not in a tip."""
    sides = []
    for axis, names in enumerate(SIDES):
        areas = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        filled = areas[areas > 0]
        if filled.size:
            ends = zip(names, (filled[0], filled[-1]), strict=True)
            sides += [name for name, area in ends if area > CUT * filled.max()]
    return sides


def sizes_in_words(sizes: Iterable[float]) -> str:
    """Return the sides of a voxel as "0.87 x 0.87 x 1"."""
    return " x ".join(f"{round(float(size), 2):g}" for size in sizes)
