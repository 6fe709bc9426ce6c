"""The fields of the widget "Train": network, preset, every setting of the recipe, the folds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from napari_mri7t.engine.models.card import REPORT_MODEL, seen_subjects
from napari_mri7t.engine.training.config import (
    FINAL,
    PRESETS,
    TrainConfig,
    find_preset,
    network_arguments,
    network_settings,
)
from napari_mri7t.engine.training.fit import check_fit
from napari_mri7t.engine.training.seen import was_trained_on
from napari_mri7t.widgets.shared.controls import WARNING_COLOUR, Notices, let_shrink, set_tooltip
from napari_mri7t.widgets.shared.fold import FoldBox
from napari_mri7t.widgets.shared.model_chooser import ModelChooser
from napari_mri7t.widgets.train.settings import IN_FRONT, NARROW, SettingFields

DEFAULT_NETWORK, DEFAULT_PRESET = REPORT_MODEL, "best"  # the model has its network's name
FRESH_WEIGHTS = "Random weights"
SETTINGS = "All other settings of the preset; hover over one for its meaning"
FOLD_LIST_HEIGHT = 130
LEAST_SLICES = 1  # of any network: its own number is known once torch is loaded


class RecipeFields(QWidget):
    """Network, first weights, preset, and every setting of the preset."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._is_fixed = False
        self.network_box = QComboBox()
        let_shrink(self.network_box)
        self.network_box.addItem(DEFAULT_NETWORK)
        self.network_box.setToolTip("Network to train")
        self.start_chooser = ModelChooser(
            FRESH_WEIGHTS,
            "Initial weights: random, or those of a trained model to fine-tune on your own pairs",
        )
        self.start_chooser.box.setMinimumWidth(NARROW)
        self.preset_box = QComboBox()
        let_shrink(self.preset_box)
        self.preset_box.addItems(list(PRESETS))
        self.preset_box.setToolTip("Where the settings come from; each can be changed below")
        self.settings = SettingFields(self)
        self.advanced = FoldBox("Advanced settings", SETTINGS)
        self._build_network_line()
        self.settings.lay_out(self.advanced.form, self.settings.advanced())
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        self.notices = Notices()
        form.addRow("Network", self.network_box)
        form.addRow(self.notices)
        form.addRow("Start from", self.start_chooser)
        form.addRow("Preset", self.preset_box)
        self.settings.lay_out(form, IN_FRONT)
        form.addRow(self.advanced)
        self.settings.changed.connect(self.changed)
        self.preset_box.currentTextChanged.connect(self._fill)
        self.network_box.currentTextChanged.connect(self._follow_network)
        self.start_chooser.changed.connect(self._follow_start)
        self.preset_box.setCurrentText(DEFAULT_PRESET)
        self._fill()

    def _build_network_line(self) -> None:
        self.network_line = QLineEdit()
        self.network_line.setToolTip(
            "Arguments of the network's constructor that differ from its defaults:\n"
            "key=value, separated by semicolons, such as widths=[16, 32]"
        )
        self.network_line.setAccessibleName("Arguments of the network")
        self.network_line.textEdited.connect(self.changed)
        self.network_line.setPlaceholderText("network: key=value; …")
        self.advanced.form.addRow(self.network_line)  # the whole width: it may hold several

    def _follow_start(self) -> None:
        """Choose the network of the model that the training starts from."""
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
        """Return the current arguments of the network's constructor.

        Raises
        ------
        ValueError
            If the field holds no "key=value".
        """
        texts = self.network_line.text().split(";")
        return network_arguments((text for text in texts if text.strip()), "network:")

    def show_config(self, config: TrainConfig) -> None:
        """Put the settings of `config` into the fields."""
        self.settings.show(config)
        self.changed.emit()

    def offer_networks(self, names: Iterable[str], complaints: Iterable[str] = ()) -> None:
        """List these networks, keeping the choice; show why others are unavailable."""
        chosen = self.network_box.currentText()
        self.network_box.blockSignals(True)
        self.network_box.clear()
        self.network_box.addItems(list(names))
        self.choose_network(chosen)
        self.network_box.blockSignals(False)
        for text in complaints:
            self.notices.add(text, WARNING_COLOUR)

    def choose_network(self, name: str) -> None:
        """Show `name`, even before the networks are listed or if it is not among them."""
        if self.network_box.findText(name) < 0:
            self.network_box.addItem(name)
        self.network_box.setCurrentText(name)

    def set_setting(self, name: str, text: str) -> None:
        """Change one setting, as a user does."""
        self.settings.write(name, text)
        self.changed.emit()

    def config(self) -> TrainConfig:
        """Return the current settings.

        Raises
        ------
        ValueError
            If one of them is of the wrong type or out of its range.
        """
        return self.settings.config(find_preset(self.preset_box.currentText()))

    def changes(self) -> dict[str, str]:
        """Return the settings that differ from the preset's, as text."""
        return self.settings.changes(find_preset(self.preset_box.currentText()))

    def why_not(
        self, held_out: dict[int, str], shapes: Mapping[str, tuple[int, int, int]]
    ) -> str | None:
        """Return what is wrong with the recipe.

        `held_out`: subjects of the selected folds; `shapes`: of all volumes, by subject.
        """
        try:
            config = self.config()
            self.network_config()
            for name, shape in shapes.items():
                check_fit(shape, LEAST_SLICES, config, name)
        except ValueError as error:
            return str(error)
        card = None if self._is_fixed else self.start_chooser.card
        if card is None or not held_out:
            return None
        if not seen_subjects(card):
            return (
                f"The card of {card.name} does not list its training subjects. Select only "
                "'all subjects', or start from random weights."
            )
        known = [k for k, name in held_out.items() if was_trained_on(card, name)]
        if known:
            return (
                f"{card.name} was trained on {held_out[known[0]]}, which fold {known[0]} holds "
                "out. Select only 'all subjects', or start from random weights."
            )
        return None

    def fix(self, why: str, start_from: str) -> None:
        """Lock the recipe of a study that has begun; show its start and the reason."""
        self._is_fixed = True
        self.start_chooser.show_guest(start_from)
        self._enable(why)

    def free(self) -> None:
        """Unlock the recipe; restore the user's own choice of a start."""
        self._is_fixed = False
        self.start_chooser.end_guest()
        self._enable("")

    def _enable(self, why_not: str) -> None:
        for widget in (self.start_chooser, self.preset_box):
            widget.setEnabled(not why_not)
        self.settings.enable(not why_not)
        self._free_network()
        set_tooltip(self.advanced.head, why_not or SETTINGS)


