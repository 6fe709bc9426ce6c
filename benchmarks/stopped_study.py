"""A study killed at ten random moments must end with the tables of one that ran in peace.

    python benchmarks/stopped_study.py [DATASET]

Runs `mri7t reproduce` on three small phantoms (or on DATASET, which takes long) once in peace and
once with SIGKILL at ten random moments, and compares every table byte for byte.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

N_KILLS = 10
SETTINGS = (
    "n_steps=40",
    "batch_size=1",
    "patch_size=16",
    "checkpoint_steps=5",
    "precision=float32",
)
OPTIONS = ("--preset", "best", "--networks", "basic_cnn,watnet", "--device", "cpu")


def main() -> int:
    """Run the study twice and say what differs; the exit code is the number of tables that do."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        dataset = Path(sys.argv[1]) if len(sys.argv) > 1 else make_phantoms(folder / "phantoms")
        start = time.perf_counter()
        command(dataset, folder / "peace").wait()
        seconds = time.perf_counter() - start
        rng = random.Random(0)
        for number in range(1, N_KILLS + 1):
            running = command(dataset, folder / "killed")
            delay = rng.uniform(0.15, 0.4) * seconds  # starting alone takes a tenth
            try:
                code = running.wait(delay)
                print(f"stop {number:2d}: had already ended, exit code {code}")
                if code:
                    return code
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
                print(f"stop {number:2d}: killed after {delay:5.1f} s")
        code = command(dataset, folder / "killed").wait()
        print(f"last run: exit code {code}")
        return code or compare_tables(folder / "peace", folder / "killed")


def command(dataset: Path, run: Path) -> subprocess.Popen[bytes]:
    """Start `mri7t reproduce`."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    call = [sys.executable, "-c", "from napari_mri7t.cli import main; main()", "reproduce"]
    return subprocess.Popen(
        [*call, str(dataset), str(run), *OPTIONS, *settings],
        stdout=subprocess.DEVNULL,
    )


def make_phantoms(folder: Path) -> Path:
    """Write three brain-like volumes that differ in contrast."""
    folder.mkdir()
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 48, 32)), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    folds = 0.05 * np.cos(9 * axes[0]) * np.cos(8 * axes[1])
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        array = np.select([radius + folds < 0.6, radius < 0.8, radius < 0.9], [0.9, 0.6, 0.2], 0.0)
        array = (255 * (array * (1 + 0.05 * np.sin(5 * axes[2]))) ** power).clip(0, 255)
        image = nibabel.Nifti1Image(array.astype(np.uint8), np.eye(4))
        nibabel.save(image, folder / f"{name}.nii.gz")
    return folder


def compare_tables(peace: Path, killed: Path) -> int:
    """Print every table with whether both runs have the same; count those that differ."""
    differing = 0
    for path in sorted((peace / "results" / "tables").iterdir()):
        other = killed / "results" / "tables" / path.name
        same = other.exists() and other.read_bytes() == path.read_bytes()
        differing += not same
        print(f"{'same  ' if same else 'DIFFERS'} {path.name}")
    leftovers = list(killed.rglob(".mri7t-*"))
    print(f"{differing} tables differ, {len(leftovers)} temporary files left")
    return differing


if __name__ == "__main__":
    sys.exit(main())
