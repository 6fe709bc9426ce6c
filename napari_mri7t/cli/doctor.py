"""`mri7t doctor`: versions and hardware, for a bug report.

Only versions, hardware and sizes: no user, host or folder names.
"""

import platform
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t import __version__
from napari_mri7t.cli.console import say
from napari_mri7t.engine.system import library_versions

if TYPE_CHECKING:
    from pathlib import Path

    import torch

LIBRARIES = (
    "torch", "numpy", "scipy", "nibabel", "scikit-image", "safetensors", "PyWavelets", "nilearn",
    "SimpleITK", "deepbet", "pydicom", "dcm2niix",
)  # fmt: skip
Facts = list[tuple[str, str]]


def system_facts() -> Facts:
    """Return package, interpreter and system; no host, no user."""
    return [
        ("napari-mri7t", __version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("System", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    ]


def device_facts() -> Facts:
    """Return devices, the fastest first, with their precision, and the memory."""
    import torch

    from napari_mri7t.engine.devices import available_devices
    from napari_mri7t.engine.system import available_memory

    found = [(name, _describe(torch.device(name))) for name in available_devices()]
    free = available_memory()
    memory = "unknown" if free is None else f"{free / 2**30:.1f} GiB free, within container limits"
    cuda = torch.version.cuda or "none"
    return [*found, ("CUDA in torch", cuda), ("Memory", memory)]


def _describe(device: "torch.device") -> str:
    import torch

    from napari_mri7t.engine.devices import device_name

    words = [device_name(device), f"auto precision {_auto_precision(device)}"]
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        words.insert(1, f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    return ", ".join(words)


def _auto_precision(device: "torch.device") -> str:
    from napari_mri7t.engine.devices import precision_name, resolve_precision

    return precision_name(resolve_precision("auto", device))


def model_facts() -> Facts:
    """Load every bundled model, and return which are intact."""
    from napari_mri7t.engine.models.card import BUNDLED, bundled_folders

    found = [(folder.relative_to(BUNDLED).as_posix(), folder) for folder in bundled_folders()]
    return [(name, _soundness(folder)) for name, folder in found] or [("none", "in this package")]


def _soundness(folder: "Path") -> str:
    from napari_mri7t.engine.errors import ModelError
    from napari_mri7t.engine.models.model import load_model

    try:
        model = load_model(folder)
    except ModelError as error:
        return str(error).replace(str(folder), folder.name)  # the path may hold a person's name
    return f"intact, SHA-256 {model.card.sha256[:12]}..."


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print versions and hardware for a bug report.

    Versions, devices, memory, Qt, OpenGL and the readers of .nii; no user, host or folder
    names. No window is opened.
    """
    from napari_mri7t.engine.texts import to_json

    sections: dict[str, Facts] = {
        "System": system_facts(),
        "Libraries": list(library_versions(LIBRARIES).items()),
        "Devices": device_facts(),
        "Models": model_facts(),
        "napari": _window_facts(),
    }
    if as_json:
        content = {name: dict(facts) for name, facts in sections.items()}
        say(*to_json(content).split("\n"))
        return
    width = max(len(name) for facts in sections.values() for name, _ in facts)
    for title, facts in sections.items():
        say(title)
        for name, value in facts:
            say(f"  {name:<{width}}  {value}")


def _window_facts() -> Facts:
    """Return facts about napari, where it is installed."""
    try:
        from napari_mri7t.widgets.shared import diagnosis
    except ImportError as error:
        reason = str(error).split(" (")[0]  # what stands in parentheses is a path
        return [("napari", f"cannot be imported: {reason}")]
    facts = library_versions(diagnosis.LIBRARIES).items()
    return [*facts, *diagnosis.nifti_plugin_facts(), *diagnosis.opengl_facts()]
