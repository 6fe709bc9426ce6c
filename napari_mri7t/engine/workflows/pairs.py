"""Raw pairs of 3T and 7T scans into a dataset to train on; resumes when run again.

A pair is two images and their common mask in a BIDS derivative, which `find_subjects` takes as it
is. All three are written together, after their figures: what is there is whole.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_mri7t.engine.atomic import check_folder, refuse_annexed
from napari_mri7t.engine.datasets.bids import Scan, load_scan, scan_digests, source_uri
from napari_mri7t.engine.datasets.pair_files import FoundPairs, PairFiles
from napari_mri7t.engine.datasets.pair_table import is_table, read_pairs
from napari_mri7t.engine.datasets.paired import FIELDS, PairPaths, marks_of
from napari_mri7t.engine.datasets.raw_pairs import find_raw_pairs
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.preparation.cache import MASK, TRANSFORM, KeptFiles, read_cache
from napari_mri7t.engine.preparation.pair import (
    KEPT,
    PairConfig,
    PairPlan,
    PreparedPair,
    RawPair,
    make_pair,
    plan_pair,
)
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.texts import as_read
from napari_mri7t.engine.volumes.digests import image_digest
from napari_mri7t.engine.volumes.files.sidecars import check_sidecar_target
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.provenance import Execution, is_pseudo_3t, read_sidecar, sidecar
from napari_mri7t.engine.volumes.volume import Volume, save_volumes
from napari_mri7t.engine.workflows.claims import Claims
from napari_mri7t.engine.workflows.outlook import reason_of
from napari_mri7t.engine.workflows.pair_review import note_pair
from napari_mri7t.engine.workflows.record import MAKE_PAIR
from napari_mri7t.engine.workflows.summary import BatchSummary, Note

NOTICE = (
    "A scan, brain-extracted, corrected for its bias field, registered and resampled to train on: "
    "for research, not for diagnosis."
)
NEW, DONE, CHANGED, FAILED = "new", "done", "changed", "failed"
OTHERS = "other scans, masks or settings"
OVERWRITE = "run it into another folder, or allow overwriting"
EDITABLE = (  # own files of a `RawPair`: side, and result
    ("source_mask", "source", MASK),
    ("target_mask", "target", MASK),
    ("to_mni", "target", TRANSFORM),
)
Make = Callable[..., PreparedPair]


@dataclass(frozen=True)
class PairJob:
    """The settings that all pairs share.

    Parameters
    ----------
    output : Path
        Folder of the derivative.
    config : PairConfig
    overwrite : bool
        Replace pairs that were made from other scans, masks or settings.
    index : int or None
        Which volume of a 4-D scan, from 0.
    keep : Path or None
        Gets, in a folder a person, the masks, bias fields and transforms, which the next run uses.
    """

    output: Path
    config: PairConfig = PairConfig()  # noqa: RUF009 - frozen
    overwrite: bool = False
    index: int | None = None
    keep: Path | None = None


@dataclass(frozen=True)
class PairState:
    """A pair before it is made.

    Parameters
    ----------
    files : PairFiles
    state : {"new", "done", "changed", "failed"}
        Whether it is there: made from the same files and settings, or from others; "failed" if it
        cannot be made.
    text : str
        What will be done, or why it cannot be, as a sentence.
    """

    files: PairFiles
    state: str
    text: str


@dataclass(frozen=True)
class PairProgress(Progress):
    """Progress in pairs.

    Parameters
    ----------
    pair : str
        Name of the person whose pair is being made; empty at the end.
    """

    pair: str = ""


def find_pairs(
    dataset: str | Path, participants: Sequence[str] = (), series: str = ""
) -> FoundPairs:
    """Find the raw pairs of a folder or of a table.

    Parameters
    ----------
    dataset, participants, series
        As for `find_raw_pairs`; a file is a table, as for `read_pairs`.

    Raises
    ------
    FileNotFoundError, Mri7tError
        As these two.
    """
    is_file = is_table(dataset) and not Path(dataset).is_dir()
    return (read_pairs if is_file else find_raw_pairs)(dataset, participants, series)


def plan_pairs(found: FoundPairs, job: PairJob, report: Report = ignore) -> list[PairState]:
    """Tell which pairs are there, and what will be done; nothing is written.

    Parameters
    ----------
    found : FoundPairs
    job : PairJob
    report : callable
        Progress in pairs.
    """
    states, given = [], given_files(found.pairs)
    for n, files in enumerate(found.pairs):
        report(PairProgress(n, len(found.pairs), f"inspecting {files.name}", files.name))
        try:
            PairPaths(job.output, files.name).check_apart(given)
            states.append(_plan(files, job))
        except (Mri7tError, OSError) as error:
            states.append(PairState(files, FAILED, f"{_reason_of(files, error)}."))
    return states


def _plan(files: PairFiles, job: PairJob) -> PairState:
    state, used = state_of(files, job), _with_edited(files, job).describe()
    text = {
        NEW: f"{used}.",
        DONE: "Already made from the same scans and settings.",
        CHANGED: f"Made before from {OTHERS}: {OVERWRITE}.",
    }[state]
    if state == CHANGED and job.overwrite:
        text = f"{used}; replaces a pair of {OTHERS}."
    return PairState(files, state, " ".join([text, *files.notes]))


def _reason_of(files: PairFiles, error: Exception) -> str:
    """Return an error in words; of two scans, so that it names the file."""
    where = ", ".join(filter(None, (files.source.where, files.target.where)))
    return reason_of(Scan(Path(files.name), files.name, "", where=where), error)


def state_of(files: PairFiles, job: PairJob) -> str:
    """Return whether a pair is "new", "done" or "changed"."""
    paths = PairPaths(job.output, files.name)
    if is_made(files, job):
        return DONE
    return CHANGED if any(path.exists() for path in paths.images) else NEW


def is_made(files: PairFiles, job: PairJob) -> bool:
    """Return whether a pair is there: from the same bytes and settings.

    Returns
    -------
    bool
        False also where an image is not the one that its sidecar describes.
    """
    paths = PairPaths(job.output, files.name)
    if not all(path.exists() for path in paths.images):
        return False
    asked = as_read(asked_of(files, job))
    digests = [digest for scan in files.scans for digest in scan_digests(scan)]
    for image in paths.images:
        facts = read_sidecar(image)
        try:
            if facts is None or facts["Settings"]["asked"] != asked:
                return False
            if [entry["SHA256"] for entry in facts["SourceFiles"]] != digests:
                return False
            if not {entry.get("Index") for entry in facts["SourceFiles"]} <= {None, job.index}:
                return False
        except (LookupError, TypeError, AttributeError):
            return False
    return True


def asked_of(files: PairFiles, job: PairJob) -> dict[str, Any]:
    """Return what decides a pair besides its scans, for its sidecars."""
    own = {
        name: {"File": path.name, "SHA256": image_digest(path)}
        for name, path in _with_edited(files, job).own.items()
    }
    return {"config": job.config.record(), "own": own}


def _with_edited(files: PairFiles, job: PairJob) -> PairFiles:
    """Add the masks and the transform to MNI space that the user edited where they are kept."""
    if job.keep is None or job.config.prepare == "none":
        return files
    found: dict[str, Any] = {}
    for name, side, what in EDITABLE:
        scan = getattr(files, side)
        stem = scan.dicom.name if scan.dicom else stem_of(scan.path) or scan.path.name
        kept = KeptFiles.in_folder(job.keep / files.name / KEPT[side], stem)
        if kept.has_namesakes:
            return replace(files, **(_planned_files(files, job) | files.own))
        if read_cache(kept).is_changed(what):
            found[name] = kept.path(what)
    return replace(files, **(found | files.own))


def _planned_files(files: PairFiles, job: PairJob) -> dict[str, Any]:
    """Return the user's own files as the plan finds them, where scans of one name were kept."""
    plan = plan_pair(raw_pair(files, job), job.config)
    source, target = plan.source.config, plan.target.config
    own = {"source_mask": source.mask, "target_mask": target.mask, "to_mni": target.transform}
    return {name: path for name, path in own.items() if path is not None}


