"""All metrics of one estimate; their register: label, unit, and which direction is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.metrics import basic, detail, tissue
from napari_mri7t.engine.metrics.similarity import SSIM_WINDOW
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.volumes.scale import foreground_of
from napari_mri7t.engine.volumes.volume import VolumeLike, as_volume


@dataclass(frozen=True)
class Metric:
    """One metric, as tables, figures and tests use it.

    Parameters
    ----------
    key : str
        In results and JSON: region, underscore, name.
    label : str
        For display.
    better : str
        "higher", "lower", or "zero" where it should vanish.
    unit : str
        Empty for a ratio.
    digits : int
        Decimals in tables.
    """

    key: str
    label: str
    better: str
    unit: str = ""
    digits: int = 4

    @property
    def heading(self) -> str:
        """Label with the unit and an arrow towards better."""
        arrow = {"higher": "↑", "lower": "↓", "zero": "→ 0"}[self.better]
        return f"{self.label}{f', {self.unit}' if self.unit else ''} {arrow}"

    def gain(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Return by how much ours are better than theirs, in the metric's unit."""
        if self.better == "higher":
            return np.asarray(ours - theirs)
        if self.better == "lower":
            return np.asarray(theirs - ours)
        return np.asarray(np.abs(theirs) - np.abs(ours))

    def best_places(self, values: np.ndarray) -> list[int]:
        """Return the index of the best value; an empty list where all are NaN."""
        gains = self.gain(values, np.zeros_like(values))
        return [] if np.isnan(gains).all() else [int(np.nanargmax(gains))]


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
}  # in the order of the tables: the brain first


def score(
    reference: VolumeLike,
    estimate: VolumeLike,
    *,
    mask: VolumeLike | None = None,
    data_range: float = 1.0,
    report: Report = ignore,
) -> dict[str, dict[str, float]]:
    """Score an estimate by every metric of this package.

    Parameters
    ----------
    reference, estimate : str, Path, nibabel image or Volume
        On one grid.
    mask : str, Path, nibabel image or Volume, optional
        The brain: its voxels above 0. By default the reference without its background.
    data_range : float
        The span that intensities can take, in PSNR and SSIM. 1 suits volumes in [0, 1], such as
        simulated pairs; it is never taken from the data.
    report : callable
        Called before each metric, and at the end.

    Returns
    -------
    dict
        As `compare`, with further keys. NaN where a metric is not defined: three tissues that
        cannot be told apart, a volume thinner than the 3-D window.

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    VolumeError
        If a value is not finite.
    ValueError
        If the mask is empty, or the data range is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_mri7t import Volume
    >>> rng = np.random.default_rng(0)
    >>> reference = Volume(rng.uniform(0.1, 1, (16, 16, 16)), np.eye(4))
    >>> scores = score(reference, reference.with_array(reference.array + 0.1))
    >>> round(scores["brain"]["psnr"], 2)
    20.0
    """
    reference, estimate = as_volume(reference), as_volume(estimate)
    mask = None if mask is None else as_volume(mask)
    x, y = reference.array, estimate.array
    brain = foreground_of(reference) if mask is None else mask.array > 0
    size = reference.voxel_size
    metrics: dict[str, Callable[[], dict[str, float]]] = {
        "NRMSE": lambda: {"nrmse": basic.nrmse(x, y, mask=brain)},
        "3-D SSIM": lambda: {"ssim_3d": _ssim_3d(x, y, data_range, brain)},
        "HFEN": lambda: {"hfen": _hfen(x, y, brain)},
        "gradients": lambda: {
            "gradient_error": detail.gradient_error(x, y, mask=brain, voxel_size=size)
        },
        "tissues": lambda: _contrast(x, y, brain),
        "correlations": lambda: {
            "anatomy_correlation": tissue.error_anatomy_correlation(x, y, mask=brain),
            "edge_correlation": tissue.error_edge_correlation(x, y, mask=brain, voxel_size=size),
        },
    }
    total = len(metrics) + 1
    report(Progress(0, total, "MAE, PSNR, SSIM"))
    scores = basic.compare(reference, estimate, mask=mask, data_range=data_range)
    with basic.naming(reference, estimate, mask):
        scores["whole"]["nrmse"] = basic.nrmse(x, y)
        for done, (name, measure) in enumerate(metrics.items(), 1):
            report(Progress(done, total, name))
            scores["brain"] |= measure()
    report(Progress(total, total, "scored"))
    return scores


def flatten(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return ``{"brain_psnr": 30.0}`` for ``{"brain": {"psnr": 30.0}}``.

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
    """Return the 3-D SSIM, NaN where its window does not fit."""
    margin = SSIM_WINDOW // 2
    fits = min(x.shape) >= SSIM_WINDOW and brain[(slice(margin, -margin),) * 3].any()
    return detail.ssim_3d(x, y, data_range=data_range, mask=brain) if fits else math.nan


def _hfen(x: np.ndarray, y: np.ndarray, brain: np.ndarray) -> float:
    """Return the HFEN, NaN for a reference without detail."""
    return detail.hfen(x, y, mask=brain) if np.ptp(x) > 0 else math.nan


def _contrast(x: np.ndarray, y: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Return CNR and CJV, NaN where the reference does not show three tissues."""
    try:
        cnr, cjv = tissue.tissue_contrast(y, tissue.cluster_tissues(x, brain))
    except ValueError:
        cnr = cjv = math.nan
    return {"cnr": cnr, "cjv": cjv}
