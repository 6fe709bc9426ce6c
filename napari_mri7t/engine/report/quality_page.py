"""The quality page of a scan: mask, registration, intensities and result, to judge by eye."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.quality import (
    N_BINS,
    WINDOW,
    QualityFigures,
    describe_distance,
    histograms,
    measure,
    window_of,
)
from napari_mri7t.engine.report.planes import PLANES, HeadPlanes, grey, head_planes, outlined
from napari_mri7t.engine.report.style import DPI, figure_bytes, house_style
from napari_mri7t.engine.volumes.intensity import symmetric_limit
from napari_mri7t.engine.volumes.provenance import NOTICE
from napari_mri7t.engine.volumes.volume import Volume

PAGE_INCHES = (12.0, 8.5)
CELL = (450, 410)  # pixels of a picture with its title, wide and high
HEAD_PIXELS = 40  # above the first row
TITLE_PIXELS = 34  # above a picture
PICTURE_PIXELS = 370  # longest side
TEXT_SIZE = 7.5
PLOT_PLACES = ((0.77, 0.685, 0.2, 0.25), (0.77, 0.365, 0.2, 0.25))  # shares of the page
EVERY = 4  # voxel of the brain in a histogram of the scan


@dataclass(frozen=True, eq=False)
class Inspection:
    """All that a quality page shows of a preparation and its result.

    Attributes
    ----------
    planes : HeadPlanes
    window : (float, float)
        Intensities that are shown black and white.
    figures : QualityFigures
    """

    planes: HeadPlanes
    window: tuple[float, float]
    figures: QualityFigures


def inspect(prepared: Prepared, result: Volume, card: ModelCard) -> Inspection:
    """Cut and measure a preparation and its result, which takes half a second.

    Parameters
    ----------
    prepared, result, card
        As for `quality_page`.
    """
    window = window_of(prepared.corrected.array, prepared.mask)
    planes = head_planes(prepared, result, window, PICTURE_PIXELS)
    return Inspection(planes, window, measure(prepared, card))


def quality_page(
    prepared: Prepared, result: Volume, card: ModelCard, inspection: Inspection | None = None
) -> Figure:
    """Draw a preparation and its result.

    Parameters
    ----------
    prepared : Prepared
    result : Volume
        The estimate in its scan, on the scan's grid or in MNI space.
    card : ModelCard
        Of the model to whose intensities the scan is harmonised.
    inspection : Inspection, optional
        That of `inspect`, where it is known.

    Returns
    -------
    Figure
        Mask outline, checkerboard with the template, before and after, histograms, numbers.
    """
    seen = inspect(prepared, result, card) if inspection is None else inspection
    with house_style():
        figure = Figure(figsize=PAGE_INCHES, dpi=DPI, facecolor="white")
        title = f"{prepared.scan.name}: preparation and result. {NOTICE}"
        figure.text(0.5, 0.99, title, ha="center", va="top", fontsize=8)
        _draw_pictures(figure, seen)
        upper, lower = (figure.add_axes(place) for place in PLOT_PLACES)
        _draw_histograms(upper, lower, prepared, card)
        texts = describe_distance(prepared, card, seen.figures)
        facts = _facts(prepared.facts, card, texts)
        figure.text(0.76, 0.3, facts, va="top", fontsize=TEXT_SIZE)
    return figure


def write_quality_page(prepared: Prepared, result: Volume, card: ModelCard, path: Path) -> Path:
    """Write the page as a PNG file, replacing an old one.

    Parameters
    ----------
    prepared, result, card
        As for `quality_page`.
    path : Path

    Returns
    -------
    Path
        The file.
    """
    return write_content(path, figure_bytes(quality_page(prepared, result, card), "png"))


def _draw_pictures(figure: Figure, seen: Inspection) -> None:
    """Put all pictures into the page at once, pixel by pixel: an axis for each takes a second."""
    planes, window = seen.planes, seen.window
    difference = planes.after[2] - planes.corrected[2]
    limit = symmetric_limit(difference, planes.mask[2])
    rows = [
        [outlined(grey(b, window), m, 2) for b, m in zip(planes.before, planes.mask, strict=True)],
        [grey(board) for board in planes.board],
        [
            grey(planes.before[2], window),
            grey(planes.after[2], window),
            grey(difference, (-limit, limit)),
        ],
    ]
    titles = [
        [f"{plane}: brain mask" for plane in PLANES],
        [f"{plane}: template and scan" for plane in PLANES],
        ["before", "after", "after - before (corrected)"],
    ]
    width, height = (round(DPI * inches) for inches in PAGE_INCHES)
    sheet = np.full((height, width, 3), 255, np.uint8)
    for r, c in np.ndindex(3, 3):
        picture = rows[r][c]
        top = HEAD_PIXELS + r * CELL[1] + TITLE_PIXELS
        left = c * CELL[0] + (CELL[0] - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        middle, above = (c + 0.5) * CELL[0] / width, 1 - (top - 8) / height
        figure.text(middle, above, titles[r][c], ha="center", va="bottom", fontsize=9)
    figure.figimage(sheet, zorder=-1)


def _draw_histograms(upper: Axes, lower: Axes, prepared: Prepared, card: ModelCard) -> None:
    brain = prepared.corrected.array[prepared.mask][::EVERY]
    raw = prepared.scan.array[prepared.mask][::EVERY]
    span = (0.0, float(np.percentile(raw, WINDOW[1])) or 1.0)
    for name, values in zip(("before", "after correction"), (raw, brain), strict=True):
        upper.hist(values, N_BINS, range=span, histtype="step", label=name)
    upper.set_title("brain intensities of the scan")
    seen = histograms(prepared, card)
    lower.stairs(seen.scan, seen.edges, label="scan, harmonised")
    lower.stairs(seen.training, seen.edges, label="training data")
    lower.set_title("as the model sees them")
    for axes in (upper, lower):
        axes.set_yticks([])
        axes.legend(frameon=False)


def _facts(facts: dict[str, Any], card: ModelCard, words: tuple[str, ...]) -> str:
    done = [
        f"{step.replace('_', ' ')}: {facts[step]}"
        for step in ("brain_extraction", "bias_field", "registration")
    ]
    field = facts.get("bias_field_strength")
    strength = [] if field is None else [f"bias field varies by {100 * field:.0f} %"]
    lines = [f"model: {card.name}", *done, *strength, *words]
    return "\n".join(line.replace(" (", "\n    (") if len(line) > 50 else line for line in lines)
