"""Devices: which one computes, in which precision, and how much of its memory is in use."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from napari_mri7t.engine.errors import DeviceError
from napari_mri7t.engine.system import PRECISIONS


def available_devices() -> list[str]:
    """Return the devices of this machine, the fastest first, as `resolve_device` takes them."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def visible_cards() -> list[str]:
    """Return the CUDA cards that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    n_cards = torch.cuda.device_count()
    return chosen[:n_cards] if chosen[0] else [str(n) for n in range(n_cards)]


def resolve_device(name: str) -> torch.device:
    """Return the device of a name: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Parameters
    ----------
    name : str
        "auto" is the fastest of this machine.

    Raises
    ------
    DeviceError
        If the machine has no such device.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    devices = available_devices()
    if name == "auto":
        return torch.device(devices[0])
    if name not in {*devices, *(device.split(":")[0] for device in devices)}:
        raise DeviceError(
            f"device {name!r} is not available here; choose auto or one of {', '.join(devices)}"
        )
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return the name of the hardware, for model cards and tables."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
        n_threads = torch.get_num_threads()
        return f"{name}, {n_threads} thread{'s' if n_threads > 1 else ''}"
    return device.type


def memory_in_use(name: str) -> tuple[int, int] | None:
    """Return the memory of a CUDA device that all programs use, and its total.

    Parameters
    ----------
    name : str
        As `resolve_device` takes it.

    Returns
    -------
    tuple of int, or None
        Bytes in use and in total; None for any other device.
    """
    device = resolve_device(name)
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of a precision: "auto", "float32" or "bfloat16".

    Parameters
    ----------
    name : str
        "auto" is bfloat16 where the device is fast with it, else float32.
    device : torch.device

    Raises
    ------
    ValueError
        If the name is not among `PRECISIONS`.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision {name!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """Return the name recorded in a sidecar: "float32" or "bfloat16"."""
    return str(precision).removeprefix("torch.")


def mixed_precision(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which convolutions run in `precision`; for float32 it does nothing."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Without these instructions oneDNN emulates bfloat16, several times slower than float32.
        return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return False
