"""The button that copies a trained model out of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_mri7t.engine.training.config import FINAL
from napari_mri7t.widgets.shared.controls import set_enabled
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.settings import OF_SYNTHESIS, Memory
from napari_mri7t.widgets.train.fields import FoldList
from napari_mri7t.widgets.train.jobs import export

if TYPE_CHECKING:
    from napari_mri7t.engine.training.study import Study


class ExportButton(QPushButton):
    """Exports the fold that is marked in the list if it is done, else the final training.

    Synthesize 7T then offers the model. Signals: `exported` (where, as a sentence), `failed` (a
    sentence).
    """

    exported = Signal(str)
    failed = Signal(str)

    def __init__(self, folds: FoldList) -> None:
        super().__init__("Export model...")
        self._folds = folds
        self._study: Study | None = None
        self._exporting = Latest("Export the model", self)
        self.clicked.connect(self._ask_folder)
        folds.currentRowChanged.connect(self._refresh)
        folds.changed.connect(self._refresh)
        self._exporting.answered.connect(self._on_exported)
        self._exporting.failed.connect(self.failed)
        self._refresh()

    def offer(self, study: Study | None) -> None:
        """Export from a study; None: there is none."""
        self._study = study
        self._refresh()

    def _fold(self) -> int | None:
        done = self._folds.done()
        return next((k for k in (self._folds.marked(), FINAL, *done) if k in done), None)

    def _refresh(self, row: int = 0) -> None:
        fold = None if self._study is None else self._fold()
        which = "" if fold is None or self._study is None else f": {self._study.label(fold)}"
        set_enabled(
            self,
            "no fold is trained yet" if fold is None else None,
            f"Copy a trained model and its card to a new folder{which}.\n"
            "Click a fold of the list to choose another",
        )

    def _ask_folder(self) -> None:
        fold, study = self._fold(), self._study
        if fold is None or study is None:
            return
        which = "final" if fold == FINAL else f"fold-{fold:02d}"
        proposed = study.folder.absolute().parent / f"{study.settings.network}-{which}"
        chosen, _ = QFileDialog.getSaveFileName(self, "New folder for the model", str(proposed))
        if chosen:
            self._exporting.ask(export, study.folder, fold, Path(chosen))

    def _on_exported(self, made: tuple[Path, str]) -> None:
        folder, text = made
        Memory().keep(OF_SYNTHESIS, {"chosen_model": str(folder)})
        self.exported.emit(text)
