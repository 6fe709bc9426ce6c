"""A synthesis repeated from its sidecar: equal bits, or a sentence that says why not."""

import json
import re
import shutil
import warnings

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
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows import repeat as repetition
from napari_mri7t.engine.workflows.record import read_record
from napari_mri7t.engine.workflows.repeat import SourcePaths
from napari_mri7t.engine.workflows.repetition import compare_bits

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


def test_repetition_is_saved_and_is_itself_repeated(repeat, made, tiny_model, tmp_path):
    found = repeat(made, tiny_model)
    (tmp_path / "again").mkdir()
    saved = found.save(tmp_path / "again" / "estimate.nii.gz")
    np.testing.assert_array_equal(load_volume(saved).array, found.again.array)
    source = tmp_path / "phantom.nii.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("error", Mri7tWarning)
        assert repeat(tmp_path / "again" / "estimate.json", tiny_model, source).is_equal


def test_device_that_is_asked_for_is_taken_and_not_blamed_on_the_sidecar(made, tiny_model):
    with pytest.raises(DeviceError) as caught:
        repetition.repeat(made, model=tiny_model, device="cuda:99")
    assert str(made) not in str(caught.value)


def test_simulation_whose_target_was_moved_is_repeated_from_there(phantom_file, tmp_path):
    pair = simulate_3t(load_volume(phantom_file))
    saved = save_volume(pair.source, tmp_path / "3t.nii.gz", sidecar=pair.sidecar())
    (tmp_path / "elsewhere").mkdir()
    moved = phantom_file.rename(tmp_path / "elsewhere" / "7t.nii.gz")
    assert repetition.repeat(tmp_path / "3t.json", sources=SourcePaths(moved)).image == saved
    with pytest.raises(StateError, match="is not there: specify its path"):
        repetition.repeat(tmp_path / "3t.json")


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
    nibabel.save(volume.with_array(changed).to_nibabel(), image)
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.is_equal) == (1, False)
    assert found.largest == pytest.approx(0.5, abs=1e-6)


def test_smallest_difference_of_one_voxel_is_none_too_small(repeat, made, tiny_model):
    image = read_record(made).find_image()
    volume = load_volume(image)
    changed = volume.array.copy()
    changed[20, 20, 16] = np.nextafter(changed[20, 20, 16], np.float32(2))
    nibabel.save(volume.with_array(changed).to_nibabel(), image)
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.same_place, found.is_equal) == (1, True, False)
    assert 0 < found.largest < 1e-6


@pytest.mark.parametrize("mm", [0.5, 2e-6])  # the second: one step of a header's float32
def test_moved_image_is_told_however_little(repeat, made, tiny_model, mm):
    image = read_record(made).find_image()
    old = nibabel.load(image)
    moved = old.affine + mm * np.eye(4, k=3)
    nibabel.save(nibabel.Nifti1Image(old.get_fdata(dtype=np.float32), moved), image)
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.same_place, found.is_equal) == (0, False, False)


def test_a_place_counts_as_equal_where_a_file_holds_it_so(phantom, tmp_path):
    """A grid of pairs is computed in float64, and written in float32."""
    again = type(phantom)(phantom.array, phantom.affine + 0.1 * np.eye(4, k=3))
    image = load_volume(save_volume(again, tmp_path / "a.nii"))
    assert not np.array_equal(image.affine, again.affine)
    assert compare_bits(image, again) == (0, 0.0, True)


def test_image_of_another_shape_is_refused(repeat, phantom, made, tiny_model):
    other = type(phantom)(phantom.array[1:], phantom.affine)
    nibabel.save(other.to_nibabel(), read_record(made).find_image())
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


DELETED = object()


