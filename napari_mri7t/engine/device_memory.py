"""How much of a GPU's memory is taken, for those who watch a training."""

import torch

from napari_mri7t.engine.devices import resolve_device


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
