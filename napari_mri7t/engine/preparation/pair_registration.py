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
SAMPLED = 0.2  # part of the voxels that the metric looks at
SHRINKING = ((2, 1), (1,))  # voxels, level by level: from a rough start, and from a good one
SMOOTHING_MM = ((4.0, 2.0), (0.0,))
STEPS = (1.0, 1e-4, 200)  # of the optimiser: first and last length, number


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
        Rough transforms; each is improved at 2 mm, the best of them at 1 mm.
    affine : bool
        Allow scaling and shearing at the end.
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
    coarse = [upright(each, REGISTRATION_MM) for each in (target, source)]
    found = [_optimise(coarse, start, 0, False, report) for start in starts]
    best = max(found, key=lambda transform: information_at(source, target, transform))
    fine = [upright(each, FINE_MM) for each in (target, source)]
    best = _optimise(fine, best, 1, False, report)
    return _optimise(fine, best, 1, True, report) if affine else best


def refine_roughly(
    source: Volume, target: Volume, start: np.ndarray, report: Report = ignore
) -> np.ndarray:
    """Improve a rough rigid transform at 2 mm; parameters as for `register_pair`."""
    coarse = [upright(each, REGISTRATION_MM) for each in (target, source)]
    return _optimise(coarse, start, 0, False, report)


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
    brains: Sequence[Volume], start: np.ndarray, stage: int, affine: bool, report: Report
) -> np.ndarray:
    """Improve a transform: `brains` are the 7T and the 3T on upright grids."""
    sitk = optional("SimpleITK", REGISTRATION)
    method = _method(sitk, stage)
    masks = [brain.with_array(_inner(brain.array > 0).astype(np.float32)) for brain in brains]
    method.SetMetricFixedMask(sitk.Cast(itk_image(sitk, masks[0]), sitk.sitkUInt8))
    method.SetMetricMovingMask(sitk.Cast(itk_image(sitk, masks[1]), sitk.sitkUInt8))
    initial = _initial(sitk, np.linalg.inv(start), centre_of(brains[0]), affine)
    method.SetInitialTransform(initial, inPlace=False)
    images = [itk_image(sitk, brain) for brain in brains]
    now = running(REGISTRATION)
    found = in_one_itk_thread(sitk, lambda: method.Execute(*images), report, now, method.Abort)
    return np.linalg.inv(matrix_of(found))


def _method(sitk: Any, stage: int) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(N_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLED if stage else 1.0, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)
    method.SetOptimizerAsRegularStepGradientDescent(*STEPS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINKING[stage])
    method.SetSmoothingSigmasPerLevel(SMOOTHING_MM[stage])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _initial(sitk: Any, to_source: np.ndarray, centre: np.ndarray, affine: bool) -> Any:
    """Return an ITK transform about a centre, from mm of the 7T to mm of the 3T."""
    transform = sitk.AffineTransform(3) if affine else sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    matrix = to_source[:3, :3]
    if not affine:  # the nearest rotation: a start may scale
        left, _, right = np.linalg.svd(matrix)
        matrix = left @ right
    transform.SetMatrix(matrix.ravel().tolist())
    moved = to_source[:3, :3] @ centre + to_source[:3, 3]
    transform.SetTranslation((moved - centre).tolist())
    return transform