def raw_pair(files: PairFiles, job: PairJob) -> RawPair:
    """Load the scans of a pair, and return what `plan_pair` takes.

    Raises
    ------
    FileNotFoundError, VolumeError
        As `load_scan`.
    """
    source, target, *inversions = (load_scan(scan, job.index) for scan in files.scans)
    both = (inversions[0], inversions[1]) if inversions else None
    keep = None if job.keep is None else job.keep / files.name
    return RawPair(source, target, files.name, inversions=both, keep=keep, **files.own)


def make_pairs(
    pairs: Sequence[PairFiles],
    job: PairJob,
    report: Report = ignore,
    note: Note = lambda _: None,
    make: Make = make_pair,
) -> BatchSummary:
    """Make pairs; a failure is recorded, and the next one is made.

    Parameters
    ----------
    pairs : sequence of PairFiles
    job : PairJob
        Its derivative has begun, as `start_derivative` does it.
    report : callable
        Progress in pairs, as `PairProgress`. A cancel keeps what is finished, and leaves nothing
        half-written.
    note : callable
        Gets the outcome of each pair once it is known.
    make : callable
        In place of `make_pair`.

    Returns
    -------
    BatchSummary
        Its names are those of the people.

    Raises
    ------
    Mri7tError
        If the derivative cannot be written into.
    """
    check_folder(job.output)
    start, summary, given = time.perf_counter(), BatchSummary(), given_files(pairs)
    with Claims(job.output) as claims:
        for n, files in enumerate(pairs):
            own = _report_of(files.name, n, len(pairs), report)
            try:
                own(Progress(0, 0, "reading the scans"))
                claims.take(files.name)
                PairPaths(job.output, files.name).check_apart(given)
                outcome = _make(files, job, own, make)
            except Exception as error:
                argument = getattr(error, "argument", "")
                helps = {files.name: argument} if argument else {}
                outcome = BatchSummary(
                    failed={files.name: _reason_of(files, error)}, arguments=helps
                )
            claims.release(files.name)
            summary = summary.with_other(outcome)
            note(outcome)
    report(PairProgress(len(pairs), len(pairs), "done"))
    return replace(summary, seconds=time.perf_counter() - start)


