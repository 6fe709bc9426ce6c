"""Volume <-> layer: the only file that knows the display's axis order.

A volume's array (I, J, K), closest RAS+, is shown as its transpose: axes S, A, R, so that napari's
slider moves through axial slices from the feet to the head, up the screen is anterior, and the
patient's right hand is on the right of the screen ("neurological"; "radiological" turns the camera,
never the data: a negative scale would mirror the coordinates under the mouse). napari cannot slice
obliquely, so an oblique volume is shown along its own voxel axes with its centre in the right
place. The layer's metadata keep the true affine and the file's own geometry, so that nothing is
lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer
from nibabel.affines import from_matvec

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.synthesis.uncertainty import UNCERTAINTY
from napari_mri7t.engine.volumes.digests import checksum
from napari_mri7t.engine.volumes.files.reading import fill_not_finite
from napari_mri7t.engine.volumes.provenance import maker_in
from napari_mri7t.engine.volumes.volume import Series, Volume
from napari_mri7t.widgets.layers.places import (
    OBLIQUE_VOXELS,
    foreign_warnings,
    is_still,
    motion_of,
    moved,
    place_of,
)

LayerData = tuple[Any, dict[str, Any], str]
#: Key of our facts in `layer.metadata`.
KEY = "mri7t"
#: In the metadata of a layer that is only part of a view, not a volume.
VIEW_KEY = "mri7t-view"
AXES = ("S", "A", "R")
UNIT = "mm"
#: Of a sample, about. Contrast limits come from its percentile: napari would take extrema.
N_SAMPLED_VOXELS = 200_000
CONTRAST_PERCENT = 99.8
#: Depth, up, right of the screen; both are right-handed in R, A, S, so that 3-D is no mirror image.
CAMERAS = {
    "neurological": ("towards", "up", "right"),
    "radiological": ("away", "up", "left"),
}


def orient_camera(viewer: napari.Viewer, convention: str = "neurological") -> None:
    """Turn the camera so that anterior is up; napari's own default has it down."""
    viewer.scene.camera.orientation = CAMERAS[convention]


def volume_to_layer(volume: Volume, *, on: Layer | None = None, **settings: Any) -> LayerData:
    """Return what napari needs to show `volume` as an image layer; `settings` take precedence.

    `on`: a layer of the same grid, where it is shown.
    """
    scale, translate = display_transform(volume)
    meta: dict[str, Any] = {
        "name": volume.name,
        "scale": scale,
        "translate": translate,
        "units": (UNIT,) * 3,
        "axis_labels": AXES,
        "contrast_limits": contrast_limits(volume.array),
        "colormap": "gray",
        "metadata": {KEY: facts_of(volume)},
    }
    if on is not None:
        meta |= placement(on)
        meta["metadata"][KEY]["shown"] = _shown_on(on, volume)
    return volume.array.T, meta | settings, "image"  # (K, J, I)


def series_to_layer(series: Series, **settings: Any) -> LayerData:
    """Return the layer of a whole file: axes S, A, R, of a 4-D file T, S, A, R."""
    data, meta, kind = volume_to_layer(series[0])
    if len(series) == 1:
        return data, meta | settings, kind
    meta["scale"] = (1.0, *meta["scale"])
    meta["translate"] = (0.0, *meta["translate"])
    meta["units"] = ("pixel", *meta["units"])
    meta["axis_labels"] = ("T", *AXES)
    meta["metadata"][KEY]["is_series"] = True
    return series.array.T, meta | settings, kind  # (T, K, J, I)


def estimate_to_layer(
    estimate: Volume, source: Layer | None, provenance: Mapping[str, Any], **settings: Any
) -> LayerData:
    """Return an estimate's layer, with the grid and limits of `source`, or on its own grid."""
    data, meta, kind = volume_to_layer(estimate, on=source)
    meta["metadata"][KEY]["provenance"] = dict(provenance)
    if isinstance(source, Image):
        meta["contrast_limits"] = tuple(source.contrast_limits)
    return data, meta | settings, kind


def _shown_on(layer: Layer, volume: Volume) -> np.ndarray:
    """Return where a layer shows a volume of its grid; it may have been moved since it was read."""
    facts = layer.metadata.get(KEY)
    if facts is None:
        return volume.affine
    return np.asarray(volume.affine @ np.linalg.inv(facts["affine"]) @ facts["shown"])


