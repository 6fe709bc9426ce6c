"""Three planes through a head, as pictures: resampled alone, which takes a tenth of a second.

A plane is a grid of one voxel across, and a picture has its rows from the top: superior or anterior
up, the person's right on the right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import affine_transform, binary_erosion

from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.volumes.grids import bounding_box_mm, upright_grid
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, shares_grid

PLANES = ("sagittal", "coronal", "axial")  # by the axis they cut
WHERE = (0.55, 0.5, 0.5)  # of the brain's length: the sagittal plane is off the midline
MARGIN_MM = 12.0  # around the brain
CHECKER_MM = 24.0  # side of a square
OUTLINE = (213, 94, 0)  # vermilion, as in the style of all figures


@dataclass(frozen=True, eq=False)
class HeadPlanes:
    """A preparation and its result in three planes, each of shape (rows, columns).

    Attributes
    ----------
    before, corrected, after : tuple of ndarray of float32
        Intensities of the scan, of the scan without its bias field, and of the result.
    mask : tuple of ndarray of bool
        The brain.
    board : tuple of ndarray of float32
        Squares of the template and of the registered brain, each from 0 to 1.
    """

    before: tuple[np.ndarray, ...]
    mask: tuple[np.ndarray, ...]
    corrected: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]
    board: tuple[np.ndarray, ...]


def head_planes(
    prepared: Prepared, result: Volume, window: tuple[float, float], pixels: int
) -> HeadPlanes:
    """Cut a preparation and its result.

    Parameters
    ----------
    prepared : Prepared
    result : Volume
        The estimate in its scan, on the scan's grid or in MNI space.
    window : (float, float)
        Intensities of the corrected scan that the board shows black and white.
    pixels : int
        Of the longest side of a picture.
    """
    scan = prepared.scan
    grids = planes_through(bounding_box_mm(prepared.mask, scan.affine), pixels)
    back = None if shares_grid(result, scan) else np.linalg.inv(prepared.to_mni)
    mask = scan.with_array(prepared.mask)
    return HeadPlanes(
        before=tuple(cut(scan, grid) for grid in grids),
        mask=tuple(cut(mask, grid) > 0.5 for grid in grids),
        corrected=tuple(cut(prepared.corrected, grid) for grid in grids),
        after=tuple(cut(result, grid, back) for grid in grids),
        board=_boards(prepared, mask, window, pixels),
    )


def _boards(
    prepared: Prepared, mask: Volume, window: tuple[float, float], pixels: int
) -> tuple[np.ndarray, ...]:
    template = load_template()
    inside = template.array > 0
    white = float(np.percentile(template.array[inside], 99.5))
    boards = []
    for grid in planes_through(bounding_box_mm(inside, template.affine), pixels):
        brain = cut(mask, grid, prepared.to_mni) > 0.5
        moved = scaled(cut(prepared.corrected, grid, prepared.to_mni), window)
        fixed = scaled(cut(template, grid), (0, white))
        boards.append(checkered(fixed, np.where(brain, moved, 0), max(grid.voxel_size)))
    return tuple(boards)


def planes_through(corners: np.ndarray, pixels: int) -> tuple[Volume, Volume, Volume]:
    """Return a sagittal, a coronal and an axial plane through the middle of a box.

    Parameters
    ----------
    corners : ndarray, shape (2, 3)
        Of the box, mm, as `bounding_box_mm` returns them; a margin is added.
    pixels : int
        Of the longest side.

    Returns
    -------
    tuple of Volume
        Empty grids, on one scale, each with one voxel across its axis.

    Examples
    --------
    >>> planes = planes_through(np.array([[0.0, 0, 0], [76, 176, 126]]), 100)
    >>> [plane.shape for plane in planes]
    [(1, 101, 76), (51, 1, 76), (51, 101, 1)]
    """
    wide = corners + np.array([[-MARGIN_MM], [MARGIN_MM]])
    grid = upright_grid(wide, float((wide[1] - wide[0]).max()) / pixels)
    thin = []
    for axis in range(3):
        affine, shape = grid.affine.copy(), list(grid.shape)
        low, high = corners[:, axis]
        affine[axis, 3], shape[axis] = low + WHERE[axis] * (high - low), 1
        thin.append(replace(grid, array=np.zeros(shape, np.float32), affine=affine))
    return thin[0], thin[1], thin[2]


def cut(volume: Volume, plane: Volume, transform: np.ndarray | None = None) -> np.ndarray:
    """Return a volume's picture in a plane, linearly interpolated.

    Parameters
    ----------
    volume, plane : Volume
        The plane is one of `planes_through`.
    transform : ndarray, shape (4, 4), optional
        mm of the volume to mm of the plane.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
    """
    to_plane = np.eye(4) if transform is None else transform
    index = np.linalg.inv(volume.affine) @ np.linalg.inv(to_plane) @ plane.affine
    found = affine_transform(
        volume.array, index[:3, :3], index[:3, 3], plane.shape, order=1, output=np.float32
    )
    flat = found.squeeze(plane.shape.index(1))
    return np.ascontiguousarray(flat.T[::-1])


def scaled(picture: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map the intensities of a window to [0, 1]."""
    low, high = window
    shares: np.ndarray = ((picture - low) / max(high - low, 1e-9)).clip(0, 1)
    return shares


def checkered(first: np.ndarray, second: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Alternate squares of two pictures.

    Parameters
    ----------
    first, second : ndarray, shape (rows, columns)
    pixel_mm : float
        Side of a pixel.
    """
    rows, columns = (np.arange(n) * pixel_mm // CHECKER_MM for n in first.shape)
    return np.where((rows[:, None] + columns) % 2 == 0, first, second)


def grey(picture: np.ndarray, window: tuple[float, float] = (0, 1)) -> np.ndarray:
    """Return a picture in grey, (rows, columns, 3), 0 to 255: black and white at a window."""
    levels = np.round(255 * scaled(picture, window)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def outlined(colours: np.ndarray, mask: np.ndarray, width: int = 1) -> np.ndarray:
    """Draw the outline of a mask, within it, into a copy of a picture's colours.

    Parameters
    ----------
    colours : ndarray of uint8, shape (rows, columns, 3)
    mask : ndarray of bool, shape (rows, columns)
    width : int
        Of the line, pixels.
    """
    drawn = colours.copy()
    drawn[mask & ~binary_erosion(mask, iterations=width, border_value=1)] = OUTLINE
    return drawn


def beside(pictures: list[np.ndarray], height: int, gap: int = 0) -> np.ndarray:
    """Put pictures of colours side by side on black, centred in a height, `gap` pixels apart."""
    width = sum(each.shape[1] for each in pictures) + gap * (len(pictures) - 1)
    sheet = np.zeros((height, width, 3), np.uint8)
    left = 0
    for each in pictures:
        top = (height - each.shape[0]) // 2
        sheet[top : top + each.shape[0], left : left + each.shape[1]] = each
        left += each.shape[1] + gap
    return sheet
