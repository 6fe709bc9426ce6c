"""What a bug report needs to know of a machine, and nothing of its owner.

No user, host or folder is named: only versions, hardware and sizes.
"""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from napari_mri7t import __version__
from napari_mri7t.engine.cards import BUNDLED, bundled_folders
from napari_mri7t.engine.devices import (
    available_devices,
    device_name,
    precision_name,
    resolve_precision,
)
from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.files.streams import available_memory
from napari_mri7t.engine.networks.model import load_model

LIBRARIES = (
    "torch", "numpy", "scipy", "nibabel", "scikit-image", "safetensors", "PyWavelets", "nilearn",
)  # fmt: skip

Facts = list[tuple[str, str]]


def library_versions(names: Sequence[str] = LIBRARIES) -> Facts:
    """Give the installed versions of libraries, without importing them.

    Parameters
    ----------
    names : sequence of str
        As pip knows them.

    Returns
    -------
    list of (str, str)
        Name and version, or "not installed".
    """
    return [(name, _version(name)) for name in names]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def system_facts() -> Facts:
    """Name the package, the interpreter and the system; no host, no user.

    Returns
    -------
    list of (str, str)
    """
    return [
        ("napari-mri7t", __version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("System", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    ]


def device_facts() -> Facts:
    """Tell what can compute here, in which precision, and with how much memory.

    Returns
    -------
    list of (str, str)
        One entry per device, the fastest first, as `--device` takes it; then the memory.
    """
    found = [(name, _describe(torch.device(name))) for name in available_devices()]
    free = available_memory()
    memory = "unknown" if free is None else f"{free / 2**30:.1f} GiB free, container limits counted"
    cuda = torch.version.cuda or "none"
    return [*found, ("CUDA in torch", cuda), ("Memory", memory)]


def _describe(device: torch.device) -> str:
    words = [device_name(device), f"auto precision {_auto_precision(device)}"]
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        words.insert(1, f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    return ", ".join(words)


def _auto_precision(device: torch.device) -> str:
    return precision_name(resolve_precision("auto", device))


def model_facts() -> Facts:
    """Load every bundled model, and tell which are sound.

    Returns
    -------
    list of (str, str)
        Name, and "sound" with the start of the weights' SHA-256, or what is wrong.
    """
    found = [(folder.relative_to(BUNDLED).as_posix(), folder) for folder in bundled_folders()]
    return [(name, _soundness(folder)) for name, folder in found] or [("none", "in this package")]


def _soundness(folder: Path) -> str:
    try:
        model = load_model(folder)
    except ModelError as error:
        return str(error).replace(str(folder), folder.name)  # the path may hold a person's name
    return f"sound, SHA-256 {model.card.sha256[:12]}..."
