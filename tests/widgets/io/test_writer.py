"""The writer: back on the file's own grid, in every orientation, oblique or not."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import napari
import nibabel
import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from nibabel.orientations import aff2axcodes
from npe2 import PluginManager

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.widgets.io.reader import read
from napari_mri7t.widgets.io.writer import write_image, write_layers
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, estimate_to_layer, layer_to_volume

SHAPE = (5, 6, 7)
ORIENTATIONS = [
    "".join(codes)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for codes in itertools.product(*order)
]


def oriented_affine(codes: str, degrees: float) -> np.ndarray:
    """Return an affine whose voxel axes point to `codes`, then turned about all three axes."""
    axes = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    matrix = np.zeros((3, 3))
    for column, (code, size) in enumerate(zip(codes, (1.0, 1.2, 2.5), strict=True)):
        matrix[axes[code], column] = size if code in "RAS" else -size
    turn = euler2mat(*np.deg2rad([degrees, -degrees / 2, degrees / 3]))
    return from_matvec(turn @ matrix, [11.5, -20.25, 33.125])


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_untouched_layer_comes_back_exactly_on_its_own_grid(tmp_path, codes, degrees):
    affine = oriented_affine(codes, degrees)
    values = np.random.default_rng(0).integers(0, 4096, SHAPE).astype(np.int16)
    source = nibabel.Nifti1Image(values, affine)
    source.set_sform(affine, 1)
    source.set_qform(affine, 1)
    nibabel.save(source, tmp_path / "a.nii")
    ((data, meta, _),) = read(tmp_path / "a.nii")
    layer = napari.layers.Image(data, **meta)
    data, meta, _ = layer.as_layer_data_tuple()
    (saved,) = write_image(str(tmp_path / "b.nii"), data, meta)
    back, source = nibabel.load(saved), nibabel.load(tmp_path / "a.nii")
    assert "".join(aff2axcodes(back.affine)) == codes
    np.testing.assert_array_equal(np.asarray(back.dataobj), values)
    np.testing.assert_array_equal(back.affine, source.affine)
    np.testing.assert_array_equal(back.header.get_zooms(), source.header.get_zooms())
    for form in ("sform", "qform"):
        kept, code = getattr(back.header, f"get_{form}")(coded=True)
        expected, expected_code = getattr(source.header, f"get_{form}")(coded=True)
        np.testing.assert_array_equal(kept, expected)
        assert code == expected_code
    assert back.get_data_dtype() == np.float32


@pytest.fixture
def source_layer(tmp_path):
    affine = oriented_affine("LAS", 0)
    values = np.arange(210, dtype=np.float32).reshape(SHAPE)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "source.nii.gz")
    ((data, meta, _),) = read(tmp_path / "source.nii.gz")
    return napari.layers.Image(data, **meta)


def test_estimate_is_saved_with_what_made_it(tmp_path, source_layer):
    volume = layer_to_volume(source_layer)
    estimate = volume.with_array(volume.array / 300)
    data, meta, _ = estimate_to_layer(estimate, source_layer, {"Synthetic": True, "Seed": 3})
    (saved,) = write_image(str(tmp_path / "estimate.nii.gz"), data, meta)
    sidecar = json.loads((tmp_path / "estimate.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["Seed"] == 3
    back = np.asarray(nibabel.load(saved).dataobj)
    np.testing.assert_array_equal(back, np.arange(210, dtype=np.float32).reshape(SHAPE) / 300)


def test_copy_of_a_synthetic_image_says_that_it_is_synthetic(tmp_path, source_layer):
    maker = {"Name": "napari-mri7t", "Description": "synthesize"}
    made = {"GeneratedBy": [maker], "Sources": [{"File": "a.nii"}]}
    facts = {"Synthetic": True, "Notice": "made by a network"} | made
    data, meta, _ = estimate_to_layer(layer_to_volume(source_layer), source_layer, facts)
    write_image(str(tmp_path / "first.nii.gz"), data, meta)
    ((data, meta, _),) = read(tmp_path / "first.nii.gz")
    (copy,) = write_image(str(tmp_path / "copy.nii.gz"), data, meta)
    assert json.loads((tmp_path / "copy.json").read_text()).items() >= facts.items()
    assert nibabel.load(copy).header["descrip"].item().startswith(b"Synthetic")
    (image,) = write_layers(str(tmp_path / "one"), [(data, meta, "image")])
    ((data, meta, _),) = read(image)
    (again,) = write_layers(str(tmp_path / "two"), [(data, meta, "image")])
    told = json.loads(Path(again.replace(".nii.gz", ".json")).read_text())
    assert told["SourceFiles"] == facts["Sources"]


@pytest.mark.parametrize("text", ["{", "[]", '{"Synthetic": true}', '{"Synthetic": false}'])
def test_copy_of_an_image_with_another_description_says_nothing(tmp_path, source_layer, text):
    (tmp_path / "source.json").write_text(text)
    ((data, meta, _),) = read(tmp_path / "source.nii.gz")
    write_image(str(tmp_path / "copy.nii.gz"), data, meta)
    assert not (tmp_path / "copy.json").exists()


def test_original_layer_leaves_an_existing_description_alone(tmp_path, source_layer):
    """A BIDS scan's own JSON holds its acquisition: saving the scan again must not replace it."""
    (tmp_path / "source.json").write_text('{"EchoTime": 0.003}')
    data, meta, _ = source_layer.as_layer_data_tuple()
    write_image(str(tmp_path / "source.nii.gz"), data, meta)
    assert (tmp_path / "source.json").read_text() == '{"EchoTime": 0.003}'


