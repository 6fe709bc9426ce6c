"""Which device computes, and in which precision.

How much of a GPU's memory is taken, for those who watch a training.
"""

import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from napari_mri7t.engine.errors import DeviceError

PRECISIONS = ("auto", "float32", "bfloat16")


def available_devices() -> list[str]:
    """List what `resolve_device` takes on this machine, the fastest first."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device of this machine.

    Raises
    ------
    DeviceError
        If the machine has no such device.
    """
    devices = available_devices()
    if name == "auto":
        return torch.device(devices[0])
    if name not in {*devices, *(device.split(":")[0] for device in devices)}:
        raise DeviceError(
            f"device {name!r} is not available here; choose auto or one of {', '.join(devices)}"
        )
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto", "float32" or "bfloat16" into a type; auto takes bfloat16 where it is fast.

    Raises
    ------
    ValueError
        If the name is none of `PRECISIONS`.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision {name!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def mixed_precision(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Open a context in which convolutions run in `precision`; nothing happens for float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def precision_name(precision: torch.dtype) -> str:
    """Give the name a sidecar records: "float32" or "bfloat16"."""
    return str(precision).removeprefix("torch.")


def device_name(device: torch.device) -> str:
    """Give the hardware's name, for model cards and tables."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
        n_threads = torch.get_num_threads()
        return f"{name}, {n_threads} thread{'s' if n_threads > 1 else ''}"
    return device.type


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Without the instructions oneDNN emulates bfloat16, several times slower than float32.
        return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return False


def memory_in_use(name: str) -> tuple[int, int] | None:
    """Tell the memory taken on a CUDA device by all programs, and how much there is.

    Parameters
    ----------
    name : str
        As `resolve_device` takes it.

    Returns
    -------
    tuple of int, or None
        Bytes taken and in all; None where the device is no CUDA device.
    """
    device = resolve_device(name)
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total
