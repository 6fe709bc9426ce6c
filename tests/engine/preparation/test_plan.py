"""A preparation does exactly what its plan says."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.models.card import find_model, read_card
from napari_mri7t.engine.preparation import checks
from napari_mri7t.engine.preparation import prepare as module
from napari_mri7t.engine.preparation.cache import KeptFiles, PreparationCache
from napari_mri7t.engine.preparation.domain import check_domain
from napari_mri7t.engine.preparation.prepare import (
    PreparationConfig,
    plan_preparation,
    prepare,
)
from napari_mri7t.engine.preparation.registration import load_transform, save_transform
from napari_mri7t.engine.preparation.steps import STEPS, Decision, PreparationProgress
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume


@pytest.fixture
def raw(head):
    """The head with a noisy background, in voxels that are let through."""
    scan, mask = head
    noise = 1 + np.random.default_rng(0).random(scan.shape)
    return scan.with_array(scan.array + noise), mask


@pytest.fixture
def done(raw, head_brain, monkeypatch):
    """Which steps were computed, by their names in the plan."""
    calls = []
    for user in (checks, module):
        monkeypatch.setattr(user, "load_template", lambda: head_brain)

    def computed(name, value):
        def step(*_, report):
            calls.append(name)
            return value

        return step

    values = raw[1], 1 + raw[0].array / 10_000, np.eye(4)
    names = ("extract_brain", "estimate_bias_field", "register")
    for step, name, value in zip(STEPS, names, values, strict=True):
        monkeypatch.setattr(module, name, computed(step, value))
    return calls


def asked(**choices):
    return PreparationConfig(allow_out_of_domain=True, **choices)


def run(scan, config, space="native"):
    return prepare(scan, plan_preparation(scan, config, space))


def test_every_step_that_is_told_is_computed_and_then_kept(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)
    before = plan_preparation(raw[0], config)
    assert before.describe() == f"Preparation: {', '.join(STEPS)}."
    prepare(raw[0], before)
    assert tuple(done) == before.steps == STEPS
    after = plan_preparation(raw[0], config)
    assert after.steps == ()
    assert set(after.decisions.values()) == {Decision.REUSE}
    assert after.describe().count("reused") == 3
    prepare(raw[0], after)
    assert len(done) == 3


def test_what_was_found_before_a_cancel_is_kept(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)

    def cancel(progress):
        if progress.message == "registration":
            raise Cancelled

    with pytest.raises(Cancelled):
        prepare(raw[0], plan_preparation(raw[0], config), report=cancel)
    assert tuple(done) == STEPS[:2]
    assert plan_preparation(raw[0], config).steps == ("registration",)
    run(raw[0], config)
    assert tuple(done) == STEPS


def test_what_another_version_of_a_library_found_is_computed_again(
    raw, done, tmp_path, monkeypatch
):
    config = asked(prepare="full", keep=tmp_path)
    run(raw[0], config)
    assert plan_preparation(raw[0], config).steps == ()
    monkeypatch.setattr(module, "library_versions", lambda names: {"deepbet": "another"})
    assert plan_preparation(raw[0], config).steps == STEPS


def test_what_is_given_is_not_counted(raw, done, mask_file, tmp_path):
    save_transform(np.eye(4), tmp_path / "to-MNI.txt")
    config = asked(prepare="full", mask=mask_file, transform=tmp_path / "to-MNI.txt")
    found = plan_preparation(raw[0], config)
    assert found.steps == STEPS[1:2]
    words = "brain extraction replaced by your mask; registration replaced by your transform"
    assert words in found.describe()
    prepare(raw[0], found)
    assert done == [STEPS[1]]


def test_extracted_brain_keeps_its_zeros(head_brain, done):
    plan = plan_preparation(head_brain, asked())
    assert plan.steps == STEPS[1:]
    assert plan.describe() == (
        "Preparation: bias field correction, registration if needed; "
        "brain extraction skipped (background is 0)."
    )


def test_registration_left_out_is_no_finding_for_another_space(head_brain, done, tmp_path):
    """The brain lies in MNI space, so that the own grid needs no registration; MNI space does."""
    config = asked(keep=tmp_path)
    found = run(head_brain, config)
    assert found.decisions[STEPS[2]] is Decision.ALIGNED
    assert found.facts["registration"] == "skipped (the brain lies in MNI space)"
    assert done == [STEPS[1]]
    assert plan_preparation(head_brain, config, "mni").steps == (STEPS[2],)
    run(head_brain, config, "mni")
    assert done == list(STEPS[1:])


@pytest.mark.parametrize("prepare", ["none", "auto"])
def test_scan_that_needs_nothing_is_told_to_go_as_it_is(phantom, done, prepare):
    found = plan_preparation(phantom, PreparationConfig(prepare))
    assert (found.is_needed, found.steps) == (False, ())
    assert found.describe() == "The scan goes to the model as is.", "nor what it may need"


def test_name_of_a_layer_that_is_no_name_of_a_file_is_kept_all_the_same(raw, done, tmp_path):
    scan = raw[0].with_array(raw[0].array, name="sub-1/T1w: raw?")
    run(scan, asked(keep=tmp_path))
    assert (tmp_path / "sub-1-T1w- raw-_mask.nii.gz").is_file()
    assert plan_preparation(scan, asked(keep=tmp_path)).steps == ("registration",)


@pytest.mark.parametrize("note", ["", "[]", '{"Results": 1}', "[" * 100_000])
def test_results_without_their_note_are_the_users_own(raw, done, tmp_path, note):
    config = asked(prepare="full", keep=tmp_path)
    run(raw[0], config)
    (path,) = tmp_path.glob("*_preparation.json")
    path.write_text(note)
    with pytest.raises(VolumeError, match=r"head_bias-field\.nii\.gz: it, or the note") as caught:
        plan_preparation(raw[0], config)
    assert caught.value.argument == "keep"
    (tmp_path / "head_bias-field.nii.gz").unlink()
    found = plan_preparation(raw[0], config)
    assert found.steps == STEPS[1:2]
    assert len([text for text in found.warnings if "put there by hand" in text]) == 2


def edit(path, scan):
    """Take a corner of the brain away, as an editor does."""
    mask = load_volume(path)
    smaller = mask.array * np.random.default_rng(1).choice([0, 1], mask.shape, p=[0.05, 0.95])
    save_volume(scan.with_array(smaller), path, overwrite=True)
    return smaller > 0


def test_corrected_mask_leaves_bias_field_and_transform_as_they_are(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)
    first = run(raw[0], config)
    corrected = edit(tmp_path / "head_mask.nii.gz", raw[0])
    own = asked(prepare="full", keep=tmp_path, mask=tmp_path / "head_mask.nii.gz")
    plan = plan_preparation(raw[0], own)
    assert plan.steps == ()
    assert plan.describe() == (
        "Preparation: brain extraction replaced by your mask; bias field correction reused "
        "(estimated with the brain mask found before yours); registration reused (estimated with "
        "the brain mask found before yours)."
    )
    for _ in range(2):
        second = prepare(raw[0], plan)
        assert tuple(done) == STEPS
        np.testing.assert_array_equal(second.mask, corrected)
        np.testing.assert_array_equal(second.corrected.array, first.corrected.array)
        assert second.facts["found_mask_for"] == list(STEPS[1:])
        assert second.facts["bias_field"] == "N4, divided out, with the brain mask found before"
        np.testing.assert_array_equal(load_volume(own.mask).array > 0, corrected)


def test_mask_edited_where_it_is_kept_is_taken_for_the_users(raw, done, tmp_path):
    config = asked(keep=tmp_path)
    run(raw[0], config)
    corrected = edit(tmp_path / "head_mask.nii.gz", raw[0])
    plan = plan_preparation(raw[0], config)
    assert "head_mask.nii.gz was edited" in plan.warnings[-1]
    made = prepare(raw[0], plan)
    np.testing.assert_array_equal(made.mask, corrected)
    assert plan.warnings[-1] in made.warnings
    assert made.facts["mask"]["File"] == "head_mask.nii.gz"
    assert made.facts["brain_extraction"] == "mask provided"
    assert done.count("brain extraction") == 1


def test_mask_that_was_only_saved_again_is_still_the_one_found(raw, done, tmp_path):
    run(raw[0], asked(keep=tmp_path))
    path = tmp_path / "head_mask.nii.gz"
    before = path.read_bytes()
    save_volume(raw[0].with_array(load_volume(path).array * 255), path, overwrite=True)
    assert path.read_bytes() != before
    plan = plan_preparation(raw[0], asked(keep=tmp_path))
    assert plan.decisions[STEPS[0]] is Decision.REUSE


def test_mask_edited_for_another_scan_of_the_same_name_is_not_overwritten(raw, done, tmp_path):
    run(raw[0], asked(keep=tmp_path))
    edit(tmp_path / "head_mask.nii.gz", raw[0])
    other = raw[0].with_array(raw[0].array + 1)
    with pytest.raises(VolumeError, match="made for another scan of the same name"):
        plan_preparation(other, asked(keep=tmp_path))


def test_mask_put_beside_a_scan_that_needs_nothing_is_used(head_brain, done, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "fits_as_it_is", lambda scan: True)
    assert not plan_preparation(head_brain, asked(keep=tmp_path)).is_needed
    inside = head_brain.with_array(head_brain.array > 0)
    save_volume(inside, KeptFiles.in_folder(tmp_path, head_brain.name).mask)
    plan = plan_preparation(head_brain, asked(keep=tmp_path))
    assert plan.decisions[STEPS[0]] is Decision.GIVEN
    assert "mask.nii.gz was edited, or put there by hand" in plan.warnings[-1]


def test_mask_of_another_size_has_its_own_bias_field(raw, done, tmp_path):
    run(raw[0], asked(prepare="full", keep=tmp_path))
    smaller = raw[1].copy()
    smaller[: smaller.shape[0] // 2] = False
    own = asked(prepare="full", keep=tmp_path, mask=raw[0].with_array(smaller))
    assert plan_preparation(raw[0], own).steps == STEPS[1:]


def test_transform_edited_where_it_is_kept_is_taken_for_the_users(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)
    run(raw[0], config)
    shift = np.eye(4)
    shift[0, 3] = 0.5
    save_transform(shift, tmp_path / "head_to-MNI.txt")
    made = run(raw[0], config)
    np.testing.assert_array_equal(made.to_mni, shift)
    assert made.facts["registration"] == "transform provided"
    np.testing.assert_array_equal(load_transform(tmp_path / "head_to-MNI.txt"), shift)


def test_results_that_vanish_after_the_plan_are_computed_again(raw, done, tmp_path):
    config = asked(prepare="full", keep=tmp_path)
    run(raw[0], config)
    plan = plan_preparation(raw[0], config)
    (tmp_path / "head_bias-field.nii.gz").unlink()
    prepare(raw[0], plan)
    assert done == [*STEPS, STEPS[1]]


@pytest.mark.parametrize("kill_after", [0, 1])
def test_result_of_a_killed_run_is_not_taken_for_the_users(
    raw, done, tmp_path, monkeypatch, kill_after
):
    """Killed before the mask's file, or between the file and what the note says last of it."""
    config, writes = asked(prepare="full", keep=tmp_path), []

    def killed(cache, what, known, write=PreparationCache._note):
        if len(writes) == kill_after:
            raise KeyboardInterrupt
        writes.append(what)
        write(cache, what, known)

    with monkeypatch.context() as patch:
        patch.setattr(PreparationCache, "_note", killed)
        with pytest.raises(KeyboardInterrupt):
            run(raw[0], config)
    plan = plan_preparation(raw[0], config)
    assert plan.decisions[STEPS[0]] is (Decision.REUSE if kill_after else Decision.COMPUTE)
    assert len(plan.warnings) == 1  # the voxels of 4 mm


