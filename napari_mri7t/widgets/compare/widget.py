"""The widget "Compare": an estimate against its reference, by eye and in figures."""

from __future__ import annotations

import napari
from napari.layers import Image, Layer, Shapes
from napari.utils.colormaps import Colormap
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSlider

from napari_mri7t.widgets.compare import jobs as questions
from napari_mri7t.widgets.compare.views import (
    FLICKER,
    OFF,
    SIDE_BY_SIDE,
    SWIPE,
    VIEWS,
    CompareViews,
)
from napari_mri7t.widgets.layers.layers import VIEW_KEY, LayerData, placement
from napari_mri7t.widgets.layers.planes import ends_of, line_on, shown_plane
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    INFORMATION_COLOUR,
    WARNING_COLOUR,
    Notices,
    let_shrink,
    set_enabled,
)
from napari_mri7t.widgets.shared.fields import PairFields
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.plots import ProfilePlot, ScoreTable

#: Figures follow the slider only when it rests this long: a drag passes dozens of slices.
REST_MS = 150
#: Black in the middle, so that no difference looks like background.
ERROR_COLOURS = Colormap(
    ["#a0e0ff", "#1070d0", "black", "#d03010", "#ffd090"], name="error", display_name="error"
)
LINE_COLOUR = "#57d957"
DIFFERENCE = "difference"
SHORTCUTS = {
    "Shift-G": "side by side",
    "Shift-F": "in turns (flicker)",
    "Shift-W": "swipe",
    "Shift-X": "swap by hand, ends the flicker",
    "Shift-D": "difference layer",
}