def test_layer_of_a_script_is_saved_where_it_is_shown(tmp_path):
    layer = napari.layers.Image(
        np.ones((7, 6, 5)) * np.arange(5), scale=(3, 2, 1), translate=(30, 20, 10), units="mm"
    )
    data, meta, _ = layer.as_layer_data_tuple()
    (saved,) = write_image(str(tmp_path / "a.nii"), data, meta)
    expected = from_matvec(np.diag([1.0, 2.0, 3.0]), [10, 20, 30])
    np.testing.assert_array_equal(nibabel.load(saved).affine, expected)
    assert nibabel.load(saved).shape == SHAPE


def test_layer_that_cannot_be_a_volume_is_refused_and_nothing_is_written(tmp_path, source_layer):
    good = source_layer.as_layer_data_tuple()
    flat = napari.layers.Image(np.ones((6, 5)), name="flat").as_layer_data_tuple()
    with pytest.raises(VolumeError, match="flat: has 2 axes"):
        write_layers(str(tmp_path / "both.nii"), [good, flat])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.nii.gz"]


def test_series_is_refused_with_what_to_do(tmp_path):
    layer = napari.layers.Image(np.ones((2, 7, 6, 5)), name="fmri")
    data, meta, _ = layer.as_layer_data_tuple()
    with pytest.raises(VolumeError, match=r"fmri: has 2 volumes.*Split Stack"):
        write_image(str(tmp_path / "a.nii"), data, meta)


def test_several_layers_get_a_file_each(tmp_path, source_layer):
    data, meta, kind = source_layer.as_layer_data_tuple()
    layers = [(data, meta | {"name": name}, kind) for name in ("a/b", "a b", "ü")]
    saved = write_layers(str(tmp_path / "out.nii"), layers)
    assert [p.rsplit("/", 1)[1] for p in saved] == ["out_a-b.nii", "out_a-b-2.nii", "out_ü.nii"]


def save_derivative(folder, source_layer):
    """Save an opened layer twice and an estimate of it."""
    volume = layer_to_volume(source_layer)
    facts = sidecar("synthesize", [volume], Execution(model="m", model_sha256="0"))
    estimate = estimate_to_layer(volume, source_layer, facts, name="sub-01_T1w")
    opened = source_layer.as_layer_data_tuple()
    return facts, write_layers(str(folder), [opened, opened, estimate])


def test_a_name_without_extension_becomes_a_bids_derivative(tmp_path, source_layer):
    facts, saved = save_derivative(tmp_path / "out", source_layer)
    assert [path.removeprefix(f"{tmp_path}/out/") for path in saved] == [
        "sub-source/anat/sub-source_desc-input_T1w.nii.gz",
        "sub-source/anat/sub-source_desc-input2_T1w.nii.gz",
        "sub-01/anat/sub-01_desc-synth7T_T1w.nii.gz",
    ]
    description = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    written = json.loads((tmp_path / "out/sub-01/anat/sub-01_desc-synth7T_T1w.json").read_text())
    assert written["SourceFiles"] == facts["Sources"]
    assert written["SkullStripped"] is False
    assert "Sources" not in written


def scan_and_estimate(place, value):
    """Open a scan t1.nii of a person, and make an estimate of it."""
    place.mkdir()
    values = np.arange(210, dtype=np.float32).reshape(SHAPE) + value
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), place / "t1.nii")
    ((data, meta, kind),) = read(place / "t1.nii")
    layer = napari.layers.Image(data, **meta)
    volume = layer_to_volume(layer)
    facts = sidecar("synthesize", [volume], Execution(model="m", model_sha256="0"))
    estimate = estimate_to_layer(volume, layer, facts, name="t1 synthetic-7T m")
    return (data, meta, kind), estimate


