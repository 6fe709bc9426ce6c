"""The page of a dataset of pairs: a row a person, the doubtful ones first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.datasets.bids import QUALITY_PAGE
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.report.page import data_url, render

LARGEST_THUMBNAIL = 1 << 20  # bytes
COLUMNS = {  # key in the page, figure, form
    "own": ("mutual_information", ".3f"),
    "best": ("best_other_information", ".3f"),
    "boundary": ("boundary_mm", ".2f"),
    "overlap": ("overlap", ".3f"),
    "rotation": ("rotation_degrees", ".1f"),
    "shift": ("shift_mm", ".1f"),
}


@dataclass(frozen=True)
class PairRecord:
    """A made pair, or why there is none.

    Attributes
    ----------
    name : str
        Of the person.
    source, target, mask : Path
        The written images.
    figure : Path
        Quality page, PNG.
    thumbnail : Path
        Small picture, WebP.
    figures : dict of str to float
        `mutual_information`, `best_other_information` (of the 3T with another person's 7T),
        `boundary_mm`, `overlap`, `correlation`, `mirrored_information`, `rotation_degrees`,
        `shift_mm`: as far as they are known.
    best_other : str
        The other person whose 7T fits the 3T best.
    flags : tuple of str
        Why somebody should look at the pair.
    warnings : tuple of str
    verdict : str
        "accept", "reject", "look again"; empty if nobody looked.
    is_used : bool
        Whether a training takes the pair.
    """

    name: str
    source: Path
    target: Path
    mask: Path
    figure: Path
    thumbnail: Path
    figures: Mapping[str, float] = field(default_factory=dict)
    best_other: str = ""
    flags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    verdict: str = ""
    is_used: bool = True


def write_pair_page(folder: Path, records: Sequence[PairRecord], failed: Mapping[str, str]) -> Path:
    """Write the page of a dataset of pairs, replacing an old one.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    records : sequence of PairRecord
    failed : mapping of str to str
        People, or files, without a pair, and why.

    Returns
    -------
    Path
        "quality.html" in it: one file that loads nothing from elsewhere, with links to the quality
        pages of the pairs.
    """
    ranked = sorted(records, key=_rank)
    lost = [{"name": name, "why": why} for name, why in sorted(failed.items())]
    used = sum(record.is_used for record in records)
    counts = [("used", used), ("left out", len(records) - used), ("failed", len(lost))]
    content: dict[str, object] = {
        "title": f"Quality of {len(records)} pair{'s' * (len(records) != 1)}",
        "counts": [(state, count) for state, count in counts if count],
        "rows": [_shown(record, folder, n + len(lost)) for n, record in enumerate(ranked)],
        "lost": lost,
    }
    return write_content(folder / QUALITY_PAGE, render("pairs", content, like="batch"))


def _rank(record: PairRecord) -> tuple[object, ...]:
    """Sort what is left out first, then by flags, warnings and the distance of boundaries."""
    distance = record.figures.get("boundary_mm", 0.0)
    return (record.is_used, -len(record.flags), -len(record.warnings), -distance, record.name)


def _shown(record: PairRecord, folder: Path, place: int) -> dict[str, object]:
    cells = {}
    for key, (name, form) in COLUMNS.items():
        value = record.figures.get(name)
        cells[key] = {
            "value": "" if value is None else repr(float(value)),
            "text": "–" if value is None else format(value, form),
        }
    picture = _thumbnail(record.thumbnail)
    is_there = record.figure.is_file()
    page = quote(os.fsencode(record.figure.relative_to(folder).as_posix())) if is_there else ""
    return {
        "place": place,
        "name": record.name,
        "page": page,
        "picture": data_url(picture, "image/webp") if picture else "",
        "cells": cells,
        "best_other": record.best_other,
        "verdict": record.verdict or "not judged",
        "is_used": record.is_used,
        "flags": record.flags,
        "warnings": record.warnings,
    }


def _thumbnail(path: Path) -> bytes:
    try:
        content = read_regular(path, LARGEST_THUMBNAIL)
    except (OSError, Mri7tError):
        return b""
    return content if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else b""
