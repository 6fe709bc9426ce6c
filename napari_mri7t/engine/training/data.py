"""The data of a study: no image twice, no pair of one image, no file that changed since.

An image is known by its file's bytes, by its voxels however they are stored, and, where a copy was
rounded or rescaled, by a correlation that no two persons reach. A copy with other noise, contrast
or bias field is warned of: two images of a phantom may be as much alike. What is cut off or put
around the brain does not count, and what is cut off from a head is found by its bright spots: those
that two images share lie in one place of each, moved by the same number of voxels.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.datasets.subjects import Subject, load_pair
from napari_mri7t.engine.errors import Mri7tWarning, StateError, SubjectError
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.training.images import check_image
from napari_mri7t.engine.training.pair_fit import warn_of_misfits
from napari_mri7t.engine.training.spots import Spots, move_between, spots_of
from napari_mri7t.engine.volumes.digests import content_digest, file_digest
from napari_mri7t.engine.volumes.fingerprint import around_brain, fingerprint
from napari_mri7t.engine.volumes.scale import border_of, zeroed
from napari_mri7t.engine.volumes.volume import Volume, load_volume

SAMPLE_STEP, SAMPLE_MM = 4, 4.0  # at most so far from one sampled voxel to the next
ROUNDED = 1 / 255  # of that range: what 8 bits change, at most
SAME_CORRELATION = 0.9999  # copies rounded to 8 bits exceed it; two persons stay below 0.99
#: A copy with 2 % of noise reaches 0.9988, with 5 % of bias 0.9997. Two persons stay below 0.996
#: even where SyN has warped both onto the template.
LIKELY_CORRELATION = 0.9985
MOST_COPIES = 5  # listed in one message


@dataclass(frozen=True)
class ImageDigests:
    """SHA-256 of an image.

    Parameters
    ----------
    file : str
        Of the file's bytes.
    voxels : str
        As `content_digest`, of the box around the brain; empty if it was never taken.
    fingerprint : str
        As `volumes.fingerprint`, no SHA-256; of a 7T alone, empty if it was never taken.
    """

    file: str
    voxels: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class SubjectDigests:
    """Digests of a subject's 7T volume, and of its 3T volume if there is one."""

    target: ImageDigests
    source: ImageDigests | None = None

    @property
    def files(self) -> tuple[str, str | None]:
        """Return the digests of the two files, target first."""
        return self.target.file, None if self.source is None else self.source.file

    def all(self) -> set[str]:
        """Return every digest."""
        images = [image for image in (self.target, self.source) if image is not None]
        return {digest for image in images for digest in (image.file, image.voxels) if digest}

    def facts(self) -> dict[str, str | None]:
        """Return the digests as `study.json` holds them."""
        target, source = self.files
        return {
            "target_sha256": target,
            "source_sha256": source,
            "target_voxels_sha256": self.target.voxels,
            "source_voxels_sha256": None if self.source is None else self.source.voxels,
            "target_fingerprint": self.target.fingerprint,
        }


def digests_from(facts: Mapping[str, Any]) -> SubjectDigests:
    """Return the digests of a subject in `study.json`; a KeyError or ValueError if it has none."""
    found = []
    for role in ("target", "source"):
        file, voxels = facts[f"{role}_sha256"], facts.get(f"{role}_voxels_sha256")
        anatomy = facts.get(f"{role}_fingerprint")
        if not all(isinstance(text, str | None) for text in (file, voxels, anatomy)):
            raise ValueError(f"{role}_sha256 is no text")
        found.append(None if file is None else ImageDigests(file, voxels or "", anatomy or ""))
    if found[0] is None:
        raise ValueError("target_sha256 is empty")
    return SubjectDigests(found[0], found[1])


@dataclass(frozen=True, eq=False)
class _Image:
    subject: str
    field: str
    path: Path
    digests: ImageDigests
    samples: tuple[np.ndarray, ...] = ()
    step: int = SAMPLE_STEP
    spots: Spots | None = None


