"""Layers into float32 NIfTI files on the grid of their source file, with a JSON sidecar.

napari's dialog asks before it overwrites; the old file stays intact if writing fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info

from napari_mri7t.engine.datasets.bids import bids_sidecar, derivative_path, start_derivative
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, LayerData, data_to_volume

Part = tuple[Path, Any, Mapping[str, Any], str]
KINDS = ("image", "labels")  # the layers that hold voxels


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save one layer; napari calls this."""
    return _save([(Path(path), data, meta, "image")])


def write_layers(path: str, layer_data: Sequence[LayerData]) -> list[str]:
    """Save several layers: NAME.nii.gz gives NAME_LAYER.nii.gz, NAME alone a BIDS derivative.

    Lines, points and parts of a view are skipped, and named in a notice: "Save All" means volumes.
    """
    target, layer_data = Path(path), _only_volumes(layer_data)
    if not extension_of(target):
        return _write_derivative(target, layer_data)
    parts, taken = [], set()
    for data, meta, kind in layer_data:
        stem = _file_name(str(meta.get("name", "layer")), taken)
        taken.add(stem)
        file = target.with_name(f"{stem_of(target)}_{stem}{extension_of(target)}")
        parts.append((file, data, meta, kind))
    return _save(parts)


def _only_volumes(layer_data: Sequence[LayerData]) -> list[LayerData]:
    """Return the volumes; parts of views only if nothing else was chosen."""
    is_view_meant = not any(kind in KINDS and _view(meta) is None for _, meta, kind in layer_data)
    kept: list[LayerData] = []
    left: list[str] = []
    for data, meta, kind in layer_data:
        if kind in KINDS and (is_view_meant or _view(meta) is None):
            kept.append((data, meta, kind))
        else:
            left.append(str(meta.get("name", "layer")))
    if not kept:
        raise VolumeError(f"{', '.join(left)}: not an image: choose image layers to save")
    if left:
        show_info(f"Not saved, because they are not volumes: {', '.join(left)}.")
    return kept


def _write_derivative(folder: Path, layer_data: Sequence[LayerData]) -> list[str]:
    parts, taken = [], set()
    for data, meta, kind in layer_data:
        facts, made_by = _provenance(meta), _view(meta)
        if facts is not None:
            made_by = facts["GeneratedBy"][0]["Description"]
        name = derivative_path(str(meta.get("name", "layer")), made_by, taken)
        taken.add(name)
        parts.append((folder / name, data, meta, kind))
    checked = [
        (path, volume, bids_sidecar(facts, volume) | _of_view(meta))
        for (path, volume, facts), (_, _, meta, _) in zip(_check(parts), parts, strict=True)
    ]
    start_derivative(folder)
    for path, *_ in checked:
        path.parent.mkdir(parents=True, exist_ok=True)
    return _write(checked)


def _save(parts: Sequence[Part]) -> list[str]:
    return _write(_check(parts))


def _check(parts: Sequence[Part]) -> list[tuple[Path, Volume, dict[str, Any] | None]]:
    """Check every layer before the first is written."""
    return [
        (path, _volume(data, meta, kind), _provenance(meta)) for path, data, meta, kind in parts
    ]


def _write(checked: Sequence[tuple[Path, Volume, dict[str, Any] | None]]) -> list[str]:
    for path, volume, sidecar in checked:
        save_volume(volume, path, overwrite=True, sidecar=sidecar)
    return [str(path) for path, _, _ in checked]


def _volume(data: Any, meta: Mapping[str, Any], kind: str) -> Volume:
    if getattr(data, "ndim", 0) == 4:
        raise VolumeError(
            f"{meta.get('name')}: has {data.shape[0]} volumes: only single volumes are saved; "
            "split it first (right click on the layer, Split Stack)"
        )
    return data_to_volume(data, meta, kind)


def _provenance(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the provenance of a layer; None for a layer as it was opened."""
    return meta.get("metadata", {}).get(KEY, {}).get("provenance")


def _view(meta: Mapping[str, Any]) -> str | None:
    """Return the view that a layer is part of, as letters and digits; None for a volume."""
    view = meta.get("metadata", {}).get(VIEW_KEY)
    return None if view is None else re.sub(r"[^0-9A-Za-z]", "", str(view)).lower()


def _of_view(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the sidecar's note that a layer computed for a view is not a scan."""
    view = _view(meta)
    return {} if view is None else {"Description": f"Computed for display ({view}), not a scan"}


def _file_name(name: str, taken: set[str]) -> str:
    """Return a unique file name for a layer, without characters that file systems refuse."""
    stem = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "layer"
    number = 2
    unique = stem
    while unique in taken:
        unique, number = f"{stem}-{number}", number + 1
    return unique
