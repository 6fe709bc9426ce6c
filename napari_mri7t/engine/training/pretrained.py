"""Weights that a training starts from: another model's, or those of the same fold elsewhere.

Held out means unseen by all that came before: a model that knows the subject that a fold holds out
is no start for that fold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.cards import (
    BUNDLED,
    CARD_FILE,
    ModelCard,
    bundled_names,
    find_model,
    folder_of,
    has_seen,
    read_card,
    seen_digests,
    seen_subjects,
)
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.json_files import read_json
from napari_mri7t.engine.provenance import file_digest

if TYPE_CHECKING:
    from napari_mri7t.engine.training.study import Study

STUDY_FILE = "study.json"  # in a run folder
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


def settle(place: str) -> str:
    """Write a place so that it means the same from anywhere: a bundled name, or a whole path."""
    if place in bundled_names():
        return place
    folder = Path(place).expanduser().resolve()
    bundled = BUNDLED.resolve()
    return folder.relative_to(bundled).as_posix() if bundled in folder.parents else str(folder)


def start_folder(place: str, fold: str) -> Path:
    """Find the model of a fold in a folder of folds, or the one model that all folds start from.

    Raises
    ------
    StateError
        If the place is a folder of folds without this one.
    ModelError
        If there is no such place.
    """
    root = folder_of(place)
    for folder in (root / fold, root):
        if (folder / CARD_FILE).exists():
            return folder
    if root.is_dir():
        raise StateError(
            f"{root}: no model for {fold} to start from: train it there first, or only the folds "
            "that it has"
        )
    return find_model(place)


def check_place(place: str, network: str, network_config: dict[str, Any]) -> str:
    """Check that a place holds models of the network that is trained.

    Parameters
    ----------
    place : str
        A model, bundled or a folder, or a folder with a model per fold.
    network, network_config
        As the study has them.

    Returns
    -------
    str
        SHA-256 of the first model's weights, by which the place is known again elsewhere.

    Raises
    ------
    StateError
        If there is no model in it, or of another network.
    ModelError
        If there is no such place.
    """
    root = folder_of(place)
    cards = [root / CARD_FILE, *sorted(root.glob(f"*/{CARD_FILE}"))]
    found = [path.parent for path in cards if path.exists()]
    if not found:
        find_model(place)
        raise StateError(f"{root}: neither a model nor a run folder with trained folds")
    card = read_card(found[0])
    if (card.network, card.network_config) != (network, json.loads(json.dumps(network_config))):
        raise StateError(
            f"{found[0]}: is network {card.network} {card.network_config or ''}, not {network} "
            f"{network_config or ''}; start from a model of the network that is trained"
        )
    return card.sha256


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


@contextmanager
def free_if_refused(run: Path) -> Iterator[None]:
    """Withdraw a study that is set up within and then refused: the run folder is free again.

    A study that stood there before stays.
    """
    path = run / STUDY_FILE
    is_new = not path.exists()
    try:
        yield
    except Mri7tError:
        if is_new:
            path.unlink(missing_ok=True)
        raise


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
