"""What a batch has to do for one scan: nothing, to prepare and synthesise it, or to refuse it."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_mri7t.engine.atomic import refuse_annexed
from napari_mri7t.engine.datasets.bids import Scan, load_scan, scan_digests
from napari_mri7t.engine.datasets.derivatives import find_own
from napari_mri7t.engine.datasets.doubts import scan_doubts
from napari_mri7t.engine.errors import Mri7tError, is_out_of_memory
from napari_mri7t.engine.models.card import ModelCard, find_model, read_card
from napari_mri7t.engine.preparation.cache import KeptFiles, read_cache
from napari_mri7t.engine.preparation.choice import model_for, possible_models
from napari_mri7t.engine.preparation.domain import check_ahead
from napari_mri7t.engine.preparation.prepare import PreparationPlan, plan_preparation
from napari_mri7t.engine.preparation.reuse import FILES, OWN
from napari_mri7t.engine.preparation.steps import EXTRACTION, Decision
from napari_mri7t.engine.texts import as_read
from napari_mri7t.engine.volumes.digests import image_digest
from napari_mri7t.engine.volumes.files.sidecars import NAME, OF_VERSION_0_1, check_sidecar_target
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.provenance import read_sidecar, why_not_believed
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.engine.workflows.job import BatchJob

LOGGER = logging.getLogger(__name__)
REQUESTED = "RequestedPreparation"  # of a sidecar: also where the scan needed none
REQUESTED_MODEL, BY_THE_SCAN = "RequestedModel", "by the scan"
NOT_PREPARED = "none"  # what a sidecar without that entry says: the batches of version 0.1
EXPECTED = (Mri7tError, OSError)  # errors whose text is a sentence for the user
LACK_OF_MEMORY = (
    "not enough memory while the next scan was being prepared and the last estimate written: "
    "synthesise this scan alone, or use fewer processes"
)


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a batch will do for one scan.

    Attributes
    ----------
    is_made : bool
        Nothing: its estimate is there.
    volume : Volume or None
        The scan as it was read.
    plan : PreparationPlan or None
        What its preparation will do.
    warnings : tuple of str
        Of the scan and of its plan.
    error : str
        Why it will fail; empty if nothing speaks against it.
    argument : str
        What would allow it: "overwrite", "allow_out_of_domain", "index"; empty without one.
    """

    is_made: bool = False
    volume: Volume | None = None
    plan: PreparationPlan | None = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    argument: str = ""


def look_at(scan: Scan, job: BatchJob) -> Outlook:
    """Read a scan and plan its preparation, as the batch does before anything is computed.

    Parameters
    ----------
    scan : Scan
    job : BatchJob

    Returns
    -------
    Outlook
        Nothing is written, and no estimate claimed.
    """
    try:
        found = examine(scan, job)
        if found is None:
            return Outlook(is_made=True)
        volume, plan = found
        card = read_card(find_model(job.model or model_for(volume)))
        unfit = check_ahead(volume, card, is_prepared=plan.is_needed)
    except Exception as error:
        return Outlook(error=reason_of(scan, error), argument=getattr(error, "argument", ""))
    return Outlook(volume=volume, plan=plan, warnings=(*volume.warnings, *plan.warnings, *unfit))


def examine(scan: Scan, job: BatchJob) -> tuple[Volume, PreparationPlan] | None:
    """Return a scan and the plan of its preparation; None if its estimate is made.

    Raises
    ------
    Mri7tError, OSError
        If its estimate may not be replaced, or `synthesize` would refuse the scan.
    """
    if is_made(scan, job):
        return None
    _check_image(job.image_of(scan), job)
    volume = load_scan(scan, job.index)
    check_t1w(volume)
    config = job.preparation_of(scan)
    plan = plan_preparation(volume, config, job.grid.space)
    found, notes = find_own(scan, scan.output, job.derivatives)
    computed = (Decision.COMPUTE, Decision.REUSE)
    used = {
        step: found[OWN[step]]
        for step in OWN
        if OWN[step] in found and plan.decisions.get(step) in computed
    }
    if used:
        own: dict[str, Any] = {OWN[step]: path for step, path in used.items()}
        config = replace(config, **own)
        plan = plan_preparation(volume, config, job.grid.space)
    if plan.is_needed:
        notes += tuple(
            f"{path.name} of a derivative replaces the {step}" for step, path in used.items()
        )
        plan = replace(plan, warnings=(*plan.warnings, *notes))
    if OWN[EXTRACTION] in found and EXTRACTION not in used:
        unused = found[OWN[EXTRACTION]].name
        told = f"{unused} of a derivative is not used: this scan's brain is taken as it is"
        plan = replace(plan, warnings=(*plan.warnings, told))
    return volume, replace(plan, warnings=(*scan_doubts(volume), *plan.warnings))


