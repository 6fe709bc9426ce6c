"""No image of a study is there twice, however it is stored, and none changes while it is used."""

import os
import shutil
import tracemalloc
import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import Mri7tWarning, StateError, SubjectError, VolumeError
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.data import check_data, digest_subjects
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.spots import spots_of
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings, open_study
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows.studies import open_studies

ON_CPU = SynthesisConfig(device="cpu", step=3)
TINY = TrainConfig(n_steps=1, batch_size=1, patch_size=16, precision="float32")
SETTINGS = StudySettings(
    "slice_unet", "best", TINY, {"widths": (8, 8), "n_blocks": 1, "n_slices": 3}
)


def as_float(image):
    return nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine)


def rounded(image):
    """Scaled to [0, 1], and stored in 8 bits with a factor."""
    array = image.get_fdata() / 255
    copy = nibabel.Nifti1Image(array, image.affine)
    copy.header.set_data_dtype(np.uint8)
    return copy


def z_scored(image):
    array = image.get_fdata()
    return nibabel.Nifti1Image((array - array.mean()) / array.std(), image.affine)


def flipped_storage(image):
    return image.as_reoriented(nibabel.orientations.axcodes2ornt("LPI"))


def as_nifti2(image):
    return nibabel.Nifti2Image(np.asarray(image.dataobj), image.affine)


def moved(image):
    return nibabel.Nifti1Image(np.asarray(image.dataobj), np.diag([2.0, 2, 2, 1]))


def padded(image):
    return nibabel.Nifti1Image(
        np.pad(np.asarray(image.dataobj), ((3, 2), (0, 5), (7, 1))), np.eye(4)
    )


def cropped(image):
    array = np.asarray(image.dataobj)
    inside = [np.flatnonzero(array.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(each[0], each[-1] + 1) for each in inside)
    return nibabel.Nifti1Image(array[box], image.affine)


def padded_and_rounded(image):
    return rounded(padded(image))


def bias_corrected(image):
    array = image.get_fdata()
    ramp = np.linspace(0.95, 1.05, len(array))[:, None, None]
    return nibabel.Nifti1Image(array * ramp, image.affine)


def noisy(image):
    array = image.get_fdata()
    noise = np.random.default_rng(0).normal(0, 0.02 * array.max(), array.shape)
    return nibabel.Nifti1Image(np.where(array > 0, array + noise, 0), image.affine)


RESAVED = [
    padded,
    cropped,
    padded_and_rounded,
    as_float,
    rounded,
    z_scored,
    flipped_storage,
    as_nifti2,
    moved,
]
COPIES = [shutil.copy, os.link, os.symlink]


def resaved(how):
    def copy(source, target):
        nibabel.save(how(nibabel.load(source)), target)

    copy.__name__ = how.__name__
    return copy


@pytest.mark.parametrize("copy", [*COPIES, *map(resaved, RESAVED)], ids=lambda c: c.__name__)
def test_one_image_of_two_subjects_is_refused_however_it_is_stored(dataset, tmp_path, copy):
    (dataset / "sub-C.nii.gz").unlink()
    copy(dataset / "sub-A.nii.gz", dataset / "sub-C.nii.gz")
    words = r"sub-C\.nii\.gz: is a copy of .*sub-A\.nii\.gz|sub-A, sub-C: share a file"
    with pytest.raises(SubjectError, match=words):
        start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    assert not (tmp_path / "run").exists()


def mirrored_and_noisy(image):
    return noisy(nibabel.Nifti1Image(image.get_fdata()[::-1], image.affine))


@pytest.mark.parametrize("how", [bias_corrected, noisy, mirrored_and_noisy])
def test_copy_with_other_noise_or_bias_field_is_warned_of(dataset, tmp_path, how):
    resaved(how)(dataset / "sub-A.nii.gz", dataset / "sub-C.nii.gz")
    with pytest.warns(
        Mri7tWarning, match=r"one person.*: \S*sub-C\.nii\.gz and \S*sub-A\.nii\.gz$"
    ):
        start_training(dataset, tmp_path / "run", SETTINGS, [])


def pair_of(folder, number):
    """A pair of noise with a border of background, 3T and 7T unlike each other."""
    rng = np.random.default_rng(number)
    paths = []
    for field in "73":
        array = np.pad(rng.integers(100, 1000, (12, 12, 12)).astype(np.int16), 4)
        paths.append(folder / f"S{number}_{field}T.nii.gz")
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), paths[-1])
    return Subject(f"S{number}", *paths)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("S2_7T", "S2_3T", r"the 3T image of S2 is a copy of its 7T image, S2_7T.*: put the 3T"),
        ("S1_7T", "S2_7T", r"S1, 7T, and S2, 7T"),
        ("S1_3T", "S2_3T", r"S1, 3T, and S2, 3T"),
        ("S1_7T", "S2_3T", r"S1, 7T, and S2, 3T"),
        ("S2_7T", "S1_3T", r"S1, 3T, and S2, 7T"),
    ],
)
@pytest.mark.parametrize("how", [as_float, rounded])
def test_one_image_in_two_roles_is_refused_by_name(tmp_path, one, other, words, how):
    subjects = [pair_of(tmp_path, number) for number in (1, 2, 3)]
    digest_subjects(subjects)
    image = nibabel.load(tmp_path / f"{one}.nii.gz")
    nibabel.save(how(image), tmp_path / f"{other}.nii.gz")
    with pytest.raises(SubjectError, match=words):
        digest_subjects(subjects)


