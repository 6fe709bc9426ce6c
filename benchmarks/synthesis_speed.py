"""How close a volume's synthesis comes to what the machine can multiply.

Prints, for each bundled network: the operations that whole slices need and those that are executed
(the background is left out), the machine's measured rate of matrix products in the same precision,
the time measured, its ratio to what either count implies, and the memory above torch.

    python benchmarks/synthesis_speed.py VOLUME [--models watnet,basic_cnn] [--step 1]
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from machine import machine, peak_mb, product_rate
from torch.utils.flop_counter import FlopCounterMode

from napari_mri7t.engine.devices import resolve_device, resolve_precision
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import Runner
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import Volume, load_volume

TARGET_RATIO = 1.25


def operations(model: Model, volume: Volume, config: SynthesisConfig) -> float:
    """Count what a synthesis with these settings executes: one slab of each size, times how many.

    By torch's own operations, which the counter knows.
    """
    executed: list[torch.Size] = []

    def count(runner: Runner, network: torch.nn.Module, slabs: torch.Tensor) -> torch.Tensor:
        executed.append(slabs.shape)
        return slabs[:, : model.network.n_outputs]

    with patch.object(Runner, "run", count):
        estimate(volume, model, config)
    total = 0
    for shape, n_slabs in Counter(executed).items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model.network(torch.zeros(shape))
        total += counter.get_total_flops() * n_slabs
    return float(total)


def measure(name: str, volume: Volume, config: SynthesisConfig) -> None:
    """Print one model's row."""
    model = load_model(name)
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    whole = operations(model, volume, replace(config, crop=False))
    executed = operations(model, volume, config)
    before = product_rate(device, precision)
    seconds = min(estimate(volume, model, config).seconds for _ in range(2))
    rate = max(before, product_rate(device, precision))
    print(
        f"| {model.name} | {whole / 1e12:.2f} | {executed / 1e12:.2f} | {rate / 1e9:.0f} | "
        f"{seconds:.2f} | {seconds * rate / whole:.2f} | {seconds * rate / executed:.2f} | "
        f"{peak_mb() - BASE_MB:.0f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--models", default="slice_unet,watnet,basic_cnn")
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    BASE_MB = peak_mb()
    device = resolve_device(options.device)
    print(f"{machine(device)}; target: at most {TARGET_RATIO}\n")
    print(
        "| model | TFLOP, whole slices | TFLOP, executed | GFLOP/s of products | s "
        "| s / ideal of whole slices | s / ideal of executed | peak MB above torch |"
    )
    print("|---|---|---|---|---|---|---|---|")
    scan = load_volume(options.volume)
    for each in options.models.split(","):
        measure(each, scan, SynthesisConfig(device=options.device, step=options.step))
