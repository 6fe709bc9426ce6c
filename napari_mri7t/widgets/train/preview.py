"""A slice of the held-out brain during a training: 3T, estimate and 7T in one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mri7t.widgets.layers.planes import preview_to_layer
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.train.jobs import TrainingState, preview_of

if TYPE_CHECKING:
    from napari_mri7t.engine.training.loop import TrainProgress
    from napari_mri7t.engine.training.run import Preview


class HeldOutSlice(QObject):
    """Estimates the slice anew after every checkpoint.

    Signals: `failed` (a sentence).
    """

    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Image | None = None
        self._done: tuple[int, int] | None = None  # fold, its checkpoints
        self._latest = Latest("Estimate a slice", self)
        self._latest.answered.connect(self._show)
        self._latest.failed.connect(self.failed)

    def forget(self) -> None:
        """Count the checkpoints of another training."""
        self._done = None

    def follow(self, state: TrainingState, now: TrainProgress) -> None:
        """Estimate the slice if a checkpoint has been written since the last time."""
        n_checkpoints = now.done // state.request.config.checkpoint_steps
        reached = now.fold, n_checkpoints
        if n_checkpoints and reached != self._done:
            self._done = reached
            self._latest.ask(preview_of, state, now.fold)

    def _show(self, answer: tuple[str, Preview] | None) -> None:
        if answer is None:
            return
        name, preview = answer
        data, meta, _ = preview_to_layer(preview)
        title = f"{name}: 3T | step {preview.step} | 7T"
        if self._layer in self._viewer.layers:
            self._layer.data, self._layer.name = data, title
        else:
            self._layer = self._viewer.add_image(data, **meta | {"name": title})
