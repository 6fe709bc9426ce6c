"""The folds of a study as a list to tick, in the widget "Train folds"."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

FINAL = -1  # as `study.FINAL`, which would import torch here
FOLD_LIST_HEIGHT = 130


class FoldList(QListWidget):
    """The folds, one per subject held out; those that are done are ticked and cannot be chosen."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []
        self.setFixedHeight(FOLD_LIST_HEIGHT)
        self.setToolTip(
            "Fold k trains on all subjects but one, and is judged on that one.\n"
            "All subjects: the model to be used afterwards; nobody is held out."
        )
        self.itemChanged.connect(lambda item: self.changed.emit())

    def show_folds(self, names: Iterable[str], done: Iterable[int]) -> None:
        """List the subjects; the user's choice is kept where the subjects are the same."""
        before, self._names = self._names, list(names)
        titles = {n: f"{n}  without {name}" for n, name in enumerate(self._names)}
        if titles:
            titles[FINAL] = "all subjects"
        is_known = self._names == before
        chosen = set(self.chosen()) if is_known else set(titles) - {FINAL}
        finished = set(done)
        self.blockSignals(True)
        self.clear()
        for n, title in titles.items():
            item = QListWidgetItem(f"{title}  ✓ done" if n in finished else title)
            item.setData(Qt.ItemDataRole.UserRole, n)
            is_ticked = n in finished or n in chosen
            item.setCheckState(Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked)
            if n in finished:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            self.addItem(item)
        self.blockSignals(False)
        self.changed.emit()

    def chosen(self) -> tuple[int, ...]:
        """Give the folds that are ticked and not done."""
        return tuple(
            item.data(Qt.ItemDataRole.UserRole)
            for item in self._items()
            if item.checkState() == Qt.CheckState.Checked
            and item.flags() & Qt.ItemFlag.ItemIsEnabled
        )

    def held_out(self) -> dict[int, str]:
        """Name the subjects that the chosen folds hold out."""
        return {k: self._names[k] for k in self.chosen() if k != FINAL}

    def choose(self, folds: Iterable[int]) -> None:
        """Tick these folds only."""
        wanted = set(folds)
        for item in self._items():
            is_wanted = item.data(Qt.ItemDataRole.UserRole) in wanted
            if item.flags() & Qt.ItemFlag.ItemIsEnabled:
                item.setCheckState(Qt.CheckState.Checked if is_wanted else Qt.CheckState.Unchecked)

    def done(self) -> list[int]:
        """Give the folds that are done."""
        return [
            item.data(Qt.ItemDataRole.UserRole)
            for item in self._items()
            if not item.flags() & Qt.ItemFlag.ItemIsEnabled
        ]

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(n) for n in range(self.count())]
