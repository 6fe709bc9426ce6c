"""Plots of robustness and lesions: figures against harm, contrast kept against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_mri7t.engine.evaluation.results import SOURCE, label_of
from napari_mri7t.engine.evaluation.robustness import KINDS, LesionResult, RobustnessPoint
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.report.style import (
    SOURCE_COLOUR,
    TEXT_WIDTH,
    house_style,
    look_of,
    new_figure,
)
from napari_mri7t.engine.report.tables import heading

SPREAD_MM = 0.22  # by which the dots of several networks are set apart


def robustness_figure(
    points: Mapping[str, Sequence[RobustnessPoint]], key: str = "brain_psnr"
) -> Figure:
    """Show a figure of source and estimates as the input gets worse, a panel per kind of harm.

    Parameters
    ----------
    points : mapping of str to sequence of RobustnessPoint
        Network to its points.
    key : str
        Of `METRICS`.

    Returns
    -------
    Figure
        Where a network's curve falls below the dashed one it has stopped to help.
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
        axes[0].set_ylabel(heading(METRICS[key]))
        _legend(figure, axes[0])
    return figure


def lesion_figure(results: Mapping[str, Sequence[LesionResult]]) -> Figure:
    """Show how much of a lesion's contrast is left, against its size; every lesion a dot.

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
                shift = SPREAD_MM * (place - (len(networks) - 1) / 2)
                _show_estimates(panel, own, network, networks, shift)
            panel.set(title=f"{name} lesions", xlabel="diameter, mm")
            panel.grid(color="0.92")
        axes[0].set_ylabel("contrast left, %")
        axes[0].set_ylim(bottom=min(0, axes[0].get_ylim()[0]))
        _legend(figure, axes[0])
    return figure


def _of_kind(points: Sequence[RobustnessPoint], kind: str) -> list[RobustnessPoint]:
    return sorted((p for p in points if p.kind == kind), key=lambda point: point.level)


def _by_size(results: Sequence[LesionResult], part: str) -> dict[float, list[float]]:
    """Group one part of the results by diameter, percent; what is not defined is left out."""
    found: dict[float, list[float]] = {}
    for result in sorted(results, key=lambda r: r.lesion.diameter_mm):
        if np.isfinite(getattr(result, part)):
            found.setdefault(result.lesion.diameter_mm, []).append(100 * getattr(result, part))
    return found


def _show_source(panel: Axes, results: Sequence[LesionResult]) -> None:
    """Show what the noise alone does to the contrast."""
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
    """Join the means over lesions of one size, with a dot for every lesion."""
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
