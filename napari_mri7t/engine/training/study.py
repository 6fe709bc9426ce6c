"""A leave-one-out study of one network: its run folder holds the whole state.

A fold is done when its `card.json` exists, which is written last.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_mri7t import __version__
from napari_mri7t.engine.atomic import read_object, write_json
from napari_mri7t.engine.datasets.folds import leave_one_out
from napari_mri7t.engine.datasets.subjects import Subject, find_subjects
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.models.card import (
    CARD_FILE,
    WEIGHTS_FILE,
    check_place,
    digests_of_starts,
    is_replaced,
    normalise_place,
)
from napari_mri7t.engine.networks import build_network, slices_of
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.training.checkpoint import copy_state, has_state
from napari_mri7t.engine.training.config import FINAL, TrainConfig, from_dict
from napari_mri7t.engine.training.data import SubjectDigests, digest_subjects, digests_from
from napari_mri7t.engine.training.fit import check_fit
from napari_mri7t.engine.training.pairs import choose_reference
from napari_mri7t.engine.training.study_checks import (
    LOCK_FILE,
    check_ends,
    check_noise_map,
    refuse_other_study,
    refuse_strays,
)
from napari_mri7t.engine.volumes.files.reading import read_header

STUDY_FORMAT = 1
ESTIMATE_FILE = "estimate.nii.gz"  # of the held-out subject, in the folder of a fold


@dataclass(frozen=True)
class StudySettings:
    """Settings of a study, apart from its data.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    preset : str
        Name of the preset that `config` is based on.
    config : TrainConfig
    network_config : dict
        Arguments of the network's constructor.
    reference : str
        Part of the name of the subject to whose histogram all are matched; see
        `choose_reference`.
    start_from : str
        Bundled name or path of a model whose weights all folds start from, or of a run folder, so
        that fold k starts from its fold k; empty for random weights.
    """

    network: str
    preset: str
    config: TrainConfig
    network_config: dict[str, Any] = field(default_factory=dict)
    reference: str = ""
    start_from: str = ""


@dataclass(frozen=True)
class Study:
    """An opened run folder.

    Parameters
    ----------
    folder : Path
    settings : StudySettings
    subjects : tuple of Subject
        In order; fold k holds out subject k.
    reference : Subject
    digests : tuple of SubjectDigests
        Of the subjects' images, as they were when the study was created.
    start_sha256 : str
        Digest of the first model in `settings.start_from`; empty if the weights are random.
    starts : dict
        Digests of all models there by `digests_of_starts`, each as it was first seen.
    """

    folder: Path
    settings: StudySettings
    subjects: tuple[Subject, ...]
    reference: Subject
    digests: tuple[SubjectDigests, ...]
    start_sha256: str = ""
    starts: dict[str, str] = field(default_factory=dict)

    @property
    def reference_digest(self) -> str:
        """Return the SHA-256 of the reference's file."""
        return self.digests[self.subjects.index(self.reference)].target.file

    def fold_folder(self, k: int) -> Path:
        """Return the folder of fold k, or of the final training."""
        return self.folder / ("final" if k == FINAL else f"fold-{k:02d}")

    def held_out(self, k: int) -> Subject | None:
        """Return the subject that fold k holds out; None for the final training."""
        return None if k == FINAL else self.subjects[k]

    def check_fold(self, k: int) -> None:
        """Raise a ValueError if there is no fold k."""
        if isinstance(k, bool) or not isinstance(k, Integral):
            raise ValueError(f"fold {brief(k)}: expected a number from 0")
        if k != FINAL and not 0 <= k < len(self.subjects):
            n = len(self.subjects)
            raise ValueError(f"fold {k} does not exist: the study has folds 0 to {n - 1}")

    def is_done(self, k: int) -> bool:
        """Return whether fold k has its weights and card, and the held-out subject's estimate."""
        parts = (CARD_FILE, WEIGHTS_FILE, *(() if k == FINAL else (ESTIMATE_FILE,)))
        return all((self.fold_folder(k) / part).exists() for part in parts)

    def label(self, k: int) -> str:
        """Return the name of fold k for display."""
        return "all subjects" if k == FINAL else f"fold {k} ({self.subjects[k].name} held out)"


def plan_study(
    dataset: str | Path, folder: str | Path, settings: StudySettings, report: Report = ignore
) -> Study:
    """Check the data and settings of a study, and return it; nothing is written.

    Parameters
    ----------
    dataset : str or Path
        See `find_subjects`.
    folder : str or Path
        Need not exist; if it holds a study, its settings and subjects must be the same.
    settings : StudySettings
    report : callable
        Called before every subject is read.

    Raises
    ------
    StateError
        If the folder holds a study with other settings or other subjects, or `start_from` is no
        model of the network.
    SubjectError
        If the dataset is not usable.
    ValueError, ModelError
        As `build_network`, or if patches do not fit a volume.
    """
    subjects = find_subjects(dataset)
    leave_one_out(subjects)  # refuses subjects that are there twice
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise StateError(f"{place}: is not a folder: choose another run folder")
    known = open_study(place) if (place / STUDY_FILE).exists() else None
    if known is None:
        refuse_strays(place)
    start, start_sha256 = _find_start(known, settings)
    network = build_network(settings.network, **settings.network_config)
    check_noise_map(network, subjects, settings.config)
    reference = choose_reference(subjects, settings.reference)
    digests = digest_subjects(subjects, () if known is None else known.digests, report)
    n_slices, n_outputs = slices_of(network)
    for subject in subjects:
        geometry = read_header(subject.target)[0].geometry
        check_fit(geometry.shape, n_slices, settings.config, str(subject.target))
        check_ends(geometry, n_outputs, settings.config.inference, subject.target)
    settings = replace(settings, reference=reference.name, start_from=start)
    seen = {} if known is None else known.starts
    starts = digests_of_starts(start) | seen if start else {}
    study = Study(place, settings, tuple(subjects), reference, digests, start_sha256, starts)
    if known is not None:
        refuse_other_study(place / STUDY_FILE, _facts(known), _facts(study))
    return study