class CompareWidget(EngineWidget):
    """Two layers on one grid: views, difference, figures, a profile."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.views = CompareViews(napari_viewer)
        self.line: Shapes | None = None
        self.difference: Image | None = None
        self._of_volume = Latest("Figures of the volume", self)
        self._of_slice = Latest("Figures of the slice", self)
        self._of_line = Latest("Profile", self)
        self._of_difference = Latest("Difference", self)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._ask_of_slice)
        self.volumes = PairFields(napari_viewer, self.group("Volumes"))
        self._build_view()
        self._build_figures()
        self._build_profile()
        self.notices = Notices()
        self.column.addWidget(self.notices)
        self._build_shortcuts()
        self.column.addStretch()
        self._connect()
        self._on_pair_changed()

    def _build_view(self) -> None:
        form = self.group("View")
        self.view_box = QComboBox()
        let_shrink(self.view_box)
        self.view_box.addItems(VIEWS)
        self.view_box.setToolTip("How the two are shown; Off puts everything back as it was")
        self.swipe_slider = QSlider(Qt.Orientation.Horizontal)
        self.swipe_slider.setRange(0, 1000)
        self.swipe_slider.setValue(500)
        self.swipe_slider.setToolTip("Left of the line the reference, right of it the estimate")
        self.swipe_label = QLabel("Line")
        self.difference_button = QPushButton("Add difference layer")
        form.addRow("Show", self.view_box)
        form.addRow(self.swipe_label, self.swipe_slider)
        form.addRow(self.difference_button)

    def _build_figures(self) -> None:
        form = self.group("Figures")
        self.table = ScoreTable()
        form.addRow(self.table)

    def _build_profile(self) -> None:
        form = self.group("Intensity profile")
        self.line_button = QPushButton("Draw a line")
        self.plot = ProfilePlot()
        form.addRow(self.line_button)
        form.addRow(self.plot)

    def _build_shortcuts(self) -> None:
        form = self.group("Keys in the viewer")
        for keys, meaning in SHORTCUTS.items():
            form.addRow(keys.replace("-", "+"), QLabel(meaning))
        actions = {
            "Shift-G": lambda viewer: self._toggle_view(SIDE_BY_SIDE),
            "Shift-F": lambda viewer: self._toggle_view(FLICKER),
            "Shift-W": lambda viewer: self._toggle_view(SWIPE),
            "Shift-X": lambda viewer: self._swap(),
            "Shift-D": lambda viewer: self.add_difference(),
        }
        for keys, action in actions.items():
            self.viewer.bind_key(keys, action, overwrite=True)

    def _connect(self) -> None:
        self.volumes.changed.connect(self._on_pair_changed)
        self.view_box.currentTextChanged.connect(self._on_view_changed)
        self.swipe_slider.valueChanged.connect(lambda n: self.views.swipe_to(n / 1000))
        self.difference_button.clicked.connect(self.add_difference)
        self.line_button.clicked.connect(self.draw_line)
        self.viewer.dims.events.current_step.connect(self._on_slider)
        self.viewer.dims.events.order.connect(self._on_slider)
        self.viewer.dims.events.ndisplay.connect(self._on_slider)
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self._of_volume.answered.connect(self._show_volume_scores)
        self._of_slice.answered.connect(lambda scores: self.table.show_scores("slice", scores))
        self._of_line.answered.connect(self.plot.show_profile)
        self._of_difference.answered.connect(self._show_difference)
        for latest in self._questions():
            latest.failed.connect(lambda text: self.notices.add(text, ERROR_COLOUR))
        self._of_volume.failed.connect(lambda text: self.table.clear_rows("volume"))
        self._of_slice.failed.connect(lambda text: self.table.clear_rows("slice"))
        self._of_line.failed.connect(lambda text: self.plot.clear_profile())

    def _questions(self) -> tuple[Latest, ...]:
        return self._of_volume, self._of_slice, self._of_line, self._of_difference

    @property
    def pair(self) -> tuple[Layer, Layer] | None:
        """The two layers, if there are two."""
        return self.volumes.pair

    def _on_pair_changed(self) -> None:
        """Start again with other volumes, another mask or another range."""
        self.notices.clear()
        self.table.clear_rows("slice")
        self.table.clear_rows("volume")
        self.plot.clear_profile()
        why_not = None if self.pair else "choose two different volumes"
        set_enabled(self.view_box, why_not, "How the two are shown; Off puts everything back")
        set_enabled(self.difference_button, why_not, "Estimate minus reference, symmetric limits")
        set_enabled(self.line_button, why_not, "Plot the intensity of both along a line")
        if self.pair is None or self.views.view != OFF:
            self.view_box.setCurrentText(OFF)
            self._on_view_changed(OFF)
        if self.pair is None:
            for latest in (self._of_volume, self._of_slice, self._of_line):
                latest.drop()
            self.notices.add("Choose two different volumes above.", INFORMATION_COLOUR)
            return
        self.table.clear_rows("volume", "...")
        self._of_volume.ask(
            questions.volume_scores, *self.pair, self.volumes.mask, self.volumes.data_range
        )
        self._ask_of_slice()
        self._ask_of_line()

    def _show_volume_scores(self, answer: tuple[dict[str, dict[str, float]], str | None]) -> None:
        scores, complaint = answer
        self.table.show_scores("volume", scores)
        if complaint is not None:
            self.notices.add(f"{complaint}.", WARNING_COLOUR)

    def _on_inserted(self, event: object) -> None:
        """Leave the grid: one more layer in it would move the two."""
        if self.views.view == SIDE_BY_SIDE:
            self.view_box.setCurrentText(OFF)

    def _on_view_changed(self, view: str) -> None:
        is_swipe = view == SWIPE
        self.swipe_slider.setVisible(is_swipe)
        self.swipe_label.setVisible(is_swipe)
        if self.pair is None:
            self.views.leave()
        else:
            self.views.show(view, *self.pair)

    def _toggle_view(self, view: str) -> None:
        if self.pair is not None:
            self.view_box.setCurrentText(OFF if self.views.view == view else view)

    def _swap(self) -> None:
        if self.pair is not None:
            self.views.swap_by_hand(*self.pair)

    def _on_slider(self, event: object = None) -> None:
        if self.pair is not None:
            self._rest.start()

    def _ask_of_slice(self) -> None:
        if self.pair is None:
            return
        plane = shown_plane(self.viewer, self.pair[0])
        if plane is None:
            self._of_slice.drop()  # an answer under way is of a slice that has gone
            self.table.clear_rows("slice", "3-D")
            return
        self._of_slice.ask(
            questions.plane_scores, *self.pair, self.volumes.mask, plane, self.volumes.data_range
        )

    def add_difference(self) -> None:
        """Compute estimate minus reference and show it as a layer."""
        if self.pair is not None:
            self._of_difference.ask(questions.difference, *self.pair)

    def _show_difference(self, answer: tuple[LayerData, float]) -> None:
        (data, meta, _), limit = answer
        self.view_box.setCurrentText(OFF)  # it would cover what the view shows
        if self.difference in self.viewer.layers:
            self.viewer.layers.remove(self.difference)
        meta |= {"contrast_limits": (-limit, limit), "colormap": ERROR_COLOURS}
        meta["metadata"][VIEW_KEY] = DIFFERENCE
        self.difference = self.viewer.add_image(data, **meta)

    def draw_line(self) -> None:
        """Add a line with ends to drag, or select the one there is."""
        if self.pair is None:
            return
        reference = self.pair[0]
        if self.line is None or self.line not in self.viewer.layers:
            self.line = self.viewer.add_shapes(
                [line_on(self.viewer, reference)],
                shape_type="line",
                edge_color=LINE_COLOUR,
                edge_width=1,
                name="profile line",
                **placement(reference),
            )
            self.line.events.data.connect(self._ask_of_line)
        self.viewer.layers.selection.active = self.line
        self.line.mode = "direct"
        self._ask_of_line()

    def _ask_of_line(self, event: object = None) -> None:
        if self.pair is None or self.line is None or not len(self.line.data):
            self.plot.clear_profile()
            return
        self._of_line.ask(questions.profile, *self.pair, *ends_of(self.line.data[-1]))

    def release(self) -> None:
        """Put the viewer back as it was."""
        self._rest.stop()
        for latest in self._questions():
            latest.drop()
        self.views.leave()
        for keys in SHORTCUTS:
            self.viewer.bind_key(keys, None, overwrite=True)
        events = self.viewer.dims.events
        events.current_step.disconnect(self._on_slider)
        events.order.disconnect(self._on_slider)
        events.ndisplay.disconnect(self._on_slider)
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        if self.line is not None:
            self.line.events.data.disconnect(self._ask_of_line)
        super().release()