def digest_subjects(
    subjects: Sequence[Subject],
    known: Sequence[SubjectDigests] = (),
    report: Report = ignore,
) -> tuple[SubjectDigests, ...]:
    """Read all images of a study, check that they can be trained on, and return their digests.

    Parameters
    ----------
    subjects : sequence of Subject
    known : sequence of SubjectDigests
        Of images that were checked before; those are not read again.
    report : callable
        Called before every subject that is read.

    Raises
    ------
    SubjectError
        If two images are one, an image is almost empty, or as `load_pair`.
    VolumeError
        If an image is no scan, as `check_t1w`.

    Warns
    -----
    Mri7tWarning
        If a 3T does not seem to belong to its 7T, as `pair_fit.misfit`; if two subjects may be one.
    """
    voxels = {
        image.file: image
        for entry in known
        for image in (entry.target, entry.source)
        if image is not None and image.voxels
    }
    images: list[_Image] = []
    digests = []
    for number, subject in enumerate(subjects):
        reading = Progress(number, len(subjects), f"checking {subject.name}")
        own = _images_of(subject, voxels, partial(report, reading))
        images += own
        digests.append(SubjectDigests(*(image.digests for image in own)))
    _refuse_copies(images)
    _warn_of_likely_copies(images)
    seen = [image for image in images if image.samples]
    samples = {(image.subject, image.field): image.samples[0] for image in seen}
    warn_of_misfits(samples, {image.subject: image.step for image in seen})
    return tuple(digests)


def check_data(subjects: Sequence[Subject], digests: Sequence[SubjectDigests]) -> None:
    """Check that the files of a study are those that it was created with, none of them twice.

    Raises
    ------
    StateError
        If a file has changed or is gone.
    SubjectError
        If two images are one.
    VolumeError
        If a file cannot be read.
    """
    images = []
    for subject, known in zip(subjects, digests, strict=True):
        for field, path, image in _recorded(subject, known):
            if not path.exists() and not path.is_symlink():
                raise StateError(
                    f"{path}: is no longer there: put it back; if the volumes have moved, train "
                    "again on their new folder, with the same run folder and settings: what is "
                    "done stays"
                )
            if file_digest(path) != image.file:
                raise StateError(
                    f"{path}: has changed since the study was created: restore the file, or use "
                    "another run folder"
                )
            images.append(_Image(subject.name, field, path, image))
    _refuse_copies(images)


def _recorded(subject: Subject, known: SubjectDigests) -> Iterator[tuple[str, Path, ImageDigests]]:
    yield "7T", subject.target, known.target
    if subject.source is not None and known.source is not None:
        yield "3T", subject.source, known.source


def _images_of(
    subject: Subject, known: Mapping[str, ImageDigests], on_reading: Callable[[], None]
) -> list[_Image]:
    """Return the 7T and the 3T image of a subject; loaded if their voxels are not known."""
    paths = [("7T", subject.target)]
    paths += [] if subject.source is None else [("3T", subject.source)]
    files = [file_digest(path) for _, path in paths]
    step = SAMPLE_STEP
    found: list[tuple[ImageDigests, tuple[np.ndarray, ...], Spots | None]]
    if all(file in known for file in files):
        found = [(known[file], (), None) for file in files]
    else:
        on_reading()
        source, target = load_pair(subject)
        volumes = [target] if source is None else [target, source]
        step = max(1, min(SAMPLE_STEP, round(SAMPLE_MM / min(target.voxel_size))))
        for (field, path), volume in zip(paths, volumes, strict=True):
            check_image(path, field, volume)
        found = [
            (
                ImageDigests(
                    file,
                    content_digest(around_brain(volume)),
                    fingerprint(volume) if volume is target else "",
                ),
                _samples(volume, step),
                spots_of(volume.array),
            )
            for file, volume in zip(files, volumes, strict=True)
        ]
    return [
        _Image(subject.name, field, path, digests, samples, step, spots)
        for (field, path), (digests, samples, spots) in zip(paths, found, strict=True)
    ]


def _samples(volume: Volume, step: int) -> tuple[np.ndarray, ...]:
    """Return samples of an image, of its brain, and of that mirrored, on any linear scale."""
    volume = zeroed(volume)
    box = around_brain(volume).array
    return tuple(_sample(array, step) for array in (volume.array, box, box[::-1]))


def _sample(array: np.ndarray, step: int) -> np.ndarray:
    """Return some voxels, evenly apart along each axis, with mean 0 and norm 1."""
    sample = array[::step, ::step, ::step].astype(np.float64)
    sample -= sample.mean()
    norm = np.linalg.norm(sample)
    return (sample / (norm or 1.0)).astype(np.float32)


