"""NIfTI and MGH files into layers, and the sample data. Opens quickly: torch is not loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_warning

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.volumes.files.streams import extension_of, sidecar_of, stem_of
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Series, load_series
from napari_mri7t.widgets.layers.layers import (
    KEY,
    LayerData,
    display_error_mm,
    is_oblique,
    series_to_layer,
    volume_to_layer,
)
from napari_mri7t.widgets.shared.settings import orient_empty_viewer

Paths = str | Path | Sequence[str | Path]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader if every file is a volume by its name, in upper or lower case."""
    return read if all(extension_of(one) for one in _each(path)) else None


def read(path: Paths) -> list[LayerData]:
    """Open each file as a layer of its own; a bad file does not stop the others.

    Raises
    ------
    FileNotFoundError, VolumeError
        If no file could be opened: the first one's error.
    """
    layers, errors = [], []
    for one in _without_partners(_each(path)):
        try:
            series = load_series(one)
        except (Mri7tError, OSError) as error:
            errors.append(error)
            continue
        data, meta, kind = series_to_layer(series)
        facts = made_by(Path(one))
        if facts is not None:
            meta["metadata"][KEY]["provenance"] = facts
        layers.append((data, meta, kind))
        _warn(series)
    if not layers:
        raise errors[0]
    for error in errors:
        show_error(str(error))
    orient_empty_viewer()
    return layers


def made_by(path: Path) -> dict[str, Any] | None:
    """Return the provenance of a synthetic image from its sidecar, for its copies.

    None if the image is not this plugin's, or its sidecar cannot be read.
    """
    try:
        facts = read_json(sidecar_of(path))
        if "SourceFiles" in facts:  # of a BIDS derivative
            facts["Sources"] = facts["SourceFiles"]
        is_made = facts["Synthetic"] is True and "Description" in facts["GeneratedBy"][0]
        is_ours = is_made and {"Notice", "Sources"} <= facts.keys()
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return facts if is_ours else None


def _each(path: Paths) -> list[Path]:
    return [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]


def _without_partners(paths: Sequence[Path]) -> list[Path]:
    """Drop the second file of a pair of .hdr and .img."""
    seen: dict[tuple[Path, str], Path] = {}
    for path in paths:
        extension = extension_of(path)
        kind = "pair" if extension.startswith((".hdr", ".img")) else extension
        seen.setdefault((path.parent / stem_of(path), kind), path)
    return list(seen.values())


def _warn(series: Series) -> None:
    """Show everything unusual about a file, in one message."""
    volume = series[0]
    notes = list(series.warnings)
    if is_oblique(volume):
        notes.append(
            "it is oblique, which napari cannot show: it is displayed along its own axes, up to "
            f"{display_error_mm(volume):.0f} mm from its true position (the true geometry is kept)"
        )
    if notes:
        show_warning(f"{series.name}: {'; '.join(notes)}.")


def mni152() -> list[LayerData]:
    """Open the MNI152 T1w template: skull-stripped, 1 mm."""
    orient_empty_viewer()
    return [volume_to_layer(load_template())]


def mni152_3t() -> list[LayerData]:
    """Open the MNI152 T1w template as a pseudo-3T: noise added."""
    orient_empty_viewer()
    pair = simulate_3t(load_template())
    data, meta, kind = volume_to_layer(pair.source)
    meta["metadata"][KEY]["provenance"] = pair.sidecar("source")
    return [(data, meta, kind)]
