"""What the way from a turned head to the model and back costs, against a head that is upright.

python benchmarks/raw_scan_accuracy.py turned 7T_VOLUME...     PSNR and detail, each way back
python benchmarks/raw_scan_accuracy.py fine 7T_VOLUME...       the same with voxels as in ds002748
python benchmarks/raw_scan_accuracy.py curved 7T_VOLUME...     the same of bent intensities

A turned brain is interpolated, and so smoother than the original: an estimate of it has less to
miss. The straight path is therefore measured on the brain turned by one degree, interpolated in the
same way. The pseudo-3T is made after turning: its noise is not interpolated.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.models.card import DEFAULT_MODEL
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.registration import centre_of
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import model_grid
from napari_mri7t.engine.synthesis.scan import synthesize as synthesize_scan
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.grids import CUBIC, LINEAR, resample
from napari_mri7t.engine.volumes.intensity import normalize
from napari_mri7t.engine.volumes.volume import Volume, load_volume

LARGEST_TURN = 20.0  # degrees, about each axis
NEARLY_UPRIGHT = 1.0  # degrees: interpolated like any turn, yet upright for a network
LARGEST_SHIFT_MM = 10.0
FINE_MM = (0.868, 0.868, 1.0)
MARGIN_VOXELS = 24  # around the field of view, so that no corner of a turned brain is cut off
RIM_VOXELS = 4  # of the brain that the detail is not measured in
DARKEST = 1e-3  # inside the brain of a pseudo-3T: its zeros are no background
STRAIGHT = PreparationConfig(prepare="none")
WAYS = {
    "own grid": PreparationConfig(way="grid"),
    "1 mm and back": PreparationConfig(way="model"),
    "model space": PreparationConfig(space="mni"),
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
    """Turn a brain about its centre and shift it, by cubic splines, on a wider grid."""
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


def synthesize(source: Volume, model: Model) -> Volume:
    """Take a source to the model as it is."""
    return run_to_end(synthesize_scan(source, model, SynthesisConfig(), STRAIGHT)).synthesis.volume


def pseudo_3t(target: Volume) -> Volume:
    """Make the report's pseudo-3T; what is brain stays above the background."""
    source, _ = simulate_3t(target)
    return source.with_array(np.where(target.array > 0, source.array.clip(DARKEST), 0))


def detail(array: np.ndarray, mask: np.ndarray) -> float:
    """Measure what a Gaussian of 1 voxel takes away, within the brain."""
    fine = array - gaussian_filter(array, 1.0)
    return float(fine[mask].std())


def figures(target: Volume, estimate: Volume) -> tuple[float, float]:
    """Give brain PSNR in dB, and the part of the target's detail that the estimate has."""
    mask = target.array > 0
    inner = binary_erosion(mask, iterations=RIM_VOXELS)
    kept = detail(estimate.array, inner) / detail(target.array, inner)
    return psnr(target.array, estimate.array, data_range=1.0, mask=mask), kept


def compare_turned(
    paths: list[Path], model: Model, voxel_mm: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> None:
    """Print the figures of each brain, upright and turned, each way back."""
    print("brain | turned by, degrees | straight, dB (detail) | " + " | ".join(WAYS))
    losses = []
    for path in paths:
        rng = np.random.default_rng(crc32(path.name.encode()))
        loaded = load_volume(path)
        whole = loaded.with_array(normalize(loaded.array)[0])
        upright = turn(whole, np.full(3, NEARLY_UPRIGHT), np.zeros(3), voxel_mm)
        straight = figures(upright, synthesize(pseudo_3t(upright), model))
        angles = rng.uniform(-LARGEST_TURN, LARGEST_TURN, 3)
        shift = rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, 3)
        turned = turn(whole, angles, shift, voxel_mm)
        with TemporaryDirectory() as folder:  # prepared once for all ways
            ways = [replace(way, keep=Path(folder)) for way in WAYS.values()]
            found = [figures_of_way(turned, model, way) for way in ways]
        losses.append([straight[0] - psnr_found for psnr_found, _ in found])
        cells = [f"{value:.2f} ({kept:.2f})" for value, kept in (straight, *found)]
        degrees = ", ".join(f"{angle:.0f}" for angle in angles)
        print(f"{whole.name} | {degrees} | " + " | ".join(cells), flush=True)
    print("lost on average, dB: " + ", ".join(f"{loss:.2f}" for loss in np.mean(losses, axis=0)))


def figures_of_way(turned: Volume, model: Model, way: PreparationConfig) -> tuple[float, float]:
    """Compare with the turned target, where the way ends."""
    source = pseudo_3t(turned)
    run = run_to_end(synthesize_scan(source, model, SynthesisConfig(), way))
    estimate = run.synthesis.volume
    if way.space == "native" or run.prepared is None:
        return figures(turned, estimate)
    grid = model_grid()
    mask = turned.with_array(turned.array > 0)
    inside = resample(mask, grid, run.prepared.to_mni, order=LINEAR) > 0.5
    there = np.where(inside, resample(turned, grid, run.prepared.to_mni).clip(DARKEST), 0)
    return figures(grid.with_array(there), estimate)


def compare_curved(paths: list[Path], model: Model) -> None:
    """Print the error of estimates of bent intensities, bent back, against the straight path."""
    print("brain | " + " | ".join(CURVES))
    for path in paths:
        loaded = load_volume(path)
        target = loaded.with_array(normalize(loaded.array)[0])
        source = pseudo_3t(target)
        levels = np.linspace(0, 1, 2001)
        cells = []
        for curve in CURVES.values():
            bent = source.with_array(np.where(source.array > 0, curve(source.array) * 700, 0))
            estimate = synthesize(bent, model)
            back = np.interp(estimate.array / 700, curve(levels), levels)
            value = psnr(target.array, back, data_range=1.0, mask=target.array > 0)
            cells.append(f"{value:.2f}")
        print(f"{target.name} | " + " | ".join(cells), flush=True)


def main() -> None:
    """Do what the first argument says."""
    what, *paths = sys.argv[1:]
    model = load_model(DEFAULT_MODEL)
    volumes = [Path(path) for path in paths]
    if what == "curved":
        compare_curved(volumes, model)
    else:
        compare_turned(volumes, model, FINE_MM if what == "fine" else (1.0, 1.0, 1.0))


if __name__ == "__main__":
    main()