def _report_of(name: str, n: int, total: int, report: Report) -> Report:
    """Return the report of one pair, whose messages say which it is."""

    def named(now: Progress) -> None:
        message = f"pair {n + 1} of {total} ({name}): {now.message}"
        report(PairProgress(now.done, now.total, message, name))

    return part(named, n, total)


def _make(files: PairFiles, job: PairJob, report: Report, make: Make) -> BatchSummary:
    if is_made(files, job):
        return BatchSummary(known=(files.name,))
    _check_images(files, job)
    plan = plan_pair(raw_pair(files, job), job.config)
    report(Progress(0, 0, plan.describe()))
    pair = make(plan, report=report)
    notes = write_pair(pair, plan, files, job)
    warnings = (*files.notes, *pair.problems, *pair.warnings, *notes)
    return BatchSummary((files.name,), warnings={files.name: warnings} if warnings else {})


def given_files(pairs: Sequence[PairFiles]) -> set[object]:
    """Return the marks of the scans, masks and transforms of pairs, which nothing may replace."""
    return marks_of(p for f in pairs for p in (*f.own.values(), *(s.path for s in f.scans)))


def _check_images(files: PairFiles, job: PairJob) -> None:
    """Refuse to replace a pair unasked; at all, another program's JSON and locked files."""
    for image in PairPaths(job.output, files.name).images:
        facts = check_sidecar_target(image)
        if image.exists() and not job.overwrite:
            raise Mri7tError(
                f"{image}: was made from {OTHERS}, or changed since: {OVERWRITE}",
                argument="overwrite",
            )
        for path in (image, facts):
            refuse_annexed(path)


def write_pair(
    pair: PreparedPair, plan: PairPlan, files: PairFiles, job: PairJob
) -> tuple[str, ...]:
    """Write a pair: its quality page, its row in the table of people, and its images.

    Returns
    -------
    tuple of str
        What could not be written, and costs no pair.
    """
    from napari_mri7t.engine.report.pair_figures import write_pair_figures

    paths = PairPaths(job.output, files.name)
    notes: tuple[str, ...] = ()
    try:
        write_pair_figures(pair, paths.figure, paths.thumbnail)
    except Mri7tError as error:
        notes = (f"no quality page: {error}",)
    note_pair(job.output, files.name, pair.problems)
    parts = []
    for (image, volume), path in zip(images_of(pair).items(), paths.images, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = pair_sidecar(pair, plan.raw, image, asked_of(files, job))
        parts.append((volume, path, facts | _facts_of_bids(files, image, facts)))
    save_volumes(parts, overwrite=True)
    return notes


def images_of(pair: PreparedPair) -> dict[str, Volume]:
    """Return the images of a pair, in the order of `PairPaths.images`: also its mask."""
    mask = pair.target.with_array(pair.mask)
    return {"source": pair.source, "target": pair.target, "mask": mask}


def pair_sidecar(
    pair: PreparedPair, raw: RawPair, image: str, asked: dict[str, Any]
) -> dict[str, Any]:
    """Return the provenance of one image of a pair: "source", "target" or "mask".

    Parameters
    ----------
    pair : PreparedPair
    raw : RawPair
        With the scans as they were loaded.
    image : str
    asked : dict
        From `asked_of`.
    """
    import torch

    scans = (raw.source, raw.target, *(raw.inversions or ()))
    volumes = [scan for scan in scans if isinstance(scan, Volume)]
    settings = {"image": image, "name": pair.name, "asked": asked}
    settings |= {**pair.facts, "problems": pair.problems}
    facts = sidecar(
        MAKE_PAIR,
        volumes,
        Execution(threads=torch.get_num_threads()),
        settings=settings,
        warnings=pair.warnings,
    )
    is_simulated = image == "source" and is_pseudo_3t(volumes[0])
    return facts | {"Synthetic": is_simulated, "Notice": NOTICE}


def _facts_of_bids(files: PairFiles, image: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what BIDS asks for: URIs as `Sources`, so that the files' digests move."""
    uris = [source_uri(scan) for scan in files.scans if scan.name.startswith("sub-")]
    found: dict[str, Any] = {"SourceFiles": facts["Sources"], "Sources": [*filter(None, uris)]}
    if image == "mask":
        return found | {"Type": "Brain"}
    return found | {
        "Description": NOTICE,
        "SkullStripped": True,
        "MagneticFieldStrength": FIELDS[image],
    }
