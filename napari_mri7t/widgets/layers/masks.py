"""A brain mask from a layer: opened, computed, or painted in napari on a scan."""

from __future__ import annotations

from napari.layers import Layer

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume, same_grid
from napari_mri7t.widgets.layers.layers import KEY, LayerData, data_to_volume
from napari_mri7t.widgets.layers.places import is_still, place_of


def mask_on(scan: Volume, shown: LayerData, mask: LayerData) -> Volume:
    """Return a layer's mask: one of this plugin by its affine, a painted one by where it is shown.

    `shown` is the layer of `scan`. napari shows an oblique scan straight, and a mask painted on it
    has only that position: its voxels are the scan's.
    """
    data, meta, _ = mask
    name = str(meta.get("name", "mask"))
    if KEY in meta.get("metadata", {}):
        volume = data_to_volume(*mask)
        same_grid(scan, volume)
        return volume.with_array(volume.array > 0)
    places = [place_of(name, m, d.ndim) for d, m, _ in (mask, shown)]
    if tuple(data.shape) != tuple(shown[0].shape[-3:]) or not is_still(*places, scan.shape):
        raise VolumeError(
            f"{name}: the mask is not on the grid of {scan.name}: paint it on the scan, or "
            "open a mask on the scan's grid"
        )
    return scan.with_array(data.T > 0, name=name)


def brain_of(real: Volume, reference: Layer, mask: Layer | None) -> Volume | None:
    """Return the brain of `real`, the volume of `reference`, from a layer; None without one."""
    if mask is None:
        return None
    return mask_on(real, reference.as_layer_data_tuple(), mask.as_layer_data_tuple())
