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

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volume import load_series, load_volume

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
    from napari_mri7t.engine import repetition
    from napari_mri7t.engine.progress import run_to_end
    from napari_mri7t.engine.recipe import find_image, find_same_model, read_recipe

    def repeat_it(sidecar, model_folder, source=None, **elsewhere):
        recipe = read_recipe(sidecar)
        places = repetition.Whereabouts(source, **elsewhere)
        sources = repetition.find_sources(recipe, places)
        if recipe.simulation:
            again, _ = repetition.repeat_simulation(recipe, sources)
        else:
            model = find_same_model(recipe, model_folder)
            preparation = repetition.find_preparation(recipe, sources[0], places)
            steps = repetition.repeat_synthesis(recipe, sources[0], model, preparation)
            again = run_to_end(steps).synthesis.volume
        return repetition.compare_bits(load_volume(find_image(recipe)), again)

    return repeat_it
