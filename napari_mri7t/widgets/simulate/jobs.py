"""Background work of the widget "Simulate 3T": layers or a folder in, pairs out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.datasets.subjects import find_subjects
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.simulation.pseudo_3t import (
    PAIR,
    SimulationConfig,
    preview_plane,
    simulate_3t,
)
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.simulate import simulate_dataset
from napari_mri7t.widgets.layers.layers import (
    LayerData,
    estimate_to_layer,
    layer_to_volume,
    volume_to_layer,
)
from napari_mri7t.widgets.shared.command import changed, command_line, file_of
from napari_mri7t.widgets.shared.job_panel import duration


@dataclass(frozen=True)
class DatasetRequest:
    """What the user asks for a folder of 7T volumes."""

    folder: Path
    output: Path
    config: SimulationConfig
    overwrite: bool = False

    def line(self, reference: Layer | None) -> str:
        """Return the line of `mri7t` that does the same."""
        return command_line(
            "simulate",
            self.folder.absolute(),
            self.output.absolute(),
            **simulation_options(self.config, reference),
            overwrite=self.overwrite,
        )


@dataclass(frozen=True)
class Amount:
    """What is to be simulated: two that are equal take equally long.

    `folder`: of 7T volumes; None for one of `n_voxels`.
    """

    preset: str
    has_reference: bool
    n_voxels: int = 0
    folder: Path | None = None


def time_of(amount: Amount) -> tuple[Amount, str]:
    """Return how long an amount takes, by simulating a part of a brain."""
    from napari_mri7t.engine.simulation.pace import seconds_per_voxel

    sizes = [amount.n_voxels]
    if amount.folder is not None:
        sizes = [read_header(x.target)[0].n_voxels for x in find_subjects(amount.folder)]
    config = SimulationConfig(preset=amount.preset)
    is_folder, has_reference = amount.folder is not None, amount.has_reference
    pace = seconds_per_voxel(config, has_reference=has_reference, saves=is_folder)
    what = "1 volume" if len(sizes) == 1 else f"{len(sizes)} volumes"
    return amount, f"{what}: {duration(pace * sum(sizes))}, timed on a part of a brain."


def simulation_options(config: SimulationConfig, reference: Layer | None) -> dict[str, Any]:
    """Return the options of `mri7t simulate` that a layer and a folder share."""
    histogram = None if reference is None else file_of(reference).path
    return changed(config, "variance", "seed", "preset") | {"reference": histogram}


def simulate_layer(
    layer: Layer, reference: Layer | None, config: SimulationConfig, report: Report
) -> list[LayerData]:
    """Simulate one layer: its pseudo-3T, and its 7T if its intensities are not the layer's."""
    report(Progress(0, 0, "preparing the volume"))
    target, histogram = layer_to_volume(layer), _volume(reference)
    pair = simulate_3t(target, reference=histogram, config=config, report=report)
    report(Progress(0, 0, "writing provenance"))
    limits = {"contrast_limits": (0.0, 1.0)}
    layers = [
        estimate_to_layer(volume, layer, pair.sidecar(image), name=volume.name, **limits)
        for volume, image in zip(pair, PAIR, strict=True)
    ]
    is_pair = reference is not None or target.array.max() > 1  # the pseudo-3T lies in 0 to 1
    return layers if is_pair else layers[:1]


def simulate_folder(request: DatasetRequest, reference: Layer | None, report: Report) -> list[Path]:
    """Simulate every subject of a folder."""
    report(Progress(0, 0, "looking for subjects"))
    return simulate_dataset(
        find_subjects(request.folder),
        request.output,
        reference=_volume(reference),
        config=request.config,
        overwrite=request.overwrite,
        report=report,
    )


def preview_of(
    layer: Layer, plane: tuple[int, int], reference: Layer | None, config: SimulationConfig
) -> tuple[Layer, tuple[int, int], np.ndarray]:
    """Simulate one plane of a layer."""
    target, histogram = layer_to_volume(layer), _volume(reference)
    return layer, plane, preview_plane(target, plane, reference=histogram, config=config)


def first_volume(folder: Path) -> tuple[Path, LayerData]:
    """Load a folder's first 7T volume."""
    return folder, volume_to_layer(load_volume(find_subjects(folder)[0].target))


def _volume(layer: Layer | None) -> Volume | None:
    return None if layer is None else layer_to_volume(layer)
