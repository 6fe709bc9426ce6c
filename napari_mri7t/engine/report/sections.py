"""The report's sections: their order, tables, figures and texts.

Subjects are drawn one at a time (`draw_subject`); `SubjectDrawings` holds their pictures, and the
slices and samples that the plots over all subjects need.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.evaluation.results import (
    SOURCE,
    TARGET,
    StudyResults,
    file_name,
    label_of,
)
from napari_mri7t.engine.evaluation.robustness import KINDS, turning_points
from napari_mri7t.engine.evaluation.stress import Stress
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.progress import Progress, Report, ignore
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
    lesion_figure,
    loss_figure,
    robustness_figure,
)
from napari_mri7t.engine.report.style import figure_bytes
from napari_mri7t.engine.report.tables import (
    Table,
    per_subject_table,
    result_table,
    spread_table,
    summary_table,
    table_1,
    tests_table,
)
from napari_mri7t.engine.volumes.volume import Volume

TARGET_LABEL = "7T"
N_SAMPLES = 20_000  # voxels of each subject in the plots of agreement
TESTED = ("brain_psnr", "brain_ssim", "brain_hfen", "whole_psnr")  # metrics with paired tests
BY_SUBJECT = ("brain_psnr", "brain_ssim", "whole_psnr")  # metrics shown subject by subject
N_PLOTS = 5  # box plots, overview, agreement, training, robustness and lesions
LEADING = ("brain_psnr", "brain_ssim", "brain_mae", "brain_nrmse")
DETAIL = ("brain_ssim_3d", "brain_hfen", "brain_gradient_error")
TISSUE = ("brain_cnr", "brain_cjv", "brain_anatomy_correlation", "brain_edge_correlation")
BRAIN_TEXT = (
    "Four fifths of a volume are background, which every method reproduces. The scores inside the "
    "brain, where the target is above 0, are more informative. Baselines are tuned on the "
    "training subjects of each fold only."
)
TESTS_TEXT = (
    "Each network against its unprocessed input, against the best classical baseline (chosen with "
    "hindsight, in its favour), and against the other networks."
)
UNTESTED = "Paired tests need at least two subjects."
BOXES = (
    "Each dot is a held-out subject, joined across methods by a thin line; boxes from quartile to "
    "quartile with the median, whiskers to the extremes."
)
OVERVIEW = "One axial slice of each held-out subject: the input, every network, the real 7T."
BLAND = (
    "Difference from the real 7T against the mean of both, voxels inside the brain. Lines and "
    "numbers: mean difference and limits of agreement (1.96 standard deviations). A slope means "
    "missing contrast."
)
JOINT = "Joint histogram of real 7T and estimate; on the dashed line the estimate is perfect."
LOSSES = "Training loss of each fold, running mean over 2 % of the training; grey: as recorded."
ROBUSTNESS = (
    "Brain PSNR of a held-out subject as its input degrades, always against the original 7T. Where "
    "a curve falls below the dashed line, the network no longer helps."
)
LESIONS = (
    "Contrast retained of spheres added to a held-out brain before the noise, as a share of their "
    "contrast in the 7T target. Each dot is a lesion; below 100 % the network removes contrast."
)


@dataclass
class SubjectDrawings:
    """Pictures of the subjects, and what later plots need of their volumes.

    Parameters
    ----------
    slices : dict
        Subject to label to the report's slice.
    samples : dict
        Label to (target, estimate) intensities of each subject.
    browser : list of SubjectSlices
    details, errors : list of Picture
    """

    slices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    samples: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    browser: list[SubjectSlices] = field(default_factory=list)
    details: list[Picture] = field(default_factory=list)
    errors: list[Picture] = field(default_factory=list)


def draw_subject(
    name: str,
    volumes: Mapping[str, Volume],
    drawn: SubjectDrawings,
    folder: Path,
    *,
    report: Report = ignore,
) -> None:
    """Draw one subject's pictures, and sample it for the plots over all subjects.

    Parameters
    ----------
    name : str
        The subject.
    volumes : mapping of str to Volume
        "source" (may be missing), the networks' estimates and "target", in [0, 1].
    drawn : SubjectDrawings
        The subject is added to it.
    folder : Path
        For the figures' files; must exist.
    report : callable
        Called before each picture.
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

    report(Progress(0, 3, "details"))
    caption = f"{title}: every method, two patches enlarged"
    details = slice_figure(title, slices, TARGET_LABEL)
    drawn.details.append(save_figure(details, folder, f"slice-{stem}", caption, "png"))
    report(Progress(1, 3, "errors"))
    caption = f"{title}: estimate minus 7T, one symmetric scale"
    errors = error_figure(title, slices[TARGET_LABEL], estimates)
    drawn.errors.append(save_figure(errors, folder, f"errors-{stem}", caption, "png"))
    report(Progress(2, 3, "slice browser"))
    networks = tuple(label for label in estimates if label != label_of(SOURCE))
    drawn.browser.append(browse(name, arrays, TARGET_LABEL, networks))
    drawn.slices[name] = slices
    chosen = _choose_voxels(name, target)
    for label in estimates:
        pair = (target.flat[chosen], arrays[label].flat[chosen])
        drawn.samples.setdefault(label, []).append(pair)


def save_figure(figure: Figure, folder: Path, stem: str, caption: str, shown: str) -> Picture:
    """Write a figure as PNG and SVG, and return one of them for the page.

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
    """
    files = {form: figure_bytes(figure, form) for form in ("png", "svg")}
    for form, content in files.items():
        write_content(folder / f"{stem}.{form}", content)
    return picture(files[shown], shown, caption)


