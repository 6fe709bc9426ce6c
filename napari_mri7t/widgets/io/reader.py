"""NIfTI, MGH and DICOM into layers, and the sample data. Opens quickly: torch is not loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_warning

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.volumes.files.dicom import FEW_FILES, is_dicom, series_of_file
from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of
from napari_mri7t.engine.volumes.provenance import (
    is_marked_synthetic,
    read_sidecar,
    unrecorded,
    why_not_believed,
)
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Series, load_series
from napari_mri7t.widgets.io.dicom import read_dicom
from napari_mri7t.widgets.layers.layers import (
    KEY,
    LayerData,
    display_error_mm,
    is_oblique,
    is_uncertainty,
    series_to_layer,
    volume_to_layer,
)
from napari_mri7t.widgets.layers.uncertainty import look_of
from napari_mri7t.widgets.shared.settings import orient_empty_viewer

NOTHING: list[LayerData] = [(None,)]  # type: ignore[list-item]  # as npe2 has it
Paths = str | Path | Sequence[str | Path]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader if every path is a volume by its name, DICOM, or a folder that holds some.

    Only the first files of a folder are looked into.
    """
    return read if all(_is_read(one) for one in _each(path)) else None


def _is_read(path: Path) -> bool:
    is_named = bool(extension_of(path)) and not path.is_dir()
    return is_named or is_dicom(path, most=FEW_FILES)


def read(path: Paths) -> list[LayerData]:
    """Open each file, or DICOM series, as a layer of its own; a bad file does not stop the others.

    Raises
    ------
    FileNotFoundError, Mri7tError
        If no file could be opened: the first one's error.
    """
    layers, errors = [], []
    for one in _without_partners(_each(path)):
        is_one = is_dicom(one)
        try:
            found = read_dicom(one) if is_one else [load_series(one)]
        except (Mri7tError, OSError) as error:
            errors.append(error)
            continue
        for series in found:
            data, meta, kind = series_to_layer(series)
            facts, notes = (None, []) if is_one else _provenance(one)
            if facts is not None:
                meta["metadata"][KEY]["provenance"] = facts
            if is_uncertainty(facts):
                meta |= look_of(series[0].array)
            layers.append((data, meta, kind))
            _warn(series, notes)
    if errors and not layers:
        raise errors[0]
    for failure in errors:
        show_error(str(failure))
    orient_empty_viewer()
    return layers or NOTHING


def made_by(path: Path) -> dict[str, Any] | None:
    """Return the provenance of a synthetic image, for its copies; None of any other image."""
    return _provenance(path)[0]


def _provenance(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Return provenance, and what the user should know of it."""
    facts = read_sidecar(path)
    if facts is not None:
        if "SourceFiles" in facts:  # of a BIDS derivative
            facts["Sources"] = facts["SourceFiles"]
        if _is_of_synthetic(facts):
            return facts, []
    notes = []
    if facts is None and (why := why_not_believed(path)):
        notes.append(f"{why}, and is not used")
    if not is_marked_synthetic(path):
        return None, notes
    notes.append("its header says that it is synthetic, but no sidecar records how it was made")
    return unrecorded(path), notes


def _is_of_synthetic(facts: Mapping[str, Any]) -> bool:
    """Return whether a sidecar holds what a copy needs; somebody may have edited it."""
    try:
        is_made = facts["Synthetic"] is True and "Description" in facts["GeneratedBy"][0]
    except (TypeError, LookupError):
        return False
    return is_made and {"Notice", "Sources"} <= facts.keys()


def _each(path: Paths) -> list[Path]:
    return [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]


def _without_partners(paths: Sequence[Path]) -> list[Path]:
    """Drop the second file of a pair of .hdr and .img, and further files of a DICOM series."""
    seen: dict[tuple[Path, str], Path] = {}
    for path in paths:
        extension = extension_of(path)
        kind = "pair" if extension.startswith((".hdr", ".img")) else extension
        if path.is_dir():
            kind, stem = "folder", path.name
        else:
            stem = stem_of(path) if extension else series_of_file(path)
        seen.setdefault((path.parent / stem, kind), path)
    return list(seen.values())


def _warn(series: Series, of_sidecar: Sequence[str]) -> None:
    """Show everything unusual about a file, in one message."""
    volume = series[0]
    notes = [*series.warnings, *of_sidecar]
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