def edited(facts, place, value):
    """A copy of a sidecar's content with one entry changed or deleted; "/" leads into an entry."""
    changed = json.loads(json.dumps(facts))
    *way, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    entry = changed
    for part in way:
        entry = entry[part]
    if value is DELETED:
        del entry[last]
    else:
        entry[last] = value
    return changed


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("GeneratedBy/0/Description", "dream", "only synthesize, simulate, pair can be repeated"),
        ("GeneratedBy/0/Description", "simulate", "Settings: noise: must be an object"),
        ("GeneratedBy/0/Name", "another", "Name must be napari-mri7t"),
        ("GeneratedBy", {"Description": "synthesize"}, "GeneratedBy must be a list"),
        ("GeneratedBy", [7], "lacks Description"),
        ("Synthetic", False, "Synthetic: must be true"),
        ("Seed", 3, "Seed: is 3, which its settings contradict"),
        ("Sources", [], "Sources: must hold 1 to 8 files, got 0"),
        ("Sources", 7, "Sources must be a list"),
        ("Sources/0", "scan.nii", "Sources: must hold objects"),
        ("Sources/0/File", "../../etc/passwd", "File must be the name of a file, without a folder"),
        ("Sources/0/File", "/etc/passwd", "File must be the name of a file"),
        ("Sources/0/File", "..", "File must be the name of a file"),
        ("Sources/0/File", "a\0b", "File must be the name of a file"),
        ("Sources/0/File", "x" * 10**6, "File is longer than 255 characters"),
        ("Sources/0/SHA256", "123", "SHA256 must be 64 hexadecimal digits"),
        ("Sources/0/Index", -1, "Index must be at least 0, got -1"),
        ("Sources/0/Index", "x", "Index must be a whole number"),
        ("Model", None, "Model must be an object"),
        ("Model/Name", 7, "Name must be text"),
        ("Model/SHA256", DELETED, "Model: lacks SHA256"),
        ("Threads", 10**6, "Threads must be 1 to "),
        ("Threads", -1, "Threads must be 1 to "),
        ("Threads", 0, "Threads must be 1 to "),
        ("Threads", "2", "Threads must be a whole number, got '2'"),
        ("Threads", 1.5, "Threads must be a whole number, got 1.5"),
        ("Threads", True, "Threads must be a whole number, got True"),
        ("Device", 3, "Device must be text"),
        ("Precision", "float64", "Precision: precision must be one of"),
        ("Versions", ["numpy"], "Versions must be an object"),
        ("Versions/numpy", 2, "Versions: numpy must be text"),
        ("Settings", DELETED, "lacks Settings"),
        ("Settings/step", 0, "Settings: step must be at least 1"),
        ("Settings/step", 1.5, "Settings: step must be a whole number, got 1.5"),
        ("Settings/step", DELETED, "Settings: lacks step"),
        ("Settings/tempo", 2, "Settings: settings of another version: 'tempo'"),
        ("Settings/planes", ["axial"] * 100_000, "planes must be different"),
        ("Settings/planes", "axial", "planes must be a list"),
        ("Settings/planes", [["axial"]], "planes must be a list of text"),
        ("Settings/planes", ["oblique"], "planes must be some of"),
        ("Settings/flips", 1, "flips must be true or false"),
        ("Settings/memory_mb", 10**30, "memory_mb must be 1 to"),
        ("Settings/memory_mb", float("nan"), "memory_mb must be a whole number, got nan"),
        ("Settings/preparation", 7, "Settings: preparation: must be an object"),
        ("Settings/preparation", {"prepare": "magic"}, "prepare must be auto or none"),
        ("Settings/preparation", {"prepare": "none", "mask": "m.nii"}, "mask: must hold objects"),
        ("Settings/preparation", {"prepare": "none", "threads": 10**6}, "threads must be 1 to"),
        (
            "Settings/output",
            {"space": "here", "via": "scan", "background": "scan"},
            "space must be",
        ),
        ("Settings/output", {}, "Settings: output: lacks background, space, via"),
        ("Image/File", "../estimate.nii.gz", "Image: File must be the name of a file"),
        ("Image/SHA256", "", "Image: SHA256 must be 64 hexadecimal digits"),
    ],
)
def test_sidecar_that_was_edited_is_refused_by_the_name_of_the_entry(made, place, value, words):
    made.write_text(json.dumps(edited(json.loads(made.read_text()), place, value)))
    with pytest.raises(StateError, match=re.escape(words)) as caught:
        read_record(made)
    text = str(caught.value)
    assert text.startswith(f"{made}: ")
    assert len(text.removeprefix(str(made))) < 400


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("variance", 1e18, "variance must be 0 to 1"),
        ("variance", -0.1, "variance must be 0 to 1"),
        ("variance", float("nan"), "variance must be a finite number"),
        ("variance", "0.003", "variance must be a finite number"),
        ("seed", -1, "seed must be 0 to"),
        ("seed", 10**30, "seed must be 0 to"),
        ("preset", ["report"], "preset must be text"),
        ("preset", "dream", "preset must be one of"),
        ("sigma", 3, "settings of another version: 'sigma'"),
    ],
)
def test_simulation_that_was_edited_is_refused(phantom, tmp_path, place, value, words):
    facts = simulate_3t(phantom).sidecar()
    path = tmp_path / "a.json"
    path.write_text(json.dumps(edited(facts, f"Settings/noise/{place}", value)))
    with pytest.raises(StateError, match=re.escape(f"a.json: Settings: noise: {words}")):
        read_record(path)
    path.write_text(json.dumps(edited(facts, "Settings/image", "both")))
    with pytest.raises(StateError, match="image must be source or target"):
        read_record(path)


