"""Choice of a trained model: a bundled one or a folder; its card is shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.models.card import (
    CARD_FILE,
    DEFAULT_MODEL,
    REPORT_MODEL,
    ModelCard,
    bundled_folders,
    find_model,
    folder_of,
    read_card,
)
from napari_mri7t.widgets.shared.card_dialog import CardDialog
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    Notices,
    let_shrink,
    set_enabled,
    set_tooltip,
    wrap_anywhere,
)
from napari_mri7t.widgets.shared.labels import TextLabel

AUTOMATIC_TOOLTIP = (
    f"The trained model. (auto) chooses by the scan: {DEFAULT_MODEL} for real scans,\n"
    f"{REPORT_MODEL} for the report's pseudo-3T. Its card is summarised below."
)
CARD_TOOLTIP = "The model's card: use, scores, training, files"
EXAMINING, BY_SCAN = "examining", "by scan"  # in place of a model's name
LEFT_OPEN = "The scan is examined first: it decides which model is used."


class ModelChooser(QWidget):
    """A list of models, a button for a folder, and a summary of the card.

    Parameters
    ----------
    none : str
        First entry, chosen at the start, which stands for no model; by default it stands for the
        model that the scan is for.
    tooltip : str
    """

    changed = Signal()
    _is_open = False  # which model the first entry stands for

    def __init__(
        self,
        none: str = "",
        tooltip: str = AUTOMATIC_TOOLTIP,
    ) -> None:
        super().__init__()
        self._cards: list[ModelCard | None] = [None]
        self._dialogs: dict[str, CardDialog] = {}
        self._own: int | None = None  # the user's choice, while a guest is shown
        self._guest: int | None = None  # the guest's line, where it was not among the models
        self._guest_place = ""
        self.box = QComboBox()
        let_shrink(self.box)
        self.box.setToolTip(tooltip)
        self.box.setAccessibleName("Model")
        self.folder_button = QPushButton("Folder...")
        self.folder_button.setToolTip(
            "Use your own model: a folder with weights.safetensors and card.json"
        )
        self.folder_button.clicked.connect(self._ask_folder)
        self.card_button = QPushButton("Card...")
        self.card_button.clicked.connect(self.show_card)
        self.card_label = TextLabel()
        self.card_label.setWordWrap(True)
        self.notices = Notices()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        if none:  # beside a label in a form: too narrow for all in a row
            column.addWidget(self.box)
        else:
            row.addWidget(self.box, 1)
        row.addWidget(self.folder_button)
        row.addWidget(self.card_button)
        column.addLayout(row)
        column.addWidget(self.card_label)
        column.addWidget(self.notices)
        self.box.currentIndexChanged.connect(self._on_chosen)
        self.box.addItem(none, None)
        for folder in bundled_folders():
            self.add(folder)
        self.box.setCurrentIndex(0)
        if not none:
            self.suggest(DEFAULT_MODEL)
        self._on_chosen()

    @property
    def folder(self) -> Path | None:
        """The model's folder, also where the scan decides; None where there is none."""
        return self.choice or (None if self.card is None else find_model(self.card.name))

    @property
    def card(self) -> ModelCard | None:
        """The chosen model's card; None where none is chosen."""
        index = self.box.currentIndex()
        return self._cards[index] if 0 <= index < len(self._cards) else None

    @property
    def choice(self) -> Path | None:
        """The folder of a model that the user chose; None where the first entry is chosen."""
        return self.box.currentData()

    def suggest(self, name: str) -> None:
        """Make the first entry stand for the bundled model that the scan is for."""
        is_other = self._cards[0] is None or self._cards[0].name != name
        if not is_other and not self._is_open:
            return
        self._is_open = False
        self._cards[0] = read_card(find_model(name))
        self.box.setItemText(0, f"{name} (auto)")
        if self.box.currentIndex() == 0 and is_other:
            self._on_chosen()
        else:
            self._show_summary()

    def leave_open(self, words: str) -> None:
        """Show `words` in place of the first entry's model, until one is suggested."""
        self._is_open = True
        self.box.setItemText(0, f"{words} (auto)")
        self._show_summary()

    @property
    def is_undecided(self) -> bool:
        """Whether the first entry is chosen, and it is not known yet which model that is."""
        return self._is_open and self.box.currentIndex() == 0

    def add(self, folder: Path) -> bool:
        """Add the model in `folder` and choose it; show an error if there is none."""
        self.notices.clear()
        is_there = self.offer(folder)
        if is_there:
            self.box.setCurrentIndex(self._line_of(folder))
        return is_there

    def offer(self, folder: Path) -> bool:
        """Add the model in `folder` to the list; show an error if there is none."""
        card = self._card_of(folder)
        if card is not None and self._line_of(folder) < 0:
            self._cards.append(card)
            self.box.addItem(card.name, folder)
        return card is not None

    def show_guest(self, place: str) -> None:
        """Show, until `end_guest`, what a study started from, if not one of the models."""
        if self._own is not None and place == self._guest_place:
            return
        self.end_guest()
        self._own, self._guest_place = self.box.currentIndex(), place
        folder = folder_of(place)
        known = self._line_of(folder) if place else 0
        if known < 0:
            has_card = (folder / CARD_FILE).exists()
            self._cards.append(self._card_of(folder) if has_card else None)
            self.box.addItem(folder.name if has_card else f"{folder.name}, fold by fold", folder)
            known = self._guest = self.box.count() - 1
        self.box.setCurrentIndex(known)

    def end_guest(self) -> None:
        """Remove the guest and restore the user's choice."""
        if self._own is None:
            return
        self.notices.clear()
        self.box.setCurrentIndex(self._own)
        if self._guest is not None:
            self.box.removeItem(self._guest)
            del self._cards[self._guest]
        self._own = self._guest = None

    def show_card(self) -> CardDialog | None:
        """Open the chosen model's card beside the window."""
        if self.card is None:
            return None
        name = f"{self.card.name} {self.card.sha256}"
        if name not in self._dialogs:
            self._dialogs[name] = CardDialog(self.card, self)
        dialog = self._dialogs[name]
        dialog.show()
        dialog.raise_()
        return dialog

    def _card_of(self, folder: Path) -> ModelCard | None:
        """Read a card; show an error if it cannot be read."""
        try:
            return read_card(folder)
        except ModelError as error:
            self.notices.add(str(error), ERROR_COLOUR)
            return None

    def _line_of(self, folder: Path) -> int:
        """Return a folder's place among the models: Qt's own search compares objects, not paths."""
        return next((n for n in range(self.box.count()) if self.box.itemData(n) == folder), -1)

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder")
        if folder:
            self.add(Path(folder))

    def _on_chosen(self, index: int = 0) -> None:
        self._show_summary()
        self.changed.emit()

    def _show_summary(self) -> None:
        if self.is_undecided:
            self.card_label.setText(LEFT_OPEN)
            set_tooltip(self.card_label, "")
            set_enabled(self.card_button, "no model is chosen yet", CARD_TOOLTIP)
            return
        card = self.card
        self.card_label.setText("" if card is None else wrap_anywhere(summary(card)))
        set_tooltip(self.card_label, "" if card is None else f"Not for: {card.not_for}")
        why_not = "no model is chosen" if card is None else None
        set_enabled(self.card_button, why_not, CARD_TOOLTIP)
        self.card_label.setVisible(card is not None)


