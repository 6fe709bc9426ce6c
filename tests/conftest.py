"""What every test may use: a small brain-like phantom, and a closed network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

if TYPE_CHECKING:
    from napari_mri7t.engine.volumes.volume import Volume

SHAPE = (40, 48, 32)  # (I, J, K): small, and no two axes alike
ORIGIN_MM = (-19.0, -25.0, -12.0)  # of the voxel (0, 0, 0)
LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")


def phantom_array(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Draw nested ellipsoids: white matter in grey in fluid, background exactly 0, in [0, 1]."""
    axes = [np.linspace(-1, 1, size) for size in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt((x / 0.85) ** 2 + (y / 0.9) ** 2 + (z / 0.85) ** 2)
    folds = 0.05 * np.cos(9 * x) * np.cos(8 * y) * np.cos(7 * z)
    ventricles = (np.abs(x) / 0.18) ** 2 + (y / 0.4) ** 2 + (z / 0.3) ** 2 < 1
    array = np.zeros(shape)
    array[radius < 1] = 0.25  # fluid
    array[radius + folds < 0.92] = 0.6  # grey
    array[radius + 2 * folds < 0.7] = 0.95  # white
    array[ventricles] = 0.2
    shading = 1 + 0.03 * np.sin(3 * x + 2 * y)
    return np.clip(array * shading, 0, 1).astype(np.float32)


@pytest.fixture
def phantom() -> Volume:
    """A brain-like volume in memory: 1 mm, RAS+, intensities in [0, 1], background 0."""
    from napari_mri7t.engine.volumes.volume import Volume

    affine = np.eye(4)
    affine[:3, 3] = ORIGIN_MM
    return Volume(phantom_array(), affine, name="phantom")


@pytest.fixture
def phantom_file(phantom: Volume, tmp_path: Path) -> Path:
    """The phantom as a NIfTI file, written by nibabel alone, stored LAS as scanners do."""
    flip = nibabel.orientations.axcodes2ornt("LAS")
    image = nibabel.Nifti1Image(phantom.array, phantom.affine).as_reoriented(flip)
    image.header.set_xyzt_units("mm", "sec")
    path = tmp_path / "phantom.nii.gz"
    nibabel.save(image, path)
    return path


@pytest.fixture
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model on disk: what it computes is no brain, but always the same."""
    return save_untrained(tmp_path_factory.mktemp("models") / "untrained", "basic_cnn")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `model_folder`, a hundred times as quick, for tests that care for all but the network."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_untrained(folder, "slice_unet", widths=[8, 8], n_blocks=1, n_slices=3)


def save_untrained(folder: Path, network_name: str, **config: object) -> Path:
    import torch

    from napari_mri7t.engine.models.card import ModelCard
    from napari_mri7t.engine.models.model import save_model
    from napari_mri7t.engine.networks import build_network, count_parameters

    torch.manual_seed(0)
    network = build_network(network_name, **config)
    card = ModelCard(
        name=folder.name,
        title=f"{network_name}, untrained, for tests",
        network=network_name,
        network_config=config,
        n_parameters=count_parameters(network),
        preprocessing={
            "voxel_size_mm": [1.0, 1.0, 1.0],
            "brain_extracted": True,
            "plane": "axial",
            "intensity_quantiles": np.linspace(0, 1, 101).tolist(),
        },
        training={},
        metrics={},
        intended_use="tests",
        sha256="",
    )
    save_model(folder, network, card)
    return folder


@pytest.fixture
def dataset(phantom: Volume, tmp_path: Path) -> Path:
    """Write three small 7T volumes of different contrast, enough to train a fold in seconds."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        array = (255 * phantom.array[8:32, 8:40, 8:24] ** power).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, phantom.affine), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def run_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `mri7t` with arguments in this process; gives (exit code, stdout, stderr)."""
    from napari_mri7t import cli

    def run_with(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mri7t", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return run_with


@pytest.fixture
def bids_errors(tmp_path: Path) -> Callable[[Path], list[dict[str, Any]]]:
    """Hold a dataset against the whole schema of BIDS; gives what the validator calls errors."""
    here = Path(sys.executable).parent
    validator = here / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")

    def errors_of(folder: Path) -> list[dict[str, Any]]:
        path = f"{here}:{os.environ['PATH']}"
        run = subprocess.run(
            [validator, "--format", "json", folder],
            env=os.environ | {"DENO_DIR": str(tmp_path / "deno"), "PATH": path},
            capture_output=True,
            text=True,
        )
        issues = json.loads(run.stdout)["issues"]["issues"]
        return [issue for issue in issues if issue["severity"] == "error"]

    return errors_of


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that would leave this machine: everything needed is in the package."""
    connect = socket.socket.connect

    def connect_at_home(self: socket.socket, address: object) -> None:
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        if internet and not str(address[0]).startswith(LOOPBACK):  # type: ignore[index]
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_at_home)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an accelerator where there is none."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if not needy:
        return
    from napari_mri7t.engine.devices import available_devices

    if available_devices() == ["cpu"]:
        for item in needy:
            item.add_marker(pytest.mark.skip(reason="no CUDA or MPS device here"))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Let the process of a test report names that are not UTF-8, which xdist cannot send."""
    report = yield
    return _sendable(report)


def _sendable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_sendable(item) for item in value)
    return value
