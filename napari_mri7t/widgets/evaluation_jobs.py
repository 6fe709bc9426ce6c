"""What the widget "Evaluate" has done away from Qt's thread, torch's import included."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.widgets.worker import Step

if TYPE_CHECKING:
    from napari_mri7t.engine.evaluation.results import SubjectResult
    from napari_mri7t.engine.evaluation.table import Table
    from napari_mri7t.engine.volume import Volume

BOX_KEYS = ("brain_psnr", "brain_ssim", "whole_psnr")
SUMMARY_KEYS = ("brain_psnr", "brain_ssim")
PICTURE_WIDTH_INCH, PICTURE_DPI = 3.3, 160  # of the box plots: twice the pixels of the widget


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What the widget shows of a run folder."""

    run: Path
    results: list[SubjectResult]
    summary: Table
    boxes: bytes


def evaluation_steps(run: Path, with_baselines: bool) -> Generator[Any, None, Evaluation]:
    """Score every held-out estimate of a run folder; what is known already is only read."""
    yield Step(0, 0, "Loading torch")
    from napari_mri7t.engine.evaluation.evaluate import evaluate
    from napari_mri7t.engine.evaluation.study_tables import summary_table
    from napari_mri7t.engine.training.outcome import (
        RESULTS_FOLDER,
        cases_of,
        open_outcome,
        pairs_of,
    )

    yield Step(0, 0, "Reading the run folder")
    outcome = open_outcome(run)
    baselines = None if with_baselines else {}
    folder = run / RESULTS_FOLDER
    results: list[SubjectResult] = yield from evaluate(
        pairs_of(outcome), cases_of(outcome), folder, baselines=baselines
    )
    yield Step(0, 0, "Drawing")
    return Evaluation(run, results, summary_table(results, SUMMARY_KEYS), box_picture(results))


def box_picture(results: list[SubjectResult]) -> bytes:
    """Draw the box plots as a narrow PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from napari_mri7t.engine.evaluation.plots import box_figure

    figure = box_figure(results, BOX_KEYS, n_columns=1)
    figure.set_size_inches(PICTURE_WIDTH_INCH, figure.get_size_inches()[1])
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=PICTURE_DPI)
    return content.getvalue()


def report_steps(evaluation: Evaluation) -> Generator[Any, None, Path]:
    """Write tables, figures and the HTML page into the run folder."""
    yield Step(0, 0, "Reading the run folder")
    from napari_mri7t.engine.evaluation.report import REPORT_FILE, ReportData, write_report
    from napari_mri7t.engine.training.outcome import (
        RESULTS_FOLDER,
        histories_of,
        open_outcome,
        report_subjects,
    )
    from napari_mri7t.engine.training.outcome_facts import facts_of

    outcome = open_outcome(evaluation.run)
    data = ReportData(
        title=f"7T-like brains from 3T: {evaluation.run.resolve().name}",
        facts=facts_of(outcome),
        results=evaluation.results,
        subjects=report_subjects(outcome),
        histories=histories_of(outcome),
    )
    page = evaluation.run / REPORT_FILE
    return (yield from write_report(data, evaluation.run / RESULTS_FOLDER, page))


def load_subject(run: Path, subject: str) -> Mapping[str, Volume]:
    """Load 3T, every network's estimate and 7T of one held-out subject, by their names."""
    from napari_mri7t.engine.errors import SubjectError
    from napari_mri7t.engine.evaluation.methods import label_of
    from napari_mri7t.engine.evaluation.report_pictures import TARGET
    from napari_mri7t.engine.training.outcome import open_outcome, report_subjects

    for known in report_subjects(open_outcome(run)):
        if known.name == subject:
            labels = {TARGET: "7T"}
            return {labels.get(k, label_of(k)): volume for k, volume in known.load().items()}
    raise SubjectError(f"{subject}: not every study has its estimate yet")


def tables_as_files(evaluation: Evaluation, folder: Path) -> Path:
    """Write every table as CSV, Markdown and LaTeX."""
    from napari_mri7t.engine.evaluation.report import write_tables

    write_tables(evaluation.results, folder)
    return folder
