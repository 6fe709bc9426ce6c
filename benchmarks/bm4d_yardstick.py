"""BM4D with the true noise level, the strongest classical baseline of the pseudo-3T task.

    pip install bm4d          # for non-commercial use only: never a dependency of this project
    python benchmarks/bm4d_yardstick.py DATASET [SUBJECT ...]

Simulates the report's pairs of a folder of 7T volumes, denoises each source, and prints the PSNR
inside the brain and of the whole volume before and after. About 10 minutes a volume on one core.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from math import sqrt
from pathlib import Path

import numpy as np

from napari_mri7t.engine.datasets.subjects import find_subjects
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.simulation.pseudo_3t import REPORT_VARIANCE, SimulationConfig, simulate_3t
from napari_mri7t.engine.volumes.volume import load_volume

REFERENCE = "0106"  # the report's, to whose histogram all are matched


def main() -> int:
    """Print a row per subject and their mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("subjects", nargs="*", help="parts of names; all by default")
    wanted = parser.parse_args()
    try:
        bm4d = importlib.import_module("bm4d").bm4d
    except ModuleNotFoundError:
        print("bm4d is not installed: pip install bm4d (non-commercial use only)", file=sys.stderr)
        return 1
    subjects = find_subjects(wanted.dataset)
    reference = next((s for s in subjects if REFERENCE in s.name), subjects[0])
    shared, rows = load_volume(reference.target), []
    print(f"{'subject':<44}{'brain as is':>13}{'BM4D':>8}{'whole as is':>13}{'BM4D':>8}{'min':>7}")
    for index, subject in enumerate(subjects):
        if wanted.subjects and not any(part in subject.name for part in wanted.subjects):
            continue
        config = SimulationConfig(REPORT_VARIANCE, seed=index)
        source, target = simulate_3t(load_volume(subject.target), reference=shared, config=config)
        start = time.perf_counter()
        estimate = source.with_array(bm4d(source.array, sqrt(REPORT_VARIANCE)).astype(np.float32))
        minutes = (time.perf_counter() - start) / 60
        before, after = compare(target, source), compare(target, estimate)
        rows.append([s[r]["psnr"] for r in ("brain", "whole") for s in (before, after)])
        show(subject.name, rows[-1], minutes)
    show("mean", np.mean(rows, axis=0).tolist(), 0.0)
    return 0


def show(name: str, psnr: list[float], minutes: float) -> None:
    """Print one row, dB and minutes."""
    brain, brain_after, whole, whole_after = psnr
    print(
        f"{name:<44}{brain:>13.2f}{brain_after:>8.2f}{whole:>13.2f}{whole_after:>8.2f}"
        f"{minutes:>7.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
