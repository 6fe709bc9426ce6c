"""Rigid registration to MNI space, and transforms from and to files.

Transforms are (4, 4), from mm of the scan to mm of MNI space, both RAS+.

References
----------
.. [1] Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE
   Transactions on Medical Imaging 22(1):120-128, 2003. DOI 10.1109/TMI.2003.809072.
"""

import codecs
import re
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.errors import VolumeError, reason_of
from napari_mri7t.engine.preparation.optional import in_one_itk_thread, optional
from napari_mri7t.engine.preparation.steps import REGISTRATION, running
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.volumes.grids import bounding_box_mm, downsample, upright_grid
from napari_mri7t.engine.volumes.volume import Volume

REGISTRATION_MM = 2.0  # voxels both brains have while they are registered
N_BINS = 32
SHRINK_FACTORS = (4, 2, 1)  # of those voxels, level by level
SMOOTHING_MM = (4.0, 2.0, 0.0)
SAMPLED = 0.3  # part of the voxels that the metric looks at
SEED = 1  # of where between them it looks; ITK's own default is the clock
STEPS = (2.0, 1e-3, 200)  # of the optimiser: first and last length, number
BOX_MARGIN_MM = 10.0
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's mm from RAS+ mm, and back
ITK_MARK = "#Insight Transform File"
ITK_KIND = re.compile(rb"^Transform:\s*(\S+)", re.MULTILINE)
LARGEST_TRANSFORM = 1 << 20  # bytes; a matrix has some hundred
LARGEST_SCALING = 2.0  # of a brain that is to lie over the template's
LINEARITY_MM = 0.01


def register(brain: Volume, template: Volume, report: Report = ignore) -> np.ndarray:
    """Find the rigid transform that aligns a brain with the template's.

    Parameters
    ----------
    brain : Volume
        Extracted: 0 outside the brain.
    template : Volume
        In MNI space, extracted.
    report : callable
        Called every 0.2 s; what it raises stops the optimiser.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        mm of the scan to mm of MNI space.

    Raises
    ------
    Mri7tError
        If SimpleITK is missing or the optimiser fails.
    """
    sitk = optional("SimpleITK", REGISTRATION)
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
    images = [itk_image(sitk, volume) for volume in (fixed, moving)]
    now = running(REGISTRATION)
    found = in_one_itk_thread(sitk, lambda: method.Execute(*images), report, now, method.Abort)
    return np.linalg.inv(matrix_of(found))


def matrix_of(transform: Any) -> np.ndarray:
    """Return any linear ITK transform as a matrix (4, 4), from its effect on points."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(
        [np.array(transform.TransformPoint(row)) - origin for row in np.eye(3).tolist()], axis=1
    )
    matrix[:3, 3] = origin
    return matrix


def centre_of(volume: Volume) -> np.ndarray:
    """Return the centroid of the voxels above 0; (3,), mm."""
    occupied = np.argwhere(volume.array > 0).mean(axis=0)
    centre: np.ndarray = volume.affine[:3, :3] @ occupied + volume.affine[:3, 3]
    return centre


def _upright(brain: Volume) -> Volume:
    """Resample a brain to a coarse grid along the anatomical axes: ITK then needs no direction."""
    grid = upright_grid(
        bounding_box_mm(brain.array > 0, brain.affine, BOX_MARGIN_MM), REGISTRATION_MM
    )
    return grid.with_array(downsample(brain, grid))


def itk_image(sitk: Any, volume: Volume) -> Any:
    """Convert a volume on an upright grid to an ITK image, with RAS+ mm as its physical space."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.T))
    image.SetSpacing(volume.voxel_size)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    return image


def load_transform(path: Path) -> np.ndarray:
    """Read a linear transform from scan to MNI space.

    Parameters
    ----------
    path : Path
        ITK's .tfm, .txt or .mat (ANTs, SimpleITK, Slicer; it maps points of MNI space to points
        of the scan in LPS mm, as ITK's resampling expects), or a text file with a 4 x 4 matrix
        from RAS+ mm of the scan to RAS+ mm of MNI space. FSL's matrices are neither of these.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        RAS+ mm of the scan to RAS+ mm of MNI space.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VolumeError
        If it holds no such transform.
    """
    try:
        content = read_regular(path, LARGEST_TRANSFORM)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such transform file") from error
    except OSError as error:
        reason = reason_of(error)
        raise VolumeError(f"{path}: cannot be read: {reason}: use a file of a transform") from error
    start = content.removeprefix(codecs.BOM_UTF8)
    is_itk = start.startswith(ITK_MARK.encode()) or path.suffix in (".tfm", ".mat")
    if is_itk and start != content:
        raise VolumeError(
            f"{path}: begins with a byte order mark, with which ITK cannot read it: save it as "
            "UTF-8 without one"
        )
    if len(kinds := ITK_KIND.findall(content)) > 1 and not kinds[0].startswith(b"Composite"):
        raise VolumeError(
            f"{path}: holds {len(kinds)} transforms, of which ITK reads the first alone: write one "
            "that combines them"
        )
    matrix = _read_itk(path) if is_itk else _read_text(content, path)
    _check(matrix, path)
    return matrix


def save_transform(matrix: np.ndarray, path: Path) -> None:
    """Write a matrix as the text that `load_transform` reads; an existing file is replaced."""
    rows = "\n".join(" ".join(f"{value:.17g}" for value in row) for row in matrix)
    text = f"# RAS+ mm of the scan to RAS+ mm of MNI space\n{rows}\n"
    write_content(path, text)


def _read_text(content: bytes, path: Path) -> np.ndarray:
    try:
        matrix = np.loadtxt(content.decode("utf-8-sig").replace(",", " ").splitlines())
    except ValueError as error:
        raise VolumeError(f"{path}: is neither a 4 x 4 matrix nor an ITK transform") from error
    if matrix.shape != (4, 4):
        raise VolumeError(f"{path}: expected a 4 x 4 matrix, got shape {matrix.shape}")
    return matrix


def _read_itk(path: Path) -> np.ndarray:
    sitk = optional("SimpleITK", "reading an ITK transform")
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise VolumeError(f"{path}: ITK cannot read this transform") from error
    if transform.GetDimension() != 3:
        raise VolumeError(f"{path}: the transform is not three-dimensional")
    lps = matrix_of(transform)
    far = np.array([80.0, -60.0, 70.0, 1.0])
    if np.abs(lps @ far - [*transform.TransformPoint(far[:3].tolist()), 1]).max() > LINEARITY_MM:
        raise VolumeError(f"{path}: the transform is not linear: use only its linear part")
    try:
        inverse: np.ndarray = np.linalg.inv(LPS @ lps @ LPS)
    except np.linalg.LinAlgError as error:
        raise VolumeError(f"{path}: the transform is singular: use one with an inverse") from error
    return inverse


def _check(matrix: np.ndarray, path: Path) -> None:
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise VolumeError(f"{path}: the last row must be 0 0 0 1 and all numbers finite")
    scaling = np.linalg.det(matrix[:3, :3])
    if not 1 / LARGEST_SCALING**3 <= scaling <= LARGEST_SCALING**3:
        raise VolumeError(
            f"{path}: the transform changes volumes by a factor of {scaling:.2g}: it must not "
            "mirror, and must be from mm to mm"
        )
