"""The picture of the demonstration: four panels, the error on a scale about 0, the notice."""

from __future__ import annotations

import numpy as np

from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.report.figures import demo_figure
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t


def test_the_picture_shows_3t_synthetic_7t_7t_and_the_error(phantom):
    source, target = simulate_3t(phantom)
    estimate = target.with_array(target.array * np.float32(0.75))
    scores = {"source": compare(target, source), "estimate": compare(target, estimate)}
    figure = demo_figure((source, estimate, target), scores, "a notice", "a phantom")
    panels = [axes for axes in figure.axes if axes.get_images()][:4]
    titles = [axes.get_title().split("\n")[0] for axes in panels]
    assert titles == ["3T, simulated", "synthetic 7T", "7T, the target", "error map"]
    assert f"PSNR {scores['estimate']['brain']['psnr']:.1f} dB" in panels[1].get_title()
    shown = [np.asarray(axes.get_images()[0].get_array()) for axes in panels]
    np.testing.assert_allclose(shown[3], shown[1] - shown[2], atol=1e-6)
    low, high = panels[3].get_images()[0].get_clim()
    assert low == -high < 0
    assert "a notice" in [text.get_text() for text in figure.texts]
