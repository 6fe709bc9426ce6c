"""How close a volume's synthesis comes to what the machine can multiply.

Prints, for each bundled network: the operations that whole slices need, the machine's measured
rate of matrix products in the same precision, the time the two imply, the time measured, and the
memory above the interpreter with torch loaded.

    python benchmarks/synthesis_speed.py VOLUME [--models watnet,basic_cnn] [--step 1]
"""

import argparse
import resource
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_mri7t.engine.devices import device_name, resolve_device, resolve_precision
from napari_mri7t.engine.networks import slices_of
from napari_mri7t.engine.networks.model import Model, load_model
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.synthesis import SynthesisConfig, synthesize
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


def operations(model: Model, volume: Volume, step: int) -> float:
    """Count what whole slices of the volume need, slab by slab."""
    height, width, n = volume.shape[1], volume.shape[0], volume.shape[2]
    n_slices, n_outputs = slices_of(model.network)
    slab = torch.zeros(1, n_slices, height, width)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(slab)
    return float(counter.get_total_flops()) * len(range(0, n - n_outputs + 1, step))


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
    n_operations = operations(model, volume, config.step)
    rate = product_rate(device, precision)
    result = run_to_end(synthesize(volume, model, config))
    ideal = n_operations / rate
    print(
        f"| {model.name} | {n_operations / 1e12:.2f} | {rate / 1e9:.0f} | {ideal:.2f} | "
        f"{result.seconds:.2f} | {result.seconds / ideal:.2f} | {peak_mb() - BASE_MB:.0f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--models", default="watnet,basic_cnn")
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    BASE_MB = peak_mb()
    device = resolve_device(options.device)
    print(f"{device_name(device)}, torch {torch.__version__}; target: at most {TARGET_RATIO}")
    print("| model | TFLOP | GFLOP/s | ideal s | measured s | ratio | peak MB above torch |")
    print("|---|---|---|---|---|---|---|")
    scan = load_volume(options.volume)
    for each in options.models.split(","):
        measure(each, scan, SynthesisConfig(device=options.device, step=options.step))
