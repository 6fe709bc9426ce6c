"""Side by side in one run: this package, and what else a user would run for the same.

Prints ratios: a whole volume against a Keras build of the same network (float32, over the same
triplets; some are timed, all are counted), MONAI's sliding windows over this package's own network,
and non-local means; a training step of the report's preset against Keras; a file to a file against
the computation alone; the start of the command. `make bench` brings Keras and MONAI into an
environment of their own; without it only this package is measured.

    python benchmarks/speed.py VOLUME [--peers .venv-bench]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from machine import machine

from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.progress import Cancelled, Progress
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.training.config import find_preset
from napari_mri7t.engine.training.loop import TrainJob, train
from napari_mri7t.engine.training.pairs import TrainingSubject
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

NETWORKS = {"basic_cnn": 5.0, "watnet": 8.0}  # and how many times as fast as Keras they should be
TRAINING_TARGET = 1.9
FILE_TARGET = 1.3
STEPS = 5  # of training, the first apart
WINDOW, OVERLAP, MONAI_TRIPLETS = (96, 96), 0.25, 12
NLM_STRENGTH = 0.05
HERE = Path(__file__).parent


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def volume_seconds(name: str, volume: Volume) -> float:
    """Time a whole volume at step 1, the better of two."""
    model = load_model(name)
    return min(estimate(volume, model).seconds for _ in range(2))


def step_seconds(name: str, volume: Volume) -> float:
    """Time a step of the report's training: 32 patches of 64 x 64."""
    config = replace(find_preset("report"), n_steps=STEPS + 1, patches_per_epoch=0)
    slices = np.ascontiguousarray(volume.array.T)
    times: list[float] = []

    def note(progress: Progress) -> None:
        times.append(time.perf_counter())
        if len(times) > STEPS:
            raise Cancelled

    with tempfile.TemporaryDirectory() as folder, suppress(Cancelled):
        job = TrainJob(name, config, 0, Path(folder), resolve_device("auto"))
        train(job, [TrainingSubject("subject", slices, slices)], report=note)
    return (times[STEPS] - times[0]) / STEPS


def file_seconds(path: Path, name: str) -> tuple[float, float]:
    """Time a file to a file, and the computation in it."""
    model = load_model(name)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = estimate(load_volume(path), model)
        save_volume(result.volume, Path(folder) / "estimate.nii.gz")
        return time.perf_counter() - start, result.seconds


def keras_figures(peers: Path, name: str) -> dict[str, float]:
    """Let Keras measure itself in its own environment."""
    program = [peers / "bin" / "python", HERE / "keras_networks.py", name]
    run = subprocess.run(program, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


def monai_seconds(peers: Path, name: str, volume: Volume) -> float:
    """Time sliding windows over the same network, float32, for all triplets."""
    sys.path.append(str(peers / "monai"))
    from monai.inferers import sliding_window_inference

    network = load_model(name).network
    slices = torch.from_numpy(np.ascontiguousarray(volume.array.T))
    first = len(slices) // 2 - MONAI_TRIPLETS // 2
    triplets = slices[first : first + MONAI_TRIPLETS + 2].unfold(0, 3, 1).movedim(-1, 1)
    with torch.inference_mode():
        some = seconds(lambda: sliding_window_inference(triplets, WINDOW, 8, network, OVERLAP))
    return some / MONAI_TRIPLETS * (len(slices) - 2)


def compare(path: Path, peers: Path | None) -> None:
    """Print the table's rows."""
    volume = load_volume(path)
    n_triplets = volume.shape[2] - 2
    for name, target in NETWORKS.items():
        ours, step = volume_seconds(name, volume), step_seconds(name, volume)
        row(f"{name}: a volume, this package", ours)
        if peers:
            keras = keras_figures(peers, name)
            row(f"{name}: a volume, Keras", keras["triplet_s"] * n_triplets, ours, target)
            row(f"{name}: a volume, MONAI", monai_seconds(peers, name, volume), ours)
        row(f"{name}: a training step, this package", step)
        if peers:
            row(f"{name}: a training step, Keras", keras["step_s"], step, TRAINING_TARGET)
    ours = volume_seconds("slice_unet", volume)
    row("slice_unet: a volume, this package", ours)
    denoise = BASELINES["non_local_means"].denoise
    row("non-local means: a volume", seconds(lambda: denoise(volume.array, NLM_STRENGTH)), ours)
    for name in (*NETWORKS, "slice_unet"):
        whole, compute = file_seconds(path, name)
        row(f"{name}: file to file, beside the computation", whole, compute, FILE_TARGET)
    command = [Path(sys.executable).parent / "mri7t", "--help"]
    row("mri7t --help", min(seconds(lambda: help_of(command)) for _ in range(3)))


def help_of(command: list[Path | str]) -> None:
    """Start the command as a user does."""
    subprocess.run(command, check=True, capture_output=True)


def row(what: str, took: float, ours: float | None = None, target: float | None = None) -> None:
    """Print one line of the table; the ratio is to this package's time above it."""
    ratio = f"{took / ours:.2f}" if ours else ""
    print(f"| {what} | {took:.2f} | {ratio} | {target or ''} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--peers", type=Path, help="environment made by `make bench`")
    options = parser.parse_args()
    print(f"{machine(resolve_device('auto'))}\n\n| what | s | ratio | target |\n|---|---|---|---|")
    compare(options.volume, options.peers)
