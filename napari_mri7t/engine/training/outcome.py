"""What one or several finished studies of the same subjects hold for those who judge them.

A run folder holds the study of one network; a folder of such folders holds the studies of several,
which are then compared subject by subject.
"""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_mri7t.engine.cards import read_card
from napari_mri7t.engine.errors import StateError, SubjectError
from napari_mri7t.engine.evaluation.evaluate import Case, Pair
from napari_mri7t.engine.evaluation.methods import SOURCE
from napari_mri7t.engine.evaluation.report import ReportSubject
from napari_mri7t.engine.evaluation.report_pictures import TARGET
from napari_mri7t.engine.evaluation.results import Cost, fingerprint
from napari_mri7t.engine.evaluation.stress import StressCase
from napari_mri7t.engine.model_stress import case_of_model
from napari_mri7t.engine.networks.model import load_model
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.provenance import file_digest
from napari_mri7t.engine.training.checkpoint import HISTORY
from napari_mri7t.engine.training.held_out import (
    ESTIMATE_FILE,
    held_out_volumes,
    read_figures,
    synthesis_config,
)
from napari_mri7t.engine.training.pairs import prepare_pairs
from napari_mri7t.engine.training.presets import TrainConfig
from napari_mri7t.engine.training.pretrained import STUDY_FILE
from napari_mri7t.engine.training.study import Study, open_study
from napari_mri7t.engine.volume import Volume, load_volume

RESULTS_FOLDER = "results"  # inside the run folder, or the folder of run folders
ROBUSTNESS_FOLDER = "results/robustness"


@dataclass(frozen=True)
class Outcome:
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


def open_outcome(folder: str | Path) -> Outcome:
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
    return Outcome(place, studies)


def _shared_facts(study: Study) -> tuple[object, ...]:
    config = study.settings.config
    subjects = [(s.name, file_digest(s.target)) for s in study.subjects]
    return (subjects, study.reference.name, config.simulation)


def pairs_of(outcome: Outcome) -> dict[str, Pair]:
    """Give every subject's source and target, as the trainings saw them.

    Parameters
    ----------
    outcome : Outcome

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


def cases_of(outcome: Outcome) -> list[Case]:
    """List the held-out subjects that have an estimate, with whom the fold trained on.

    Parameters
    ----------
    outcome : Outcome

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


def report_subjects(outcome: Outcome) -> list[ReportSubject]:
    """Give the subjects of the report's pictures, each with an estimate by the same studies.

    Parameters
    ----------
    outcome : Outcome

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


def load_subject(outcome: Outcome, subject: str) -> dict[str, Volume]:
    """Load source, target and every study's estimate of a held-out subject.

    Parameters
    ----------
    outcome : Outcome
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


def histories_of(outcome: Outcome) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
    """Read the loss curves of all folds.

    Parameters
    ----------
    outcome : Outcome

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


def stress_case(outcome: Outcome, method: str, device: str = "auto") -> StressCase:
    """Take the first done fold's model, and the subject that it has not seen.

    Parameters
    ----------
    outcome : Outcome
    method : str
    device : str
        As `SynthesisConfig.device`.

    Raises
    ------
    StateError
        If no fold is done yet.
    """
    study, done = outcome.studies[method], outcome.folds_done(method)
    if not done:
        raise StateError(f"{study.folder}: no fold is done yet; go on with `mri7t train`")
    subject, model = study.subjects[done[0]], load_model(study.fold_folder(done[0]))
    config = synthesis_config(study.settings.config, device)
    volumes = load_volume(subject.target), load_volume(study.reference.target)
    return case_of_model(model, *volumes, config)
