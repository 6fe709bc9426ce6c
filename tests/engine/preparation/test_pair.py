"""Raw pairs: where both scans come to lie, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation import checks, pair_grid, pair_problems, pair_registration
from napari_mri7t.engine.preparation import pair as module
from napari_mri7t.engine.preparation.pair import (
    PairConfig,
    RawPair,
    make_pair,
    plan_pair,
)
from napari_mri7t.engine.preparation.pair_problems import comparable
from napari_mri7t.engine.preparation.pair_registration import register_pair, starts_between
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.registration import centre_of, save_transform
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.volumes.grids import resample
from napari_mri7t.engine.volumes.volume import Volume, save_volume

NONE = PairConfig(grid="7t", prepare="none", allow_out_of_domain=True)


@pytest.fixture
def on_template(monkeypatch, head_brain):
    """Let the phantom be its own template, and 4 mm its finest voxels."""
    monkeypatch.setattr(pair_registration, "COARSE_MM", 8.0)
    monkeypatch.setattr(pair_registration, "FINE_MM", 4.0)
    monkeypatch.setattr(pair_registration, "REGISTRATION_MM", 4.0)
    monkeypatch.setattr(pair_problems, "COMPARED_MM", 4.0)
    for user in (checks, module, pair_problems):
        monkeypatch.setattr(user, "load_template", lambda: head_brain)
    monkeypatch.setattr(module, "register", lambda *_, **__: np.eye(4))
    monkeypatch.setattr(checks, "is_dark_within", lambda _: False)
    monkeypatch.setattr(pair_problems, "_white_over_grey", lambda _: 2.0)


def motion_of(brain, degrees=(12, -9, 15), shift=(20, -25, 10)):
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    centre = centre_of(brain)
    motion[:3, 3] = centre - motion[:3, :3] @ centre + shift
    return motion


def moved(brain, motion, name="3T"):
    """The brain elsewhere: the same voxels, as a scanner would put them under another header."""
    return Volume(brain.array, motion @ brain.affine, name)


def test_registration_finds_a_large_motion(head_brain, on_template):
    pytest.importorskip("SimpleITK")
    motion = motion_of(head_brain)
    found = register_pair(moved(head_brain, motion), head_brain, [])
    rest = found @ motion  # what is left of the motion
    degrees = np.degrees(Rotation.from_matrix(rest[:3, :3]).magnitude())
    centre = centre_of(head_brain)
    assert degrees < 0.5
    assert np.linalg.norm(rest[:3, :3] @ centre + rest[:3, 3] - centre) < 0.5


def test_affine_registration_finds_the_scaling_of_a_scanner(head_brain, on_template):
    pytest.importorskip("SimpleITK")
    motion = motion_of(head_brain, (3, -2, 4), (5, -4, 3)) @ np.diag([1.04, 1, 0.98, 1])
    found = register_pair(moved(head_brain, motion), head_brain, [], affine=True)
    assert np.linalg.norm((found @ motion)[:3, :3] - np.eye(3)) < 0.03


@pytest.mark.parametrize("scales", [(1.3, 1.0, 1.0), (-1.0, 1.0, 1.0), (1.01, 1.0, 1.0)])
def test_affine_transform_that_fails_or_gains_nothing_is_dropped(scales, head_brain, monkeypatch):
    def found(brains, start, level, affine, report):
        return np.diag([*scales, 1.0]) if affine else np.eye(4)

    monkeypatch.setattr(pair_registration, "_optimise", found)
    for name in ("COARSE_MM", "FINE_MM", "REGISTRATION_MM"):
        monkeypatch.setattr(pair_registration, name, 8.0)
    got = register_pair(head_brain, head_brain, [np.eye(4)], affine=True)
    np.testing.assert_array_equal(got, np.eye(4))


def test_starts_bring_the_centres_together(head_brain):
    source = moved(head_brain, motion_of(head_brain))
    starts = starts_between(source, head_brain)
    assert len(starts) == 6
    for start in starts[:3]:
        there = start[:3, :3] @ centre_of(source) + start[:3, 3]
        np.testing.assert_allclose(there, centre_of(head_brain), atol=1e-6)
        np.testing.assert_allclose(start[:3, :3] @ start[:3, :3].T, np.eye(3), atol=1e-12)


@pytest.mark.usefixtures("on_template")
def test_own_transform_is_taken_and_each_scan_interpolated_once(head_brain, tmp_path, monkeypatch):
    pytest.importorskip("SimpleITK")
    seen = []

    def counted(volume, grid, *transform, **choice):
        seen.append(volume.name)
        return resample(volume, grid, *transform, **choice)

    monkeypatch.setattr(pair_grid, "resample", counted)
    motion = motion_of(head_brain)
    own = tmp_path / "3T-to-7T.txt"
    save_transform(np.linalg.inv(motion), own)
    pair = make_pair(RawPair(moved(head_brain, motion), head_brain, transform=own), NONE)
    np.testing.assert_allclose(pair.to_target, np.linalg.inv(motion), atol=1e-9)
    assert seen == ["3T", "3T"]  # image and mask; the 7T is on its own grid already
    inside = pair.mask
    np.testing.assert_array_equal(pair.target.array[inside], head_brain.array[inside])
    correlation = np.corrcoef(pair.source.array[inside], head_brain.array[inside])[0, 1]
    assert correlation > 0.999


def test_own_transform_that_is_singular_is_refused_before_anything_is_prepared(
    head_brain, tmp_path
):
    own = tmp_path / "own.txt"
    save_transform(np.diag([1, 1, 0, 1]), own)
    with pytest.raises(VolumeError, match=r"own\.txt: the transform changes volumes"):
        plan_pair(RawPair(head_brain, head_brain, transform=own), NONE)


@pytest.mark.usefixtures("on_template")
@pytest.mark.parametrize(("grid", "voxel_mm"), [("7t", 4.0), (2.0, 2.0), ("mni", 5.0)])
def test_both_images_lie_on_one_grid_and_share_their_background(
    head_brain, grid, voxel_mm, monkeypatch, tmp_path
):
    pytest.importorskip("SimpleITK")
    affine = np.diag([5.0, 5, 5, 1])
    affine[:3, 3] = (-86, -126, -72)
    coarse = Volume(np.zeros((36, 44, 36)), affine)
    monkeypatch.setattr(pair_grid, "model_grid", lambda: coarse)  # the models' own has 7 million
    own = tmp_path / "same.txt"
    save_transform(np.eye(4), own)
    raw = RawPair(head_brain, head_brain, "sub-01", transform=own)
    pair = make_pair(raw, replace(NONE, grid=grid))
    assert pair.source.shape == pair.target.shape == pair.mask.shape
    np.testing.assert_array_equal(pair.source.affine, pair.target.affine)
    assert pair.target.voxel_size == (voxel_mm,) * 3
    for image in (pair.source, pair.target):
        np.testing.assert_array_equal(image.array > 0, pair.mask)
        assert image.geometry is None


@pytest.mark.usefixtures("on_template")
@pytest.mark.parametrize(("found", "n_warnings"), [(1.0, 1), (1.02, 0)])
def test_affine_registration_that_stays_rigid_is_told(head_brain, monkeypatch, found, n_warnings):
    pytest.importorskip("SimpleITK")
    monkeypatch.setattr(module, "register_pair", lambda *_, **__: np.diag([found, 1, 1, 1]))
    pair = make_pair(RawPair(head_brain, head_brain), replace(NONE, registration="affine"))
    assert pair.warnings.count(module.STAYED_RIGID) == n_warnings


def test_rim_of_an_extracted_brain_is_not_darkened():
    """A brain of one intensity has it up to its surface, also between two voxels."""
    brain = np.zeros((12, 12, 12))
    brain[3:9, 3:9, 3:9] = 100
    scan = Volume(brain, np.eye(4))
    side = Prepared(scan, scan, brain > 0, np.eye(4), 0.8)
    shift = np.eye(4)
    shift[:3, 3] = 0.4
    made, masks = pair_grid.on_grid((side, side), scan, (shift, shift))
    np.testing.assert_allclose(made[0][masks[0]], 100, rtol=1e-5)


def test_fine_texture_does_not_alias_on_a_coarser_grid():
    """Stripes of one voxel, which every other voxel sees as all bright or all dark."""
    stripes = np.zeros((12, 12, 12))
    stripes[::2] = 1
    scan = Volume(stripes, np.eye(4))
    side = Prepared(scan, scan, np.ones(scan.shape, bool), np.eye(4), 0.8)
    grid = Volume(np.zeros((6, 12, 12)), np.diag([2.0, 1, 1, 1]))
    made, masks = pair_grid.on_grid((side, side), grid, (np.eye(4), np.eye(4)))
    for array, mask in zip(made, masks, strict=True):
        assert mask.all()
        assert 0.4 < array[1:-1].mean() < 0.8  # 1 without smoothing, 0.5 at best


@pytest.mark.usefixtures("on_template")
def test_facts_lead_from_the_grid_to_mni_space(head_brain, tmp_path):
    pytest.importorskip("SimpleITK")
    motion = motion_of(head_brain)
    own = tmp_path / "own.txt"
    save_transform(np.linalg.inv(motion), own)
    pair = make_pair(RawPair(moved(head_brain, motion), head_brain, transform=own), NONE)
    to_mni = np.array(pair.facts["source_grid_to_mni"])
    np.testing.assert_allclose(to_mni, motion, atol=1e-5)  # the 3T's own transform is the identity
    assert comparable(pair.source, to_mni).shape == comparable(pair.target, np.eye(4)).shape
    assert pair.facts["settings"] == NONE.record()
    assert pair.facts["agreement"]["overlap"] == pair.agreement.overlap


@pytest.mark.usefixtures("on_template")
def test_brains_that_do_not_overlap_are_refused(head_brain, tmp_path):
    far = np.eye(4)
    far[0, 3] = 500
    save_transform(far, tmp_path / "far.txt")
    raw = RawPair(head_brain, head_brain, "sub-01", transform=tmp_path / "far.txt")
    with pytest.raises(VolumeError, match="sub-01: the two brains do not overlap") as caught:
        make_pair(raw, NONE)
    assert caught.value.argument == "transform"


@pytest.mark.usefixtures("on_template")
def test_dark_brain_that_goes_as_it_is_is_refused(head_brain, monkeypatch):
    monkeypatch.setattr(checks, "is_dark_within", lambda brain: True)
    with pytest.raises(VolumeError, match="does not look T1-weighted"):
        make_pair(RawPair(head_brain, head_brain), NONE)


def test_what_a_training_would_refuse_is_no_pair(head_brain, tmp_path):
    labels = head_brain.with_array(np.round(head_brain.array / head_brain.array.max() * 4))
    with pytest.raises(VolumeError, match="looks like a mask or label map"):
        plan_pair(RawPair(head_brain, labels), NONE)
    pair = simulate_3t(head_brain, seed=1)
    pair.save(tmp_path / "3T.nii.gz", tmp_path / "7T.nii.gz")
    with pytest.raises(VolumeError, match="3T: is a pseudo-3T, by its sidecar, and no 7T scan"):
        plan_pair(RawPair(head_brain, tmp_path / "3T.nii.gz"), NONE)
    plan = plan_pair(RawPair(tmp_path / "3T.nii.gz", tmp_path / "7T.nii.gz"), NONE)
    assert any("is a pseudo-3T" in text for text in plan.warnings)


@pytest.mark.parametrize("field", ["3T", "7T"])
def test_estimate_of_a_model_is_no_side_of_a_pair(head_brain, field):
    estimate = replace(head_brain, name="estimate", made_by="synthesize")
    sides = (estimate, head_brain) if field == "3T" else (head_brain, estimate)
    with pytest.raises(VolumeError, match=f"is a synthetic image, .* and no {field} scan"):
        plan_pair(RawPair(*sides), NONE)


def test_phase_by_its_json_is_no_side_of_a_pair(head_brain, tmp_path):
    path = save_volume(head_brain, tmp_path / "S1_3T.nii.gz")
    (tmp_path / "S1_3T.json").write_text('{"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}')
    with pytest.raises(VolumeError, match="no magnitude image"):
        plan_pair(RawPair(path, head_brain), NONE)


def test_own_mask_is_part_of_the_plan(head, tmp_path):
    scan, mask = head
    uneven = np.linspace(0.9, 1.1, scan.shape[0])[:, None, None]  # one value would be padding
    scan = scan.with_array(scan.array * uneven)
    own = save_volume(scan.with_array(mask), tmp_path / "mask.nii.gz")
    plan = plan_pair(RawPair(scan, scan, target_mask=own), PairConfig(allow_out_of_domain=True))
    assert "3T: brain extraction" in plan.steps
    assert "7T: brain extraction" not in plan.steps
    assert plan.describe().endswith("on 1 mm in MNI space.")


def test_edited_mask_in_the_cache_is_the_users_own(head, tmp_path):
    scan, mask = head
    edited = tmp_path / f"3T/{scan.name}_mask.nii.gz"
    edited.parent.mkdir()
    save_volume(scan.with_array(mask), edited)
    plan = plan_pair(RawPair(scan, scan, keep=tmp_path), PairConfig(allow_out_of_domain=True))
    assert plan.source.config.mask == edited
    assert plan.source.cache is None  # what is found with it is not what would be found without
    assert plan.target.cache is not None
    assert any(edited.name in text for text in plan.warnings)


@pytest.mark.usefixtures("on_template")
def test_progress_of_a_pair_never_goes_back(head_brain):
    seen = []
    make_pair(RawPair(head_brain, head_brain), NONE, report=seen.append)
    done = [now.done / now.total for now in seen if now.total]
    assert done == sorted(done)
    assert done[-1] == 1


@pytest.mark.usefixtures("on_template")
def test_cancel_ends_a_pair(head_brain):
    def stop(progress):
        raise Cancelled

    with pytest.raises(Cancelled):
        make_pair(RawPair(head_brain, head_brain), NONE, report=stop)


@pytest.mark.parametrize("wrong", [{"grid": "T1"}, {"grid": 5.0}, {"registration": "syn"}])
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        PairConfig(**wrong)


def test_voxel_size_may_be_text_and_is_recorded_as_a_number():
    assert PairConfig(grid="0.8").record()["grid"] == 0.8


def test_dark_voxels_of_a_brain_stay_as_they_are():
    array = np.linspace(-0.1, 1, 1100, dtype=np.float32).reshape(10, 10, 11)
    mask = array > 0.001
    made = pair_grid.masked(array, mask, Volume(array, np.eye(4)), "brain").array
    np.testing.assert_array_equal(made, np.where(mask, array, 0))


def test_own_transform_to_mni_is_used_unprepared_too(
    head_brain, on_template, tmp_path, monkeypatch
):
    own, motion = tmp_path / "own.txt", motion_of(head_brain, (0, 0, 4), (3, 0, 0))
    save_transform(motion, own)
    between = tmp_path / "between.txt"
    save_transform(np.eye(4), between)
    monkeypatch.setattr(checks, "FAILED", -1.0)
    raw = RawPair(head_brain, head_brain, transform=between, to_mni=own)
    pair = make_pair(raw, replace(NONE, grid="mni"))
    np.testing.assert_allclose(pair.to_grid, motion, atol=1e-4)
    own.write_text("no transform")
    with pytest.raises(VolumeError, match=r"own\.txt"):
        plan_pair(raw, NONE)
