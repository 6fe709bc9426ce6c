"""What the table of pairs says: a row a person, with its state, figures and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_mri7t.widgets.pair.fields import VERDICT_ICONS
from napari_mri7t.widgets.shared.rows import DONE, REFUSED, RUNNING, WAITING, WRITTEN, Row, State

if TYPE_CHECKING:
    from napari_mri7t.engine.report.pair_page import PairRecord
    from napari_mri7t.engine.workflows.pairs import PairState

STATES = {"new": WAITING, "done": DONE, "changed": REFUSED, "failed": REFUSED}
FLAGGED = State("to check", "look", 0)
VERDICTS = {
    "accept": State("accepted", VERDICT_ICONS["accept"], 5),
    "reject": State("rejected", VERDICT_ICONS["reject"], 1),
    "look again": State("look again", VERDICT_ICONS["look again"], 0),
}
FIGURES = {"MI": ".2f", "other": ".2f", "mm": ".2f"}
KEYS = ("mutual_information", "best_other_information", "boundary_mm")
HINT = (
    "MI: mutual information of 3T and 7T; other: with the best other person's 7T; mm: between the "
    "tissue boundaries. Double-click a made pair to open it."
)


def row_of(planned: PairState, may_overwrite: bool) -> Row:
    """Return the row of a pair before it is made."""
    is_allowed = planned.state == "changed" and may_overwrite
    state = WAITING if is_allowed else STATES[planned.state]
    is_refused = state == REFUSED
    reason = planned.text if is_refused else ""
    details = () if is_refused else (planned.text,)
    return Row(planned.files.name, planned.files.name, state, reason=reason, details=details)


def changes_by(record: PairRecord, state: State) -> dict[str, Any]:
    """Return what a pair on disk changes in its row, which has a state."""
    judged = VERDICTS.get(record.verdict) or (FLAGGED if record.flags else None)
    other = f"best other: {record.best_other}" if record.best_other else ""
    overlap = record.figures.get("overlap")
    shared = "" if overlap is None else f"The brain masks overlap by {overlap:.2f}."
    verdict = f"Your verdict: {record.verdict}." if record.verdict else ""
    use = f"A training {'takes' if record.is_used else 'leaves out'} this pair."
    return {
        "state": state if state in (WAITING, REFUSED, RUNNING) else judged or WRITTEN,
        "details": tuple(filter(None, [other, shared, verdict, use])),
        "notes": (*record.flags, *record.warnings),
        "figures": tuple(record.figures.get(key) for key in KEYS),
    }
