"""Layers into float32 NIfTI files on the grid of the file they came from, with a JSON sidecar.

napari's dialog has asked before it overwrites; the old file stays whole if writing fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.files.streams import extension_of, stem_of
from napari_mri7t.engine.volume import Volume, save_volume
from napari_mri7t.widgets.layers import KEY, LayerData, data_to_volume


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save one layer; napari calls this."""
    return _save([(Path(path), data, meta, "image")])


def write_layers(path: str, layer_data: Sequence[LayerData]) -> list[str]:
    """Save several layers: NAME.nii.gz gives NAME_LAYER.nii.gz, NAME alone a folder of them."""
    target = Path(path)
    extension = extension_of(target)
    if not extension:
        target.mkdir(parents=True, exist_ok=True)
    parts, taken = [], set()
    for data, meta, kind in layer_data:
        stem = _file_name(str(meta.get("name", "layer")), taken)
        taken.add(stem)
        file = target / f"{stem}.nii.gz"
        if extension:
            file = target.with_name(f"{stem_of(target)}_{stem}{extension}")
        parts.append((file, data, meta, kind))
    return _save(parts)


def _save(parts: Sequence[tuple[Path, Any, Mapping[str, Any], str]]) -> list[str]:
    """Check every layer before the first is written."""
    checked = [(path, _volume(data, meta, kind), meta) for path, data, meta, kind in parts]
    saved = []
    for path, volume, meta in checked:
        sidecar = _sidecar(volume, meta)
        save_volume(volume, path, overwrite=True, sidecar=sidecar)
        saved.append(str(path))
    return saved


def _volume(data: Any, meta: Mapping[str, Any], kind: str) -> Volume:
    if getattr(data, "ndim", 0) == 4:
        raise VolumeError(
            f"{meta.get('name')}: holds {data.shape[0]} volumes: only single volumes are saved; "
            "split it first (right click on the layer, Split Stack)"
        )
    return data_to_volume(data, meta, kind)


def _sidecar(volume: Volume, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    facts = meta.get("metadata", {}).get(KEY, {})
    return facts.get("provenance")


def _file_name(name: str, taken: set[str]) -> str:
    """Turn a layer's name into a file's: no two alike, nothing that a file system refuses."""
    stem = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "layer"
    number = 2
    unique = stem
    while unique in taken:
        unique, number = f"{stem}-{number}", number + 1
    return unique
