"""The demonstration's picture: 3T | synthetic 7T | 7T | error map, one axial slice."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from napari_mri7t.engine.volume import Volume

SIZE_INCH = (15.0, 5.4)
DPI = 120
SLICE_MM = (
    8.0  # height over the anterior commissure in MNI space: ventricles, basal ganglia, cortex
)
MARGIN_VOXELS = 8  # around the brain
INK, PAPER = "white", "black"
# Diverging, black in the middle, so that the background stays background.
ERROR_COLOURS = LinearSegmentedColormap.from_list(
    "error", ["#a0e0ff", "#1070d0", "black", "#d03010", "#ffd090"]
)


def demo_figure(
    volumes: tuple[Volume, Volume, Volume],
    scores: Mapping[str, Mapping[str, Mapping[str, float]]],
    notice: str,
    target_is: str = "",
) -> Figure:
    """Draw source, estimate, target and the estimate's error side by side.

    Parameters
    ----------
    volumes : tuple of Volume
        Source, estimate and target, on one grid, intensities in [0, 1].
    scores : mapping
        "source" and "estimate": what `metrics.compare` says of each against the target.
    notice : str
        Printed below the pictures.
    target_is : str
        What the target is, printed over it.

    Returns
    -------
    Figure
        With an Agg canvas; not known to pyplot.
    """
    _, estimate, target = volumes
    k = slice_at(target, SLICE_MM)
    window = brain_window(target.array[:, :, k] > 0)
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
    limit = max(float(np.percentile(np.abs(error_map), 99.8)), 1e-6)
    error = _show(axes[3], error_map[window], titles[3], ERROR_COLOURS, (-limit, limit))
    _bar(figure, grey, 0.255, "intensity")
    _bar(figure, error, 0.775, "difference of intensity")
    for x, side in ((0.02, "L"), (0.94, "R")):
        axes[0].text(x, 0.5, side, color=INK, transform=axes[0].transAxes)
    figure.text(0.5, 0.015, notice, color=INK, fontsize=10, ha="center")
    return figure


def brain_window(mask: np.ndarray) -> tuple[slice, slice]:
    """Frame the brain in a plane, with a margin; the whole plane if there is none."""
    if not mask.any():
        return slice(None), slice(None)
    frame = []
    for axis in (1, 0):
        inside = np.flatnonzero(mask.any(axis=axis))
        frame.append(slice(max(inside[0] - MARGIN_VOXELS, 0), inside[-1] + MARGIN_VOXELS + 1))
    return frame[0], frame[1]


def slice_at(volume: Volume, height_mm: float) -> int:
    """Find the axial slice nearest to a height in RAS+ mm; the middle one if there is none."""
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
    """Show a plane (I, J) with anterior up and the patient's left on the left."""
    ax.set_axis_off()
    ax.set_title(title, color=INK, fontsize=11)
    return ax.imshow(plane.T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1])


def _bar(figure: Figure, image: AxesImage, left: float, label: str) -> None:
    ax = figure.add_axes((left, 0.135, 0.2, 0.02))
    figure.colorbar(image, cax=ax, orientation="horizontal")
    ax.set_title(label, color=INK, fontsize=9, pad=3)
    ax.tick_params(colors=INK, labelsize=8)