def test_results_are_kept_in_files_of_any_name(raw, done, tmp_path):
    names = ("desc-brain_mask.nii.gz", "bias.nii.gz", "xfm.txt", "note.json")
    files = KeptFiles(*(tmp_path / "sub-01" / "anat" / f"sub-01_{name}" for name in names))
    config = asked(prepare="full", keep=files)
    run(raw[0], config)
    assert {path.name for path in files.mask.parent.iterdir()} == {f"sub-01_{x}" for x in names}
    assert plan_preparation(raw[0], config).steps == ()


def test_folder_that_is_not_there_is_not_made_by_looking(raw, tmp_path):
    plan_preparation(raw[0], asked(prepare="full", keep=tmp_path / "no"))
    assert not (tmp_path / "no").exists()


def test_scan_that_is_too_coarse_is_refused_by_looking(raw):
    with pytest.raises(VolumeError, match="voxels of 4 x 4 x 4 mm"):
        plan_preparation(raw[0], PreparationConfig())


def test_paths_may_be_given_as_text(tmp_path):
    config = PreparationConfig(mask="m.nii", transform="t.txt", keep=str(tmp_path))
    assert (config.mask, config.transform, config.keep) == (Path("m.nii"), Path("t.txt"), tmp_path)


def test_preparation_takes_settings_a_plan_or_neither(raw, done, head_brain):
    scan, config = raw[0], asked(prepare="full")
    by_settings, by_plan = prepare(scan, config), prepare(scan, plan_preparation(scan, config))
    assert done == [*STEPS, *STEPS]
    np.testing.assert_array_equal(by_settings.brain.array, by_plan.brain.array)
    assert by_settings.facts == by_plan.facts