def placement(layer: Layer) -> dict[str, Any]:
    """Return where the last three axes of a layer lie, its own affine included."""
    shear = np.asarray(layer.shear)  # the upper triangle row by row, or a lower one as a matrix
    return {
        "scale": layer.scale[-3:],
        "translate": layer.translate[-3:],
        "rotate": layer.rotate[-3:, -3:],
        "shear": shear[-3:, -3:] if shear.ndim == 2 else shear[-3:],
        "affine": layer.affine.affine_matrix[-4:, -4:],
        "units": layer.units[-3:],
        "axis_labels": layer.axis_labels[-3:],
    }


def layer_to_volume(layer: Layer, index: int | None = None) -> Volume:
    """Return the volume that a layer shows, where it shows it.

    `index`: which one of a layer with a time axis.
    """
    data, meta, kind = layer.as_layer_data_tuple()
    return data_to_volume(data, meta, kind, index)


def data_to_volume(
    data: Any,
    meta: Mapping[str, Any],
    kind: str = "image",
    index: int | None = None,
    *,
    any_axes: bool = False,
) -> Volume:
    """Return the volume behind a layer's data, as napari hands it to a writer.

    `any_axes`: the layer may be turned or mirrored, so that its axes are not those of the volume.

    Raises
    ------
    VolumeError
        If it is not a grey 3-D volume, or its position in space is unknown.
    """
    name = str(meta.get("name", "layer"))
    why_not = unusable(data, meta, kind)
    if why_not:
        raise VolumeError(f"{name}: {why_not}")
    place = place_of(name, meta, data.ndim)
    if data.ndim == 4:
        if index is None or not 0 <= index < data.shape[0]:
            raise VolumeError(
                f"{name}: choose one of its {data.shape[0]} volumes, 0 to {data.shape[0] - 1}"
            )
        data = data[index]
    array, warnings = _finite(np.asarray(data, dtype=np.float32).T, name)  # (I, J, K)
    facts = meta.get("metadata", {}).get(KEY)
    if facts is None:
        warnings += foreign_warnings(name, meta.get("units"))
        volume = Volume(array, np.eye(4), name=name, warnings=warnings)
        return moved(volume, place, any_axes=any_axes)
    volume = _volume_with_facts(array, name, facts, index)
    volume = replace(volume, warnings=volume.warnings + warnings)
    if is_still(place, facts["shown"], volume.shape):
        return volume
    volume = moved(volume, motion_of(volume, place, facts["shown"]), any_axes=any_axes)
    note = "the layer was moved in napari and is used where it is shown"
    return replace(volume, warnings=(*volume.warnings, note))


