"""A description of studies, for the head of their report."""

from collections.abc import Mapping
from pathlib import Path

from napari_mri7t.engine.evaluation.results import label_of
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.training.config import settings_of
from napari_mri7t.engine.training.study import Study
from napari_mri7t.engine.volumes.provenance import describe_versions, file_digest


def describe_studies(studies: Mapping[str, Study]) -> list[tuple[str, str]]:
    """Describe studies of the same subjects: data, settings, versions.

    Parameters
    ----------
    studies : mapping of str to Study
        By the method's name.

    Returns
    -------
    list of (str, str)
        Title and text.
    """
    study = next(iter(studies.values()))
    subjects = study.subjects
    real = sum(subject.source is not None for subject in subjects)
    facts = [
        ("Design", f"leave-one-out over {len(subjects)} subjects"),
        ("Input", "real 3T volumes" if real == len(subjects) else _pseudo_3t(study)),
        ("Histogram", f"whole volumes matched to {study.reference.name}, input and target"),
    ]
    for method, each in studies.items():
        facts += _facts_of_study(label_of(method), each)
    facts.append(("Versions", describe_versions()))
    return [*facts, *((f"SHA-256 of {s.name}", file_digest(s.target)) for s in subjects)]


def _facts_of_study(label: str, study: Study) -> list[tuple[str, str]]:
    settings, n_folds = study.settings, len(study.subjects)
    done = [k for k in range(n_folds) if study.is_done(k)]
    recipe = (f"{key} {_plain(value)}" for key, value in settings_of(settings.config).items())
    facts = [
        (label, f"preset {settings.preset}, {len(done)} of {n_folds} folds done"),
        (f"{label}, settings", ", ".join(recipe)),
    ]
    if settings.start_from:
        facts.append((f"{label}, initial weights", f"of {Path(settings.start_from).name}"))
    if done:
        card = read_card(study.fold_folder(done[0]))
        parts = [f"{card.n_parameters:,} parameters"]
        parts += [f"{key} {_plain(value)}" for key, value in settings.network_config.items()]
        parts.append(f"trained on {card.training.get('hardware', 'unknown hardware')}")
        facts.append((f"{label}, network", ", ".join(parts)))
    return facts


def _pseudo_3t(study: Study) -> str:
    config = study.settings.config
    noise = f"Gaussian noise of variance {config.variance:g} on intensities in [0, 1]"
    made = noise if config.pseudo_3t == "report" else config.pseudo_3t
    return f"pseudo-3T: {made}, seed {config.seed} for the first subject, increasing by one"


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
