"""How long a preview takes, and how far it is from the full synthesis.

Prints, for each bundled network and each plane: the time of the first slice, the mean of those
after it as a slider passes them, of slices that jump, and of a region of 40 mm; and the limit of
99.9 % of the differences inside the brain from the full synthesis, on a scale of the brain's range.
A slice of a model that averages three planes is the quick one, of its own plane.

    python benchmarks/preview_speed.py VOLUME [--models scan_unet,slice_unet] [--threads 2]
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine

from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.preview import Preview
from napari_mri7t.engine.synthesis.scan import ReadyScan, prepare_scan, synthesize_prepared
from napari_mri7t.engine.volumes.volume import load_volume

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
N_AFTER = 8  # slices that the slider passes
SIDE = 40  # voxels of a region


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(name: str, ready: ReadyScan, config: SynthesisConfig) -> None:
    """Print one model's rows."""
    model = load_model(name)
    whole, made = timed(lambda: synthesize_prepared(ready, model, config))
    full, scan = made.volume.array, ready.scan.array
    span = float(np.percentile(scan[scan > 0], 99.8))
    opening, preview = timed(lambda: Preview(ready, model, config))
    for plane, axis in PLANES.items():
        middle = scan.shape[axis] // 2
        quick = partial(preview.slice, axis, quick=True)
        first, _ = timed(partial(quick, middle))
        after, errors = [], []
        for index in range(middle + 1, middle + 1 + N_AFTER):
            seconds, found = timed(partial(quick, index))
            after.append(seconds)
            error = np.abs(found - full.take(index, axis))[scan.take(index, axis) > 0]
            errors.append(error / span)
        jump, _ = timed(partial(quick, middle // 2))
        limit = np.percentile(np.concatenate(errors), 99.9)
        print(
            f"| {name} | {plane} | {first:.2f} | {np.mean(after):.2f} | {jump:.2f} | {limit:.4f} |"
        )
    reach = [min(n, SIDE) // 2 for n in scan.shape]
    box = tuple(slice(n // 2 - r, n // 2 + r) for n, r in zip(scan.shape, reach, strict=True))
    region, _ = timed(lambda: preview.region(box))
    print(f"| {name} | region | {region:.2f} | | | |")
    print(f"| {name} | opening {opening:.2f} s, the full synthesis {whole:.2f} s | | | | |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--models", default="scan_unet,slice_unet,watnet,basic_cnn")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine(resolve_device('cpu'))}\n")
    print("| model | part | first, s | next, s | elsewhere, s | 99.9 % of differences |")
    print("|---|---|---|---|---|---|")
    scan = prepare_scan(load_volume(options.volume))
    for each in options.models.split(","):
        measure(each, scan, SynthesisConfig(device="cpu"))
