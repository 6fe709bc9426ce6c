"""What was done in a study, in words: for the head of its report."""

from dataclasses import asdict
from pathlib import Path

from napari_mri7t import __version__
from napari_mri7t.engine.cards import read_card
from napari_mri7t.engine.evaluation.methods import label_of
from napari_mri7t.engine.provenance import file_digest, versions
from napari_mri7t.engine.training.outcome import Outcome


def facts_of(outcome: Outcome) -> list[tuple[str, str]]:
    """Tell in words what was done: data, recipe, seeds, versions.

    Parameters
    ----------
    outcome : Outcome

    Returns
    -------
    list of (str, str)
    """
    study = outcome.first
    config, subjects = study.settings.config, study.subjects
    real = sum(subject.source is not None for subject in subjects)
    noise = f"Gaussian noise of variance {config.variance:g} on intensities in [0, 1]"
    made = (
        f"pseudo-3T: {noise if config.pseudo_3t == 'report' else config.pseudo_3t}, "
        f"seed {config.seed} for the first subject, one more for each of the next"
    )
    facts = [
        ("Design", f"leave-one-out over {len(subjects)} subjects"),
        ("Input", "real 3T volumes" if real == len(subjects) else made),
        ("Histogram", f"whole volumes matched to {study.reference.name}, input and target"),
    ]
    for method in outcome.studies:
        facts += _facts_of_method(outcome, method)
    found = ", ".join(f"{name} {number}" for name, number in versions().items())
    facts.append(("Versions", f"napari-mri7t {__version__}, {found}"))
    facts += [(f"SHA-256 of {s.name}", file_digest(s.target)) for s in subjects]
    return facts


def _facts_of_method(outcome: Outcome, method: str) -> list[tuple[str, str]]:
    study, done = outcome.studies[method], outcome.folds_done(method)
    settings = study.settings
    recipe = ", ".join(f"{key} {_plain(value)}" for key, value in asdict(settings.config).items())
    label = label_of(method)
    facts = [
        (label, f"preset {settings.preset}, {len(done)} of {len(study.subjects)} folds done"),
        (f"{label}, settings", recipe),
    ]
    if settings.start_from:
        facts.append((f"{label}, first weights", f"of {Path(settings.start_from).name}"))
    if done:
        card = read_card(study.fold_folder(done[0]))
        parts = [f"{card.n_parameters:,} parameters"]
        parts += [f"{key} {_plain(value)}" for key, value in settings.network_config.items()]
        parts.append(f"trained on {card.training.get('hardware', 'unknown hardware')}")
        facts.append((f"{label}, network", ", ".join(parts)))
    return facts


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
