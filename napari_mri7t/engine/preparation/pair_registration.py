"""Registration of one person's 3T scan to the 7T scan.

Transforms are (4, 4), from mm of the 3T to mm of the 7T, both RAS+.

References
----------
.. [1] Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE
   Transactions on Medical Imaging 22(1):120-128, 2003. DOI 10.1109/TMI.2003.809072.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from napari_mri7t.engine.metrics.pair_agreement import normalized_mutual_information
from napari_mri7t.engine.preparation.optional import in_one_itk_thread, optional
from napari_mri7t.engine.preparation.registration import (
    N_BINS,
    REGISTRATION_MM,
    SEED,
    centre_of,
    itk_image,
    matrix_of,
)
from napari_mri7t.engine.preparation.steps import REGISTRATION, running
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.volumes.grids import (
    CUBIC,
    LINEAR,
    bounding_box_mm,
    downsample,
    resample,
    upright_grid,
)
from napari_mri7t.engine.volumes.volume import Volume

FINE_MM = 1.0  # voxels of both brains at the end
COARSER = 1.1  # a scan whose voxels are finer than this part of a grid's is smoothed first
BOX_MARGIN_MM = 10.0
RIM_VOXELS = 2  # of the masks, which two extractions draw differently
COARSE_MM = 4.0  # voxels from which every start is tried
PITCHES = (0.0, 0.15, -0.15)  # radians about the left-right axis, along which heads differ most
N_KEPT = 2  # of the starts, after the first level
LARGEST_SCALING = 1.1  # of an affine transform along any direction; more is a failure
# The levels: part of the voxels that the metric looks at; the optimiser's first and last length
# in mm and number of steps.
SAMPLED = (1.0, 1.0, 0.2)
STEPS = ((4.0, 0.02, 100), (1.0, 1e-3, 100), (1.0, 1e-4, 200))
COARSE, MIDDLE, FINE = range(3)
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def register_pair(
    source: Volume,
    target: Volume,
    starts: Sequence[np.ndarray],
    *,
    affine: bool = False,
    report: Report = ignore,
) -> np.ndarray:
    """Find the transform that aligns the 3T brain with the 7T brain by mutual information [1].

    Parameters
    ----------
    source, target : Volume
        3T and 7T, extracted, without their bias field.
    starts : sequence of ndarray, shape (4, 4)
        Rough transforms, besides those of `starts_between`: each is improved at 4 mm, the best two
        at 2 mm, the best of them at 1 mm.
    affine : bool
        Allow scaling and shearing at the end, by up to 10 %. Where that brings no information, the
        transform stays rigid.
    report : callable
        Called every 0.2 s; what it raises stops the optimiser.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        mm of the 3T to mm of the 7T.

    Raises
    ------
    Mri7tError
        If SimpleITK is missing or the optimiser fails.
    """
    pairs = [
        [upright(each, voxel_mm) for each in (target, source)]
        for voxel_mm in (COARSE_MM, REGISTRATION_MM, FINE_MM)
    ]
    found = [
        _optimise(pairs[COARSE], start, COARSE, False, report)
        for start in (*starts, *starts_between(source, target))
    ]

    def fit(transform: np.ndarray) -> float:
        return information_at(source, target, transform)

    best = sorted(found, key=fit, reverse=True)[:N_KEPT]
    better = [_optimise(pairs[MIDDLE], start, MIDDLE, False, report) for start in best]
    fine = _optimise(pairs[FINE], max(better, key=fit), FINE, False, report)
    found = [fine]
    for level in (MIDDLE, FINE) if affine else ():
        free = _optimise(pairs[level], found[-1], level, True, report)
        found += [free] if is_plausible(free) else []
    return max(found, key=fit)


def is_plausible(transform: np.ndarray) -> bool:
    """Return whether a transform between two scans of one head scales and shears it little.

    Examples
    --------
    >>> is_plausible(np.diag([1.02, 1, 1, 1])), is_plausible(np.diag([1.3, 1, 1, 1]))
    (True, False)
    """
    scales = np.linalg.svd(transform[:3, :3], compute_uv=False)
    is_little = scales[-1] >= 1 / LARGEST_SCALING and scales[0] <= LARGEST_SCALING
    return bool(is_little and np.linalg.det(transform[:3, :3]) > 0)


def is_rigid(transform: np.ndarray) -> bool:
    """Return whether a transform neither scales nor shears.

    Examples
    --------
    >>> is_rigid(np.eye(4)), is_rigid(np.diag([1.02, 1, 1, 1]))
    (True, False)
    """
    matrix = transform[:3, :3]
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6))


def starts_between(source: Volume, target: Volume) -> list[np.ndarray]:
    """Return transforms that bring one brain over the other, pitched by 0 and 0.15 radians.

    Parameters
    ----------
    source, target : Volume
        3T and 7T, extracted.

    Returns
    -------
    list of ndarray, shape (4, 4)
        Between the centres of mass, and between those of the boxes around the brains.
    """
    masses = [centre_of(brain) for brain in (source, target)]
    boxes = [bounding_box_mm(each.array > 0, each.affine).mean(axis=0) for each in (source, target)]
    found = []
    for moving, fixed in (masses, boxes):
        for pitch in PITCHES:
            cosine, sine = np.cos(pitch), np.sin(pitch)
            matrix = np.eye(4)
            matrix[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
            matrix[:3, 3] = fixed - matrix[:3, :3] @ moving
            found.append(matrix)
    return found


def refine_roughly(
    source: Volume, target: Volume, start: np.ndarray, report: Report = ignore
) -> np.ndarray:
    """Improve a rough rigid transform at 2 mm; parameters as for `register_pair`."""
    pair = [upright(each, REGISTRATION_MM) for each in (target, source)]
    return _optimise(pair, start, MIDDLE, False, report)


def informations_both_ways(
    source: Volume,
    target: Volume,
    to_target: np.ndarray,
    to_mni: np.ndarray,
    report: Report = ignore,
) -> tuple[float, float]:
    """Return the mutual information of two brains, and that with the 3T mirrored, at 2 mm.

    Parameters
    ----------
    source, target : Volume
        3T and 7T, extracted.
    to_target, to_mni : ndarray, shape (4, 4)
        mm of the 3T to mm of the 7T, and these to mm of MNI space, whose middle is the mirror.
    report : callable
        As for `register_pair`.
    """
    whole = to_mni @ to_target
    mirror = np.linalg.inv(whole) @ MIRROR @ whole
    found = []
    for change in (np.eye(4), mirror):
        seen = Volume(source.array, change @ source.affine, source.name)
        again = refine_roughly(seen, target, to_target, report)
        found.append(information_at(seen, target, again))
    return found[0], found[1]


def information_at(source: Volume, target: Volume, transform: np.ndarray) -> float:
    """Return the normalised mutual information of two brains at 2 mm, where both are, 1 to 2."""
    grid = upright(target, REGISTRATION_MM)
    moved = downsample(source, grid, transform)
    both = _inner(grid.array > 0) & (moved > 0)
    return normalized_mutual_information(grid.array, moved, both) if both.any() else 1.0


def upright(brain: Volume, voxel_mm: float) -> Volume:
    """Resample a brain to a grid along the anatomical axes; ITK then needs no direction."""
    mask = brain.array > 0
    grid = upright_grid(bounding_box_mm(mask, brain.affine, BOX_MARGIN_MM), voxel_mm)
    is_finer = voxel_mm > COARSER * min(brain.voxel_size)
    array = downsample(brain, grid) if is_finer else resample(brain, grid, order=CUBIC)
    inside = resample(brain.with_array(mask), grid, order=LINEAR) > 0.5
    return grid.with_array(np.where(inside, array.clip(np.finfo(np.float32).tiny), 0))


def _inner(mask: np.ndarray) -> np.ndarray:
    found: np.ndarray = binary_erosion(mask, iterations=RIM_VOXELS)
    return found if found.any() else mask


def _optimise(
    brains: Sequence[Volume], start: np.ndarray, level: int, affine: bool, report: Report
) -> np.ndarray:
    """Improve a transform: `brains` are the 7T and the 3T on upright grids."""
    sitk = optional("SimpleITK", REGISTRATION)
    method = _method(sitk, level)
    if level != COARSE:  # there the surface of the brain helps
        masks = [brain.with_array(_inner(brain.array > 0)) for brain in brains]
        method.SetMetricFixedMask(sitk.Cast(itk_image(sitk, masks[0]), sitk.sitkUInt8))
        method.SetMetricMovingMask(sitk.Cast(itk_image(sitk, masks[1]), sitk.sitkUInt8))
    initial = _initial(sitk, np.linalg.inv(start), centre_of(brains[0]), affine)
    method.SetInitialTransform(initial, inPlace=False)
    images = [itk_image(sitk, brain) for brain in brains]
    now = running(REGISTRATION)
    found = in_one_itk_thread(sitk, lambda: method.Execute(*images), report, now, method.Abort)
    return np.linalg.inv(matrix_of(found))


def _method(sitk: Any, level: int) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(N_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLED[level], SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)
    method.SetOptimizerAsRegularStepGradientDescent(*STEPS[level])
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _initial(sitk: Any, to_source: np.ndarray, centre: np.ndarray, affine: bool) -> Any:
    """Return an ITK transform about a centre, from mm of the 7T to mm of the 3T."""
    transform = sitk.AffineTransform(3) if affine else sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    matrix = to_source[:3, :3]
    if not affine:  # the nearest rotation: a start may scale
        left, _, right = np.linalg.svd(matrix)
        matrix = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    transform.SetMatrix(matrix.ravel().tolist())
    moved = to_source[:3, :3] @ centre + to_source[:3, 3]
    transform.SetTranslation((moved - centre).tolist())
    return transform
