"""Where a layer is shown, and where its volume lies once the user, or another plugin, has moved it.

What counts is the whole transform of a layer: scale, translate, rotate, shear, its own affine and
its units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pint
from napari.utils.transforms import CompositeAffine

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.geometry import largest_distance, orientation_of
from napari_mri7t.engine.volumes.volume import Volume

#: A volume is oblique for the display if a corner is shown this many voxels from its place.
OBLIQUE_VOXELS = 0.5
#: napari's arithmetic moves no corner as far as this.
STILL_MM = 1e-4
_REVERSED = np.eye(4)[[2, 1, 0, 3]]  # S, A, R <-> R, A, S


def place_of(name: str, meta: Mapping[str, Any], n_axes: int) -> np.ndarray:
    """Return where a layer is shown: (4, 4), array index (i, j, k) to R, A, S in mm."""
    scale = [1.0] * n_axes if meta.get("scale") is None else meta["scale"]
    translate = [0.0] * n_axes if meta.get("translate") is None else meta["translate"]
    shear = None if meta.get("shear") is None else np.asarray(meta["shear"], float)
    inner = CompositeAffine(
        scale, translate, rotate=meta.get("rotate"), shear=shear, ndim=n_axes
    ).affine_matrix
    whole = _own_affine(meta.get("affine"), n_axes) @ inner
    time = n_axes - 3
    if not (np.allclose(whole[-4:-1, :time], 0) and np.allclose(whole[:time, -4:-1], 0)):
        raise VolumeError(f"{name}: its volumes are shown in different places: reset its affine")
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = whole[-4:-1, -4:-1], whole[-4:-1, -1]
    place[:3] *= _millimetres(meta.get("units"))[0][:, None]
    return _REVERSED @ place @ _REVERSED


def _own_affine(affine: Any, n_axes: int) -> np.ndarray:
    """Return a layer's own affine as a matrix of all its axes."""
    whole = np.eye(n_axes + 1)
    if affine is not None:
        matrix = np.asarray(getattr(affine, "affine_matrix", affine), float)
        whole[-len(matrix) :, -len(matrix) :] = matrix
    return whole


def is_still(place: np.ndarray, shown: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether two places of a layer are one."""
    return largest_distance(place, shown, shape) <= STILL_MM


def motion_of(volume: Volume, place: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return how the layer of `volume` was moved, first shown at `shown`, as (4, 4), mm to mm.

    Raises
    ------
    VolumeError
        If the layer never showed where the volume lies.
    """
    off = largest_distance(shown, volume.affine, volume.shape)
    if off > OBLIQUE_VOXELS * min(volume.voxel_size):
        raise VolumeError(
            f"{volume.name}: is oblique and was moved: napari shows it along its own axes, so that "
            "it is unknown where it belongs: reset its scale, translate, rotate, shear and affine"
        )
    return np.asarray(place @ np.linalg.inv(shown))


def moved(volume: Volume, motion: np.ndarray, *, any_axes: bool) -> Volume:
    """Return a volume moved with its layer.

    Raises
    ------
    VolumeError
        If no volume can lie there, or, without `any_axes`, if its axes are no longer the layer's.
    """
    try:
        there = volume.moved(motion)
    except VolumeError as error:
        raise VolumeError(f"{error}: reset the layer's scale, affine and the like") from error
    if not any_axes and orientation_of(motion @ volume.affine) != "RAS":
        raise VolumeError(
            f"{volume.name}: is shown turned or mirrored, so that its axes are no longer S, A, R: "
            "save it and open the saved file"
        )
    return there


def foreign_warnings(name: str, units: Sequence[Any] | None) -> tuple[str, ...]:
    """Return what had to be assumed about a layer that this plugin did not open."""
    warnings = [
        f"{name} was not opened by this plugin: its axes were assumed to be S, A, R; if not, "
        "open its file with this plugin"
    ]
    if not _millimetres(units)[1]:
        warnings.append(
            f"{name} has no unit of length: its scale was assumed to be in mm; if not, set the "
            "layer's units"
        )
    return tuple(warnings)


def _millimetres(units: Sequence[Any] | None) -> tuple[np.ndarray, bool]:
    """Return the units of the last three axes in mm, and whether all have a length."""
    lengths, is_known = np.ones(3), units is not None
    for axis, unit in enumerate(list(units or [])[-3:]):
        length = _length_in_mm(unit)
        is_known &= length is not None
        lengths[axis] = length or 1.0
    return lengths, is_known


def _length_in_mm(unit: Any) -> float | None:
    try:
        return float(pint.get_application_registry().Quantity(1.0, unit).to("mm").magnitude)
    except pint.PintError:
        return None
