"""A synthesis repeated from its sidecar: equal bits, or a sentence that says why not."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import torch

from napari_mri7t.engine.errors import (
    DeviceError,
    ModelError,
    Mri7tWarning,
    StateError,
    VolumeError,
)
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows import repeat as repetition
from napari_mri7t.engine.workflows.record import read_record
from napari_mri7t.engine.workflows.repeat import SourcePaths

CONFIG = SynthesisConfig(
    device="cpu", precision="float32", step=3, end_slices=2, flips=True, planes=("axial", "coronal")
)


@pytest.fixture
def made(phantom_file, tiny_model, tmp_path):
    """A synthesis on disk, and its sidecar."""
    return make(phantom_file, tiny_model, tmp_path / "estimate.nii.gz")


def make(source_file, tiny_model, output, index=None, config=CONFIG):
    source, model = load_volume(source_file, index=index), load_model(tiny_model)
    estimate(source, model, config).save(output)
    return output.with_name(f"{output.name.split('.')[0]}.json")


def test_repetition_is_equal_bit_for_bit(repeat, made, tiny_model):
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.largest, found.same_place) == (0, 0.0, True)
    assert found.is_equal


def test_record_holds_every_setting(made):
    found = read_record(made)
    assert found.config == CONFIG
    assert found.threads == torch.get_num_threads()
    assert found.other_versions == ()


def test_one_volume_of_a_series_is_repeated(repeat, phantom, tiny_model, tmp_path):
    series = np.stack([phantom.array, phantom.array**2], axis=-1)
    nibabel.save(nibabel.Nifti1Image(series, phantom.affine), tmp_path / "series.nii.gz")
    made = make(tmp_path / "series.nii.gz", tiny_model, tmp_path / "e.nii", index=1)
    assert repeat(made, tiny_model).is_equal


def test_source_of_no_file_is_known_by_its_voxels(repeat, phantom, tiny_model, tmp_path):
    estimate(phantom, load_model(tiny_model), CONFIG).save(tmp_path / "e.nii")
    with pytest.raises(StateError, match="was never saved to a file: save it") as caught:
        repeat(tmp_path / "e.json", tiny_model)
    assert caught.value.argument == "input"
    saved = save_volume(phantom, tmp_path / "saved.nii.gz")
    assert repeat(tmp_path / "e.json", tiny_model, saved).is_equal


def test_recorded_number_of_threads_is_used_and_restored(repeat, made, tiny_model, monkeypatch):
    facts = json.loads(made.read_text())
    before = torch.get_num_threads()
    facts["Threads"] = before + 1
    made.write_text(json.dumps(facts))
    seen, synthesize = [], repetition.synthesize

    def count(*arguments, report):
        seen.append(torch.get_num_threads())
        return synthesize(*arguments, report=report)

    monkeypatch.setattr(repetition, "synthesize", count)
    repeat(made, tiny_model)
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_sidecar_tells_the_threads_of_the_synthesis_whoever_writes_it(phantom, tiny_model):
    """A batch writes in another thread, while lanes of the next scan change torch's setting."""
    model = load_model(tiny_model)
    before = torch.get_num_threads()
    result = estimate(phantom, model, CONFIG)
    torch.set_num_threads(before + 1)
    try:
        facts = result.sidecar()
    finally:
        torch.set_num_threads(before)
    assert facts["Threads"] == before


def test_changed_image_is_told_with_its_difference(repeat, made, tiny_model):
    image = read_record(made).find_image()
    volume = load_volume(image)
    changed = volume.array.copy()
    changed[20, 20, 16] += 0.5
    save_volume(volume.with_array(changed), image, overwrite=True)
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.is_equal) == (1, False)
    assert found.largest == pytest.approx(0.5, abs=1e-6)


def test_moved_image_is_told(repeat, made, tiny_model):
    image = read_record(made).find_image()
    old = nibabel.load(image)
    moved = old.affine + 0.5 * np.eye(4, k=3)
    nibabel.save(nibabel.Nifti1Image(old.get_fdata(dtype=np.float32), moved), image)
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.same_place, found.is_equal) == (0, False, False)


def test_image_of_another_shape_is_refused(repeat, phantom, made, tiny_model):
    other = type(phantom)(phantom.array[1:], phantom.affine)
    save_volume(other, read_record(made).find_image(), overwrite=True)
    with pytest.raises(VolumeError, match="is not the one that its sidecar describes"):
        repeat(made, tiny_model)