def _choose_voxels(name: str, target: np.ndarray) -> np.ndarray:
    """Return random voxels of the brain, the same for every method and in every run."""
    brain = np.flatnonzero(np.ascontiguousarray(target) > 0)
    seed = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    rng = np.random.default_rng(seed)
    return rng.choice(brain, min(N_SAMPLES, brain.size), replace=False)


def facts_section(facts: Sequence[tuple[str, str]]) -> Section:
    """Return the section of data, settings and versions."""
    table = Table("Study", ("Item", "Value"), tuple(facts))
    return Section("Data and settings", tables=(table,))


def table_sections(results: StudyResults) -> list[Section]:
    """Return the sections with tables, the brain first."""
    groups = {"All methods": LEADING, "Fine detail": DETAIL, "Tissues and errors": TISSUE}
    brain = [
        replace(summary_table(results, keys), title=title) for title, keys in groups.items()
    ]  # each narrow enough to be read at once
    whole = summary_table(results, [k for k in METRICS if k.startswith("whole")])
    published = (table_1(results),) if results.is_of_report else ()
    tests = [table for key in TESTED if (table := tests_table(results, key)).rows]
    tests[1:] = [replace(table, note="") for table in tests[1:]]  # the note is the same
    each = tuple(per_subject_table(results, key) for key in BY_SUBJECT)
    return [
        Section("Results", (), (result_table(results),)),
        Section("Inside the brain", (BRAIN_TEXT,), (*brain, spread_table(results, "brain_psnr"))),
        Section("Whole volume", (), (*published, whole)),
        Section("Statistical tests", (TESTS_TEXT if tests else UNTESTED,), tuple(tests)),
        Section("Individual subjects", (), each),
    ]


def figure_sections(
    results: StudyResults, drawn: SubjectDrawings, folder: Path, *, report: Report = ignore
) -> list[Section]:
    """Return the sections with figures of all subjects; those without data are left out.

    Parameters
    ----------
    results : StudyResults
    drawn : SubjectDrawings
    folder : Path
        For the figures' files; must exist.
    report : callable
        Called before each figure, with the number done of the report's `N_PLOTS`.
    """
    sections = []
    report(Progress(0, N_PLOTS, "box plots"))
    if results:
        boxes = save_figure(box_figure(results), folder, "boxes", BOXES, "svg")
        sections.append(Section("Box plots", pictures=(boxes,)))
    report(Progress(1, N_PLOTS, "overview of the subjects"))
    if drawn.slices:
        rows = overview_figure(drawn.slices, TARGET_LABEL)
        overview = save_figure(rows, folder, "overview", OVERVIEW, "png")
        report(Progress(2, N_PLOTS, "agreement of intensities"))
        sections += [
            Section("Subjects", pictures=(overview,)),
            Section("Details", pictures=tuple(drawn.details), folded=True),
            Section("Error maps", pictures=tuple(drawn.errors), folded=True),
            agreement_section(drawn, folder),
        ]
    return sections


def agreement_section(drawn: SubjectDrawings, folder: Path) -> Section:
    """Return the section that compares the intensities of estimates and real 7T.

    Parameters
    ----------
    drawn : SubjectDrawings
    folder : Path
        For the figures' files; must exist.
    """
    samples = {
        label: (np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts]))
        for label, parts in drawn.samples.items()
    }
    agreement = (
        save_figure(bland_altman_figure(samples), folder, "bland-altman", BLAND, "svg"),
        save_figure(joint_histogram_figure(samples), folder, "joint-histogram", JOINT, "svg"),
    )
    return Section("Agreement of intensities", pictures=agreement)


def training_section(
    histories: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]], folder: Path
) -> Section:
    """Return the section of training losses."""
    losses = save_figure(loss_figure(histories), folder, "losses", LOSSES, "svg")
    return Section("Training", pictures=(losses,))


def stress_sections(stress: Mapping[str, Stress], folder: Path) -> list[Section]:
    """Return the sections of robustness and lesions; those without data are left out.

    Parameters
    ----------
    stress : mapping of str to Stress
        By network.
    folder : Path
        For the figures' files; must exist.
    """
    points = {network: found.points for network, found in stress.items() if found.points}
    lesions = {network: found.lesions for network, found in stress.items() if found.lesions}
    sections = []
    if points:
        shown = save_figure(robustness_figure(points), folder, "robustness", ROBUSTNESS, "svg")
        texts = tuple(
            f"{label_of(network)}, {meaning}: {_turns_in_words(turning_points(found, kind))}."
            for network, found in points.items()
            for kind, meaning in KINDS.items()
            if any(point.kind == kind for point in found)
        )
        sections.append(Section("Robustness", texts, pictures=(shown,)))
    if lesions:
        shown = save_figure(lesion_figure(lesions), folder, "lesions", LESIONS, "svg")
        sections.append(Section("Lesions", pictures=(shown,)))
    return sections


def _turns_in_words(turns: Sequence[tuple[float, bool]]) -> str:
    """Return at which levels a network helps."""
    (lowest, helps), *others = turns
    if not others:
        return f"{'helps at every' if helps else 'does not help at any'} level measured"
    words = [f"{'helps' if helps else 'does not help'} at {lowest:g}"]
    words += [f"{'helps' if helps else 'no longer helps'} beyond {at:.3g}" for at, helps in others]
    return ", ".join(words)
