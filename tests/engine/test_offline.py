"""No socket is opened by what computes; that there is no network is tested over the CLI."""

from __future__ import annotations

import sys

import pytest

from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings
from napari_mri7t.engine.volumes.volume import load_volume, save_volume

LISTENERS: list[list[str]] = []  # an audit hook stays for good: one writes to whoever listens


def watch(event: str, _: object) -> None:
    if event.startswith("socket."):
        for heard in LISTENERS:
            heard.append(event)


@pytest.fixture(scope="module")
def hook():
    sys.addaudithook(watch)


@pytest.fixture
def sockets(hook):
    heard: list[str] = []
    LISTENERS.append(heard)
    yield heard
    LISTENERS.remove(heard)


def test_fault_38_synthesis_opens_no_socket(sockets, phantom_file, tiny_model, tmp_path):
    found = estimate(load_volume(phantom_file), load_model(tiny_model), SynthesisConfig("cpu"))
    save_volume(found.volume, tmp_path / "o.nii")
    assert sockets == []


def test_fault_38_training_opens_no_socket(sockets, phantom, tmp_path):
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3)):
        part = phantom.with_array(phantom.array**power)
        (tmp_path / "dataset").mkdir(exist_ok=True)
        save_volume(part, tmp_path / "dataset" / f"{name}.nii.gz")
    config = TrainConfig(n_steps=1, batch_size=1, patch_size=16, warmup_steps=0)
    network = {"widths": (8, 8), "n_blocks": 1, "n_slices": 3}
    settings = StudySettings("slice_unet", "best", config, network)
    study = start_training(tmp_path / "dataset", tmp_path / "run", settings, [])[0]
    run_fold(study, 0, "cpu")
    assert study.is_done(0)
    assert sockets == []
