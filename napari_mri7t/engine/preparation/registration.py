"""Where a brain lies in MNI space: rigid registration, user's transforms, and how good they are.

Transforms are (4, 4), from mm of the scan to mm of MNI space, both RAS+.

References
----------
.. [1] Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE
   Transactions on Medical Imaging 22(1):120-128, 2003. DOI 10.1109/TMI.2003.809072.
"""

from collections.abc import Generator
from typing import Any

import numpy as np

from napari_mri7t.engine.preparation.native import in_one_itk_thread, optional
from napari_mri7t.engine.preparation.resampling import box_of, coarse, upright_grid
from napari_mri7t.engine.volume import Volume

REGISTRATION_MM = 2.0  # voxels both brains have while they are registered
N_BINS = 32
SHRINK_FACTORS = (4, 2, 1)  # of those voxels, level by level
SMOOTHING_MM = (4.0, 2.0, 0.0)
SAMPLED = 0.3  # part of the voxels that the metric looks at
SEED = 1  # of where between them it looks; ITK's own default is the clock
STEPS = (2.0, 1e-3, 200)  # of the optimiser: first and last length, number
BOX_MARGIN_MM = 10.0


def register(brain: Volume, template: Volume) -> Generator[None, None, np.ndarray]:
    """Find the rigid transform that lays a brain over the template's.

    Parameters
    ----------
    brain : Volume
        Extracted: 0 outside the brain.
    template : Volume
        In MNI space, extracted.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        mm of the scan to mm of MNI space.

    Raises
    ------
    Mri7tError
        If SimpleITK is missing or the optimiser fails.
    """
    sitk = optional("SimpleITK", "registration")
    fixed = _upright(template)
    moving = _upright(brain)
    start = sitk.Euler3DTransform()
    centre = centre_of(fixed)
    start.SetCenter(centre.tolist())
    start.SetTranslation((centre_of(moving) - centre).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(N_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLED, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)
    length, last, n_steps = STEPS
    method.SetOptimizerAsRegularStepGradientDescent(length, last, n_steps)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK_FACTORS)
    method.SetSmoothingSigmasPerLevel(SMOOTHING_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    images = [_image(sitk, volume) for volume in (fixed, moving)]
    found = yield from in_one_itk_thread(sitk, lambda: method.Execute(*images), method.Abort)
    return np.linalg.inv(matrix_of(found))


def matrix_of(transform: Any) -> np.ndarray:
    """Read any linear transform of ITK as a matrix, by what it does to points; (4, 4)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(
        [np.array(transform.TransformPoint(row)) - origin for row in np.eye(3).tolist()], axis=1
    )
    matrix[:3, 3] = origin
    return matrix


def centre_of(volume: Volume) -> np.ndarray:
    """Find the centre of what lies above 0; (3,), mm."""
    occupied = np.argwhere(volume.array > 0).mean(axis=0)
    centre: np.ndarray = volume.affine[:3, :3] @ occupied + volume.affine[:3, 3]
    return centre


def _upright(brain: Volume) -> Volume:
    """Resample a brain to a coarse grid along the anatomical axes: ITK then needs no direction."""
    grid = upright_grid(box_of(brain.array > 0, brain.affine, BOX_MARGIN_MM), REGISTRATION_MM)
    return grid.with_array(coarse(brain, grid))


def _image(sitk: Any, volume: Volume) -> Any:
    """Hand a volume on an upright grid to ITK, with RAS+ mm for its physical space."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.T))
    image.SetSpacing(volume.voxel_size)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    return image
