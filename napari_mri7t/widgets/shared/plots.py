"""Tables and plots inside a widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QApplication, QGridLayout, QLabel, QSizePolicy, QWidget

from napari_mri7t.engine.metrics.inspection import Profile

COLUMNS = {"mae": "MAE", "psnr": "PSNR dB", "ssim": "SSIM"}
FORMATS = {"mae": "{:.5f}", "psnr": "{:.2f}", "ssim": "{:.4f}"}
ROWS = {
    ("slice", "brain"): "Slice, brain",
    ("slice", "whole"): "Slice, whole",
    ("volume", "brain"): "Volume, brain",
    ("volume", "whole"): "Volume, whole",
}
RIGHT = Qt.AlignmentFlag.AlignRight
REFERENCE_COLOUR = "#3e8ed0"
ESTIMATE_COLOUR = "#e2a336"
#: Readable on napari's dark and on its light background.
AXIS_COLOUR = "#8a8d93"
PLOT_HEIGHT = 170
WIDE_RANGE = 20  # from the least to the largest loss: more asks for a logarithm
LEAST_LOSS = 1e-9  # a logarithm needs more than 0


class ScoreTable(QWidget):
    """MAE, PSNR and SSIM of the slice shown and of the volume; a right click copies all of it."""

    def __init__(self) -> None:
        super().__init__()
        self._cells: dict[tuple[str, str, str], QLabel] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        for column, heading in enumerate(COLUMNS.values(), start=1):
            grid.addWidget(QLabel(f"<b>{heading}</b>"), 0, column, RIGHT)
            grid.setColumnStretch(column, 1)
        for row, ((part, region), heading) in enumerate(ROWS.items(), start=1):
            grid.addWidget(QLabel(heading), row, 0)
            for column, name in enumerate(COLUMNS, start=1):
                self._cells[part, region, name] = QLabel()
                grid.addWidget(self._cells[part, region, name], row, column, RIGHT)
        self.setToolTip(
            "Mean absolute error, peak signal-to-noise ratio, structural similarity.\n"
            "Brain: inside the mask; report these. Whole: with the background, as in the report.\n"
            "Right click: copy the table."
        )
        copy = QAction("Copy table", self)
        copy.triggered.connect(lambda: QApplication.clipboard().setText(self.as_text()))
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def clear_rows(self, part: str, text: str = "") -> None:
        """Empty the rows of "slice" or "volume", or fill them with `text`."""
        for (owner, _, _), cell in self._cells.items():
            if owner == part:
                cell.setText(text)

    def show_scores(self, part: str, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Fill the rows of "slice" or "volume"."""
        for (owner, region, name), cell in self._cells.items():
            if owner == part:
                value = scores.get(region, {}).get(name)
                cell.setText("-" if value is None else FORMATS[name].format(value))

    def as_text(self) -> str:
        """Return the table, tab-separated for spreadsheets."""
        lines = ["\t".join(["", *COLUMNS.values()])]
        for (part, region), heading in ROWS.items():
            cells = [self._cells[part, region, name].text() for name in COLUMNS]
            lines.append("\t".join([heading, *cells]))
        return "\n".join(lines)