def _finite(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Make NaN and infinity background, as the engine does on reading a file."""
    n_bad = array.size - np.count_nonzero(np.isfinite(array))
    if not n_bad:
        return array, ()
    filled = array.copy()
    value = fill_not_finite(filled.T)
    note = f"{n_bad} of {array.size} voxels of {name} were NaN or infinite; they were set to "
    return filled, (f"{note}{value:g}",)


def facts_of(volume: Volume) -> dict[str, Any]:
    """Return everything about a volume but its voxels, for a layer's metadata.

    `shown`: where napari shows it as opened, (i, j, k) to mm; `checksum`: of the first
    volume of a series.
    """
    scale, translate = display_transform(volume)
    return {
        "shape": volume.shape,
        "affine": volume.affine,
        "shown": from_matvec(np.diag(scale[::-1]), translate[::-1]),
        "geometry": volume.geometry,
        "warnings": volume.warnings,
        "checksum": checksum(volume),
    }


def _volume_with_facts(
    array: np.ndarray, name: str, facts: Mapping[str, Any], index: int | None
) -> Volume:
    if tuple(facts["shape"]) != array.shape:
        raise VolumeError(
            f"{name}: has shape {array.shape}, but its file has {tuple(facts['shape'])}: "
            "its position in space is lost; use the layer as opened"
        )
    geometry = facts["geometry"]
    if geometry is not None and index is not None:
        geometry = replace(geometry, series_index=index)
    elif geometry is not None and facts.get("is_series"):
        # napari's "Split Stack" keeps the facts, but not which volume it is: only its voxels tell.
        geometry = replace(geometry, computed=True)
    made_by = maker_in(facts.get("provenance") or {})
    return Volume(array, facts["affine"], name, geometry, tuple(facts["warnings"]), made_by)


def unusable(data: Any, meta: Mapping[str, Any], kind: str) -> str | None:
    """Return why a layer cannot be a volume; None if it can."""
    if kind not in ("image", "labels"):
        return f"is a {kind} layer: choose an image layer"
    if meta.get("multiscale"):
        return "is a multiscale image: open the volume itself"
    if meta.get("rgb"):
        return "is a colour image: a volume has one number per voxel"
    if data.ndim not in (3, 4):
        return f"has {data.ndim} axes: a volume has 3, a series of volumes 4"
    if np.dtype(data.dtype).kind not in "biuf":
        return f"has values of type {data.dtype}: a volume has real numbers"
    return None


def remove_layer(viewer: napari.Viewer, layer: Layer | None, instead: Layer | None) -> None:
    """Remove a layer that is still there; choose `instead` where napari leaves none chosen."""
    layers = viewer.layers
    if layer not in layers:
        return
    layers.remove(layer)
    if not layers.selection and instead in layers:
        layers.selection.active = instead


#: Events of a viewer's layers that may cover an image, or uncover it.
COVERING = ("inserted", "removed", "reordered", "visible")


def is_covered(viewer: napari.Viewer, layer: Layer) -> bool:
    """Return whether another image is shown over a layer."""
    above = list(viewer.layers)[viewer.layers.index(layer) + 1 :]
    return any(isinstance(each, Image) and each.visible for each in above)


def raise_layer(viewer: napari.Viewer, layer: Layer) -> None:
    """Move an image over all other images; what is drawn over them stays over it."""
    layers = viewer.layers
    top = max(n for n, each in enumerate(layers) if isinstance(each, Image))
    if layers.index(layer) != top:
        layers.move(layers.index(layer), top + 1)


def is_uncertainty(provenance: Mapping[str, Any] | None) -> bool:
    """Return whether a layer of this provenance shows how uncertain an estimate is."""
    return provenance is not None and maker_in(provenance) == UNCERTAINTY


def is_volume(layer: Layer) -> bool:
    """Return whether a widget may offer this layer: a scan, an estimate or a mask."""
    provenance = layer.metadata.get(KEY, {}).get("provenance")
    return not is_uncertainty(provenance) and (
        isinstance(layer, Image | Labels)
        and layer.ndim in (3, 4)
        and not layer.multiscale
        and not getattr(layer, "rgb", False)
    )


def is_single_volume(layer: Layer) -> bool:
    """Return whether a layer is one volume, and not part of a view."""
    return is_volume(layer) and layer.ndim == 3 and VIEW_KEY not in layer.metadata


def display_transform(volume: Volume) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translate (mm; axes S, A, R) for napari to show `volume`.

    Exact unless the volume is oblique; then voxel sizes are right, and the centre stays in place.
    """
    size = np.asarray(volume.voxel_size, float)
    origin = volume.affine[:3, 3]
    if not np.array_equal(volume.affine[:3, :3], np.diag(size)):
        middle = (np.asarray(volume.shape) - 1) / 2
        origin = volume.affine[:3, :3] @ middle + volume.affine[:3, 3] - size * middle
    return tuple(map(float, size[::-1])), tuple(map(float, origin[::-1]))


def display_error_mm(volume: Volume) -> float:
    """Return how far from its true position a corner of an oblique volume is shown at most, mm."""
    scale, translate = display_transform(volume)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.shape])).reshape(3, -1)
    true = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    shown = corners * np.array(scale[::-1])[:, None] + np.array(translate[::-1])[:, None]
    return float(np.linalg.norm(true - shown, axis=0).max())


def is_oblique(volume: Volume) -> bool:
    """Return whether the display is visibly off."""
    return display_error_mm(volume) > OBLIQUE_VOXELS * min(volume.voxel_size)


def coarse(array: np.ndarray) -> np.ndarray:
    """Return an even sample of a volume's voxels, quick to look at."""
    step = max(1, round((array.size / N_SAMPLED_VOXELS) ** (1 / 3)))
    return np.asarray(array[::step, ::step, ::step])


def contrast_limits(array: np.ndarray) -> tuple[float, float]:
    """Return limits that ignore a few bright vessels, from an even sample of the voxels."""
    sample = coarse(array)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = float(sample.min()), float(np.percentile(sample, CONTRAST_PERCENT))
    if not high > low:
        high = float(sample.max())
    return (low, high) if high > low else (low, low + 1.0)
