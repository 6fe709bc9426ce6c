"""How much of a known noise, or of a lost resolution, is taken back from real scans.

python benchmarks/known_noise.py SCAN... [--noise 1 3 6] [--coarse] [--models NAME,NAME]

SCANs are extracted 3T brains. Each is divided by its bias field, which is found once, and gets
Rician noise of so many per cent of its 95th percentile; --coarse cuts its k-space to 1.25 mm in
place of the noise. The figure is the PSNR in the brain against the scan as it was, with the 99th
percentile of the brain as range. The scan has noise of its own, which a good filter removes, too,
and is blamed for: the figure is fair between rows where the added noise is the stronger one.
"""

from pathlib import Path

import numpy as np
from filters import filters, parser_of

from napari_mri7t.engine.preparation.bias_field import estimate_bias_field
from napari_mri7t.engine.simulation.realistic import lower_resolution
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.volume import Volume, load_volume

NOISE_PERCENTILE, RANGE_PERCENTILE = 95, 99


def corrected(path: Path) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Return a scan divided by its bias field, its brain, and the field."""
    scan = load_volume(path)
    brain = foreground_mask(scan)
    field = estimate_bias_field(scan, brain)
    return scan.with_array(np.where(brain, scan.array / field, 0)), brain, field


def with_noise(scan: Volume, brain: np.ndarray, field: np.ndarray, per_cent: float) -> Volume:
    """Add Rician noise to a scan as the scanner does, before the field is divided out."""
    generator = np.random.default_rng(0)
    raw = scan.array * field
    sigma = per_cent / 100 * np.percentile(raw[brain], NOISE_PERCENTILE)
    real, imaginary = (sigma * generator.standard_normal(raw.shape) for _ in range(2))
    noisy = np.where(brain, np.hypot(raw + real, imaginary) / field, 0)
    return scan.with_array(noisy.astype(np.float32))


def coarse(scan: Volume, brain: np.ndarray) -> Volume:
    """Lose resolution."""
    return scan.with_array(np.where(brain, lower_resolution(scan.array, scan.voxel_size), 0))


def score(reference: np.ndarray, array: np.ndarray, brain: np.ndarray) -> float:
    """Return the PSNR in the brain, dB."""
    error = np.mean((array[brain].astype(float) - reference[brain]) ** 2)
    return float(10 * np.log10(np.percentile(reference[brain], RANGE_PERCENTILE) ** 2 / error))


def main() -> None:
    """Take scans and models from the command line, and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--noise", type=float, nargs="+", default=[1.0, 3.0, 6.0])
    parser.add_argument("--coarse", action="store_true")
    asked = parser.parse_args()
    columns: list[tuple[str, np.ndarray, np.ndarray, Volume]] = []
    for path in asked.scans:
        scan, brain, field = corrected(path)
        name = path.name.split("_")[0]
        if asked.coarse:
            columns.append((f"{name}, 1.25 mm", scan.array, brain, coarse(scan, brain)))
        columns += [
            (f"{name}, {noise:g} %", scan.array, brain, with_noise(scan, brain, field, noise))
            for noise in (() if asked.coarse else asked.noise)
        ]
    print(" | ".join(("method", *(name for name, *_ in columns))))
    for name, apply in filters(asked).items():
        scores = [score(scan, apply(given), brain) for _, scan, brain, given in columns]
        print(" | ".join((name, *(f"{each:.2f}" for each in scores))), flush=True)


if __name__ == "__main__":
    main()
