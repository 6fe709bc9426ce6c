"""How close a volume's synthesis comes to what the machine can multiply.

Prints, for each bundled network: the operations that whole slices need and those that are executed
(the background is left out), the machine's measured rate of matrix products in the same precision,
the time measured, its ratio to what either count implies, and the memory above torch.

    python benchmarks/synthesis_speed.py VOLUME [--models watnet,basic_cnn] [--step 1]
"""

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_mri7t.engine.devices import device_name, resolve_device, resolve_precision
from napari_mri7t.engine.networks.model import Model, load_model
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.synthesis import synthesize
from napari_mri7t.engine.synthesis_config import SynthesisConfig
from napari_mri7t.engine.volume import Volume, load_volume

MATRIX = 4096  # rows and columns of the product that measures the rate
RATE_SECONDS = 3.0
TARGET_RATIO = 1.25


def product_rate(device: torch.device, precision: torch.dtype) -> float:
    """Measure operations per second of square matrix products."""
    a = torch.randn(MATRIX, MATRIX, device=device, dtype=precision)
    b = torch.randn(MATRIX, MATRIX, device=device, dtype=precision)
    _wait(a @ b)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < RATE_SECONDS:
        _wait(a @ b)
        count += 1
    return 2 * MATRIX**3 * count / (time.perf_counter() - start)


def operations(model: Model, volume: Volume, config: SynthesisConfig) -> float:
    """Count what a synthesis with these settings really executes."""
    with FlopCounterMode(display=False) as counter:
        run_to_end(synthesize(volume, model, config))
    return float(counter.get_total_flops())


def peak_mb() -> float:
    """Tell the most memory this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _wait(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def measure(name: str, volume: Volume, config: SynthesisConfig) -> None:
    """Print one model's row."""
    model = load_model(name)
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    whole = operations(model, volume, replace(config, crop=False))
    executed = operations(model, volume, config)
    rate = product_rate(device, precision)
    seconds = min(run_to_end(synthesize(volume, model, config)).seconds for _ in range(2))
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
    print(f"{device_name(device)}, torch {torch.__version__}; target: at most {TARGET_RATIO}")
    print(
        "| model | TFLOP, whole slices | TFLOP, executed | GFLOP/s of products | s "
        "| s / ideal of whole slices | s / ideal of executed | peak MB above torch |"
    )
    print("|---|---|---|---|---|---|---|---|")
    scan = load_volume(options.volume)
    for each in options.models.split(","):
        measure(each, scan, SynthesisConfig(device=options.device, step=options.step))
