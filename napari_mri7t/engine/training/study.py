"""The run folder: the whole state of a leave-one-out study of one network, on disk.

A fold is done when its `card.json` is there, which is written last.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from napari_mri7t import __version__
from napari_mri7t.engine.atomic import read_json, write_atomically
from napari_mri7t.engine.datasets.subjects import Subject, find_subjects, leave_one_out
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models.card import CARD_FILE, bundled_names, check_place, normalise_place
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.training.checkpoint import CURRENT, HISTORY
from napari_mri7t.engine.training.config import TrainConfig, find_preset, from_dict
from napari_mri7t.engine.training.pairs import choose_reference
from napari_mri7t.engine.volumes.provenance import file_digest

STUDY_FILE = "study.json"  # in a run folder
STUDY_FORMAT = 1
FINAL = -1  # in place of a fold's number: train on all subjects


@contextmanager
def discard_on_error(run: Path) -> Iterator[None]:
    """Withdraw a study that is set up within and then refused: the run folder is free again.

    A study that stood there before stays.
    """
    path = run / STUDY_FILE
    is_new = not path.exists()
    try:
        yield
    except Mri7tError:
        if is_new:
            path.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class StudySettings:
    """What decides a study, apart from its data.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    preset : str
        Name of the recipe that `config` came from.
    config : TrainConfig
    network_config : dict
        Arguments of the network's constructor.
    reference : str
        Part of the name of the subject whose histogram all get; see `choose_reference`.
    start_from : str
        Model whose weights all folds start from, or a folder of folds (a run folder) whose model k
        fold k starts from: a bundled name or a path; empty where the weights are drawn.
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
        """Name the folder of fold k, or of the final training."""
        return self.folder / ("final" if k == FINAL else f"fold-{k:02d}")

    def held_out(self, k: int) -> Subject | None:
        """Give the subject that fold k holds out; none in the final training."""
        return None if k == FINAL else self.subjects[k]

    def is_done(self, k: int) -> bool:
        """Tell whether fold k has its weights and card."""
        return (self.fold_folder(k) / CARD_FILE).exists()

    def command(self, *folds: int) -> str:
        """Give the command line that trains folds, or `FINAL`; DATASET, RUN, START are folders."""
        settings = self.settings
        parts = [f"mri7t train DATASET RUN --network {settings.network} --preset {settings.preset}"]
        parts += [
            f"--set-network {key}={json.dumps(v)}" for key, v in settings.network_config.items()
        ]
        preset = asdict(find_preset(settings.preset))
        for key, value in asdict(settings.config).items():
            if value != preset[key]:
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                parts.append(f"--set {key}={text}")
        parts.append(f"--reference {settings.reference}")
        if settings.start_from:
            is_bundled = settings.start_from in bundled_names()
            parts.append(f"--start-from {settings.start_from if is_bundled else 'START'}")
        if folds == (FINAL,):
            parts.append("--folds none --final")
        elif len(folds) < len(self.subjects):
            parts.append(f"--folds {','.join(map(str, folds))}")
        return " ".join(parts)

    def label(self, k: int) -> str:
        """Name fold k for people."""
        return "all subjects" if k == FINAL else f"fold {k} ({self.subjects[k].name} held out)"


