"""The page and the table of a batch: a row a scan, from what lies in the derivative alone.

Read are the sidecars, the folders `figures` and the outcome of the last batch, so that both are
right after a resume, a kill, and several batches into one derivative.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from napari_mri7t.engine.atomic import read_json, write_content, write_json
from napari_mri7t.engine.datasets.bids import (
    LOG_FOLDER,
    MNI_SPACE,
    QUALITY_PAGE,
    QUALITY_TABLE,
    SOURCE_LINK,
    SUMMARY_FILE,
    in_space,
)
from napari_mri7t.engine.datasets.estimate_names import NAMES_FILE, STUDY, read_names
from napari_mri7t.engine.datasets.files import ESTIMATE
from napari_mri7t.engine.datasets.names import entities
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.preparation.checks import ALIGNED
from napari_mri7t.engine.preparation.domain import LARGEST_CONTRAST_DISTANCE
from napari_mri7t.engine.preparation.quality import USUAL_SCORE
from napari_mri7t.engine.report.page import data_url, render
from napari_mri7t.engine.report.scan_figures import ScanFigures, read_scan_figures
from napari_mri7t.engine.texts import as_cell, visible
from napari_mri7t.engine.volumes.brain import BRAIN_LITRES
from napari_mri7t.engine.volumes.files.sidecars import own_facts
from napari_mri7t.engine.volumes.files.streams import sidecar_of

WRITTEN, KNOWN, FAILED, SKIPPED = "written", "known", "failed", "skipped"
STATES = (FAILED, WRITTEN, KNOWN, SKIPPED)  # in the order of the page
SOURCE_URI = f"bids:{SOURCE_LINK}:"
MISSING = "n/a"  # in a table of BIDS


@dataclass(frozen=True)
class BatchRow:
    """A scan on the page of a batch.

    Attributes
    ----------
    scan : str
        Path within the input folder.
    state : str
        "written", "known", "failed" or "skipped".
    reason : str
        Why it failed or was skipped.
    output : str
        Path of the estimate within the derivative; empty if there is none.
    model : str
    figures : ScanFigures
    warnings : tuple of str
    """

    scan: str
    state: str
    reason: str = ""
    output: str = ""
    model: str = ""
    figures: ScanFigures = field(default_factory=ScanFigures)
    warnings: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """The figures that are out of their usual range, by the names of `QualityFigures`."""
        return self.figures.quality.doubts if self.figures.quality else ()

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts the worst first: failures, then by doubts, warnings, and the correlation."""
        quality = self.figures.quality
        score = quality.registration_score if quality else 1.0
        is_made = self.state in (WRITTEN, KNOWN)
        place = STATES.index(WRITTEN if is_made else self.state)
        return (place, -len(self.doubts), -len(self.warnings), score)


def write_batch_page(folder: Path) -> Path:
    """Write the page of a derivative, replacing an old one.

    Parameters
    ----------
    folder : Path
        Of the derivative.

    Returns
    -------
    Path
        "quality.html" in it: one file that loads nothing from elsewhere, with links to the quality
        pages of the scans.
    """
    rows = batch_rows(folder)
    counts = [(state, sum(row.state == state for row in rows)) for state in STATES]
    content: dict[str, object] = {
        "title": f"Quality of {len(rows)} scans" if len(rows) != 1 else "Quality of 1 scan",
        "counts": [(state, count) for state, count in counts if count],
        "models": sorted({row.model for row in rows if row.model}),
        "rows": [_shown(row, place) for place, row in enumerate(rows)],
        "usual": {
            "litres": " to ".join(f"{edge:g}" for edge in BRAIN_LITRES),
            "aligned": f"{ALIGNED:g}",
            "score": USUAL_SCORE,
            "distance": f"{LARGEST_CONTRAST_DISTANCE:g}",
        },
    }
    return write_content(folder / QUALITY_PAGE, render("batch", content))


def batch_rows(folder: Path) -> list[BatchRow]:
    """Return the scans of a derivative, the worst first.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    """
    summary = _read_summary(folder)
    reasons = {state: _reasons(summary, state) for state in (FAILED, SKIPPED)}
    known = summary.get(KNOWN)
    known = set(known) if isinstance(known, list) and all(map(_is_text, known)) else set()
    names = _names(folder)
    rows: dict[str, BatchRow] = {}
    lacking = _reasons(summary, "outputs")
    for output, facts in _estimates(folder):
        scan = _source_of(facts) or names.get(output, output)
        failed = reasons[FAILED].get(scan, "")
        if failed and lacking.get(scan, output) != output:  # that in another space has failed
            known, failed = known | {scan}, ""
        rows[output] = BatchRow(
            scan,
            FAILED if failed else KNOWN if scan in known else WRITTEN,
            failed,
            output,
            _model_of(facts),
            read_scan_figures(folder, output),
            _warnings_of(facts),
        )
    made = {row.scan for row in rows.values()}
    told = {row.scan for row in rows.values() if row.reason or row.scan not in reasons[FAILED]}
    others = [
        BatchRow(scan, state, _in_space(lacking.get(scan, ""), reason) if scan in made else reason)
        for state, named in reasons.items()
        for scan, reason in named.items()
        if scan not in told
    ]
    return sorted([*rows.values(), *others], key=lambda row: (row.rank, row.scan))


