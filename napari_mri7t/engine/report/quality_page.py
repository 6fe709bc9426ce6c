"""The quality page of a scan: mask, registration, intensities and result, to judge by eye."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.prepare import Prepared
from napari_mri7t.engine.preparation.quality import (
    N_BINS,
    WINDOW,
    checkerboard,
    describe_distance,
    histograms,
    window_of,
)
from napari_mri7t.engine.report.style import (
    GREY_MAP,
    NETWORK_COLOURS,
    figure_bytes,
    house_style,
    new_figure,
)
from napari_mri7t.engine.volumes.grids import LINEAR, bounding_box_mm, resample, upright_grid
from napari_mri7t.engine.volumes.intensity import symmetric_limit
from napari_mri7t.engine.volumes.provenance import NOTICE
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, shares_grid

PAGE_INCHES = (12.0, 8.5)
VIEW_MM = 1.0  # pixels of the page's slices
MARGIN_MM = 12.0
SHOWN = ("sagittal", "coronal", "axial")  # planes, by the axis they cut


def quality_page(prepared: Prepared, result: Volume, card: ModelCard) -> Figure:
    """Draw a preparation and its result.

    Parameters
    ----------
    prepared : Prepared
    result : Volume
        The estimate in its scan, on the scan's grid or in MNI space.
    card : ModelCard
        Of the model to whose intensities the scan is harmonised.

    Returns
    -------
    Figure
        Mask outline and bias field, checkerboard with the template, before and after, histograms.
    """
    before, mask, corrected, after = _views(prepared, result)
    with house_style():
        figure = new_figure(PAGE_INCHES[1], PAGE_INCHES[0])
        figure.suptitle(f"{prepared.scan.name}: preparation and result. {NOTICE}", fontsize=8)
        axes = figure.subplots(3, 4)
        window = window_of(corrected, mask)
        for column, plane in enumerate(SHOWN):
            k = _middle(mask, column)
            _show(axes[0, column], before, column, k, window)
            _outline(axes[0, column], mask, column, k)
            axes[0, column].set_title(f"{plane}: brain mask")
        _draw_checkerboard(axes[1], prepared)
        k = _middle(mask, 2)
        _show(axes[2, 0], before, 2, k, window)
        axes[2, 0].set_title("before")
        _show(axes[2, 1], after, 2, k, window)
        axes[2, 1].set_title("after")
        limit = symmetric_limit(after - corrected, mask)
        _show(axes[2, 2], after - corrected, 2, k, (-limit, limit))
        axes[2, 2].set_title("after - before (corrected)")
        _draw_histograms(axes[0, 3], axes[1, 3], prepared, card)
        _write_facts(axes[2, 3], prepared.facts, card, describe_distance(prepared, card))
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


def _views(
    prepared: Prepared, result: Volume
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Resample scan, mask, corrected scan and result to one upright grid around the brain."""
    scan = prepared.scan
    corners = bounding_box_mm(prepared.mask, scan.affine, MARGIN_MM)
    grid = upright_grid(corners, VIEW_MM)
    mask = resample(scan.with_array(prepared.mask), grid, order=LINEAR) > 0.5
    moved = None
    if not shares_grid(result, scan):
        moved = np.linalg.inv(prepared.to_mni)
    after = resample(result, grid, moved, order=LINEAR)
    before = resample(scan, grid, order=LINEAR)
    return before, mask, resample(prepared.corrected, grid, order=LINEAR), after


def _draw_checkerboard(axes: Any, prepared: Prepared) -> None:
    template = load_template()
    grid = upright_grid(bounding_box_mm(template.array > 0, template.affine, MARGIN_MM), VIEW_MM)
    brain = resample(template, grid, order=LINEAR) > 0
    board = checkerboard(prepared, grid, prepared.to_mni)
    for column, plane in enumerate(SHOWN):
        _show(axes[column], board, column, _middle(brain, column), (0, 1))
        axes[column].set_title(f"{plane}: template and scan")


def _draw_histograms(upper: Axes, lower: Axes, prepared: Prepared, card: ModelCard) -> None:
    brain = prepared.brain.array[prepared.mask]
    raw = prepared.scan.array[prepared.mask]
    span = (0, float(np.percentile(raw, WINDOW[1])))
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


def _write_facts(
    axes: Axes, facts: dict[str, Any], card: ModelCard, words: tuple[str, ...]
) -> None:
    done = [
        f"{step.replace('_', ' ')}: {facts[step]}"
        for step in ("brain_extraction", "bias_field", "registration")
    ]
    field = facts.get("bias_field_strength")
    strength = [] if field is None else [f"bias field varies by {100 * field:.0f} %"]
    text = "\n".join([f"model: {card.name}", *done, *strength, *words])
    axes.axis("off")
    axes.text(0, 1, text, va="top", fontsize=7.5, transform=axes.transAxes, wrap=True)


def _show(axes: Axes, array: np.ndarray, axis: int, k: int, window: tuple[float, float]) -> None:
    """Show slice k across an axis, superior or anterior up."""
    low, high = window
    axes.imshow(np.take(array, k, axis).T, GREY_MAP, origin="lower", vmin=low, vmax=high)
    axes.axis("off")


def _outline(axes: Axes, mask: np.ndarray, axis: int, k: int) -> None:
    axes.contour(np.take(mask, k, axis).T, [0.5], colors=[NETWORK_COLOURS[1]], linewidths=0.8)


def _middle(mask: np.ndarray, axis: int) -> int:
    """Return the slice through the middle of a mask; off the midline in the sagittal plane."""
    along = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    part = 0.55 if axis == 0 else 0.5
    return int(along[0] + part * (along[-1] - along[0]))
