"""Plots: agreement of intensities, box plots with every subject, losses, robustness, lesions.

References
----------
.. [1] Bland, Altman, Statistical methods for assessing agreement between two methods of clinical
   measurement, The Lancet 327(8476), 1986. DOI 10.1016/S0140-6736(86)90837-8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, NullFormatter

from napari_mri7t.engine.evaluation.results import SOURCE, StudyResults, label_of
from napari_mri7t.engine.evaluation.robustness import KINDS, LesionResult, RobustnessPoint
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.report.style import (
    COUNT_MAP,
    SOURCE_COLOUR,
    TEXT_WIDTH,
    house_style,
    look_of,
    new_figure,
    title_of,
)
from napari_mri7t.engine.texts import visible

AGREEMENT_SD = 1.96  # standard deviations: 95 % of normal differences, as in [1]
N_BINS = 100  # of a joint histogram, each way
SHOWN_PERCENTILES = (0.01, 99.99)  # of the differences, the range of a Bland-Altman plot
LOSS_COLUMNS = 4
PANEL_WIDTH = 1.9  # inches, of three to a row
SMOOTHING = 0.02  # of a loss curve's length: the window of its running mean
DOTS_APART_MM = 0.22  # between the dots of two networks
Sample = tuple[np.ndarray, np.ndarray]
Ranges = tuple[tuple[float, float], tuple[float, float]]


def bland_altman_figure(samples: Mapping[str, Sample]) -> Figure:
    """Draw the difference from the reference against the intensity [1].

    Parameters
    ----------
    samples : mapping of str to (reference, estimate), ndarrays of shape (n,)
        Label to intensities inside the brain.

    Returns
    -------
    Figure
        A panel each, on common axes: counts of voxels, mean difference, limits of agreement.
    """
    differences = [estimate - reference for reference, estimate in samples.values()]
    low, high = np.percentile(np.concatenate(differences), SHOWN_PERCENTILES)
    with house_style():
        figure, axes = _panels(len(samples))
        for panel, (label, (reference, estimate)) in zip(axes, samples.items(), strict=True):
            means, difference = (reference + estimate) / 2, estimate - reference
            shown = _show_counts(panel, (means, difference), ((0, 1), (low, high)))
            mean, spread = float(difference.mean()), AGREEMENT_SD * float(difference.std())
            for level, style in ((mean, "-"), (mean - spread, "--"), (mean + spread, "--")):
                panel.axhline(level, color="black", linestyle=style, linewidth=1)
            parts = (label, f"{mean:+.4f} ± {spread:.4f}")
            panel.set_title("\n".join(title_of(part, PANEL_WIDTH) for part in parts))
        _bar_of_shares(figure, axes, shown)
        figure.supxlabel("mean of estimate and 7T", fontsize=9)
        figure.supylabel("estimate − 7T", fontsize=9)
    return figure


def joint_histogram_figure(samples: Mapping[str, Sample]) -> Figure:
    """Draw joint histograms of reference and estimate.

    Parameters
    ----------
    samples : mapping of str to (reference, estimate), ndarrays of shape (n,)
        Label to intensities inside the brain.

    Returns
    -------
    Figure
        A panel each: counts of voxels, and the line of a perfect estimate.
    """
    with house_style():
        figure, axes = _panels(len(samples))
        for panel, (label, sample) in zip(axes, samples.items(), strict=True):
            shown = _show_counts(panel, sample, ((0, 1), (0, 1)))
            panel.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
            panel.set_title(title_of(label, PANEL_WIDTH))
        _bar_of_shares(figure, axes, shown)
        figure.supxlabel("7T", fontsize=9)
        figure.supylabel("estimate", fontsize=9)
    return figure


def box_figure(
    results: StudyResults, keys: Sequence[str] = tuple(METRICS), n_columns: int = 2
) -> Figure:
    """Draw each metric as a box per method, each subject a dot, joined across methods.

    Parameters
    ----------
    results : StudyResults
    keys : sequence of str
        Of `METRICS`.
    n_columns : int
        Of panels.

    Returns
    -------
    Figure
        Boxes from quartile to quartile, whiskers to the extremes.
    """
    methods, networks = results.methods, results.networks
    n_rows = -(-len(keys) // n_columns)
    with house_style():
        figure = new_figure(0.55 + n_rows * (1.0 + 0.17 * len(methods)))
        axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
        for panel, key in zip(axes, keys, strict=False):
            columns = [results.values(method, key) for method in methods]
            _show_boxes(panel, columns, [look_of(m, networks) for m in methods])
            panel.set_xlabel(METRICS[key].heading)
            panel.grid(axis="x", color="0.9")
            panel.set_axisbelow(True)
        for panel in axes[::n_columns]:
            panel.set_yticks(range(1, len(methods) + 1), [visible(label_of(m)) for m in methods])
        axes[0].invert_yaxis()
        for panel in axes[len(keys) :]:
            panel.set_axis_off()
    return figure


def loss_figure(histories: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]]) -> Figure:
    """Draw the losses of all folds, a panel per network.

    Parameters
    ----------
    histories : mapping of str to sequence of (fold, steps, losses)
        Network to the curve of each fold; steps and losses of shape (n,).

    Returns
    -------
    Figure
        Running means over 2 % of a curve, in grey the raw losses; logarithmic, with one scale for
        all panels, unless a loss is below 0, as that of the PSNR is.
    """
    names = list(histories)
    n_columns = max(1, min(LOSS_COLUMNS, len(names)))
    n_rows = max(1, -(-len(names) // n_columns))
    is_log = {
        network: all((losses > 0).all() for _, _, losses in curves)
        for network, curves in histories.items()
    }
    width = TEXT_WIDTH if len(names) > 1 else TEXT_WIDTH / 1.6
    with house_style():
        figure = new_figure(2.7 * n_rows, width)
        is_shared = all(is_log.values())
        axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=is_shared).ravel()
        for unused in axes[max(1, len(names)) :]:
            unused.set_axis_off()
        for panel, (network, curves) in zip(axes, histories.items(), strict=False):
            colour, _ = look_of(network, names)
            for _, steps, losses in curves:
                panel.plot(steps, losses, color="0.88", linewidth=0.5, zorder=1)
            for _, steps, losses in curves:
                centres, means = _running_mean(steps, losses)
                panel.plot(centres, means, color=colour, linewidth=1, alpha=0.8, zorder=2)
            folds = "1 fold" if len(curves) == 1 else f"{len(curves)} folds"
            title = title_of(f"{label_of(network)}, {folds}", width / n_columns)
            panel.set(title=title, xlabel="step")
            if is_log[network] and curves:
                panel.set_yscale("log")
                panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for panel in axes[::n_columns]:
            panel.set_ylabel("training loss")
        for panel in axes:
            if panel.get_yscale() == "log":
                low, high = panel.get_ylim()
                n_powers = math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1
                between = NullFormatter() if n_powers > 1 else FuncFormatter(_every_other_digit)
                panel.yaxis.set_minor_formatter(between)
    return figure


def robustness_figure(
    points: Mapping[str, Sequence[RobustnessPoint]], key: str = "brain_psnr"
) -> Figure:
    """Draw a metric of source and estimates as the input degrades, a panel per kind.

    Parameters
    ----------
    points : mapping of str to sequence of RobustnessPoint
        Network to its points.
    key : str
        Of `METRICS`.

    Returns
    -------
    Figure
        Where a network's curve falls below the dashed line it no longer helps.
    """
    networks = list(points)
    kinds = [k for k in KINDS if any(p.kind == k for found in points.values() for p in found)]
    with house_style():
        figure = new_figure(2.8)
        axes = figure.subplots(1, max(1, len(kinds)), squeeze=False, sharey=True)[0]
        for panel, kind in zip(axes, kinds, strict=False):
            first = _of_kind(points[networks[0]], kind)
            panel.plot(
                [p.level for p in first],
                [p.source[key] for p in first],
                color=SOURCE_COLOUR,
                linestyle="--",
                linewidth=1,
                label=label_of(SOURCE),
            )
            for network in networks:
                colour, marker = look_of(network, networks)
                found = _of_kind(points[network], kind)
                levels, figures = [p.level for p in found], [p.estimate[key] for p in found]
                panel.plot(
                    levels, figures, color=colour, marker=marker, ms=4, label=label_of(network)
                )
            panel.set_xlabel(KINDS[kind])
            panel.grid(color="0.92")
        axes[0].set_ylabel(METRICS[key].heading)
        _legend(figure, axes[0])
    return figure


def lesion_figure(results: Mapping[str, Sequence[LesionResult]]) -> Figure:
    """Draw the contrast retained of lesions against their size; each lesion a dot.

    Parameters
    ----------
    results : mapping of str to sequence of LesionResult
        Network to its results.

    Returns
    -------
    Figure
        Bright and dark lesions in a panel each, means joined; 100 % is the target's contrast.
    """
    networks = list(results)
    with house_style():
        figure = new_figure(2.8, TEXT_WIDTH)
        axes = figure.subplots(1, 2, sharey=True)
        for panel, sign, name in zip(axes, (1, -1), ("bright", "dark"), strict=True):
            panel.axhline(100, color="0.6", linewidth=1)
            for place, network in enumerate(networks):
                own = [r for r in results[network] if r.lesion.contrast * sign > 0]
                if place == 0:
                    _show_source(panel, own)
                shift = DOTS_APART_MM * (place - (len(networks) - 1) / 2)
                _show_estimates(panel, own, network, networks, shift)
            panel.set(title=f"{name} lesions", xlabel="diameter, mm")
            panel.grid(color="0.92")
        axes[0].set_ylabel("contrast retained, %")
        axes[0].set_ylim(bottom=min(0, axes[0].get_ylim()[0]))
        _legend(figure, axes[0])
    return figure


def _panels(n_panels: int) -> tuple[Figure, list[Axes]]:
    """Lay out nearly square panels, three to a row."""
    n_columns = min(3, n_panels)
    n_rows = -(-n_panels // n_columns)
    side = min(2.9, (TEXT_WIDTH - 1.2) / n_columns)
    figure = new_figure(n_rows * (side + 0.35) + 0.3, n_columns * side + 1.2)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for unused in axes[n_panels:]:
        unused.set_axis_off()
    return figure, list(axes[:n_panels])


def _show_counts(panel: Axes, sample: Sample, ranges: Ranges) -> AxesImage:
    """Show a joint histogram on a logarithmic scale of shares."""
    counts, _, _ = np.histogram2d(*sample, bins=N_BINS, range=ranges)
    shares = np.ma.masked_equal(counts / sample[0].size, 0)
    return panel.imshow(
        shares.T,
        COUNT_MAP,
        norm=LogNorm(1e-6, 1e-2),
        extent=(*ranges[0], *ranges[1]),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )


def _bar_of_shares(figure: Figure, axes: Sequence[Axes], shown: AxesImage) -> None:
    """Draw one colour bar for all panels."""
    plain = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    bar = figure.colorbar(shown, ax=list(axes), extend="both", shrink=0.9, format=plain)
    bar.set_label("share of the brain's voxels")


def _show_boxes(
    panel: Axes, columns: Sequence[Mapping[str, float]], looks: Sequence[tuple[str, str]]
) -> None:
    """Draw horizontal boxes, a dot per subject, and a faint line for each subject."""
    finite = [[v for v in column.values() if np.isfinite(v)] for column in columns]
    drawn = panel.boxplot(
        finite,
        orientation="horizontal",
        whis=(0, 100),
        widths=0.55,
        showfliers=False,
        showcaps=False,
        medianprops={"color": "black", "linewidth": 1.5},
        patch_artist=True,
    )
    for place, (colour, _) in enumerate(looks):
        drawn["boxes"][place].set(facecolor=colour, alpha=0.25, edgecolor=colour)
        for whisker in drawn["whiskers"][2 * place : 2 * place + 2]:
            whisker.set(color=colour, linewidth=0.8)
    for subject in dict.fromkeys(name for column in columns for name in column):
        line = [column.get(subject, np.nan) for column in columns]
        panel.plot(line, range(1, len(columns) + 1), color="0.8", linewidth=0.5, zorder=1)
    for place, (column, (colour, marker)) in enumerate(zip(columns, looks, strict=True), 1):
        values = list(column.values())
        heights = np.full(len(values), place)
        panel.scatter(values, heights, s=12, c=colour, marker=marker, zorder=3, linewidths=0)


def _every_other_digit(value: float, _: object) -> str:
    """Label 2, 3 and 5 between the powers of ten."""
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:g}" if digit in (2, 3, 5) else ""


def _running_mean(steps: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the running mean of a curve."""
    width = max(1, round(SMOOTHING * len(losses)))
    kernel = np.full(width, 1 / width)
    return np.convolve(steps, kernel, "valid"), np.convolve(losses, kernel, "valid")


