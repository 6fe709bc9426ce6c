"""Background work of the widget "Evaluate", including the import of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.volumes.provenance import describe_versions
from napari_mri7t.widgets.layers.layers import layer_to_volume
from napari_mri7t.widgets.layers.masks import brain_of
from napari_mri7t.widgets.shared.job_panel import duration

if TYPE_CHECKING:
    from napari_mri7t.engine.evaluation.results import StudyResults
    from napari_mri7t.engine.report.report import PairVolumes
    from napari_mri7t.engine.report.tables import Table
    from napari_mri7t.engine.volumes.volume import Volume

BOX_KEYS = ("brain_psnr", "brain_ssim", "whole_psnr")
SUMMARY_KEYS = ("brain_psnr", "brain_ssim")
PICTURE_WIDTH_INCH, PICTURE_DPI = 3.3, 160  # of the box plots: twice the pixels of the widget


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What the widget shows.

    `n_subjects`: of the run, those without an estimate included. Two layers have no run folder and
    no box plot, but `volumes` (those scored) and `facts` about them for the head of a report.
    """

    run: Path | None
    results: StudyResults
    summary: Table
    boxes: np.ndarray | None  # uint8, shape (height, width, 3), on white
    n_subjects: int
    warnings: tuple[str, ...] = ()
    volumes: PairVolumes | None = None
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class LayersToScore:
    """A reference, the volume to score, and how; the 3T itself is scored too if it is there."""

    reference: Layer
    estimate: Layer
    source: Layer | None
    mask: Layer | None
    data_range: float | None  # None: what the reference has


def time_of(n_voxels: int) -> tuple[int, str]:
    """Return how long layers of so many voxels take, by scoring a part of a brain."""
    from napari_mri7t.engine.metrics.pace import seconds_per_voxel

    seconds = n_voxels * seconds_per_voxel()
    return n_voxels, f"{duration(seconds).capitalize()}, timed on a part of a brain."


def evaluate_run(run: Path, with_baselines: bool, report: Report) -> Evaluation:
    """Score every held-out estimate of a run folder; earlier results are reused."""
    report(Progress(0, 0, "loading torch"))
    from napari_mri7t.engine.report.tables import summary_table
    from napari_mri7t.engine.workflows.studies import open_studies

    report(Progress(0, 0, "reading the run folder"))
    baselines = None if with_baselines else {}
    studies = open_studies(run)
    results = studies.evaluate(baselines=baselines, report=report)
    report(Progress(0, 0, "drawing"))
    summary, n_subjects = summary_table(results, SUMMARY_KEYS), len(studies.first.subjects)
    return Evaluation(run, results, summary, box_picture(results), n_subjects)


def evaluate_layers(asked: LayersToScore, report: Report) -> Evaluation:
    """Score the estimate, and the 3T if it is given, with every metric of the engine."""
    report(Progress(0, 0, "loading torch"))
    from napari_mri7t.engine.evaluation.results import (
        SOURCE,
        TARGET,
        StudyResults,
        SubjectResult,
        name_of_layer,
    )
    from napari_mri7t.engine.metrics.inspection import (
        find_data_range,
        range_complaint,
        reference_doubts,
    )
    from napari_mri7t.engine.metrics.scoring import flatten, score
    from napari_mri7t.engine.report.report import PairVolumes
    from napari_mri7t.engine.report.tables import summary_table

    real = layer_to_volume(asked.reference)
    mask = brain_of(real, asked.reference, asked.mask)
    span, how = find_data_range(real, asked.data_range)
    found, volumes = [], {TARGET: real}
    complaints = [f"{text[:1].upper()}{text[1:]}." for text in reference_doubts(real, mask)]
    estimate = name_of_layer(asked.estimate.name)
    for method, layer in ((SOURCE, asked.source), (estimate, asked.estimate)):
        if layer is None:
            continue
        scored = layer_to_volume(layer)
        complaint = range_complaint(real, scored, asked.data_range)
        if complaint is not None:
            complaints.append(f"{layer.name}: {complaint}.")
        own = _named(report, layer.name)
        scores = score(real, scored, mask=mask, data_range=span, report=own)
        found.append(SubjectResult(asked.reference.name, method, flatten(scores)))
        volumes[method] = scored
    results = StudyResults(tuple(found))
    summary = summary_table(results, SUMMARY_KEYS)
    pair = PairVolumes(volumes, mask, span)
    facts = _facts(asked, f"{span:g}, {how}", complaints)
    return Evaluation(None, results, summary, None, 1, tuple(complaints), pair, facts)


def _named(report: Report, name: str) -> Report:
    """Return a report whose messages begin with a name."""
    return lambda now: report(replace(now, message=f"{name}: {now.message}"))


def _facts(asked: LayersToScore, span: str, complaints: list[str]) -> tuple[tuple[str, str], ...]:
    """Return what is compared, for the head of a report."""
    mask = asked.mask
    return (
        ("Real 7T", asked.reference.name),
        ("Estimate", asked.estimate.name),
        ("3T", "none" if asked.source is None else asked.source.name),
        ("Brain", "real 7T without its background" if mask is None else f"{mask.name} above 0"),
        ("Data range", f"{span}; figures and plots are scaled by it"),
        *(("Warning", text) for text in complaints),
        ("Versions", describe_versions()),
    )


def box_picture(results: StudyResults) -> np.ndarray:
    """Draw the box plots as a narrow image: uint8, shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from napari_mri7t.engine.report.plots import box_figure

    figure = box_figure(results, BOX_KEYS, n_columns=1)
    for panel in figure.axes:
        panel.xaxis.get_major_locator().set_params(nbins=5, prune="both")  # ends would be cut off
    figure.set_size_inches(PICTURE_WIDTH_INCH, figure.get_size_inches()[1])
    figure.set_dpi(PICTURE_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def on_background(
    picture: np.ndarray, background: tuple[int, int, int], is_dark: bool
) -> np.ndarray:
    """Replace the white of a picture by a background; invert lightness, not hue, on a dark one.

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


def report_run(run: Path, results: StudyResults, report: Report) -> Path:
    """Write tables, figures and the HTML page into the run folder."""
    report(Progress(0, 0, "reading the run folder"))
    from napari_mri7t.engine.workflows.studies import open_studies

    return open_studies(run).write_report(results, report=report)


def report_pair(evaluation: Evaluation, folder: Path, report: Report) -> Path:
    """Write table, figures and the HTML page of two layers into a folder."""
    report(Progress(0, 0, "loading matplotlib"))
    from napari_mri7t.engine.report.report import write_pair_report

    facts, results, volumes = evaluation.facts, evaluation.results, evaluation.volumes
    return write_pair_report(facts, results, volumes, folder, report=report)


def load_subject(run: Path, subject: str) -> tuple[str, Mapping[str, Volume]]:
    """Load 3T, every network's estimate and 7T of one held-out subject, by their names."""
    from napari_mri7t.engine.evaluation.results import TARGET, label_of
    from napari_mri7t.engine.workflows.studies import open_studies

    volumes = open_studies(run).load_subject(subject)
    labels = {TARGET: "7T"}
    named = {labels.get(method, label_of(method)): volume for method, volume in volumes.items()}
    return subject, named


def save_tables(results: StudyResults, folder: Path) -> Path:
    """Write every table as CSV, Markdown and LaTeX; no file there is replaced."""
    from napari_mri7t.engine.report.report import write_tables

    write_tables(results, folder, overwrite=False)
    return folder
