"""The button that saves what a widget has made: one file, or all results as a BIDS derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from napari.utils.history import get_save_history, update_save_history
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog

from napari_mri7t.engine.datasets.bids import DESCRIPTION_FILE
from napari_mri7t.engine.datasets.estimates import name_beside, scan_of
from napari_mri7t.engine.volumes.files.streams import extension_of
from napari_mri7t.widgets.io.writer import EXTENSION, save_layer, write_layers
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, LayerData
from napari_mri7t.widgets.shared.controls import set_enabled, wrap_anywhere
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.menu_button import MenuButton

KINDS = "NIfTI (*.nii.gz *.nii)"
ALL = "Save all as a BIDS derivative..."
TOOLTIP = (
    "Save {} as NIfTI, with a JSON file that says how it was made:\n"
    "the result that is selected in the layer list, else the last one.\n"
    "The arrow: all results as a BIDS derivative."
)


class SaveButton(MenuButton):
    """Saves the results that were offered to it, in the background.

    Signals: `saved` (where, as a sentence), `failed` (a sentence), `about_changed` (`chosen` may be
    another result, or have another name).
    """

    about_changed = Signal()
    saved = Signal(str)
    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer, is_own: Callable[[Mapping[str, Any]], bool]) -> None:
        super().__init__("Save...", {ALL: self._ask_folder})
        self._viewer = viewer
        # Also of a widget that was closed; `is_own` tells by the provenance
        self._results = [layer for layer in viewer.layers if _is_unsaved(layer, is_own)]
        self._saving = Latest("Save", self)
        self.clicked.connect(self._ask_file)
        self._saving.answered.connect(self._on_saved)
        self._saving.failed.connect(self.failed)
        for event in self._events():
            event.connect(self._refresh)
        self._refresh()

    def _events(self) -> tuple[Any, ...]:
        layers = self._viewer.layers
        return layers.events.removed, layers.events.renamed, layers.selection.events.active

    def offer(self, *layers: Layer) -> None:
        """Add results, until their layers are deleted."""
        self._results += layers
        self._refresh()

    def results(self) -> list[Layer]:
        """Return the results that are still in the layer list, the last one last."""
        return [layer for layer in self._results if layer in self._viewer.layers]

    @property
    def chosen(self) -> Layer | None:
        """The result to save: the one that is selected in the layer list, else the last one."""
        active = self._viewer.layers.selection.active
        return active if active in self._results else next(reversed(self._results), None)

    def release(self) -> None:
        """Stop listening to the viewer, before Qt deletes this control."""
        for event in self._events():
            event.disconnect(self._refresh)
        self._results = []

    def _refresh(self, event: object = None) -> None:
        self._results = self.results()
        name = "the result" if self.chosen is None else self.chosen.name
        why_not = None if self._results else "there is no result yet"
        set_enabled(self, why_not, TOOLTIP.format(name))
        self.about_changed.emit()

    def _ask_file(self) -> None:
        layer = self.chosen
        proposed = str(proposed_path(layer))
        chosen, _ = QFileDialog.getSaveFileName(self, f"Save {layer.name}", proposed, KINDS)
        if chosen:
            self.save(layer, Path(chosen))

    def save(self, layer: Layer, path: Path) -> None:
        """Save one layer under the name that the dialog returned, after it asked to overwrite."""
        is_named = bool(extension_of(path))
        target = path if is_named else path.with_name(path.name + EXTENSION)
        self._saving.ask(_save, layer.as_layer_data_tuple(), target, is_named)

    def _on_saved(self, answer: tuple[str, Path]) -> None:
        text, path = answer
        update_save_history(str(path))
        self.saved.emit(text)

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Folder of the BIDS derivative", get_save_history()[0]
        )
        if chosen:
            self.save_all(Path(chosen))

    def save_all(self, folder: Path) -> None:
        """Save all results into a BIDS derivative; no file there is replaced."""
        layers = [layer.as_layer_data_tuple() for layer in self._results]
        self._saving.ask(_save_all, layers, folder)


class ResultLine(TextLabel):
    """Names the result that each button is about, once there are several.

    Parameters
    ----------
    save : SaveButton
    others
        With a signal `about_changed`, a property `chosen` and a method `text`, as `save`.
    """

    def __init__(self, save: SaveButton, *others: Any) -> None:
        super().__init__()
        self.setWordWrap(True)
        self._save, self._buttons = save, (save, *others)
        for button in self._buttons:
            button.about_changed.connect(self._tell)
        self._tell()

    def _tell(self) -> None:
        named: dict[str, list[str]] = {}
        for button in self._buttons:
            if button.chosen is not None:
                named.setdefault(button.chosen.name, []).append(button.text())
        lines = (f"{' and '.join(buttons)}: {name}" for name, buttons in named.items())
        self.setText(wrap_anywhere("\n".join(lines)))
        is_needed = len(self._save.results()) > 1
        if self.parentWidget() is not None or not is_needed:  # else it would be a window
            self.setVisible(is_needed)


def _is_unsaved(layer: Layer, is_own: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Return whether a layer is a result that was made here, not opened from a file."""
    provenance = layer.metadata.get(KEY, {}).get("provenance")
    is_result = provenance and layer.source.path is None and VIEW_KEY not in layer.metadata
    return bool(is_result) and is_own(provenance)


def proposed_path(layer: Layer) -> Path:
    """Return the file proposed for a result: named after its scan, beside it if that is a file."""
    facts = layer.metadata[KEY]
    path = None if facts["geometry"] is None else facts["geometry"].path
    folder = Path(get_save_history()[0]) if path is None else path.absolute().parent
    made_by = str(facts["provenance"]["GeneratedBy"][0]["Description"])
    return folder / name_beside(scan_of(layer.name), made_by, _names_in(folder))


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:  # as saving will say
        return []


def _save(layer: LayerData, target: Path, is_named: bool) -> tuple[str, Path]:
    path = save_layer(layer, target, overwrite=is_named)
    return f"Saved: {path}", path


def _save_all(layers: list[LayerData], folder: Path) -> tuple[str, Path]:
    n_saved = len(write_layers(str(folder), layers))
    what = "1 volume" if n_saved == 1 else f"{n_saved} volumes"
    return f"Saved: {what} in {folder}", folder / DESCRIPTION_FILE