def test_plan_takes_a_path_an_image_or_a_volume(raw, tmp_path):
    path = save_volume(raw[0], tmp_path / "raw.nii.gz")
    forms = (path, str(path), nibabel.load(path), raw[0])
    plans = [plan_preparation(form, asked(prepare="full")) for form in forms]
    assert len({plan.describe() for plan in plans}) == 1


def test_mask_may_be_a_nibabel_image(raw, done, mask_file):
    by_image = prepare(raw[0], asked(prepare="none", mask=nibabel.load(mask_file)))
    by_file = prepare(raw[0], asked(prepare="none", mask=mask_file))
    np.testing.assert_array_equal(by_image.mask, by_file.mask)


def test_mask_without_an_affine_is_refused(raw):
    with pytest.raises(TypeError, match="got ndarray: turn an array into a Volume"):
        asked(mask=raw[1])


def test_progress_names_its_step_whatever_is_said(raw, done):
    seen = []
    prepare(raw[0], asked(prepare="full"), report=seen.append)
    steps = [each.step for each in seen if isinstance(each, PreparationProgress)]
    assert tuple(dict.fromkeys(steps)) == STEPS
    assert (seen[-1].done, {each.total for each in seen}) == (4, {4})


def test_plan_for_another_scan_is_refused(raw, done):
    scan = raw[0]
    plan = plan_preparation(scan, asked(prepare="full"))
    shifted = scan.affine.copy()
    shifted[0, 3] += 1
    brighter = scan.with_array(scan.array * 2)
    for other in (brighter, Volume(scan.array, shifted, scan.name)):
        with pytest.raises(ValueError, match="planned for another scan"):
            prepare(other, plan)
    assert done == []


