"""Many files through one model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from napari_mri7t.engine.batch import Batch, find_volumes, synthesize_files
from napari_mri7t.engine.cards import ModelCard
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.synthesis import SynthesisConfig, synthesize
from napari_mri7t.engine.volume import load_volume, save_volume

CONFIG = SynthesisConfig(device="cpu", precision="float32", step=3)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    card = ModelCard(
        name="quick",
        title="Untrained",
        network="slice_unet",
        n_parameters=0,
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "intensity_quantiles": np.linspace(0, 1, 257).tolist(),
        },
        training={},
        metrics={},
        intended_use="Tests.",
        sha256="0",
    )
    return Model("quick", build_network("slice_unet", widths=(8, 8), n_blocks=1).eval(), card)


@pytest.fixture
def folder(phantom, tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    small = type(phantom)(phantom.array[8:32, 8:40, 10:20], phantom.affine)
    for name in ("b.nii.gz", "a.nii"):
        save_volume(small, place / name)
    return place


def test_every_file_gets_its_estimate_and_sidecar(folder, tmp_path, model):
    batch = run_to_end(synthesize_files(find_volumes(folder), tmp_path / "out", model, CONFIG))
    assert [path.name for path in batch.written] == [
        "a_synthetic-7T.nii.gz",
        "b_synthetic-7T.nii.gz",
    ]
    expected = run_to_end(synthesize(load_volume(folder / "a.nii"), model, CONFIG)).volume
    np.testing.assert_array_equal(load_volume(batch.written[0]).array, expected.array)
    sidecar = json.loads((tmp_path / "out/a_synthetic-7T.json").read_text())
    assert sidecar["Sources"][0]["File"] == "a.nii"


def test_bad_file_is_refused_and_the_others_go_on(folder, tmp_path, model):
    (folder / "aa.nii").write_bytes(b"")
    batch = run_to_end(synthesize_files(find_volumes(folder), tmp_path / "out", model, CONFIG))
    assert len(batch.written) == 2
    (why,) = batch.refused
    assert "aa.nii: is empty" in why


def test_batch_goes_on_where_it_was_stopped(folder, tmp_path, model):
    steps = synthesize_files(find_volumes(folder), tmp_path / "out", model, CONFIG)
    while next(steps).done < 1000:
        pass
    steps.close()
    first = tmp_path / "out/a_synthetic-7T.nii.gz"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "a_synthetic-7T.json",
        first.name,
    ]
    before = first.stat().st_mtime_ns
    batch = run_to_end(synthesize_files(find_volumes(folder), tmp_path / "out", model, CONFIG))
    assert [path.name for path in batch.written] == ["b_synthetic-7T.nii.gz"]
    assert first.stat().st_mtime_ns == before
    assert any("is there already" in note for note in batch.warnings)


def test_progress_rises_to_the_total(folder, tmp_path, model):
    records = list(synthesize_files(find_volumes(folder), tmp_path / "out", model, CONFIG))
    done = [record.done for record in records if record.total]
    assert done == sorted(done)
    assert records[-1].done == records[-1].total == 2000
    assert records[1].message == "a.nii, file 1 of 2"


def test_estimates_of_an_earlier_batch_and_other_files_are_no_input(folder):
    for name in ("a_synthetic-7T.nii.gz", "notes.txt", ".hidden.nii", "c.img", "c.hdr"):
        (folder / name).write_bytes(b"x")
    assert [path.name for path in find_volumes(folder)] == ["a.nii", "b.nii.gz", "c.hdr"]


def test_folder_without_volumes_is_refused(tmp_path):
    with pytest.raises(Mri7tError, match="holds no volume"):
        find_volumes(tmp_path)
    with pytest.raises(Mri7tError, match="no such folder"):
        find_volumes(tmp_path / "none")


def test_two_files_of_one_stem_are_refused(folder, tmp_path, model):
    paths = [folder / "a.nii", tmp_path / "a.nii"]
    with pytest.raises(Mri7tError, match="rename one"):
        run_to_end(synthesize_files(paths, tmp_path / "out", model, CONFIG))


def test_nothing_to_do_is_an_empty_batch(tmp_path, model):
    assert run_to_end(synthesize_files([], tmp_path, model, CONFIG)) == Batch((), (), ())
