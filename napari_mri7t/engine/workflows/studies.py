"""The finished studies of one or several networks on the same subjects: evaluated, reported.

A run folder holds the study of one network; a folder of run folders holds the studies of several,
which are compared subject by subject.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_mri7t.engine.atomic import write_json
from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.errors import StateError, SubjectError
from napari_mri7t.engine.evaluation.baselines import Baseline
from napari_mri7t.engine.evaluation.evaluate import Case, Pair
from napari_mri7t.engine.evaluation.evaluate import evaluate as evaluate_cases
from napari_mri7t.engine.evaluation.results import (
    SOURCE,
    STUDY_FILE,
    TARGET,
    Cost,
    StudyResults,
    file_name,
    fingerprint,
    label_of,
)
from napari_mri7t.engine.evaluation.stress import Stress, is_known, stress, summarize_stress
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.progress import Progress, Report, ignore, part, with_loading
from napari_mri7t.engine.report.report import (
    REPORT_FILE,
    ReportData,
    ReportSubject,
    check_page,
    write_report,
)
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.training.checkpoint import HISTORY, has_history, read_history
from napari_mri7t.engine.training.config import TrainConfig, find_preset, network_settings
from napari_mri7t.engine.training.data import check_data
from napari_mri7t.engine.training.figures import read_figures
from napari_mri7t.engine.training.fold_checks import check_done
from napari_mri7t.engine.training.pairs import prepare_pairs
from napari_mri7t.engine.training.run import held_out_volumes, prepare_study, run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import ESTIMATE_FILE, Study, StudySettings, open_study
from napari_mri7t.engine.typed import check_kind
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.stress import case_of_study
from napari_mri7t.engine.workflows.study_facts import describe_studies, is_of_report, name_methods


@dataclass(frozen=True)
class Studies:
    """Studies that share subjects, reference and noise.

    Parameters
    ----------
    folder : Path
        The folder that was opened; results are written into it.
    studies : dict of str to Study
        Method's name to study: the network, with the preset in brackets where it occurs twice.
    """

    folder: Path
    studies: dict[str, Study]

    @property
    def first(self) -> Study:
        """Any of the studies, for what they share."""
        return next(iter(self.studies.values()))

    @property
    def results_folder(self) -> Path:
        """Folder of scores, tables and figures."""
        return self.folder / "results"

    @property
    def robustness_folder(self) -> Path:
        """Folder of what `stress` measures."""
        return self.results_folder / "robustness"

    def folds_done(self, method: str) -> list[int]:
        """Return the folds of a study that have their estimate."""
        study = self.studies[method]
        return [k for k in range(len(study.subjects)) if study.is_done(k)]

    def pairs(self, report: Report = ignore) -> dict[str, Pair]:
        """Return every subject's source and target, as the trainings saw them.

        Parameters
        ----------
        report : callable
            Called now and whenever a pair is loaded.

        Returns
        -------
        dict
            Subject's name to pair.

        Raises
        ------
        StateError
            If a file of the study has changed.
        """
        study = self.first
        check_data(study.subjects, study.digests)
        pairs = {}
        for k, subject in enumerate(study.subjects):
            report(Progress(k, len(study.subjects), f"reading {subject.name}"))
            files, reference = study.digests[k].files, study.reference_digest
            mark = fingerprint(*files, reference, _simulation(study, k))
            pairs[subject.name] = Pair(mark, partial(_load_pair, study, k, report))
        return pairs

    def cases(self) -> list[Case]:
        """List the held-out subjects that have an estimate, with the fold's training subjects.

        Raises
        ------
        StateError
            If no fold is done yet, or a fold's folder holds another subject's or model's estimate.
        """
        names = [subject.name for subject in self.first.subjects]
        cases = []
        for k, name in enumerate(names):
            folders = {m: s.fold_folder(k) for m, s in self.studies.items() if s.is_done(k)}
            if folders:
                for method in folders:
                    check_done(self.studies[method], k)
                training = tuple(other for other in names if other != name)
                estimates = {method: place / ESTIMATE_FILE for method, place in folders.items()}
                costs = {method: _cost(place) for method, place in folders.items()}
                cases.append(Case(name, training, estimates, costs))
        if not cases:
            raise StateError(f"{self.folder}: no fold is done yet; finish the training first")
        return cases

    def evaluate(
        self, *, baselines: Mapping[str, Baseline] | None = None, report: Report = ignore
    ) -> StudyResults:
        """Score every held-out estimate, the 3T and the baselines; earlier scores are reused.

        Parameters
        ----------
        baselines : mapping of str to Baseline, optional
            As for `evaluation.evaluate.evaluate`; `{}` for none.
        report : callable

        Returns
        -------
        StudyResults

        Raises
        ------
        StateError
            If no fold is done yet.
        """
        scoring, loading = with_loading(report)
        pairs, cases, place = self.pairs(loading), self.cases(), self.results_folder
        found = evaluate_cases(pairs, cases, place, baselines=baselines, report=scoring)
        return replace(found, is_of_report=is_of_report(self.first))

    def stress(
        self, device: str = "auto", *, run_all: bool = False, report: Report = ignore
    ) -> dict[str, Stress]:
        """Test every network under degraded input and with lesions.

        Parameters
        ----------
        device : str
            As `SynthesisConfig.device`.
        run_all : bool
            Measure what is missing; otherwise only complete earlier measurements are read.
        report : callable

        Returns
        -------
        dict
            Method to `Stress`; what is measured also goes to a JSON file in `robustness_folder`.

        Raises
        ------
        StateError
            If no fold is done in all studies that have begun: each network needs the same brain.
        """
        if not run_all and not self.robustness_folder.exists():
            return {}
        records, found = self.robustness_folder / "records", {}
        methods = [method for method in self.studies if self.folds_done(method)]
        if (k := self._common_fold(methods)) is None:
            if not run_all:
                return {}
            raise StateError(f"{self.folder}: finish one fold, the same in all studies, first")
        for n, method in enumerate(methods):
            here = part(partial(_report_of, report, label_of(method)), n, len(methods))
            here(Progress(0, 1, "loading model and brain"))
            case = case_of_study(self.studies[method], k, device)
            if run_all or is_known(case, records):
                found[method] = stress(case, records, report=here)
            if run_all:
                path = self.robustness_folder / file_name(method)
                write_json(path, summarize_stress(found[method]))
        return found

    def _common_fold(self, methods: Sequence[str]) -> int | None:
        """Return the first fold that all have done: their curves are of one brain."""
        done = [set(self.folds_done(method)) for method in methods]
        return min(set.intersection(*done), default=None) if done else None

    def write_report(
        self,
        results: StudyResults,
        *,
        page: Path | None = None,
        stress: Mapping[str, Stress] | None = None,
        report: Report = ignore,
    ) -> Path:
        """Write tables, figures and one self-contained HTML page.

        Parameters
        ----------
        results : StudyResults
            From `evaluate`.
        page : Path, optional
            The HTML file; "report.html" in the folder by default.
        stress : mapping of str to Stress, optional
            From `stress`; by default what it measured before.
        report : callable

        Returns
        -------
        Path
            The page.
        """
        writing, loading = with_loading(report)
        data = self.report_data(results, stress, report=loading)
        place = self.folder / REPORT_FILE if page is None else page
        return write_report(data, self.results_folder, place, report=writing)

    def report_data(
        self,
        results: StudyResults,
        stress: Mapping[str, Stress] | None = None,
        report: Report = ignore,
    ) -> ReportData:
        """Return the content of the report.

        Parameters
        ----------
        results, stress
            As for `write_report`.
        report : callable
            Called here, and later whenever a subject's volumes are loaded.
        """
        report(Progress(0, 1, "describing the studies"))
        return ReportData(
            title=f"7T-like brains from 3T: {self.folder.resolve().name}",
            facts=self.facts(),
            results=results,
            subjects=self._report_subjects(report),
            histories=self.histories(),
            stress=self.stress(report=report) if stress is None else stress,
        )

    def load_subject(self, name: str) -> dict[str, Volume]:
        """Load source, target and every study's estimate of a held-out subject.

        Parameters
        ----------
        name : str
            Of the subject.

        Returns
        -------
        dict
            Method to volume, in the order 3T, estimates, 7T.

        Raises
        ------
        SubjectError
            If no study has held it out yet.
        """
        for case in self.cases():
            if case.subject == name:
                return _load_all(self.pairs()[name], case.estimates)
        raise SubjectError(f"{name}: no study has its estimate yet")

    def histories(self) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
        """Read the loss curves of all folds.

        Returns
        -------
        dict
            Method to (fold's label, steps, losses); methods without any are left out.
        """
        histories = {}
        for method, study in self.studies.items():
            folds = self.folds_done(method)
            paths = {study.label(k): study.fold_folder(k) / HISTORY for k in folds}
            curves = [(name, *read_history(p)) for name, p in paths.items() if has_history(p)]
            if curves:
                histories[method] = curves
        return histories

    def facts(self) -> list[tuple[str, str]]:
        """Describe the studies as text, for the head of a report: data, settings, versions.

        Returns
        -------
        list of (str, str)
            Title and text.
        """
        return describe_studies(self.studies)

    def _report_subjects(self, report: Report) -> list[ReportSubject]:
        """Return the subjects that the studies with most folds have all held out."""
        pairs, cases = self.pairs(report), self.cases()
        counts = Counter(method for case in cases for method in case.estimates)
        shown = [method for method in self.studies if counts[method] == max(counts.values())]
        subjects = []
        for case in cases:
            estimates = {m: case.estimates[m] for m in shown if m in case.estimates}
            if len(estimates) == len(shown):
                load = partial(_load_all, pairs[case.subject], estimates, report)
                subjects.append(ReportSubject(case.subject, load))
        return subjects


def open_studies(folder: str | Path) -> Studies:
    """Open a run folder, or a folder of run folders.

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
        raise StateError(f"{place}: no study in this folder or its subfolders; train one first")
    shared = [_shared_facts(study) for study in found]
    for study, facts in zip(found, shared, strict=True):
        if facts != shared[0]:
            raise StateError(
                f"{study.folder} and {found[0].folder}: differ in subjects, reference, noise or "
                "seed, so that their estimates cannot be compared; evaluate each alone"
            )
    return Studies(place, dict(zip(name_methods(found), found, strict=True)))


def train(  # noqa: PLR0913 - offered to Python users, by keyword
    dataset: str | Path,
    run: str | Path,
    network: str = "slice_unet",
    preset: str = "best",
    *,
    config: TrainConfig | None = None,
    folds: Sequence[int] | None = None,
    device: str = "auto",
    reference: str = "",
    start_from: str | Path = "",
    report: Report = ignore,
) -> Studies:
    """Train a network by leave-one-out, and estimate every held-out subject.

    Called again with the same arguments, it resumes: folds that are done are not repeated.

    Parameters
    ----------
    dataset : str or Path
        Folder of 7T volumes, of pairs, or a BIDS dataset; see `find_subjects`.
    run : str or Path
        Run folder; made if missing.
    network : str
        One of `NETWORKS`, or a network of an installed plugin.
    preset : str
        Name of the training recipe.
    config : TrainConfig, optional
        Settings in place of the preset's.
    folds : sequence of int, optional
        Fold k holds out subject k; `FINAL` trains on all subjects. By default all folds.
    device : str
        As `SynthesisConfig.device`.
    reference : str
        Name of the subject to whose histogram all are matched, or a unique part of it; see
        `choose_reference`.
    start_from : str or Path
        Bundled name or folder of a model whose weights all folds start from, or a run folder, so
        that fold k starts from its fold k; by default the weights are random.
    report : callable

    Returns
    -------
    Studies
        The opened run folder.

    Raises
    ------
    SubjectError
        If the dataset is not usable.
    StateError
        If the run folder holds another study, or a fold may not start from `start_from`.
    ValueError, ModelError
        If a fold, the network or the preset is unknown, or the start is no model of the network.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> for n, brain in enumerate(np.random.default_rng(0).random((3, 24, 24, 24), np.float32)):
    ...     _ = mri7t.save_volume(mri7t.Volume(brain, np.eye(4)), f"sub-{n}.nii.gz")
    >>> quick = mri7t.TrainConfig(n_steps=1, batch_size=1, patch_size=16)
    >>> mri7t.train(".", "run", config=quick, folds=[0]).folds_done("slice_unet")
    [0]
    """
    resolve_device(device)
    recipe = find_preset(preset) if config is None else config
    check_kind(config=(recipe, TrainConfig))
    built = network_settings(network, preset)
    settings = StudySettings(network, preset, recipe, built, reference, str(start_from))
    study, wanted = start_training(
        dataset, run, settings, folds, report=part(report, 0, 1, share=0)
    )
    missing = [k for k in wanted if not study.is_done(k)]
    if missing:
        pairs = prepare_study(study, report=part(report, 0, len(missing), share=0))
        for n, k in enumerate(missing):
            run_fold(study, k, device, pairs, report=part(report, n, len(missing)))
    return open_studies(run)


def evaluate(
    run: str | Path,
    *,
    baselines: Mapping[str, Baseline] | None = None,
    report: Report = ignore,
) -> StudyResults:
    """Score every held-out estimate of a run folder, the 3T and the classical baselines.

    Parameters
    ----------
    run : str or Path
        Run folder, or a folder of several to compare.
    baselines : mapping of str to Baseline, optional
        All by default; `{}` for none.
    report : callable

    Returns
    -------
    StudyResults
        Also written into the folder "results" of `run`, from where they are read the next time.

    Raises
    ------
    StateError
        If there is no study, no fold is done yet, or several studies cannot be compared.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> for n, brain in enumerate(np.random.default_rng(0).random((3, 24, 24, 24), np.float32)):
    ...     _ = mri7t.save_volume(mri7t.Volume(brain, np.eye(4)), f"sub-{n}.nii.gz")
    >>> quick = mri7t.TrainConfig(n_steps=1, batch_size=1, patch_size=16)
    >>> _ = mri7t.train(".", "run", config=quick, folds=[0])
    >>> results = mri7t.evaluate("run", baselines={})
    >>> results.methods, list(results.values("slice_unet", "brain_psnr"))
    (['source', 'slice_unet'], ['sub-0'])
    """
    check_kind(baselines=({} if baselines is None else baselines, Mapping))
    return open_studies(run).evaluate(baselines=baselines, report=report)


def report(run: str | Path, page: str | Path | None = None, *, report: Report = ignore) -> Path:
    """Write one self-contained HTML page about a run folder, evaluating what is missing.

    Parameters
    ----------
    run : str or Path
        Run folder, or a folder of several to compare.
    page : str or Path, optional
        The HTML file; "report.html" in `run` by default. Tables and figures go to "results".
    report : callable

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StateError
        If there is no study, no fold is done yet, or several studies cannot be compared.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> for n, brain in enumerate(np.random.default_rng(0).random((3, 24, 24, 24), np.float32)):
    ...     _ = mri7t.save_volume(mri7t.Volume(brain, np.eye(4)), f"sub-{n}.nii.gz")
    >>> quick = mri7t.TrainConfig(n_steps=1, batch_size=1, patch_size=16)
    >>> _ = mri7t.train(".", "run", config=quick, folds=[0])
    >>> mri7t.report("run").name
    'report.html'
    """
    studies = open_studies(run)
    place = studies.folder / REPORT_FILE if page is None else Path(page)
    check_page(place)
    results = studies.evaluate(report=part(report, 0, 2))
    return studies.write_report(results, page=place, report=part(report, 1, 2))


def _shared_facts(study: Study) -> tuple[object, ...]:
    named = zip(study.subjects, study.digests, strict=True)
    subjects = [(subject.name, *digests.files) for subject, digests in named]
    return (subjects, study.reference.name, study.settings.config.simulation)


def _simulation(study: Study, k: int) -> SimulationConfig:
    config = study.settings.config
    return replace(config.simulation, seed=config.seed + k)


def _load_pair(study: Study, k: int, report: Report) -> tuple[Volume, Volume]:
    subject = study.subjects[k]
    (pair,) = prepare_pairs([subject], study.reference, _simulation(study, k), report=report)
    return held_out_volumes(pair, load_volume(subject.target))


def _load_all(
    pair: Pair, estimates: Mapping[str, Path], report: Report = ignore
) -> dict[str, Volume]:
    source, target = pair.load()
    loaded = {}
    for method, path in estimates.items():
        report(Progress(0, 1, f"loading {label_of(method)}"))
        loaded[method] = load_volume(path)
    return {SOURCE: source, **loaded, TARGET: target}


def _cost(fold: Path) -> Cost:
    """Read the parameter count of a done fold's network, and the seconds of its estimate."""
    seconds = [float(figures["seconds"]) for figures in read_figures([fold])]
    return Cost(seconds[0] if seconds else math.nan, read_card(fold).n_parameters)


def _report_of(report: Report, name: str, progress: Progress) -> None:
    report(replace(progress, message=f"{name}, {progress.message}"))
