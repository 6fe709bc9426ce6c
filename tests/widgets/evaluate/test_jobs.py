"""The background work of "Evaluate"."""

from napari.layers import Image

from napari_mri7t import __version__
from napari_mri7t.engine.progress import ignore
from napari_mri7t.engine.volumes import provenance
from napari_mri7t.widgets.evaluate.jobs import LayersToScore, evaluate_layers
from napari_mri7t.widgets.layers.layers import volume_to_layer


def test_report_of_two_layers_names_the_versions_as_the_engine_does(phantom, monkeypatch):
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3", "torch": "2"})
    data, meta, _ = volume_to_layer(phantom)
    layers = [Image(data, **meta | {"name": name}) for name in ("7T", "estimate")]
    facts = dict(evaluate_layers(LayersToScore(*layers, None, None, 1.0), ignore).facts)
    assert facts["Versions"] == f"napari-mri7t {__version__}, python 3, torch 2"
