"""Which model a scan gets where none is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_mri7t.engine.datasets.scans import find_scans
from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.models.card import DEFAULT_MODEL, REPORT_MODEL, find_model, read_card
from napari_mri7t.engine.preparation.choice import model_for, model_for_all, possible_models
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis import preview as preview_module
from napari_mri7t.engine.synthesis import scan as scan_module
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.preview import open_preview
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.synthesis.uncertainty import why_uncalibrated
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.engine.workflows.batch import synthesize_batch
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.outlook import REQUESTED_MODEL, is_made

QUICK = SynthesisConfig(device="cpu")
BOX = np.s_[10:190, 20:210, 80:90]


@pytest.fixture(scope="module")
def brains():
    """Ten slices of a clean brain, and of the report's pseudo-3T of it."""
    template = load_template()
    pseudo = simulate_3t(template, seed=1).source
    return [
        Volume(np.ascontiguousarray(volume.array[BOX]), template.affine, name)
        for volume, name in ((template, "clean"), (pseudo, "pseudo"))
    ]


def test_pseudo_3t_of_the_report_gets_the_model_of_the_report(brains):
    assert [model_for(brain) for brain in brains] == [DEFAULT_MODEL, REPORT_MODEL]


@pytest.mark.parametrize("kind", ["per cent", "z-score", "offset"])
def test_choice_is_the_same_on_any_linear_scale(brains, kind):
    scales = {"per cent": (100, 0), "z-score": (9.7, -4.1), "offset": (1000, 300)}
    factor, offset = scales[kind]
    for brain, expected in zip(brains, (DEFAULT_MODEL, REPORT_MODEL), strict=True):
        assert model_for(brain.with_array(factor * brain.array + offset)) == expected


def test_choice_is_the_same_where_0_is_an_intensity_of_the_brain(brains):
    """A z-scored brain whose background was set to 0, to the minimum, or below."""
    for brain, expected in zip(brains, (DEFAULT_MODEL, REPORT_MODEL), strict=True):
        whole = np.pad(brain.array, ((0, 0), (0, 0), (2, 2)))  # nothing of it on the faces
        tissue = whole > 0
        scored = (whole - whole[tissue].mean()) / whole[tissue].std()
        for background in (0, scored[tissue].min(), -10):
            array = np.where(tissue, scored, background).astype(np.float32)
            assert model_for(Volume(array, brain.affine)) == expected


@pytest.mark.parametrize("value", [0, 1, -1])
def test_volume_without_a_brain_gets_the_default(value):
    assert model_for(Volume(np.full((5, 5, 5), value, np.float32), np.eye(4))) == DEFAULT_MODEL


def test_several_scans_get_a_model_of_their_own_only_together():
    assert model_for_all([REPORT_MODEL, REPORT_MODEL]) == REPORT_MODEL
    assert model_for_all([REPORT_MODEL, DEFAULT_MODEL]) == DEFAULT_MODEL
    assert model_for_all([]) == DEFAULT_MODEL


def test_named_model_is_the_only_possible_one(model_folder):
    assert possible_models(str(model_folder)) == (model_folder,)
    assert [folder.name for folder in possible_models(None)] == [DEFAULT_MODEL, REPORT_MODEL]
    with pytest.raises(ModelError, match="no such model"):
        possible_models("none such")


def test_synthesis_and_preview_without_a_model_follow_the_scan(brains):
    for brain, expected in zip(brains, (DEFAULT_MODEL, REPORT_MODEL), strict=True):
        assert open_preview(brain, config=QUICK).model.name == expected
        assert synthesize(brain, config=QUICK).model.name == expected


def test_factor_of_the_noise_decides_how_much_the_default_changes(brains):
    changes = [
        np.abs(synthesize(brains[0], config=SynthesisConfig(noise_factor=n)).volume.array
               - brains[0].array).mean()
        for n in (0, 1, 3)
    ]  # fmt: skip
    assert changes == sorted(changes)
    assert changes[2] > 2 * changes[0]


def test_uncertainty_without_a_model_is_refused_before_the_preparation(brains):
    """With planes that it was not calibrated for; those of its card are."""
    fast = SynthesisConfig(device="cpu", planes=("axial",), uncertainty=True)
    with pytest.raises(ModelError, match=f"{DEFAULT_MODEL}: .*planes axial, coronal, sagittal"):
        synthesize(brains[0], config=fast)
    assert why_uncalibrated(read_card(find_model(DEFAULT_MODEL)), SynthesisConfig()) is None


def test_batch_without_a_model_chooses_for_each_scan_and_resumes(brains, tmp_path):
    (tmp_path / "scans").mkdir()
    for number, brain in enumerate(brains):
        save_volume(brain, tmp_path / f"scans/sub-{number}_T1w.nii.gz")
    scans, job = find_scans(tmp_path / "scans").scans, BatchJob(tmp_path / "out", None, QUICK)
    assert not synthesize_batch(scans, job).failed
    sidecars = [job.image_of(scan).with_suffix("").with_suffix(".json") for scan in scans]
    names = [json.loads(path.read_text())["Model"]["Name"] for path in sidecars]
    assert names == [DEFAULT_MODEL, REPORT_MODEL]
    assert all(is_made(scan, job) for scan in scans)
    named = BatchJob(tmp_path / "out", REPORT_MODEL, QUICK)
    assert [is_made(scan, named) for scan in scans] == [False, True]


def test_batch_without_a_model_takes_no_estimate_of_a_model_that_was_named(brains, tmp_path):
    (tmp_path / "scans").mkdir()
    save_volume(brains[0], tmp_path / "scans/sub-1_T1w.nii.gz")
    (scan,) = find_scans(tmp_path / "scans").scans
    for name, is_kept in ((REPORT_MODEL, False), (DEFAULT_MODEL, True)):
        folder = tmp_path / name
        job = BatchJob(folder, name, QUICK)
        assert not synthesize_batch([scan], job).failed
        sidecar = job.image_of(scan).with_suffix("").with_suffix(".json")
        assert REQUESTED_MODEL not in json.loads(sidecar.read_text()), (
            "a name may be a private path"
        )
        assert is_made(scan, BatchJob(folder, None, QUICK)) is is_kept


def test_name_that_does_not_exist_is_refused_before_the_preparation(brains, monkeypatch):
    monkeypatch.setattr(scan_module, "prepare_scan", lambda *_, **__: pytest.fail("prepared"))
    monkeypatch.setattr(preview_module, "prepare_scan", lambda *_, **__: pytest.fail("prepared"))
    for start in (synthesize, open_preview):
        with pytest.raises(ModelError, match="no such model"):
            start(brains[0], "none such")


def test_batch_warns_of_the_noise_factor_for_the_scans_whose_model_does_not_use_it(
    brains, tmp_path
):
    (tmp_path / "scans").mkdir()
    for number, brain in enumerate(brains):
        save_volume(brain, tmp_path / f"scans/sub-{number}_T1w.nii.gz")
    config = replace(QUICK, noise_factor=2)
    job = BatchJob(tmp_path / "out", None, config)
    warnings = synthesize_batch(find_scans(tmp_path / "scans").scans, job).warnings
    warned = [name for name, texts in warnings.items() if any("noise_factor" in t for t in texts)]
    assert warned == ["sub-1_T1w.nii.gz"]
