"""Small NIfTI files, written by nibabel and then spoiled byte by byte."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import header_dtype
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume, load_series, load_volume, save_volume

SMALL = (5, 6, 7)

Spoil = Callable[..., Path]


def field(data: bytearray, name: str) -> np.ndarray:
    """A header field of a NIfTI-1 file as a view that can be assigned to."""
    return np.frombuffer(data, header_dtype, count=1)[name]


@pytest.fixture
def values() -> np.ndarray:
    """Distinct integers that every type holds, int8 too if taken modulo."""
    return np.arange(np.prod(SMALL), dtype=np.int16).reshape(SMALL)


@pytest.fixture
def make_nifti(tmp_path: Path, values: np.ndarray) -> Spoil:
    """Write a NIfTI-1 file: (name, array=..., **header fields) to path.

    Fields are set in the raw bytes, so any nonsense can be written.
    """

    def make(name: str = "scan.nii", array: np.ndarray | None = None, **fields: Any) -> Path:
        image = nibabel.Nifti1Image(values if array is None else array, np.diag([1, 2, 3, 1.0]))
        image.set_qform(image.affine, 1)
        image.set_sform(image.affine, 1)
        data = bytearray(image.to_bytes())
        for key, value in fields.items():
            field(data, key)[...] = value
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, mtime=0) if name.lower().endswith("gz") else data)
        return path

    return make


@pytest.fixture
def refuse() -> Callable[..., None]:
    """Both loaders refuse the file: (path, *words that the message must hold)."""

    def check(path: Path, *words: str) -> None:
        for load in (load_volume, load_series):
            with pytest.raises(VolumeError) as caught:
                load(path)
            message = str(caught.value)
            assert message.startswith(f"{path}: ")
            assert ": " in message.removeprefix(f"{path}: "), "says what to do"
            assert all(word in message for word in words), message

    return check


@pytest.fixture
def repeat() -> Callable[..., Any]:
    """Repeat what a sidecar tells of, and compare: (sidecar, model folder, source, **places)."""
    from napari_mri7t.engine.workflows import repeat as module

    def repeat_it(sidecar, model_folder, source=None, **elsewhere):
        paths = module.SourcePaths(source, **elsewhere)
        return module.repeat(sidecar, model=model_folder, sources=paths)

    return repeat_it


AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def phantom_array(shape: tuple[int, int, int] = (40, 48, 36)) -> np.ndarray:
    """Background 0, fluid 0.2, grey matter 0.5, white matter 0.8."""
    centre = [(n - 1) / 2 for n in shape]
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.sqrt(
        sum(((x - c) / (0.45 * n)) ** 2 for x, c, n in zip(axes, centre, shape, strict=True))
    )
    out = np.zeros(shape, np.float32)
    for edge, value in ((1.0, 0.2), (0.85, 0.5), (0.6, 0.8)):
        out[radius < edge] = value
    return out


def textured(shape: tuple[int, int, int], voxel_size: float) -> Volume:
    """A phantom with smooth edges and texture: intensities of every value, as a histogram needs."""
    plain = phantom_array(shape)
    texture = gaussian_filter(np.random.default_rng(1).normal(size=shape), 2)
    array = gaussian_filter(plain, 1) + 0.05 * texture / np.abs(texture).max()
    array = np.where(plain > 0, np.maximum(array, 0.01), 0)
    return Volume(array.astype(np.float32), np.diag([voxel_size] * 3 + [1.0]), "textured")


@pytest.fixture
def brain() -> Volume:
    return textured((40, 48, 36), 2.0)


@pytest.fixture
def fine_brain() -> Volume:
    return textured((60, 60, 60), 1.0)


@pytest.fixture
def target() -> Volume:
    return Volume(phantom_array(), AFFINE, "target")


@pytest.fixture
def source(target: Volume) -> Volume:
    noise = np.random.default_rng(0).normal(0, 0.05, target.array.shape)
    return Volume((target.array + noise).astype(np.float32), AFFINE, "source")


HEAD_SHAPE = (44, 54, 42)  # of 4 mm: a head in 0.1 million voxels
HEAD_MM = 4.0


@pytest.fixture
def head():
    """An uneven brain of 1.3 litres with a skull around it, in voxels of 4 mm; no symmetry."""
    axes = [np.arange(n) * HEAD_MM for n in HEAD_SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    x, y, z = x - 86, y - 106, z - 82
    radius = np.sqrt((x / 62) ** 2 + (y / 78) ** 2 + (z / 62) ** 2)
    head_brain = (radius < 1) * (600 + 200 * np.sin(x / 9) * np.cos(y / 13 + z / 11) + y + 2 * z)
    skull = 300.0 * ((radius > 1.15) & (radius < 1.25))
    affine = np.diag([HEAD_MM] * 3 + [1.0])
    affine[:3, 3] = (-86, -126, -72)
    return Volume(head_brain + skull, affine, name="head"), radius < 1


@pytest.fixture
def head_brain(head):
    scan, mask = head
    return scan.with_array(scan.array * mask, name="brain")


@pytest.fixture
def mask_file(head, tmp_path):
    scan, mask = head
    return save_volume(scan.with_array(mask), tmp_path / "mask.nii.gz")


@pytest.fixture
def dataset(phantom, tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        array = (255 * phantom.array**power).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, phantom.affine), folder / f"{name}.nii.gz")
    return folder
