"""The widget "Compare": an estimate against its reference, by eye and by metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from napari.layers import Image, Layer, Shapes
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QSlider, QWidget

from napari_mri7t.widgets.compare import jobs
from napari_mri7t.widgets.compare.difference import add_difference
from napari_mri7t.widgets.compare.views import (
    FLICKER,
    SIDE_BY_SIDE,
    SINGLE,
    SWIPE,
    THREE_PLANES,
    VIEWS,
    CompareViews,
)
from napari_mri7t.widgets.layers.layers import LayerData, placement
from napari_mri7t.widgets.layers.planes import ends_of, line_on, shown_plane
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import COPYING, CommandButton
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    INFORMATION_COLOUR,
    WARNING_COLOUR,
    Notices,
    let_shrink,
    set_enabled,
)
from napari_mri7t.widgets.shared.fields import (
    MOVES,
    PairFields,
    connect_events,
    disconnect_events,
)
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.plots import ProfilePlot, ScoreTable

#: The slice is scored once the slider has rested this long: a drag passes dozens of slices.
REST_MS = 150
LINE_COLOUR = "#57d957"
CHOOSE_TWO = "Choose two different volumes."
SWAP, ADD_DIFFERENCE = "Swap", "Difference layer"
SHORTCUTS = {
    "Shift-G": SIDE_BY_SIDE,
    "Shift-F": FLICKER,
    "Shift-W": SWIPE,
    "Shift-P": THREE_PLANES,
    "Shift-X": SWAP,
    "Shift-D": ADD_DIFFERENCE,
}


class CompareWidget(EngineWidget):
    """Two layers on one grid: views, difference, metrics, a profile."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.views = CompareViews(napari_viewer)
        self.line: Shapes | None = None
        self.difference: Image | None = None
        self._of_volume = Latest("Score the volume", self)
        self._of_slice = Latest("Score the slice", self)
        self._of_line = Latest("Profile", self)
        self._of_difference = Latest("Difference", self)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._ask_of_slice)
        self.volumes = PairFields(napari_viewer, self.group("Volumes"))
        self.notices = Notices()  # beside what they are about, and in sight in a low window
        self.column.addWidget(self.notices)
        self._build_view()
        self._build_figures()
        self._build_profile()
        self._build_shortcuts()
        self.column.addStretch()
        self._connect()
        self._on_pair_changed()

    def _build_view(self) -> None:
        self.view_box = QComboBox()
        self.view_box.setAccessibleName("View")
        let_shrink(self.view_box)
        self.view_box.addItems(VIEWS)
        self.swipe_slider = QSlider(Qt.Orientation.Horizontal)
        self.swipe_slider.setAccessibleName("Line of the swipe")
        self.swipe_slider.setRange(0, 1000)
        self.swipe_slider.setValue(500)
        self.swipe_slider.setToolTip("Reference on the left of the line, estimate on the right")
        self.swipe_label = QLabel("Line")
        self.difference_button = QPushButton("Difference layer")
        self.command_button = CommandButton(lambda: [self.volumes.command()])
        bar = QWidget()
        grid = QGridLayout(bar)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.addWidget(QLabel("Show"), 0, 0)
        grid.addWidget(self.view_box, 0, 1)
        grid.addWidget(self.difference_button, 0, 2)
        grid.addWidget(self.swipe_label, 1, 0)
        grid.addWidget(self.swipe_slider, 1, 1, 1, 2)
        grid.addWidget(self.command_button, 2, 0, 1, 3)
        for part in (self.swipe_label, self.swipe_slider):
            part.setVisible(False)  # until the view is the swipe
        self.pin(bar)

    def _build_figures(self) -> None:
        form = self.group("Metrics")
        self.table = ScoreTable()
        self.span_label = TextLabel()
        self.span_label.setWordWrap(True)
        form.addRow(self.table)
        form.addRow(self.span_label)

    def _build_profile(self) -> None:
        form = self.group("Intensity profile")
        self.line_button = QPushButton("Draw a line")
        self.plot = ProfilePlot()
        form.addRow(self.line_button)
        form.addRow(self.plot)

    def _build_shortcuts(self) -> None:
        form = self.group("Keyboard shortcuts in the viewer")
        for keys, meaning in SHORTCUTS.items():
            form.addRow(keys.replace("-", "+"), QLabel(meaning))
            self.viewer.bind_key(keys, self._action(meaning), overwrite=True)

    def _connect(self) -> None:
        self.volumes.changed.connect(self._on_pair_changed)
        self.view_box.currentTextChanged.connect(self._on_view_changed)
        self.views.swiped.connect(self._on_swiped)
        self.views.failed.connect(lambda text: self.notices.add(text, ERROR_COLOUR))
        self.views.left.connect(lambda: self.view_box.setCurrentText(SINGLE))
        self.swipe_slider.valueChanged.connect(lambda n: self.views.swipe_to(n / 1000))
        self.difference_button.clicked.connect(self.add_difference)
        self.line_button.clicked.connect(self.draw_line)
        self.command_button.copied.connect(lambda text: self.notices.add(text, INFORMATION_COLOUR))
        self.command_button.failed.connect(lambda text: self.notices.add(text, ERROR_COLOUR))
        self.viewer.dims.events.current_step.connect(self._on_slider)
        self.viewer.dims.events.order.connect(self._on_slider)
        self.viewer.dims.events.ndisplay.connect(self._on_slider)
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self._of_volume.answered.connect(self._show_volume_scores)
        self._of_slice.answered.connect(lambda scores: self.table.show_scores("slice", scores))
        self._of_line.answered.connect(self.plot.show_profile)
        self._of_difference.answered.connect(self._show_difference)
        for latest in (self._of_volume, self._of_slice, self._of_line, self._of_difference):
            latest.failed.connect(lambda text: self.notices.add(text, ERROR_COLOUR))
        self._of_volume.failed.connect(lambda text: self.table.clear_rows("volume"))
        self._of_slice.failed.connect(lambda text: self.table.clear_rows("slice"))
        self._of_line.failed.connect(lambda text: self.plot.clear_profile())

    @property
    def pair(self) -> tuple[Layer, Layer] | None:
        """Reference and estimate, if both are chosen."""
        return self.volumes.pair

    def _on_pair_changed(self) -> None:
        """Update everything for other volumes, another mask or another range."""
        self.notices.clear()
        self.table.clear_rows("slice")
        self.table.clear_rows("volume")
        self.span_label.setText("")
        self.plot.clear_profile()
        why_not = None if self.pair else CHOOSE_TWO
        set_enabled(
            self.view_box, why_not, "How to show both volumes; Single view restores the viewer"
        )
        set_enabled(self.difference_button, why_not, "Estimate minus reference, symmetric limits")
        set_enabled(self.line_button, why_not, "Plot both intensities along a line")
        set_enabled(self.command_button, why_not, COPYING)
        if self.pair is None or self.views.view != SINGLE:
            self.view_box.setCurrentText(SINGLE)
            self._on_view_changed(SINGLE)
        if self.pair is None:
            for latest in (self._of_volume, self._of_slice, self._of_line):
                latest.drop()
            self.notices.add(CHOOSE_TWO, INFORMATION_COLOUR)
            return
        self.table.clear_rows("volume", "...")
        self._of_volume.ask(jobs.volume_scores, *self._scored())
        self._ask_of_slice()
        self._ask_of_line()

    def _scored(self) -> tuple[Layer, Layer, Layer | None, float | None]:
        return *self.pair, self.volumes.mask, self.volumes.data_range

    def _show_volume_scores(self, answer: tuple[jobs.Scores, str, list[str]]) -> None:
        scores, span, complaints = answer
        self.table.show_scores("volume", scores)
        self.span_label.setText(span)
        for complaint in complaints:
            self.notices.add(f"{complaint[:1].upper()}{complaint[1:]}.", WARNING_COLOUR)

    def _on_inserted(self, event: Any) -> None:
        """Leave a view that another layer would rearrange or cover."""
        if self.views.is_disturbed_by(event.value):
            self.view_box.setCurrentText(SINGLE)

    def _on_view_changed(self, view: str) -> None:
        is_swipe = view == SWIPE
        self.swipe_slider.setVisible(is_swipe)
        self.swipe_label.setVisible(is_swipe)
        if self.pair is None:
            self.views.leave()
        else:
            self.views.show(view, *self.pair)

    def _on_swiped(self, part: float) -> None:
        """Let the slider follow the line that is dragged on the canvas."""
        self.swipe_slider.blockSignals(True)
        self.swipe_slider.setValue(round(1000 * part))
        self.swipe_slider.blockSignals(False)

    def _action(self, meaning: str) -> Callable[[napari.Viewer], None]:
        """Return what a key does: a function, since napari asks for its `__name__` at every key."""

        def act(viewer: napari.Viewer) -> None:
            self._on_key(meaning)

        return act

    def _on_key(self, meaning: str) -> None:
        """Toggle a view, swap the two, or add the difference."""
        if self.pair is None:
            return
        if meaning == ADD_DIFFERENCE:
            self.add_difference()
        elif meaning == SWAP:
            self.views.swap_by_hand(*self.pair)
        else:
            self.view_box.setCurrentText(SINGLE if self.views.view == meaning else meaning)

    def _on_slider(self, event: object = None) -> None:
        if self.pair is not None:
            self._rest.start()

    def _ask_of_slice(self) -> None:
        if self.pair is None:
            return
        plane = shown_plane(self.viewer, self.pair[0])
        if plane is None:
            self._of_slice.drop()  # a pending answer is of a slice no longer shown
            is_3d = self.viewer.dims.ndisplay == 3
            self.table.clear_rows("slice", "3-D" if is_3d else "none")
            return
        self._of_slice.ask(jobs.plane_scores, *self._scored(), plane)

    def add_difference(self) -> None:
        """Compute estimate minus reference and show it as a layer."""
        if self.pair is not None:
            self._of_difference.ask(jobs.difference, *self.pair)

    def _show_difference(self, answer: tuple[LayerData, float]) -> None:
        self.view_box.setCurrentText(SINGLE)  # the layer would cover the view
        if self.difference in self.viewer.layers:
            self.viewer.layers.remove(self.difference)
        self.difference = add_difference(self.viewer, answer)

    def draw_line(self) -> None:
        """Add a line with draggable ends, or select the existing one."""
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
            connect_events(self.line, (*MOVES, "data"), self._ask_of_line)
        self.viewer.layers.selection.active = self.line
        self.line.mode = "direct"
        self._ask_of_line()

    def _ask_of_line(self, event: object = None) -> None:
        if self.pair is None or self.line is None or not len(self.line.data):
            self.plot.clear_profile()
            return
        self._of_line.ask(jobs.profile, *self.pair, *ends_of(self.line, self.pair[0]))

    def release(self) -> None:
        """Restore the viewer."""
        self._rest.stop()
        self.volumes.release()
        self.views.release()
        for keys in SHORTCUTS:
            self.viewer.bind_key(keys, None, overwrite=True)
        events = self.viewer.dims.events
        events.current_step.disconnect(self._on_slider)
        events.order.disconnect(self._on_slider)
        events.ndisplay.disconnect(self._on_slider)
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        if self.line is not None:
            disconnect_events(self.line, (*MOVES, "data"), self._ask_of_line)
        super().release()
