"""The report's sections: which tables and plots stand where, and what is said to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_mri7t.engine.evaluation import study_tables
from napari_mri7t.engine.evaluation.figures import overview_figure
from napari_mri7t.engine.evaluation.lesions import LesionResult
from napari_mri7t.engine.evaluation.methods import label_of
from napari_mri7t.engine.evaluation.page import Section
from napari_mri7t.engine.evaluation.paired_tables import tests_table
from napari_mri7t.engine.evaluation.plots import (
    bland_altman_figure,
    box_figure,
    joint_histogram_figure,
    loss_figure,
)
from napari_mri7t.engine.evaluation.report_pictures import TARGET_LABEL, Gathered, keep
from napari_mri7t.engine.evaluation.results import SubjectResult
from napari_mri7t.engine.evaluation.robustness import KINDS, RobustnessPoint, turning_points
from napari_mri7t.engine.evaluation.scoring import METRICS
from napari_mri7t.engine.evaluation.stress_plots import lesion_figure, robustness_figure
from napari_mri7t.engine.evaluation.table import Table

TESTED = ("brain_psnr", "brain_ssim", "brain_hfen", "whole_psnr")  # metrics with paired tests
BY_SUBJECT = ("brain_psnr", "brain_ssim", "whole_psnr")  # metrics shown subject by subject
UNTESTED = "A paired test needs two subjects at least; there is none for fewer."
LEADING = ("brain_psnr", "brain_ssim", "brain_mae", "brain_nrmse")
DETAIL = ("brain_ssim_3d", "brain_hfen", "brain_gradient_error")
TISSUE = ("brain_cnr", "brain_cjv", "brain_anatomy_correlation", "brain_edge_correlation")
BOXES = (
    "Every dot is a held-out subject, joined across methods by a thin line; boxes from quartile to "
    "quartile with the median, whiskers to the extremes."
)
OVERVIEW = "One axial slice of every held-out subject: the input, every network, the real 7T."
BLAND = (
    "Difference from the real 7T against the mean of both, voxels inside the brain. "
    "Lines and numbers: mean difference and limits of agreement (1.96 standard "
    "deviations). A slope would be contrast that is missed."
)
JOINT = "Which intensity of the real 7T became which intensity of the estimate; dashed: perfect."
LOSSES = "Training loss of every fold, running mean over 2 % of the training; grey: as recorded."
HARM = (
    "PSNR in the brain of a held-out subject as the input gets worse, always against the unharmed "
    "7T. Where a curve falls below the dashed one, the network has stopped to help."
)
LESIONS = (
    "Contrast left of spheres put into a held-out brain before the noise, as a share of their "
    "contrast in the 7T target. Every dot is a lesion. What lies below 100 % was taken away."
)


def facts_section(facts: Sequence[tuple[str, str]]) -> Section:
    """Tell what was done.

    Parameters
    ----------
    facts : sequence of (str, str)

    Returns
    -------
    Section
    """
    table = Table("Study", ("What", "Value"), tuple(facts))
    return Section("What was done", tables=(table,))


def table_sections(results: Sequence[SubjectResult]) -> list[Section]:
    """Set the tables, the brain first.

    Parameters
    ----------
    results : sequence of SubjectResult

    Returns
    -------
    list of Section
    """
    following = study_tables.summary_table(results, [k for k in METRICS if k.startswith("whole")])
    brain = (
        "Four fifths of a volume are background, which every method gets right. What a method is "
        "worth shows inside the brain, where the target is above 0. Baselines were tuned on the "
        "training subjects of each fold only."
    )
    chance = (
        "Each network against its input as it is, against the best classical baseline (chosen "
        "with hindsight, in its favour), and against the other networks."
    )
    spread = study_tables.spread_table(results, "brain_psnr")
    tests = [table for key in TESTED if (table := tests_table(results, key)).rows]
    tests[1:] = [replace(table, note="") for table in tests[1:]]  # the note is the same
    each = tuple(study_tables.per_subject_table(results, key) for key in BY_SUBJECT)
    return [
        Section("Results", (), (study_tables.result_table(results),)),
        Section("Inside the brain", (brain,), (*_brain_tables(results), spread)),
        Section("Whole volume, as in the report", (), (study_tables.table_1(results), following)),
        Section("Is it more than chance?", (chance if tests else UNTESTED,), tuple(tests)),
        Section("Every subject", (), each),
    ]


def _brain_tables(results: Sequence[SubjectResult]) -> list[Table]:
    """Set the figures inside the brain as three tables, each narrow enough to be read at once."""
    kinds = {"All methods": LEADING, "Fine detail": DETAIL, "Tissues and errors": TISSUE}
    tables = [(title, study_tables.summary_table(results, keys)) for title, keys in kinds.items()]
    return [replace(table, title=title) for title, table in tables]


def figure_sections(
    results: Sequence[SubjectResult], gathered: Gathered, folder: Path
) -> list[Section]:
    """Draw what concerns all subjects; parts without data are left out.

    Parameters
    ----------
    results : sequence of SubjectResult
    gathered : Gathered
    folder : Path
        For the figures' files; must exist.

    Returns
    -------
    list of Section
    """
    sections = []
    if results:
        boxes = keep(box_figure(results), folder, "boxes", BOXES, "svg")
        sections.append(Section("Box plots", pictures=(boxes,)))
    if gathered.slices:
        rows = overview_figure(gathered.slices, TARGET_LABEL)
        sections += [
            Section("Subjects", pictures=(keep(rows, folder, "overview", OVERVIEW, "png"),)),
            Section("Details", pictures=tuple(gathered.details), folded=True),
            Section("Error maps", pictures=tuple(gathered.errors), folded=True),
            agreement_section(gathered, folder),
        ]
    return sections


def agreement_section(gathered: Gathered, folder: Path) -> Section:
    """Show which intensities the estimates have where the real 7T has which.

    Parameters
    ----------
    gathered : Gathered
    folder : Path
        For the figures' files; must exist.

    Returns
    -------
    Section
    """
    samples = {
        label: (np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts]))
        for label, parts in gathered.samples.items()
    }
    agreement = (
        keep(bland_altman_figure(samples), folder, "bland-altman", BLAND, "svg"),
        keep(joint_histogram_figure(samples), folder, "joint-histogram", JOINT, "svg"),
    )
    return Section("Agreement of intensities", pictures=agreement)


def training_section(
    histories: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]], folder: Path
) -> Section:
    """Show how the losses fell.

    Parameters
    ----------
    histories : mapping of str to sequence of (fold, steps, losses)
    folder : Path

    Returns
    -------
    Section
    """
    losses = keep(loss_figure(histories), folder, "losses", LOSSES, "svg")
    return Section("Training", pictures=(losses,))


def robustness_section(points: Mapping[str, Sequence[RobustnessPoint]], folder: Path) -> Section:
    """Show where networks stop to help.

    Parameters
    ----------
    points : mapping of str to sequence of RobustnessPoint
    folder : Path

    Returns
    -------
    Section
    """
    shown = keep(robustness_figure(points), folder, "robustness", HARM, "svg")
    texts = tuple(
        f"{label_of(network)}, {meaning}: {_in_words(turning_points(found, kind))}."
        for network, found in points.items()
        for kind, meaning in KINDS.items()
        if any(point.kind == kind for point in found)
    )
    return Section("Noise and shift", texts, pictures=(shown,))


def lesion_section(results: Mapping[str, Sequence[LesionResult]], folder: Path) -> Section:
    """Show what networks leave of lesions.

    Parameters
    ----------
    results : mapping of str to sequence of LesionResult
    folder : Path

    Returns
    -------
    Section
    """
    shown = keep(lesion_figure(results), folder, "lesions", LESIONS, "svg")
    return Section("Lesions", pictures=(shown,))


def _in_words(turns: Sequence[tuple[float, bool]]) -> str:
    """Say from where to where a network helps."""
    (lowest, helps), *others = turns
    words = [f"{'helps' if helps else 'does not help'} at {lowest:g}"]
    words += [f"{'helps' if helps else 'no longer helps'} beyond {at:.3g}" for at, helps in others]
    return ", ".join(words) + ("" if others else ", and so at every level measured")
