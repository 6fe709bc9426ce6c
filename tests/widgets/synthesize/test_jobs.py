"""The background work of "Synthesize 7T": how it is planned, reported and cancelled."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image
from napari.settings import get_plugin_settings

from napari_mri7t.engine.preparation.prepare import PreparationConfig, PreparationPlan
from napari_mri7t.engine.preparation.steps import REGISTRATION, PreparationProgress
from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.synthesis import scan
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.shared.worker import Job
from napari_mri7t.widgets.synthesize import jobs, preparation
from napari_mri7t.widgets.synthesize.computation import ComputationFields
from napari_mri7t.widgets.synthesize.jobs import Asked, Planned, Source, synthesize_layers

pytestmark = pytest.mark.gui
CONFIG = SynthesisConfig(device="cpu")
AS_IT_IS = Asked(PreparationConfig("none"), OutputConfig())


class Lazy:
    """An array that is read when it is used, as dask's and zarr's, and never ends by itself."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype
        self._array = array
        self.begun, self.end = threading.Event(), threading.Event()

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        self.begun.set()
        while not self.end.wait(0.02):
            pass
        return self._array


@pytest.fixture
def layer(phantom):
    data, meta, _ = volume_to_layer(Volume(phantom.array[8:32, 8:40, 10:20], phantom.affine))
    return Image(data, **meta | {"name": "slices"})


@pytest.fixture
def source(layer) -> Source:
    return Source(layer, layer.as_layer_data_tuple(), None)


@pytest.fixture
def run(quick_model, source):
    """Synthesise the layer in this thread; returns what was reported."""

    def start(config=CONFIG):
        seen: list[Progress] = []
        synthesize_layers([source], quick_model, config, AS_IT_IS, seen.append)
        return seen

    return start


@pytest.fixture
def engine(monkeypatch):
    """The engine does nothing but report what it is told to; gives what it was called with."""
    called = SimpleNamespace(reports=[])

    def synthesize(volume, model, config, preparation, output, report):
        called.config, called.preparation = config, preparation
        for progress in called.reports:
            report(progress)
        return SimpleNamespace(sidecar=dict, uncertainty=None)

    monkeypatch.setattr(scan, "synthesize", synthesize)
    return called


def test_cancel_reaches_a_layer_that_is_slow_to_read(qtbot, layer, quick_model, wait_idle):
    data, meta, kind = layer.as_layer_data_tuple()
    lazy, ends = Lazy(data), []
    slow = [Source(layer, (lazy, meta, kind), None)]
    job = Job(
        "Slow",
        lambda report: synthesize_layers(slow, quick_model, CONFIG, AS_IT_IS, report),
        breakable=True,
    )
    job.cancelled.connect(lambda: ends.append("cancelled"))
    job.start()
    try:
        qtbot.waitUntil(lazy.begun.is_set)
        job.cancel()
        qtbot.waitUntil(lambda: ends == ["cancelled"])
    finally:
        lazy.end.set()
    wait_idle()


def test_plan_that_is_reported_is_the_one_carried_out(run, engine):
    (planned,) = [now for now in run() if isinstance(now, Planned)]
    assert isinstance(engine.preparation, PreparationPlan)
    assert engine.preparation is planned.plan


def test_plan_that_is_carried_out_is_shown(ready, calls, monkeypatch, wait_idle):
    made, used, shown = [], [], []
    plan, prepare = jobs.plan_preparation, scan.prepare

    def make(*arguments):
        made.append(plan(*arguments))
        return made[-1]

    def carry_out(volume, plan, report):
        used.append(plan)
        return prepare(volume, plan, report=report)

    monkeypatch.setattr(jobs, "plan_preparation", make)
    monkeypatch.setattr(scan, "prepare", carry_out)
    ready.outlook.preparation.setText("stale")
    ready.start()
    ready.panel.job.progressed.connect(
        lambda now: isinstance(now, Planned) and shown.append(ready.outlook.preparation.text())
    )
    wait_idle()
    (carried_out,) = used
    assert any(carried_out is plan for plan in made), "the engine makes none of its own"
    assert [text.replace("\u200b", "") for text in shown] == [carried_out.describe()]


def test_step_of_a_preparation_is_known_by_its_kind_not_by_its_words(run, engine):
    engine.reports = [
        PreparationProgress(0, 0, "in other words", REGISTRATION),
        Progress(0, 1, REGISTRATION),
    ]
    seen = run()
    words = [now.message for now in seen]
    assert "step 3 of 3, registration: 0 s" in words
    assert REGISTRATION in words, "a message is only text"
    assert list(seen[-1].seconds) == [REGISTRATION]


def test_settings_arrive_in_the_engine_as_they_were_chosen(run, engine):
    config = SynthesisConfig(device="cpu", step=3, end_slices=2, memory_mb=300)
    run(config)
    assert engine.config is config


def test_memory_of_the_preferences_is_part_of_the_settings_and_not_remembered(
    make_napari_viewer, monkeypatch
):
    make_napari_viewer()
    monkeypatch.setattr(get_plugin_settings("napari-mri7t").synthesis, "memory_mb", 2048)
    fields = ComputationFields({"device": "cpu", "step": 3})
    assert fields.config() == SynthesisConfig(device="cpu", step=3, memory_mb=2048)
    assert "memory_mb" not in fields.values()


def test_missing_libraries_are_those_of_the_engine(monkeypatch):
    monkeypatch.setattr(preparation, "NATIVE", {"no_such.module": "no_such", "numpy": "numpy"})
    assert preparation.missing_libraries() == ["no_such"]