def participants(saved) -> list[str]:
    return [Path(path).name.partition("_")[0] for path in saved]


def test_scans_of_one_name_become_one_participant_each(tmp_path):
    first = scan_and_estimate(tmp_path / "a", 0)
    second = scan_and_estimate(tmp_path / "b", 1)
    second[0][1]["name"], second[1][1]["name"] = "t1 [1]", "t1 synthetic-7T m [1]"
    people = participants(write_layers(str(tmp_path / "out"), [*first, *second]))
    assert people[:2] == ["sub-t1", "sub-t1"]
    assert people[2] == people[3]
    assert re.fullmatch("sub-t1[0-9a-f]+", people[2])


def test_scan_of_another_person_becomes_another_participant_of_an_existing_derivative(tmp_path):
    first = scan_and_estimate(tmp_path / "a", 0)
    second = scan_and_estimate(tmp_path / "b", 1)
    saved = [write_layers(str(tmp_path / "out"), [one[1]]) for one in (first, second) * 2]
    one, other, again, other_again = (participants(paths)[0] for paths in saved)
    assert one == again == "sub-t1"
    assert other == other_again != one


def test_scans_as_opened_of_two_people_become_two_participants_of_an_existing_derivative(tmp_path):
    scans = [scan_and_estimate(tmp_path / name, n)[0] for n, name in enumerate("ab")]
    saved = [write_layers(str(tmp_path / "out"), [scan]) for scan in scans]
    one, other = (participants(paths)[0] for paths in saved)
    assert one == "sub-t1"
    assert re.fullmatch("sub-t1[0-9a-f]+", other)


def test_scan_whose_file_has_vanished_is_known_again_by_its_voxels(tmp_path):
    scan, _ = scan_and_estimate(tmp_path / "a", 0)
    (tmp_path / "a/t1.nii").unlink()
    other, _ = scan_and_estimate(tmp_path / "b", 1)
    saved = [write_layers(str(tmp_path / "out"), [one]) for one in (scan, other, scan)]
    one, two, again = (participants(paths)[0] for paths in saved)
    assert one == again == "sub-t1" != two


def test_label_of_a_subject_is_kept_for_several_scans(tmp_path):
    layers = [scan_and_estimate(tmp_path / name, n)[0] for n, name in enumerate("ab")]
    for _, meta, _ in layers:
        meta["name"] = "sub-01_T1w"
    assert participants(write_layers(str(tmp_path / "out"), layers)) == ["sub-01", "sub-01"]


def test_derivative_of_another_program_is_left_alone(tmp_path, source_layer):
    (tmp_path / "out").mkdir()
    description = tmp_path / "out/dataset_description.json"
    description.write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    with pytest.raises(Mri7tError, match="did not create"):
        save_derivative(tmp_path / "out", source_layer)
    assert list((tmp_path / "out").iterdir()) == [description]


def test_saved_derivative_is_valid_bids(tmp_path, source_layer, bids_errors):
    save_derivative(tmp_path / "out", source_layer)
    assert bids_errors(tmp_path / "out") == []


def test_refused_layer_leaves_no_folder(tmp_path, source_layer):
    flat = napari.layers.Image(np.ones((6, 5)), name="flat").as_layer_data_tuple()
    with pytest.raises(VolumeError, match="flat: has 2 axes"):
        write_layers(str(tmp_path / "out"), [source_layer.as_layer_data_tuple(), flat])
    assert not (tmp_path / "out").exists()


@pytest.fixture
def told(monkeypatch):
    """Catch what the writer tells napari's user."""
    texts = []
    monkeypatch.setattr("napari_mri7t.widgets.io.writer.show_info", texts.append)
    return texts


def views(source_layer) -> list:
    """Return what Compare's swipe and difference, and Train's preview, are in Save All."""
    data, meta, kind = source_layer.as_layer_data_tuple()
    own = meta["metadata"]
    named = {"swipe": {VIEW_KEY: "Swipe"}, "difference": own | {VIEW_KEY: "difference"}}
    layers = [(data, meta | {"name": n, "metadata": m}, kind) for n, m in named.items()]
    flat = napari.layers.Image(np.ones((6, 5)), name="flat", metadata={VIEW_KEY: "preview"})
    return [*layers, flat.as_layer_data_tuple()]


def test_views_are_left_out_of_save_all_and_named(tmp_path, source_layer, told):
    layers = [source_layer.as_layer_data_tuple(), *views(source_layer)]
    (saved,) = write_layers(str(tmp_path / "out"), layers)
    assert Path(saved).name == "sub-source_desc-input_T1w.nii.gz"
    (saved,) = write_layers(str(tmp_path / "all.nii"), layers)
    assert Path(saved).name == "all_source.nii"
    assert told == ["Not saved, because they are not volumes: swipe, difference, flat."] * 2


