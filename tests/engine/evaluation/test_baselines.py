"""Baselines denoise, are tuned on what they are given, and work in chunks without a seam."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mri7t.engine.evaluation import baselines
from napari_mri7t.engine.evaluation.baselines import BASELINES, Baseline
from napari_mri7t.engine.metrics.basic import psnr


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_has_a_parameter_that_improves_the_phantom(name, source, target):
    baseline, brain = BASELINES[name], target.array > 0
    scores = baselines.try_parameters(source.array, target.array, [baseline])
    parameter = baselines.choose_parameter(baseline, [scores])
    estimate = baselines.denoise(baseline, source.array, parameter)
    assert estimate.dtype == np.float32
    before = psnr(target.array, source.array, data_range=1, mask=brain)
    assert psnr(target.array, estimate, data_range=1, mask=brain) > before + 1


def test_chunks_leave_no_seam(source):
    baseline = BASELINES["non_local_means"]
    whole = baseline.denoise(source.array, 0.05)
    records = []
    made = baselines.denoise(baseline, source.array, 0.05, report=records.append)
    np.testing.assert_allclose(made, whole, atol=1e-5)  # float32 running sums
    assert [record.done for record in records] == [0, 8, 16, 24, 32, 36]


def test_a_filter_of_the_whole_volume_reports_before_and_after(source):
    records = []
    baselines.denoise(BASELINES["wavelet"], source.array, 0.05, report=records.append)
    assert [record.done for record in records] == [0, source.shape[2]]


def test_the_parameter_is_the_best_on_the_mean_of_the_training_subjects():
    baseline = Baseline("b", "B", "strength", (1.0, 2.0, 3.0), lambda array, _: array)
    first, second = {"b": [20.0, 23.0, 10.0]}, {"b": [20.0, 15.0, 31.0]}
    assert baselines.choose_parameter(baseline, [first]) == 2
    assert baselines.choose_parameter(baseline, [first, second]) == 3  # means 20, 19, 20.5


def test_tuning_needs_a_training_subject():
    with pytest.raises(ValueError, match="at least one training subject"):
        baselines.choose_parameter(BASELINES["median"], [])


def test_tuning_scores_every_parameter_on_the_slab_only(source, target):
    seen: list[tuple[int, ...]] = []

    def spy(array: np.ndarray, _: float) -> np.ndarray:
        seen.append(array.shape)
        return array

    baseline = Baseline("spy", "Spy", "", (1.0, 2.0), spy)
    scores = baselines.try_parameters(source.array, target.array, [baseline])
    assert [shape[2] for shape in seen] == [baselines.SLAB_SLICES] * 2
    slab = slice(18 - 8, 18 + 8)  # the middle of 36 slices
    x, y = target.array[..., slab], source.array[..., slab]
    expected = psnr(x, y, data_range=1, mask=x > 0)
    assert scores == {"spy": pytest.approx([expected, expected])}


def test_a_baseline_whose_strength_depends_on_the_background_is_tuned_on_all(source, target):
    whole = Baseline("b", "B", "", (1.0,), lambda array, _: array, is_tuned_whole=True)
    scores = baselines.try_parameters(source.array, target.array, [whole])
    expected = psnr(target.array, source.array, data_range=1, mask=target.array > 0)
    assert scores == {"b": [expected]}
