"""Lines of the bar of actions that hold for a while, and go when they no longer do."""

from __future__ import annotations

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer

from napari_mri7t.engine.preparation.optional import unfinished_work
from napari_mri7t.widgets.shared.controls import LayerChooser
from napari_mri7t.widgets.shared.job_panel import JobPanel

FINISHING_MS = 500  # between looks at a step that a cancel left behind
UNFINISHED = "The current step will finish in the background."
NEXT_MASK = "Press Synthesize for a run with "


class PassingWords(QObject):
    """Tells that a run was cancelled, and that the next one takes a corrected mask."""

    def __init__(self, panel: JobPanel, masks: LayerChooser) -> None:
        super().__init__(panel)
        self._panel, self._masks = panel, masks
        self._ended = ""  # the line of a cancelled run
        self._taken: Layer | None = None
        self._finishing = QTimer(self, interval=FINISHING_MS)
        self._finishing.timeout.connect(self._forget_unfinished)
        masks.layer_changed.connect(self._forget_mask)

    def tell_cancelled(self, is_kept: bool) -> None:
        """Say what a cancel left; `is_kept`: whether finished estimates are there."""
        what = "finished estimates are kept" if is_kept else "nothing was changed"
        self._ended = f"Cancelled; {what}."
        if unfinished_work():
            self._panel.conclude(f"{self._ended} {UNFINISHED}")
            self._finishing.start()
        else:
            self._panel.conclude(self._ended)

    def _forget_unfinished(self) -> None:
        if not unfinished_work():
            self._finishing.stop()
            self._panel.amend(f"{self._ended} {UNFINISHED}", self._ended)

    def promise(self, mask: Layer) -> None:
        """Say that the next run takes a mask, until another one or none is chosen."""
        self._taken = mask
        self._panel.conclude(f"{NEXT_MASK}{mask.name}.")

    def _forget_mask(self) -> None:
        if self._taken is not None and self._masks.layer is not self._taken:
            self._panel.amend(f"{NEXT_MASK}{self._taken.name}.", "")
            self._taken = None

    def release(self) -> None:
        """Look at nothing any more."""
        self._finishing.stop()
