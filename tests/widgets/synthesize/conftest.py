"""A head for the widgets, and a template that fits it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mri7t.engine.preparation import bias_field, checks, prepare, quality
from napari_mri7t.engine.preparation.optional import in_background
from napari_mri7t.engine.preparation.steps import EXTRACTION, running
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.synthesize.widget import SynthesizeWidget

SHAPE, MM = (44, 54, 42), 4.0  # a head in 0.1 million voxels


def show(widget, volume, **settings):
    data, meta, _ = volume_to_layer(volume, **settings)
    return widget.viewer.add_image(data, **meta)


@pytest.fixture
def head() -> tuple[Volume, np.ndarray]:
    """An uneven brain of 1.3 litres with a skull around it; no symmetry."""
    axes = [np.arange(n) * MM for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    x, y, z = x - 86, y - 106, z - 82
    radius = np.sqrt((x / 62) ** 2 + (y / 78) ** 2 + (z / 62) ** 2)
    brain = (radius < 1) * (600 + 200 * np.sin(x / 9) * np.cos(y / 13 + z / 11) + y + 2 * z)
    noise = 1 + np.random.default_rng(0).random(SHAPE)  # no background of 0
    skull = 300.0 * ((radius > 1.15) & (radius < 1.25))
    affine = np.diag([MM] * 3 + [1.0])
    affine[:3, 3] = (-86, -126, -72)
    return Volume(brain + skull + noise, affine, name="head"), radius < 1


@pytest.fixture
def calls(head, monkeypatch) -> list[str]:
    """The phantom is its own template; its brain is known, the other steps are SimpleITK's own."""
    pytest.importorskip("SimpleITK")
    monkeypatch.setattr(bias_field, "N_ITERATIONS", 4)  # quick; quality is tested elsewhere
    scan, mask = head
    for user in (checks, prepare, quality):
        monkeypatch.setattr(user, "load_template", lambda: scan.with_array(scan.array * mask))
    done: list[str] = []

    def counted(name, work):
        def run(*arguments, report):
            done.append(name)
            return work(*arguments, report=report)

        return run

    now = running(EXTRACTION)
    known = counted("extraction", lambda *_, report: in_background(lambda: mask, report, now))
    monkeypatch.setattr(prepare, "extract_brain", known)
    monkeypatch.setattr(
        prepare, "estimate_bias_field", counted("field", prepare.estimate_bias_field)
    )
    monkeypatch.setattr(prepare, "register", counted("register", prepare.register))
    return done


@pytest.fixture
def widget(make_napari_viewer, quick_model) -> SynthesizeWidget:
    viewer = make_napari_viewer()
    _, docked = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    docked.model_chooser.add(quick_model)
    docked.computation.step_box.setCurrentIndex(1)
    return docked


@pytest.fixture
def ready(widget, head, calls, wait_idle) -> SynthesizeWidget:
    """The head as a layer; it is too coarse for the models, and that is allowed."""
    show(widget, head[0])
    widget.preparation.coarse_box.setChecked(True)
    wait_idle()
    return widget