def test_warning_of_the_plan_is_in_the_sidecar(raw, done, tmp_path):
    prepared = prepare(raw[0], asked(prepare="full"))  # voxels of 4 mm
    assert len(prepared.warnings) == 1
    prepared.save(tmp_path / "brain.nii.gz")
    assert json.loads((tmp_path / "brain.json").read_text())["Warnings"] == list(prepared.warnings)


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_brain_that_is_dark_within_is_warned_of(is_dark):
    radius = np.sqrt(sum((n / 32 - 1) ** 2 for n in np.indices((65, 65, 65)))) * 32
    bright = np.where(radius < 24, 0.9, 0.5) if not is_dark else np.where(radius < 24, 0.5, 0.9)
    noise = np.random.default_rng(0).normal(0, 0.03, radius.shape)
    brain = Volume(np.where(radius < 31, bright + noise, 0), np.diag([2.2, 2.2, 2.2, 1]))
    found = check_domain(brain, read_card(find_model("scan_unet")))
    assert any("darker within than near its surface" in each for each in found) == is_dark


@pytest.mark.parametrize(
    ("side", "warned"), [(0.7, True), (0.8, False), (0.87, False), (1.05, False), (1.2, True)]
)
def test_a_model_for_a_range_of_voxels_warns_outside_it_alone(phantom, side, warned):
    scan = replace(phantom, affine=np.diag([side, side, side, 1.0]))
    found = [
        each for each in check_domain(scan, read_card(find_model("scan_unet"))) if "voxel" in each
    ]
    words = f"voxels are {side} x {side} x {side} mm; the model is for 0.87 to 1 mm"
    assert found == ([words] if warned else [])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "odd",
    [
        {"intensity_quantiles": [0.0, 1.0]},
        {"intensity_quantiles": [0.5, 0.5, 0.5]},
        {"voxel_size_mm": [1e308, 1.0, 1.0]},
    ],
    ids=str,
)
def test_domain_of_an_odd_card_is_checked_without_a_warning_of_numpy(phantom, odd):
    card = read_card(find_model("basic_cnn"))
    check_domain(phantom, replace(card, preprocessing=card.preprocessing | odd))
