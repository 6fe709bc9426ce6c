"""The table of a folder's scans: what each needs, how far it is, what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_mri7t.engine.datasets.bids import QUALITY_PAGE, Scan
from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.volumes.volume import shares_grid
from napari_mri7t.engine.workflows.stages import AtWork, BatchProgress
from napari_mri7t.widgets.layers.layers import estimate_to_layer, volume_to_layer
from napari_mri7t.widgets.layers.opened import OpenedLayers
from napari_mri7t.widgets.shared.controls import open_in_browser, set_enabled
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.rows import (
    DONE,
    FAILED,
    REFUSED,
    RUNNING,
    SKIPPED,
    WAITING,
    WRITTEN,
    Row,
    State,
)
from napari_mri7t.widgets.shared.selection import TITLE as SELECT
from napari_mri7t.widgets.shared.table import RowTable
from napari_mri7t.widgets.synthesize.folder_jobs import (
    FolderRequest,
    Listed,
    Looked,
    OpenedScan,
    look_through,
    open_scan,
)

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.summary import BatchSummary

HINT = "Select a scan to read about it; double-click it to open it with its estimate."
WAYS = {  # by the argument of the engine that would help
    "series": f"give its number as DICOM series under {SELECT}",
    "index": f"give its number as Volume under {SELECT}",
}
GONE = "is no longer in the folder"
COUNTED = (  # states as the summary counts them, in this order
    (WAITING, "to do"),
    (RUNNING, "under way"),
    (WRITTEN, "written"),
    (DONE, "already done"),
    (FAILED, "failed"),
    (REFUSED, "refused"),
    (SKIPPED, "skipped"),
)


class FolderPanel(QWidget):
    """Looks through a folder while nothing runs, and follows the batch while it runs.

    Signals: `changed` (what is known of the scans), `failed` (a sentence), `shown` (the layers of a
    scan that was opened and of its estimate).
    """

    changed = Signal()
    failed = Signal(str)
    shown = Signal(object, object)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._request: FolderRequest | None = None
        self._scans: dict[str, Scan] = {}
        self._n_voxels: dict[str, int] = {}
        self._steps: dict[str, tuple[str, ...]] = {}
        self._arguments: dict[str, str] = {}
        self._n_looked = 0
        self._is_looking = False
        self.why_not: str | None = None
        self._opened = OpenedLayers(viewer)
        self._look = Latest("Look at the scans of a folder", self)
        self._open = Latest("Open a scan", self)
        self.summary_label = TextLabel()
        self.summary_label.setWordWrap(True)
        self.table = RowTable("Scan", HINT)
        self.page_button = QPushButton("Open quality page")
        self.page_button.clicked.connect(self._open_page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.summary_label, self.table, self.page_button):
            column.addWidget(part)
        self.table.opened.connect(self.open)
        self._look.progressed.connect(self._on_looked)
        self._look.answered.connect(self._on_look_ended)
        self._look.failed.connect(self._on_look_failed)
        self._open.answered.connect(self._show)
        self._open.failed.connect(self.failed)
        self.ask(None)

    def ask(self, request: FolderRequest | None) -> None:
        """Look through a folder, unless it has been asked already; None forgets it."""
        if request is not None and request == self._request:
            self._offer_page()
            return
        self._request, self.why_not = request, None
        self._forget()
        self._is_looking = request is not None
        if request is None:
            self._look.drop()
        else:
            self._look.follow(look_through, request)
        self._tell()

    def _forget(self) -> None:
        for known in (self._scans, self._n_voxels, self._steps, self._arguments):
            known.clear()
        self._n_looked = 0
        self.table.show_rows([])

    def _on_looked(self, progress: Progress) -> None:
        if isinstance(progress, Listed):
            found = progress.found
            self._scans = {scan.name: scan for scan in found.scans}
            self._n_voxels = dict(progress.n_voxels)
            self.table.show_rows(
                [
                    *_left_out(found.failed, REFUSED, found.arguments),
                    *(_row(name, WAITING, progress.sizes.get(name, "")) for name in self._scans),
                    *_left_out(found.skipped, SKIPPED),
                ]
            )
        elif isinstance(progress, Looked):
            self._n_looked = int(progress.done)
            self._steps[progress.name] = progress.steps
            self._arguments[progress.name] = progress.argument
            self._show_look(progress)
        self._tell()

    def _show_look(self, seen: Looked) -> None:
        state = DONE if seen.is_made else REFUSED if seen.error else WAITING
        plan = ", ".join(seen.steps) or ("no preparation" if seen.plan else "")
        row = self.table.row(seen.name)
        self.table.change(
            seen.name,
            state=state,
            about=plan or row.about,
            details=tuple(filter(None, [row.about if plan else "", seen.plan])),
            reason=_with_way(seen.error, seen.argument),
            notes=seen.warnings,
            picture=seen.picture,
        )

    def _on_look_ended(self, answer: object = None) -> None:
        self._is_looking = False
        self._tell()

    def _on_look_failed(self, text: str) -> None:
        self.why_not = text
        self._on_look_ended()

    def _tell(self) -> None:
        counts = Counter(row.state for row in self.table.rows)
        parts = [f"{counts[state]} {words}" for state, words in COUNTED if counts[state]]
        n_scans = len(self.table.rows)
        text = f"{'1 scan' if n_scans == 1 else f'{n_scans} scans'}: {', '.join(parts)}"
        if self._is_looking:
            now = f"looking at scan {self._n_looked + 1} of {len(self._scans)}"
            text = f"{text}; {now}" if n_scans else "Looking into the folder"
        self.summary_label.setText(text if n_scans or self._is_looking else "")
        self.table.setVisible(bool(n_scans))
        self._offer_page()
        self.changed.emit()

    def to_do(self) -> tuple[int, int, list[str]]:
        """Return how many scans are to be synthesised, their voxels, and the steps of all."""
        names = [row.key for row in self.table.rows if row.state is WAITING]
        n_voxels = sum(self._n_voxels.get(name, 0) for name in names)
        return len(names), n_voxels, [step for name in names for step in self._steps.get(name, ())]

    @property
    def can_be_allowed(self) -> bool:
        """Whether a scan is refused that the user may have processed despite its voxels."""
        return "allow_out_of_domain" in self._arguments.values()

    def begin(self) -> None:
        """Follow a batch: what was planned stays in the table."""
        self._look.drop()
        self._is_looking = False
        for row in self.table.rows:
            if row.state in (WRITTEN, FAILED, DONE):
                self.table.change(row.key, state=WAITING, reason="")
        self._tell()

    def follow(self, progress: Progress) -> None:
        """Show which scans are at work, and at what."""
        if not isinstance(progress, BatchProgress):
            return
        at_work = {each.name: each for each in progress.at_work}
        for row in self.table.rows:
            if row.state is RUNNING and row.key not in at_work:
                self.table.change(row.key, state=WAITING, doing="")
        for name, each in at_work.items():
            row = self.table.row(name)
            if row is not None and row.state in (WAITING, RUNNING):
                self._show_work(row, each)

    def _show_work(self, row: Row, work: AtWork) -> None:
        doing = work.step or work.stage
        if row.state is RUNNING and row.doing == doing:
            return
        told = {} if work.plan is None else {"details": (work.plan.describe(),)}
        self.table.change(row.key, state=RUNNING, doing=doing, **told)
        self._tell()
        self.table.reveal(row.key)

    def note(self, outcome: BatchSummary) -> None:
        """Show what became of scans."""
        for names, state in ((outcome.written, WRITTEN), (outcome.known, DONE)):
            for name in names:
                self._settle(name, state, notes=outcome.warnings.get(name, ()))
        for reasons, state in ((outcome.failed, FAILED), (outcome.skipped, SKIPPED)):
            for name, reason in reasons.items():
                text = _with_way(reason, outcome.arguments.get(name, ""))
                self._settle(name, state, reason=text)
        self._tell()

    def _settle(self, name: str, state: State, reason: str = "", notes: Iterable[str] = ()) -> None:
        row = self.table.row(name)
        if row is None:
            self.table.show_rows([*self.table.rows, replace(_row(name, state), reason=reason)])
            return
        self.table.change(name, state=state, doing="", reason=reason, notes=tuple(notes))

    def end(self) -> None:
        """Show that nothing runs any more; what was not reached is to do."""
        for row in self.table.rows:
            if row.state is RUNNING:
                self.table.change(row.key, state=WAITING, doing="")
        self._tell()

    def conclude(self, summary: BatchSummary) -> str:
        """Show the worst scan once the batch is done, and return how many were written."""
        gone = [row.key for row in self.table.rows if row.state in (WAITING, RUNNING)]
        for name in gone:  # between the look at the folder and the start
            self._settle(name, FAILED, reason=GONE)
        self.table.choose_failed()
        n_failed = len(summary.failed) + len(gone)
        parts = [f"{len(summary.written)} written"]
        parts += [f"{len(summary.known)} already done"] if summary.known else []
        parts += [f"{n_failed} failed"] if n_failed else []
        return ", ".join(parts)

    def open(self, name: str) -> None:
        """Open a scan and its estimate as layers."""
        if name in self._scans and self._request is not None:
            self._open.ask(open_scan, self._scans[name], self._request.job())

    def _show(self, opened: OpenedScan) -> None:
        """Show a scan and its estimate, above the others, and fit the view."""
        self._opened.clear()
        layer = self._opened.add(volume_to_layer(opened.scan))
        if opened.estimate is not None:
            on = layer if shares_grid(opened.estimate, opened.scan) else None
            facts = opened.provenance or {}
            estimate = self._opened.add(estimate_to_layer(opened.estimate, on, facts))
            self.shown.emit(layer, estimate)
        self._opened.fit()

    def _offer_page(self) -> None:
        page = self._page()
        why_not = None if page is not None and page.is_file() else "there is none yet"
        self.page_button.setVisible(self._request is not None)
        set_enabled(
            self.page_button, why_not, "Every scan's preparation and result, in the web browser"
        )

    def _page(self) -> Path | None:
        return None if self._request is None else self._request.output / QUALITY_PAGE

    def _open_page(self) -> None:
        if why_not := open_in_browser(self._page()):
            self.failed.emit(why_not)


def _row(name: str, state: State, about: str = "") -> Row:
    return Row(name, PurePosixPath(name).name, state, about)


def _left_out(
    reasons: dict[str, str], state: State, arguments: Mapping[str, str] = MappingProxyType({})
) -> list[Row]:
    return [
        replace(_row(name, state), reason=_with_way(why, arguments.get(name, "")))
        for name, why in reasons.items()
    ]


def _with_way(reason: str, argument: str) -> str:
    """Add to a reason what to do in the window, where it asks for what a folder cannot be told."""
    way = WAYS.get(argument)
    return f"{reason}: {way}" if way else reason