class FoldList(QListWidget):
    """The folds, one per held-out subject; those that are done stay ticked."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []
        self.setAccessibleName("Folds")
        self.setFixedHeight(FOLD_LIST_HEIGHT)
        self.setToolTip(
            "Each fold trains on all subjects but one and is evaluated on that one.\n"
            "All subjects: the model to use afterwards; no subject is held out."
        )
        self.itemChanged.connect(lambda item: self.changed.emit())

    def show_folds(self, names: Iterable[str], done: Iterable[int]) -> None:
        """List the subjects; the user's selection stays where the subjects are the same."""
        before, self._names = self._names, list(names)
        titles = {n: f"Fold {n}: {name} held out" for n, name in enumerate(self._names)}
        if titles:
            titles[FINAL] = "All subjects"
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
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsUserCheckable)
            self.addItem(item)
        self.blockSignals(False)
        self.changed.emit()

    def chosen(self) -> tuple[int, ...]:
        """Return the folds that are selected and not done."""
        return tuple(
            item.data(Qt.ItemDataRole.UserRole)
            for item in self._items()
            if item.checkState() == Qt.CheckState.Checked and not _is_done(item)
        )

    def held_out(self) -> dict[int, str]:
        """Return the subjects that the selected folds hold out."""
        return {k: self._names[k] for k in self.chosen() if k != FINAL}

    def choose(self, folds: Iterable[int]) -> None:
        """Select these folds only."""
        wanted = set(folds)
        for item in self._items():
            is_wanted = item.data(Qt.ItemDataRole.UserRole) in wanted
            if not _is_done(item):
                item.setCheckState(Qt.CheckState.Checked if is_wanted else Qt.CheckState.Unchecked)

    def marked(self) -> int | None:
        """Return the fold that was clicked last."""
        item = self.currentItem()
        return None if item is None else int(item.data(Qt.ItemDataRole.UserRole))

    def done(self) -> list[int]:
        """Return the folds that are done."""
        return [item.data(Qt.ItemDataRole.UserRole) for item in self._items() if _is_done(item)]

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(n) for n in range(self.count())]


def _is_done(item: QListWidgetItem) -> bool:
    """Return whether a fold is done: it can be clicked, to be exported, but not ticked."""
    return not item.flags() & Qt.ItemFlag.ItemIsUserCheckable
