"""Repeat a synthesis or a simulation from its sidecar, and compare bit for bit."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.errors import (
    DeviceError,
    ModelError,
    Mri7tWarning,
    StateError,
    VolumeError,
)
from napari_mri7t.engine.models.card import bundled_folders, fold_folders, read_card
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig, find_before
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.files.dicom import HERE, digest_of, find_series
from napari_mri7t.engine.volumes.files.reading import files_of
from napari_mri7t.engine.volumes.provenance import file_digest, voxel_digest
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_dicom, load_volume, save_volume
from napari_mri7t.engine.workflows.record import SidecarRecord, read_record

TEMPLATE_NAME = "MNI152"  # as `load_template` names it: it is always at hand
SOURCES = ("input", "reference")  # in a sidecar's order


@dataclass(frozen=True)
class SourcePaths:
    """Where the sources are now; by default each is beside the sidecar, under its recorded name.

    Parameters
    ----------
    input, reference, mask, transform : str, Path or None
        Files: the 3T scan or a simulation's 7T, its reference; the user's own mask and transform.
    """

    input: str | Path | None = None
    reference: str | Path | None = None
    mask: str | Path | None = None
    transform: str | Path | None = None


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
        Whether the affines are equal, bit for bit.
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


def repeat(
    sidecar: str | Path,
    *,
    model: str | Path | None = None,
    sources: SourcePaths = SourcePaths(),
    device: str | None = None,
    report: Report = ignore,
) -> Comparison:
    """Recompute an image from its sidecar, and compare the two bit for bit.

    Another version of a library than the recorded one is warned of.

    Parameters
    ----------
    sidecar : str or Path
        The JSON file beside an image that was synthesised or simulated.
    model : str or Path, optional
        Name or folder; by default the model with the recorded SHA-256 is searched for among the
        bundled models and beside the sidecar.
    sources : SourcePaths
        Where the sources are now.
    device : str, optional
        In place of the recorded one.
    report : callable

    Returns
    -------
    Comparison

    Raises
    ------
    StateError
        If the sidecar does not suffice, or a source or the image is missing or different.
    ModelError
        If the model is missing, damaged or different.
    VolumeError
        If a volume is damaged, or the image has another shape than the repetition.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> template = load_template()
    >>> brain = mri7t.Volume(template.array[::4, ::4, 80:84], template.affine, "brain")
    >>> scan = mri7t.load_volume(mri7t.save_volume(brain, "t1w.nii.gz"))
    >>> config = mri7t.SynthesisConfig(device="cpu", step=3)
    >>> _ = mri7t.synthesize(scan, "basic_cnn", config).save("t1w_7t.nii.gz")
    >>> again = mri7t.repeat("t1w_7t.json", sources=mri7t.SourcePaths(input="t1w.nii.gz"))
    >>> again.is_equal, again.save("again.nii.gz").name
    (True, 'again.nii.gz')
    """
    record = read_record(sidecar, device)
    image = record.find_image()
    for text in record.other_versions:
        warnings.warn(text, Mri7tWarning, stacklevel=2)
    if isinstance(record.config, SynthesisConfig):
        _check_device(record, record.config, device)
        run = _repeat_synthesis(record, record.config, sources, model, report)
    else:
        run = _repeat_simulation(record, record.config, sources, report)
    found = Comparison(image, *run, *_compare_bits(load_volume(image), run[0]))
    for text in _differences(record, found):
        warnings.warn(text, Mri7tWarning, stacklevel=2)
    return found


def _check_device(record: SidecarRecord, config: SynthesisConfig, asked: str | None) -> None:
    """Name the sidecar if its device is not here."""
    try:
        resolve_device(config.device)
    except DeviceError as error:
        where = "" if asked else f"{record.path}: "
        raise DeviceError(f"{where}{error}", argument="device") from error


def _differences(record: SidecarRecord, found: Comparison) -> Iterator[str]:
    """Return what was edited since, besides the voxels, as sentences."""
    digest = record.image_sha256
    if found.is_equal and digest and file_digest(found.image) != digest:
        yield f"{found.image}: has other bytes than its sidecar records: it was saved again"
    if not record.other_versions and (names := record.changed_facts(found.sidecar)):
        yield (
            f"{record.path}: {', '.join(names)} differ from those of the repetition: the sidecar "
            "was edited"
        )


def _repeat_synthesis(
    record: SidecarRecord,
    config: SynthesisConfig,
    sources: SourcePaths,
    place: str | Path | None,
    report: Report,
) -> tuple[Volume, dict[str, Any], str]:
    """Return the estimate, its sidecar, and what it was made with."""
    (scan,) = _find_sources(record, sources)
    model = _find_model(record, place)
    preparation = _find_preparation(record, scan, sources)
    with _threads(record.threads), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if record.found_mask_for:
            preparation = replace(preparation, keep=Path(folder))
            find_before(scan, preparation, record.found_mask_for, report=report)
        result = synthesize(scan, model, config, preparation, record.output, report=report)
    made_with = f"{model.name} on {result.device} in {result.precision}"
    return result.volume, result.sidecar(), made_with


def _repeat_simulation(
    record: SidecarRecord, config: SimulationConfig, sources: SourcePaths, report: Report
) -> tuple[Volume, dict[str, Any], str]:
    """Return the recorded one of the simulated pair, its sidecar, and its seed."""
    target, *rest = _find_sources(record, sources)
    reference = rest[0] if rest else None
    pair = simulate_3t(target, reference=reference, config=config, report=report)
    again = pair.target if record.image == "target" else pair.source
    return again, pair.sidecar(record.image), f"seed {config.seed}"


@contextlib.contextmanager
def _threads(n_threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compare_bits(image: Volume, again: Volume) -> tuple[int, float, bool]:
    """Return `n_differing`, `largest` and `same_place` of `Comparison`."""
    if image.shape != again.shape:
        raise VolumeError(
            f"{image.name}: has shape {image.shape}, the repetition {again.shape}: the image is "
            "not the one that its sidecar describes"
        )
    first, second = np.ascontiguousarray(image.array), np.ascontiguousarray(again.array)
    differing = first.view(np.uint32) != second.view(np.uint32)
    largest = float(np.abs(first - second).max())
    return int(differing.sum()), largest, image.affine.tobytes() == again.affine.tobytes()


def _find_model(record: SidecarRecord, folder: str | Path | None) -> Model:
    """Load the recorded model: by its weights' digest, whatever its name is now."""
    wanted = f"{record.model} (SHA-256 {record.model_sha256[:12]}...)"
    if folder is not None:
        model = load_model(folder)
        if model.card.sha256 != record.model_sha256:
            raise ModelError(
                f"{folder}: has weights of SHA-256 {model.card.sha256[:12]}...; the image was made "
                f"with {wanted}: specify the folder of that model"
            )
        return model
    for place in (*bundled_folders(), *fold_folders(), record.path.parent):
        digest = ""
        with contextlib.suppress(ModelError):  # the sidecar's folder need not hold a model
            digest = read_card(place).sha256
        if digest == record.model_sha256:
            return load_model(place)
    raise ModelError(
        f"{record.path}: the image was made with model {wanted}, which is not in the package: "
        "specify its folder",
        argument="model",
    )


