"""Transforms to MNI space from files, and into them."""

from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.native import optional
from napari_mri7t.engine.preparation.registration import matrix_of

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's mm from RAS+ mm, and back
ITK_MARK = "#Insight Transform File"
LARGEST_SCALING = 2.0  # of a brain that is to lie over the template's
LINEARITY_MM = 0.01


def load_transform(path: Path) -> np.ndarray:
    """Read a linear transform from scan to MNI space.

    Parameters
    ----------
    path : Path
        ITK's .tfm, .txt or .mat (ANTs, SimpleITK, Slicer; it maps points of MNI space to points
        of the scan in LPS mm, as ITK's resampling takes it), or a text file with a 4 x 4 matrix
        from RAS+ mm of the scan to RAS+ mm of MNI space. FSL's matrices are neither.

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
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file: give a transform")
    with path.open("rb") as file:
        is_itk = file.read(len(ITK_MARK)) == ITK_MARK.encode()
    is_itk = is_itk or path.suffix in (".tfm", ".mat")
    matrix = _read_itk(path) if is_itk else _read_text(path)
    _check(matrix, path)
    return matrix


def save_transform(matrix: np.ndarray, path: Path) -> None:
    """Write a matrix as text, in the form that `load_transform` reads; replaces the file."""
    rows = "\n".join(" ".join(f"{value:.17g}" for value in row) for row in matrix)
    text = f"# RAS+ mm of the scan to RAS+ mm of MNI space\n{rows}\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def _read_text(path: Path) -> np.ndarray:
    try:
        matrix = np.loadtxt(path)
    except ValueError as error:
        raise VolumeError(f"{path}: no 4 x 4 matrix and no transform of ITK's") from error
    if matrix.shape != (4, 4):
        raise VolumeError(f"{path}: a 4 x 4 matrix is expected, got shape {matrix.shape}")
    return matrix


def _read_itk(path: Path) -> np.ndarray:
    sitk = optional("SimpleITK", "reading a transform of ITK's")
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise VolumeError(f"{path}: ITK cannot read this transform") from error
    if transform.GetDimension() != 3:
        raise VolumeError(f"{path}: the transform is not three-dimensional")
    lps = matrix_of(transform)
    far = np.array([80.0, -60.0, 70.0, 1.0])
    if np.abs(lps @ far - [*transform.TransformPoint(far[:3].tolist()), 1]).max() > LINEARITY_MM:
        raise VolumeError(f"{path}: the transform is not linear: give the linear part alone")
    try:
        inverse: np.ndarray = np.linalg.inv(LPS @ lps @ LPS)
    except np.linalg.LinAlgError as error:
        raise VolumeError(f"{path}: the transform is singular: give one that turns back") from error
    return inverse


def _check(matrix: np.ndarray, path: Path) -> None:
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise VolumeError(f"{path}: the last row must be 0 0 0 1, all numbers finite")
    scaling = np.linalg.det(matrix[:3, :3])
    if not 1 / LARGEST_SCALING**3 <= scaling <= LARGEST_SCALING**3:
        raise VolumeError(
            f"{path}: the transform changes volumes by a factor of {scaling:.2g}: it must not "
            "mirror, and must be from mm to mm"
        )
