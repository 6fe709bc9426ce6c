"""Comparison of two volumes by eye: error map and its colours, scores of a plane, profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from napari_mri7t.engine.metrics.basic import mae, psnr, ssim
from napari_mri7t.engine.volumes.brain import BRAIN_LITRES, brain_litres
from napari_mri7t.engine.volumes.intensity import LIMIT_PERCENT
from napari_mri7t.engine.volumes.provenance import made_instead
from napari_mri7t.engine.volumes.scale import foreground_of, zeroed
from napari_mri7t.engine.volumes.volume import Volume, same_grid

PROFILE_SPACING_MM = 0.25  # a quarter of a usual voxel: the curve shows every step of the data
LEAST_MAXIMUM = 0.5  # of a volume that was scaled to 0 to 1
PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # of axial, coronal, sagittal: to the right, up
GAP = 4  # pixels between planes
UNLIKE = 10  # times as bright: the two are in different units
# Of an error map from too dark to too bright, black in the middle like the background.
ERROR_COLOURS = ("#a0e0ff", "#1070d0", "black", "#d03010", "#ffd090")


@dataclass(frozen=True)
class Profile:
    """Intensities along a straight line.

    Attributes
    ----------
    distance_mm : ndarray of float64, shape (n,)
        From the start of the line.
    values : tuple of ndarray of float64, each of shape (n,)
        One per volume, in their order.
    """

    distance_mm: np.ndarray
    values: tuple[np.ndarray, ...]


def error_map(reference: Volume, estimate: Volume) -> Volume:
    """Return estimate minus reference.

    Parameters
    ----------
    reference, estimate : Volume
        On one grid.

    Returns
    -------
    Volume
        On the reference's grid; positive where the estimate is too bright.

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    """
    same_grid(reference, estimate)
    return reference.with_array(
        estimate.array - reference.array, name=f"{estimate.name} minus {reference.name}"
    )


@dataclass(frozen=True, eq=False)
class ThreePlanes:
    """Three planes through a point as one picture, with the first row below.

    From below: axial, coronal, sagittal; superior and anterior are up, the person's right is on the
    right, and so is anterior in the sagittal plane.

    Attributes
    ----------
    picture : ndarray of float32, shape (rows, columns)
    pixel_mm : float
        Side of its square pixels: the shortest of a voxel.
    voxels : tuple of ndarray of int
        Of i, j and k: which voxel each pixel along that axis shows.
    """

    picture: np.ndarray
    pixel_mm: float
    voxels: tuple[np.ndarray, ...]

    def point_at(
        self, row: float, column: float, point: tuple[int, int, int]
    ) -> tuple[int, int, int] | None:
        """Return the point of a pixel; what its plane does not tell stays; None between planes."""
        for (across, up), first in zip(PLANE_AXES, _first_rows(self.voxels), strict=True):
            at = round(column), round(row) - first
            if 0 <= at[0] < len(self.voxels[across]) and 0 <= at[1] < len(self.voxels[up]):
                found = list(point)
                found[across] = int(self.voxels[across][at[0]])
                found[up] = int(self.voxels[up][at[1]])
                return found[0], found[1], found[2]
        return None


def three_planes(volume: Volume, point: tuple[int, int, int]) -> ThreePlanes:
    """Cut three planes through a voxel, with lines where they meet.

    Parameters
    ----------
    volume : Volume
    point : tuple of int
        Voxel (i, j, k), inside the volume.

    Examples
    --------
    >>> volume = Volume(np.arange(24.0).reshape(2, 3, 4), np.diag([1.0, 1, 2, 1]))
    >>> three_planes(volume, (0, 1, 2)).picture.shape  # (3 + 4 + 2 * 4 + 4 + 2 * 4, 3)
    (27, 3)
    """
    size = min(volume.voxel_size)
    voxels = tuple(
        ((np.arange(max(1, round(n * length / size))) + 0.5) * size / length)
        .astype(int)
        .clip(0, n - 1)
        for n, length in zip(volume.shape, volume.voxel_size, strict=True)
    )
    dark, bright = float(volume.array.min()), float(volume.array.max())
    height = sum(len(voxels[up]) for _, up in PLANE_AXES) + 2 * GAP
    picture = np.full((height, max(len(voxels[0]), len(voxels[1]))), dark, np.float32)
    at = [int(np.searchsorted(voxels[axis], point[axis])) for axis in range(3)]
    for (across, up), first in zip(PLANE_AXES, _first_rows(voxels), strict=True):
        cut = volume.array.take(point[3 - across - up], axis=3 - across - up)
        plane = cut[np.ix_(voxels[across], voxels[up])].T
        plane[at[up]] = plane[:, at[across]] = bright
        picture[first : first + len(voxels[up]), : len(voxels[across])] = plane
    return ThreePlanes(picture, size, voxels)


def _first_rows(voxels: tuple[np.ndarray, ...]) -> tuple[int, ...]:
    """Return where each plane begins."""
    heights = [len(voxels[up]) + GAP for _, up in PLANE_AXES]
    return 0, heights[0], heights[0] + heights[1]


def find_data_range(reference: Volume, given: float | None = None) -> tuple[float, str]:
    """Return the data range for PSNR and SSIM of volumes in any unit, and how it was found.

    Figures with a range taken from the data do not compare with those of another subject.

    Parameters
    ----------
    reference : Volume
        On any scale.
    given : float, optional
        The caller's own, which is returned as it is.

    Returns
    -------
    data_range : float
        1 where the reference lies in 0 to 1 and reaches beyond a half; otherwise from the
        background to the 99.8th percentile of what is no background, which ignores vessels.
    words : str
        Without a full stop.

    Examples
    --------
    >>> brain = np.pad(np.arange(1.0, 1001).reshape(10, 10, 10), 5)
    >>> find_data_range(Volume(brain, np.eye(4)))[0]
    998.0
    >>> find_data_range(Volume(brain / 1000, np.eye(4)))
    (1.0, 'the reference lies in 0 to 1')
    """
    if given is not None:
        return given, "as given"
    array = reference.array
    if array.min() >= 0 and LEAST_MAXIMUM <= array.max() <= 1:
        return 1.0, "the reference lies in 0 to 1"
    above = zeroed(reference).array
    inside = above[above > 0]
    found = float(np.percentile(inside, LIMIT_PERCENT)) if inside.size else 1.0
    words = f"from the background of the reference to its {LIMIT_PERCENT:g}th percentile"
    return float(f"{found:.4g}"), words


def range_complaint(reference: Volume, estimate: Volume, data_range: float | None) -> str | None:
    """Return why scores of these intensities would mislead; None if they are comparable.

    Parameters
    ----------
    reference, estimate : Volume
        Ideally in one unit.
    data_range : float or None
        Span that intensities can take, for PSNR and SSIM, above 0; None for one that
        `find_data_range` found, which fits.

    Returns
    -------
    str or None
        Without a full stop.
    """
    real, made = float(reference.array.max()), float(estimate.array.max())
    if max(real, made) > max(0, UNLIKE * min(real, made)):
        return (
            f"the reference reaches {real:g}, the estimate {made:g}: bring both to one scale "
            "(a simulation also writes the 7T on the scale of its pseudo-3T); otherwise the scores "
            "are meaningless"
        )
    if data_range is not None and real > 2 * data_range:
        return (
            f"intensities reach {real:g} but the data range is {data_range:g}; set it to the span "
            "of the intensities"
        )
    return None


def reference_doubts(reference: Volume, mask: Volume | None = None) -> tuple[str, ...]:
    """Return why scores would say less than they seem to, whatever the estimate.

    Parameters
    ----------
    reference : Volume
    mask : Volume, optional
        The brain: its voxels above 0.

    Returns
    -------
    tuple of str
        Without full stops.
    """
    found = []
    if what := made_instead(reference, "7T"):
        found.append(f"the reference {reference.name} is {what}: compare with the scan itself")
    if mask is not None and (mask.array > 0).all():
        found.append(
            f"the mask {mask.name} is above 0 in every voxel: the scores of the brain are those of "
            "the whole volume"
        )
    if mask is None and not found:
        litres = brain_litres(reference, foreground_of(reference))
        if litres > BRAIN_LITRES[1]:
            found.append(
                f"{litres:.1f} litres of the reference {reference.name} lie above its background, "
                "more than a brain has: the scores of the brain include what is around it; give a "
                "brain mask"
            )
    return tuple(found)


def plane_scores(
    reference: Volume,
    estimate: Volume,
    plane: tuple[int, int],
    *,
    mask: Volume | None = None,
    data_range: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Score one plane as `compare` scores a volume.

    Parameters
    ----------
    reference, estimate : Volume
        On one grid.
    plane : tuple of int
        Array axis (0, 1 or 2) and voxel index along it.
    mask : Volume, optional
        The brain: its voxels above 0. By default the reference without its background.
    data_range : float
        As for `psnr`.

    Returns
    -------
    dict
        As `compare`; without "brain" if the plane does not meet it.

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    ValueError
        As for `compare`.
    """
    same_grid(reference, estimate)
    if mask is not None:
        same_grid(reference, mask)
    axis, index = plane
    pick = [np.moveaxis(v.array, axis, 2)[:, :, index, None] for v in (reference, estimate)]
    x, y = (np.asarray(part) for part in pick)  # (H, W, 1)
    whole = foreground_of(reference) if mask is None else mask.array > 0
    brain = np.moveaxis(whole, axis, 2)[:, :, index, None]
    scores = {}
    for region, inside in (("whole", None), ("brain", brain)):
        if inside is not None and not inside.any():
            continue
        scores[region] = {
            "mae": mae(x, y, mask=inside),
            "psnr": psnr(x, y, data_range=data_range, mask=inside),
            "ssim": ssim(x, y, data_range=data_range, mask=inside),
        }
    return scores


def profile(volumes: Sequence[Volume], start: np.ndarray, end: np.ndarray) -> Profile:
    """Return intensities along the line between two points, linearly interpolated.

    Parameters
    ----------
    volumes : sequence of Volume
        On one grid, at least one.
    start, end : ndarray, shape (3,)
        Voxel coordinates (i, j, k), fractions allowed; outside the volume intensities are 0.

    Returns
    -------
    Profile
        A sample every `PROFILE_SPACING_MM`, both ends included, at least two.

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    """
    first = volumes[0]
    for other in volumes[1:]:
        same_grid(first, other)
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length_mm = float(np.linalg.norm(first.affine[:3, :3] @ (end - start)))
    n_samples = max(2, round(length_mm / PROFILE_SPACING_MM) + 1)
    points = start[:, None] + (end - start)[:, None] * np.linspace(0, 1, n_samples)  # (3, n)
    values = tuple(
        np.asarray(map_coordinates(v.array, points, output=np.float64, order=1)) for v in volumes
    )
    return Profile(np.linspace(0, length_mm, n_samples), values)
