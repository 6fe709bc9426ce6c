"""What the widgets' tests share: models without training, volumes as layers, waiting for a job."""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog, QLabel, QWidget

from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.widgets.shared.worker import Job, running_jobs


def save_untrained(folder: Path, network: str, **config: Any) -> Path:
    """Write a model folder with random weights."""
    import torch

    from napari_mri7t.engine.models.model import save_model
    from napari_mri7t.engine.networks import build_network, count_parameters

    torch.manual_seed(0)
    built = build_network(network, **config)
    card = ModelCard(
        name=folder.name,
        title=f"Untrained {network}",
        network=network,
        network_config=config,
        n_parameters=count_parameters(built),
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "brain_extracted": True,
            "plane": "axial",
            "intensity_quantiles": np.linspace(0, 1, 257).tolist(),
        },
        training={"data": "none"},
        metrics={
            "n_held_out": 3,
            "source": {"brain": _figures(21.8, 0.85)},
            "estimate": {"brain": _figures(26.7, 0.951)},
        },
        intended_use="Tests.",
        sha256="",
    )
    save_model(folder, built, card)
    return folder


def _figures(psnr: float, ssim: float) -> dict[str, dict[str, float]]:
    return {"psnr": {"mean": psnr, "std": 1.5}, "ssim": {"mean": ssim, "std": 0.01}}


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that synthesises the phantom in well under a second."""
    folder = tmp_path_factory.mktemp("models") / "quick"
    return save_untrained(folder, "slice_unet", widths=[8, 8], n_blocks=1)


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes its time, so that a job can be caught in the middle."""
    return save_untrained(tmp_path_factory.mktemp("models") / "slow", "watnet")


# What the widgets load.
LIBRARIES = (
    "napari.viewer",
    "napari._qt.qt_main_window",
    "torch",
    "matplotlib.figure",
    "skimage.metrics",
    "napari_mri7t.engine.workflows.studies",
)


@pytest.fixture(scope="session", autouse=True)
def lean_collections() -> None:
    """Keep the libraries, a million objects, out of the garbage collections.

    napari's fixture makes one after each viewer, which otherwise takes longer than most tests.
    What a test leaves behind is still collected: it is made later.
    """
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_dialog_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a dialog would wait for a user: inside its loop, no timeout ends a test."""

    def refuse(self: QDialog) -> int:
        texts = [label.text() for label in self.findChildren(QLabel)]
        raise AssertionError(f"{type(self).__name__} waits for a user: {texts}")

    monkeypatch.setattr(QDialog, "exec", refuse)
    monkeypatch.setattr(QDialog, "exec_", refuse, raising=False)


@pytest.fixture(autouse=True)
def _no_key_held(request: pytest.FixtureRequest) -> None:
    """Let go of what a test before has pressed: QTest's key with Shift leaves Shift held."""
    if "qapp" in request.fixturenames and QApplication.keyboardModifiers().value:
        QTest.keyRelease(QWidget(), Qt.Key.Key_Shift)
        assert not QApplication.keyboardModifiers().value


PATIENCE_MS = 60_000


@pytest.fixture
def qtbot(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As pytest-qt gives it, but patient: what waits for an event must not fail on a busy machine.

    A test that holds a time measures it.
    """
    wait_until = qtbot.waitUntil

    def wait(callback: Callable[[], object], *, timeout: int = PATIENCE_MS) -> None:
        wait_until(callback, timeout=max(timeout, PATIENCE_MS))

    monkeypatch.setattr(qtbot, "waitUntil", wait)
    return qtbot


@pytest.fixture(autouse=True)
def _fresh_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember nothing of other tests, nor of the machine's user."""
    monkeypatch.setattr(
        "napari_mri7t.widgets.shared.settings.config_folder", lambda: tmp_path / "config"
    )


@pytest.fixture
def wait_idle(qtbot: Any) -> Callable[[], None]:
    """Wait until no job runs and no thread is left."""

    def wait() -> None:
        qtbot.waitUntil(lambda: not running_jobs(), timeout=120_000)
        assert QThreadPool.globalInstance().waitForDone(10_000)

    return wait


@pytest.fixture
def run_until() -> Callable[[Any], tuple[Job, threading.Event]]:
    """Run a job in a widget until its event is set; return both."""

    def begin(widget: Any) -> tuple[Job, threading.Event]:
        may_end = threading.Event()

        def work(report: Report) -> None:
            while not may_end.wait(0.01):
                report(Progress(0, 0, "working"))

        job = Job("Work", work)
        widget.panel.follow(job)
        job.start()
        return job, may_end

    return begin
