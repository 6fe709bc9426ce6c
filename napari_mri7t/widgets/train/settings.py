"""A field for every setting of a training: a line, a list of choices, or boxes to tick."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.models.card import PLANES
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.config import CHOICES, TrainConfig, settings_of, with_settings
from napari_mri7t.widgets.shared.controls import let_shrink

NARROW = 60  # of a list, pixels: the longest name is beside one
#: The settings that decide how long a training takes; the others are behind *Advanced settings*.
IN_FRONT = {"n_steps": "Steps", "batch_size": "Batch size", "patch_size": "Patch size"}
#: Labels that differ from the settings' names with spaces; `INFERENCE` comes before its own.
LABELS = IN_FRONT | {
    "start": "Initial weights",
    "schedule": "Learning rate schedule",
    "decay_steps": "Schedule over, steps",
    "warmup_steps": "Warm-up, steps",
    "ssim_weight": "SSIM weight",
    "gradient_clip": "Largest gradient norm",
    "average_decay": "Weight averaging decay",
    "sampling": "Patch centres",
    "max_background": "Largest background share",
    "end_slices": "Skip end slices",
    "fresh_noise": "New noise per patch",
    "pseudo_3t": "Pseudo-3T degradation",
    "variance": "Noise variance",
    "checkpoint_steps": "Checkpoint every, steps",
    "step": "Slab step, slices",
    "crop": "Crop to the brain",
}
LABEL_LETTERS = 20  # of a line: the fields beside need the width
INFERENCE, HELD_OUT = "inference.", "Held-out: "  # how the held-out subject is estimated
PLANES_OF_HELD_OUT = "Planes whose estimates are averaged."


def label_of(name: str) -> str:
    """Return what the window calls a setting of the command line's `--set`."""
    own = name.removeprefix(INFERENCE)
    label = LABELS.get(own, own.replace("_", " ").capitalize())
    return label if own == name else f"{HELD_OUT}{label[0].lower()}{label[1:]}"


def describe_settings() -> dict[str, str]:
    """Return the meaning of every setting, from the docstrings of the configurations."""
    inference = _parameters(SynthesisConfig) | {"planes": PLANES_OF_HELD_OUT}
    return _parameters(TrainConfig) | {f"{INFERENCE}{name}": t for name, t in inference.items()}


def _parameters(owner: type) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (owner.__doc__ or "").splitlines():
        head = re.match(r"    ([a-z_0-9]+(?:, [a-z_0-9]+)*)(?: : (.*))?$", line)
        if head:
            names = head.group(1).split(", ")
            found |= dict.fromkeys(names, head.group(2) or "")
        elif names and line.startswith("        "):
            found |= {name: f"{found[name]}\n{line.strip()}".strip() for name in names}
        elif names and not line.strip():
            names = []
    return found


class PlanesField(QWidget):
    """A box to tick for each plane; it reads and shows them separated by commas, as a line does."""

    changed = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._boxes = {plane: QCheckBox(plane) for plane in PLANES}
        for plane, box in self._boxes.items():
            box.setAccessibleName(f"{name}, {plane}")
            column.addWidget(box)
            box.toggled.connect(self.changed)

    def setToolTip(self, text: str) -> None:  # noqa: N802
        """Tell the meaning at every box, too."""
        super().setToolTip(text)
        for box in self._boxes.values():
            box.setToolTip(text)

    def text(self) -> str:
        """Return the planes that are ticked."""
        return ",".join(plane for plane, box in self._boxes.items() if box.isChecked())

    def setText(self, text: str) -> None:  # noqa: N802
        """Tick the planes that a text names."""
        names = {name.strip() for name in text.split(",")}
        for plane, box in self._boxes.items():
            box.setChecked(plane in names)


class SettingFields(QObject):
    """The fields by the settings' names; they read and show text, as the command line does."""

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        meanings = describe_settings()
        self._fields = {
            name: self._field(name, value) for name, value in settings_of(TrainConfig()).items()
        }
        for name, field in self._fields.items():
            field.setToolTip(f"{meanings[name]}\nOn the command line: --set {name}=...")

    def _field(self, name: str, value: Any) -> QWidget:
        if name in CHOICES:
            field = QComboBox()
            let_shrink(field)
            field.setMinimumWidth(NARROW)
            field.addItems(list(CHOICES[name]))
            field.currentIndexChanged.connect(self._announce)
        elif name.rpartition(".")[2] == "planes":
            field = PlanesField(label_of(name))
            field.changed.connect(self._announce)
        elif isinstance(value, bool):
            field = QCheckBox()
            field.toggled.connect(self._announce)
        else:
            field = QLineEdit()
            field.textEdited.connect(self._announce)  # a start need not wait for another field
        return field

    def _announce(self, value: object = None) -> None:
        self.changed.emit()

    def lay_out(self, form: QFormLayout, names: Iterable[str]) -> None:
        """Add the fields of these settings to a form; a label has its field's tooltip."""
        for name in names:
            form.addRow(textwrap.fill(label_of(name), LABEL_LETTERS), self._fields[name])
            form.labelForField(self._fields[name]).setToolTip(self._fields[name].toolTip())

    def advanced(self) -> list[str]:
        """Return the names of the settings that are not in front."""
        return [name for name in self._fields if name not in IN_FRONT]

    def enable(self, is_free: bool) -> None:
        """Allow or forbid changes."""
        for field in self._fields.values():
            field.setEnabled(is_free)

    def show(self, config: TrainConfig) -> None:
        """Put the settings of `config` into the fields."""
        for name, value in settings_of(config).items():
            self.write(name, as_text(value))

    def write(self, name: str, text: str) -> None:
        """Put a text into the field of one setting."""
        field = self._fields[name]
        field.blockSignals(True)
        if isinstance(field, QComboBox):
            field.setCurrentText(text)
        elif isinstance(field, QCheckBox):
            field.setChecked(text.lower() in ("true", "1", "yes"))
        else:
            field.setText(text)
        if isinstance(field, QLineEdit):
            field.setCursorPosition(0)
        field.blockSignals(False)

    def changes(self, preset: TrainConfig) -> dict[str, str]:
        """Return the settings that differ from those of a preset, as text.

        A number that is spelt otherwise is the same.
        """
        values = settings_of(preset)
        texts = {name: _text_of(field) for name, field in self._fields.items()}
        return {name: text for name, text in texts.items() if text != as_text(values[name])}

    def config(self, preset: TrainConfig) -> TrainConfig:
        """Return the preset with these changes.

        Raises
        ------
        ValueError
            If one of them is of the wrong type or out of its range.
        """
        try:
            return with_settings(preset, self.changes(preset))
        except ValueError as error:
            raise ValueError(self._labelled(str(error))) from error

    def _labelled(self, text: str) -> str:
        """Call the setting that an error begins with by its label."""
        name = re.split(r":? ", text, maxsplit=1)[0]
        return text.replace(name, label_of(name), 1) if name in self._fields else text


def _text_of(field: QWidget) -> str:
    if isinstance(field, QComboBox):
        return field.currentText()
    return str(field.isChecked()) if isinstance(field, QCheckBox) else field.text().strip()


def as_text(value: Any) -> str:
    """Return a setting as the command line reads it."""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)  # all digits of a float: six of them may be another number
