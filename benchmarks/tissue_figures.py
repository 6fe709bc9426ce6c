"""What an enhancement does to the tissues of real scans.

python benchmarks/tissue_figures.py FOLDER SCAN... [--models NAME,NAME]

FOLDER holds `N_SS.nii.gz` (extracted scans), `N_mask.nii.gz` and `N_tissues.nii.gz`: 1 fluid, 2
grey and 3 white matter, labelled on the scan as it was. A SCAN is one N. By row: contrast to noise
of grey against white matter, by the labels; Dice of k-means on the intensities with the labels,
grey and white; and how far k-means moves the volumes of grey and white matter from those of the
scan as it is, per cent. An enhancement that moves one by more than 1 % has changed the anatomy.
"""

from pathlib import Path

import numpy as np
from filters import filters, parser_of

from napari_mri7t.engine.metrics.tissue import GREY, WHITE, cluster_tissues, tissue_contrast
from napari_mri7t.engine.volumes.volume import load_volume


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the overlap of two masks."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def figures(array: np.ndarray, tissues: np.ndarray, mask: np.ndarray) -> list[float]:
    """Return contrast to noise, two values of Dice, and two volumes in voxels."""
    found = cluster_tissues(array, mask)
    overlaps = [dice(found == label, tissues == label) for label in (GREY, WHITE)]
    volumes = [float((found == label).sum()) for label in (GREY, WHITE)]
    return [tissue_contrast(array, tissues)[0], *overlaps, *volumes]


def main() -> None:
    """Take folder, scans and models from the command line, and print a table a scan."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("scans", nargs="+")
    asked = parser.parse_args()
    for number in asked.scans:
        scan, mask, tissues = (
            load_volume(asked.folder / f"{number}_{kind}.nii.gz")
            for kind in ("SS", "mask", "tissues")
        )
        before: list[float] = []
        print(f"{number} | contrast to noise | Dice grey | white | grey moved, % | white moved, %")
        for name, apply in filters(asked).items():
            found = figures(apply(scan), tissues.array.round(), mask.array > 0)
            before = before or found[3:]
            moved = [100 * (now / then - 1) for now, then in zip(found[3:], before, strict=True)]
            row = (*(f"{each:.3f}" for each in found[:3]), *(f"{each:+.2f}" for each in moved))
            print(" | ".join((name, *row)), flush=True)


if __name__ == "__main__":
    main()