def _are_one(image: _Image, another: _Image, mirror: int, move: np.ndarray) -> bool:
    """Return whether two images are one, where both show something.

    `mirror`: -1 where left and right of the other are exchanged. `move`: of the other, in voxels.
    """
    one, other = load_volume(image.path).array, load_volume(another.path).array[::mirror]
    here, there = [], []
    for n, m, step in zip(one.shape, other.shape, move.tolist(), strict=True):
        here.append(slice(max(0, -step), min(n, m - step), SAMPLE_STEP))
        there.append(slice(max(0, step), min(m, n + step), SAMPLE_STEP))
    shown = [
        (array[tuple(place)], np.float32(border_of(array)[0]))
        for array, place in ((one, here), (other, there))
    ]
    is_tissue = np.logical_and(*(values != border for values, border in shown))
    correlation = np.corrcoef(*(values[is_tissue] for values, _ in shown))[0, 1]
    return bool(correlation > SAME_CORRELATION)


def _refuse_copies(images: Sequence[_Image]) -> None:
    """Refuse a study in which an image occurs twice, under whatever names."""
    pairs = (pair for pair in combinations(images, 2) if _are_copies(*pair))
    found = [_describe(*pair) for pair in pairs]
    if found:
        raise SubjectError(_listed(found))


def _warn_of_likely_copies(images: Sequence[_Image]) -> None:
    """Warn of scans of one field that differ in noise, contrast or bias field only."""
    pairs = [
        f"{other.path} and {one.path}"
        for one, other in combinations(images, 2)
        if one.field == other.field and _largest_correlation(one, other) > LIKELY_CORRELATION
    ]
    if pairs:
        warnings.warn(
            "hardly anything but noise, contrast or bias field tells these scans apart; if two "
            "show one person, remove one subject, as a fold would train on what it holds out: "
            + _listed(pairs),
            Mri7tWarning,
            stacklevel=3,
        )


def _listed(found: Sequence[str]) -> str:
    more = f"; and {len(found) - MOST_COPIES} more" if len(found) > MOST_COPIES else ""
    return "; ".join(found[:MOST_COPIES]) + more


def _largest_correlation(one: _Image, other: _Image) -> float:
    """Return Pearson's correlation of two images, where they fit each other best."""
    return max((float(np.vdot(*both)) for both in _couples(one, other)), default=0.0)


def _couples(one: _Image, other: _Image) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the samples that may be one: of the images, of their brains, of one mirrored."""
    if not (one.samples and other.samples):
        return []
    (whole, box, _), (other_whole, other_box, other_mirrored) = one.samples, other.samples
    couples = ((whole, other_whole), (box, other_box), (box, other_mirrored))
    return [(a, b) for a, b in couples if a.shape == b.shape]


def _describe(one: _Image, other: _Image) -> str:
    if one.subject == other.subject:
        return (
            f"{other.path}: the {other.field} image of {one.subject} is a copy of its {one.field} "
            f"image, {one.path.name}: put the {other.field} scan in its place"
        )
    return (
        f"{other.path}: is a copy of {one.path}, so that a fold would train on what it holds out "
        f"({one.subject}, {one.field}, and {other.subject}, {other.field}): remove one subject"
    )


def _are_copies(one: _Image, other: _Image) -> bool:
    a, b = one.digests, other.digests
    if a.file == b.file or (a.voxels and a.voxels == b.voxels):
        return True
    is_pair = one.subject == other.subject
    if any(_are_linear(*both, is_pair) for both in _couples(one, other)):
        return True
    if is_pair or one.spots is None or other.spots is None:
        return False  # a pair lies on one grid: none of it is cut off
    seen = ((1, other.spots), (-1, other.spots.mirrored()))
    moves = ((step, move_between(one.spots, spots)) for step, spots in seen)
    return any(move is not None and _are_one(one, other, step, move) for step, move in moves)


def _are_linear(one: np.ndarray, other: np.ndarray, is_pair: bool) -> bool:
    """Return whether a sample is a linear function of another, within rounding for a pair.

    A simulated 3T scan with very little noise correlates with its 7T scan as a copy does.
    """
    correlation = float(np.vdot(one, other))  # Pearson's
    if correlation <= SAME_CORRELATION or not is_pair:
        return correlation > SAME_CORRELATION
    return bool(np.abs(other - correlation * one).max() <= ROUNDED * np.ptp(one))