def test_layer_whose_name_no_file_can_have_is_called_a_layer(tmp_path, source_layer):
    data, meta, kind = source_layer.as_layer_data_tuple()
    (saved,) = write_layers(str(tmp_path / "all.nii"), [(data, meta | {"name": "/?*"}, kind)])
    assert Path(saved).name == "all_layer.nii"


def test_view_that_is_saved_alone_is_not_called_a_scan(tmp_path, source_layer, told):
    _, difference, _ = views(source_layer)
    (saved,) = write_layers(str(tmp_path / "out"), [difference])
    assert Path(saved).name == "sub-difference_desc-difference_T1w.nii.gz"
    facts = json.loads(Path(saved.replace(".nii.gz", ".json")).read_text())
    assert facts["Description"] == "Computed for display (difference), not a scan"
    write_image(str(tmp_path / "alone.nii"), *difference[:2])
    assert (tmp_path / "alone.nii").exists()
    assert told == []


def test_layers_without_voxels_alone_are_refused(tmp_path):
    line = napari.layers.Shapes([[[0, 0], [1, 1]]], shape_type="line", name="line")
    with pytest.raises(VolumeError, match="line: not an image"):
        write_layers(str(tmp_path / "out"), [line.as_layer_data_tuple()])


def offered(*layers) -> list[str]:
    """Name our writers that napari offers for layers."""
    kinds = [layer.as_layer_data_tuple()[2] for layer in layers]
    writers = PluginManager.instance().iter_compatible_writers(kinds)
    return [w.display_name for w in writers if w.plugin_name == "napari-mri7t"]


@pytest.mark.gui
@pytest.mark.parametrize("add", ["add_image", "add_labels"])
def test_line_and_points_keep_no_writer_from_save_all(
    make_napari_viewer, tmp_path, source_layer, told, add
):
    viewer = make_napari_viewer()
    getattr(viewer, add)(np.asarray(source_layer.data, np.uint8), name="volume")
    viewer.add_shapes([np.zeros((2, 3))], shape_type="line", name="line", ndim=3)
    viewer.add_points(np.zeros((1, 3)), name="points")
    viewer.add_tracks(np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]), name="tracks")
    assert offered(*viewer.layers) == ["NIfTI, a file per layer", "BIDS derivative"]
    assert offered(viewer.layers["line"]) == []
    (saved,) = viewer.layers.save(tmp_path / "all.nii.gz")
    assert Path(saved).name == "all_volume.nii.gz"
    (saved,) = viewer.layers.save(tmp_path / "folder", plugin="napari-mri7t")
    assert Path(saved).is_relative_to(tmp_path / "folder")
    assert told == ["Not saved, because they are not volumes: line, points, tracks."] * 2


@pytest.mark.gui
def test_mask_gets_the_name_that_was_typed_and_replaces_it_when_saved_again(
    make_napari_viewer, tmp_path, source_layer
):
    viewer = make_napari_viewer()
    mask = viewer.add_labels(np.asarray(source_layer.data > 0, np.uint8), name="mask")
    assert offered(mask)[0] == "NIfTI"
    for value in (1, 0):
        mask.data[2, 2, 2] = value
        (saved,) = mask.save(str(tmp_path / "typed.nii.gz"), plugin="napari-mri7t")
        assert Path(saved) == tmp_path / "typed.nii.gz"
        assert nibabel.load(saved).get_fdata()[2, 2, 2] == value
    assert [path.name for path in tmp_path.glob("typed*.nii.gz")] == ["typed.nii.gz"]


@pytest.mark.gui
def test_viewer_saves_one_layer_and_all_layers(make_napari_viewer, tmp_path, source_layer):
    viewer = make_napari_viewer()
    viewer.add_layer(source_layer)
    assert viewer.layers.save(tmp_path / "one.nii.gz", plugin="napari-mri7t")
    assert viewer.layers.save(tmp_path / "bare", plugin="napari-mri7t")
    viewer.add_image(source_layer.data, name="other", metadata=dict(source_layer.metadata))
    assert viewer.layers.save(tmp_path / "all.nii.gz", plugin="napari-mri7t")
    assert viewer.layers.save(tmp_path / "folder", plugin="napari-mri7t")
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.nii.gz")}
    assert names == {
        "source.nii.gz",
        "one.nii.gz",
        "bare.nii.gz",
        "all_source.nii.gz",
        "all_other.nii.gz",
        "folder/sub-source/anat/sub-source_desc-input_T1w.nii.gz",
        "folder/sub-other/anat/sub-other_desc-input_T1w.nii.gz",
    }
    assert KEY in viewer.layers["other"].metadata
