"""What the benchmarks on real scans compare: plain filters, BM4D, and models."""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means, denoise_wavelet

from napari_mri7t.engine.metrics.noise import noise_level
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.grids import bounding_box
from napari_mri7t.engine.volumes.volume import Volume

MARGIN = 7  # voxels around the brain: beyond the reach of a patch
Filter = Callable[[Volume], np.ndarray]


def gaussian(scan: Volume, sigma: float) -> np.ndarray:
    """Smooth by a Gaussian, sigma in voxels."""
    found: np.ndarray = gaussian_filter(scan.array, sigma)
    return found


def non_local_means(scan: Volume, strength: float) -> np.ndarray:
    """Average similar patches; the strength is in units of the noise."""
    noise, found = noise_level(scan.array), scan.array.copy()
    box = bounding_box(found > 0, MARGIN)
    found[box] = denoise_nl_means(
        found[box], patch_size=3, patch_distance=5, h=strength * noise, sigma=noise, fast_mode=True
    )
    return found


def wavelets(scan: Volume) -> np.ndarray:
    """Shrink wavelet coefficients (BayesShrink), of the brain's box alone: air widens them."""
    noise, found = noise_level(scan.array), scan.array.copy()
    box = bounding_box(found > 0, MARGIN)
    found[box] = denoise_wavelet(
        found[box], sigma=noise, method="BayesShrink", wavelet="sym4", rescale_sigma=False
    )
    return found


def bm4d_of(scan: Volume) -> np.ndarray:
    """Filter by BM4D, whose licence is non-commercial: a yardstick, never a dependency."""
    from bm4d import bm4d

    return np.asarray(bm4d(scan.array, noise_level(scan.array)))


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """Return a parser of a benchmark's command line with the options of the models."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default="scan_unet,slice_unet", metavar="NAME,NAME")
    parser.add_argument(
        "--planes", default="", metavar="PLANE,PLANE", help="default: as on the card"
    )
    parser.add_argument("--noise-factor", type=float, default=1.0)
    return parser


def filters(asked: argparse.Namespace) -> dict[str, Filter]:
    """Return what is compared, by its name in the table.

    Parameters
    ----------
    asked : argparse.Namespace
        From `parser_of`.
    """
    planes = tuple(filter(None, asked.planes.split(",")))
    config = SynthesisConfig(planes=planes, noise_factor=asked.noise_factor)
    found: dict[str, Filter] = {
        "scan as is": lambda scan: scan.array,
        "Gaussian, 0.4 voxel": partial(gaussian, sigma=0.4),
        "Gaussian, 0.5 voxel": partial(gaussian, sigma=0.5),
        "non-local means, 0.4 s": partial(non_local_means, strength=0.4),
        "non-local means, 0.7 s": partial(non_local_means, strength=0.7),
        "wavelets": wavelets,
    }
    try:
        import bm4d  # noqa: F401
    except ImportError:
        print("bm4d is not installed: its row is left out")
    else:
        found["BM4D"] = bm4d_of
    for name in filter(None, asked.models.split(",")):
        model = load_model(name)
        found[name] = lambda scan, model=model: estimate(scan, model, config).volume.array
    return found
