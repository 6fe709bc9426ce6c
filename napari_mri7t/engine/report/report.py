"""The report of a study: tables and figures as files, and one HTML page that holds them all.

The report of one estimate against one real 7T volume: no study, no statistics over subjects.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.evaluation.results import SubjectResult, label_of, ordered_methods
from napari_mri7t.engine.evaluation.robustness import LesionResult, RobustnessPoint
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.report import sections as report_sections
from napari_mri7t.engine.report import tables as study_tables
from napari_mri7t.engine.report.page import Section, render_page
from napari_mri7t.engine.report.sections import SubjectDrawings, draw_subject
from napari_mri7t.engine.report.table import Table, as_csv, as_latex, as_markdown, number
from napari_mri7t.engine.report.tables import best_places, heading, tests_table
from napari_mri7t.engine.volumes.volume import Volume

REPORT_FILE = "report.html"
TABLES_FOLDER, FIGURES_FOLDER = "tables", "figures"
FORMATS = {"csv": as_csv, "md": as_markdown, "tex": as_latex}
STUDY_FILE = "study.json"  # as `study.STUDY_FILE`; evaluation knows nothing of trainings


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
    gathered = SubjectDrawings()
    for index, subject in enumerate(data.subjects):
        now = ReportProgress(index, total, subject.name)
        yield now
        steps = draw_subject(subject.name, subject.load(), gathered, drawings)
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


def metric_table(results: Sequence[SubjectResult]) -> Table:
    """Set all metrics of one subject, a row per metric, a column per method.

    Parameters
    ----------
    results : sequence of SubjectResult
        Of one subject.

    Returns
    -------
    Table
        The best value of each row in bold, where there are several methods.
    """
    methods = ordered_methods(results)
    by_method = {result.method: result.metrics for result in results}
    rows, strong = [], set()
    for line, (key, metric) in enumerate(METRICS.items()):
        values = np.array([by_method[method][key] for method in methods])
        rows.append((heading(metric), *(number(value, metric.digits) for value in values)))
        if len(methods) > 1:
            strong |= {(line, column + 1) for column in best_places(values, metric)}
    header = ("Metric", *(label_of(method) for method in methods))
    note = "" if len(methods) == 1 else "The best value of each row in bold."
    return Table("All metrics", header, tuple(rows), frozenset(strong), note)


@dataclass(frozen=True, eq=False)
class PairVolumes:
    """The volumes of one subject, on one grid.

    Parameters
    ----------
    by_method : mapping of str to Volume
        "source" (may be missing), the estimates by their names and "target".
    mask : Volume or None
        The brain, above 0; by default what lies above 0 in the target.
    data_range : float
        Span that intensities can take; above 0.
    """

    by_method: Mapping[str, Volume]
    mask: Volume | None
    data_range: float

    def prepared(self) -> dict[str, Volume]:
        """Give the volumes in [0, 1], as pictures need them; within the mask if there is one."""
        brain = 1.0 if self.mask is None else self.mask.array > 0
        return {
            method: volume.with_array(volume.array / np.float32(self.data_range) * brain)
            for method, volume in self.by_method.items()
        }


def write_pair_report(
    subject: str,
    facts: Sequence[tuple[str, str]],
    results: Sequence[SubjectResult],
    volumes: PairVolumes,
    folder: Path,
) -> Generator[str, None, Path]:
    """Write table, figures and one HTML page of a single subject.

    Parameters
    ----------
    subject : str
    facts : sequence of (str, str)
        What was compared, in words.
    results : sequence of SubjectResult
        A result per method, all of `subject`.
    volumes : PairVolumes
    folder : Path
        Gets `report.html` and the folders "tables" and "figures"; made if missing.

    Yields
    ------
    str
        What is being made.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StateError
        If the folder is that of a study, or has a report already.
    """
    taken = [name for name in (STUDY_FILE, REPORT_FILE) if (folder / name).exists()]
    if taken:
        raise StateError(f"{folder}: has a {taken[0]} already; choose another folder")
    drawings, tables = folder / FIGURES_FOLDER, folder / TABLES_FOLDER
    for place in (drawings, tables):
        place.mkdir(parents=True, exist_ok=True)
    table = metric_table(results)
    for suffix, write in FORMATS.items():
        write_content(tables / f"metrics.{suffix}", write(table))
    gathered = SubjectDrawings()
    yield from draw_subject(subject, volumes.prepared(), gathered, drawings)
    yield "page"
    sections = [
        report_sections.facts_section(facts),
        Section("Figures", tables=(table,)),
        Section("Details", pictures=tuple(gathered.details)),
        Section("Error maps", pictures=tuple(gathered.errors)),
        report_sections.agreement_section(gathered, drawings),
    ]
    page = render_page(f"{subject}: estimate and real 7T", sections, gathered.browser)
    return write_content(folder / REPORT_FILE, page)
