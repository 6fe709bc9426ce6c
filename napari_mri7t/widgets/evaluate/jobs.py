"""What the widget "Evaluate" has done away from Qt's thread, torch's import included."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_mri7t import __version__
from napari_mri7t.engine.progress import with_records
from napari_mri7t.widgets.layers.layers import layer_to_volume
from napari_mri7t.widgets.layers.masks import brain_of
from napari_mri7t.widgets.shared.worker import Step

if TYPE_CHECKING:
    from napari_mri7t.engine.evaluation.results import SubjectResult
    from napari_mri7t.engine.report.report import PairVolumes
    from napari_mri7t.engine.report.table import Table
    from napari_mri7t.engine.volumes.volume import Volume

BOX_KEYS = ("brain_psnr", "brain_ssim", "whole_psnr")
SUMMARY_KEYS = ("brain_psnr", "brain_ssim")
PICTURE_WIDTH_INCH, PICTURE_DPI = 3.3, 160  # of the box plots: twice the pixels of the widget


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What the widget shows: of two layers there is no run folder, and no box plot.

    `volumes` are those that were scored, and `facts` say what they are; of a run folder there are
    none.
    """

    run: Path | None
    results: list[SubjectResult]
    summary: Table
    boxes: np.ndarray | None  # uint8, shape (height, width, 3), on white
    warnings: tuple[str, ...] = ()
    volumes: PairVolumes | None = None
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class LayersToScore:
    """An estimate, what it is held against, and how; the 3T itself is scored too if it is there."""

    reference: Layer
    estimate: Layer
    source: Layer | None
    mask: Layer | None
    data_range: float


def evaluation_steps(run: Path, with_baselines: bool) -> Generator[Any, None, Evaluation]:
    """Score every held-out estimate of a run folder; what is known already is only read."""
    yield Step(0, 0, "Loading torch")
    from napari_mri7t.engine.evaluation.evaluate import evaluate
    from napari_mri7t.engine.report.tables import summary_table
    from napari_mri7t.engine.workflows.studies import (
        RESULTS_FOLDER,
        cases_of,
        open_studies,
        pairs_of,
    )

    yield Step(0, 0, "Reading the run folder")
    outcome = open_studies(run)
    baselines = None if with_baselines else {}
    folder = run / RESULTS_FOLDER
    results: list[SubjectResult] = yield from evaluate(
        pairs_of(outcome), cases_of(outcome), folder, baselines=baselines
    )
    yield Step(0, 0, "Drawing")
    return Evaluation(run, results, summary_table(results, SUMMARY_KEYS), box_picture(results))


def layer_steps(asked: LayersToScore) -> Generator[Any, None, Evaluation]:
    """Score the estimate, and the 3T if it is given, with every metric of the engine."""
    yield Step(0, 0, "Loading torch")
    from napari_mri7t.engine.evaluation.results import SOURCE, SubjectResult
    from napari_mri7t.engine.metrics.inspection import range_complaint
    from napari_mri7t.engine.metrics.scoring import flatten, score_steps
    from napari_mri7t.engine.report.report import PairVolumes
    from napari_mri7t.engine.report.sections import TARGET
    from napari_mri7t.engine.report.tables import summary_table

    real = layer_to_volume(asked.reference)
    mask = brain_of(real, asked.reference, asked.mask)
    results, complaints, volumes = [], [], {TARGET: real}
    for method, layer in ((SOURCE, asked.source), (asked.estimate.name, asked.estimate)):
        if layer is None:
            continue
        scored = layer_to_volume(layer)
        complaint = range_complaint(real, scored, asked.data_range)
        if complaint is not None:
            complaints.append(f"{layer.name}: {complaint}.")
        scores = yield from with_records(
            score_steps(real, scored, mask=mask, data_range=asked.data_range),
            partial(_part_of, layer.name),
        )
        results.append(SubjectResult(asked.reference.name, method, flatten(scores)))
        volumes[method] = scored
    summary = summary_table(results, SUMMARY_KEYS)
    pair = PairVolumes(volumes, mask, asked.data_range)
    facts = _facts(asked, complaints)
    return Evaluation(None, results, summary, None, tuple(complaints), pair, facts)