def keep_study(study: Study) -> Study:
    """Write a planned study into its folder, or open the one that is there if it is the same.

    Of several processes that begin in one folder at once, the first writes; the others open its
    study, or are refused. A study whose data or start were moved gets their new places.

    Raises
    ------
    StateError
        If the folder holds another study by now.
    Mri7tError
        If it cannot be written; folders made for it are then removed.
    """
    path, facts = study.folder / STUDY_FILE, _facts(study)
    with _made_folder(study.folder):
        try:
            write_json(path, facts, overwrite=False)
        except Mri7tError:
            if not path.exists():
                raise
    refuse_other_study(path, _facts(open_study(study.folder)), facts)
    _keep_places(path, facts)
    return open_study(study.folder)


def _keep_places(path: Path, facts: dict[str, Any]) -> None:
    """Write where data and start are now, and add the digests of starts that are seen first."""
    moved = {key: facts[key] for key in ("subjects", "start_from", "starts") if key in facts}
    known = _read(path)
    if known == known | moved:
        return
    with FileLock(path.with_name(LOCK_FILE)):  # no process drops what another one adds
        known = _read(path)
        if "starts" in moved:
            moved["starts"] |= known.get("starts", {})
        write_json(path, known | moved)


@contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """Make a folder; if what follows fails, remove what was made unless it is in use by then."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in made:
                each.rmdir()
        raise


def open_study(folder: str | Path) -> Study:
    """Open a run folder.

    Raises
    ------
    StateError
        If the folder holds no study of this version.
    """
    path = Path(folder) / STUDY_FILE
    facts = _read(path)
    try:
        subjects = tuple(
            Subject(
                entry["name"],
                Path(entry["target"]),
                None if entry["source"] is None else Path(entry["source"]),
            )
            for entry in facts["subjects"]
        )
        settings = StudySettings(
            network=str(facts["network"]),
            preset=str(facts["preset"]),
            config=from_dict(dict(facts["config"])),
            network_config=dict(facts["network_config"]),
            reference=facts["reference"],
            start_from=str(facts.get("start_from", "")),
        )
        (reference,) = (subject for subject in subjects if subject.name == settings.reference)
        digests = tuple(digests_from(entry) for entry in facts["subjects"])
        start_sha256 = str(facts.get("start_sha256", ""))
        starts = {str(name): str(digest) for name, digest in dict(facts.get("starts", {})).items()}
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"{path}: not a study of this version ({error}); start a new one"
        ) from error
    return Study(Path(folder), settings, subjects, reference, digests, start_sha256, starts)


def adopt_training(study: Study, trained: str | Path, k: int) -> bool:
    """Copy the trained weights of fold k from another study, so that only the estimate is redone.

    Parameters
    ----------
    study : Study
    trained : str or Path
        Run folder of a study that differs in the settings of `inference` only.
    k : int
        Fold, or `FINAL`.

    Returns
    -------
    bool
        False if this study's fold already has a state, which stays.

    Raises
    ------
    StateError
        If the studies differ in other settings, or the other one has not finished the fold.
    """
    other = open_study(trained)
    path = other.folder / STUDY_FILE
    refuse_other_study(path, _read(path), _read(study.folder / STUDY_FILE), inference=False)
    with lock_fold(study, k) as folder:
        if study.is_done(k) or has_state(folder):
            return False
        if not other.is_done(k):
            raise StateError(f"{other.folder}: {other.label(k)}: not trained yet")
        copy_state(other.fold_folder(k), folder)
    return True


@contextmanager
def lock_fold(study: Study, k: int) -> Iterator[Path]:
    """Make the folder of a fold, and keep other processes out of it.

    Raises
    ------
    StateError
        If another process is in it.
    """
    folder = study.fold_folder(k)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StateError(
            f"{folder}: another process is training this fold; wait for it, or stop it"
        ) from error
    try:
        yield folder
    finally:
        lock.release()


def _find_start(known: Study | None, settings: StudySettings) -> tuple[str, str]:
    """Return where the folds start from, and its digest.

    A study that exists keeps it, unless other models have taken its place.
    """
    if not settings.start_from:
        return "", ""
    place = normalise_place(settings.start_from)
    is_known = known is not None and known.settings.start_from == place
    if known is not None and is_known and not is_replaced(place, known.start_sha256):
        return place, known.start_sha256
    return place, check_place(settings.start_from, settings.network, settings.network_config)


def _facts(study: Study) -> dict[str, Any]:
    """Return a study as `study.json` holds it."""
    settings = study.settings
    facts = {
        "format": STUDY_FORMAT,
        "version": __version__,
        "network": settings.network,
        "network_config": settings.network_config,
        "preset": settings.preset,
        "config": asdict(settings.config),
        "reference": settings.reference,
        "subjects": [
            {
                "name": subject.name,
                "target": str(subject.target.resolve()),
                "source": None if subject.source is None else str(subject.source.resolve()),
                **digests.facts(),
            }
            for subject, digests in zip(study.subjects, study.digests, strict=True)
        ],
    }
    start = {
        "start_from": settings.start_from,
        "start_sha256": study.start_sha256,
        "starts": study.starts,
    }
    return facts | (start if settings.start_from else {})


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise StateError(f"{path}: no study here; choose the folder of a training")
    facts = read_object(path, "start a new study", StateError)
    if facts.get("format") != STUDY_FORMAT:
        raise StateError(f"{path}: not a study of format {STUDY_FORMAT}; start a new one")
    return facts