class _Plot(pyqtgraph.PlotWidget):
    """A small plot for napari's dark and light themes."""

    def __init__(self, bottom: str, left: str) -> None:
        super().__init__(background=None)
        self.setFixedHeight(PLOT_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setLabel("bottom", bottom, color=AXIS_COLOUR)
        self.setLabel("left", left, color=AXIS_COLOUR)
        for side in ("bottom", "left"):
            self.getAxis(side).setPen(AXIS_COLOUR)
            self.getAxis(side).setTextPen(AXIS_COLOUR)
            self.getAxis(side).enableAutoSIPrefix(False)
        self.setMenuEnabled(False)
        self.hideButtons()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Paint the background of another theme, also where there is no curve."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self.resetCachedContent()  # the background of the old one
            self.viewport().update()

    def _show_legend(self, colours: Mapping[str, str]) -> None:
        legend = (f'<span style="color: {colours[name]}">{name}</span>' for name in colours)
        self.setTitle(" &nbsp; ".join(legend), size="9pt")


class LossPlot(_Plot):
    """The loss of the running fold, step by step, and its learning rate."""

    def __init__(self) -> None:
        super().__init__("step", "loss")
        self.setToolTip(
            "Loss, mean of the last ten steps (logarithmic once it has fallen far);\n"
            "learning rate relative to its maximum"
        )
        self._show_legend({"loss": REFERENCE_COLOUR, "learning rate (relative)": ESTIMATE_COLOUR})
        self.rate = self.plot(pen=pyqtgraph.mkPen(ESTIMATE_COLOUR, width=1))
        self.loss = self.plot(pen=pyqtgraph.mkPen(REFERENCE_COLOUR, width=2))

    def show_curve(self, points: Sequence[tuple[int, float, float]]) -> None:
        """Draw (step, loss, learning rate); the rate is shown relative to its largest value.

        A loss may be below 0, as that of the PSNR is; then the rate's 0 is the least loss.
        """
        steps, losses, rates = ([point[n] for point in points] for n in range(3))
        low, high = min(losses, default=0.0), max(losses, default=1.0)
        is_wide = low >= 0 and high > WIDE_RANGE * max(low, LEAST_LOSS)
        self.setLogMode(x=False, y=is_wide)
        self.getAxis("left").setStyle(maxTextLevel=0 if is_wide else 2)
        foot, top = min(low, 0.0), max(rates, default=1.0) or 1.0
        heights = [foot + (high - foot) * rate / top for rate in rates]
        for curve, values in ((self.loss, losses), (self.rate, heights)):
            curve.setData(steps, [max(v, LEAST_LOSS) for v in values] if is_wide else values)


class HeldOutPlot(_Plot):
    """PSNR of a few slices of the held-out brain, checkpoint by checkpoint."""

    def __init__(self) -> None:
        super().__init__("step", "PSNR, dB")
        self.setToolTip(
            "PSNR inside the brain of a few slices that the network is not trained on, at every\n"
            "checkpoint. It decides nothing: the last weights become the model."
        )
        self.setTitle("held-out brain", size="9pt", color=AXIS_COLOUR)
        self.curve = self.plot(
            pen=pyqtgraph.mkPen(REFERENCE_COLOUR, width=2),
            symbol="o",
            symbolSize=4,
            symbolBrush=REFERENCE_COLOUR,
            symbolPen=None,
        )

    def show_curve(self, points: Sequence[tuple[int, float]]) -> None:
        """Draw (step, PSNR); a plot without points is hidden."""
        steps, values = ([point[n] for point in points] for n in range(2))
        self.curve.setData(steps, values)
        self.setVisible(bool(points))


class HistogramPlot(_Plot):
    """A scan's brain intensities as the model sees them, beside those it was trained on."""

    def __init__(self) -> None:
        super().__init__("intensity (0 to 1)", "density")
        self.setToolTip(
            "Intensities of the brain, scaled to the model's range; where the curves differ, the\n"
            "scan differs from the training data"
        )
        names = {"scan": REFERENCE_COLOUR, "training data": ESTIMATE_COLOUR}
        self._show_legend(names)
        self.curves = [
            self.plot(pen=pyqtgraph.mkPen(colour, width=2), stepMode="center", x=[0, 1], y=[0])
            for colour in names.values()
        ]

    def show_histograms(self, edges: np.ndarray, *densities: np.ndarray) -> None:
        """Draw both curves; there is one edge more than values of each."""
        for curve, density in zip(self.curves, densities, strict=True):
            curve.setData(edges, density)


class ProfilePlot(_Plot):
    """Intensity of both volumes along a line."""

    def __init__(self) -> None:
        super().__init__("distance (mm)", "intensity")
        self.setToolTip("Intensity along the line, linearly interpolated; distance in mm")
        names = {"reference": REFERENCE_COLOUR, "estimate": ESTIMATE_COLOUR}
        self._show_legend(names)
        self.curves = [
            self.plot(name=name, pen=pyqtgraph.mkPen(colour, width=2))
            for name, colour in names.items()
        ]

    def show_profile(self, profile: Profile) -> None:
        """Draw both curves."""
        for curve, values in zip(self.curves, profile.values, strict=True):
            curve.setData(profile.distance_mm, values)

    def clear_profile(self) -> None:
        """Draw nothing."""
        for curve in self.curves:
            curve.setData([], [])
