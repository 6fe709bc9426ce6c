"""What every repetition shares: where its sources are now, and how its result is compared."""

import contextlib
import glob
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.errors import StateError, VolumeError
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.volumes.digests import (
    file_digest,
    file_digests,
    image_digest,
    voxel_digest,
)
from napari_mri7t.engine.volumes.files.dicom import HERE, digest_of, find_series
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_dicom, load_volume, save_volume
from napari_mri7t.engine.workflows.record import SidecarRecord

TEMPLATE_NAME = "MNI152"  # as `load_template` names it; the names of all sample data begin so
INPUT = "input"
SOURCES = (INPUT, "reference")  # in a sidecar's order


@dataclass(frozen=True)
class SourcePaths:
    """Where the sources are now; by default each is beside the sidecar, under its recorded name.

    Parameters
    ----------
    input, reference, mask, transform : str, Path or None
        Files: the 3T scan or a simulation's 7T; a simulation's reference, or the 7T scan of a pair;
        the user's own mask (of a pair's 3T) and transform.
    folder : str, Path or None
        Where those without a path of their own are found, in subfolders too, by name and SHA-256.
    """

    input: str | Path | None = None
    reference: str | Path | None = None
    mask: str | Path | None = None
    transform: str | Path | None = None
    folder: str | Path | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """How a repetition differs from the image that it repeats.

    Attributes
    ----------
    image : Path
        The image beside the sidecar.
    again : Volume
        The repetition.
    sidecar : dict
        Of the repetition.
    made_with : str
        Model, device and precision of the repetition; a simulation's seed.
    n_differing : int
        Voxels with another bit pattern.
    largest : float
        Difference, in the image's own intensities.
    same_place : bool
        Whether the affines are equal, bit for bit in float32, as a file holds them.
    """

    image: Path
    again: Volume
    sidecar: dict[str, Any]
    made_with: str
    n_differing: int
    largest: float
    same_place: bool

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return self.n_differing == 0 and self.same_place

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the repetition and its sidecar, both or neither.

        Parameters
        ----------
        path : str or Path
            .nii.gz or .nii.
        overwrite : bool
            False refuses files that exist.

        Returns
        -------
        Path
            The image.
        """
        return save_volume(self.again, path, overwrite=overwrite, sidecar=self.sidecar)


@contextlib.contextmanager
def in_threads(n_threads: int | None) -> Iterator[None]:
    """Use the recorded number of CPU threads, and afterwards the one from before."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare_bits(image: Volume, again: Volume) -> tuple[int, float, bool]:
    """Return `n_differing`, `largest` and `same_place` of `Comparison`.

    Raises
    ------
    VolumeError
        If the shapes differ.
    """
    if image.shape != again.shape:
        raise VolumeError(
            f"{image.name}: has shape {image.shape}, the repetition {again.shape}: the image is "
            "not the one that its sidecar describes"
        )
    first, second = np.ascontiguousarray(image.array), np.ascontiguousarray(again.array)
    differing = first.view(np.uint32) != second.view(np.uint32)
    largest = float(np.abs(first - second).max())
    # A file holds an affine in float32, or a quaternion.
    affines = [volume.affine.astype(np.float32).tobytes() for volume in (image, again)]
    return int(differing.sum()), largest, affines[0] == affines[1]


def check_recorded(record: SidecarRecord, paths: SourcePaths, names: Collection[str]) -> None:
    """Refuse paths that a repetition would not use.

    Parameters
    ----------
    record : SidecarRecord
    paths : SourcePaths
    names : collection of str
        Those of `reference`, `mask` and `transform` that the sidecar records.

    Raises
    ------
    StateError
        If another one has a path.
    """
    for name in ("reference", "mask", "transform"):
        if name not in names and getattr(paths, name) is not None:
            raise StateError(f"{record.path}: records no {name}: omit it", argument=name)


def find_sources(
    record: SidecarRecord, paths: SourcePaths, names: Sequence[str] = SOURCES
) -> list[Volume]:
    """Load and check the sources of an image.

    Parameters
    ----------
    record : SidecarRecord
    paths : SourcePaths
    names : sequence of str
        What the sources are called, in the order of the sidecar.

    Raises
    ------
    StateError
        If one is missing or not the original.
    VolumeError
        If one cannot be read.
    """
    entries = list(record.sources)
    found = [_load(record, entries, paths, name) for name in names if entries]
    if entries:
        raise StateError(f"{record.path}: lists more sources than a repetition takes")
    return found