def gyri_of_one_template(seed):
    """Brains as an atlas lays them on each other: one outline, gyri of their own."""
    rng = np.random.default_rng(seed)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.linspace(-1.1, 1.1, 48)] * 3)))
    texture = gaussian_filter(rng.normal(0, 1, radius.shape), 1.5)
    return np.where(radius < 1, 500 + 200 * np.cos(4 * radius) + 60 * texture / texture.std(), 0)


def one_phantom_scanned_twice(seed):
    """Of one object, each with noise of its own: no copy of a file."""
    noise = np.random.default_rng(seed).normal(0, 25, (48, 48, 48))
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.linspace(-1.1, 1.1, 48)] * 3)))
    return np.where(radius < 1, 500 + 200 * np.cos(4 * radius) + noise, 0)


@pytest.mark.parametrize("brain_of", [gyri_of_one_template, one_phantom_scanned_twice])
@pytest.mark.filterwarnings("error")
def test_brains_that_are_alike_are_no_copies(tmp_path, brain_of):
    for name, seed in (("A", 1), ("B", 2)):
        image = nibabel.Nifti1Image(brain_of(seed).astype(np.float32), np.eye(4))
        nibabel.save(image, tmp_path / f"sub-{name}.nii.gz")
    digest_subjects([Subject(name, tmp_path / f"sub-{name}.nii.gz") for name in "AB"])


def head_of(seed, shape=(44, 48, 44)):
    """A head with noise in the air: bright spots in grey tissue."""
    rng = np.random.default_rng(seed)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*(np.linspace(-1, 1, n) for n in shape))))
    texture = gaussian_filter(rng.normal(0, 1, radius.shape), 2)
    tissue = 300 + 100 * texture / texture.std()
    return np.abs(np.where(radius < 0.9, tissue, 0) + rng.normal(0, 25, radius.shape))


CUTS = {
    "neck": lambda a: a[:, :, 11:],
    "all sides": lambda a: a[5:-3, 2:-7, 6:-1],
    "cut and padded": lambda a: np.pad(a[5:-3, 2:-7], ((0, 9), (4, 0), (1, 1))),
    "cut and z-scored": lambda a: (a[3:] - a.mean()) / a.std(),
    "cut and rounded": lambda a: (a[3:] / a.max() * 255).round(),
    "mirrored": lambda a: a[::-1],
    "mirrored and cut": lambda a: a[::-1][2:, :, 11:],
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_head_that_was_cut_or_mirrored_is_a_copy(tmp_path, cut):
    subjects = []
    for name, array in (("S1", head_of(1)), ("S2", cut(head_of(1))), ("S3", head_of(2))):
        path = tmp_path / f"{name}_7T.nii"
        nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), np.eye(4)), path)
        subjects.append(Subject(name, path))
    digest_subjects([subjects[0], subjects[2]])
    with pytest.raises(SubjectError, match=r"S1, 7T, and S2, 7T") as found:
        digest_subjects(subjects)
    assert "S3" not in str(found.value)


def saturated_brain(seed):
    """An extracted brain of 8 bits, a fifth of which is as bright as can be."""
    shape = (60, 66, 58)
    rng = np.random.default_rng(seed)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*(np.linspace(-1, 1, n) for n in shape))))
    texture = gaussian_filter(rng.normal(0, 1, radius.shape), 1.5)
    return np.where(radius < 0.8, 200 + 65 * texture / texture.std(), 0).clip(0, 255).round()


