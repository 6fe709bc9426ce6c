"""The background work of "Evaluate"."""

import numpy as np
import pytest
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


@pytest.mark.parametrize("name", ["target", "source", "gaussian", "watnet (report)"])
def test_layer_named_like_a_method_is_scored_under_its_own_name(phantom, name):
    arrays = {"7T": phantom.array, "3T": phantom.array * 0.9, name: phantom.array * 0.5}
    real, scan, made = (
        Image(array.T, **volume_to_layer(phantom)[1] | {"name": title})
        for title, array in arrays.items()
    )
    found = evaluate_layers(LayersToScore(real, made, scan, None, 1.0), ignore)
    np.testing.assert_array_equal(found.volumes.by_method["target"].array, phantom.array)
    psnr = {one.method: one.metrics["whole_psnr"] for one in found.results}
    assert list(psnr) == ["source", f"layer {name}"]
    assert psnr["source"] > psnr[f"layer {name}"]
    assert f"layer {name}" in str(found.summary)
