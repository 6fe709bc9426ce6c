"""What the name of one scan tells against it, wherever it is synthesised."""

import json

import numpy as np
import pytest

from napari_mri7t.engine.datasets.doubts import scan_doubts
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import load_volume, save_volume


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sub-01_T1w", ""),
        ("sub-01_acq-highres_run-1_T1w", ""),
        ("sub-01_UNIT1", ""),
        ("anna_mprage", ""),
        ("brain", ""),
        ("sub-01_FLAIR", "by its name (FLAIR)"),
        ("sub-01_T2w", "by its name (T2w)"),
        ("anna_t2_tse", "by its name (T2w)"),
        ("sub-01_part-phase_T1w", "by its name (part-phase)"),
        ("sub-01_T1w_mask", "by its name (mask)"),
        ("sub-01_T1map", "by its name (T1map)"),
        ("sub-01_inv-2_MP2RAGE", ""),
        ("sub-01_inv-2_part-phase_MP2RAGE", "by its name (part-phase)"),
    ],
)
def test_name_of_another_kind_of_image_is_told(phantom, tmp_path, name, words):
    path = save_volume(phantom, tmp_path / f"{name}.nii.gz")
    told = f"this is no T1w scan {words}, and the models are for T1w scans"
    assert scan_doubts(load_volume(path)) == ((told,) if words else ())


def test_folder_of_a_session_tells_the_field_strength(phantom, tmp_path):
    folder = tmp_path / "sub-01" / "ses-7T" / "anat"
    folder.mkdir(parents=True)
    path = save_volume(phantom, folder / "sub-01_T1w.nii.gz")
    assert "7T scan by its name" in " ".join(scan_doubts(load_volume(path)))


def test_estimate_and_its_sidecar_carry_the_warning(phantom, tmp_path, tiny_model):
    path = save_volume(phantom, tmp_path / "anna_FLAIR.nii.gz")
    made = synthesize(path, tiny_model, SynthesisConfig(device="cpu"))
    assert any("by its name (FLAIR)" in text for text in made.warnings)
    assert any("by its name (FLAIR)" in text for text in made.sidecar()["Warnings"])


@pytest.mark.parametrize(
    ("series", "words"), [("Sag_3D_FLAIR", "FLAIR"), ("t1_mprage_sag", ""), ("T1_FLAIR", "")]
)
def test_json_file_that_names_another_series_is_told(phantom, tmp_path, series, words):
    path = save_volume(phantom, tmp_path / "scan.nii.gz")
    (tmp_path / "scan.json").write_text(json.dumps({"SeriesDescription": series}))
    told = f"this is no T1w scan by its JSON file ({words}), and the models are for T1w scans"
    assert scan_doubts(load_volume(path)) == ((told,) if words else ())


def test_what_was_computed_has_no_name_that_tells(phantom, tmp_path):
    scan = load_volume(save_volume(phantom, tmp_path / "a_FLAIR.nii.gz"))
    assert not scan_doubts(scan.with_array(np.sqrt(scan.array)))
