"""Make the targets of `scan_unet`: brains nearly free of noise, in tones of real 3T scans.

python benchmarks/clean_targets.py FOLDER --scans SCAN... --brains BRAIN... [--model MODEL]

SCANs are extracted 3T brains. They are corrected for the bias field and reduced by a factor of 1.5
with a light Gaussian: the noise averages away, the anatomy stays. BRAINs are extracted 7T brains of
8 bits, whose white matter lies between 240 and 255: the quantisation is filled with uniform noise,
and the tones are spread to those of a SCAN. An earlier MODEL takes away what noise is left: a
network keeps the noise of its targets. FOLDER is then a dataset of 7T volumes alone for

mri7t train FOLDER RUN --network slice_unet --preset scan --folds none --final
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.bias_field import estimate_bias_field
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.intensity import match_histogram
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

REDUCTION = 1.5
SMOOTHING_VOXELS = 0.6  # sigma
CUT = 99.8  # percentile of the brain that vessels are cut at
LEAST = 1e-3  # of that: what tissue is at least, above the background's 0
NOISE_FACTOR = 1.4  # over the model's own estimate of the noise
MARGIN = 6  # voxels around the brain


def reduced(scan: Volume) -> Volume:
    """Return a corrected scan of fewer voxels."""
    mask = foreground_mask(scan)
    corrected = np.where(mask, scan.array / estimate_bias_field(scan, mask), 0)
    part = gaussian_filter(mask.astype(np.float32), SMOOTHING_VOXELS)
    smooth = gaussian_filter(corrected, SMOOTHING_VOXELS) / part.clip(1e-3)
    small = zoom(np.where(mask, smooth, 0), 1 / REDUCTION, order=3)
    inside = zoom(mask.astype(np.float32), 1 / REDUCTION, order=1) > 0.9
    ceiling = np.percentile(small[inside], CUT)
    return _cropped(np.where(inside, small.clip(LEAST * ceiling, ceiling), 0), scan.name)


def spread(brain: Volume, tones: np.ndarray, seed: int) -> Volume:
    """Return a 7T brain in the tones of a scan."""
    mask = brain.array > 0
    filled = brain.array + np.random.default_rng(seed).random(brain.shape, np.float32) - 0.5
    array = np.zeros(brain.shape, np.float32)
    array[mask] = match_histogram(filled[mask], tones)
    return _cropped(array, brain.name)


def denoised(target: Volume, model: Model) -> Volume:
    """Return a target without what noise an earlier model finds in it."""
    tissue = target.array > 0
    least = LEAST * np.percentile(target.array[tissue], CUT)
    made = estimate(target, model, SynthesisConfig(noise_factor=NOISE_FACTOR)).volume
    return target.with_array(np.where(tissue, made.array.clip(least), 0))


def _cropped(array: np.ndarray, name: str) -> Volume:
    """Cut a brain out; its voxels count as 1 mm, since a network knows voxels only."""
    places = np.argwhere(array > 0)
    low, high = places.min(0), places.max(0) + 1
    part = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return Volume(np.pad(part, MARGIN).astype(np.float32), np.eye(4), name=name)


def main() -> None:
    """Take the folder and the volumes from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=Path, nargs="+", required=True)
    parser.add_argument("--brains", type=Path, nargs="*", default=[])
    parser.add_argument("--model", help="name or folder of a model that is told the noise")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    model = load_model(asked.model) if asked.model else None

    def save(made: Volume, path: Path) -> None:
        made = made if model is None else denoised(made, model)
        save_volume(made, asked.folder / f"{path.name.split('_')[0]}.nii.gz")
        print(path.name, made.shape, flush=True)

    tones = []
    for path in asked.scans:
        made = reduced(load_volume(path))
        tones.append(made.array[made.array > 0])
        save(made, path)
    for n, path in enumerate(asked.brains):
        save(spread(load_volume(path), tones[n % len(tones)], seed=n), path)


if __name__ == "__main__":
    main()