CHANGES = {
    "mirrored": lambda a: a[::-1],
    "cut": lambda a: a[:42],
    "half of it": lambda a: np.where(np.arange(66)[:, None, None] > 30, a, 0),
    "mirrored, cut, 6 bits": lambda a: (a[::-1][3:] / 4).round() * 4,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copy_of_a_saturated_brain_is_known(tmp_path, change):
    subjects = []
    brain = saturated_brain(1)
    for name, array in (("S1", brain), ("S2", change(brain)), ("S3", saturated_brain(2))):
        path = tmp_path / f"{name}_7T.nii"
        nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), np.eye(4)), path)
        subjects.append(Subject(name, path))
    digest_subjects([subjects[0], subjects[2]])
    with pytest.raises(SubjectError, match=r"S1, 7T, and S2, 7T"):
        digest_subjects(subjects)


def test_brain_with_few_spots_in_much_air_costs_no_memory():
    array = np.zeros((120, 120, 120), np.float32)
    axes = np.meshgrid(*(np.linspace(-1, 1, 30) for _ in range(3)))
    array[40:70, 40:70, 40:70] = np.clip(1 - sum(axis**2 for axis in axes), 0, 0.6)
    tracemalloc.start()
    spots = spots_of(array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spots is None or len(spots.places) <= 64
    assert peak < 12 * 8 * array.size


def test_images_that_are_alike_are_no_copies(dataset):
    """Powers of one phantom correlate by 0.99: more than two scans of one person do."""
    subjects = [Subject(path.name, path) for path in sorted(dataset.iterdir())]
    assert len(set().union(*(digests.all() for digests in digest_subjects(subjects)))) == 6


def test_a_3t_scan_simulated_with_hardly_any_noise_is_no_copy(tmp_path):
    subjects = [pair_of(tmp_path, number) for number in (1, 2)]
    image = nibabel.load(subjects[1].target)
    array = image.get_fdata()
    noise = np.random.default_rng(0).normal(0, 3, array.shape)
    made = np.where(array > 0, array + noise, 0)
    assert np.corrcoef(array.ravel(), made.ravel())[0, 1] > 0.9999
    nibabel.save(nibabel.Nifti1Image(made, image.affine), subjects[1].source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        digest_subjects(subjects)
    assert not [each for each in caught if "hardly anything but noise" in str(each.message)]


@pytest.mark.parametrize("is_renamed", [False, True])
def test_an_estimate_of_this_package_is_no_target(dataset, tmp_path, is_renamed):
    subjects = [Subject(path.name, path) for path in sorted(dataset.iterdir())]
    made = estimate(load_volume(subjects[0].target), load_model("basic_cnn"), ON_CPU)
    if is_renamed:
        made.save(tmp_path / "made.nii.gz").rename(dataset / "sub-D.nii.gz")
        why = r"its header \(its sidecar is not beside it\)"
    else:
        made.save(dataset / "sub-D.nii.gz")
        why = "its sidecar"
    match = rf"sub-D\.nii\.gz: is a synthetic image, by {why}, and no 7T scan"
    with pytest.raises(SubjectError, match=match):
        digest_subjects([*subjects, Subject("sub-D", dataset / "sub-D.nii.gz")])


def test_a_pseudo_3t_is_no_target_and_an_estimate_no_source(dataset, tmp_path):
    paths = sorted(dataset.iterdir())
    simulated = simulate_3t(paths[0])
    simulated.save(tmp_path / "3t.nii.gz", tmp_path / "7t.nii.gz")
    digest_subjects([Subject("sub-D", tmp_path / "7t.nii.gz", tmp_path / "3t.nii.gz")])
    with pytest.raises(SubjectError, match=r"is a pseudo-3T, by its sidecar, and no 7T scan"):
        digest_subjects([Subject("sub-D", tmp_path / "3t.nii.gz")])
    made = estimate(simulated.source, load_model("basic_cnn"), ON_CPU)
    made.save(tmp_path / "made.nii.gz")
    with pytest.raises(SubjectError, match="is a synthetic image, by its sidecar, and no 3T scan"):
        digest_subjects([Subject("sub-D", tmp_path / "7t.nii.gz", tmp_path / "made.nii.gz")])
    for image in (tmp_path / "made.nii.gz", made.volume):
        with pytest.raises(VolumeError, match=r"is a synthetic image, .*: use the scan itself"):
            simulate_3t(image)


@pytest.mark.parametrize("field", ["target", "source"])
def test_a_voxel_that_outshines_a_scan_is_refused_before_a_training(tmp_path, field):
    subject = pair_of(tmp_path, 1)
    image = nibabel.load(getattr(subject, field))
    array = image.get_fdata()
    array[10, 10, 10] = 20 * array.max()
    nibabel.save(nibabel.Nifti1Image(array, image.affine), getattr(subject, field))
    with pytest.raises(VolumeError, match=r"its brightest voxel is .* times as bright as 99\.9 %"):
        digest_subjects([subject])
    with pytest.raises(VolumeError, match="cap such voxels first"):
        simulate_3t(getattr(subject, field))


def test_a_label_map_is_refused_before_a_study_is_written(dataset, tmp_path):
    path = dataset / "sub-C.nii.gz"
    image = nibabel.load(path)
    labels = (np.asarray(image.dataobj) > 0).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), path)
    with pytest.raises(VolumeError, match=r"sub-C\.nii\.gz: looks like a mask"):
        start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    assert not (tmp_path / "run").exists()


