"""One fold from start to end: prepare, train, estimate the held-out subject, write the model.

`run_fold` skips what is done and resumes what is not: in this process, on a cluster, and after a
crash it is the same call.

What a finished fold leaves behind: the held-out estimate, its figures, weights and card.

A look at a training that runs: one slice of the held-out subject through its last checkpoint.
"""

import hashlib
import itertools
import json
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from napari_mri7t.engine.atomic import remove_leftovers, write_atomically
from napari_mri7t.engine.devices import device_name, resolve_device
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.models.card import ModelCard, read_card
from napari_mri7t.engine.models.model import Model, pack_weights, save_model
from napari_mri7t.engine.networks import build_network, slices_of
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import (
    Synthesis,
    SynthesisProgress,
    estimate,
    synthesis_sidecar,
)
from napari_mri7t.engine.training.checkpoint import load_state
from napari_mri7t.engine.training.config import synthesis_config
from napari_mri7t.engine.training.export import METRICS_FILE, _card, read_figures, summarize_figures
from napari_mri7t.engine.training.loop import TrainJob, TrainProgress, train
from napari_mri7t.engine.training.pairs import TrainingSubject, prepare_pairs
from napari_mri7t.engine.training.start import check_start, keep_start
from napari_mri7t.engine.training.study import FINAL, Study
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

ESTIMATE_FILE = "estimate.nii.gz"
LOCK_FILE = "lock"


def held_out_volumes(pair: TrainingSubject, grid: Volume) -> tuple[Volume, Volume]:
    """Put a prepared pair back on its subject's grid: source, target."""
    return (
        grid.with_array(pair.source.T, name=f"{pair.name}_3T"),
        grid.with_array(pair.target.T, name=f"{pair.name}_7T"),
    )


def estimate_held_out(
    model: Model, volumes: tuple[Volume, Volume], config: SynthesisConfig, folder: Path
) -> Generator[SynthesisProgress, None, dict[str, Any]]:
    """Synthesise the held-out subject, and write the estimate and its figures.

    Parameters
    ----------
    model : Model
        Trained without the subject.
    volumes : tuple of Volume
        Source and target.
    config : SynthesisConfig
    folder : Path
        Of the fold.

    Returns
    -------
    dict
        `source` and `estimate`, each {"whole": ..., "brain": ...} as `compare`, `seconds`, and the
        `hardware` that took them.
    """
    source, target = volumes
    result: Synthesis = yield from estimate(source, model, config)
    facts = synthesis_sidecar(source, model, result)
    save_volume(result.volume, folder / ESTIMATE_FILE, overwrite=True, sidecar=facts)
    figures = {
        "subject": target.name,
        "source": compare(target, source),
        "estimate": compare(target, result.volume),
        "seconds": result.seconds,
        "hardware": device_name(torch.device(result.device)),
    }
    text = json.dumps(figures, indent=2) + "\n"
    write_atomically(folder / METRICS_FILE, lambda file: file.write(text.encode()))
    return figures


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
    job = TrainJob(
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

    network = yield from with_records(train(job, training), record)
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


@dataclass(frozen=True, eq=False)
class Preview:
    """What a network makes of a slice in the middle of its training.

    Attributes
    ----------
    step : int
        Of the checkpoint.
    source, estimate, target : ndarray of float32, shape (A, R)
        One axial slice, in [0, 1].
    """

    step: int
    source: np.ndarray
    estimate: np.ndarray
    target: np.ndarray


def preview_slice(study: Study, k: int, pair: TrainingSubject, index: int) -> Preview | None:
    """Estimate one axial slice with the weights of the last checkpoint, on the CPU.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.
    pair : TrainingSubject
        The subject to look at; for a fair look the one that fold k holds out.
    index : int
        Of the slice, from the feet.

    Returns
    -------
    Preview or None
        None where no checkpoint was written yet.

    Raises
    ------
    StateError
        If the checkpoints are damaged.
    """
    state = load_state(study.fold_folder(k))
    if state is None:
        return None
    tensors, facts = state
    network = build_network(study.settings.network, **study.settings.network_config)
    prefix = "average/" if study.settings.config.average_decay else "network/"
    network.load_state_dict(
        {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
    )
    n_slices, n_outputs = slices_of(network)
    first = index - n_slices // 2
    chosen = np.clip(np.arange(first, first + n_slices), 0, len(pair.source) - 1)
    slab = torch.from_numpy(pair.source[chosen])[None]  # (1, n_slices, A, R)
    with torch.inference_mode():
        estimate = network.eval()(slab)[0, n_outputs // 2].clamp(0, 1).numpy()
    return Preview(int(facts["step"]), pair.source[index], estimate, pair.target[index])
