"""The fields of the widget "Train folds": network, preset, and every number of the recipe.

The folds of a study as a list to tick, in the widget "Train folds".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from napari_mri7t.engine.models.card import DEFAULT_MODEL, has_seen, seen_subjects
from napari_mri7t.engine.training.config import (
    PRESETS,
    TrainConfig,
    find_preset,
    network_arguments,
    network_settings,
    with_settings,
)
from napari_mri7t.widgets.shared.controls import WARNING_COLOUR, Notices, let_shrink
from napari_mri7t.widgets.shared.model_chooser import ModelChooser

DEFAULT_NETWORK, DEFAULT_PRESET = DEFAULT_MODEL, "best"  # the model has its network's name
FRESH_WEIGHTS = "Fresh weights"
NUMBERS = "All settings of the preset; rest the mouse on one for its meaning"
FINAL = -1  # as `study.FINAL`, which would import torch here
FOLD_LIST_HEIGHT = 130


def describe_settings() -> dict[str, str]:
    """Take the meaning of every number from the docstring of `TrainConfig`."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (TrainConfig.__doc__ or "").splitlines():
        head = re.match(r"    ([a-z_0-9]+(?:, [a-z_0-9]+)*)(?: : (.*))?$", line)
        if head:
            names = head.group(1).split(", ")
            found |= dict.fromkeys(names, head.group(2) or "")
        elif names and line.startswith("        "):
            found |= {name: f"{found[name]}\n{line.strip()}".strip() for name in names}
        elif names and not line.strip():
            names = []
    return found