def test_an_almost_empty_image_is_refused_by_name(tmp_path):
    subjects = [pair_of(tmp_path, number) for number in (1, 2)]
    array = np.zeros((20, 20, 20), np.int16)
    array[8:12, 8:12, 8:12] = 500 + np.arange(64).reshape(4, 4, 4)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), subjects[1].source)
    with pytest.raises(SubjectError, match=r"S2_3T\.nii\.gz: is almost empty: 0\.8 % of its"):
        digest_subjects(subjects)


def test_a_file_that_changed_since_is_refused_by_training_and_by_evaluation(dataset, tmp_path):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    run_fold(study, 0, "cpu")
    path = dataset / "sub-B.nii.gz"  # trained on by fold 2
    content = path.read_bytes()
    nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj) // 2, None), path)
    changed = r"sub-B\.nii\.gz: has changed since the study was created"
    with pytest.raises(StateError, match=changed):
        run_fold(study, 2, "cpu")
    with pytest.raises(StateError, match=changed):
        open_studies(study.folder).evaluate(baselines={})
    path.write_bytes(content)
    check_data(study.subjects, study.digests)


def test_where_data_moved_away_the_evaluation_says_how_to_go_on(dataset, tmp_path):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    run_fold(study, 0, "cpu")
    moved = dataset.rename(tmp_path / "moved")
    with pytest.raises(StateError, match=r"sub-A\.nii\.gz: is no longer there: .* train again"):
        open_studies(study.folder).evaluate(baselines={})
    start_training(moved, tmp_path / "run", SETTINGS, [])
    open_studies(study.folder).evaluate(baselines={})
    (moved / "sub-A.nii.gz").unlink()
    (moved / "sub-A.nii.gz").symlink_to(".git/annex/objects/x")
    with pytest.raises(VolumeError, match="annex"):
        open_studies(study.folder).evaluate(baselines={})


def test_digests_stand_in_the_study_and_are_read_back(dataset, tmp_path):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    assert open_study(study.folder).digests == study.digests
    assert study.digests == digest_subjects(study.subjects)


def test_a_study_of_copies_made_by_an_earlier_version_is_not_trained(dataset, tmp_path):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    shutil.copy(dataset / "sub-A.nii.gz", dataset / "sub-B.nii.gz")
    first, _, third = study.digests
    with pytest.raises(SubjectError, match=r"sub-A, 7T, and sub-B, 7T"):
        run_fold(replace(study, digests=(first, first, third)), 0, "cpu")


def test_the_voxel_digests_of_a_study_are_compared(dataset, tmp_path):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    first, second, third = study.digests
    resaved = replace(second, target=replace(second.target, voxels=first.target.voxels))
    with pytest.raises(SubjectError, match=r"sub-A, 7T, and sub-B, 7T"):
        check_data(study.subjects, (first, resaved, third))


def test_images_that_were_checked_before_are_not_read_again(dataset, tmp_path, monkeypatch):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    monkeypatch.delattr("napari_mri7t.engine.training.data.load_pair")
    moved_data = dataset.rename(tmp_path / "moved")
    again = start_training(moved_data, tmp_path / "run", SETTINGS, [])[0]
    assert again.digests == study.digests
    assert again.subjects[0].target == (moved_data / "sub-A.nii.gz").resolve()


def test_the_voxel_digest_of_a_brain_does_not_count_what_is_around_it(dataset, tmp_path):
    image = nibabel.load(dataset / "sub-A.nii.gz")
    padded = np.pad(np.asarray(image.dataobj), ((3, 0), (2, 5), (0, 4)))
    nibabel.save(nibabel.Nifti1Image(padded, image.affine), tmp_path / "padded.nii")
    (plain,) = digest_subjects([Subject("sub-A", dataset / "sub-A.nii.gz")])
    (other,) = digest_subjects([Subject("sub-A", tmp_path / "padded.nii")])
    assert plain.target.file != other.target.file
    assert plain.target.voxels == other.target.voxels
