"""Sample data: a real brain that needs no download, and its pseudo-3T."""

from __future__ import annotations

from napari_mri7t.engine.preparation.simulation import SimulationConfig, simulate_3t
from napari_mri7t.engine.simulated_dataset import simulation_sidecar
from napari_mri7t.engine.template import load_template
from napari_mri7t.widgets.layers import KEY, LayerData, volume_to_layer
from napari_mri7t.widgets.preferences import orient_empty_viewer


def mni152() -> list[LayerData]:
    """Open the MNI152 T1w template: skull-stripped, 1 mm."""
    orient_empty_viewer()
    return [volume_to_layer(load_template())]


def mni152_3t() -> list[LayerData]:
    """Open the MNI152 T1w template as a 3T scanner might have shown it: noise added."""
    orient_empty_viewer()
    template, config = load_template(), SimulationConfig()
    source, _ = simulate_3t(template, config=config)
    data, meta, kind = volume_to_layer(source)
    meta["metadata"][KEY]["provenance"] = simulation_sidecar([template], config)
    return [(data, meta, kind)]