def summary(card: ModelCard) -> str:
    """Return a model's title, its held-out scores and its intended use."""
    title = f"{card.title} ({card.n_parameters:,} parameters)"
    scores = _figures(card), _gains_on_scans(card)
    known = list(filter(None, scores)) or ["No held-out scores."]
    return "\n".join([title, *known, card.intended_use])


def _gains_on_scans(card: ModelCard) -> str:
    """Return the mean gain in each kind of test on real scans; empty without figures."""
    try:
        scans = card.metrics["scans"].values()
        gains = [f"{entry['what']} {entry['gain']:+.2f} dB" for entry in scans]
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
    return f"On real scans, PSNR: {', '.join(gains)}" if gains else ""


def _figures(card: ModelCard) -> str:
    """Return the held-out scores in the brain, beside those of the 3T; empty without figures."""
    metrics = card.metrics
    try:
        estimate, source = metrics["estimate"]["brain"], metrics["source"]["brain"]
        psnr = f"{_spread(estimate['psnr'], '.1f')} dB (3T: {source['psnr']['mean']:.1f})"
        ssim = f"{_spread(estimate['ssim'], '.3f')} (3T: {source['ssim']['mean']:.3f})"
        n_brains = int(metrics["n_held_out"])
    except (KeyError, TypeError, ValueError):
        return ""
    brains = "1 brain" if n_brains == 1 else f"{n_brains} brains"
    is_final = card.training.get("held_out", "somebody") is None  # the figures are of its folds
    which = f"Leave-one-out on {brains}" if is_final else f"On {brains} not used in training"
    is_worse = estimate["psnr"]["mean"] < source["psnr"]["mean"]
    worse = ". The 3T as is has a higher PSNR" if is_worse else ""
    return f"{which}: PSNR {psnr}, SSIM {ssim}{worse}"


def _spread(figure: Mapping[str, float | None], form: str) -> str:
    """Return mean ± standard deviation; a single brain has none."""
    mean, std = figure["mean"], figure.get("std")
    return f"{mean:{form}}" if std is None else f"{mean:{form}} ± {std:{form}}"
