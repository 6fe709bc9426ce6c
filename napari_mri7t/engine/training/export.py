"""From a trained fold to a model folder: the card, and the export of both."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from napari_mri7t.engine.devices import device_name, resolve_device
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.models.card import (
    ANY_TONES,
    CARD_FILE,
    FINGERPRINTS,
    WEIGHTS_FILE,
    ModelCard,
    bundled_names,
    read_card,
)
from napari_mri7t.engine.models.model import Model, load_model, pack_weights, save_model
from napari_mri7t.engine.networks import count_parameters
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.training.config import FINAL, changed_settings
from napari_mri7t.engine.training.data import SubjectDigests
from napari_mri7t.engine.training.figures import held_out_figures, summarize_figures
from napari_mri7t.engine.training.fold_checks import check_done
from napari_mri7t.engine.training.start import Start
from napari_mri7t.engine.training.study import Study, open_study
from napari_mri7t.engine.typed import check_kind
from napari_mri7t.engine.volumes.intensity import brain_quantiles, normalize_volume
from napari_mri7t.engine.volumes.volume import load_volume

STRESS_ENTRIES = ("stressed", "robustness", "lesions")  # of a card's metrics
INTENDED_USE = "Research on image synthesis from brain-extracted, bias-corrected T1w volumes."
QUANTILE_DIGITS = 6


def draft_card(
    study: Study, k: int, network: nn.Module, device: str, start: Start | None
) -> ModelCard:
    """Return the model card of a trained fold, still without scores of held-out subjects.

    Parameters
    ----------
    study : Study
    k : int
        Fold, or `FINAL`.
    network : nn.Module
        Trained.
    device : str
        Device of the training, as `SynthesisConfig.device`.
    start : Start or None
        As `check_start` returns it.
    """
    settings, held_out = study.settings, study.held_out(k)
    reference = load_volume(study.reference.target)
    quantiles = brain_quantiles(normalize_volume(reference)).round(QUANTILE_DIGITS)
    numbers = [number for number in range(len(study.subjects)) if number != k]
    digests = [study.digests[number] for number in numbers]
    origin = "" if start is None else f", from the weights of {start.facts['model']}"
    changed = ", changed" if changed_settings(settings.preset, settings.config) else ""
    return ModelCard(
        name=settings.network,
        title=f"{settings.network}, trained with the preset {settings.preset!r}{changed}{origin}",
        network=settings.network,
        network_config=settings.network_config,
        n_parameters=count_parameters(network),
        preprocessing={
            "voxel_size_mm": [round(size, 3) for size in reference.voxel_size],
            "brain_extracted": True,
            "plane": "axial",
            "intensity_quantiles": quantiles.tolist(),
            **({"tones": ANY_TONES} if _keeps_tones(study) else {}),
        },
        synthesis=asdict(settings.config.synthesis_config("auto")),
        training={
            "subjects": [study.subjects[number].name for number in numbers],
            **_digests_in(digests),
            "held_out": None if held_out is None else held_out.name,
            "preset": settings.preset,
            "command": training_command(study, k),
            "settings": asdict(settings.config),
            "hardware": device_name(resolve_device(device)),
            "date": datetime.now(UTC).date().isoformat(),
            **({} if start is None else {"started_from": start.facts}),
        },
        metrics={},
        intended_use=INTENDED_USE,
        sha256=hashlib.sha256(pack_weights(network, settings.network)).hexdigest(),
    )


def _digests_in(digests: list[SubjectDigests]) -> dict[str, list[str]]:
    """Return what a card says of the training images, as `DIGEST_KEYS`."""
    targets, sources = [each.target for each in digests], [each.source for each in digests]
    return {
        "targets_sha256": [image.file for image in targets],
        "targets_voxels_sha256": [image.voxels for image in targets if image.voxels],
        "sources_sha256": [image.file for image in sources if image],
        "sources_voxels_sha256": [image.voxels for image in sources if image and image.voxels],
        FINGERPRINTS: [image.fingerprint for image in targets if image.fingerprint],
    }


def _keeps_tones(study: Study) -> bool:
    """Return whether the training has seen brains in random tones, none of them matched."""
    is_simulated = all(subject.source is None for subject in study.subjects)
    return is_simulated and study.settings.config.pseudo_3t == "noise"


def training_command(study: Study, *folds: int) -> str:
    """Return the command that trains some folds, or `FINAL`, for the model card.

    Returns
    -------
    str
        For a shell, with DATASET, RUN and START in place of folders: a card is published, paths are
        private.
    """
    settings = study.settings
    words = ["mri7t", "train", "DATASET", "RUN"]
    words += ["--network", settings.network, "--preset", settings.preset]
    for key, value in settings.network_config.items():
        words += ["--set-network", f"{key}={json.dumps(value)}"]
    for key, value in changed_settings(settings.preset, settings.config).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ["--set", f"{key}={text}"]
    words += ["--reference", settings.reference]
    if settings.start_from:
        is_bundled = settings.start_from in bundled_names()
        words += ["--start-from", settings.start_from if is_bundled else "START"]
    if folds == (FINAL,):
        words += ["--folds", "none", "--final"]
    elif len(folds) < len(study.subjects):
        words += ["--folds", ",".join(map(str, folds))]
    return shlex.join(words)


def export_model(  # noqa: PLR0913 - offered to Python users, by keyword
    run: str | Path | Study,
    folder: str | Path,
    *,
    fold: int | str = "final",
    name: str = "",
    title: str = "",
    data: str = "",
    half: bool = False,
    stress: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ModelCard:
    """Copy the model of a trained fold to a folder of its own, to be shared.

    Parameters
    ----------
    run : str, Path or Study
        Run folder of the training.
    folder : str or Path
        Folder of the model, made if missing.
    fold : int or str
        Number of the fold, or "final", the model of all subjects, whose card gets the held-out
        figures of all folds that are done.
    name : str
        Of the model; the folder's name by default.
    title : str
        One line for lists; the training's own by default.
    data : str
        Origin and licence of the training data.
    half : bool
        Save the weights as bfloat16.
    stress : mapping, optional
        Robustness to noise, shift and lesions, as `summarize_stress` returns it; also
        with the digest of the model that it was measured on, this one or a fold's, as
        `stressed["sha256"]`.
    overwrite : bool
        Replace a model that exists; never one of a run folder.

    Returns
    -------
    ModelCard

    Raises
    ------
    StateError
        If there is no training in the run folder, the fold is not done, or a folder holds the fold
        of another subject or study.
    Mri7tError
        If there is a model already and it may not be replaced, `folder` lies in a run folder, or
        the name is that of a bundled model.
    ValueError
        If there is no such fold, or `stress` was measured on another training.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import napari_mri7t as mri7t
    >>> place = Path(tempfile.mkdtemp())
    >>> brains = np.random.default_rng(0).random((3, 24, 24, 24), dtype=np.float32)
    >>> for n, brain in enumerate(brains):
    ...     _ = mri7t.save_volume(mri7t.Volume(brain, np.eye(4)), place / f"sub-{n}.nii.gz")
    >>> config = mri7t.TrainConfig(n_steps=1, batch_size=1, patch_size=16)
    >>> _ = mri7t.train(place, place / "run", config=config, folds=[0])
    >>> mri7t.export_model(place / "run", place / "model", fold=0).training["held_out"]
    'sub-0'
    """
    check_kind(stress=({} if stress is None else stress, Mapping))
    study = run if isinstance(run, Study) else open_study(run)
    k = _done_fold(study, fold)
    name = name or Path(folder).absolute().name
    _check_target(Path(folder), overwrite)
    _check_name(str(folder), name)
    check_done(study, k)
    model = load_model(study.fold_folder(k))
    training = model.card.training | {"command": training_command(study, k)}
    folds = range(len(study.subjects))
    if done := [number for number in folds if study.is_done(number)]:
        training["held_out_command"] = training_command(study, *done)
    if data:
        training["data"] = data
    metrics = model.card.metrics
    if k == FINAL:
        metrics = summarize_figures(held_out_figures(study))
    card = replace(
        model.card,
        name=name,
        title=title or model.card.title,
        training=training,
        metrics=metrics,
    )
    if stress is not None:
        weights = pack_weights(model.network, card.network, half=half)
        known = {model.card.sha256, hashlib.sha256(weights).hexdigest()}
        known |= {read_card(study.fold_folder(number)).sha256 for number in done}
        card = replace(card, metrics={**metrics, **_measured(stress, known)})
    return save_model(folder, model.network, card, half=half)


def _check_target(folder: Path, overwrite: bool) -> None:
    """Refuse to replace a model unasked, and to write into a run folder at all."""
    real = folder.resolve()
    if any((place / STUDY_FILE).exists() for place in (real, *real.parents)):
        raise Mri7tError(f"{folder}: lies in the run folder of a training: choose another folder")
    if not overwrite and any((folder / name).exists() for name in (CARD_FILE, WEIGHTS_FILE)):
        raise Mri7tError(
            f"{folder}: holds a model already: choose another folder, or allow overwriting",
            argument="overwrite",
        )


def _check_name(folder: str, name: str) -> None:
    """Refuse what would stand for a bundled model."""
    for given, argument in ((folder, "folder"), (name, "name")):
        if given in bundled_names():
            raise Mri7tError(
                f"{given}: is the name of a bundled model: choose another {argument}",
                argument=argument,
            )


def _measured(stress: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """Return what a card takes of a measurement of robustness, and nothing else."""
    stressed = stress.get("stressed", {})
    digest = stressed.get("sha256") if isinstance(stressed, Mapping) else None
    if digest is not None and digest not in known:
        raise ValueError(
            "the robustness was measured on another model: measure it on this one or on a fold of "
            "this training"
        )
    found = {name: stress[name] for name in STRESS_ENTRIES if name in stress}
    is_sound = all(isinstance(entry, Mapping) for entry in found.values())
    if not {"robustness", "lesions"} <= set(found) or not is_sound:
        raise ValueError("no measurement of robustness: use what `summarize_stress` returns")
    return found


def find_trained(place: str | Path, fold: int | str | None = None) -> Model:
    """Load the model of a fold of a run folder, or a model as `load_model`.

    Parameters
    ----------
    place : str or Path
        Run folder, name of a bundled model, or folder of a model.
    fold : int or str, optional
        As for `export_model`; of a run folder only.

    Raises
    ------
    StateError, ValueError
        As `export_model`, or if a model has no folds.
    ModelError
        If there is no such model.
    """
    if (Path(place) / STUDY_FILE).exists():
        study = open_study(place)
        k = _done_fold(study, "final" if fold is None else fold)
        check_done(study, k)
        return load_model(study.fold_folder(k))
    if fold is not None:
        raise StateError(
            f"{place}: is not a run folder and has no folds: choose a run folder, or no fold",
            argument="fold",
        )
    return load_model(place)


def _done_fold(study: Study, fold: int | str) -> int:
    """Return a fold's number, or `FINAL`."""
    if fold == "final":
        k = FINAL
    elif isinstance(fold, bool) or not str(fold).isdecimal():
        raise ValueError(f"fold {brief(fold)}: expected final or a number from 0")
    else:
        k = int(fold)
    study.check_fold(k)
    if not study.is_done(k):
        raise StateError(
            f"{study.label(k)}: not trained yet; train it first, or choose another fold",
            argument="fold",
        )
    return k
