"""A look at a running training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mri7t.engine.devices import memory_in_use
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis import slabs
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.loop import TrainProgress
from napari_mri7t.engine.training.run import prepare_study, preview_slice, run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings

CONFIG = TrainConfig(
    n_steps=6, batch_size=2, patch_size=16, checkpoint_steps=2, precision="float32", warmup_steps=0
)
NETWORK = {"widths": [8, 8], "n_blocks": 1}


@pytest.fixture
def study(dataset, tmp_path):
    settings = StudySettings("slice_unet", "best", CONFIG, NETWORK)
    return start_training(dataset, tmp_path / "run", settings, [])[0]


def test_preview_shows_the_held_out_slice_at_the_last_checkpoint(study):
    pairs = prepare_study(study)
    assert preview_slice(study, 1, pairs[1], 16) is None
    previews = []

    def report(progress):
        if isinstance(progress, TrainProgress) and progress.done == 3:
            previews.append(preview_slice(study, 1, pairs[1], 16))

    run_fold(study, 1, "cpu", pairs, report=report)
    (preview,) = previews
    assert preview.step == 2
    np.testing.assert_array_equal(preview.source, pairs[1].source[16])
    np.testing.assert_array_equal(preview.target, pairs[1].target[16])
    assert preview.estimate.shape == preview.source.shape
    assert np.isfinite(preview.estimate).all()


def test_preview_at_the_end_is_the_model_s_own_estimate(study):
    pairs = prepare_study(study)
    run_fold(study, 0, "cpu", pairs)
    model = load_model(study.fold_folder(0))
    n_slices, n_outputs = model.network.n_slices, model.network.n_outputs
    slab = torch.from_numpy(pairs[0].source[16 - n_slices // 2 : 17 + n_slices // 2])[None]
    with torch.inference_mode():
        expected = model.network(slab)[0, n_outputs // 2].clamp(0, 1).numpy()
    preview = preview_slice(study, 0, pairs[0], 16)
    assert preview.step == 6
    np.testing.assert_allclose(preview.estimate, expected, atol=1e-6)


@pytest.mark.parametrize("index", [0, 31])
def test_first_and_last_slice_can_be_looked_at(study, index):
    pairs = prepare_study(study)
    run_fold(study, 2, "cpu", pairs)
    assert np.isfinite(preview_slice(study, 2, pairs[2], index).estimate).all()


@pytest.mark.parametrize("k", [1, FINAL])
def test_progress_of_a_fold_never_falls_and_reaches_its_total(study, monkeypatch, k):
    """Preparation, training and estimate share one bar; the estimate is one more step."""
    monkeypatch.setattr(slabs, "GROUP_BYTES", 1)  # a report for every slab
    seen = []
    run_fold(study, k, "cpu", report=seen.append)
    shares = [now.done / now.total for now in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    steps = [now for now in seen if isinstance(now, TrainProgress)]
    assert [now.done for now in steps] == [1, 2, 3, 4, 5, 6]
    assert {now.total for now in steps} == {6 if k == FINAL else 7}
    assert ("estimating sub-B" in {now.message for now in seen}) == (k == 1)


def test_cpu_has_no_gpu_memory():
    assert memory_in_use("cpu") is None


@pytest.mark.gpu
def test_gpu_memory_lies_within_the_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    used, total = memory_in_use("cuda")
    assert 0 < used <= total
