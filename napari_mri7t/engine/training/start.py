"""The start of a study, and the model that its folds start from: one for all, or one for each.

A held-out subject must be unseen in all earlier trainings: a model that was trained on the subject
that a fold holds out cannot be the start of that fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_mri7t.engine.atomic import read_object, write_json
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.models.card import (
    ModelCard,
    folder_of,
    read_card,
    seen_digests,
    seen_subjects,
    start_folder,
)
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.training.config import FINAL
from napari_mri7t.engine.training.fold_checks import check_done
from napari_mri7t.engine.training.seen import was_trained_on
from napari_mri7t.engine.training.study import Study, StudySettings, keep_study, plan_study

START_FILE = "start.json"  # in a fold's folder: what it started from, wherever that is now


@dataclass(frozen=True)
class Start:
    """The model that a fold starts from.

    Parameters
    ----------
    facts : dict
        For the card: `model`, `held_out`, `sha256`, `subjects`, the digests of their volumes,
        `command`.
    place, fold : str
        The study's `start_from`, and the name of the fold's folder.
    """

    facts: dict[str, Any]
    place: str
    fold: str

    @property
    def sha256(self) -> str:
        """Return the digest of the weights."""
        return str(self.facts["sha256"])

    @property
    def folder(self) -> Path:
        """Return the model's folder; raises as `start_folder`."""
        return start_folder(self.place, self.fold)


def check_start(study: Study, k: int) -> Start | None:
    """Return the model that a fold starts from, if the fold may start from it.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.

    Returns
    -------
    Start or None
        As recorded when the fold began, else as it is now; None if the weights are random.

    Raises
    ------
    StateError
        If there is no model for the fold, another one than when the study began, one that was
        trained on the subject that the fold holds out, or whose card does not list its training
        subjects.
    ModelError
        If the model's card cannot be read.
    """
    place, fold = study.settings.start_from, study.fold_folder(k)
    if not place:
        return None
    if (fold / START_FILE).exists():
        facts = read_object(fold / START_FILE, "train the fold again", StateError)
        return Start(facts, place, fold.name)
    folder = start_folder(place, fold.name)
    card = read_card(folder)
    seen = study.starts.get(folder.relative_to(folder_of(place)).as_posix(), card.sha256)
    if card.sha256 != seen:
        raise StateError(
            f"{folder}: holds another model than when this study began: put that one back, or "
            "train into a new run folder",
            argument="start_from",
        )
    held_out = study.held_out(k)
    if held_out is not None and not seen_subjects(card):
        raise StateError(
            f"{folder}: its model card does not list its training subjects, so no subject can be "
            "held out; train on all subjects only",
            argument="folds",
        )
    if held_out is not None and was_trained_on(card, held_out.name, study.digests[k]):
        is_same_name = was_trained_on(card, held_out.name)
        raise StateError(
            f"{folder}: was trained on {held_out.name}, which fold {k} holds out"
            f"{'' if is_same_name else ' (the same volume under another name)'}; start from a run "
            "folder whose folds hold out the same subjects, or train on all subjects only"
            f"{'; if this is another person of the same name, rename it' if is_same_name else ''}",
            argument="folds",
        )
    return Start(_facts(card), place, fold.name)


def start_training(  # noqa: PLR0913 - by keyword
    dataset: str | Path,
    run: str | Path,
    settings: StudySettings,
    folds: Sequence[int] | None = None,
    *,
    final: bool = False,
    report: Report = ignore,
) -> tuple[Study, list[int]]:
    """Create or open a study, and check that its folds can be trained, before any takes long.

    Nothing is written before all is checked.

    Parameters
    ----------
    dataset, run, settings
        As for `plan_study`.
    folds : sequence of int, optional
        May include `FINAL`; by default all folds.
    final : bool
        Also train on all subjects.
    report : callable
        Called before every subject is read.

    Returns
    -------
    study : Study
    folds : list of int
        Those requested, once each, also those that are done.

    Raises
    ------
    ValueError
        If there is no such fold, or `folds` is no list.
    SubjectError, StateError, ModelError
        As `plan_study`, `keep_study`, `check_start` and, for a fold that is done, `check_done`.
    """
    if isinstance(folds, str | int):
        raise ValueError(f"folds must be a list of numbers, got {brief(folds)}")
    study = plan_study(dataset, run, settings, report)
    chosen = range(len(study.subjects)) if folds is None else folds
    wanted = list(dict.fromkeys([*chosen, *([FINAL] if final else [])]))
    for k in wanted:
        study.check_fold(k)
        (check_done if study.is_done(k) else check_start)(study, k)
    return keep_study(study), wanted


def keep_start(start: Start, folder: Path) -> None:
    """Record in a fold's folder what it starts from, before its first step."""
    write_json(folder / START_FILE, start.facts)


def _facts(card: ModelCard) -> dict[str, Any]:
    before = card.training.get("started_from")
    return {
        "model": card.name,
        "held_out": card.training.get("held_out"),
        "sha256": card.sha256,
        "subjects": sorted(seen_subjects(card)),
        **{key: sorted(digests) for key, digests in seen_digests(card).items()},
        "command": card.training.get("command", ""),
        **({} if before is None else {"started_from": before}),
    }
