"""Pseudo-3T as the report makes it."""

import errno
import os

import nibabel
import numpy as np
import pytest
from skimage.exposure import match_histograms

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.simulation.pseudo_3t import (
    LARGEST_SEED,
    N_STEPS,
    SimulationConfig,
    preview_plane,
    simulate_3t,
)
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume


def test_source_is_noise_then_match_as_in_the_report(phantom):
    reference = phantom.with_array(phantom.array[::-1] ** 2 * 255)
    source, target = simulate_3t(phantom, reference=reference, config=SimulationConfig(seed=3))
    clean = (phantom.array - phantom.array.min()) / np.ptp(phantom.array)
    matched_to = reference.array / reference.array.max()
    noise = np.random.default_rng(3).standard_normal(clean.shape, dtype=np.float32)
    noisy = clean + np.float32(0.003**0.5) * noise
    np.testing.assert_allclose(source.array, match_histograms(noisy, matched_to), atol=1e-6)
    np.testing.assert_allclose(target.array, match_histograms(clean, matched_to), atol=1e-6)


def test_target_is_only_normalized_where_there_is_no_reference(phantom):
    _, target = simulate_3t(phantom.with_array(phantom.array * 400))
    np.testing.assert_allclose(target.array, phantom.array / phantom.array.max(), atol=1e-6)


def test_without_noise_the_seed_changes_nothing(phantom):
    flat = phantom.with_array(phantom.array.round(2))
    source, _ = simulate_3t(flat, reference=phantom, config=SimulationConfig(variance=0.0))
    again, _ = simulate_3t(flat, reference=phantom, config=SimulationConfig(variance=0.0, seed=9))
    np.testing.assert_array_equal(source.array, again.array)


def test_same_seed_gives_the_same_volume(phantom):
    first, _ = simulate_3t(phantom, config=SimulationConfig(seed=1))
    second, _ = simulate_3t(phantom, config=SimulationConfig(seed=1))
    other, _ = simulate_3t(phantom, config=SimulationConfig(seed=2))
    assert np.array_equal(first.array, second.array)
    assert not np.array_equal(first.array, other.array)


def test_both_stay_on_the_targets_grid(phantom):
    for volume in simulate_3t(phantom):
        np.testing.assert_array_equal(volume.affine, phantom.affine)


@pytest.mark.parametrize("settings", [{"variance": -1}, {"variance": float("nan")}, {"seed": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        SimulationConfig(**settings)


def test_variance_of_another_preset_is_refused():
    with pytest.raises(ValueError, match="variance is of the preset report"):
        SimulationConfig(variance=0.01, preset="realistic")


def test_subjects_after_the_largest_seed_begin_at_0():
    assert SimulationConfig(seed=LARGEST_SEED).of_subject(1).seed == 0


def test_seed_takes_the_place_of_that_of_the_settings(phantom):
    pair = simulate_3t(phantom, seed=4)
    expected = simulate_3t(phantom, config=SimulationConfig(seed=4))
    np.testing.assert_array_equal(pair.source.array, expected.source.array)
    assert pair.sidecar() == expected.sidecar()


def test_path_image_and_volume_give_the_same_pair(phantom, tmp_path):
    path = save_volume(phantom, tmp_path / "phantom.nii.gz")
    made = [simulate_3t(scan, reference=scan) for scan in (path, nibabel.load(path), phantom)]
    for pair in made[1:]:
        np.testing.assert_array_equal(pair.source.array, made[0].source.array)


def test_a_pair_is_saved_with_its_sidecars(phantom, tmp_path):
    pair = simulate_3t(phantom, seed=4)
    paths = tmp_path / "3t.nii.gz", tmp_path / "7t.nii.gz"
    assert pair.save(*paths) == paths[0]
    for path, volume, image in zip(paths, pair, ("source", "target"), strict=True):
        np.testing.assert_array_equal(load_volume(path).array, volume.array)
        assert f'"image": "{image}"' in path.with_name(f"{path.name[:2]}.json").read_text()


def test_pseudo_3t_is_no_7t(phantom, tmp_path):
    path = simulate_3t(phantom).save(tmp_path / "3T.nii.gz")
    with pytest.raises(VolumeError, match="3T: is a pseudo-3T, by its sidecar, and no 7T scan"):
        simulate_3t(path)


def test_a_pair_whose_second_file_exists_is_not_saved_at_all(phantom, tmp_path):
    (tmp_path / "7t.nii").write_text("mine")
    with pytest.raises(Mri7tError, match="exists"):
        simulate_3t(phantom).save(tmp_path / "3t.nii", tmp_path / "7t.nii")
    assert [path.name for path in tmp_path.iterdir()] == ["7t.nii"]


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_pair_that_does_not_fit_on_the_disk_leaves_nothing(
    phantom, tmp_path, monkeypatch, failing
):
    calls, fsync = [], os.fsync

    def fill(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("napari_mri7t.engine.atomic.os.fsync", fill)
    with pytest.raises(Mri7tError, match="free some space"):
        simulate_3t(phantom).save(tmp_path / "3t.nii", tmp_path / "7t.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("preset", ["report", "realistic"])
def test_progress_ends_at_its_total(phantom, preset):
    records = []
    simulate_3t(phantom, config=SimulationConfig(preset=preset), report=records.append)
    done = [record.done for record in records]
    assert (done, done[-1]) == (sorted(done), N_STEPS)


@pytest.mark.parametrize("index", [0, -1])
def test_preview_of_the_first_and_last_plane_sees_nothing_of_the_other_end(index):
    array = np.random.default_rng(0).uniform(0.2, 0.8, (40, 40, 40)).astype(np.float32)
    array[20, 20, 20:22] = 0, 1  # so that the range stays
    other = array.copy()
    other[-8:] = other[-8:, ::-1] if index == 0 else other[-8:]
    other[:8] = other[:8, ::-1] if index == -1 else other[:8]
    config = SimulationConfig(preset="realistic")
    found = [
        preview_plane(Volume(each, np.diag([0.8, 0.8, 0.8, 1])), (0, index % 40), config=config)
        for each in (array, other)
    ]
    np.testing.assert_allclose(*found, atol=1e-6)
