"""Repeat what a sidecar describes (a synthesis, a simulation, a pair), and compare bit for bit."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.errors import DeviceError, ModelError, Mri7tWarning, StateError
from napari_mri7t.engine.models.card import bundled_folders, fold_folders, read_card
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig, find_before
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.synthesis.uncertainty import UNCERTAINTY
from napari_mri7t.engine.typed import check_kind
from napari_mri7t.engine.volumes.digests import file_digest, image_digest, voxel_digest
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.record import SidecarRecord, read_record
from napari_mri7t.engine.workflows.repetition import (
    INPUT,
    Comparison,
    SourcePaths,
    check_digests,
    check_recorded,
    compare_bits,
    find_sources,
    in_threads,
    locate,
)


def repeat(
    sidecar: str | Path,
    *,
    model: str | Path | None = None,
    sources: SourcePaths = SourcePaths(),  # noqa: B008 - frozen
    device: str | None = None,
    report: Report = ignore,
) -> Comparison:
    """Recompute an image from its sidecar, and compare the two bit for bit.

    Another version of a library than the recorded one is warned of.

    Parameters
    ----------
    sidecar : str or Path
        The JSON file beside an image that was synthesised, simulated or made a pair of.
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
        If the sidecar does not suffice, records nothing that a given path or model stands for, or
        a source or the image is missing or different.
    ModelError
        If the model is missing, damaged or different.
    VolumeError
        If a volume is damaged, or the image has another shape than the repetition.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> template = load_template()
    >>> brain = mri7t.Volume(template.array[::4, ::4, 80:84], template.affine, "brain")
    >>> scan = mri7t.load_volume(mri7t.save_volume(brain, "t1w.nii.gz"))
    >>> config = mri7t.SynthesisConfig(device="cpu", step=3)
    >>> _ = mri7t.synthesize(scan, "basic_cnn", config).save("t1w_7t.nii.gz")
    >>> again = mri7t.repeat("t1w_7t.json", sources=mri7t.SourcePaths(input="t1w.nii.gz"))
    >>> again.is_equal, again.save("again.nii.gz").name
    (True, 'again.nii.gz')
    """
    check_kind(sources=(sources, SourcePaths))
    record = read_record(sidecar, device)
    image = record.find_image()
    if model is not None and not record.model_sha256:
        raise StateError(f"{record.path}: records no model: omit it", argument="model")
    if device is not None and not isinstance(record.config, SynthesisConfig):
        raise StateError(f"{record.path}: records no device: omit it", argument="device")
    for text in record.other_versions:
        warnings.warn(text, Mri7tWarning, stacklevel=2)
    if isinstance(record.config, SynthesisConfig):
        _check_device(record, record.config, device)
        run = _repeat_synthesis(record, record.config, sources, model, report)
    elif record.config is None:
        from napari_mri7t.engine.workflows.repeat_pairs import repeat_pair

        run = repeat_pair(record, sources, report)
    else:
        run = _repeat_simulation(record, record.config, sources, report)
    found = Comparison(image, *run, *compare_bits(load_volume(image), run[0]))
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
    """Return the estimate, or its uncertainty, the sidecar, and what it was made with."""
    check_recorded(record, sources, record.preparation)
    (scan,) = find_sources(record, sources, (INPUT,))
    model = _find_model(record, place)
    preparation = _find_preparation(record, scan, sources)
    with in_threads(record.threads), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if record.found_mask_for:
            preparation = replace(preparation, keep=Path(folder))
            find_before(scan, preparation, record.found_mask_for, report=report)
        result = synthesize(scan, model, config, preparation, record.output, report=report)
    made_with = f"{model.name} on {result.device} in {result.precision}"
    if result.uncertainty is not None:
        return result.uncertainty, result.sidecar(UNCERTAINTY), made_with
    return result.volume, result.sidecar(), made_with


def _repeat_simulation(
    record: SidecarRecord, config: SimulationConfig, sources: SourcePaths, report: Report
) -> tuple[Volume, dict[str, Any], str]:
    """Return the recorded one of the simulated pair, its sidecar, and its seed."""
    target, *rest = find_sources(record, sources)
    check_recorded(record, sources, ("reference",) if rest else ())
    reference = rest[0] if rest else None
    pair = simulate_3t(target, reference=reference, config=config, report=report)
    again = pair.target if record.image == "target" else pair.source
    return again, pair.sidecar(record.image), f"seed {config.seed}"


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


def _find_preparation(record: SidecarRecord, scan: Volume, paths: SourcePaths) -> PreparationConfig:
    """Return the recorded preparation, with the user's own mask and transform checked."""
    asked = dict(record.preparation)
    for name, path in (("mask", paths.mask), ("transform", paths.transform)):
        facts = asked.get(name)
        if facts is None:
            continue
        place = locate(record, facts, path, name, paths.folder)
        if "File" in facts:
            asked[name], digest = place, image_digest(place)
        else:
            asked[name] = scan.with_array(load_volume(place).array > 0)
            digest = voxel_digest(asked[name])
        check_digests(place, [digest], [facts], name)
    return PreparationConfig(**asked, allow_out_of_domain=True)
