"""One fold from start to end: prepare, train, estimate the held-out subject, write the model.

`run_fold` skips what is done and resumes what is not: in this process, on a cluster, and after a
crash it is the same call.
"""

import hashlib
import itertools
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn

from napari_mri7t.engine.atomic import remove_leftovers
from napari_mri7t.engine.cards import ModelCard, read_card
from napari_mri7t.engine.devices import device_name, resolve_device
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.networks.model import Model, load_model, pack_weights, save_model
from napari_mri7t.engine.preparation.intensity import normalize
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.provenance import file_digest
from napari_mri7t.engine.synthesis import SynthesisProgress
from napari_mri7t.engine.training.fold import FoldJob, TrainProgress, train_fold
from napari_mri7t.engine.training.held_out import (
    draft_card,
    estimate_held_out,
    held_out_volumes,
    read_figures,
    summarize_figures,
    synthesis_config,
)
from napari_mri7t.engine.training.pairs import prepare_pairs
from napari_mri7t.engine.training.patches import TrainingSubject
from napari_mri7t.engine.training.pretrained import Start, check_start, keep_start
from napari_mri7t.engine.training.study import FINAL, Study
from napari_mri7t.engine.volume import load_volume

LOCK_FILE = "lock"


@dataclass(frozen=True)
class FoldProgress:
    """How far a fold is.

    Parameters
    ----------
    fold : int
    done, total : int
        Training steps, or parts of what comes before and after the training.
    message : str
    training : TrainProgress or None
        While training.
    label : str
        Of the fold, for people; while training.
    """

    fold: int
    done: int
    total: int
    message: str
    training: TrainProgress | None = None
    label: str = ""


def prepare_study(study: Study) -> Generator[FoldProgress, None, list[TrainingSubject]]:
    """Load and prepare all subjects of a study, once for all folds that run in one process."""
    simulation = study.settings.config.simulation
    steps = prepare_pairs(list(study.subjects), study.reference, simulation)
    count = itertools.count()
    total = len(study.subjects) + 1  # and the reference

    def record(message: str) -> FoldProgress:
        return FoldProgress(FINAL, next(count), total, message)

    return (yield from with_records(steps, record))


