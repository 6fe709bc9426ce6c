"""Write the report of a study, or of one estimate: tables and figures as files, one HTML page.

The content of a report (`ReportData`, `PairVolumes`) and the order in which its parts are written;
their content comes from `tables`, `figures`, `plots` and `sections`, the page from `page`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import check_folder, check_target, write_content
from napari_mri7t.engine.errors import Mri7tError, StateError, reason_of
from napari_mri7t.engine.evaluation.results import STUDY_FILE, StudyResults
from napari_mri7t.engine.evaluation.stress import Stress
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.regular import open_regular
from napari_mri7t.engine.report import sections as report_sections
from napari_mri7t.engine.report import tables as report_tables
from napari_mri7t.engine.report.page import Section, render_page
from napari_mri7t.engine.report.sections import N_PLOTS, SubjectDrawings, draw_subject
from napari_mri7t.engine.report.tables import Table, as_csv, as_latex, as_markdown
from napari_mri7t.engine.volumes.scale import Scale, find_scale
from napari_mri7t.engine.volumes.volume import Volume

REPORT_FILE = "report.html"
OWN_PAGE = b'http-equiv="Content-Security-Policy"'  # near the start of every page that we write
TABLES_FOLDER, FIGURES_FOLDER = "tables", "figures"
FORMATS = {"csv": as_csv, "md": as_markdown, "tex": as_latex}


@dataclass(frozen=True)
class ReportSubject:
    """One held-out subject.

    Parameters
    ----------
    name : str
    load : callable
        Returns "source", the networks' estimates by name, and "target", on one grid, in [0, 1].
    """

    name: str
    load: Callable[[], Mapping[str, Volume]]


@dataclass(frozen=True)
class ReportData:
    """Content of a study's report.

    Parameters
    ----------
    title : str
    facts : sequence of (str, str)
        Data, settings, seeds, versions.
    results : StudyResults
    subjects : sequence of ReportSubject
    histories : mapping of str to sequence of (fold, steps, losses)
        Network to loss curves.
    stress : mapping of str to Stress
        Network to robustness and lesions.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    results: StudyResults
    subjects: Sequence[ReportSubject]
    histories: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]] = field(
        default_factory=dict
    )
    stress: Mapping[str, Stress] = field(default_factory=dict)


def check_page(page: Path) -> None:
    """Check that a page can be written, and that it replaces no file but a page of this package.

    Raises
    ------
    Mri7tError
        If its folder is missing or cannot be written into, or the file is anything else.
    """
    check_folder(check_target(page, overwrite=True).parent)
    if not page.exists():
        return
    try:
        with open_regular(page) as file:
            is_own = OWN_PAGE in file.read(len(OWN_PAGE) * 10)
    except OSError as error:
        raise Mri7tError(
            f"{page}: cannot be replaced ({reason_of(error)}): choose another name"
        ) from error
    if not is_own:
        raise Mri7tError(f"{page}: is no page of this program: choose another name")


def write_report(data: ReportData, folder: Path, page: Path, *, report: Report = ignore) -> Path:
    """Write tables, figures and the page of a study.

    Parameters
    ----------
    data : ReportData
    folder : Path
        Gets the folders "tables" and "figures"; made if missing.
    page : Path
        The HTML file, replaced whole or not at all; one that is no such page is refused.
    report : callable
        Called with the number of subjects drawn, of all and two more (plots and page).

    Returns
    -------
    Path
        The page.
    """
    check_page(page)
    total = len(data.subjects) + 2
    report(Progress(0, total, "tables"))
    drawings = folder / FIGURES_FOLDER
    drawings.mkdir(parents=True, exist_ok=True)
    write_tables(data.results, folder / TABLES_FOLDER)
    drawn = SubjectDrawings()
    for done, subject in enumerate(data.subjects):
        report(Progress(done, total, subject.name))
        here = part(report, done, total, subject.name)
        draw_subject(subject.name, subject.load(), drawn, drawings, report=here)
    plots = part(report, total - 2, total)
    plots(Progress(0, N_PLOTS, "tables"))
    sections = [
        report_sections.facts_section(data.facts),
        *report_sections.table_sections(data.results),
        *report_sections.figure_sections(data.results, drawn, drawings, report=plots),
    ]
    plots(Progress(N_PLOTS - 2, N_PLOTS, "plot of the training"))
    if data.histories:
        sections.append(report_sections.training_section(data.histories, drawings))
    plots(Progress(N_PLOTS - 1, N_PLOTS, "plots of robustness and lesions"))
    sections += report_sections.stress_sections(data.stress, drawings)
    report(Progress(total - 1, total, "page"))
    written = write_content(page, render_page(data.title, sections, drawn.browser))
    report(Progress(total, total, "report written"))
    return written


