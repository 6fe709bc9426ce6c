"""Patches: where they come from, what is done to them, and that the noise is new in each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mri7t.engine.simulation import realistic
from napari_mri7t.engine.simulation.realistic import lower_resolution
from napari_mri7t.engine.training import patches
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.pairs import TrainingSubject
from napari_mri7t.engine.training.patches import PatchPool, map_by_landmarks
from napari_mri7t.engine.volumes.intensity import LANDMARKS, harmonize, histogram_table

SHAPE = (20, 24, 28)  # (S, A, R)
PLAIN = TrainConfig(
    patch_size=8,
    planes=("axial",),
    flips=False,
    rotations=False,
    sampling="uniform",
    fresh_noise=False,
)
CPU = torch.device("cpu")


def numbered(name="a", first=0):
    """A subject whose every voxel is its own flat index: a patch tells where it comes from."""
    array = np.arange(first, first + np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return TrainingSubject(name, array, array + 0.5)


def draw(config, n=64, subjects=None, slices=(3, 3), seed=0):
    pool = PatchPool(subjects or [numbered()], slices, config, CPU)
    return pool.draw(n, torch.Generator().manual_seed(seed))


def positions(patches):
    """Coordinates (S, A, R) of every voxel of patches cut from `numbered`."""
    return np.stack(np.unravel_index(patches.numpy().astype(int), SHAPE), -1)


def test_patch_is_a_block_of_adjacent_slices_of_source_and_target():
    source, target = draw(PLAIN)
    assert source.shape == target.shape == (64, 3, 8, 8)
    assert torch.equal(source, target + 0.5)
    steps = [np.diff(positions(target), axis=axis) for axis in (1, 2, 3)]
    for axis, step in enumerate(steps):
        assert (step == np.eye(3, dtype=int)[axis]).all()


def test_target_is_the_central_slices_of_what_the_network_sees():
    source, target = draw(PLAIN, slices=(7, 3))
    assert source.shape == (64, 7, 8, 8)
    assert torch.equal(source[:, 2:5], target + 0.5)


def test_every_position_may_be_drawn():
    _, target = draw(replace(PLAIN, patch_size=16), n=4000)
    starts = positions(target)[:, 0, 0, 0]
    assert starts.min(0).tolist() == [0, 0, 0]
    assert starts.max(0).tolist() == [SHAPE[0] - 3, SHAPE[1] - 16, SHAPE[2] - 16]


def test_end_slices_are_never_touched():
    _, target = draw(replace(PLAIN, end_slices=6), n=2000)
    slices = positions(target)[..., 0]
    assert slices.min() == 6
    assert slices.max() == SHAPE[0] - 7


def test_planes_lay_slices_along_each_axis():
    for axis, plane in enumerate(("axial", "coronal", "sagittal")):
        _, target = draw(replace(PLAIN, planes=(plane,)))
        along_slices = np.diff(positions(target), axis=1)
        assert (along_slices == np.eye(3, dtype=int)[axis]).all()


def test_flips_and_rotations_reach_every_orientation_of_a_patch():
    _, target = draw(replace(PLAIN, flips=True, rotations=True), n=400)
    steps = positions(target)
    rows = steps[:, 0, 1, 0] - steps[:, 0, 0, 0]
    columns = steps[:, 0, 0, 1] - steps[:, 0, 0, 0]
    seen = {(*row, *column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}
    assert len(seen) == 8  # four turns, each mirrored or not


def test_brain_sampling_centres_patches_on_the_brain():
    target = np.zeros(SHAPE, np.float32)
    target[10, 12, 14] = 1
    subject = TrainingSubject("a", target, target)
    _, patches = draw(replace(PLAIN, sampling="brain"), n=20, subjects=[subject])
    assert (patches[:, 1, 4, 4] == 1).all()


def test_patches_with_much_background_are_dropped():
    target = np.zeros(SHAPE, np.float32)
    target[:, :, :16] = 1
    subject = TrainingSubject("a", target, target)
    config = replace(PLAIN, max_background=0.3)
    _, patches = draw(config, n=50, subjects=[subject])
    assert (patches == 0).float().mean((1, 2, 3)).max() <= 0.3


def test_batch_is_spread_evenly_over_the_subjects():
    n = int(np.prod(SHAPE))
    _, target = draw(PLAIN, n=30, subjects=[numbered("a"), numbered("b", n), numbered("c", 2 * n)])
    assert np.bincount(target[:, 0, 0, 0].int().numpy() // n).tolist() == [10, 10, 10]


def noisy_subject(phantom, seed):
    clean = np.ascontiguousarray(phantom.array.T)
    noisy = clean + 0.05 * np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
    table = histogram_table(noisy, clean)
    return TrainingSubject("a", clean, table(noisy), clean, table)


def test_fresh_noise_differs_in_every_patch_and_has_the_sources_distribution(phantom):
    config = replace(PLAIN, fresh_noise=True, variance=0.0025)
    pool = PatchPool([noisy_subject(phantom, 0)], (3, 3), config, CPU)
    source, target = pool.draw(600, torch.Generator().manual_seed(0))
    again, _ = pool.draw(600, torch.Generator().manual_seed(1))
    assert not torch.equal(source, again)
    # The histogram of the matched noisy patches is that of the clean volume, by construction of the
    # match; 600 patches of 192 voxels leave an error of the mean of about 0.01.
    assert source.mean().item() == pytest.approx(target.mean().item(), abs=0.02)


def test_table_on_the_device_maps_as_on_the_host(phantom):
    subject = noisy_subject(phantom, 0)
    config = replace(PLAIN, fresh_noise=True, variance=0.0)
    pool = PatchPool([subject], (3, 3), config, CPU)
    source, target = pool.draw(20, torch.Generator().manual_seed(0))
    expected = subject.source_table(target.numpy())
    np.testing.assert_allclose(source.numpy(), expected, atol=1e-5)


def test_scales_resample_content_to_the_patch_size():
    ramp = np.broadcast_to(np.arange(SHAPE[2], dtype=np.float32), SHAPE)
    subject = TrainingSubject("a", ramp, ramp)
    _, target = draw(replace(PLAIN, scales=(0.5,)), subjects=[subject])
    assert target.shape == (64, 3, 8, 8)
    # 16 columns in the room of 8: the ramp is twice as steep away from the border.
    assert target[0, 0, 0, 2:6].diff().tolist() == pytest.approx([2, 2, 2], abs=1e-3)


def test_patch_larger_than_the_volume_is_refused():
    with pytest.raises(ValueError, match="set a smaller patch_size"):
        draw(replace(PLAIN, patch_size=32))


def realistic_brain(name="a"):
    """Grey and white matter in blocks, as every kind of source the pool takes."""
    array = np.zeros((40, 44, 48), np.float32)
    array[4:36, 4:40, 4:44] = 0.6
    array[10:30, 12:32, 12:36] = 0.95
    array[4:8] *= 0.4
    coarse = lower_resolution(array, (1, 1, 1))
    return TrainingSubject(name, array, array, array, coarse=coarse)


def test_realistic_sources_are_drawn_anew_and_harmonised_to_the_target():
    config = replace(PLAIN, patch_size=32, sampling="brain", fresh_noise=True)
    pool = PatchPool([realistic_brain()], (3, 3), config, CPU)
    source, target = pool.draw(24, torch.Generator().manual_seed(0))
    assert source.min() == 0
    assert source.max() <= 1
    assert (source[target == 0] == 0).all()
    for tissue in (0.6, 0.95):
        means = torch.tensor([s[t == tissue].mean() for s, t in zip(source, target, strict=True)])
        assert float(means.nanmean()) == pytest.approx(tissue, abs=0.06)
    pairs = [(s, t == 0.6) for s, t in zip(source, target, strict=True)]
    noise = torch.stack([s[grey].std() for s, grey in pairs if grey.sum() > 500])
    assert noise.max() > 2 * noise.min()  # strengths of its own in every patch


def test_realistic_sources_follow_the_generator_alone():
    config = replace(PLAIN, patch_size=16, fresh_noise=True)
    draws = [
        PatchPool([realistic_brain()], (3, 3), config, CPU).draw(
            4, torch.Generator().manual_seed(seed)
        )[0]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_map_of_patches_is_that_of_inference():
    rng = np.random.default_rng(0)
    scan = np.zeros((30, 30, 30), np.float32)
    scan[5:25, 5:25, 5:25] = rng.gamma(4, 40, (20, 20, 20))
    model = np.linspace(0, 1, 257) ** 0.5
    expected = harmonize(scan, model).to_model(scan)
    landmarks = [np.quantile(scan[scan > 0], LANDMARKS), np.interp(LANDMARKS, model**2, model)]
    tensors = [torch.tensor(each, dtype=torch.float32)[None] for each in landmarks]
    found = map_by_landmarks(torch.from_numpy(scan)[None], *tensors)[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)  # 257 quantiles


def test_realistic_source_without_strength_is_the_target(monkeypatch):
    nothing = {"GREY_TO_WHITE": (0.65, 0.65), "SHADING": (0, 0), "NOISE": (1e-6, 1e-6)}
    for name, bounds in nothing.items():
        monkeypatch.setattr(realistic, name, bounds)
    monkeypatch.setattr(patches, "RESIDUAL_EXPONENT", (1, 1))
    clean = np.zeros((40, 44, 48), np.float32)
    clean[4:36, 4:40, 4:44] = np.random.default_rng(0).random((32, 36, 40)) + 0.01
    target = np.where(clean > 0.1, (clean - 0.1).clip(0) ** 0.5, 0).astype(np.float32)
    subject = TrainingSubject("a", target, clean, clean, coarse=clean)
    config = replace(PLAIN, patch_size=32, fresh_noise=True)
    source, expected = PatchPool([subject], (3, 3), config, CPU).draw(
        8, torch.Generator().manual_seed(0)
    )
    brain = expected > 0.3
    assert float((source - expected)[brain].abs().mean()) < 0.02


def clean_brain():
    array = np.random.default_rng(0).random((24, 24, 24), dtype=np.float32)
    array[:4] = 0
    return TrainingSubject("a", array, array, array, coarse=array)


def test_noise_of_random_strength_comes_with_its_map_and_a_target_without_it():
    config = replace(PLAIN, pseudo_3t="noise", fresh_noise=True)
    pool = PatchPool([clean_brain()], (5, 1), config, CPU, noise_map=True)
    source, target = pool.draw(200, torch.Generator().manual_seed(0))
    assert source.shape == (200, 6, 8, 8)
    assert target.shape == (200, 1, 8, 8)
    brain = target > 0.3  # where Rician noise is nearly Gaussian
    error = (source[:, 2, None] - target)[brain] / source[:, 5, None][brain].clamp_min(1e-3)
    assert error.median().abs() < 0.2
    assert 0.5 < error.abs().median() < 0.9  # 0.67 of a Gaussian


def test_a_network_that_is_told_the_noise_is_refused_where_nobody_knows_it():
    with pytest.raises(ValueError, match="pseudo_3t to noise"):
        PatchPool([numbered()], (3, 3), PLAIN, CPU, noise_map=True)
