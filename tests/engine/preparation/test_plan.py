"""What a preparation will do is told before it does it, and it then does just that."""

import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation import checks
from napari_mri7t.engine.preparation import prepare as raw_scan
from napari_mri7t.engine.preparation.prepare import (
    STEPS,
    PreparationConfig,
    plan_preparation,
    prepare,
)
from napari_mri7t.engine.preparation.registration import save_transform
from napari_mri7t.engine.progress import run_to_end


@pytest.fixture
def raw(head):
    """The head with a noisy background, in voxels that are let through."""
    scan, mask = head
    noise = 1 + np.random.default_rng(0).random(scan.shape)
    return scan.with_array(scan.array + noise), mask


@pytest.fixture
def done(raw, head_brain, monkeypatch):
    """Which steps were computed, by the names the outlook gives them."""
    calls = []
    for user in (checks, raw_scan):
        monkeypatch.setattr(user, "load_template", lambda: head_brain)

    def computed(name, value):
        def steps(*_):
            calls.append(name)
            yield
            return value

        return steps

    values = raw[1], 1 + raw[0].array / 10_000, np.eye(4)
    names = ("extract_brain", "estimate_bias_field", "register")
    for step, name, value in zip(STEPS, names, values, strict=True):
        monkeypatch.setattr(raw_scan, name, computed(step, value))
    return calls


def asked(**choices):
    return PreparationConfig(allow_out_of_domain=True, **choices)


def test_every_step_that_is_told_is_computed_and_then_kept(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)
    before = plan_preparation(raw[0], config)
    assert before.sentence == "Preparation: brain extraction, bias field, registration."
    run_to_end(prepare(raw[0], config))
    assert tuple(done) == before.steps == STEPS
    after = plan_preparation(raw[0], config)
    assert after.steps == ()
    assert after.sentence.count("as kept") == 3
    run_to_end(prepare(raw[0], config))
    assert len(done) == 3


def test_what_was_found_before_a_cancel_is_kept(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)
    steps = prepare(raw[0], config)
    while next(steps).message != "registration":
        pass
    steps.close()
    assert tuple(done) == STEPS[:2]
    assert plan_preparation(raw[0], config).steps == ("registration",)
    run_to_end(prepare(raw[0], config))
    assert tuple(done) == STEPS


def test_what_another_version_of_a_library_found_is_computed_again(
    raw, done, tmp_path, monkeypatch
):
    config = asked(prepare="full", keep=tmp_path)
    run_to_end(prepare(raw[0], config))
    assert plan_preparation(raw[0], config).steps == ()
    monkeypatch.setattr(raw_scan, "library_versions", lambda: {"deepbet": "another"})
    assert plan_preparation(raw[0], config).steps == STEPS


def test_what_is_given_is_not_counted(raw, done, mask_file, tmp_path):
    save_transform(np.eye(4), tmp_path / "to-MNI.txt")
    config = asked(prepare="full", mask=mask_file, transform=tmp_path / "to-MNI.txt")
    found = plan_preparation(raw[0], config)
    assert found.steps == ("bias field",)
    assert "brain extraction by your mask; registration by your transform" in found.sentence
    run_to_end(prepare(raw[0], config))
    assert done == ["bias field"]


def test_extracted_brain_keeps_its_zeros(head_brain, done):
    assert plan_preparation(head_brain, asked()).steps == ("bias field", "registration")
    assert (
        "brain extraction left out (the background is 0)"
        in plan_preparation(head_brain, asked()).sentence
    )


def test_registration_left_out_is_no_finding_for_another_space(head_brain, done, tmp_path):
    """The brain lies in MNI space, so that the own grid needs no registration; MNI space does."""
    run_to_end(prepare(head_brain, asked(keep=tmp_path)))
    assert done == ["bias field"]
    config = asked(keep=tmp_path, space="mni")
    assert plan_preparation(head_brain, config).steps == ("registration",)
    run_to_end(prepare(head_brain, config))
    assert done == ["bias field", "registration"]


@pytest.mark.parametrize("prepare", ["none", "auto"])
def test_scan_that_needs_nothing_is_told_to_go_as_it_is(phantom, done, prepare):
    found = plan_preparation(phantom, PreparationConfig(prepare))
    assert (found.is_prepared, found.steps) == (False, ())
    assert "goes to the model as it is" in found.sentence


def test_name_of_a_layer_that_is_no_name_of_a_file_is_kept_all_the_same(raw, done, tmp_path):
    scan = raw[0].with_array(raw[0].array, name="sub-1/T1w: raw?")
    run_to_end(prepare(scan, asked(keep=tmp_path)))
    assert (tmp_path / "sub-1-T1w- raw-_mask.nii.gz").is_file()
    assert plan_preparation(scan, asked(keep=tmp_path)).steps == ("registration",)


@pytest.mark.parametrize("note", ["", "[]", '{"Source": 1}', "[" * 100_000])
def test_note_that_somebody_edited_counts_for_nothing(raw, done, tmp_path, note):
    config = asked(prepare="full", keep=tmp_path)
    run_to_end(prepare(raw[0], config))
    (path,) = tmp_path.glob("*_preparation.json")
    path.write_text(note)
    assert plan_preparation(raw[0], config).steps == STEPS


def test_folder_that_is_not_there_is_not_made_by_looking(raw, tmp_path):
    plan_preparation(raw[0], asked(prepare="full", keep=tmp_path / "no"))
    assert not (tmp_path / "no").exists()


def test_scan_that_is_too_coarse_is_refused_by_looking(raw):
    with pytest.raises(VolumeError, match="voxels of 4 x 4 x 4 mm"):
        plan_preparation(raw[0], PreparationConfig())
