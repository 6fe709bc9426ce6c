"""The quality of a preparation: layers over the result, a histogram, a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels, Layer
from napari.utils import DirectLabelColormap
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_mri7t.engine.preparation.quality import (
    Histograms,
    QualityVolumes,
    histograms,
    quality_volumes,
)
from napari_mri7t.engine.volumes.volume import shares_grid
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, volume_to_layer
from napari_mri7t.widgets.shared.controls import INFORMATION_COLOUR, set_enabled, wrap_anywhere
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.plots import HistogramPlot

if TYPE_CHECKING:
    from napari_mri7t.engine.models.card import ModelCard
    from napari_mri7t.engine.preparation.prepared import Prepared
    from napari_mri7t.engine.volumes.volume import Volume

VIEW = "quality"
SHOW, REMOVE = "Show quality layers", "Remove quality layers"
COMPUTING = "Computing..."
USE = "Use this mask"
BRUSH_VOXELS = 6
#: From the lowest to the topmost; those that hide others begin invisible.
NAMES = {
    "before": "before",
    "after": "after",
    "difference": "after - before",
    "checkerboard": "template | scan",
    "mask": "brain mask",
}
VISIBLE = ("checkerboard", "mask")


class QualityPanel(QWidget):
    """Shows the quality of the last preparation, and offers its brain mask for correction."""

    failed = Signal(str)
    mask_accepted = Signal(object, object)  # the corrected mask and the scan's layer
    mask_kept = Signal(str)  # that a corrected mask was not used, and where it is

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._run: tuple[Prepared, Volume, ModelCard] | None = None
        self._source: Layer | None = None  # the scan
        self._shown: Layer | None = None  # the result: the others lie where it does
        self._layers: list[Layer] = []
        self._hidden: list[Layer] = []  # so that only the scan is under its mask
        self._mask: Labels | None = None  # on the scan's grid; to be corrected
        self._latest = Latest("Quality of the preparation", self)
        self._latest.answered.connect(self._show)
        self._latest.failed.connect(self._fail)
        self.words = TextLabel()
        self.words.setWordWrap(True)
        self.words.setToolTip("How similar the scan is to the training data")
        self.button = QPushButton(SHOW)
        self.button.setToolTip(
            "Add layers to check by eye: the mask's outline, a checkerboard of template and\n"
            "scan, before and after; and plot the intensities as the model sees them"
        )
        self.button.clicked.connect(self.toggle)
        self.use_button = QPushButton(USE)
        self.use_button.clicked.connect(self.use_mask)
        self.plot = HistogramPlot()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        row = QHBoxLayout()
        row.addWidget(self.button)
        row.addWidget(self.use_button)
        column.addLayout(row)
        column.addWidget(self.plot)
        viewer.layers.events.removed.connect(self._on_removed)
        self.clear()

    def release(self) -> None:
        """Stop listening to the viewer; a mask that was corrected becomes the user's."""
        if self._is_corrected():
            self._hand_over()
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def clear(self) -> None:
        """Forget the last run; its layers stay in the viewer, and a corrected mask can be used."""
        if self._is_corrected():
            mask = self._hand_over()
            self.mask_kept.emit(
                f"Your correction of the brain mask was not used. It is the layer {mask.name}: "
                "choose it as Mask layer to use it."
            )
        self._run, self._source, self._shown, self._layers = None, None, None, []
        self._offer_mask(None)
        self.button.setText(SHOW)
        self.plot.setVisible(False)
        self.setVisible(False)

    def offer(self, run: tuple[Prepared, Volume, ModelCard], source: Layer, shown: Layer) -> None:
        """Offer the layers of a run, and show how similar its scan is to the training data.

        `source` is the layer of the scan, `shown` that of the result, which holds its provenance.
        """
        self.clear()
        self._run, self._source, self._shown = run, source, shown
        facts = shown.metadata[KEY]["provenance"]["Settings"]["preparation"]
        self.words.setText(wrap_anywhere("\n".join(facts["distance"])))
        self.setVisible(True)

    def toggle(self) -> None:
        """Compute and show the layers, or remove them; a mask that was corrected stays."""
        if self._layers:
            if self._is_corrected():
                self._hand_over()
            for layer in list(self._layers):
                self._viewer.layers.remove(layer)
            for layer in self._hidden:
                layer.visible = True
            self._hidden = []
            self.plot.setVisible(False)
        elif self._run is not None and self.button.text() != COMPUTING:
            self.button.setText(COMPUTING)  # and not disabled, which would move the focus
            self._latest.ask(_computed, *self._run)

    def _show(self, answer: tuple[Prepared, QualityVolumes, Histograms]) -> None:
        self.button.setText(SHOW)
        prepared, volumes, seen = answer
        if self._run is None or self._run[0] is not prepared:
            return
        titles = {name: f"{prepared.scan.name} quality: {words}" for name, words in NAMES.items()}
        self._remove_earlier(set(titles.values()))
        for name, title in titles.items():
            volume: Volume = getattr(volumes, name)
            self._layers.append(self._add(name, volume, title, volumes.limit))
        if not shares_grid(self._run[1], prepared.scan):  # a mask is corrected on the scan's grid
            self._layers[-1].editable = False
            self._show_alone(self._source)
            self._layers.append(self._add_scan_mask(prepared))
        self._offer_mask(self._layers[-1])
        self.plot.show_histograms(seen.edges, seen.scan, seen.training)
        self.plot.setVisible(True)
        self.button.setText(REMOVE)

    def _show_alone(self, scan: Layer) -> None:
        """Hide what lies elsewhere than a scan whose mask is to be corrected on it."""
        if scan in self._viewer.layers:
            scan.visible = True
            self._hidden = [x for x in self._viewer.layers if x.visible and x != scan]
            for layer in self._hidden:
                layer.visible = False

    def _remove_earlier(self, titles: set[str]) -> None:
        """Remove what was shown of an earlier run of the scan under the same names."""
        for layer in list(self._viewer.layers):
            of_quality = layer.metadata.get(VIEW_KEY) == VIEW
            if of_quality and any(layer.name.startswith(title) for title in titles):
                self._viewer.layers.remove(layer)

    def _fail(self, text: str) -> None:
        self.button.setText(SHOW)
        self.failed.emit(text)

    def _add(self, name: str, volume: Volume, title: str, limit: float) -> Layer:
        settings: dict[str, Any] = {"name": title, "visible": name in VISIBLE}
        if name in ("before", "after"):
            settings["contrast_limits"] = tuple(self._shown.contrast_limits)
        if name == "difference":
            settings |= {"contrast_limits": (-limit, limit), "colormap": "bwr"}
        data, meta, _ = volume_to_layer(volume, on=self._shown, **settings)
        meta["metadata"][VIEW_KEY] = VIEW
        return (
            self._add_mask(data, meta) if name == "mask" else self._viewer.add_image(data, **meta)
        )

    def _add_scan_mask(self, prepared: Prepared) -> Labels:
        title = f"{prepared.scan.name} quality: {NAMES['mask']} on the scan"
        data, meta, _ = volume_to_layer(prepared.scan.with_array(prepared.mask), name=title)
        meta["metadata"][VIEW_KEY] = VIEW
        return self._add_mask(data, meta)

    def _offer_mask(self, mask: Labels | None) -> None:
        """Offer a layer for correction; None where no mask is shown."""
        self._mask = mask
        self._found = None if mask is None else mask.data.copy()
        if mask is not None:
            mask.selected_label, mask.brush_size, mask.n_edit_dimensions = 1, BRUSH_VOXELS, 3
            self._viewer.layers.selection.active = mask
        set_enabled(
            self.use_button,
            "show the quality layers first, and correct the brain mask" if mask is None else None,
            "Paint and erase in the layer of the brain mask, then press this and run again:\n"
            "bias field and transform stay as they are",
        )

    def use_mask(self) -> None:
        """Take the mask out of the view, as the user's own, for the next run."""
        if self._mask is not None and self._run is not None:
            self.mask_accepted.emit(self._hand_over(), self._source)

    def _is_corrected(self) -> bool:
        return self._mask is not None and not np.array_equal(self._mask.data, self._found)

    def _hand_over(self) -> Labels:
        """Make the mask a layer of the user's, no longer part of the view."""
        mask = self._mask
        self._layers.remove(mask)
        del mask.metadata[VIEW_KEY]
        mask.mode = "pan_zoom"  # a brush would go on painting, and draws over the image
        mask.name = f"{self._run[0].scan.name} {NAMES['mask']}, corrected"
        self._offer_mask(None)
        self.button.setText(REMOVE if self._layers else SHOW)
        return mask

    def _add_mask(self, data: np.ndarray, meta: dict[str, Any]) -> Labels:
        labels = {key: meta[key] for key in meta if key not in ("contrast_limits", "colormap")}
        colours = DirectLabelColormap(
            color_dict={None: INFORMATION_COLOUR, 0: "transparent", 1: INFORMATION_COLOUR}
        )
        layer = self._viewer.add_labels(np.asarray(data, np.uint8), colormap=colours, **labels)
        layer.contour = 2  # voxels
        layer.opacity = 1.0
        return layer

    def _on_removed(self, event: Any) -> None:
        if event.value in self._layers:
            self._layers.remove(event.value)
            if event.value == self._mask:  # napari hands out proxies
                self._offer_mask(None)
            self.button.setText(REMOVE if self._layers else SHOW)


def _computed(
    prepared: Prepared, result: Volume, card: ModelCard
) -> tuple[Prepared, QualityVolumes, Histograms]:
    return prepared, quality_volumes(prepared, result), histograms(prepared, card)
