"""The report of a study: tables and figures as files, and one HTML page that holds them all."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from napari_mri7t.engine.evaluation import report_sections, study_tables
from napari_mri7t.engine.evaluation.lesions import LesionResult
from napari_mri7t.engine.evaluation.page import render_page
from napari_mri7t.engine.evaluation.paired_tables import tests_table
from napari_mri7t.engine.evaluation.report_pictures import Gathered, gather
from napari_mri7t.engine.evaluation.results import SubjectResult, write_content
from napari_mri7t.engine.evaluation.robustness import RobustnessPoint
from napari_mri7t.engine.evaluation.scoring import METRICS
from napari_mri7t.engine.evaluation.table import Table, as_csv, as_latex, as_markdown
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.volume import Volume

REPORT_FILE = "report.html"
TABLES_FOLDER, FIGURES_FOLDER = "tables", "figures"
FORMATS = {"csv": as_csv, "md": as_markdown, "tex": as_latex}


@dataclass(frozen=True)
class ReportSubject:
    """One held-out subject.

    Parameters
    ----------
    name : str
    load : callable
        Gives "source", the networks' estimates by name, and "target", on one grid, in [0, 1].
    """

    name: str
    load: Callable[[], Mapping[str, Volume]]


@dataclass(frozen=True)
class ReportData:
    """All that a report tells.

    Parameters
    ----------
    title : str
    facts : sequence of (str, str)
        What was done: versions, seeds, settings, in words.
    results : sequence of SubjectResult
    subjects : sequence of ReportSubject
    histories : mapping of str to sequence of (fold, steps, losses)
        Network to loss curves.
    robustness : mapping of str to sequence of RobustnessPoint
    lesions : mapping of str to sequence of LesionResult
    """

    title: str
    facts: Sequence[tuple[str, str]]
    results: Sequence[SubjectResult]
    subjects: Sequence[ReportSubject]
    histories: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]] = field(
        default_factory=dict
    )
    robustness: Mapping[str, Sequence[RobustnessPoint]] = field(default_factory=dict)
    lesions: Mapping[str, Sequence[LesionResult]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportProgress:
    """How many parts are done, of how many, and which one is being made."""

    done: int
    total: int
    message: str


def write_report(
    data: ReportData, folder: Path, page: Path
) -> Generator[ReportProgress, None, Path]:
    """Write tables, figures and the page.

    Parameters
    ----------
    data : ReportData
    folder : Path
        Gets the folders "tables" and "figures"; made if missing.
    page : Path
        The HTML file, replaced whole or not at all.

    Yields
    ------
    ReportProgress

    Returns
    -------
    Path
        The page.
    """
    total = len(data.subjects) + 2
    drawings = folder / FIGURES_FOLDER
    drawings.mkdir(parents=True, exist_ok=True)
    write_tables(data.results, folder / TABLES_FOLDER)
    gathered = Gathered()
    for number, subject in enumerate(data.subjects):
        now = ReportProgress(number, total, subject.name)
        yield now
        steps = gather(subject.name, subject.load(), gathered, drawings)
        yield from with_records(steps, partial(_same, now))
    yield ReportProgress(total - 2, total, "plots")
    sections = [
        report_sections.facts_section(data.facts),
        *report_sections.table_sections(data.results),
        *report_sections.figure_sections(data.results, gathered, drawings),
    ]
    if data.histories:
        sections.append(report_sections.training_section(data.histories, drawings))
    if data.robustness:
        sections.append(report_sections.robustness_section(data.robustness, drawings))
    if data.lesions:
        sections.append(report_sections.lesion_section(data.lesions, drawings))
    yield ReportProgress(total - 1, total, "page")
    return write_content(page, render_page(data.title, sections, gathered.browser))


def write_tables(results: Sequence[SubjectResult], folder: Path) -> dict[str, Table]:
    """Write every table as CSV, Markdown and LaTeX.

    Parameters
    ----------
    results : sequence of SubjectResult
    folder : Path
        Made if missing.

    Returns
    -------
    dict
        File stem to table.
    """
    tables = {
        "results": study_tables.result_table(results),
        "table-1": study_tables.table_1(results),
        "summary": study_tables.summary_table(results),
        "subjects": study_tables.subject_table(results),
        **{f"spread-{key}": study_tables.spread_table(results, key) for key in METRICS},
    }
    tests = {f"tests-{key}": tests_table(results, key) for key in METRICS}
    tables |= {stem: table for stem, table in tests.items() if table.rows}
    folder.mkdir(parents=True, exist_ok=True)
    for stem, table in tables.items():
        for suffix, write in FORMATS.items():
            write_content(folder / f"{stem}.{suffix}", write(table))
    return tables


def _same(now: ReportProgress, _: object) -> ReportProgress:
    return now