def test_other_input_is_refused_with_both_digests(repeat, made, phantom_file, tiny_model):
    with phantom_file.open("ab") as file:
        file.write(b"x")
    with pytest.raises(StateError, match=r"phantom\.nii\.gz: is not the original input"):
        repeat(made, tiny_model)


def test_missing_input_and_image_are_asked_for(repeat, made, phantom_file, tiny_model, tmp_path):
    elsewhere = tmp_path / "elsewhere.nii.gz"
    phantom_file.rename(elsewhere)
    with pytest.raises(StateError, match="the input is not there: specify its path") as caught:
        repeat(made, tiny_model)
    assert caught.value.argument == "input"
    assert repeat(made, tiny_model, elsewhere).is_equal
    read_record(made).find_image().unlink()
    with pytest.raises(StateError, match="there is no image estimate"):
        repeat(made, tiny_model, elsewhere)


def test_other_model_is_refused_and_the_same_is_found_by_its_digest(
    repeat, made, tiny_model, tmp_path, monkeypatch
):
    with pytest.raises(ModelError, match="is not in the package: specify its folder") as caught:
        repeat(made, None)
    assert caught.value.argument == "model"
    model = load_model(tiny_model)
    with torch.no_grad():
        next(model.network.parameters()).add_(1)
    save_model(tmp_path / "other", model.network, model.card)
    with pytest.raises(ModelError, match=r"other: has weights of SHA-256"):
        repeat(made, tmp_path / "other")
    folders = [tmp_path / "other", tmp_path / "no model", tiny_model]
    monkeypatch.setattr("napari_mri7t.engine.workflows.repeat.bundled_folders", lambda: folders)
    assert repeat(made, None).sidecar["Model"]["SHA256"] == read_card(tiny_model).sha256


def test_model_beside_the_sidecar_is_found(repeat, made, tiny_model):
    for path in tiny_model.iterdir():
        shutil.copy(path, made.parent)
    assert repeat(made, None).made_with.startswith("tiny on")


def test_device_that_is_not_here_is_answered_with_the_choices(repeat, made, tiny_model):
    facts = json.loads(made.read_text())
    made.write_text(json.dumps(facts | {"Device": "cuda:7"}))
    with pytest.raises(DeviceError, match="choose auto or one of"):
        repeat(made, tiny_model)
    assert read_record(made, "cpu").config.device == "cpu"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"GeneratedBy": [{"Description": "dream"}]}, "only synthesize and simulate can be"),
        ({"GeneratedBy": [{"Description": "simulate"}]}, "lacks what a repetition needs"),
        ({"Sources": []}, "no source is named"),
        ({"Sources": 7}, "lacks what a repetition needs"),
        ({"Model": None}, "lacks what a repetition needs"),
        ({"Settings": {"step": 0, "planes": ["axial"]}}, "step must be at least 1"),
        ({"Settings": {"tempo": 2}}, "settings of another version: tempo"),
    ],
)
def test_sidecar_that_does_not_suffice_is_refused(made, change, words):
    made.write_text(json.dumps(json.loads(made.read_text()) | change))
    with pytest.raises(StateError, match=words) as caught:
        read_record(made)
    assert str(caught.value).startswith(f"{made}: ")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"7", b"{}"])
def test_file_that_is_no_sidecar_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"a\.json: "):
        read_record(path)


def test_other_versions_are_named(made):
    facts = json.loads(made.read_text())
    facts["Versions"] |= {"numpy": "1.0", "extinct": "2"}
    made.write_text(json.dumps(facts))
    assert read_record(made).other_versions == (
        f"made with numpy 1.0, {np.__version__} is installed",
        "made with extinct 2, none is installed",
    )


def test_python_repeats_a_synthesis_in_one_call_and_warns_of_other_versions(made, tiny_model):
    facts = json.loads(made.read_text())
    facts["Versions"]["numpy"] = "1.0"
    made.write_text(json.dumps(facts))
    seen = []
    with pytest.warns(Mri7tWarning, match=r"made with numpy 1\.0"):
        found = repetition.repeat(
            made, model=tiny_model, sources=SourcePaths(), device="cpu", report=seen.append
        )
    assert found.image == read_record(made).find_image()
    assert found.made_with == "tiny on cpu in float32"
    assert found.sidecar["Synthetic"] is True
    assert seen[-1].done == seen[-1].total