def _of_kind(points: Sequence[RobustnessPoint], kind: str) -> list[RobustnessPoint]:
    return sorted((p for p in points if p.kind == kind), key=lambda point: point.level)


def _by_size(results: Sequence[LesionResult], part: str) -> dict[float, list[float]]:
    """Return one part of the results by diameter, percent, without undefined values."""
    found: dict[float, list[float]] = {}
    for result in sorted(results, key=lambda r: r.lesion.diameter_mm):
        if np.isfinite(getattr(result, part)):
            found.setdefault(result.lesion.diameter_mm, []).append(100 * getattr(result, part))
    return found


def _show_source(panel: Axes, results: Sequence[LesionResult]) -> None:
    """Show the effect of the noise alone."""
    values = _by_size(results, "source_retained")
    means = [np.mean(column) for column in values.values()]
    label = label_of(SOURCE)
    panel.plot(list(values), means, color=SOURCE_COLOUR, linestyle="--", linewidth=1, label=label)


def _show_estimates(
    panel: Axes,
    results: Sequence[LesionResult],
    network: str,
    networks: Sequence[str],
    shift: float,
) -> None:
    """Join the means over lesions of one size, with a dot for each lesion."""
    colour, marker = look_of(network, networks)
    values = _by_size(results, "estimate_retained")
    means = [np.mean(column) for column in values.values()]
    panel.plot(list(values), means, color=colour, marker=marker, ms=5, label=label_of(network))
    for size, column in values.items():
        places = np.full(len(column), size + shift)
        panel.scatter(places, column, s=8, color=colour, marker=marker, alpha=0.35, linewidths=0)


def _legend(figure: Figure, panel: Axes) -> None:
    """Set one legend above all panels."""
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
