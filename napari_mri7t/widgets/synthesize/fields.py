"""The fields of the widget "Synthesize 7T" that say what is synthesised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QSpinBox,
    QWidget,
)

from napari_mri7t.widgets.layers.layers import VIEW_KEY, is_single_volume, is_volume
from napari_mri7t.widgets.layers.likely import likely_scan
from napari_mri7t.widgets.layers.planes import show_volume, shown_volume
from napari_mri7t.widgets.shared.controls import (
    FolderField,
    LayerChooser,
    let_shrink,
    overwrite_box,
    wrap_anywhere,
)
from napari_mri7t.widgets.shared.fields import LayerWatch
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.selection import SelectionBox
from napari_mri7t.widgets.synthesize.jobs import Source

ONE_LAYER, SELECTED_LAYERS, FOLDER = "One layer", "Selected layers", "A folder of files"


def _is_offered(layer: Layer) -> bool:
    return is_volume(layer) and VIEW_KEY not in layer.metadata


class SourceFields(QWidget):
    """One layer, the selected ones, or a folder.

    `changed`: another choice, or other voxels or another place of what is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, remembered: dict[str, Any]) -> None:
        super().__init__()
        self._viewer = viewer
        self.mode_box = QComboBox()
        let_shrink(self.mode_box)
        self.mode_box.addItems([ONE_LAYER, SELECTED_LAYERS, FOLDER])
        self.mode_box.setToolTip("Selected layers: those marked in the layer list, 3-D only")
        self.layer_chooser = LayerChooser(viewer, _is_offered, "The 3T volume, T1w")
        self.index_box = QSpinBox()
        self.index_box.setToolTip("Index of the volume in the 4-D layer, from 0, as the slider")
        self.selection_label = TextLabel()
        self.selection_label.setWordWrap(True)
        self.folder_field = FolderField(
            "BIDS dataset, or a folder of 3T volumes: .nii, .nii.gz, .hdr/.img, .mgz",
            "the folder of 3T volumes",
        )
        self.output_field = FolderField(
            "Becomes a BIDS derivative: an estimate and a JSON sidecar for every scan.\n"
            "A second run skips existing estimates."
        )
        self.overwrite_box = overwrite_box(
            "estimates that were made from another scan, mask, model or settings"
        )
        self.selection = SelectionBox(of_scans=True)
        self.layer_chooser.layer = likely_scan(viewer.layers)
        self._lay_out()
        self._recall(remembered)
        self._watch = LayerWatch(self)
        self._watch.changed.connect(self._refresh)
        self._connect()
        self._refresh()

    def _connect(self) -> None:
        self.mode_box.currentTextChanged.connect(self._refresh)
        self.layer_chooser.layer_changed.connect(self._refresh)
        for field in (self.folder_field, self.output_field, self.selection):
            field.changed.connect(self.changed)
        self.overwrite_box.toggled.connect(lambda is_on: self.changed.emit())
        self.index_box.valueChanged.connect(self._on_index)
        self._viewer.layers.selection.events.changed.connect(self._refresh)
        self._viewer.dims.events.current_step.connect(self._on_slider)

    def _lay_out(self) -> None:
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        for label, field in (
            ("From", self.mode_box),
            ("Layer", self.layer_chooser),
            ("Volume", self.index_box),
            ("Layers", self.selection_label),
            ("3T folder", self.folder_field),
            ("Output folder", self.output_field),
            ("", self.overwrite_box),
            ("", self.selection),
        ):
            self._form.addRow(*([label] if label else []), field)

    def _recall(self, remembered: dict[str, Any]) -> None:
        mode = str(remembered.get("from"))
        if self.layer_chooser.layer is None or mode != FOLDER:  # what is open comes first
            self.mode_box.setCurrentIndex(max(0, self.mode_box.findText(mode)))
        self.folder_field.folder = str(remembered.get("folder", ""))
        self.output_field.folder = str(remembered.get("output", ""))

    def values(self) -> dict[str, Any]:
        """Return the choices to restore in the next session."""
        return {
            "from": self.mode,
            "folder": str(self.folder_field.folder or ""),
            "output": str(self.output_field.folder or ""),
        }

    def release(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.selection.events.changed.disconnect(self._refresh)
        self._viewer.dims.events.current_step.disconnect(self._on_slider)
        self._watch.follow(())

    @property
    def _series(self) -> Layer | None:
        """The layer to synthesise one volume of, if it is chosen."""
        layer = self.layer_chooser.layer
        return layer if layer is not None and layer.ndim == 4 else None

    def _on_slider(self, event: object = None) -> None:
        """Take the volume on the screen."""
        if self._series is not None:
            self.index_box.setValue(shown_volume(self._viewer, self._series))

    def _on_index(self, index: int) -> None:
        """Show the volume that is taken."""
        if self._series is not None:
            show_volume(self._viewer, self._series, index)
        self._watch.touch()

    @property
    def mode(self) -> str:
        """`ONE_LAYER`, `SELECTED_LAYERS` or `FOLDER`."""
        return self.mode_box.currentText()

    def choose(self, layer: Layer) -> None:
        """Choose one layer, if it is still there."""
        self.mode_box.setCurrentText(ONE_LAYER)
        self.layer_chooser.refresh()  # a new layer may not be in its list yet
        self.layer_chooser.layer = layer

    def layers(self) -> list[Layer]:
        """Return the layers to synthesise, in the order of the layer list; none for a folder."""
        if self.mode == SELECTED_LAYERS:
            chosen = self._viewer.layers.selection
            return [x for x in self._viewer.layers if x in chosen and is_single_volume(x)]
        layer = self.layer_chooser.layer
        return [layer] if self.mode == ONE_LAYER and layer is not None else []

    def chooses_none(self) -> bool:
        """Return whether no scan is selected, but nothing or what shows a result.

        A layer that is added is selected, after a moment in which none is.
        """
        is_by_selection, selected = self.mode == SELECTED_LAYERS, self._viewer.layers.selection
        return is_by_selection and not any(_is_offered(layer) for layer in selected)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep selected layers selected while results are added: napari selects what is new."""
        selection = self._viewer.layers.selection
        chosen = set(selection) if self.mode == SELECTED_LAYERS else None
        yield
        if chosen is not None:
            selection.intersection_update(chosen)
            selection.update(chosen)

    def sources(self) -> list[Source]:
        """Return the layers as they are now."""
        return [
            Source(x, x.as_layer_data_tuple(), self.index_box.value() if x.ndim == 4 else None)
            for x in self.layers()
        ]

    def why_not(self) -> str | None:
        """Return what is missing before anything can start."""
        if self.mode == FOLDER and self.folder_field.why_not() is not None:
            return self.folder_field.why_not()
        if self.mode == FOLDER and self.output_field.folder is None:
            return "Choose an output folder."
        if self.mode == SELECTED_LAYERS and not self.layers():
            return "Select volumes in the layer list."
        if self.mode == ONE_LAYER and not self.layers():
            return "Open a T1w volume first: File > Open, or File > Open Sample."
        return None

    def _refresh(self, event: object = None) -> None:
        is_series = self._series is not None
        self._watch.follow(self.layers())
        if is_series:
            with QSignalBlocker(self.index_box):  # a smaller number would move the slider
                self.index_box.setMaximum(self._series.data.shape[0] - 1)
            self._on_slider()
        names = ", ".join(layer.name for layer in self.layers())
        self.selection_label.setText(wrap_anywhere(names) or "none")
        of_folder = self.folder_field, self.output_field, self.overwrite_box, self.selection
        for field, is_needed in (
            (self.layer_chooser, self.mode == ONE_LAYER),
            (self.index_box, self.mode == ONE_LAYER and is_series),
            (self.selection_label, self.mode == SELECTED_LAYERS),
            *((field, self.mode == FOLDER) for field in of_folder),
        ):
            self._form.setRowVisible(field, is_needed)
        self.changed.emit()