def run_fold(
    study: Study, k: int, device: str = "auto", pairs: list[TrainingSubject] | None = None
) -> Generator[FoldProgress, None, ModelCard]:
    """Train fold k to its end and estimate the held-out subject; skip what is done.

    Parameters
    ----------
    study : Study
    k : int
        Subject held out, from 0; `FINAL` trains on all.
    device : str
        As `SynthesisConfig.device`.
    pairs : list of TrainingSubject, optional
        From `prepare_study`; prepared here by default.

    Yields
    ------
    FoldProgress
        At every step; closing the generator stops, and a later call goes on from there.

    Returns
    -------
    ModelCard
        With the held-out figures.

    Raises
    ------
    StateError
        If another process is training this fold, or its checkpoints do not fit.
    ValueError
        If there is no fold k.
    """
    n_folds = len(study.subjects)
    if k != FINAL and not 0 <= k < n_folds:
        raise ValueError(f"fold {k} does not exist: the study has folds 0 to {n_folds - 1}")
    folder = study.fold_folder(k)
    if study.is_done(k):
        return read_card(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            remove_leftovers(folder)
            return (yield from _run_locked(study, k, device, pairs))
    except Timeout as error:
        raise StateError(
            f"{folder}: another process is training this fold; wait for it, or stop it"
        ) from error


def _run_locked(
    study: Study, k: int, device: str, pairs: list[TrainingSubject] | None
) -> Generator[FoldProgress, None, ModelCard]:
    start = check_start(study, k)  # refused before anything takes long
    if start is not None:
        keep_start(start, study.fold_folder(k))
    if pairs is None:
        pairs = yield from prepare_study(study)
    settings = study.settings
    job = FoldJob(
        network=settings.network,
        config=settings.config,
        fold=len(study.subjects) if k == FINAL else k,
        folder=study.fold_folder(k),
        device=resolve_device(device),
        network_config=settings.network_config,
        start=start,
    )
    training = [pair for index, pair in enumerate(pairs) if index != k]
    label = study.label(k)

    def record(now: TrainProgress) -> FoldProgress:
        message = (
            f"{label}, loss {now.loss:.5f}, learning rate {now.learning_rate:.1e}, "
            f"{now.patches_per_second:.1f} patches/s"
        )
        return FoldProgress(k, now.step, now.n_steps, message, now, label)

    network = yield from with_records(train_fold(job, training), record)
    digest = hashlib.sha256(pack_weights(network, job.network)).hexdigest()
    card = replace(_card(study, k, network, device, start), sha256=digest)
    model = Model(job.network, network, card)
    if k == FINAL:
        figures = read_figures([study.fold_folder(fold) for fold in range(len(study.subjects))])
    else:
        figures = [(yield from _estimate(study, k, model, pairs[k], device))]
    metrics = summarize_figures(figures) if figures else {}
    # From here on the fold is done.
    return save_model(study.fold_folder(k), network, replace(model.card, metrics=metrics))


def _estimate(
    study: Study, k: int, model: Model, pair: TrainingSubject, device: str
) -> Generator[FoldProgress, None, dict[str, Any]]:
    config = synthesis_config(study.settings.config, device)
    volumes = held_out_volumes(pair, load_volume(study.subjects[k].target))

    def record(now: SynthesisProgress) -> FoldProgress:
        return FoldProgress(k, now.done, now.total, f"estimate {pair.name}")

    steps = estimate_held_out(model, volumes, config, study.fold_folder(k))
    return (yield from with_records(steps, record))


def _card(study: Study, k: int, network: nn.Module, device: str, start: Start | None) -> ModelCard:
    reference = load_volume(study.reference.target)
    settings = study.settings
    held_out = study.held_out(k)
    training = [subject for subject in study.subjects if subject is not held_out]
    return draft_card(
        network,
        (settings.network, settings.preset),
        settings.config,
        {
            "reference": normalize(reference.array)[0],
            "voxel_size_mm": [round(size, 3) for size in reference.voxel_size],
            "network_config": settings.network_config,
            "subjects": [subject.name for subject in training],
            "targets_sha256": [file_digest(subject.target) for subject in training],
            "held_out": None if held_out is None else held_out.name,
            "command": study.command(k),
            "device": device_name(resolve_device(device)),
            "start": {} if start is None else {"started_from": start.facts},
        },
    )


@dataclass(frozen=True)
class Export:
    """What an exported model's card says beside what its training knows.

    Parameters
    ----------
    name : str
        Of the model, as `--model` takes it.
    title : str
        One line for lists; the training's own by default.
    data : str
        Where the training data come from, and their licence.
    half : bool
        Keep the weights as bfloat16.
    stress : dict
        What noise, shift and lesions do to it, as `summarize_stress` gives it.
    """

    name: str
    title: str = ""
    data: str = ""
    half: bool = False
    stress: dict[str, Any] = field(default_factory=dict)


def export_model(study: Study, k: int, folder: Path, export: Export) -> ModelCard:
    """Copy a trained fold's model to a folder of its own, to be shared or bundled.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`; the card of the final model gets the held-out figures of all done folds.
    folder : Path
    export : Export

    Raises
    ------
    StateError
        If the fold is not done.
    """
    if not study.is_done(k):
        option = "--final" if k == FINAL else f"--folds {k}"
        raise StateError(
            f"{study.label(k)}: not trained yet: run `mri7t train` with {option}, or choose "
            "another (`mri7t export --fold`)"
        )
    model = load_model(study.fold_folder(k))
    training = model.card.training | {"command": study.command(k)}
    done = [fold for fold in range(len(study.subjects)) if study.is_done(fold)]
    if done:
        training["held_out_command"] = study.command(*done)
    if export.data:
        training["data"] = export.data
    title = export.title or model.card.title
    card = replace(model.card, name=export.name, title=title, training=training)
    if k == FINAL:
        folds = [study.fold_folder(fold) for fold in range(len(study.subjects))]
        figures = read_figures(folds)
        card = replace(card, metrics=summarize_figures(figures) if figures else {})
    card = replace(card, metrics=card.metrics | export.stress)
    return save_model(folder, model.network, card, half=export.half)
