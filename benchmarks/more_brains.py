"""Make further brains for a training on the report's task: real 3T brains as if at 7T.

python benchmarks/more_brains.py FOLDER --scans SCAN... --reference BRAIN

SCANs are extracted 3T brains. They are corrected for the bias field and reduced by a factor of 1.5,
as benchmarks/clean_targets.py does, and matched to the histogram of BRAIN, the reference of the
report. Each but the first is then raised to a random exponent, so that narrow, bright histograms
occur as in the ten 7T brains. FOLDER is a dataset of 7T volumes alone; 7T brains may be put beside.
"""

import argparse
from pathlib import Path

import numpy as np
from clean_targets import reduced

from napari_mri7t.engine.volumes.intensity import match_histogram
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

EXPONENTS = (0.4, 1.15)
MARGIN = 4  # voxels, so that patches of 96 fit


def as_if_7t(scan: Volume, tones: np.ndarray, exponent: float) -> Volume:
    """Return a reduced scan in the tones of a 7T brain, in [0, 1], raised to an exponent."""
    small = reduced(scan).array
    tissue = small > 0
    array = np.zeros(small.shape, np.float32)
    array[tissue] = match_histogram(small[tissue], tones) ** exponent
    return Volume(np.pad(array, MARGIN), np.eye(4), name=scan.name)


def main() -> None:
    """Take the folder and the volumes from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=Path, nargs="+", required=True)
    parser.add_argument("--reference", type=Path, required=True)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    reference = load_volume(asked.reference).array
    tones = reference[reference > 0] / reference.max()
    for n, path in enumerate(asked.scans):
        exponent = rng.uniform(*EXPONENTS) if n else 1.0
        made = as_if_7t(load_volume(path), tones, exponent)
        save_volume(made, asked.folder / f"{path.name.split('_')[0]}.nii.gz")
        print(path.name, made.shape, f"{exponent:.2f}", flush=True)


if __name__ == "__main__":
    main()