def is_made(scan: Scan, job: BatchJob) -> bool:
    """Return whether a scan has its estimate: from the same bytes, weights and settings.

    Returns
    -------
    bool
        False also where the image is not the one that its sidecar describes.
    """
    facts = read_sidecar(job.image_of(scan))
    if facts is None:
        return False
    try:
        digests = [entry["SHA256"] for entry in facts["SourceFiles"]]
        indices = {entry.get("Index") for entry in facts["SourceFiles"]}
        weights, settings = facts["Model"]["SHA256"], dict(facts["Settings"])
    except (LookupError, ValueError, TypeError, AttributeError):
        return False
    cards = {card.sha256: card for card in _wanted_cards(facts, job)}
    if weights not in cards:
        return False
    asked = as_read(job.config.of_model(cards[weights]).decisive())
    if cards[weights].is_of_one_slice:
        asked["step"] = 1
    return (
        indices <= {None, job.index}
        and digests == scan_digests(scan)
        and all(settings.get(key) == value for key, value in asked.items())
        and _is_prepared_as_asked(facts, scan, job)
    )


def _wanted_cards(facts: dict[str, Any], job: BatchJob) -> list[ModelCard]:
    """Return the cards of the models whose estimate a job keeps.

    Without a name these are the default and, if the scan chose it, the report's model.
    """
    folders = possible_models(job.model)
    if job.model is None and facts.get(REQUESTED_MODEL) != BY_THE_SCAN:
        folders = folders[:1]
    return [read_card(folder) for folder in folders]


def _is_prepared_as_asked(facts: dict[str, Any], scan: Scan, job: BatchJob) -> bool:
    """Return whether a sidecar records the preparation and the grid of a job."""
    asked = job.preparation.prepare
    prepared = facts["Settings"].get("preparation")
    found, edited = ({}, {}) if asked == NOT_PREPARED else _own_files(scan, job)
    if prepared is None:  # as it is
        is_free = job.grid.space == "native" and not edited
        return is_free and facts.get(REQUESTED, NOT_PREPARED) == asked
    try:
        recorded = {name: prepared[name]["SHA256"] for name in OWN.values() if name in prepared}
        has_its_own = prepared["brain_extraction"] == Decision.EXTRACTED.value
        is_same = prepared["prepare"] == asked
    except (LookupError, TypeError):
        return False
    if has_its_own and "mask" not in recorded:  # found, but not needed
        found.pop("mask", None)
    wanted = {name: image_digest(path) for name, path in (found | edited).items()}
    is_same_grid = facts["Settings"].get("output") == asdict(job.grid)
    return bool(is_same and is_same_grid and recorded == wanted)


def _own_files(scan: Scan, job: BatchJob) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the mask and the transform of derivatives, and those edited where they are kept."""
    found, _ = find_own(scan, scan.output, job.derivatives)
    kept = job.preparation_of(scan).keep
    if not isinstance(kept, KeptFiles):
        return found, {}
    cache = read_cache(kept)
    edited = {OWN[step]: kept.path(FILES[step]) for step in OWN if cache.is_changed(FILES[step])}
    return found, edited


def _check_image(image: Path, job: BatchJob) -> None:
    """Refuse to replace an estimate unasked; at all, another program's JSON and locked files."""
    facts = check_sidecar_target(image)
    if not image.exists() or job.overwrite:
        for path in (image, facts):
            refuse_annexed(path)
        return
    if why_not_believed(image) == OF_VERSION_0_1:
        why = OF_VERSION_0_1
    elif read_sidecar(image) is None:
        why = "is not the image that its sidecar describes: it was changed, or a batch was killed"
    else:
        why = "was made from another scan, mask, model or settings"
    raise Mri7tError(
        f"{image}: {why}: use another folder, or allow overwriting", argument="overwrite"
    )


def reason_of(scan: Scan, error: Exception) -> str:
    """Return an error in words, without the name of its scan; what nobody foresaw is logged."""
    if is_out_of_memory(error):
        return LACK_OF_MEMORY
    if not isinstance(error, EXPECTED):
        LOGGER.error("%s", scan.name, exc_info=error)
        return f"{type(error).__name__}: {error}: a bug in {NAME}: please report it"
    stem = stem_of(Path(scan.name))
    text = " ".join(str(error).split())
    for known in (f"{scan.path}: ", f"{stem}: "):
        text = text.removeprefix(known)
    return f"{text} (DICOM files in {scan.where})" if scan.where else text
