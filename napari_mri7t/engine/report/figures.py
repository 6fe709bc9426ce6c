"""Pictures of brains: one slice by every method with enlarged patches, error maps, the demo.

As in figures 3 to 6 of the report. Slices are shown anterior up, with the subject's right on the
right, and marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from napari_mri7t.engine.metrics.inspection import ERROR_COLOURS
from napari_mri7t.engine.models.card import subject_label
from napari_mri7t.engine.report.style import (
    ERROR_MAP,
    GREY_MAP,
    NETWORK_COLOURS,
    TEXT_WIDTH,
    house_style,
    new_figure,
    title_of,
)
from napari_mri7t.engine.volumes.intensity import symmetric_limit
from napari_mri7t.engine.volumes.volume import Volume

REPORT_SLICE = 100  # of 182, as in the report's figures
REPORT_SLICES = 182
PATCH_SIZE = 40  # pixels, side of an enlarged patch; at most a third of the slice
N_PATCHES = 2
PAGE_HEIGHT = 9.5  # inches
MARGIN = 4  # pixels around the brain
NAME_LENGTH = 16  # characters that fit beside a slice
PATCH_COLOURS = (NETWORK_COLOURS[1], NETWORK_COLOURS[4])
# Of the demo's picture:
SIZE_INCH = (15.0, 5.4)
DPI = 120
SLICE_MM = 8.0  # z in MNI space: ventricles, basal ganglia and cortex
INK, PAPER = "white", "black"


def report_slice(n_slices: int) -> int:
    """Return slice 100 of 182, or the one at the same relative height."""
    return min(n_slices - 1, round(REPORT_SLICE * n_slices / REPORT_SLICES))


def slice_figure(title: str, slices: Mapping[str, np.ndarray], reference: str) -> Figure:
    """Draw one slice by every method, two patches of it enlarged below.

    Parameters
    ----------
    title : str
    slices : mapping of str to ndarray, shape (I, J)
        Label to slice, in [0, 1], i to the subject's right and j to anterior; in display order.
    reference : str
        Label of the slice that defines the brain and the patches.
    """
    window = _window(slices[reference] > 0)
    cropped = {label: array[window] for label, array in slices.items()}
    corners = detailed_patches(cropped[reference])
    n_columns, (n_i, n_j) = len(slices), cropped[reference].shape
    column = TEXT_WIDTH / n_columns
    patch = _patch_size(cropped[reference])
    with house_style():
        figure = new_figure(column * (n_j / n_i + len(corners)) + 0.55)
        ratios = [n_j / n_i, *[1.0] * len(corners)]
        axes = figure.subplots(1 + len(corners), n_columns, squeeze=False, height_ratios=ratios)
        for place, (label, array) in enumerate(cropped.items()):
            _show_slice(axes[0, place], array, title_of(label, column))
            for row, (i, j) in enumerate(corners):
                colour = PATCH_COLOURS[row]
                frame = Rectangle((i - 0.5, j - 0.5), patch, patch, fill=False, ec=colour, lw=1.2)
                axes[0, place].add_patch(frame)
                _show_patch(axes[1 + row, place], array[i : i + patch, j : j + patch], colour)
        _mark_sides(axes[0, 0])
        figure.suptitle(title, fontsize=10)
    return figure


def overview_figure(rows: Mapping[str, Mapping[str, np.ndarray]], reference: str) -> Figure:
    """Draw one slice of each subject, a row per subject, a column per method.

    Parameters
    ----------
    rows : mapping of str to mapping of str to ndarray, shape (I, J)
        Subject to label to slice, every row with the same labels, slices as in `slice_figure`.
    reference : str
        Label of the slice that is above 0 in the brain.

    Returns
    -------
    Figure
        At most as large as a page.
    """
    labels = list(next(iter(rows.values())))
    windows = [_window(row[reference] > 0) for row in rows.values()]
    shapes = [(i.stop - i.start, j.stop - j.start) for i, j in windows]
    aspect = max(n_j / n_i for n_i, n_j in shapes)
    height = min(aspect * TEXT_WIDTH / (len(labels) + 0.3), PAGE_HEIGHT / len(rows))
    with house_style():
        width = height / aspect * len(labels) + 0.4
        figure = new_figure(height * len(rows) + 0.4, width)
        figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.05, hspace=0, wspace=0)
        axes = figure.subplots(len(rows), len(labels), squeeze=False)
        titles = [title_of(label, width / len(labels)) for label in labels]
        names = short_names(list(rows))
        for line, (row, window) in enumerate(zip(rows.values(), windows, strict=True)):
            for place, label in enumerate(labels):
                title = titles[place] if line == 0 else ""
                _show_slice(axes[line, place], row[label][window], title)
            axes[line, 0].set_axis_on()
            axes[line, 0].set(xticks=[], yticks=[], ylabel=names[line])
            axes[line, 0].yaxis.label.set_fontsize(min(9, 85 * height / max(9, len(names[line]))))
            axes[line, 0].spines[:].set_visible(False)
        _mark_sides(axes[0, 0])
    return figure


def short_names(names: Sequence[str]) -> list[str]:
    """Return subjects' names that fit beside a slice.

    Returns
    -------
    list of str
        The BIDS subject of each name if that is unique, else the beginnings of the names.
    """
    subjects = [subject_label(name) for name in names]
    chosen = subjects if len(set(subjects)) == len(set(names)) else names
    return [n if len(n) <= NAME_LENGTH else f"{n[: NAME_LENGTH - 1]}…" for n in chosen]


def error_figure(title: str, reference: np.ndarray, estimates: Mapping[str, np.ndarray]) -> Figure:
    """Draw the error map of each estimate, on one symmetric scale.

    Parameters
    ----------
    title : str
    reference : ndarray, shape (I, J)
        The real 7T slice, as in `slice_figure`.
    estimates : mapping of str to ndarray, shape (I, J)
        Label to slice.
    """
    window = _window(reference > 0)
    inside = reference[window] > 0
    errors = {
        label: np.where(inside, array[window] - reference[window], 0)
        for label, array in estimates.items()
    }
    limit = symmetric_limit(np.stack([error[inside] for error in errors.values()]))
    scale = Normalize(-limit, limit)
    n_i, n_j = inside.shape
    with house_style():
        column = TEXT_WIDTH / (len(errors) + 0.4)
        figure = new_figure(column * n_j / n_i + 0.6)
        axes = figure.subplots(1, len(errors), squeeze=False)
        for place, (label, error) in enumerate(errors.items()):
            shown = axes[0, place].imshow(error.T, ERROR_MAP, norm=scale, origin="lower")
            mean = float(np.abs(error[inside]).mean())
            parts = (label, f"mean size {mean:.4f}")
            axes[0, place].set_title("\n".join(title_of(part, column) for part in parts))
            axes[0, place].set_axis_off()
        bar = figure.colorbar(shown, ax=list(axes[0]), shrink=0.85, extend="both")
        bar.set_label("estimate − 7T")
        _mark_sides(axes[0, 0], "black")
        figure.suptitle(title, fontsize=10)
    return figure


def detailed_patches(reference: np.ndarray) -> list[tuple[int, int]]:
    """Return the two places of a slice with most detail that do not overlap.

    Returns
    -------
    list of (int, int)
        Lower corners of squares of `PATCH_SIZE` pixels, or of a third of a small slice.
    """
    size = _patch_size(reference)
    gradient = np.hypot(*np.gradient(reference.astype(np.float64)))
    inner = reference > 0
    # Detail counts only where the surroundings are brain: the rim is an edge, not detail.
    activity = (
        uniform_filter(gradient * inner, size) * uniform_filter(inner.astype(float), size) ** 4
    )
    centres = activity[size // 2 : reference.shape[0] - (size - 1) // 2]
    centres = centres[:, size // 2 : reference.shape[1] - (size - 1) // 2].copy()
    corners: list[tuple[int, int]] = []
    while len(corners) < N_PATCHES and centres.max() > -np.inf:
        i, j = (int(index) for index in np.unravel_index(np.argmax(centres), centres.shape))
        corners.append((i, j))
        centres[max(0, i - size + 1) : i + size, max(0, j - size + 1) : j + size] = -np.inf
    return corners


def _patch_size(reference: np.ndarray) -> int:
    return max(1, min(PATCH_SIZE, int(min(reference.shape)) // 3))


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the brain's frame with a small margin; everything if there is no brain."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    sides = []
    for axis in (0, 1):
        (where,) = np.nonzero(mask.any(axis=1 - axis))
        first, last = max(0, int(where[0]) - MARGIN), int(where[-1]) + MARGIN + 1
        sides.append(slice(first, min(last, mask.shape[axis])))
    return sides[0], sides[1]


def _show_slice(axes: Axes, array: np.ndarray, label: str) -> None:
    axes.imshow(array.T, GREY_MAP, vmin=0, vmax=1, origin="lower", interpolation="nearest")
    axes.set_title(label)
    axes.set_axis_off()


def _show_patch(axes: Axes, array: np.ndarray, colour: str) -> None:
    axes.imshow(array.T, GREY_MAP, vmin=0, vmax=1, origin="lower", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=colour, linewidth=1.5)


def _mark_sides(axes: Axes, colour: str = "white") -> None:
    """Mark the subject's left and right."""
    for x, side in ((0.02, "L"), (0.98, "R")):
        axes.text(
            x, 0.98, side, color=colour, transform=axes.transAxes, va="top",
            ha="left" if side == "L" else "right", fontsize=8,
        )  # fmt: skip


