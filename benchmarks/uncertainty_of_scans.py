"""Calibrate the uncertainty of `scan_unet` on real scans that it was not trained on.

python benchmarks/uncertainty_of_scans.py SCAN... [--keep DIR] [--card] [--figure FILE]

SCANs are extracted 3T brains, none of them of the training. Each is made nearly free of noise
(`clean_targets.reduced`) and gets noise of several random strengths, as in the training; the
estimate of each is compared with the brain before the noise. Printed are the share of each brain's
voxels that the 90 % interval holds, by a calibration on the others, and that of each strength of
noise. --card writes the calibration on all brains into the card. --keep keeps the estimates.
"""

import argparse
from functools import cache, partial
from pathlib import Path

import numpy as np
from clean_targets import reduced
from uncertainty import Run, draw, held_out, kept, print_coverage, recorded, through, write_card

from napari_mri7t.engine.metrics.calibration import HeldOut, calibrate, coverage
from napari_mri7t.engine.metrics.noise import measure_noise
from napari_mri7t.engine.models.card import find_model
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.volumes.intensity import BRIGHT_LEVEL
from napari_mri7t.engine.volumes.volume import Volume, load_volume

MODEL = "scan_unet"
N_NOISES = 6  # of each brain
SETTINGS = SynthesisConfig(device="cpu", planes=("axial", "coronal", "sagittal"))


@cache
def clean_brain(path: Path) -> Volume:
    """Return a scan nearly free of noise."""
    return reduced(load_volume(path))


def run(path: Path, seed: int) -> Run:
    """Add noise to a brain without, and estimate it."""
    source, target = simulate_3t(
        clean_brain(path), config=SimulationConfig(preset="noise", seed=seed)
    )
    return through(load_model(MODEL), SETTINGS, source, target.array)


def joined(name: str, parts: list[HeldOut]) -> HeldOut:
    """Return the voxels of all runs of a brain."""
    columns = [
        np.concatenate([getattr(part.thinned(), key) for part in parts])
        for key in ("target", "estimate", "spread")
    ]
    return HeldOut(name, *columns)


def main() -> None:
    """Take the scans and the options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    parts: dict[str, list[HeldOut]] = {}
    levels: dict[str, list[float]] = {}
    for n, path in enumerate(asked.scans):
        name = path.name.partition("_")[0]
        for seed in range(n * N_NOISES, (n + 1) * N_NOISES):
            there = None if asked.keep is None else asked.keep / f"{name}_{seed}.npz"
            made = kept(there, partial(run, path, seed))
            parts.setdefault(name, []).append(held_out(f"{name}, noise {seed}", made))
            level = measure_noise(made.source.T).level / BRIGHT_LEVEL
            levels.setdefault(name, []).append(level)
            print(name, f"noise {100 * level:.1f} %", flush=True)
    brains = [joined(name, found) for name, found in parts.items()]
    held, reliability = print_coverage(brains)
    print("noise, % | held by the 90 % interval of the others, %")
    rows = [
        (level, coverage(part, calibrate([b for b in brains if b.name != name])))
        for name, found in parts.items()
        for level, part in zip(levels[name], found, strict=True)
    ]
    for level, part in sorted(rows):
        print(f"{100 * level:.1f} | {100 * part:.1f}")
    measured = {
        "coverage": round(float(np.mean(list(held.values()))), 4),
        "held_out": held,
        "reliability": reliability,
    }
    if asked.card:
        facts = calibrate(brains).as_dict() | recorded(SETTINGS) | measured
        write_card(find_model(MODEL), facts)
    if asked.figure is not None:
        draw(brains, asked.figure)


if __name__ == "__main__":
    main()
