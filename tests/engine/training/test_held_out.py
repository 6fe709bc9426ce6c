"""The held-out subject's curve: at checkpoints, by hand, and without a trace in the weights."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.training.checkpoint import HISTORY, load_state, read_history, save_state
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.held_out import N_SLICES, HeldOutSlices, central_slice, slab_of
from napari_mri7t.engine.training.loop import TrainJob, TrainProgress, train
from napari_mri7t.engine.training.run import prepare_study, run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings

TINY = TrainConfig(
    n_steps=6, batch_size=2, patch_size=16, checkpoint_steps=4, warmup_steps=0, precision="float32"
)
UNET = {"widths": (8, 8), "n_blocks": 1, "n_slices": 3}


@pytest.fixture
def study(dataset, tmp_path):
    settings = StudySettings("slice_unet", "best", TINY, UNET)
    return start_training(dataset, tmp_path / "run", settings, [])[0]


@pytest.fixture
def pairs(study):
    return prepare_study(study)


def job_in(folder, config=TINY):
    folder.mkdir(exist_ok=True)
    return TrainJob("slice_unet", config, 0, folder, torch.device("cpu"), UNET)


def column(folder) -> list[float]:
    with (folder / HISTORY).open() as file:
        return [float(row["held_out_psnr"] or "nan") for row in csv.DictReader(file)]


def test_watching_a_subject_leaves_the_weights_as_they_are_bit_for_bit(pairs, tmp_path):
    for name, config in (("plain", TINY), ("gan", replace(TINY, adversarial_weight=0.01))):
        alone = train(job_in(tmp_path / f"{name}-alone", config), pairs[1:])
        watched = train(job_in(tmp_path / name, config), pairs[1:], pairs[0])
        for key, value in alone.state_dict().items():
            assert torch.equal(value, watched.state_dict()[key]), key


def test_history_has_the_figure_at_checkpoints_alone(pairs, tmp_path):
    seen = []
    network = train(job_in(tmp_path / "a"), pairs[1:], pairs[0], report=seen.append)
    found = column(tmp_path / "a")
    assert [math.isfinite(value) for value in found] == [False, False, False, True, False, True]
    assert found[-1] == pytest.approx(HeldOutSlices(pairs[0], network).psnr(network))
    assert [math.isnan(now.held_out_psnr) for now in seen] == [True] * 3 + [False] * 3
    assert seen[-1].held_out_psnr == found[-1]
    steps, losses = read_history(tmp_path / "a" / HISTORY)
    assert len(steps) == len(losses) == 6


def test_figure_is_that_of_the_slices_inside_the_brain(pairs):
    network = build_network("slice_unet", **UNET).train()
    slices = HeldOutSlices(pairs[0], network)
    heights = np.flatnonzero((pairs[0].target > 0).any((1, 2)))
    chosen = np.linspace(heights[0], heights[-1], N_SLICES + 2).round().astype(int)[1:-1]
    estimate = [central_slice(network, slab_of(pairs[0].source, k, network)) for k in chosen]
    target = pairs[0].target[chosen]
    by_hand = psnr(target, np.stack(estimate), data_range=1, mask=target > 0)
    assert slices.psnr(network) == pytest.approx(by_hand, abs=0.2)  # of a window, not all of it
    assert network.training


def test_network_that_is_told_of_the_noise_is_watched_too(pairs):
    network = build_network("slice_unet", **UNET, noise_map=True)
    assert slab_of(pairs[0].source, 3, network).shape[0] == 4
    assert math.isfinite(HeldOutSlices(pairs[0], network).psnr(network))


def test_state_of_an_older_version_goes_on(pairs, tmp_path):
    """Its history has no such column."""
    job = job_in(tmp_path / "a", replace(TINY, n_steps=4))
    train(job, pairs[1:])
    tensors, facts = load_state(job.folder)
    facts["settings"]["n_steps"] = TINY.n_steps
    save_state(job.folder, tensors | {"history": tensors["history"][:, :4]}, facts)
    train(job_in(tmp_path / "a"), pairs[1:], pairs[0])
    assert [math.isfinite(value) for value in column(tmp_path / "a")] == [False] * 5 + [True]


def test_every_fold_is_watched_and_the_final_training_is_not(study, pairs):
    last = {}
    for k in (1, FINAL):
        run_fold(study, k, "cpu", pairs, report=lambda now, k=k: last.update({k: now})
                 if isinstance(now, TrainProgress) else None)  # fmt: skip
    assert math.isfinite(last[1].held_out_psnr)
    assert math.isnan(last[FINAL].held_out_psnr)