def demo_figure(
    volumes: tuple[Volume, Volume, Volume],
    scores: Mapping[str, Mapping[str, Mapping[str, float]]],
    notice: str,
    target_is: str = "",
) -> Figure:
    """Draw the demo: source, estimate, target and the estimate's error, one axial slice.

    Parameters
    ----------
    volumes : tuple of Volume
        Source, estimate and target, on one grid, intensities in [0, 1].
    scores : mapping
        "source" and "estimate": from `compare`, each against the target.
    notice : str
        Printed below.
    target_is : str
        Description of the target, printed above it.

    Returns
    -------
    Figure
        With an Agg canvas.
    """
    _, estimate, target = volumes
    k = _slice_at(target, SLICE_MM)
    window = _window(target.array[:, :, k] > 0)
    figure = Figure(figsize=SIZE_INCH, dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = [figure.add_axes((0.005 + 0.25 * n, 0.17, 0.24, 0.71)) for n in range(4)]
    titles = (
        f"3T, simulated\n{_score_line(scores['source'])}",
        f"synthetic 7T\n{_score_line(scores['estimate'])}",
        f"7T, the target\n{target_is}",
        "error map\nsynthetic 7T minus target",
    )
    for ax, title, volume in zip(axes, titles, volumes, strict=False):
        grey = _show(ax, volume.array[:, :, k][window], title, "gray", (0.0, 1.0))
    error_map = estimate.array[:, :, k] - target.array[:, :, k]
    limit = symmetric_limit(error_map)
    colours = LinearSegmentedColormap.from_list("error", ERROR_COLOURS)
    error = _show(axes[3], error_map[window], titles[3], colours, (-limit, limit))
    _bar(figure, grey, 0.255, "intensity")
    _bar(figure, error, 0.775, "intensity difference")
    for x, side in ((0.02, "L"), (0.94, "R")):
        axes[0].text(x, 0.5, side, color=INK, transform=axes[0].transAxes)
    figure.text(0.5, 0.015, notice, color=INK, fontsize=10, ha="center")
    return figure


def _slice_at(volume: Volume, height_mm: float) -> int:
    """Return the axial slice nearest to a height in RAS+ mm; the middle one if there is none."""
    centre = (np.array(volume.shape) - 1) / 2
    at_centre = volume.affine @ [*centre, 1.0]
    k = round(centre[2] + (height_mm - at_centre[2]) / volume.affine[2, 2])
    return int(k) if 0 <= k < volume.shape[2] else int(centre[2])


def _score_line(scores: Mapping[str, Mapping[str, float]]) -> str:
    brain = scores["brain"]
    return f"in the brain: PSNR {brain['psnr']:.1f} dB, SSIM {brain['ssim']:.3f}"


def _show(
    ax: Axes, plane: np.ndarray, title: str, colours: str | Colormap, limits: tuple[float, float]
) -> AxesImage:
    """Show a plane (I, J) with anterior up and the subject's left on the left."""
    ax.set_axis_off()
    ax.set_title(title, color=INK, fontsize=11)
    return ax.imshow(plane.T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1])


def _bar(figure: Figure, image: AxesImage, left: float, label: str) -> None:
    ax = figure.add_axes((left, 0.135, 0.2, 0.02))
    figure.colorbar(image, cax=ax, orientation="horizontal")
    ax.set_title(label, color=INK, fontsize=9, pad=3)
    ax.tick_params(colors=INK, labelsize=8)
