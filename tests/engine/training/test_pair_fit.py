"""A 3T that does not belong to its 7T is told before a training; pairs in place are not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import Mri7tWarning
from napari_mri7t.engine.training.data import digest_subjects
from napari_mri7t.engine.volumes.volume import Volume, save_volume

SHAPE = (72, 80, 72)


def brain(seed: int) -> np.ndarray:
    """A lopsided ball with folds of its own."""
    grid = np.indices(SHAPE, dtype=np.float32) / 36 - 1
    radius = np.sqrt((grid**2).sum(0)) + 0.15 * (grid[0] > 0.2) * (grid[1] < 0.1)
    folds = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 5)
    tissue = 0.6 + 0.25 * np.sign(folds) * np.minimum(np.abs(folds) / folds.std(), 1)
    return np.where(radius < 0.8, gaussian_filter(tissue, 1), 0)


def scanned(array: np.ndarray, sigma: float = 0.05) -> np.ndarray:
    """The 3T: another contrast, and noise."""
    noise = sigma * np.random.default_rng(9).standard_normal(SHAPE)
    return np.where(array > 0, (array**1.3 + noise).clip(0.01), 0)


@pytest.fixture
def told(tmp_path):
    """What is said of a study in which the 3T of the first subject is this."""

    def of(source: np.ndarray, size: float = 1.0) -> list[str]:
        pairs = [(source, brain(1)), (scanned(brain(2)), brain(2))]
        subjects = []
        for n, arrays in enumerate(pairs, start=1):
            paths = [tmp_path / f"sub-{n}_{field}.nii.gz" for field in ("3T", "7T")]
            for path, array in zip(paths, arrays, strict=True):
                save_volume(
                    Volume(array.astype(np.float32), np.diag([size, size, size, 1])),
                    path,
                    overwrite=True,
                )
            subjects.append(Subject(f"sub-{n}", paths[1], paths[0]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            digest_subjects(subjects)
        return [str(each.message) for each in caught if each.category is Mri7tWarning]

    return of


@pytest.mark.parametrize("sigma", [0.005, 0.05, 0.15])
def test_a_pair_in_place_is_not_warned_of_whatever_its_noise(told, sigma):
    assert told(scanned(brain(1), sigma)) == []


@pytest.mark.parametrize(("axis", "words"), [(0, "left or right"), (2, "up or down")])
@pytest.mark.parametrize("voxels", [4, -6])
def test_a_3t_that_was_moved_is_told(told, axis, words, voxels):
    (text,) = told(np.roll(scanned(brain(1)), voxels, axis))
    assert text.startswith(f"sub-1: its 3T fits its 7T better some 4 voxels {words}: register")


@pytest.mark.parametrize("size", [1.0, 2.0, 3.0])
def test_a_3t_that_was_mirrored_is_told(told, size):
    assert told(scanned(brain(1)), size) == []
    (text,) = told(scanned(brain(1))[::-1], size)
    assert text.startswith("sub-1: its 3T fits its 7T better mirrored left to right")


def test_the_3t_of_another_person_is_told_by_that_persons_name(told):
    (text,) = told(scanned(brain(2), 0.1))
    assert text.startswith("sub-1: its 3T fits the 7T of sub-2 better than its own")


def test_small_images_that_differ_in_noise_alone_are_not_taken_for_swapped(tmp_path):
    """Their few samples fit those of another by chance."""
    random = np.random.default_rng(0)
    places = (np.indices((24, 28, 24)).T - (11.5, 13.5, 11.5)) / (9, 11, 9)
    radius = np.sqrt((places**2).sum(-1)).T
    tissue = 400 + 300 * np.cos(5 * radius)
    subjects = []
    for n in range(8):
        paths = [tmp_path / f"S{n}_{field}T.nii" for field in "73"]
        for path, sigma in zip(paths, (60, 100), strict=True):
            noisy = (tissue + sigma * random.standard_normal(tissue.shape)).clip(1)
            array = np.where(radius < 1, noisy, 0).astype(np.float32)
            save_volume(Volume(array, np.eye(4)), path)
        subjects.append(Subject(f"S{n}", *paths))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digest_subjects(subjects)


@pytest.mark.parametrize(
    "contrast",
    [
        lambda brain: brain**1.3,
        lambda brain: np.minimum(brain, np.percentile(brain[brain > 0], 70)),
        lambda brain: np.round(255 * brain**0.8),
    ],
    ids=["gamma", "clipped", "8 bits"],
)
def test_a_3t_made_from_its_7t_by_another_contrast_alone_is_told(told, contrast):
    (text,) = told(contrast(brain(1)))
    assert text.startswith("sub-1: its 3T differs from its 7T in contrast alone")


@pytest.mark.parametrize("scores", ["3T", "7T"])
def test_a_pair_on_two_linear_scales_is_not_warned_of(tmp_path, scores):
    subjects = []
    for n in (1, 2):
        rim = np.where(binary_erosion(brain(n) > 0, iterations=2), 1, 0.2)  # dark, as in a T1w
        pair = {"3T": scanned(rim * brain(n)), "7T": rim * brain(n)}
        inside = pair[scores] > 0
        values = pair[scores][inside]
        pair[scores][inside] = (values - values.mean()) / values.std()
        for field, array in pair.items():
            image = Volume(array.astype(np.float32), np.eye(4))
            save_volume(image, tmp_path / f"sub-{n}_{field}.nii.gz")
        subjects.append(
            Subject(f"sub-{n}", *(tmp_path / f"sub-{n}_{field}.nii.gz" for field in ("7T", "3T")))
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", Mri7tWarning)
        digest_subjects(subjects)


def test_another_contrast_is_told(told):
    array = brain(1)
    (text,) = told(np.where(array > 0, 1.2 - array, 0))
    assert "hardly correlates with its 7T" in text
