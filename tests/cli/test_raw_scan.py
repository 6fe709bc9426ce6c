"""`mri7t synthesize` with scans that are not as the model expects them."""

import json

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.volumes.volume import load_volume, save_volume


@pytest.fixture
def run(run_cli):
    return run_cli


@pytest.fixture
def thick_file(phantom_file, tmp_path):
    """The phantom, in slices of 3 mm by its header."""
    image = nibabel.load(phantom_file)
    path = tmp_path / "thick.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), image.affine @ np.diag([1, 1, 3, 1])), path)
    return path


def test_thick_slices_are_refused_with_a_reason(run, thick_file, model_folder, tmp_path):
    output = tmp_path / "e.nii"
    code, out, error = run("synthesize", thick_file, output, "--model", model_folder)
    assert (code, out) == (1, "")
    assert "--allow-out-of-domain" in error
    assert not output.exists()


def test_thick_slices_go_on_where_allowed_and_the_sidecar_says_so(
    run, thick_file, model_folder, tmp_path
):
    output = tmp_path / "e.nii"
    options = ("--model", model_folder, "--allow-out-of-domain")
    assert run("synthesize", thick_file, output, *options)[0] == 0
    assert "the models' domain" in json.loads((tmp_path / "e.json").read_text())["Warnings"][0]


def test_own_mask_decides_where_the_estimate_goes(run, phantom_file, model_folder, tmp_path):
    scan = load_volume(phantom_file)
    middle = np.zeros(scan.shape)
    middle[10:30, 10:38, 8:24] = 1
    mask = save_volume(scan.with_array(middle), tmp_path / "mask.nii.gz")
    output = tmp_path / "e.nii"
    code, _, error = run(
        "synthesize", phantom_file, output, "--model", model_folder, "--prepare", "none",
        "--mask", mask, "--background", "zero",
    )  # fmt: skip
    assert (code, "Traceback" in error) == (0, False)
    estimate = load_volume(output).array
    assert not estimate[middle == 0].any()
    assert estimate[middle == 1].any()
    facts = json.loads((tmp_path / "e.json").read_text())["Settings"]["preparation"]
    assert facts["brain_extraction"] == "mask provided"
    assert facts["mask"]["File"] == "mask.nii.gz"


def test_result_in_mni_space_lies_on_the_models_grid_in_the_file(
    run, phantom_file, tiny_model, tmp_path
):
    scan = load_volume(phantom_file)
    mask = save_volume(scan.with_array(scan.array > 0), tmp_path / "mask.nii.gz")
    output = tmp_path / "e.nii"
    code, out, _ = run(
        "synthesize", phantom_file, output, "--model", tiny_model, "--prepare", "none",
        "--mask", mask, "--space", "mni", "--background", "zero",
    )  # fmt: skip
    assert code == 0
    made = nibabel.load(output)
    assert made.shape == (182, 218, 182)
    assert nibabel.aff2axcodes(made.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(made.affine[:3, 3], (-91, -126, -72))
    # the phantom's first voxel lies at (-19, -25, -12) mm; it has 40 x 48 x 32 of 1 mm
    occupied = np.argwhere(made.get_fdata() != 0)
    assert (occupied.min(axis=0) >= (72, 101, 60)).all()
    assert (occupied.max(axis=0) < (112, 149, 92)).all()
    settings = json.loads((tmp_path / "e.json").read_text())["Settings"]
    assert settings["output"] == {"space": "mni", "via": "scan", "background": "zero"}
    assert all(f"phantom: {text}" in out for text in settings["preparation"]["distance"])
    assert run("repeat", tmp_path / "e.json", "--model", tiny_model)[0] == 0


def test_pair_of_simulate_is_repeated(run, phantom_file, tmp_path):
    files = [tmp_path / "source.nii.gz", tmp_path / "target.nii.gz"]
    assert run("simulate", phantom_file, files[0], "--target-out", files[1], "--seed", 3)[0] == 0
    for name in ("source", "target"):
        code, out, _ = run("repeat", tmp_path / f"{name}.json", "--output", tmp_path / "again.nii")
        assert (code, "equal, bit for bit" in out) == (0, True)
        first, second = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (name, "again"))
        assert first.pop("Image") != second.pop("Image")
        assert first == second
        (tmp_path / "again.nii").unlink()
        (tmp_path / "again.json").unlink()


def test_unknown_space_lists_the_known(run, phantom_file, tmp_path, model_folder):
    code, _, error = run(
        "synthesize", phantom_file, tmp_path / "e.nii", "--model", model_folder, "--space", "moon"
    )
    assert code == 1
    assert "native, mni" in error
