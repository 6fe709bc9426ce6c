"""What every benchmark says of the machine: its name, its rate of products, the memory held."""

import contextlib
import datetime
import resource
import time
from importlib.metadata import PackageNotFoundError, version

import torch

from napari_mri7t import __version__
from napari_mri7t.engine.devices import device_name

MATRIX = 4096  # rows and columns of the product that measures the rate
RATE_SECONDS = 3.0


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


def peak_mb() -> float:
    """Tell the most memory this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine(device: torch.device) -> str:
    """Name the day, the hardware and the versions that decide the speed."""
    known = [f"napari-mri7t {__version__}"]
    for name in ("torch", "numpy", "isal"):
        with contextlib.suppress(PackageNotFoundError):
            known.append(f"{name} {version(name)}")
    return f"{datetime.date.today()}, {device_name(device)}, {', '.join(known)}"


def _wait(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()
