"""Accuracy of the synthesis of rotated heads and of other intensity scales.

python benchmarks/raw_scan_accuracy.py turned 7T_VOLUME...     PSNR and detail, by each path
python benchmarks/raw_scan_accuracy.py fine 7T_VOLUME...       the same with voxels as in ds002748
python benchmarks/raw_scan_accuracy.py curved 7T_VOLUME...     PSNR with mapped intensities

Interpolation smooths a rotated brain, and a smooth brain is easier to estimate. The comparison is
therefore the brain rotated by one degree and interpolated in the same way. The pseudo-3T is made
after the rotation, so that its noise is not interpolated.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.models.card import REPORT_MODEL
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.registration import centre_of
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import OutputConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.grids import CUBIC, LINEAR, resample
from napari_mri7t.engine.volumes.intensity import normalize
from napari_mri7t.engine.volumes.template import model_grid
from napari_mri7t.engine.volumes.volume import Volume, load_volume

LARGEST_TURN = 20.0  # degrees, about each axis
NEARLY_UPRIGHT = 1.0  # degrees: interpolated, yet upright for a network
LARGEST_SHIFT_MM = 10.0
FINE_MM = (0.868, 0.868, 1.0)
MARGIN_VOXELS = 24  # around the field of view, so that no corner of a turned brain is cut off
RIM_VOXELS = 4  # of the brain that the detail is not measured in
DARKEST = 1e-3  # inside the brain of a pseudo-3T, so that no voxel of it is background
PATHS = {
    "own grid": OutputConfig(via="scan"),
    "1 mm and back": OutputConfig(via="mni"),
    "MNI space": OutputConfig(space="mni"),
}
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "x ** 0.6": lambda x: x**0.6,
    "x ** 1.6": lambda x: x**1.6,
    "logistic": lambda x: np.tanh(2.2 * (x - 0.5)) / np.tanh(1.1) / 2 + 0.5,
}


def turn(
    volume: Volume, angles: np.ndarray, shift_mm: np.ndarray, voxel_mm: tuple[float, ...]
) -> Volume:
    """Rotate a brain about its centre and shift it, by cubic splines, on a wider grid."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    centre = centre_of(volume)
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift_mm
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = volume.affine[:3, 3] - MARGIN_VOXELS
    shape = [
        round((n + 2 * MARGIN_VOXELS) * own / new)
        for n, own, new in zip(volume.shape, volume.voxel_size, voxel_mm, strict=True)
    ]
    wider = Volume(np.zeros(shape, np.float32), affine)
    mask = volume.with_array(foreground_mask(volume))
    inside = resample(mask, wider, matrix, order=LINEAR) > 0.5
    array = np.where(inside, resample(volume, wider, matrix, order=CUBIC).clip(DARKEST), 0)
    return Volume(array.astype(np.float32), affine, name=volume.name)


def unprepared(source: Volume, model: Model) -> Volume:
    """Return the estimate of a source as it is."""
    return synthesize(source, model, preparation=PreparationConfig(prepare="none")).volume


def pseudo_3t(target: Volume) -> Volume:
    """Return the report's pseudo-3T; the brain stays above the background."""
    source, _ = simulate_3t(target)
    return source.with_array(np.where(target.array > 0, source.array.clip(DARKEST), 0))


def detail(array: np.ndarray, mask: np.ndarray) -> float:
    """Return the deviation of what a Gaussian of 1 voxel removes within the brain."""
    fine = array - gaussian_filter(array, 1.0)
    return float(fine[mask].std())


def figures(target: Volume, estimate: Volume) -> tuple[float, float]:
    """Return brain PSNR in dB, and the share of the target's detail in the estimate."""
    mask = target.array > 0
    inner = binary_erosion(mask, iterations=RIM_VOXELS)
    share = detail(estimate.array, inner) / detail(target.array, inner)
    return psnr(target.array, estimate.array, data_range=1.0, mask=mask), share


def compare_turned(
    paths: list[Path], model: Model, voxel_mm: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> None:
    """Print the figures of each brain, upright and rotated, by each path."""
    print("brain | rotation, degrees | upright, dB (detail) | " + " | ".join(PATHS))
    losses = []
    for path in paths:
        rng = np.random.default_rng(crc32(path.name.encode()))
        loaded = load_volume(path)
        whole = loaded.with_array(normalize(loaded.array)[0])
        upright = turn(whole, np.full(3, NEARLY_UPRIGHT), np.zeros(3), voxel_mm)
        unrotated = figures(upright, unprepared(pseudo_3t(upright), model))
        angles = rng.uniform(-LARGEST_TURN, LARGEST_TURN, 3)
        shift = rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, 3)
        turned = turn(whole, angles, shift, voxel_mm)
        with TemporaryDirectory() as folder:  # prepared once for all paths
            preparation = PreparationConfig(keep=Path(folder))
            found = [figures_by(output, turned, model, preparation) for output in PATHS.values()]
        losses.append([unrotated[0] - psnr_found for psnr_found, _ in found])
        cells = [f"{value:.2f} ({share:.2f})" for value, share in (unrotated, *found)]
        degrees = ", ".join(f"{angle:.0f}" for angle in angles)
        print(f"{whole.name} | {degrees} | " + " | ".join(cells), flush=True)
    print("lost on average, dB: " + ", ".join(f"{loss:.2f}" for loss in np.mean(losses, axis=0)))


def figures_by(
    output: OutputConfig, turned: Volume, model: Model, preparation: PreparationConfig
) -> tuple[float, float]:
    """Compare with the rotated target, in the space of the output."""
    result = synthesize(pseudo_3t(turned), model, preparation=preparation, output=output)
    if output.space == "native" or result.prepared is None:
        return figures(turned, result.volume)
    grid, to_mni = model_grid(), result.prepared.to_mni
    inside = resample(turned.with_array(turned.array > 0), grid, to_mni, order=LINEAR) > 0.5
    there = np.where(inside, resample(turned, grid, to_mni).clip(DARKEST), 0)
    return figures(grid.with_array(there), result.volume)


def compare_curved(paths: list[Path], model: Model) -> None:
    """Print the PSNR of estimates of mapped intensities, mapped back."""
    print("brain | " + " | ".join(CURVES))
    for path in paths:
        loaded = load_volume(path)
        target = loaded.with_array(normalize(loaded.array)[0])
        source = pseudo_3t(target)
        levels = np.linspace(0, 1, 2001)
        cells = []
        for curve in CURVES.values():
            mapped = source.with_array(np.where(source.array > 0, curve(source.array) * 700, 0))
            estimate = unprepared(mapped, model)
            back = np.interp(estimate.array / 700, curve(levels), levels)
            value = psnr(target.array, back, data_range=1.0, mask=target.array > 0)
            cells.append(f"{value:.2f}")
        print(f"{target.name} | " + " | ".join(cells), flush=True)


def main() -> None:
    """Run the comparison that the first argument names."""
    what, *paths = sys.argv[1:]
    model = load_model(REPORT_MODEL)
    volumes = [Path(path) for path in paths]
    if what == "curved":
        compare_curved(volumes, model)
    else:
        compare_turned(volumes, model, FINE_MM if what == "fine" else (1.0, 1.0, 1.0))


if __name__ == "__main__":
    main()
