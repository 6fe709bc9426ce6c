"""The report's sections: which tables and plots stand where, and what is said to them.

The report's pictures of single subjects, and what is kept of their volumes for later plots.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.evaluation.results import SOURCE, SubjectResult, file_name, label_of
from napari_mri7t.engine.evaluation.robustness import (
    KINDS,
    LesionResult,
    RobustnessPoint,
    turning_points,
)
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.report import tables as study_tables
from napari_mri7t.engine.report.figures import (
    error_figure,
    overview_figure,
    report_slice,
    slice_figure,
)
from napari_mri7t.engine.report.page import Picture, Section, SubjectSlices, browse, picture
from napari_mri7t.engine.report.plots import (
    bland_altman_figure,
    box_figure,
    joint_histogram_figure,
    loss_figure,
)
from napari_mri7t.engine.report.stress_plots import lesion_figure, robustness_figure
from napari_mri7t.engine.report.style import figure_bytes
from napari_mri7t.engine.report.table import Table
from napari_mri7t.engine.report.tables import tests_table
from napari_mri7t.engine.volumes.volume import Volume

TARGET = "target"
TARGET_LABEL = "7T"
N_SAMPLES = 20_000  # voxels of each subject in the plots of agreement
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


@dataclass
class SubjectDrawings:
    """What stays of the subjects' volumes once they are out of memory again.

    Parameters
    ----------
    slices : dict
        Subject to label to the report's slice.
    samples : dict
        Label to (target, estimate) intensities of every subject.
    browser : list of SubjectSlices
    details, errors : list of Picture
    """

    slices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    samples: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    browser: list[SubjectSlices] = field(default_factory=list)
    details: list[Picture] = field(default_factory=list)
    errors: list[Picture] = field(default_factory=list)


def draw_subject(
    name: str, volumes: Mapping[str, Volume], gathered: SubjectDrawings, folder: Path
) -> Generator[str, None, None]:
    """Draw one subject's pictures, and keep what the plots of all subjects need.

    Parameters
    ----------
    name : str
        The subject.
    volumes : mapping of str to Volume
        "source" (may be missing), the networks' estimates and "target", in [0, 1].
    gathered : SubjectDrawings
        Grows by the subject.
    folder : Path
        For the figures' files; must exist.

    Yields
    ------
    str
        What is being drawn.
    """
    first = [SOURCE] if SOURCE in volumes else []
    order = [*first, *(m for m in volumes if m not in (SOURCE, TARGET)), TARGET]
    arrays = {
        TARGET_LABEL if method == TARGET else label_of(method): volumes[method].array
        for method in order
    }
    target = arrays[TARGET_LABEL]
    k = report_slice(target.shape[2])
    slices = {label: np.array(array[:, :, k]) for label, array in arrays.items()}
    estimates = {label: plane for label, plane in slices.items() if label != TARGET_LABEL}
    title = f"{name}, slice {k}"
    stem = file_name(name).removesuffix(".json")

    yield "details"
    caption = f"{title}: every method, two patches enlarged"
    details = slice_figure(title, slices, TARGET_LABEL)
    gathered.details.append(keep(details, folder, f"slice-{stem}", caption, "png"))
    yield "errors"
    caption = f"{title}: estimate minus 7T, one symmetric scale"
    errors = error_figure(title, slices[TARGET_LABEL], estimates)
    gathered.errors.append(keep(errors, folder, f"errors-{stem}", caption, "png"))
    yield "slice browser"
    networks = tuple(label for label in estimates if label != label_of(SOURCE))
    gathered.browser.append(browse(name, arrays, TARGET_LABEL, networks))
    gathered.slices[name] = slices
    chosen = _choose_voxels(name, target)
    for label in estimates:
        pair = (target.flat[chosen], arrays[label].flat[chosen])
        gathered.samples.setdefault(label, []).append(pair)


def keep(figure: Figure, folder: Path, stem: str, caption: str, shown: str) -> Picture:
    """Write a figure as PNG and SVG, and give one of them to the page.

    Parameters
    ----------
    figure : Figure
    folder : Path
        Must exist.
    stem : str
        Of the files.
    caption : str
    shown : str
        "png" or "svg": SVG for lines, PNG for pictures of brains.

    Returns
    -------
    Picture
    """
    for form in ("png", "svg"):
        content = figure_bytes(figure, form)
        write_content(folder / f"{stem}.{form}", content)
        if form == shown:
            chosen = content
    return picture(chosen, shown, caption)


def _choose_voxels(name: str, target: np.ndarray) -> np.ndarray:
    """Draw voxels of the brain, the same ones for every method and in every run."""
    brain = np.flatnonzero(np.ascontiguousarray(target) > 0)
    seed = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    rng = np.random.default_rng(seed)
    return rng.choice(brain, min(N_SAMPLES, brain.size), replace=False)


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
    results: Sequence[SubjectResult], gathered: SubjectDrawings, folder: Path
) -> list[Section]:
    """Draw what concerns all subjects; parts without data are left out.

    Parameters
    ----------
    results : sequence of SubjectResult
    gathered : SubjectDrawings
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


def agreement_section(gathered: SubjectDrawings, folder: Path) -> Section:
    """Show which intensities the estimates have where the real 7T has which.

    Parameters
    ----------
    gathered : SubjectDrawings
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
