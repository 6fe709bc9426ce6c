"""The quality of a preparation: layers over the result, a histogram, a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Layer
from napari.utils import DirectLabelColormap
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_mri7t.engine.preparation.quality import (
    Histograms,
    QualityVolumes,
    histograms,
    quality_volumes,
)
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, volume_to_layer
from napari_mri7t.widgets.shared.controls import INFORMATION_COLOUR, TextLabel, wrap_anywhere
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.plots import HistogramPlot

if TYPE_CHECKING:
    from napari_mri7t.engine.models.card import ModelCard
    from napari_mri7t.engine.preparation.prepare import Prepared
    from napari_mri7t.engine.volumes.volume import Volume

VIEW = "quality"
SHOW, REMOVE = "Show quality layers", "Remove quality layers"
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
    """Shows the quality of the last preparation."""

    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._run: tuple[Prepared, Volume, ModelCard] | None = None
        self._shown: Layer | None = None  # the result: the others lie where it does
        self._layers: list[Layer] = []
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
        self.plot = HistogramPlot()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.words, self.button, self.plot):
            column.addWidget(part)
        viewer.layers.events.removed.connect(self._on_removed)
        self.clear()

    def release(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def clear(self) -> None:
        """Forget the last run; its layers stay in the viewer."""
        self._run, self._shown, self._layers = None, None, []
        self.button.setText(SHOW)
        self.plot.setVisible(False)
        self.setVisible(False)

    def offer(self, prepared: Prepared, result: Volume, card: ModelCard, shown: Layer) -> None:
        """Offer the layers of a run, and show how similar its scan is to the training data.

        `shown` is the layer of `result`, which holds its provenance.
        """
        self.clear()
        self._run, self._shown = (prepared, result, card), shown
        facts = shown.metadata[KEY]["provenance"]["Settings"]["preparation"]
        self.words.setText(wrap_anywhere("\n".join(facts["distance"])))
        self.setVisible(True)

    def toggle(self) -> None:
        """Compute and show the layers, or remove them."""
        if self._layers:
            for layer in list(self._layers):
                self._viewer.layers.remove(layer)
            self.plot.setVisible(False)
        elif self._run is not None:
            self.button.setEnabled(False)
            self._latest.ask(_computed, *self._run)

    def _show(self, answer: tuple[Prepared, QualityVolumes, Histograms]) -> None:
        self.button.setEnabled(True)
        prepared, volumes, seen = answer
        if self._run is None or self._run[0] is not prepared:
            return
        for name, words in NAMES.items():
            volume: Volume = getattr(volumes, name)
            title = f"{prepared.scan.name} quality: {words}"
            self._layers.append(self._add(name, volume, title, volumes.limit))
        self.plot.show_histograms(seen.edges, seen.scan, seen.training)
        self.plot.setVisible(True)
        self.button.setText(REMOVE)

    def _fail(self, text: str) -> None:
        self.button.setEnabled(True)
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

    def _add_mask(self, data: np.ndarray, meta: dict[str, Any]) -> Layer:
        labels = {key: meta[key] for key in meta if key not in ("contrast_limits", "colormap")}
        colours = DirectLabelColormap(
            color_dict={None: "transparent", 0: "transparent", 1: INFORMATION_COLOUR}
        )
        layer = self._viewer.add_labels(np.asarray(data, np.uint8), colormap=colours, **labels)
        layer.contour = 2  # voxels
        layer.opacity = 1.0
        return layer

    def _on_removed(self, event: Any) -> None:
        if event.value in self._layers:
            self._layers.remove(event.value)
            self.button.setText(REMOVE if self._layers else SHOW)


def _computed(
    prepared: Prepared, result: Volume, card: ModelCard
) -> tuple[Prepared, QualityVolumes, Histograms]:
    return prepared, quality_volumes(prepared, result), histograms(prepared, card)
