"""Before and after a synthesis: the corrected scan and its estimate, one click from each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_mri7t.widgets.compare import jobs
from napari_mri7t.widgets.compare.difference import add_difference
from napari_mri7t.widgets.compare.views import (
    DIFFERENCE,
    SIDE_BY_SIDE,
    SINGLE,
    SWIPE,
    THREE_PLANES,
    CompareViews,
)
from napari_mri7t.widgets.layers.layers import LayerData, remove_layer
from napari_mri7t.widgets.shared.controls import set_enabled
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.menu_button import MenuButton

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis.synthesize import Synthesis

KEYS = "Shift-B"
ROLES, OF_AN_EARLIER_RUN = ("before", "after"), ("scan", "estimate")  # that has its bias field
TURN = (SINGLE, SIDE_BY_SIDE, SWIPE, DIFFERENCE)
TEXT = "Before/after"
TOOLTIP = (
    "Compare {} with its scan without the bias field:\n"
    "side by side, swipe, difference; each click, or "
    f"{KEYS.replace('-', '+')} in the viewer, shows the next one"
)


class BeforeAfter(QObject):
    """A button that turns through views of the last result; disabled until there is one.

    Signals: `failed` (a sentence), `about_changed` (`chosen` is another result, or renamed).
    """

    about_changed = Signal()
    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._made: Synthesis | None = None
        self._source: Layer | None = None  # the scan
        self._after: Layer | None = None
        self._before: Layer | None = None  # the scan, or its own layer without the bias field
        self._difference: Image | None = None
        self._wanted = SINGLE
        self._title = ""  # of the scan
        self.views = CompareViews(viewer, ROLES)
        self._corrected = Latest("Before and after", self)
        self._differing = Latest("Difference", self)
        views = (*TURN[1:], THREE_PLANES, SINGLE)
        self.button = MenuButton(TEXT, {view: partial(self.show, view) for view in views})
        self.button.clicked.connect(self.turn)
        self._refresh()
        self._corrected.answered.connect(self._on_corrected)
        self._differing.answered.connect(self._on_difference)
        for latest in (self._corrected, self._differing):
            latest.failed.connect(self._on_failed)
        self.views.failed.connect(self.failed)
        self.views.left.connect(self._on_left)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.renamed.connect(self._refresh)
        viewer.bind_key(KEYS, self._on_key, overwrite=True)

    def offer(self, made: Synthesis, source: Layer, shown: Layer, title: str) -> None:
        """Offer a result: `shown` is its layer, `source` that of its scan, which `title` names."""
        self.forget()
        self._made, self._source, self._after, self._title = made, source, shown, title
        self.views.roles = ROLES
        self._refresh()

    def offer_pair(self, scan: Layer, estimate: Layer) -> None:
        """Offer a scan as it is, beside its estimate of an earlier run."""
        self.forget()
        self._before, self._after = scan, estimate
        self.views.roles = OF_AN_EARLIER_RUN
        self._refresh()

    def forget(self) -> None:
        """Leave the view and forget the result; its layers stay."""
        self._corrected.drop()
        self._leave()
        self._made = self._source = self._after = self._before = None
        self._title = ""
        self._refresh()

    def release(self) -> None:
        """Restore the viewer and stop listening to it."""
        self.forget()
        self.views.release()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.renamed.disconnect(self._refresh)
        self._viewer.bind_key(KEYS, None, overwrite=True)

    @property
    def chosen(self) -> Layer | None:
        """The result that the views are of."""
        return self._after

    def text(self) -> str:
        """Return what the button says."""
        return self.button.text()

    def _refresh(self, event: object = None) -> None:
        """Name the result; the button is disabled, not hidden: those beside it stay in place."""
        why_not = None if self._after is not None else "there is no result yet"
        name = "the last result" if self._after is None else self._after.name
        set_enabled(self.button, why_not, TOOLTIP.format(name))
        self.about_changed.emit()

    def turn(self) -> None:
        """Show the next view."""
        after = TURN.index(self._wanted) + 1 if self._wanted in TURN else 0
        self.show(TURN[after % len(TURN)])

    def show(self, view: str) -> None:
        """Show one of `TURN`, or the three planes."""
        if self._after is None:
            return
        self._wanted = view
        if view == SINGLE:
            self._leave()
        elif self._before is None:
            self._corrected.ask(jobs.corrected, self._made, self._after)
        else:
            self._enter(view)

    def _on_key(self, viewer: napari.Viewer) -> None:
        self.turn()

    def _on_corrected(self, answer: tuple[Synthesis, LayerData, bool]) -> None:
        made, (array, meta, _), is_scan = answer
        if made is not self._made:
            return
        if is_scan and self._source in self._viewer.layers and self._source.ndim == 3:
            self._before = self._source
        else:
            meta["contrast_limits"] = tuple(self._after.contrast_limits)
            if is_scan:  # one volume of several
                meta["name"] = self._title
            place = self._viewer.layers.index(self._after)
            self._before = Image(array, **meta)
            self._viewer.layers.insert(place, self._before)
        self._enter(self._wanted)

    def _enter(self, view: str) -> None:
        if view == DIFFERENCE:
            self._differing.ask(jobs.difference, self._before, self._after)
            return
        self._differing.drop()
        self.views.show(view, self._before, self._after)
        self._remove_difference()

    def _on_difference(self, answer: tuple[LayerData, float]) -> None:
        if self._wanted != DIFFERENCE or self._after is None:
            return
        self.views.leave()
        self._remove_difference()
        self._difference = add_difference(self._viewer, answer)
        self.views.show(DIFFERENCE, self._difference, self._difference)

    def _on_failed(self, text: str) -> None:
        """Say why a view cannot be shown; the next click goes on from the one that is."""
        self._wanted = self.views.view
        self.failed.emit(text)

    def _leave(self) -> None:
        self._differing.drop()
        self.views.leave()
        self._wanted = SINGLE
        self._remove_difference()

    def _remove_difference(self) -> None:
        layer, self._difference = self._difference, None
        remove_layer(self._viewer, layer, self._after)

    def _on_left(self) -> None:
        self._wanted = SINGLE
        self._remove_difference()

    def _on_inserted(self, event: Any) -> None:
        """Leave a view that another layer would rearrange or cover."""
        if self.views.is_disturbed_by(event.value):
            self._leave()

    def _on_removed(self, event: Any) -> None:
        if event.value == self._after:  # napari hands out proxies
            self.forget()
        elif event.value == self._before:
            self._leave()
            self._before = None
            if self._made is None:  # of an earlier run, there is no other
                self.forget()
        elif event.value == self._difference:
            self._difference = None
            self._leave()
