"""Weights that a training starts from: another model's, or those of the same fold elsewhere.

Held out means unseen by all that came before: a model that knows the subject that a fold holds out
is no start for that fold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.atomic import read_json, write_atomically
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.models.card import (
    ModelCard,
    has_seen,
    read_card,
    seen_digests,
    seen_subjects,
    start_folder,
)
from napari_mri7t.engine.volumes.provenance import file_digest

if TYPE_CHECKING:
    from napari_mri7t.engine.training.study import Study

START_FILE = "start.json"  # in a fold's folder: what it started from, wherever that is by now


@dataclass(frozen=True)
class Start:
    """What a fold starts from.

    Parameters
    ----------
    facts : dict
        For the card: `model`, `held_out`, `sha256`, `subjects`, `targets_sha256`, `command`.
    place, fold : str
        The study's `start_from`, and the name of the fold's folder.
    """

    facts: dict[str, Any]
    place: str
    fold: str

    @property
    def sha256(self) -> str:
        """The digest of the weights."""
        return str(self.facts["sha256"])

    @property
    def folder(self) -> Path:
        """The model's folder; raises as `start_folder`."""
        return start_folder(self.place, self.fold)


def check_start(study: Study, k: int) -> Start | None:
    """Check that the study's `start_from` may be the start of a fold.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.

    Returns
    -------
    Start or None
        As the fold wrote it down when it began, else as it is now; None where weights are drawn.

    Raises
    ------
    StateError
        If there is no model for the fold, or it has seen the subject that the fold holds out, or
        its card does not say whom it has seen.
    ModelError
        If the model's card cannot be read.
    """
    place, fold = study.settings.start_from, study.fold_folder(k)
    if not place:
        return None
    if (fold / START_FILE).exists():
        return Start(dict(read_json(fold / START_FILE)), place, fold.name)
    folder = start_folder(place, fold.name)
    card = read_card(folder)
    held_out = study.held_out(k)
    if held_out is not None and not seen_subjects(card):
        raise StateError(
            f"{folder}: its card does not say on whom it was trained, so that nobody can be held "
            "out; train with `--folds none --final`"
        )
    if held_out is not None and has_seen(card, held_out.name, file_digest(held_out.target)):
        is_same_name = has_seen(card, held_out.name)
        raise StateError(
            f"{folder}: was trained on {held_out.name}, which fold {k} holds out"
            f"{'' if is_same_name else ' (the same volume under another name)'}; start from a run "
            "folder whose folds hold out the same subjects, or train with `--folds none --final`"
            f"{'; if this is another person of the same name, rename it' if is_same_name else ''}"
        )
    return Start(_facts(card), place, fold.name)


def keep_start(start: Start, folder: Path) -> None:
    """Write down what a fold starts from, before its first step."""
    text = json.dumps(start.facts, indent=2) + "\n"
    write_atomically(folder / START_FILE, lambda file: file.write(text.encode()))


def _facts(card: ModelCard) -> dict[str, Any]:
    before = card.training.get("started_from")
    return {
        "model": card.name,
        "held_out": card.training.get("held_out"),
        "sha256": card.sha256,
        "subjects": sorted(seen_subjects(card)),
        "targets_sha256": sorted(seen_digests(card)),
        "command": card.training.get("command", ""),
        **({} if before is None else {"started_from": before}),
    }