def create_study(dataset: str | Path, folder: str | Path, settings: StudySettings) -> Study:
    """Set up a run folder, or open it where it was set up before with the same settings.

    Parameters
    ----------
    dataset : str or Path
        See `find_subjects`.
    folder : str or Path
        Made where missing.
    settings : StudySettings

    Raises
    ------
    StateError
        If the folder holds a study with other settings or other subjects, or the place that it
        is to start from holds no model of its network.
    SubjectError
        If the dataset is not usable.
    ValueError, ModelError
        As `build_network`.
    """
    subjects = find_subjects(dataset)
    leave_one_out(subjects)  # refuses subjects that stand twice
    reference = choose_reference(subjects, settings.reference)
    place = Path(folder)
    facts = {
        "format": STUDY_FORMAT,
        "version": __version__,
        "network": settings.network,
        "network_config": settings.network_config,
        "preset": settings.preset,
        "config": asdict(settings.config),
        "reference": reference.name,
        "subjects": [_subject_facts(subject) for subject in subjects],
    }
    path = place / STUDY_FILE
    facts |= _start_facts(path, settings)
    if not path.exists():
        build_network(settings.network, **settings.network_config)  # or nothing is set up
    else:
        _compare(path, facts)
        known = _read(path)
        if known.get("start_from") == facts.get("start_from"):
            return open_study(place)
        facts = known | {"start_from": facts["start_from"]}  # it was moved
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    return open_study(place)


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
    """Take over what another study learnt in fold k, so that only the estimate is made anew.

    Parameters
    ----------
    study : Study
    trained : str or Path
        Run folder of a study that differs in no more than its `inference_` settings.
    k : int
        Fold, or `FINAL`.

    Returns
    -------
    bool
        False where this study's fold has a state of its own, which stays.

    Raises
    ------
    StateError
        If the studies differ in more, or the other one has not trained the fold to its end.
    """
    other = open_study(trained)
    _compare(other.folder / STUDY_FILE, _read(study.folder / STUDY_FILE), estimates_too=False)
    if study.is_done(k) or (study.fold_folder(k) / CURRENT).exists():
        return False
    if not other.is_done(k):
        raise StateError(f"{other.folder}: {other.label(k)}: not trained yet")
    study.fold_folder(k).mkdir(parents=True, exist_ok=True)
    for name in (HISTORY, CURRENT):  # the state last: it is what counts
        content = (other.fold_folder(k) / name).read_bytes()
        write_atomically(study.fold_folder(k) / name, partial(_write, content))
    return True


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _start_facts(path: Path, settings: StudySettings) -> dict[str, str]:
    """Say what the folds start from; of a study that has begun from there, as it was then."""
    if not settings.start_from:
        return {}
    place = normalise_place(settings.start_from)
    known = _read(path) if path.exists() else {}
    if known.get("start_from") == place:
        return {key: known[key] for key in ("start_from", "start_sha256") if key in known}
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
        raise StateError(f"{path}: no study here; `mri7t train` makes one") from error
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: cannot be read ({error}); start a new study") from error
    if not isinstance(facts, dict) or facts.get("format") != STUDY_FORMAT:
        raise StateError(f"{path}: not a study of format {STUDY_FORMAT}; start a new one")
    return facts


def _compare(path: Path, asked: Mapping[str, Any], *, estimates_too: bool = True) -> None:
    """Refuse to go on with a study that is not the one asked for."""
    known, plain = _read(path), json.loads(json.dumps(asked))
    for facts in (known, plain):  # a setting that a study is too old to know has its default
        config = from_dict(facts["config"])
        facts["config"] = asdict(config) if estimates_too else config.learnt_from()
    moved = ("target", "source")  # a dataset may be found elsewhere; its digests decide
    for facts in (known, plain):
        facts["subjects"] = [
            {key: value for key, value in entry.items() if key not in moved}
            for entry in facts["subjects"]
        ]
        facts.pop("version", None)
        if "start_sha256" in facts:  # as of a dataset, the place may change
            facts.pop("start_from")
    differing = [key for key in {**known, **plain} if known.get(key) != plain.get(key)]
    if "start_sha256" in differing:
        differing[differing.index("start_sha256")] = "start_from"
    if "config" in differing:
        old, new = known["config"], plain["config"]
        changed = [f"{key} {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]
        differing[differing.index("config")] = "settings " + ", ".join(changed)
    if differing:
        raise StateError(
            f"{path}: this run folder holds a study that differs in {'; '.join(differing)}; "
            "use another folder"
        )
