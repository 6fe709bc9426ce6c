"""A leave-one-out study of one network: its run folder holds the whole state.

A fold is done when its `card.json` exists, which is written last.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_mri7t import __version__
from napari_mri7t.engine.atomic import read_json, write_content, write_json
from napari_mri7t.engine.datasets.subjects import Subject, find_subjects, leave_one_out
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.models.card import CARD_FILE, check_place, normalise_place
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.training.checkpoint import CURRENT, HISTORY
from napari_mri7t.engine.training.config import FINAL, TrainConfig, from_dict, settings_of
from napari_mri7t.engine.training.pairs import choose_reference
from napari_mri7t.engine.volumes.provenance import file_digest

STUDY_FORMAT = 1


@contextmanager
def discard_on_error(run: Path) -> Iterator[None]:
    """Remove a study that is created in this context and then refused.

    Parameters
    ----------
    run : Path
        Run folder; a study that it already holds stays, as do folders that exist.
    """
    path = run / STUDY_FILE
    is_new = not path.exists()
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        yield
    except (Mri7tError, ValueError):
        if is_new:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not made, or in use by now
            for folder in made:
                folder.rmdir()
        raise


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
    """

    folder: Path
    settings: StudySettings
    subjects: tuple[Subject, ...]
    reference: Subject

    def fold_folder(self, k: int) -> Path:
        """Return the folder of fold k, or of the final training."""
        return self.folder / ("final" if k == FINAL else f"fold-{k:02d}")

    def held_out(self, k: int) -> Subject | None:
        """Return the subject that fold k holds out; None for the final training."""
        return None if k == FINAL else self.subjects[k]

    def check_fold(self, k: int) -> None:
        """Raise a ValueError if there is no fold k."""
        if k != FINAL and not 0 <= k < len(self.subjects):
            n = len(self.subjects)
            raise ValueError(f"fold {k} does not exist: the study has folds 0 to {n - 1}")

    def is_done(self, k: int) -> bool:
        """Return whether fold k has its weights and card."""
        return (self.fold_folder(k) / CARD_FILE).exists()

    def label(self, k: int) -> str:
        """Return the name of fold k for display."""
        return "all subjects" if k == FINAL else f"fold {k} ({self.subjects[k].name} held out)"


def create_study(dataset: str | Path, folder: str | Path, settings: StudySettings) -> Study:
    """Create a study in a run folder, or open it if it has the same settings and subjects.

    Parameters
    ----------
    dataset : str or Path
        See `find_subjects`.
    folder : str or Path
        Made if missing.
    settings : StudySettings

    Raises
    ------
    StateError
        If the folder holds a study with other settings or other subjects, or `start_from` is no
        model of the network.
    SubjectError
        If the dataset is not usable.
    ValueError, ModelError
        As `build_network`.
    """
    subjects = find_subjects(dataset)
    leave_one_out(subjects)  # refuses subjects that are there twice
    path = Path(folder) / STUDY_FILE
    study = open_study(folder) if path.exists() else None
    known = {} if study is None else _read(path)
    facts = {
        "format": STUDY_FORMAT,
        "version": __version__,
        "network": settings.network,
        "network_config": settings.network_config,
        "preset": settings.preset,
        "config": asdict(settings.config),
        "reference": choose_reference(subjects, settings.reference).name,
        "subjects": [_subject_facts(subject) for subject in subjects],
        **_start_facts(known, settings),
    }
    if study is None:
        build_network(settings.network, **settings.network_config)  # refused before it is written
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        _compare(path, known, facts)
        if known.get("start_from") == facts.get("start_from"):
            return study
        facts = known | {"start_from": facts["start_from"]}  # it was moved
    write_json(path, facts)
    return open_study(folder)


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
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"{path}: not a study of this version ({error}); start a new one"
        ) from error
    return Study(Path(folder), settings, subjects, reference)


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
    _compare(path, _read(path), _read(study.folder / STUDY_FILE), inference=False)
    if study.is_done(k) or (study.fold_folder(k) / CURRENT).exists():
        return False
    if not other.is_done(k):
        raise StateError(f"{other.folder}: {other.label(k)}: not trained yet")
    study.fold_folder(k).mkdir(parents=True, exist_ok=True)
    for name in (HISTORY, CURRENT):  # the state last: it makes the copy complete
        write_content(study.fold_folder(k) / name, (other.fold_folder(k) / name).read_bytes())
    return True


def _start_facts(known: Mapping[str, Any], settings: StudySettings) -> dict[str, str]:
    """Return where the folds start from; the digest of a study that exists does not change."""
    if not settings.start_from:
        return {}
    place = normalise_place(settings.start_from)
    if known.get("start_from") == place:
        return {"start_from": place, "start_sha256": known.get("start_sha256", "")}
    digest = check_place(settings.start_from, settings.network, settings.network_config)
    return {"start_from": place, "start_sha256": digest}


def _subject_facts(subject: Subject) -> dict[str, Any]:
    return {
        "name": subject.name,
        "target": str(subject.target.resolve()),
        "source": None if subject.source is None else str(subject.source.resolve()),
        "target_sha256": file_digest(subject.target),
        "source_sha256": None if subject.source is None else file_digest(subject.source),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = read_json(path)
    except FileNotFoundError as error:
        raise StateError(f"{path}: no study here; choose the folder of a training") from error
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: cannot be read ({error}); start a new study") from error
    if not isinstance(facts, dict) or facts.get("format") != STUDY_FORMAT:
        raise StateError(f"{path}: not a study of format {STUDY_FORMAT}; start a new one")
    return facts


def _compare(
    path: Path, known: Mapping[str, Any], asked: Mapping[str, Any], *, inference: bool = True
) -> None:
    """Refuse to continue a study other than the requested one."""
    old, new = (_comparable(facts, inference) for facts in (known, asked))
    differing = [key for key in old if old[key] != new[key]]
    if "config" in differing:
        settings = [(key, old["config"][key], value) for key, value in new["config"].items()]
        changed = [f"{key} {before} -> {now}" for key, before, now in settings if before != now]
        differing[differing.index("config")] = "settings " + ", ".join(changed)
    if differing:
        raise StateError(
            f"{path}: this run folder holds a study that differs in {'; '.join(differing)}; "
            "use another folder"
        )


def _comparable(facts: Mapping[str, Any], inference: bool) -> dict[str, Any]:
    """Return what must not change; data and start may be moved, their digests decide."""
    config = from_dict(facts["config"])
    return {
        "network": facts["network"],
        "network_config": json.loads(json.dumps(facts["network_config"])),  # without tuples
        "preset": facts["preset"],
        "config": settings_of(config) if inference else config.learnt_from(),
        "reference": facts["reference"],
        "subjects": [
            {key: value for key, value in entry.items() if key not in ("target", "source")}
            for entry in facts["subjects"]
        ],
        "start_from": facts.get("start_sha256"),
    }
