"""Layers into float32 NIfTI files on the grid of their source file, with a JSON sidecar.

napari's dialog asks before it overwrites the one file that it names. Every other name is the
writer's own choice, so that it avoids the files that exist.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from napari.utils.notifications import show_info

from napari_mri7t.engine.atomic import read_object
from napari_mri7t.engine.datasets.bids import bids_sidecar, derivative_path, start_derivative
from napari_mri7t.engine.datasets.estimates import scan_of
from napari_mri7t.engine.datasets.names import mark_of
from napari_mri7t.engine.errors import Mri7tError, VolumeError, reason_of
from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of
from napari_mri7t.engine.volumes.provenance import describe_source, digest_in
from napari_mri7t.engine.volumes.volume import Volume, save_volume, save_volumes
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, LayerData, data_to_volume

Part = tuple[Path, Any, Mapping[str, Any], str]
OF_NAPARI = re.compile(r" \[\d+\]$")  # after the name of a layer, where another has it
EXTENSION = ".nii.gz"  # of a name without one
KINDS = ("image", "labels")  # the layers that hold voxels


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save one layer; napari calls this."""
    return [_save_named((data, meta, "image"), Path(path))]


def write_labels(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save one mask; napari calls this."""
    return [_save_named((data, meta, "labels"), Path(path))]


def _save_named(layer: LayerData, path: Path) -> str:
    """Save one layer under the name that the user gave, which napari proposes without extension."""
    if path.suffix:
        return str(save_layer(layer, path, overwrite=True))
    return str(save_layer(layer, path.with_name(path.name + EXTENSION), overwrite=False))


def save_layer(layer: LayerData, path: Path, *, overwrite: bool) -> Path:
    """Save one layer and its sidecar; `overwrite`: the user named the file, as it exists."""
    ((target, volume, sidecar),) = _check([(path, *layer)])
    return save_volume(volume, target, overwrite=overwrite, sidecar=sidecar)


def write_layers(path: str, layer_data: Sequence[LayerData]) -> list[str]:
    """Save several layers: NAME.nii.gz gives NAME_LAYER.nii.gz, NAME alone a BIDS derivative.

    Lines, points and parts of a view are skipped, and named in a notice: "Save All" means volumes.
    """
    target, layer_data = Path(path), _only_volumes(layer_data)
    if not extension_of(target):
        return _write_derivative(target, layer_data)
    existing = _stems_in(target.parent)
    parts, taken, renamed = [], set(existing), []
    for data, meta, kind in layer_data:
        stem = _stem(stem_of(target), str(meta.get("name", "layer")))
        path = target.with_name(f"{_free(stem, taken)}{extension_of(target)}")
        taken.add(_folded(stem_of(path)))
        parts.append((path, data, meta, kind))
        if _folded(stem) in existing:
            renamed.append(path.name)
    return _write(_check(parts), renamed)


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
    if folder.exists() and not folder.is_dir():
        raise VolumeError(f"{folder}: is a file: choose another name for the folder")
    checked, renamed = _name_parts(folder, layer_data)
    try:
        start_derivative(folder)
        for path, *_ in checked:
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VolumeError(
            f"{folder}: cannot be written ({reason_of(error)}): choose another folder"
        ) from error
    return _write(checked, renamed)


def _name_parts(
    folder: Path, layer_data: Sequence[LayerData]
) -> tuple[list[tuple[Path, Volume, dict[str, Any]]], list[str]]:
    """Return each layer's path, volume and sidecar in a derivative, and the new names."""
    checked = _check([(folder, *layer) for layer in layer_data])
    existing, known = _images_in(folder), _sources_in(folder)
    parts, taken, renamed = [], set(existing), []
    for (_, volume, facts), (_, meta, _) in zip(checked, layer_data, strict=True):
        asked, made_by = str(meta.get("name", "layer")), _view(meta)
        if facts is not None:
            asked, made_by = scan_of(asked), facts["GeneratedBy"][0]["Description"]
        source = ""
        if _view(meta) is None:
            source = digest_in(describe_source(volume) if facts is None else facts.get("Sources"))
            asked = OF_NAPARI.sub("", asked)
        mark = _mark(asked, source, known)
        name = derivative_path(asked, made_by, taken, mark)
        taken.add(name)
        parts.append((folder / name, volume, bids_sidecar(facts, volume) | _of_view(meta)))
        if derivative_path(asked, made_by, existing, mark) != derivative_path(
            asked, made_by, mark=mark
        ):
            renamed.append(name.name)
    return parts, renamed


def _mark(name: str, source: str, known: dict[str, set[str]]) -> str:
    """Return what the participant's label needs to differ from that of another scan.

    `known`: the sources of each participant, to which this one is added.
    """
    if not source or name.startswith("sub-"):
        return ""
    own = mark_of(source)
    plain, marked = (_participant(derivative_path(name, mark=mark)) for mark in ("", own))
    is_free = marked not in known and source in known.get(plain, {source})
    known.setdefault(plain if is_free else marked, set()).add(source)
    return "" if is_free else own


def _participant(path: PurePosixPath) -> str:
    return path.parts[0].casefold()


def _sources_in(folder: Path) -> dict[str, set[str]]:
    """Return the sources of each participant of a derivative, by the sidecars in it."""
    known: dict[str, set[str]] = {}
    for path in sorted(folder.glob("sub-*/**/anat/*.json")):
        try:
            source = digest_in(read_object(path, "mend or remove it").get("SourceFiles"))
        except (Mri7tError, OSError):
            continue
        if source:
            participant = _participant(PurePosixPath(path.relative_to(folder).as_posix()))
            known.setdefault(participant, set()).add(source)
    return known


def _images_in(folder: Path) -> set[PurePosixPath]:
    """Return the paths taken in a derivative, whatever the extension of the file there."""
    return {
        PurePosixPath(path.relative_to(folder).as_posix()).with_name(f"{stem_of(path)}.nii.gz")
        for path in folder.glob("sub-*/**/anat/*")
    }


def _check(parts: Sequence[Part]) -> list[tuple[Path, Volume, dict[str, Any] | None]]:
    """Check every layer before the first is written."""
    return [
        (path, _volume(data, meta, kind), _provenance(meta)) for path, data, meta, kind in parts
    ]


def _write(
    checked: Sequence[tuple[Path, Volume, dict[str, Any] | None]], renamed: Sequence[str]
) -> list[str]:
    """Save layers under names that nobody asked for: none replaces a file."""
    saved = save_volumes([(volume, path, facts) for path, volume, facts in checked])
    if renamed:
        show_info(f"Saved under new names, since files exist: {', '.join(renamed)}.")
    return [str(path) for path in saved]


def _volume(data: Any, meta: Mapping[str, Any], kind: str) -> Volume:
    if getattr(data, "ndim", 0) == 4:
        raise VolumeError(
            f"{meta.get('name')}: has {data.shape[0]} volumes: only single volumes are saved; "
            "split it first (right click on the layer, Split Stack)"
        )
    return data_to_volume(data, meta, kind, any_axes=True)


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


def _stems_in(folder: Path) -> set[str]:
    """Return the stems of the files in a folder, as `_folded`."""
    try:
        return {_folded(stem_of(path)) for path in folder.iterdir()}
    except OSError:  # missing or not readable, as saving will tell
        return set()


def _stem(base: str, name: str) -> str:
    """Return the stem of a layer's file, without characters that file systems refuse."""
    own = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "layer"
    return f"{base}_{own}"


def _free(stem: str, taken: set[str]) -> str:
    """Return a stem that is not taken, with a number where it must."""
    number = 2
    unique = stem
    while _folded(unique) in taken:
        unique, number = f"{stem}-{number}", number + 1
    return unique


def _folded(name: str) -> str:
    """Return a name as disks compare it that ignore case or decompose letters."""
    return unicodedata.normalize("NFC", name).casefold()
