"""Calibrate the uncertainty of `scan_unet` on real scans that it was not trained on.

python benchmarks/uncertainty_of_scans.py SCAN... [--keep DIR] [--lesions] [--card] [--figure FILE]

SCANs are extracted 3T brains, none of them of the training. Each is made nearly free of noise
(`clean_targets.reduced`) and gets noise of several random strengths, as in the training; the
estimate of each is compared with the brain before the noise. Printed are the share of each brain's
voxels that the 90 % interval holds, by a calibration on the others, and that of each strength of
noise. --lesions repeats it with spheres in the brains, and prints whether the map is higher where
one was lost. --card writes the calibration on all brains into the card. --keep keeps the estimates.
"""

import argparse
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from clean_targets import reduced
from uncertainty import (
    LESIONS,
    Run,
    draw,
    held_out,
    kept,
    lesion_rows,
    print_coverage,
    print_lesions,
    recorded,
    through,
    write_card,
)

from napari_mri7t.engine.evaluation.robustness import Lesion, occupancy, place_lesions
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


@cache
def with_lesions(path: Path) -> tuple[Volume, tuple[Lesion, ...]]:
    """Return a scan nearly free of noise with spheres of brighter and darker tissue."""
    brain = clean_brain(path)
    top = float(brain.array.max())
    array = brain.array / top
    lesions = tuple(place_lesions(array, brain.voxel_size, LESIONS))
    for lesion in lesions:
        box, share = occupancy(lesion, array.shape, brain.voxel_size)
        array[box] += np.float32(lesion.contrast) * share
    return brain.with_array(array * top), lesions


def run(path: Path, seed: int, *, is_sick: bool = False) -> Run:
    """Add noise to a brain without, and estimate it."""
    brain, lesions = with_lesions(path) if is_sick else (clean_brain(path), ())
    source, target = simulate_3t(brain, config=SimulationConfig(preset="noise", seed=seed))
    return through(load_model(MODEL), SETTINGS, source, target.array, lesions)


def name_of(path: Path) -> str:
    """Return the name of a scan's brain."""
    return path.name.partition("_")[0]


def runs(scans: list[Path], keep: Path | None, *, is_sick: bool) -> Iterator[tuple[Path, int, Run]]:
    """Yield each scan with noise of each strength: its file, the seed and the estimate."""
    kind = "_lesions" if is_sick else ""
    for n, path in enumerate(scans):
        for seed in range(n * N_NOISES, (n + 1) * N_NOISES):
            there = None if keep is None else keep / f"{name_of(path)}_{seed}{kind}.npz"
            yield path, seed, kept(there, partial(run, path, seed, is_sick=is_sick))


def lesions_of(asked: argparse.Namespace, brains: list[HeldOut]) -> dict[str, Any]:
    """Print and return whether the map is higher where lesions were lost."""
    both = (runs(asked.scans, asked.keep, is_sick=kind) for kind in (False, True))
    rows = []
    for (path, _, plain), (_, _, sick) in zip(*both, strict=True):
        calibration = calibrate([brain for brain in brains if brain.name != name_of(path)])
        rows += list(lesion_rows(plain, sick, calibration, load_volume(path).voxel_size))
    return print_lesions(np.array(rows))


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
    parser.add_argument("--lesions", action="store_true")
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    parts: dict[str, list[HeldOut]] = {}
    levels: dict[str, list[float]] = {}
    for path, seed, made in runs(asked.scans, asked.keep, is_sick=False):
        name = name_of(path)
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
    if asked.lesions:
        measured["lesions"] = lesions_of(asked, brains)
    if asked.card:
        facts = calibrate(brains).as_dict() | recorded(SETTINGS) | measured
        write_card(find_model(MODEL), facts)
    if asked.figure is not None:
        draw(brains, asked.figure)


if __name__ == "__main__":
    main()