class RecipeFields(QWidget):
    """Network, preset, and all numbers of the preset, to be seen and changed."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._is_fixed = False
        self.network_box = QComboBox()
        let_shrink(self.network_box)
        self.network_box.addItem(DEFAULT_NETWORK)
        self.network_box.setToolTip("Which network is trained")
        self.start_chooser = ModelChooser(
            FRESH_WEIGHTS,
            "Weights that the training starts from: fresh ones, or those of a trained model,\n"
            "to fine-tune it on pairs of your own",
        )
        self.preset_box = QComboBox()
        let_shrink(self.preset_box)
        self.preset_box.addItems(list(PRESETS))
        self.preset_box.setToolTip("Where the numbers come from; each can be changed below")
        self.show_box = QCheckBox("Show every number")
        self.show_box.setToolTip(NUMBERS)
        self._lines: dict[str, QLineEdit] = {}
        self.numbers = QWidget()
        self._build_numbers()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        self.notices = Notices()
        form.addRow("Network", self.network_box)
        form.addRow(self.notices)
        form.addRow("Start from", self.start_chooser)
        form.addRow("Preset", self.preset_box)
        form.addRow(self.show_box)
        form.addRow(self.numbers)
        self.show_box.toggled.connect(self.numbers.setVisible)
        self.numbers.setVisible(False)
        self.preset_box.currentTextChanged.connect(self._fill)
        self.network_box.currentTextChanged.connect(self._follow_network)
        self.start_chooser.changed.connect(self._follow_start)
        self.preset_box.setCurrentText(DEFAULT_PRESET)
        self._fill()

    def _build_numbers(self) -> None:
        form = QFormLayout(self.numbers)
        form.setContentsMargins(0, 0, 0, 0)
        self.network_line = QLineEdit()
        self.network_line.setToolTip(
            "Arguments of the network's constructor that are not its defaults:\n"
            "key=value, with semicolons between them, such as widths=[16, 32]"
        )
        self.network_line.editingFinished.connect(self.changed)
        self.network_line.setPlaceholderText("network: key=value; …")
        form.addRow(self.network_line)  # the whole width: it may hold several
        meanings = describe_settings()
        for entry in fields(TrainConfig):
            line = QLineEdit()
            line.setToolTip(meanings.get(entry.name, entry.name))
            line.editingFinished.connect(self.changed)
            self._lines[entry.name] = line
            form.addRow(entry.name, line)

    def _follow_start(self) -> None:
        """Train the network of the model that the training starts from."""
        card = self.start_chooser.card
        if card is not None:
            self.choose_network(card.network)
        self._free_network()
        self._follow_network()

    def _free_network(self) -> None:
        is_free = not self._is_fixed and self.start_chooser.card is None
        self.network_box.setEnabled(is_free)
        self.network_line.setEnabled(is_free)

    def _follow_network(self, text: str = "") -> None:
        """Show how the network is built: as its weights need it, or as the preset asks."""
        card = self.start_chooser.card
        if card is not None:
            self.show_network_config(card.network_config)
        else:
            names = self.network_box.currentText(), self.preset_box.currentText()
            self.show_network_config(network_settings(*names))

    def _fill(self, text: str = "") -> None:
        self._follow_network()
        self.show_config(find_preset(self.preset_box.currentText()))

    def show_network_config(self, arguments: Mapping[str, Any]) -> None:
        """Put the arguments of the network's constructor into their field."""
        texts = (f"{key}={json.dumps(value)}" for key, value in arguments.items())
        self.network_line.setText("; ".join(texts))
        self.network_line.setCursorPosition(0)
        self.changed.emit()

    def network_config(self) -> dict[str, Any]:
        """Give the arguments of the network's constructor as they stand.

        Raises
        ------
        ValueError
            If the field holds no "key=value".
        """
        texts = self.network_line.text().split(";")
        return network_arguments((text for text in texts if text.strip()), "network:")

    def show_config(self, config: TrainConfig) -> None:
        """Put the numbers of `config` into the fields."""
        for name, line in self._lines.items():
            line.setText(_as_text(getattr(config, name)))
            line.setCursorPosition(0)
        self.changed.emit()

    def offer_networks(self, names: Iterable[str], complaints: Iterable[str] = ()) -> None:
        """Offer the networks there are, the chosen one kept; say why others are not offered."""
        chosen = self.network_box.currentText()
        self.network_box.blockSignals(True)
        self.network_box.clear()
        self.network_box.addItems(list(names))
        self.choose_network(chosen)
        self.network_box.blockSignals(False)
        for text in complaints:
            self.notices.add(text, WARNING_COLOUR)

    def choose_network(self, name: str) -> None:
        """Show `name`, also before the networks are listed, or where it is not among them."""
        if self.network_box.findText(name) < 0:
            self.network_box.addItem(name)
        self.network_box.setCurrentText(name)

    def set_number(self, name: str, text: str) -> None:
        """Change one number, as a user does."""
        self._lines[name].setText(text)
        self.changed.emit()

    def config(self) -> TrainConfig:
        """Give the numbers as they stand.

        Raises
        ------
        ValueError
            If one of them is no number, or out of its range.
        """
        preset = find_preset(self.preset_box.currentText())
        texts = {name: line.text().strip() for name, line in self._lines.items()}
        changed = {n: t for n, t in texts.items() if t != _as_text(getattr(preset, n))}
        return with_settings(preset, changed)

    def why_not(self, held_out: dict[int, str]) -> str | None:
        """Say what is wrong with the recipe for the subjects that these folds hold out."""
        try:
            self.config()
            self.network_config()
        except ValueError as error:
            return str(error)
        card = None if self._is_fixed else self.start_chooser.card
        if card is None or not held_out:
            return None
        if not seen_subjects(card):
            return (
                f"The card of {card.name} does not say on whom it was trained. Tick all subjects "
                "only, or start from fresh weights."
            )
        known = [k for k, name in held_out.items() if has_seen(card, name)]
        if known:
            return (
                f"{card.name} was trained on {held_out[known[0]]}: fold {known[0]} cannot hold it "
                "out and start from it. Tick all subjects only, or start from fresh weights."
            )
        return None

    def fix(self, why: str, start_from: str) -> None:
        """Freeze the recipe of a study that has begun, show its start, and say why."""
        self._is_fixed = True
        self.start_chooser.show_guest(start_from)
        self._enable(why)

    def free(self) -> None:
        """Let the recipe be chosen; the start is the user's own choice again."""
        self._is_fixed = False
        self.start_chooser.end_guest()
        self._enable("")

    def _enable(self, why_not: str) -> None:
        for widget in (self.start_chooser, self.preset_box, self.numbers):
            widget.setEnabled(not why_not)
        self._free_network()
        self.show_box.setToolTip(why_not or NUMBERS)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)  # of a float all digits: six of them may be another number


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
