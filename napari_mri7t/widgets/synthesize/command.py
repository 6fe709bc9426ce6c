"""The `mri7t` lines of the widget "Synthesize 7T"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Layer

from napari_mri7t.engine.datasets.estimates import name_beside
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.widgets.shared.command import changed, command_line, file_of, model_option
from napari_mri7t.widgets.shared.selection import selection_options
from napari_mri7t.widgets.synthesize.folder_jobs import FolderRequest
from napari_mri7t.widgets.synthesize.jobs import Asked, Source

UNCERTAINTY = "uncertainty"
OF_COMPUTATION = ("device", "step", "planes", "end_slices", "noise_factor")


@dataclass(frozen=True, eq=False)
class AskedOfLayers:
    """What the widget is about to do with layers.

    `keep`: the user's own folder for intermediate files. `mask_layer`: a mask that is a layer.
    """

    sources: list[Source]
    model: Path | None
    config: SynthesisConfig
    asked: Asked
    keep: Path | None
    mask_layer: Layer | None


def lines_of_layers(asked: AskedOfLayers) -> list[str]:
    """Return a line for each layer; the estimate goes beside the scan's file.

    Raises
    ------
    VolumeError
        If a layer, or the mask, is not in a file.
    """
    named: set[Path] = set()
    return [_line(source, asked, named) for source in asked.sources]


def _line(source: Source, all_asked: AskedOfLayers, named: set[Path]) -> str:
    """Return the line of a layer; `named`: outputs of earlier lines, to which its own are added."""
    scan, asked = file_of(source.layer, source.index), all_asked.asked
    name = stem_of(scan.path) if scan.path.is_file() else source.layer.name
    folder = scan.path.parent
    taken = [path.name for path in (*folder.iterdir(), *named) if path.parent == folder]
    output = folder / name_beside(name, taken=taken)
    mask, extra = all_asked.mask_layer, {}
    if getattr(all_asked.config, UNCERTAINTY, False):
        extra = {UNCERTAINTY: folder / name_beside(name, UNCERTAINTY, taken)}
    named.update((output, *extra.values()))
    return command_line(
        "synthesize",
        scan.path,
        output,
        model=model_option(all_asked.model),
        **changed(all_asked.config, *OF_COMPUTATION),
        **scan.options,
        **_preparation_of(asked, all_asked.keep),
        mask=asked.preparation.mask if mask is None else file_of(mask).path,
        transform=asked.preparation.transform,
        **extra,
    )


def lines_of_folder(request: FolderRequest) -> list[str]:
    """Return the line of a batch."""
    asked = Asked(request.preparation, request.grid)
    line = command_line(
        "batch",
        request.source.absolute(),
        request.output.absolute(),
        model=model_option(request.model),
        **changed(request.config, *OF_COMPUTATION),
        **_preparation_of(asked, request.preparation.keep),
        **selection_options(request.wanted, request.index),
        overwrite=request.overwrite,
    )
    return [line]


def _preparation_of(asked: Asked, keep: Path | None) -> dict[str, Any]:
    """Return the options of preparation and output that both commands have."""
    return {
        **changed(asked.preparation, "prepare"),
        **changed(asked.output, "space", "via", "background"),
        "keep": keep,
        **changed(asked.preparation, "allow_out_of_domain"),
    }