def write_tables(
    results: StudyResults, folder: Path, *, overwrite: bool = True
) -> dict[str, Table]:
    """Write all tables of a study as CSV, Markdown and LaTeX, in place of an earlier evaluation's.

    Parameters
    ----------
    results : StudyResults
    folder : Path
        Made if missing.
    overwrite : bool
        False refuses existing files before the first is written.

    Returns
    -------
    dict
        File stem to table.

    Raises
    ------
    Mri7tError
        If a file cannot be written.
    """
    tables = {
        "results": report_tables.result_table(results),
        **({"table-1": report_tables.table_1(results)} if results.is_of_report else {}),
        "summary": report_tables.summary_table(results),
        "subjects": report_tables.subject_table(results),
        **{f"spread-{key}": report_tables.spread_table(results, key) for key in METRICS},
    }
    tests = {f"tests-{key}": report_tables.tests_table(results, key) for key in METRICS}
    tables |= {stem: table for stem, table in tests.items() if table.rows}
    _write_tables(tables, folder, overwrite=overwrite)
    if overwrite:
        _remove_tables({"table-1", *tests} - tables.keys(), folder)
    return tables


def _write_tables(tables: Mapping[str, Table], folder: Path, *, overwrite: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, suffix in itertools.product(tables, FORMATS):
        check_target(folder / f"{stem}.{suffix}", overwrite=overwrite)
    for stem, table in tables.items():
        for suffix, write in FORMATS.items():
            write_content(folder / f"{stem}.{suffix}", write(table))


def _remove_tables(stems: Iterable[str], folder: Path) -> None:
    """Remove what an earlier evaluation wrote and this one has no numbers for."""
    for stem, suffix in itertools.product(stems, FORMATS):
        (folder / f"{stem}.{suffix}").unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class PairVolumes:
    """Volumes of one subject, on one grid.

    Parameters
    ----------
    by_method : mapping of str to Volume
        "source" (may be missing), the estimates by their names and "target".
    mask : Volume or None
        The brain, above 0; by default the target without its background.
    data_range : float
        Span that intensities can take; above 0.
    """

    by_method: Mapping[str, Volume]
    mask: Volume | None
    data_range: float

    def normalized(self) -> dict[str, Volume]:
        """Return the volumes in [0, 1], background 0, within the mask if there is one."""
        brain = 1.0 if self.mask is None else self.mask.array > 0
        target = self.by_method["target"]
        scale = find_scale(target) if target.array.min() < 0 else Scale()
        return {
            method: volume.with_array(
                scale.to_zero(volume.array) / np.float32(self.data_range) * brain
            )
            for method, volume in self.by_method.items()
        }


def write_pair_report(
    facts: Sequence[tuple[str, str]],
    results: StudyResults,
    volumes: PairVolumes,
    folder: Path,
    *,
    report: Report = ignore,
) -> Path:
    """Write table, figures and page of a single subject, without statistics over subjects.

    Parameters
    ----------
    facts : sequence of (str, str)
        What is compared.
    results : StudyResults
        One result per method, all of the subject.
    volumes : PairVolumes
    folder : Path
        Gets `report.html` and the folders "tables" and "figures"; made if missing.
    report : callable
        Called before each part.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StateError
        If the folder is a study's run folder, or has a report, tables or figures already.
    """
    names = (STUDY_FILE, REPORT_FILE, TABLES_FOLDER, FIGURES_FOLDER)
    taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise StateError(f"{folder}: already has {taken[0]}; choose another folder")
    (subject,) = results.subjects
    drawings = folder / FIGURES_FOLDER
    drawings.mkdir(parents=True, exist_ok=True)
    table = report_tables.metric_table(results)
    _write_tables({"metrics": table}, folder / TABLES_FOLDER)
    drawn = SubjectDrawings()
    draw_subject(subject, volumes.normalized(), drawn, drawings, report=part(report, 0, 2))
    report(Progress(1, 2, "agreement of intensities and page"))
    sections = [
        report_sections.facts_section(facts),
        Section("Figures", tables=(table,)),
        Section("Details", pictures=tuple(drawn.details)),
        Section("Error maps", pictures=tuple(drawn.errors)),
        report_sections.agreement_section(drawn, drawings),
    ]
    page = render_page(f"{subject}: estimate and real 7T", sections, drawn.browser)
    written = write_content(folder / REPORT_FILE, page)
    report(Progress(2, 2, "report written"))
    return written
