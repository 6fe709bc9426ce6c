"""How long a synthesis takes, from a quarter of a second of its work."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.synthesis import pace
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.pace import seconds_to_synthesize

CPU = SynthesisConfig(device="cpu")


class Clock:
    """Time that passes only in the network: a second a batch."""

    def __init__(self, monkeypatch, seconds_per_slab: float):
        self.now, self.n_slabs = 0.0, 0
        monkeypatch.setattr(pace.time, "perf_counter", lambda: self.now)
        timed = pace.average_region

        def slow(plan, region, runner, report):
            def later(progress):
                self.now += seconds_per_slab * (progress.done - self.n_slabs)
                self.n_slabs = progress.done
                report(progress)

            return timed(plan, region, runner, later)

        monkeypatch.setattr(pace, "average_region", slow)


@pytest.fixture
def model():
    return load_model("basic_cnn")


def test_time_of_a_volume_is_that_of_all_its_slabs(model, monkeypatch):
    clock = Clock(monkeypatch, 0.01)
    told = seconds_to_synthesize((32, 32, 40), model, CPU)
    n_slabs = 30 - 2  # three quarters of 40 slices; the network estimates three of them at once
    assert clock.n_slabs <= n_slabs
    assert told == pytest.approx(0.01 * n_slabs, rel=0.15), "end slabs are smaller"


def test_work_ends_once_enough_is_seen(model, monkeypatch):
    clock = Clock(monkeypatch, 0.3)
    seconds_to_synthesize((160, 160, 32), model, CPU)  # large enough for one slab a batch
    assert clock.n_slabs < 8


def test_fast_quality_is_told_as_faster(model, monkeypatch):
    Clock(monkeypatch, 0.01)
    shape = (32, 32, 48)
    averaged = seconds_to_synthesize(shape, model, CPU)
    Clock(monkeypatch, 0.01)
    fast = seconds_to_synthesize(shape, model, SynthesisConfig(device="cpu", step=3))
    assert fast == pytest.approx(averaged / 3, rel=0.25)


def test_what_the_report_raises_cancels(model):
    def cancel(progress):
        raise Cancelled

    with pytest.raises(Cancelled):
        seconds_to_synthesize((24, 24, 24), model, CPU, cancel)


def test_real_time_is_above_nothing(model):
    begun = time.perf_counter()
    assert np.isfinite(told := seconds_to_synthesize((24, 24, 24), model, CPU))
    assert 0 < told < 60
    assert time.perf_counter() - begun < 30
