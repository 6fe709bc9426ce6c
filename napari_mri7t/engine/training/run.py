"""One fold from start to end: prepare, train, estimate the held-out subject, write the model.

`run_fold` skips what is done and resumes what is not, so that the same call works in this process,
on a cluster, and after a crash.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.atomic import remove_leftovers, write_json
from napari_mri7t.engine.devices import device_name, resolve_device
from napari_mri7t.engine.evaluation.results import fingerprint
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.models.card import ModelCard, read_card
from napari_mri7t.engine.models.model import Model, save_model
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.training.checkpoint import load_state
from napari_mri7t.engine.training.config import FINAL
from napari_mri7t.engine.training.data import check_data
from napari_mri7t.engine.training.export import draft_card
from napari_mri7t.engine.training.figures import METRICS_FILE, held_out_figures, summarize_figures
from napari_mri7t.engine.training.fold_checks import check_done
from napari_mri7t.engine.training.held_out import central_slice, slab_of
from napari_mri7t.engine.training.loop import TrainJob, TrainProgress, train
from napari_mri7t.engine.training.pairs import TrainingSubject, prepare_pairs
from napari_mri7t.engine.training.start import check_start, keep_start
from napari_mri7t.engine.training.study import ESTIMATE_FILE, Study, lock_fold
from napari_mri7t.engine.volumes.volume import Volume, load_volume


def held_out_volumes(pair: TrainingSubject, grid: Volume) -> tuple[Volume, Volume]:
    """Return source and target of a prepared pair on the grid of its subject.

    Parameters
    ----------
    pair : TrainingSubject
    grid : Volume
        The subject's 7T, as it was loaded.
    """
    return (
        grid.with_array(pair.source.T, name=f"{pair.name}_3T"),
        grid.with_array(pair.target.T, name=f"{pair.name}_7T"),
    )


def estimate_held_out(
    model: Model,
    volumes: tuple[Volume, Volume],
    config: SynthesisConfig,
    folder: Path,
    report: Report = ignore,
) -> dict[str, Any]:
    """Estimate the held-out subject, and write the estimate and its figures.

    Parameters
    ----------
    model : Model
        Trained without the subject.
    volumes : tuple of Volume
        Source and target.
    config : SynthesisConfig
    folder : Path
        Folder of the fold.
    report : callable

    Returns
    -------
    dict
        `subject`; `source` and `estimate`, each {"whole": ..., "brain": ...} as `compare`;
        `seconds`, and the `hardware` they were measured on.
    """
    source, target = volumes
    result = estimate(source, model, config, report=report)
    result.save(folder / ESTIMATE_FILE, overwrite=True)
    figures = {
        "subject": target.name,
        "source": compare(target, source),
        "estimate": compare(target, result.volume),
        "seconds": result.seconds,
        "hardware": device_name(torch.device(result.device)),
    }
    write_json(folder / METRICS_FILE, figures)
    return figures


def prepare_study(study: Study, report: Report = ignore) -> list[TrainingSubject]:
    """Load and prepare all subjects of a study in order, for all folds in one process."""
    simulation = study.settings.config.simulation
    return prepare_pairs(list(study.subjects), study.reference, simulation, report=report)


def run_fold(
    study: Study,
    k: int,
    device: str = "auto",
    pairs: list[TrainingSubject] | None = None,
    report: Report = ignore,
) -> ModelCard:
    """Train fold k to its end and estimate the held-out subject; skip what is done.

    Parameters
    ----------
    study : Study
    k : int
        Number of the fold, from 0; subject k is held out. `FINAL` trains on all subjects.
    device : str
        As `SynthesisConfig.device`.
    pairs : list of TrainingSubject, optional
        From `prepare_study`; prepared here by default.
    report : callable
        Gets a `TrainProgress` after every training step, a plain `Progress` before and after; the
        estimate counts as one more step. If it raises `Cancelled`, a later call resumes from there.

    Returns
    -------
    ModelCard
        With the held-out figures.

    Raises
    ------
    StateError
        If another process is training this fold, its checkpoints do not fit, or a file of the study
        has changed; of a fold that is done, as `check_done`.
    ValueError
        If there is no fold k.
    """
    study.check_fold(k)
    if study.is_done(k):
        return _done_fold(study, k)
    with lock_fold(study, k) as folder:
        if study.is_done(k):  # by another process, until now
            return _done_fold(study, k)
        remove_leftovers(folder)
        check_data(study.subjects, study.digests)  # refused before anything takes long
        if k == FINAL:
            held_out_figures(study)
        return _run_locked(study, k, device, pairs, report)


def _done_fold(study: Study, k: int) -> ModelCard:
    check_done(study, k)
    return read_card(study.fold_folder(k))


def _data_digest(study: Study, k: int) -> str:
    """Return the SHA-256 of the digests of what fold k is trained on, and of the reference."""
    seen = [each.files for number, each in enumerate(study.digests) if number != k]
    return fingerprint(seen, study.reference_digest)


def _run_locked(
    study: Study, k: int, device: str, pairs: list[TrainingSubject] | None, report: Report
) -> ModelCard:
    folder, settings = study.fold_folder(k), study.settings
    start = check_start(study, k)
    if start is not None:
        keep_start(start, folder)
    if pairs is None:
        preparing = part(report, 0, settings.config.n_steps, share=0)
        pairs = prepare_study(study, report=preparing)
    job = TrainJob(
        network=settings.network,
        config=settings.config,
        fold=len(study.subjects) if k == FINAL else k,
        folder=folder,
        device=resolve_device(device),
        network_config=settings.network_config,
        start=start,
        data=_data_digest(study, k),
    )
    label, n_steps = study.label(k), settings.config.n_steps
    total = n_steps + (k != FINAL)  # the estimate counts as one more step

    def report_step(now: Progress) -> None:
        if isinstance(now, TrainProgress):
            message = f"{label}, {now.message}"
            now = replace(now, total=total, fold=k, label=label, message=message)
        report(now)

    training = [pair for index, pair in enumerate(pairs) if index != k]
    network = train(job, training, None if k == FINAL else pairs[k], report=report_step)
    card = draft_card(study, k, network, device, start)
    if k == FINAL:
        figures = held_out_figures(study)
    else:
        volumes = held_out_volumes(pairs[k], load_volume(study.subjects[k].target))
        model, config = Model(job.network, network, card), settings.config.synthesis_config(device)
        estimating = part(report, n_steps, total, f"estimating {pairs[k].name}")
        figures = [estimate_held_out(model, volumes, config, folder, report=estimating)]
    # From here on the fold is done.
    return save_model(folder, network, replace(card, metrics=summarize_figures(figures)))


@dataclass(frozen=True, eq=False)
class Preview:
    """One slice estimated in the middle of a training.

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
        Subject to estimate, normally the one that fold k holds out.
    index : int
        Index of the slice, from the feet.

    Returns
    -------
    Preview or None
        None if no checkpoint was written yet.

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
    estimate = central_slice(network, slab_of(pair.source, index, network))
    return Preview(int(facts["step"]), pair.source[index], estimate, pair.target[index])
