"""Every figure of one estimate, and what each figure is called, measures and wants to be."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.metrics import basic, detail, tissue
from napari_mri7t.engine.metrics.similarity import SSIM_WINDOW
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.volumes.volume import Volume


@dataclass(frozen=True)
class Metric:
    """What a table, a figure and a test need to know of one metric.

    Parameters
    ----------
    key : str
        In results and JSON: region, underscore, name.
    label : str
        For people.
    better : str
        "higher", "lower", or "zero" where the figure should vanish.
    unit : str
        Empty for a ratio.
    digits : int
        Behind the point, in tables.
    """

    key: str
    label: str
    better: str
    unit: str = ""
    digits: int = 4

    def gain(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """How much better ours are than theirs, positive where they are, in the metric's unit."""
        if self.better == "higher":
            return np.asarray(ours - theirs)
        if self.better == "lower":
            return np.asarray(theirs - ours)
        return np.asarray(np.abs(theirs) - np.abs(ours))


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("brain_psnr", "PSNR, brain", "higher", "dB", 2),
        Metric("brain_ssim", "SSIM, brain", "higher"),
        Metric("brain_mae", "MAE, brain", "lower", "", 5),
        Metric("brain_nrmse", "NRMSE, brain", "lower"),
        Metric("brain_ssim_3d", "3-D SSIM, brain", "higher"),
        Metric("brain_hfen", "HFEN, brain", "lower"),
        Metric("brain_gradient_error", "Gradient error, brain", "lower", "1/mm", 5),
        Metric("brain_cnr", "Grey/white contrast to noise", "higher", "", 3),
        Metric("brain_cjv", "Coefficient of joint variation", "lower", "", 3),
        Metric("brain_anatomy_correlation", "Correlation of error and anatomy", "zero", "", 3),
        Metric("brain_edge_correlation", "Correlation of error size and edges", "zero", "", 3),
        Metric("whole_psnr", "PSNR, whole volume", "higher", "dB", 2),
        Metric("whole_ssim", "SSIM, whole volume", "higher"),
        Metric("whole_mae", "MAE, whole volume", "lower", "", 5),
        Metric("whole_nrmse", "NRMSE, whole volume", "lower"),
    )
}  # in the order in which every table of ours shows them: the brain first


def score(
    reference: Volume,
    estimate: Volume,
    *,
    mask: Volume | None = None,
    data_range: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Score an estimate by every metric of this package.

    Parameters
    ----------
    reference, estimate : Volume
        On one grid.
    mask : Volume, optional
        The brain: its voxels above 0. By default those of the reference above 0.
    data_range : float
        The span that intensities can take.

    Returns
    -------
    dict
        `metrics.compare`'s two regions with further keys. NaN where a figure is not defined:
        three tissues that cannot be told apart, a volume thinner than the 3-D window.

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    ValueError
        If the mask is empty, a value is not finite, or the data range is not positive.
    """
    return run_to_end(score_steps(reference, estimate, mask=mask, data_range=data_range))


def score_steps(
    reference: Volume,
    estimate: Volume,
    *,
    mask: Volume | None = None,
    data_range: float = 1.0,
) -> Generator[str, None, dict[str, dict[str, float]]]:
    """Do the work of `score`, yielding the name of each part before it.

    Parameters
    ----------
    reference, estimate, mask, data_range
        As for `score`.

    Yields
    ------
    str

    Returns
    -------
    dict
    """
    yield "MAE, PSNR, SSIM"
    scores = basic.compare(reference, estimate, mask=mask, data_range=data_range)
    x, y = reference.array, estimate.array
    brain = (reference if mask is None else mask).array > 0
    size = reference.voxel_size
    inside = scores["brain"]
    yield "NRMSE"
    scores["whole"]["nrmse"] = basic.nrmse(x, y)
    inside["nrmse"] = basic.nrmse(x, y, mask=brain)
    yield "3-D SSIM"
    inside["ssim_3d"] = _ssim_3d(x, y, data_range, brain)
    yield "HFEN"
    inside["hfen"] = _hfen(x, y, brain)
    yield "gradients"
    inside["gradient_error"] = detail.gradient_error(x, y, mask=brain, voxel_size=size)
    yield "tissues"
    inside["cnr"], inside["cjv"] = _contrast(x, y, brain)
    yield "correlations"
    inside["anatomy_correlation"] = tissue.error_anatomy_correlation(x, y, mask=brain)
    inside["edge_correlation"] = tissue.error_edge_correlation(x, y, mask=brain, voxel_size=size)
    return scores


def flatten(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Turn ``{"brain": {"psnr": 30.0}}`` into ``{"brain_psnr": 30.0}``.

    Parameters
    ----------
    scores : mapping of mappings
        From `score`.

    Returns
    -------
    dict
        Keys as in `METRICS`.
    """
    return {
        f"{region}_{name}": value
        for region, figures in scores.items()
        for name, value in figures.items()
    }


def _ssim_3d(x: np.ndarray, y: np.ndarray, data_range: float, brain: np.ndarray) -> float:
    """3-D SSIM, NaN where its window does not fit."""
    margin = SSIM_WINDOW // 2
    fits = min(x.shape) >= SSIM_WINDOW and brain[(slice(margin, -margin),) * 3].any()
    return detail.ssim_3d(x, y, data_range=data_range, mask=brain) if fits else math.nan


def _hfen(x: np.ndarray, y: np.ndarray, brain: np.ndarray) -> float:
    """HFEN, NaN for a reference without detail."""
    return detail.hfen(x, y, mask=brain) if np.ptp(x) > 0 else math.nan


def _contrast(x: np.ndarray, y: np.ndarray, brain: np.ndarray) -> tuple[float, float]:
    """CNR and CJV, NaN where the reference does not show three tissues."""
    try:
        tissues = tissue.cluster_tissues(x, brain)
    except ValueError:
        return math.nan, math.nan
    return tissue.tissue_contrast(y, tissues)
