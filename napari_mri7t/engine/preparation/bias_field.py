"""The bias field (smooth shading) of a scan, estimated by N4.

References
----------
.. [1] Tustison et al., N4ITK: improved N3 bias correction, IEEE Transactions on Medical Imaging
   29(6):1310-1320, 2010. DOI 10.1109/TMI.2010.2046908.
"""

from typing import Any

import numpy as np

from napari_mri7t.engine.preparation.optional import in_background, in_one_itk_thread, optional
from napari_mri7t.engine.preparation.steps import CORRECTION, running
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.volumes.volume import Volume

SHRUNKEN_MM = 4.0  # voxels N4 works on: the field is far smoother than that
N_ITERATIONS = 50  # of each level, ITK's default
N_LEVELS = 3  # each halves the mesh of the spline
CONVERGENCE = 1e-3  # ITK's default
STRENGTH_PERCENTILES = (5.0, 95.0)
LEAST_STRENGTH = 0.1  # a weaker field is left in: N4 finds some 5 % in volumes without one


def estimate_bias_field(
    volume: Volume,
    mask: np.ndarray,
    report: Report = ignore,
    *,
    convergence: float = CONVERGENCE,
    n_levels: int = N_LEVELS,
) -> np.ndarray:
    """Estimate the factor by which each voxel is too bright.

    N4 sees every n-th voxel, about 4 mm apart; its field is a spline and is evaluated on all.

    Parameters
    ----------
    volume : Volume
        Raw intensities.
    mask : ndarray of bool, shape (I, J, K)
        The brain: N4 uses no other voxel.
    report : callable
        Called every 0.2 s; what it raises stops N4.
    convergence : float
        Change of the field at which a level ends; a smaller one finds stronger fields.
    n_levels : int
        More of them find a field that varies over shorter distances.

    Returns
    -------
    ndarray of float32, shape (I, J, K)
        Positive; its mean in the brain is 1, so that a corrected scan keeps its range.

    Raises
    ------
    Mri7tError
        If SimpleITK is missing or N4 fails.
    """
    sitk = optional("SimpleITK", CORRECTION)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations([N_ITERATIONS] * n_levels)
    n4.SetConvergenceThreshold(convergence)
    factors = [max(1, round(SHRUNKEN_MM / size)) for size in volume.voxel_size]
    sparse = tuple(slice(factor // 2, None, factor) for factor in factors)

    def image_of(array: np.ndarray) -> Any:
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[sparse].T))
        image.SetSpacing([s * f for s, f in zip(volume.voxel_size, factors, strict=True)])
        return image

    positive = np.maximum(volume.array, 0)  # N4 takes logarithms
    inside = (mask & (positive > 0)).astype(np.uint8)
    shrunken, shrunken_mask = image_of(positive), image_of(inside)
    now = running(CORRECTION)
    in_one_itk_thread(sitk, lambda: n4.Execute(shrunken, shrunken_mask), report, now, n4.Abort)

    def on_every_voxel() -> np.ndarray:
        # SimpleITK spreads the spline over any grid, whatever its spacing and origin: so over one
        # from the first to the last voxel that N4 saw.
        sizes = [(n - 1) * f + 1 for n, f in zip(shrunken.GetSize(), factors, strict=True)]
        log_field = sitk.GetArrayFromImage(
            n4.GetLogBiasFieldAsImage(sitk.Image(sizes, sitk.sitkFloat32))
        ).T
        rims = [
            (f // 2, n - size - f // 2)
            for f, n, size in zip(factors, volume.shape, sizes, strict=True)
        ]
        field = np.exp(np.pad(log_field, rims, mode="edge"), dtype=np.float32)
        scaled: np.ndarray = field / field[mask].mean()
        return scaled

    return in_background(on_every_voxel, report, now)


def strength_of(field: np.ndarray, mask: np.ndarray) -> float:
    """Return how much a field varies in the brain: its 95th percentile over its 5th, minus 1."""
    low, high = np.percentile(field[mask], STRENGTH_PERCENTILES)
    return float(high / low - 1)
