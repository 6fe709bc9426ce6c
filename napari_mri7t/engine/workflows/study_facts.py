"""A description of studies, for the head of their report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from napari_mri7t.engine.evaluation.results import label_of
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.simulation.pseudo_3t import REPORT_VARIANCE
from napari_mri7t.engine.training.config import PRESETS, settings_of
from napari_mri7t.engine.training.pairs import REPORT_REFERENCE
from napari_mri7t.engine.training.study import Study
from napari_mri7t.engine.volumes.digests import file_digest
from napari_mri7t.engine.volumes.provenance import describe_versions, read_sidecar
from napari_mri7t.engine.workflows.record import MAKE_PAIR, SIMULATE

REPORT_SUBJECTS = tuple(f"TELL{number:04d}" for number in range(101, 111))
ORIGINS = {  # of a 3T volume, by what its sidecar says it was made by
    SIMULATE: "pseudo-3T volumes, simulated before the training",
    MAKE_PAIR: "3T scans, prepared as pairs",
}


def name_methods(studies: Sequence[Study]) -> list[str]:
    """Return a name for every study's estimates, no two alike.

    Parameters
    ----------
    studies : sequence of Study

    Returns
    -------
    list of str
        The network; with its preset where several studies have the network; with the name of the
        run folder where several have both, numbered where another study has that name.
    """
    recipes = [(study.settings.network, study.settings.preset) for study in studies]
    networks, known = Counter(network for network, _ in recipes), Counter(recipes)
    names = {
        n: network if networks[network] == 1 else f"{network} ({preset})"
        for n, (network, preset) in enumerate(recipes)
        if known[network, preset] == 1
    }
    for n, (network, preset) in enumerate(recipes):
        if n not in names:
            folder = studies[n].folder.name
            # A folder named like another preset would pass for it: figures of "report" are known.
            first = 2 if folder in PRESETS and folder != preset else 1
            tried = (f"{network} ({folder}{f' {k}' if k > 1 else ''})" for k in count(first))
            names[n] = next(name for name in tried if name not in names.values())
    return [names[n] for n in range(len(studies))]


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
    facts = [
        ("Design", f"leave-one-out over {len(subjects)} subjects"),
        ("Input", _input_of(study)),
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


def is_of_report(study: Study) -> bool:
    """Return whether a study has the subjects and the input of the report.

    Parameters
    ----------
    study : Study
    """
    config, names = study.settings.config, [subject.name for subject in study.subjects]
    known = {label for label in REPORT_SUBJECTS for name in names if label in name}
    has_its_input = all(subject.source is None for subject in study.subjects)
    return (
        len(names) == len(known) == len(REPORT_SUBJECTS)
        and REPORT_REFERENCE in study.reference.name
        and has_its_input
        and (config.pseudo_3t, config.variance) == ("report", REPORT_VARIANCE)
    )


def _input_of(study: Study) -> str:
    """Return what the 3T volumes are, as far as their sidecars tell."""
    files = [subject.source for subject in study.subjects if subject.source is not None]
    if not files:
        config = study.settings.config
        made = _noise_in_words(config.pseudo_3t, config.variance)
        return f"pseudo-3T: {made}, seed {config.seed} for the first subject, increasing by one"
    counts = Counter(_origin_of(path) for path in files)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{number} {origin}" for origin, number in counts.items())


def _origin_of(path: Path) -> str:
    """Return what a 3T volume is: a file without a sidecar of ours is what the dataset gives."""
    facts = read_sidecar(path)
    if facts is None:
        return "3T volumes of the dataset"
    try:
        made_by = facts["GeneratedBy"][0]["Description"]
        noise = facts["Settings"]["noise"] if made_by == SIMULATE else {}
        told = f": {_noise_in_words(noise['preset'], noise['variance'])}" if noise else ""
    except (LookupError, TypeError):
        return "volumes with the sidecar of another program"
    return ORIGINS.get(made_by, "synthetic volumes") + told


def _noise_in_words(preset: str, variance: float) -> str:
    noise = f"Gaussian noise of variance {variance:g} on intensities in [0, 1]"
    return noise if preset == "report" else preset


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
