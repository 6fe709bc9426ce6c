"""What one or several finished studies of the same subjects hold for those who judge them.

A run folder holds the study of one network; a folder of such folders holds the studies of several,
which are then compared subject by subject.

What was done in a study, in words: for the head of its report.
"""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_mri7t import __version__
from napari_mri7t.engine.errors import StateError, SubjectError
from napari_mri7t.engine.evaluation.evaluate import Case, Pair
from napari_mri7t.engine.evaluation.results import SOURCE, Cost, fingerprint, label_of
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.report.report import ReportSubject
from napari_mri7t.engine.report.sections import TARGET
from napari_mri7t.engine.training.checkpoint import HISTORY
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.export import read_figures
from napari_mri7t.engine.training.pairs import prepare_pairs
from napari_mri7t.engine.training.run import ESTIMATE_FILE, held_out_volumes
from napari_mri7t.engine.training.study import STUDY_FILE, Study, open_study
from napari_mri7t.engine.volumes.provenance import file_digest, versions
from napari_mri7t.engine.volumes.volume import Volume, load_volume

RESULTS_FOLDER = "results"  # inside the run folder, or the folder of run folders
ROBUSTNESS_FOLDER = "results/robustness"


@dataclass(frozen=True)
class Studies:
    """Studies that share subjects, reference and noise.

    Parameters
    ----------
    folder : Path
        What was opened; gets the results.
    studies : dict of str to Study
        Method's name to study: the network, with the preset in brackets where it occurs twice.
    """

    folder: Path
    studies: dict[str, Study]

    @property
    def first(self) -> Study:
        """Any of the studies, for what they share."""
        return next(iter(self.studies.values()))

    def folds_done(self, method: str) -> list[int]:
        """Tell which folds of a study have their estimate."""
        study = self.studies[method]
        return [k for k in range(len(study.subjects)) if study.is_done(k)]


def open_studies(folder: str | Path) -> Studies:
    """Open a run folder, or a folder of run folders.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    StateError
        If there is no study, or several that were not made of the same pairs.
    """
    place = Path(folder)
    if (place / STUDY_FILE).exists():
        found = [open_study(place)]
    else:
        found = [open_study(path.parent) for path in sorted(place.glob(f"*/{STUDY_FILE}"))]
    if not found:
        raise StateError(f"{place}: no study here nor in its folders; `mri7t train` makes one")
    shared = [_shared_facts(study) for study in found]
    for study, facts in zip(found, shared, strict=True):
        if facts != shared[0]:
            raise StateError(
                f"{study.folder} and {found[0].folder}: differ in subjects, reference, noise or "
                "seed, so that their estimates cannot be compared; evaluate each alone"
            )
    networks = [study.settings.network for study in found]
    studies: dict[str, Study] = {}
    for study in found:
        name = study.settings.network
        method = name if networks.count(name) == 1 else f"{name} ({study.settings.preset})"
        if method in studies:
            method = f"{name} ({study.folder.name})"
        studies[method] = study
    return Studies(place, studies)


def _shared_facts(study: Study) -> tuple[object, ...]:
    config = study.settings.config
    subjects = [(s.name, file_digest(s.target)) for s in study.subjects]
    return (subjects, study.reference.name, config.simulation)


def pairs_of(outcome: Studies) -> dict[str, Pair]:
    """Give every subject's source and target, as the trainings saw them.

    Parameters
    ----------
    outcome : Studies

    Returns
    -------
    dict
        Subject's name to pair.
    """
    study = outcome.first
    config, reference = study.settings.config, file_digest(study.reference.target)
    pairs = {}
    for k, subject in enumerate(study.subjects):
        source = None if subject.source is None else file_digest(subject.source)
        digests = (file_digest(subject.target), source, reference)
        mark = fingerprint(*digests, *_drawn(config), config.seed + k)
        pairs[subject.name] = Pair(mark, partial(_load_pair, study, k))
    return pairs


def _drawn(config: TrainConfig) -> tuple[object, ...]:
    """Tell what decides a pseudo-3T apart from its seed."""
    return (config.variance,) if config.pseudo_3t == "report" else (config.pseudo_3t,)