def _load(
    record: SidecarRecord, entries: list[dict[str, Any]], paths: SourcePaths, name: str
) -> Volume:
    """Load and check the source that the first of `entries` describe; take these off."""
    facts, digests = entries[0], []
    path = getattr(paths, name, None)
    if "Series" in facts:
        return _load_dicom(record, entries.pop(0), path or paths.folder, name)
    volume = _find_sample(facts) if path is None else None
    place = Path(facts["Name"]) if volume else locate(record, facts, path, name, paths.folder)
    if "File" in facts:
        digests = file_digests(place)
        check_digests(place, digests, entries[: len(digests)], name)
    volume = volume or load_volume(place, index=facts.get("Index"))
    if "File" not in facts:
        digests = [voxel_digest(volume)]
        check_digests(place, digests, entries[:1], name)
    del entries[: len(digests)]
    return volume


def _find_sample(facts: Mapping[str, Any]) -> Volume | None:
    """Return the sample data that have the recorded voxels: no file is needed of these."""
    if not facts.get("Name", "").startswith(TEMPLATE_NAME):
        return None
    template = load_template()
    if voxel_digest(template) == facts["VoxelsSHA256"]:
        return template
    pseudo_3t = simulate_3t(template).source
    return pseudo_3t if voxel_digest(pseudo_3t) == facts["VoxelsSHA256"] else None


def _load_dicom(
    record: SidecarRecord, facts: Mapping[str, Any], path: str | Path | None, name: str
) -> Volume:
    """Load the recorded series of a folder of DICOM files, which has the recorded digest."""
    if path is None:
        raise StateError(
            f"{record.path}: the {name} is a DICOM series: specify its folder", argument=name
        )
    for series in find_series(path):
        is_alike = (series.number, len(series.files)) == (facts["Series"], facts["Files"])
        if is_alike and digest_of(series) == facts["SHA256"]:
            return load_dicom(series, index=facts.get("Index"))
    raise StateError(
        f"{HERE}: does not hold the original {name}, which is series {facts['Series']} of "
        f"{facts['Files']} files (SHA-256 {facts['SHA256'][:12]}...): specify the folder of the "
        "original",
        argument=name,
    )


def locate(
    record: SidecarRecord,
    facts: Mapping[str, Any],
    path: str | Path | None,
    name: str,
    folder: str | Path | None = None,
) -> Path:
    """Return where a recorded file is now: at a path, in a folder, or beside the sidecar."""
    if path is None and "File" not in facts:
        raise StateError(
            f"{record.path}: the {name} {facts['Name']} was never saved to a file: save it and "
            "specify its path",
            argument=name,
        )
    place = record.path.with_name(facts["File"]) if path is None else Path(path)
    if path is None and folder is not None:
        place = Path(folder) / facts["File"]
        named = sorted(
            each for each in Path(folder).rglob(glob.escape(facts["File"])) if each.is_file()
        )
        place = next((each for each in named if _is_recorded(each, facts)), place)
    if not place.is_file():
        raise StateError(f"{place}: the {name} is not there: specify its path", argument=name)
    return place


def _is_recorded(path: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether a file, or the image that it is a part of, has the recorded digest."""
    digests = [file_digest(path)]
    with contextlib.suppress(FileNotFoundError):  # the other part of a pair
        digests.append(image_digest(path))
    return facts["SHA256"] in digests


def check_digests(
    path: Path, digests: Sequence[str], entries: Sequence[Mapping[str, Any]], name: str
) -> None:
    """Refuse a file that is not the recorded one."""
    recorded = [entry.get("SHA256") or entry["VoxelsSHA256"] for entry in entries]
    if list(digests) != recorded:
        raise StateError(
            f"{path}: is not the original {name} (SHA-256 {digests[0][:12]}..., recorded "
            f"{recorded[0][:12] if recorded else 'none'}...): specify the path of the original",
            argument=name,
        )
