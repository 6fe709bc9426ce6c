"""Classical baselines: denoisers from scipy and scikit-image, tuned as fairly as the networks.

Each baseline has one parameter, chosen from a grid on the *training* subjects of a fold, never on
the held-out subject that is scored. Tuning uses one slab of slices of each subject, which suffices
to compare strengths, except for wavelets.

References
----------
.. [1] Buades, Coll, Morel, A non-local algorithm for image denoising, CVPR 2005.
   DOI 10.1109/CVPR.2005.38.
.. [2] Chambolle, An algorithm for total variation minimization and applications, Journal of
   Mathematical Imaging and Vision 20, 2004. DOI 10.1023/B:JMIV.0000011325.36760.1e.
.. [3] Chang, Yu, Vetterli, Adaptive wavelet thresholding for image denoising and compression, IEEE
   Transactions on Image Processing 9(9), 2000. DOI 10.1109/83.862633.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pywt
from scipy.ndimage import gaussian_filter, generate_binary_structure, median_filter

from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.volumes.grids import bounding_box

SLAB_SLICES = 16  # of a subject, used in tuning
CHUNK_SLICES = 8  # of a slow filter between two reports
PATCH_SIZE, PATCH_DISTANCE = 3, 3  # voxels, of non-local means
WAVELET, WAVELET_LEVELS = "sym4", 2  # a third level changes nothing at this noise


@dataclass(frozen=True)
class Baseline:
    """A denoiser with one parameter.

    Parameters
    ----------
    name, label : str
        In files, and as shown.
    parameter : str
        Meaning and unit of the number.
    grid : tuple of float
        Candidates.
    denoise : callable
        (array of shape (I, J, K), parameter) to an array of the same shape.
    reach : int or None
        Slices on either side that a slice's result depends on; None for all.
    is_tuned_whole : bool
        Whether the best parameter depends on the share of background, so that a slab would not
        do.
    """

    name: str
    label: str
    parameter: str
    grid: tuple[float, ...]
    denoise: Callable[[np.ndarray, float], np.ndarray]
    reach: int | None = None
    is_tuned_whole: bool = False


def _gaussian(array: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(gaussian_filter(array, sigma))


def _median(array: np.ndarray, connectivity: float) -> np.ndarray:
    footprint = generate_binary_structure(3, int(connectivity))
    return np.asarray(median_filter(array, footprint=footprint))


def _non_local_means(array: np.ndarray, strength: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return np.asarray(
        denoise_nl_means(
            array,
            patch_size=PATCH_SIZE,
            patch_distance=PATCH_DISTANCE,
            h=strength,
            fast_mode=True,
            preserve_range=True,
        )
    )


def _total_variation(array: np.ndarray, weight: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return np.asarray(denoise_tv_chambolle(array, weight=weight))


def _wavelet(array: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import denoise_wavelet

    return np.asarray(
        denoise_wavelet(
            array,
            sigma=sigma,
            wavelet=WAVELET,
            wavelet_levels=min(WAVELET_LEVELS, pywt.dwt_max_level(min(array.shape), WAVELET)),
            mode="soft",
            method="BayesShrink",
            rescale_sigma=False,
        )
    )


BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline(
            "gaussian",
            "Gaussian smoothing",
            "sigma, voxels",
            (0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
            _gaussian,
        ),
        Baseline(
            "median",
            "Median filter",
            "connectivity of the neighbourhood (1: 7 voxels, 2: 19, 3: 27)",
            (1, 2, 3),
            _median,
        ),
        Baseline(
            "non_local_means",
            "Non-local means",
            "h, intensity",
            (0.01, 0.02, 0.03, 0.045, 0.06, 0.09),
            _non_local_means,
            reach=PATCH_DISTANCE + PATCH_SIZE // 2,
        ),
        Baseline(
            "total_variation",
            "Total variation",
            "weight",
            (0.01, 0.02, 0.03, 0.04, 0.06, 0.1),
            _total_variation,
        ),
        Baseline(
            "wavelet",
            "Wavelet denoising",
            "sigma of the noise, intensity",
            (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
            _wavelet,
            is_tuned_whole=True,  # BayesShrink's thresholds come from the variance of whole bands
        ),
    )
}


def denoise(
    baseline: Baseline, array: np.ndarray, parameter: float, *, report: Report = ignore
) -> np.ndarray:
    """Denoise a volume; in chunks of slices, as far as the filter allows.

    Parameters
    ----------
    baseline : Baseline
    array : ndarray, shape (I, J, K)
        The source, intensities around [0, 1].
    parameter : float
        The baseline's.
    report : callable
        Called before each chunk, and at the end, with slices done.

    Returns
    -------
    ndarray of float32, shape (I, J, K)
        Same as from one call on the whole array.
    """
    n_slices = array.shape[2]
    done = Progress(n_slices, n_slices, baseline.label)
    if baseline.reach is None or n_slices <= CHUNK_SLICES:
        report(Progress(0, n_slices, baseline.label))
        whole = baseline.denoise(array, parameter).astype(np.float32)
        report(done)
        return whole
    out = np.empty(array.shape, np.float32)
    for first in range(0, n_slices, CHUNK_SLICES):
        report(Progress(first, n_slices, baseline.label))
        last = min(first + CHUNK_SLICES, n_slices)
        low, high = max(0, first - baseline.reach), min(n_slices, last + baseline.reach)
        chunk = baseline.denoise(array[..., low:high], parameter)
        out[..., first:last] = chunk[..., first - low : last - low]
    report(done)
    return out


def try_parameters(
    source: np.ndarray,
    target: np.ndarray,
    baselines: Iterable[Baseline],
    *,
    report: Report = ignore,
) -> dict[str, list[float]]:
    """Try each parameter of each baseline on a slab through the middle of one subject's brain.

    Parameters
    ----------
    source, target : ndarray, shape (I, J, K)
        In [0, 1]; the brain is where the target is above 0.
    baselines : iterable of Baseline
    report : callable
        Called before each trial.

    Returns
    -------
    dict
        Baseline's name to the brain PSNR, dB, of each parameter of its grid.

    Raises
    ------
    ValueError
        If the target holds nothing above 0.
    """
    box = bounding_box(target > 0, PATCH_DISTANCE + 1)
    middle = (box[2].start + min(box[2].stop, target.shape[2])) // 2
    first = max(0, min(middle - SLAB_SLICES // 2, target.shape[2] - SLAB_SLICES))
    slab = (box[0], box[1], slice(first, first + SLAB_SLICES))
    trials = [(baseline, parameter) for baseline in baselines for parameter in baseline.grid]
    scores: dict[str, list[float]] = {}
    for done, (baseline, parameter) in enumerate(trials):
        report(Progress(done, len(trials), baseline.label))
        noisy, clean = (source, target) if baseline.is_tuned_whole else (source[slab], target[slab])
        estimate = baseline.denoise(noisy, parameter)
        value = psnr(clean, estimate, data_range=1, mask=clean > 0)
        scores.setdefault(baseline.name, []).append(value)
    return scores


def choose_parameter(baseline: Baseline, training: Iterable[Mapping[str, list[float]]]) -> float:
    """Return the parameter with the best mean PSNR over the training subjects.

    Parameters
    ----------
    baseline : Baseline
    training : iterable of mappings
        From `try_parameters`, one for each training subject of the fold.

    Returns
    -------
    float
        Of the baseline's grid.

    Raises
    ------
    ValueError
        If there is no training subject.
    """
    scores = [subject[baseline.name] for subject in training]
    if not scores:
        raise ValueError(f"{baseline.label}: needs at least one training subject to be tuned on")
    return baseline.grid[int(np.argmax(np.mean(scores, axis=0)))]
