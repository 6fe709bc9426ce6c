"""Whether a fold that is done belongs to its study, before its figures or its model are used."""

from dataclasses import asdict
from pathlib import Path

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.models.card import ModelCard, read_card
from napari_mri7t.engine.texts import as_read
from napari_mri7t.engine.training.study import ESTIMATE_FILE, Study
from napari_mri7t.engine.volumes.provenance import read_sidecar, why_not_believed


def check_done(study: Study, k: int) -> None:
    """Check that the folder of a fold that is done holds this fold of this study.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.

    Raises
    ------
    StateError
        If the fold held out another subject, was trained on other images, of another network or
        with other settings, or its estimate is another than its model made.
    """
    folder, held_out = study.fold_folder(k), study.held_out(k)
    card, subject = read_card(folder), "nobody" if held_out is None else held_out.name
    found = card.training.get("held_out") or "nobody"
    if found != subject:
        raise StateError(
            f"{folder}: holds the fold of {found}, not of {subject}: put it back, or remove the "
            "folder to train the fold again"
        )
    _check_origin(study, k, card)
    recorded, asked = card.training.get("settings"), as_read(asdict(study.settings.config))
    known = recorded if isinstance(recorded, dict) else {}
    shared = known.keys() & asked.keys()
    if differing := sorted(name for name in shared if known[name] != asked[name]):
        raise StateError(
            f"{folder}: was trained with other settings than {STUDY_FILE} has "
            f"({', '.join(differing)}): restore that file, or use another run folder"
        )
    if held_out is not None:
        _check_estimate(folder / ESTIMATE_FILE, card)


def _check_origin(study: Study, k: int, card: ModelCard) -> None:
    """Refuse a fold of another study: of another network, or trained on other people's images."""
    numbers = [number for number in range(len(study.subjects)) if number != k]
    images = [study.digests[number].target.file for number in numbers]
    people = [study.subjects[number].name for number in numbers]
    seen, names = card.training.get("targets_sha256"), card.training.get("subjects")
    what = ""
    if card.network != study.settings.network:
        what = f"of another network ({card.network})"
    elif isinstance(seen, list) and sorted(map(str, seen)) != sorted(images):
        what = "trained on other images"
    elif not isinstance(names, list) or sorted(map(str, names)) != sorted(people):
        what = "trained on other people"
    if what:
        raise StateError(
            f"{study.fold_folder(k)}: holds a fold {what} than {STUDY_FILE} says: put the right "
            "one back, or remove the folder to train the fold again"
        )


def _check_estimate(image: Path, card: ModelCard) -> None:
    """Refuse an estimate of another model than the fold's."""
    facts = read_sidecar(image)
    made_by = {} if facts is None else facts.get("Model")
    digest = made_by.get("SHA256") if isinstance(made_by, dict) else None
    why = "" if facts else why_not_believed(image) or "its sidecar is missing"
    if digest not in (None, card.sha256):
        why = "was made by another model than this fold's"
    if why:
        raise StateError(f"{image}: {why}: remove it; training the fold again makes it anew")