def _load_pair(study: Study, k: int) -> tuple[Volume, Volume]:
    config, subject = study.settings.config, study.subjects[k]
    simulation = replace(config.simulation, seed=config.seed + k)
    steps = prepare_pairs([subject], study.reference, simulation)
    (pair,) = run_to_end(steps)
    return held_out_volumes(pair, load_volume(subject.target))


def cases_of(outcome: Studies) -> list[Case]:
    """List the held-out subjects that have an estimate, with whom the fold trained on.

    Parameters
    ----------
    outcome : Studies

    Returns
    -------
    list of Case

    Raises
    ------
    StateError
        If no fold is done yet.
    """
    names = [subject.name for subject in outcome.first.subjects]
    done = {method: outcome.folds_done(method) for method in outcome.studies}
    cases = []
    for k, name in enumerate(names):
        folders = {
            method: study.fold_folder(k)
            for method, study in outcome.studies.items()
            if k in done[method]
        }
        if folders:
            training = tuple(other for other in names if other != name)
            estimates = {method: place / ESTIMATE_FILE for method, place in folders.items()}
            costs = {method: _cost(place) for method, place in folders.items()}
            cases.append(Case(name, training, estimates, costs))
    if not cases:
        raise StateError(f"{outcome.folder}: no fold is done yet; go on with `mri7t train`")
    return cases


def _cost(fold: Path) -> Cost:
    """Read what a done fold's network and estimate took."""
    (figures,) = read_figures([fold])
    return Cost(float(figures["seconds"]), read_card(fold).n_parameters)


def report_subjects(outcome: Studies) -> list[ReportSubject]:
    """Give the subjects of the report's pictures, each with an estimate by the same studies.

    Parameters
    ----------
    outcome : Studies

    Returns
    -------
    list of ReportSubject
        A study with fewer folds than others is not among the pictures: it would cost subjects.
    """
    pairs, cases = pairs_of(outcome), cases_of(outcome)
    counts = Counter(method for case in cases for method in case.estimates)
    most = max(counts.values(), default=0)
    shown = [method for method in outcome.studies if counts[method] == most]
    estimates = {
        case.subject: {m: case.estimates[m] for m in shown if m in case.estimates} for case in cases
    }
    return [
        ReportSubject(subject, partial(_load_all, pairs[subject], known))
        for subject, known in estimates.items()
        if len(known) == len(shown)
    ]


def load_subject(outcome: Studies, subject: str) -> dict[str, Volume]:
    """Load source, target and every study's estimate of a held-out subject.

    Parameters
    ----------
    outcome : Studies
    subject : str

    Returns
    -------
    dict
        Method to volume, in the order 3T, estimates, 7T.

    Raises
    ------
    SubjectError
        If no study has held it out yet.
    """
    for case in cases_of(outcome):
        if case.subject == subject:
            return _load_all(pairs_of(outcome)[subject], case.estimates)
    raise SubjectError(f"{subject}: no study has its estimate yet")


def _load_all(pair: Pair, estimates: Mapping[str, Path]) -> dict[str, Volume]:
    source, target = pair.load()
    loaded = {method: load_volume(path) for method, path in estimates.items()}
    return {SOURCE: source, **loaded, TARGET: target}


def histories_of(outcome: Studies) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
    """Read the loss curves of all folds.

    Parameters
    ----------
    outcome : Studies

    Returns
    -------
    dict
        Method to (fold's label, steps, losses); methods without any are left out.
    """
    histories = {}
    for method, study in outcome.studies.items():
        paths = (
            (study.label(k), study.fold_folder(k) / HISTORY) for k in outcome.folds_done(method)
        )
        curves = [(label, *_read_history(path)) for label, path in paths if path.exists()]
        if curves:
            histories[method] = curves
    return histories


def _read_history(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    steps, losses = np.array(rows).reshape(-1, 2).T
    return steps, losses


def facts_of(outcome: Studies) -> list[tuple[str, str]]:
    """Tell in words what was done: data, recipe, seeds, versions.

    Parameters
    ----------
    outcome : Studies

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


def _facts_of_method(outcome: Studies, method: str) -> list[tuple[str, str]]:
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
