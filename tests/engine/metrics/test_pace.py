"""The time of a scoring, measured by a part of a brain."""

from __future__ import annotations

from napari_mri7t.engine.metrics import pace
from napari_mri7t.engine.metrics.pace import seconds_per_voxel


def test_pace_is_that_of_every_metric_after_what_loads_the_libraries(monkeypatch):
    clock, scored = iter((0, 50, 50, 51)), []

    def score(reference, estimate, *, mask, data_range):
        scored.append((reference.array.size, bool(mask.array.any()), data_range))

    monkeypatch.setattr(pace, "score", score)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    assert seconds_per_voxel() == 1 / 80**3
    assert scored == [(32**3, True, 1.0), (80**3, True, 1.0)]