def _facts(asked: LayersToScore, complaints: list[str]) -> tuple[tuple[str, str], ...]:
    """Say what is compared, for the head of a report."""
    from napari_mri7t.engine.volumes.provenance import versions

    mask = asked.mask
    found = ", ".join(f"{name} {number}" for name, number in versions().items())
    return (
        ("Real 7T", asked.reference.name),
        ("Estimate", asked.estimate.name),
        ("3T", "none" if asked.source is None else asked.source.name),
        ("Brain", "above 0 in the real 7T" if mask is None else f"{mask.name}: all that is shown"),
        ("Data range", f"{asked.data_range:g}; pictures and plots are divided by it"),
        *(("Warning", text) for text in complaints),
        ("Versions", f"napari-mri7t {__version__}, {found}"),
    )


def _part_of(name: str, part: str) -> Step:
    return Step(0, 0, f"{name}: {part}")


def box_picture(results: list[SubjectResult]) -> np.ndarray:
    """Draw the box plots as a narrow picture: uint8, shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from napari_mri7t.engine.report.plots import box_figure

    figure = box_figure(results, BOX_KEYS, n_columns=1)
    figure.set_size_inches(PICTURE_WIDTH_INCH, figure.get_size_inches()[1])
    figure.set_dpi(PICTURE_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def on_background(
    picture: np.ndarray, background: tuple[int, int, int], is_dark: bool
) -> np.ndarray:
    """Let the paper of a picture be the background; on a dark one dark is light, in the same hue.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        On white.
    background : tuple of int
        Red, green, blue; 0 to 255.
    is_dark : bool

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    colours, paper = picture / 255, np.asarray(background) / 255
    if not is_dark:
        return np.rint(255 * colours * paper).astype(np.uint8)
    colours += 1 - colours.max(-1, keepdims=True) - colours.min(-1, keepdims=True)
    return np.rint(255 * (paper + (1 - paper) * colours)).astype(np.uint8)


def report_steps(evaluation: Evaluation) -> Generator[Any, None, Path]:
    """Write tables, figures and the HTML page into the run folder."""
    yield Step(0, 0, "Reading the run folder")
    from napari_mri7t.engine.report.report import REPORT_FILE, ReportData, write_report
    from napari_mri7t.engine.workflows.studies import (
        RESULTS_FOLDER,
        facts_of,
        histories_of,
        open_studies,
        report_subjects,
    )

    outcome = open_studies(evaluation.run)
    data = ReportData(
        title=f"7T-like brains from 3T: {evaluation.run.resolve().name}",
        facts=facts_of(outcome),
        results=evaluation.results,
        subjects=report_subjects(outcome),
        histories=histories_of(outcome),
    )
    page = evaluation.run / REPORT_FILE
    return (yield from write_report(data, evaluation.run / RESULTS_FOLDER, page))


def pair_report_steps(evaluation: Evaluation, folder: Path) -> Generator[Any, None, Path]:
    """Write table, figures and the HTML page of two layers into a folder."""
    yield Step(0, 0, "Loading matplotlib")
    from napari_mri7t.engine.report.report import write_pair_report

    subject = evaluation.results[0].subject
    steps = write_pair_report(
        subject, evaluation.facts, evaluation.results, evaluation.volumes, folder
    )
    return (yield from with_records(steps, partial(_part_of, subject)))


def load_subject(run: Path, subject: str) -> Mapping[str, Volume]:
    """Load 3T, every network's estimate and 7T of one held-out subject, by their names."""
    from napari_mri7t.engine.evaluation.results import label_of
    from napari_mri7t.engine.report.sections import TARGET
    from napari_mri7t.engine.workflows import studies

    volumes = studies.load_subject(studies.open_studies(run), subject)
    labels = {TARGET: "7T"}
    return {labels.get(method, label_of(method)): volume for method, volume in volumes.items()}


def tables_as_files(evaluation: Evaluation, folder: Path) -> Path:
    """Write every table as CSV, Markdown and LaTeX."""
    from napari_mri7t.engine.report.report import write_tables

    write_tables(evaluation.results, folder)
    return folder
