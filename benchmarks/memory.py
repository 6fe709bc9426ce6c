"""Peak memory and time of a synthesis from 1 mm to 0.35 mm: bounded, and linear in the voxels.

The volume is resampled to each voxel size and synthesised in a process of its own, which reports
the most memory it has held above the interpreter with its libraries, the volume itself included.

    python benchmarks/memory.py VOLUME [--model slice_unet] [--sizes 1,0.7,0.5,0.35] [--device auto]

On a GPU, the column "peak MB" is the card's own memory.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import machine, peak_mb
from scipy.ndimage import zoom

from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

TARGET_MB = 2048  # at 0.5 mm


def resampled(volume: Volume, size_mm: float) -> Volume:
    """Bring a volume to voxels of another size, by nearest neighbours."""
    factor = volume.voxel_size[0] / size_mm
    array = zoom(volume.array, factor, order=0)
    return Volume(array, volume.affine @ np.diag([1 / factor] * 3 + [1]))


def measure(path: Path, name: str, step: int, device: str) -> None:
    """Print one row; this process does nothing else."""
    model = load_model(name)
    torch.ones(64, 64) @ torch.ones(64, 64)
    base = peak_mb()
    volume = load_volume(path)
    result = estimate(volume, model, SynthesisConfig(step=step, device=device))
    on_gpu = resolve_device(device).type == "cuda"
    held = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_mb() - base
    n_voxels = volume.array.size
    shape = " x ".join(map(str, volume.shape))
    print(
        f"| {volume.voxel_size[0]:.2f} | {shape} | {result.seconds:.1f} | "
        f"{result.seconds / n_voxels * 1e6:.2f} | {held:.0f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--model", default="slice_unet")
    parser.add_argument("--sizes", default="1,0.7,0.5,0.35")
    parser.add_argument("--step", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--alone", action="store_true", help="this file, in this process")
    options = parser.parse_args()
    if options.alone:
        measure(options.volume, options.model, options.step, options.device)
        sys.exit()
    scan = load_volume(options.volume)
    print(f"{machine(resolve_device(options.device))}; {options.model}, step {options.step}\n")
    print("| voxel, mm | shape | s | s per million voxels | peak MB |\n|---|---|---|---|---|")
    for size in map(float, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "volume.nii.gz"
            save_volume(resampled(scan, size), file)
            program = [sys.executable, __file__, str(file), "--alone"]
            chosen = {"model": options.model, "step": options.step, "device": options.device}
            words = [word for key, value in chosen.items() for word in (f"--{key}", str(value))]
            subprocess.run([*program, *words])
