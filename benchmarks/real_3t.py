"""Noise, contrast, sharpness and tones of real 3T scans and of the models' estimates of them.

python benchmarks/real_3t.py FOLDER MODEL[,MODEL...] SCAN...

FOLDER caches the preparations and gets one picture per scan. All is measured in the scan's own
tissue: three classes by Otsu's thresholds in the corrected brain. Noise is the deviation of what a
Gaussian of 1.5 mm removes, deep in white matter, over white matter's mean. Contrast is the
difference of the medians of white and grey matter over that of white matter. Sharpness is the mean
slope across the boundary of white and grey matter over their difference, 1 / mm. Tones are the
medians of fluid, grey and white matter.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter
from skimage.filters import threshold_multiotsu

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.prepare import (
    PreparationConfig,
    plan_preparation,
    prepare,
)
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.report.style import GREY_MAP, figure_bytes, house_style, new_figure
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import Volume, load_volume

DEEP_MM = 2.5  # below the surface of white matter
HIGH_PASS_MM = 1.5  # sigma
NORMAL_MM = 1.0  # sigma of the surface whose normals are taken
RIM_MM = 4.0  # of the brain, which belongs to no tissue
ZOOM_MM = 70.0  # side of the picture's detail


def tissues(brain: Volume, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cerebrospinal fluid with sulci, grey and white matter, away from the brain's rim."""
    inner = binary_erosion(mask, iterations=round(RIM_MM / min(brain.voxel_size)))
    smooth = gaussian_filter(brain.array, [0.7 / size for size in brain.voxel_size])
    values = smooth[inner]
    capped = np.minimum(values, np.percentile(values, 99.5))
    low, high = threshold_multiotsu(capped[::7], 3)
    is_brighter, is_white = smooth > low, smooth > high
    return inner & ~is_brighter, inner & is_brighter & ~is_white, inner & is_white


def figures(array: np.ndarray, brain: Volume, grey: np.ndarray, white: np.ndarray) -> list[float]:
    """Return noise, contrast and sharpness."""
    sizes = brain.voxel_size
    deep = binary_erosion(white, iterations=round(DEEP_MM / min(sizes)))
    fine = array - gaussian_filter(array, [HIGH_PASS_MM / size for size in sizes])
    levels = [float(np.median(array[tissue])) for tissue in (grey, white)]
    difference = levels[1] - levels[0]
    surface = gaussian_filter(white.astype(np.float32), [NORMAL_MM / size for size in sizes])
    normals = np.stack(np.gradient(surface, *sizes))
    slopes = np.stack(np.gradient(array, *sizes))
    length = np.sqrt((normals**2).sum(0))
    edge = (abs(surface - 0.5) < 0.1) & (length > 0.1) & (grey | white)
    along = (normals * slopes).sum(0)[edge] / length[edge]
    mean = float(array[deep].mean())
    return [
        100 * float(fine[deep].std()) / mean,
        100 * difference / levels[1],
        float(along.mean()) / difference,
    ]


def prepare_file(path: Path, folder: Path) -> Prepared:
    """Return a prepared scan, from the folder's cache if it is there."""
    scan = load_volume(path)
    plan = plan_preparation(scan, PreparationConfig(keep=folder / "kept"))
    if not plan.is_needed:
        raise ValueError(f"{path}: needs no preparation, and is no raw scan")
    return prepare(scan, plan)


def picture(arrays: dict[str, np.ndarray], brain: Volume, white: np.ndarray) -> bytes:
    """Draw an axial slice of each, and a part of it."""
    k = int(np.median(np.flatnonzero(white.any(axis=(0, 1)))))
    centre = [int(np.median(np.argwhere(white[:, :, k])[:, axis])) for axis in (0, 1)]
    half = [round(ZOOM_MM / 2 / size) for size in brain.voxel_size[:2]]
    window = tuple(slice(c - h + h // 2, c + h + h // 2) for c, h in zip(centre, half, strict=True))
    high = float(np.percentile(brain.array[white], 99))
    with house_style():
        figure = new_figure(8.5, 4.0 * len(arrays))
        axes = figure.subplots(2, len(arrays), squeeze=False)
        for column, (name, array) in enumerate(arrays.items()):
            for row, part in enumerate((array[:, :, k], array[:, :, k][window])):
                axes[row, column].imshow(part.T, GREY_MAP, origin="lower", vmin=0, vmax=high)
                axes[row, column].axis("off")
            axes[0, column].set_title(name)
        return figure_bytes(figure, "png")


def measure(path: Path, folder: Path, models: dict[str, Model]) -> None:
    """Print a line per image of one scan."""
    prepared = prepare_file(path, folder)
    brain = prepared.brain
    fluid, grey, white = tissues(brain, prepared.mask)
    arrays = {"scan": brain.array}
    for name, model in models.items():
        arrays[name] = estimate(brain, model).volume.array
    for name, array in arrays.items():
        noise, contrast, sharpness = figures(array, brain, grey, white)
        tones = " | ".join(f"{np.median(array[tissue]):.0f}" for tissue in (fluid, grey, white))
        cells = f"{noise:.2f} | {contrast:.1f} | {sharpness:.3f} | {tones}"
        print(f"{brain.name} | {name} | {cells}", flush=True)
    write_content(folder / f"{brain.name}.png", picture(arrays, brain, white))


def main() -> None:
    """Take folder, models and scans from the command line."""
    folder, names, *paths = sys.argv[1:]
    models = {name: load_model(name) for name in names.split(",")}
    Path(folder).mkdir(parents=True, exist_ok=True)
    print("scan | image | noise, % | contrast, % | sharpness, 1/mm | fluid | grey | white")
    for path in paths:
        measure(Path(path), Path(folder), models)


if __name__ == "__main__":
    main()
