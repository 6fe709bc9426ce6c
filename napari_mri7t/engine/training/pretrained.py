"""Weights that a training starts from: another model's, or those of the same fold elsewhere.

Held out means unseen by all that came before: a model that knows the subject that a fold holds out
is no start for that fold.
"""

from pathlib import Path
from typing import Any

from napari_mri7t.engine.cards import (
    BUNDLED,
    CARD_FILE,
    ModelCard,
    find_model,
    read_card,
    seen_subjects,
)
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.networks.model import Model, load_model
from napari_mri7t.engine.training.study import FINAL, Study


def check_start(study: Study, k: int) -> ModelCard | None:
    """Check that the study's `start_from` may be the start of fold k.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.

    Returns
    -------
    ModelCard or None
        Of the model that the fold starts from; None where the weights are drawn.

    Raises
    ------
    StateError
        If there is no model for the fold, it is another network, or it has seen the subject that
        the fold holds out.
    ModelError
        If there is no model of that name at all.
    """
    if not study.settings.start_from:
        return None
    folder = _folder(study, k)
    card = read_card(folder)
    built = (card.network, card.network_config)
    if built != (study.settings.network, study.settings.network_config):
        raise StateError(
            f"{folder}: is network {card.network} {card.network_config or ''}, not "
            f"{study.settings.network} {study.settings.network_config or ''}; start from a model "
            "of the network that is trained"
        )
    held_out = None if k == FINAL else study.subjects[k].name
    if held_out in seen_subjects(card):
        raise StateError(
            f"{folder}: was trained on {held_out}, which fold {k} holds out; start from the models "
            "of the folds, or train with `--folds none --final`"
        )
    return card


def load_start(study: Study, k: int) -> Model | None:
    """Load the model that fold k starts from; raises as `check_start` and `load_model`."""
    return None if check_start(study, k) is None else load_model(_folder(study, k))


def start_facts(card: ModelCard | None) -> dict[str, Any]:
    """Say in a card's terms what a training started from; nothing where its weights were drawn."""
    if card is None:
        return {}
    facts = {
        "model": card.name,
        "sha256": card.sha256,
        "subjects": sorted(seen_subjects(card)),
        "command": card.training.get("command", ""),
    }
    return {"started_from": facts}


def _folder(study: Study, k: int) -> Path:
    """Find the model of fold k in a folder of folds, or the one model that all folds start from."""
    place = study.settings.start_from
    root = BUNDLED / place if (BUNDLED / place).is_dir() else Path(place)
    of_fold = root / study.fold_folder(k).name
    if (of_fold / CARD_FILE).exists():
        return of_fold
    if root.is_dir() and not (root / CARD_FILE).exists():
        raise StateError(f"{root}: no model for {study.label(k)} to start from: none in {of_fold}")
    return find_model(place)
