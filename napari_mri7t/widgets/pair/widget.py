"""The widget "Prepare pairs": raw 3T and 7T scans of the same people, into pairs to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtWidgets import QPushButton

from napari_mri7t.engine.datasets.bids import QUALITY_PAGE
from napari_mri7t.engine.progress import Progress
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.layers.opened import OpenedLayers
from napari_mri7t.widgets.pair.fields import BLENDED, PairFields, ReviewButtons
from napari_mri7t.widgets.pair.jobs import (
    OpenedPair,
    PairRequest,
    PairSeen,
    PairsListed,
    judge,
    keep_time,
    look_at_made,
    look_through,
    make_all,
    open_pair,
    time_of,
)
from napari_mri7t.widgets.pair.rows import FIGURES, HINT, VERDICTS, changes_by, row_of
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import CommandButton
from napari_mri7t.widgets.shared.controls import open_in_browser, set_enabled, wrap_anywhere
from napari_mri7t.widgets.shared.job_panel import JobPanel
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
from napari_mri7t.widgets.shared.settings import Memory, orient_empty_viewer
from napari_mri7t.widgets.shared.table import RowTable
from napari_mri7t.widgets.shared.worker import Job

if TYPE_CHECKING:
    from napari_mri7t.engine.report.pair_page import PairRecord
    from napari_mri7t.engine.workflows.pair_dataset import PairResult
    from napari_mri7t.engine.workflows.summary import BatchSummary

CHOICES = "pairs"  # section of the memory
NO_PAIR = "No pair can be made: click a row for the reason."


class PairWidget(EngineWidget):
    """Choose raw scans, make pairs, look at each one and judge it."""

    preferred_width = 450  # of all the table's columns
    disclaimer_line = "For research, not for diagnosis."
    disclaimer_text = "Training treats the 7T scan of a pair as the truth: check each pair."

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        self._request: PairRequest | None = None
        self._records: dict[str, PairRecord] = {}
        self._opened = OpenedLayers(self.viewer)
        self._look = Latest("Look for pairs", self)
        self._open = Latest("Open a pair", self)
        self._judge = Latest("Judge a pair", self)
        self.fields = PairFields(self.memory.recall(CHOICES))
        self.group("Raw scans").addRow(self.fields)
        self._build_people()
        self.panel = JobPanel(
            "Make pairs",
            "Extract, correct and register both scans of every person; existing pairs are kept",
            cancelled="Cancelled; finished pairs are kept.",
        )
        self.pin(self.panel)
        self.command_button = CommandButton(self._lines)
        self.panel.add_buttons(self.command_button)
        self.column.addStretch()
        self._connect()
        self._check()

    def _build_people(self) -> None:
        form = self.group("People")
        self.plan_label = TextLabel()
        self.plan_label.setWordWrap(True)
        self.table = RowTable("Person", HINT, FIGURES)
        self.review = ReviewButtons()
        self.page_button = QPushButton("Open quality page")
        for part in (self.plan_label, self.table, self.review, self.page_button):
            form.addRow(part)

    def _connect(self) -> None:
        self.fields.changed.connect(self._check)
        self.panel.start_requested.connect(self.start)
        self.panel.hear(self.command_button.copied, self.command_button.failed)
        self.panel.idle.connect(self._check)
        self.table.opened.connect(self.open)
        self.table.chosen.connect(lambda name: self._offer())
        self.review.open_button.clicked.connect(lambda: self.open(self.table.current))
        self.review.judged.connect(self.judge)
        self.review.view_changed.connect(self._show_view)
        self.page_button.clicked.connect(self._open_page)
        self._look.progressed.connect(self._on_looked)
        self._look.failed.connect(self.panel.set_ready)
        self._open.answered.connect(self._show)
        self._judge.answered.connect(self._on_judged)
        self._open.failed.connect(self.panel.fail)
        self._judge.failed.connect(self.panel.fail)

    def _check(self) -> None:
        """Look for the pairs of what is asked now, unless that is known."""
        why_not = self.fields.why_not()
        self.panel.set_ready(why_not)
        self._offer()
        if self.panel.job is not None:
            return
        request = None if why_not else self.fields.request()
        self._tell_plan(request)
        if request is None:
            self._look.drop()
            self._forget(None)
        elif request != self._request:
            self._forget(request)
            self._look.follow(look_through, request)

    def _tell_plan(self, request: PairRequest | None) -> None:
        """Show what is done with a pair, and how long all take that are to be made."""
        text = ""
        if request is not None:
            n_pairs = sum(row.state is WAITING for row in self.table.rows)
            text = f"{request.describe()} {time_of(request, n_pairs, self.memory)}".strip()
        self.plan_label.show_or_hide(wrap_anywhere(text))

    def _forget(self, request: PairRequest | None) -> None:
        self._request = request
        self._records.clear()
        self.table.show_rows([])
        self.panel.forget()
        self._offer()

    def _on_looked(self, progress: Progress) -> None:
        if isinstance(progress, PairsListed):
            left = [Row(n, n, REFUSED, reason=why) for n, why in progress.failed.items()]
            rest = [Row(n, n, SKIPPED, reason=why) for n, why in progress.skipped.items()]
            may_overwrite = self.fields.overwrite_box.isChecked()
            made = [row_of(planned, may_overwrite) for planned in progress.states]
            self.table.show_rows([*left, *made, *rest])
            self._tell_plan(self._request)
            if not progress.states:
                self.panel.set_ready(NO_PAIR)
        elif isinstance(progress, PairSeen):
            self._show_record(progress.record)
            self.table.change(progress.record.name, picture=progress.picture)

    def _show_record(self, record: PairRecord) -> None:
        """Show a pair as it is on disk: figures, flags, verdict."""
        self._records[record.name] = record
        if self.table.row(record.name) is None:
            self.table.show_rows([*self.table.rows, Row(record.name, record.name, WRITTEN)])
        state = self.table.row(record.name).state
        self.table.change(record.name, **changes_by(record, state))
        self._offer()

    def _offer(self) -> None:
        name = self.table.current
        why_not = None if name in self._records else "choose a made pair in the table"
        self.review.allow(why_not)
        page = self._page()
        has_page = page is not None and page.is_file()
        set_enabled(
            self.page_button,
            None if has_page else "there is none yet",
            "All pairs with their measurements, in the web browser",
        )

    def _lines(self) -> list[str]:
        """Return the `mri7t` line of what a start would do."""
        if why_not := self.fields.why_not():
            raise ValueError(why_not)
        return [self.fields.request().line()]

    def start(self) -> None:
        """Make the pairs in the background."""
        if self.panel.job is not None or self.fields.why_not() is not None:
            return
        request = self.fields.request()
        self.memory.keep(CHOICES, self.fields.values())
        self._look.drop()
        job = Job(
            f"Prepare pairs of {request.dataset.name}",
            lambda report: make_all(request, job.noted.emit, report),
        )
        job.progressed.connect(self._on_progressed)
        job.noted.connect(self._on_noted)
        job.succeeded.connect(self._on_made)
        job.ended.connect(self._on_ended)
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
        job.start()

    def _on_progressed(self, progress: Progress) -> None:
        name = getattr(progress, "pair", "")
        for row in self.table.rows:
            if row.state is RUNNING and row.key != name:
                self.table.change(row.key, state=WAITING, doing="")
        if self.table.row(name) is not None:
            self.table.change(name, state=RUNNING, doing="under way")
            self.table.reveal(name)

    def _on_noted(self, outcome: BatchSummary) -> None:
        for names, state in ((outcome.written, WRITTEN), (outcome.known, DONE)):
            for name in names:
                self._settle(name, state, notes=outcome.warnings.get(name, ()))
        if outcome.written and self._request is not None:
            self._look.follow(look_at_made, self._request.output)  # what is made can be opened
        for reasons, state in ((outcome.failed, FAILED), (outcome.skipped, SKIPPED)):
            for name, reason in reasons.items():
                self._settle(name, state, reason=reason)

    def _settle(
        self, name: str, state: State, reason: str = "", notes: tuple[str, ...] = ()
    ) -> None:
        if self.table.row(name) is None:
            self.table.show_rows([*self.table.rows, Row(name, name, state)])
        self.table.change(name, state=state, doing="", reason=reason, notes=notes)

    def _on_made(self, made: PairResult) -> None:
        summary = made.summary
        keep_time(self._request, made, self.memory)
        parts = [f"{len(summary.written)} written"]
        parts += [f"{len(summary.known)} already done"] if summary.known else []
        parts += [f"{len(summary.failed)} failed"] if summary.failed else []
        flagged = sum(bool(record.flags) for record in made.pairs)
        parts += [f"{flagged} to check"] if flagged else []
        self.panel.conclude(", ".join(parts))
        self.table.choose_failed()

    def _on_ended(self) -> None:
        """Read from disk what was made, also after a cancel."""
        for row in self.table.rows:
            if row.state is RUNNING:
                self.table.change(row.key, state=WAITING, doing="")
        if self._request is not None:
            self._look.follow(look_at_made, self._request.output)

    def open(self, name: str) -> None:
        """Open 3T and 7T of a made pair as layers."""
        if name in self._records:
            self._open.ask(open_pair, self._records[name])

    def _show(self, opened: OpenedPair) -> None:
        self._opened.clear()
        settings = {"colormap": "magenta", "blending": "additive"}
        self._opened.add(volume_to_layer(opened.target, name=f"{opened.name}: 7T", **settings))
        settings["colormap"] = "green"
        self._opened.add(volume_to_layer(opened.source, name=f"{opened.name}: 3T", **settings))
        title = f"{opened.name}: checkerboard"
        self._opened.add(volume_to_layer(opened.board, name=title, contrast_limits=(0.0, 1.0)))
        self._show_view()

    def _show_view(self, view: str = "") -> None:
        """Show both images blended, or their checkerboard."""
        is_blended = self.review.view_box.currentText() == BLENDED
        self._opened.show_only(is_blended, is_blended, not is_blended)

    def judge(self, verdict: str) -> None:
        """Keep the user's verdict on the chosen pair."""
        name = self.table.current
        if name in self._records and self._request is not None:
            self._judge.ask(judge, self._request.output, name, verdict)

    def _on_judged(self, record: PairRecord) -> None:
        self._show_record(record)
        self.panel.mention(f"{record.name}: {VERDICTS[record.verdict].word}")

    def _page(self) -> Path | None:
        return None if self._request is None else self._request.output / QUALITY_PAGE

    def _open_page(self) -> None:
        page = self._page()
        if page is not None and (why_not := open_in_browser(page)):
            self.panel.fail(why_not)

    def release(self) -> None:
        """End the job with the widget."""
        self.panel.release()
        super().release()