def _find_sources(record: SidecarRecord, paths: SourcePaths) -> list[Volume]:
    """Load and check the sources: the scan; or the target, and its reference if any."""
    entries = list(record.sources)
    found = [_load(record, entries, getattr(paths, name), name) for name in SOURCES if entries]
    if entries:
        raise StateError(f"{record.path}: lists more sources than a repetition takes")
    return found


def _load(
    record: SidecarRecord, entries: list[dict[str, Any]], path: str | Path | None, name: str
) -> Volume:
    """Load and check the source that the first of `entries` describe; take these off."""
    facts, digests = entries[0], []
    if "Series" in facts:
        return _load_dicom(record, entries.pop(0), path, name)
    if path is None and facts.get("Name") == TEMPLATE_NAME:
        place, volume = Path(TEMPLATE_NAME), load_template()
    else:
        place, volume = _locate(record, facts, path, name), None
    if "File" in facts:
        digests = [file_digest(each) for each in dict.fromkeys(files_of(place))]
        _check_digests(place, digests, entries[: len(digests)], name)
    volume = volume or load_volume(place, index=facts.get("Index"))
    if "File" not in facts:
        digests = [voxel_digest(volume)]
        _check_digests(place, digests, entries[:1], name)
    del entries[: len(digests)]
    return volume


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


def _find_preparation(record: SidecarRecord, scan: Volume, paths: SourcePaths) -> PreparationConfig:
    """Return the recorded preparation, with the user's own mask and transform checked."""
    asked = dict(record.preparation)
    for name, path in (("mask", paths.mask), ("transform", paths.transform)):
        facts = asked.get(name)
        if facts is None:
            continue
        place = _locate(record, facts, path, name)
        if "File" in facts:
            asked[name], digest = place, file_digest(place)
        else:
            asked[name] = scan.with_array(load_volume(place).array > 0)
            digest = voxel_digest(asked[name])
        _check_digests(place, [digest], [facts], name)
    return PreparationConfig(**asked, allow_out_of_domain=True)


def _locate(
    record: SidecarRecord, facts: Mapping[str, Any], path: str | Path | None, name: str
) -> Path:
    """Return where a recorded file is now."""
    if path is None and "File" not in facts:
        raise StateError(
            f"{record.path}: the {name} {facts['Name']} was never saved to a file: save it and "
            "specify its path",
            argument=name,
        )
    place = record.path.with_name(facts["File"]) if path is None else Path(path)
    if not place.is_file():
        raise StateError(f"{place}: the {name} is not there: specify its path", argument=name)
    return place


def _check_digests(
    path: Path, digests: Sequence[str], entries: Sequence[Mapping[str, Any]], name: str
) -> None:
    recorded = [entry.get("SHA256") or entry["VoxelsSHA256"] for entry in entries]
    if list(digests) != recorded:
        raise StateError(
            f"{path}: is not the original {name} (SHA-256 {digests[0][:12]}..., recorded "
            f"{recorded[0][:12] if recorded else 'none'}...): specify the path of the original",
            argument=name,
        )