def test_preparation_reads_no_path_of_a_sidecar(made):
    """A folder named in it would be written to."""
    preparation = {"prepare": "none", "keep": "/tmp/elsewhere", "allow_out_of_domain": True}
    facts = edited(json.loads(made.read_text()), "Settings/preparation", preparation)
    made.write_text(json.dumps(facts))
    assert read_record(made).preparation == {"prepare": "none"}


def test_facts_that_decide_no_voxel_are_compared_after_the_repetition(repeat, made, tiny_model):
    facts = json.loads(made.read_text())
    edit = {"Notice": "A scan.", "Warnings": ["none"], "Model": facts["Model"] | {"Name": "other"}}
    made.write_text(json.dumps(facts | edit))
    told = "Notice, Model, Warnings differ .* the sidecar was edited"
    with pytest.warns(Mri7tWarning, match=told):
        assert repeat(made, tiny_model).is_equal


@pytest.mark.parametrize(
    "origin",
    [
        "sub-01_desc-brain_mask.nii.gz was edited, or put there by hand: it replaces the mask",
        "sub-01_desc-brain_mask.nii.gz of a derivative replaces the brain extraction",
        "this is a 7T scan by its name or JSON, and the models are for 3T scans",
    ],
)
def test_where_a_file_came_from_is_no_edit_of_the_sidecar(
    repeat, made, tiny_model, recwarn, origin
):
    facts = json.loads(made.read_text())
    made.write_text(json.dumps(facts | {"Warnings": [*facts["Warnings"], origin]}))
    assert repeat(made, tiny_model).is_equal
    assert not [one for one in recwarn if "edited" in str(one.message)]


def test_image_that_was_saved_again_is_told_though_its_voxels_are_equal(repeat, made, tiny_model):
    image = read_record(made).find_image()
    nibabel.save(load_volume(image).to_nibabel(), image)
    with pytest.warns(Mri7tWarning, match="has other bytes than its sidecar records"):
        assert repeat(made, tiny_model).is_equal


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


@pytest.mark.parametrize("name", ["mask", "transform", "reference"])
def test_path_that_the_sidecar_has_no_record_of_is_refused(repeat, made, tiny_model, name):
    with pytest.raises(StateError, match=f"records no {name}: omit it") as caught:
        repeat(made, tiny_model, **{name: made.with_name("nonsense.txt")})
    assert caught.value.argument == name


@pytest.mark.parametrize("name", ["mask", "transform", "reference", "model"])
def test_what_a_simulation_has_no_record_of_is_refused(repeat, phantom_file, tmp_path, name):
    simulate_3t(load_volume(phantom_file)).save(tmp_path / "3t.nii.gz")
    model = "basic_cnn" if name == "model" else None
    paths = {} if name == "model" else {name: tmp_path / "nonsense.txt"}
    with pytest.raises(StateError, match=f"records no {name}: omit it") as caught:
        repeat(tmp_path / "3t.json", model, **paths)
    assert caught.value.argument == name


def test_device_is_refused_where_a_simulation_needs_none(phantom_file, tmp_path):
    simulate_3t(load_volume(phantom_file)).save(tmp_path / "3t.nii.gz")
    with pytest.raises(StateError, match="records no device: omit it") as caught:
        repetition.repeat(tmp_path / "3t.json", device="cuda:7")
    assert caught.value.argument == "device"


def test_source_whose_name_reads_as_a_pattern_is_found_in_a_folder(
    repeat, phantom_file, tiny_model, tmp_path
):
    (tmp_path / "deep/below").mkdir(parents=True)
    source = shutil.copy(phantom_file, tmp_path / "deep/below/scan[1].nii.gz")
    made = make(source, tiny_model, tmp_path / "of_scan_1.nii.gz")
    assert repeat(made, tiny_model, folder=tmp_path / "deep").is_equal


def test_each_file_of_a_pair_is_compared(repeat, phantom, tiny_model, tmp_path):
    nibabel.save(nibabel.Nifti1Pair(phantom.array, phantom.affine), tmp_path / "scan.img")
    made = make(tmp_path / "scan.img", tiny_model, tmp_path / "estimate.nii.gz")
    assert repeat(made, tiny_model).is_equal
    for path in (tmp_path / "scan.hdr", tmp_path / "scan.img"):
        content = path.read_bytes()
        path.write_bytes(content + b"x")
        with pytest.raises(StateError, match="is not the original input"):
            repeat(made, tiny_model)
        path.write_bytes(content)