def _in_space(output: str, reason: str) -> str:
    """Return why a scan lacks one estimate, where it has another."""
    space = "MNI space" if f"_space-{MNI_SPACE}_" in output else "its own space"
    return f"no estimate in {space}: {reason}"


def _names(folder: Path) -> dict[str, str]:
    """Return the scans by estimate, also those of DICOM files, which no sidecar names."""
    try:
        names = read_names(folder / LOG_FOLDER / NAMES_FILE)
    except Mri7tError:
        return {}
    found = {output: name for name, output in names.items() if not name.startswith(STUDY)}
    return {in_space(output, MNI_SPACE): name for output, name in found.items()} | found


def _estimates(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and sidecar of the estimates in a derivative."""
    for pattern in ("sub-*/anat", "sub-*/ses-*/anat"):
        for image in sorted(folder.glob(f"{pattern}/*_desc-{ESTIMATE}*.nii.gz")):
            facts = own_facts(sidecar_of(image))
            if facts is not None:
                yield image.relative_to(folder).as_posix(), facts


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / LOG_FOLDER / SUMMARY_FILE)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _reasons(summary: Mapping[str, Any], state: str) -> dict[str, str]:
    found = summary.get(state)
    return {k: str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _source_of(facts: Mapping[str, Any]) -> str:
    """Return the scan that a sidecar names, as a path within the input folder."""
    sources = facts.get("Sources")
    first = sources[0] if isinstance(sources, list) and sources else ""
    if not isinstance(first, str) or not first.startswith(SOURCE_URI):
        return ""
    return unquote(first.removeprefix(SOURCE_URI), errors="surrogateescape")


def _model_of(facts: Mapping[str, Any]) -> str:
    model = facts.get("Model")
    name = model.get("Name") if isinstance(model, dict) else ""
    return name if isinstance(name, str) else ""


def _warnings_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    found = facts.get("Warnings")
    return tuple(str(text) for text in found) if isinstance(found, list) else ()


def _shown(row: BatchRow, place: int) -> dict[str, object]:
    """Return what the template shows of a row, and the numbers by which the script sorts it."""
    figures, quality = row.figures, row.figures.quality
    strength = quality.bias_field_strength if quality else None
    cells = {
        "litres": (quality and quality.brain_litres, ".2f", "brain_litres"),
        "correlation": (quality and quality.registration_score, ".2f", "registration_score"),
        "bias": (None if strength is None else 100 * strength, ".0f", ""),
        "distance": (quality and quality.contrast_distance, ".3f", "contrast_distance"),
        "seconds": (figures.seconds, ".0f", ""),
    }
    shown = {
        key: {
            "value": "" if value is None else repr(value),
            "text": "–" if value is None else format(value, form),
            "doubt": name in row.doubts,
        }
        for key, (value, form, name) in cells.items()
    }
    return {
        "place": place,
        "scan": row.scan,
        "state": row.state,
        "order": STATES.index(row.state),
        "reason": row.reason,
        "warnings": row.warnings,
        "is_made": bool(row.output),
        "page": quote(os.fsencode(figures.page)),
        "mask": data_url(figures.mask, "image/webp") if figures.mask else "",
        "result": data_url(figures.result, "image/webp") if figures.result else "",
        "unregistered": quality is not None and not quality.is_registered,
        "cells": shown,
    }


COLUMNS = {
    "participant_id": "Participant",
    "session_id": "Session",
    "scan": "Path of the scan within the input dataset",
    "state": "Synthesised in the last batch (written) or before it (known), failed, or skipped",
    "brain_litres": "Volume of the brain mask",
    "registration_score": "Correlation of the brain with the template",
    "bias_field_strength": "How far the bias field varies in the brain, as a share",
    "contrast_distance": "Distance of the brain's intensities to the training data",
    "n_warnings": "Number of warnings in the sidecar of the estimate",
    "seconds": "Of preparation and synthesis",
    "reason": "Why the scan failed or was skipped",
}
UNITS = {"brain_litres": "L", "seconds": "s"}


def write_batch_table(folder: Path) -> Path:
    """Write the numbers of the page as a table, with a JSON file that describes its columns.

    Parameters
    ----------
    folder : Path
        Of the derivative.

    Returns
    -------
    Path
        "group_quality.tsv" in it.
    """
    path = folder / QUALITY_TABLE
    words = {
        name: {"Description": text} | ({"Units": UNITS[name]} if name in UNITS else {})
        for name, text in COLUMNS.items()
    }
    write_json(path.with_suffix(".json"), words)
    rows = sorted(batch_rows(folder), key=lambda row: row.scan)
    lines = [tuple(COLUMNS), *(_cells(row) for row in rows)]
    return write_content(path, "".join("\t".join(line) + "\n" for line in lines))


def _cells(row: BatchRow) -> Sequence[str]:
    named, quality = entities(Path(row.output or row.scan).name), row.figures.quality
    numbers = [
        getattr(quality, name, None)
        for name in (
            "brain_litres",
            "registration_score",
            "bias_field_strength",
            "contrast_distance",
        )
    ]
    return [
        *(f"{key}-{named[key]}" if key in named else MISSING for key in ("sub", "ses")),
        as_cell(visible(row.scan)),
        row.state,
        *(MISSING if value is None else f"{value:.4g}" for value in numbers),
        str(len(row.warnings)) if row.output else MISSING,
        MISSING if row.figures.seconds is None else f"{row.figures.seconds:.1f}",
        as_cell(visible(row.reason)) if row.reason else MISSING,
    ]
