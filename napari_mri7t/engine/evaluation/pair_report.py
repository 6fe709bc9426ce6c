"""The report of one estimate against one real 7T volume: no study, no statistics over subjects."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.evaluation import report_sections
from napari_mri7t.engine.evaluation.methods import label_of, ordered_methods
from napari_mri7t.engine.evaluation.page import Section, render_page
from napari_mri7t.engine.evaluation.report import (
    FIGURES_FOLDER,
    FORMATS,
    REPORT_FILE,
    TABLES_FOLDER,
)
from napari_mri7t.engine.evaluation.report_pictures import Gathered, gather
from napari_mri7t.engine.evaluation.results import SubjectResult, write_content
from napari_mri7t.engine.evaluation.scoring import METRICS
from napari_mri7t.engine.evaluation.study_tables import best_places, heading
from napari_mri7t.engine.evaluation.table import Table, number
from napari_mri7t.engine.volume import Volume

STUDY_FILE = "study.json"  # as `study.STUDY_FILE`; evaluation knows nothing of trainings


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
    gathered = Gathered()
    yield from gather(subject, volumes.prepared(), gathered, drawings)
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
