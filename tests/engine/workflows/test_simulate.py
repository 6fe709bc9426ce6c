"""A dataset of simulated pairs: what is written, what a training finds, what a preview shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_mri7t.engine.datasets.subjects import find_subjects
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, preview_plane, simulate_3t
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows.simulate import simulate_dataset


@pytest.fixture
def targets(phantom, tmp_path):
    folder = tmp_path / "targets"
    folder.mkdir()
    for name, factor in (("sub-01", 1.0), ("sub-02", 0.5)):
        save_volume(phantom.with_array(phantom.array**factor), folder / f"{name}.nii.gz")
    return find_subjects(folder)


def test_training_finds_the_pairs_that_were_written(targets, tmp_path):
    simulate_dataset(targets, tmp_path / "pairs")
    subjects = find_subjects(tmp_path / "pairs")
    assert [subject.name for subject in subjects] == ["sub-01", "sub-02"]
    assert all(subject.source is not None for subject in subjects)


def test_every_pair_is_what_simulate_3t_makes_with_its_own_seed(targets, tmp_path):
    config = SimulationConfig(variance=0.01, seed=5)
    written = simulate_dataset(targets, tmp_path / "pairs", config=config)
    for index, subject in enumerate(targets):
        expected = simulate_3t(
            load_volume(subject.target), config=SimulationConfig(variance=0.01, seed=5 + index)
        )
        for volume, path in zip(expected, written[2 * index : 2 * index + 2], strict=True):
            np.testing.assert_array_equal(load_volume(path).array, volume.array)
    sidecar = json.loads((tmp_path / "pairs/3T_images/sub-02.json").read_text())
    assert sidecar["Seed"] == 6
    assert sidecar["Sources"][0]["File"] == "sub-02.nii.gz"


def test_reference_gives_all_its_histogram(targets, tmp_path):
    reference = load_volume(targets[0].target)
    written = simulate_dataset(targets, tmp_path / "pairs", reference=reference)
    own, other = (np.sort(load_volume(written[n]).array, None) for n in (1, 3))
    np.testing.assert_allclose(own, other, atol=0.02)


def test_existing_pair_is_refused_before_anything_is_written(targets, tmp_path):
    folder = tmp_path / "pairs/7T_images"
    folder.mkdir(parents=True)
    (folder / "sub-02.nii.gz").write_bytes(b"mine")
    with pytest.raises(Mri7tError, match="already exists"):
        simulate_dataset(targets, tmp_path / "pairs")
    assert [p.name for p in tmp_path.glob("pairs/**/*.*")] == ["sub-02.nii.gz"]


def test_existing_pairs_are_replaced_where_that_is_allowed(targets, tmp_path):
    first, second = (SimulationConfig(seed=seed) for seed in (1, 2))
    simulate_dataset(targets, tmp_path / "pairs", config=first)
    written = simulate_dataset(targets, tmp_path / "pairs", config=second, overwrite=True)
    expected, _ = simulate_3t(load_volume(targets[0].target), config=second)
    np.testing.assert_array_equal(load_volume(written[0]).array, expected.array)


def test_volume_that_is_simulated_is_never_replaced(targets, tmp_path):
    folder = tmp_path / "pairs/7T_images"
    folder.mkdir(parents=True)
    for subject in targets:
        subject.target.rename(folder / subject.target.name)
    before = (folder / "sub-01.nii.gz").read_bytes()
    with pytest.raises(Mri7tError, match="is one of the 7T volumes: choose another folder"):
        simulate_dataset(find_subjects(folder), tmp_path / "pairs", overwrite=True)
    assert (folder / "sub-01.nii.gz").read_bytes() == before
    assert [p.name for p in (tmp_path / "pairs").iterdir()] == ["7T_images"]


def test_cancel_in_the_middle_leaves_whole_pairs(targets, tmp_path):
    records = []

    def report(now):
        records.append((now.done, now.total, now.message))
        if now.message == "simulating sub-02":
            raise Cancelled

    with pytest.raises(Cancelled):
        simulate_dataset(targets, tmp_path / "pairs", report=report)
    assert records[0] == (0, 2, "simulating sub-01")
    assert records[-1] == (1, 2, "simulating sub-02")
    names = sorted(str(p.relative_to(tmp_path / "pairs")) for p in tmp_path.glob("pairs/*/*"))
    assert names == [
        f"{field}T_images/sub-01{suffix}" for field in "37" for suffix in (".json", ".nii.gz")
    ]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_preview_looks_like_the_plane_of_the_whole_simulation(phantom, axis):
    plane = preview_plane(phantom, (axis, 16))
    source, _ = simulate_3t(phantom)
    expected = np.take(source.array, 16, axis)
    assert plane.shape == expected.shape
    assert plane.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert plane.std() == pytest.approx(expected.std(), rel=0.05)


def test_preview_takes_the_histogram_of_a_reference(phantom):
    darker = phantom.with_array(phantom.array**3)
    plane = preview_plane(phantom, (2, 16), reference=darker)
    assert plane.mean() < 0.8 * preview_plane(phantom, (2, 16)).mean()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_realistic_preview_looks_like_the_plane_of_the_whole_simulation(phantom, axis):
    config = SimulationConfig(seed=3, preset="realistic")
    plane = preview_plane(phantom, (axis, 16), config=config)
    source, _ = simulate_3t(phantom, config=config)
    expected = np.take(source.array, 16, axis)
    assert plane.shape == expected.shape
    assert plane.mean() == pytest.approx(expected.mean(), rel=0.1)  # its field is another
    darker = phantom.with_array(phantom.array**3)
    matched = preview_plane(phantom, (axis, 16), reference=darker, config=config)
    assert matched.mean() < 0.9 * plane.mean()
