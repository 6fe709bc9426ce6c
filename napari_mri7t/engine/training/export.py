"""A trained fold as a model folder: weights and the card that describes them."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

from torch import nn

from napari_mri7t.engine.devices import device_name, resolve_device
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.networks import count_parameters
from napari_mri7t.engine.training.config import TrainConfig, synthesis_config
from napari_mri7t.engine.training.start import Start
from napari_mri7t.engine.training.study import FINAL, Study
from napari_mri7t.engine.volumes.intensity import brain_quantiles, normalize
from napari_mri7t.engine.volumes.provenance import file_digest
from napari_mri7t.engine.volumes.volume import load_volume

METRICS_FILE = "metrics.json"
INTENDED_USE = "Research on image synthesis from brain-extracted, bias-corrected T1w volumes."
QUANTILE_DIGITS = 6


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


def draft_card(
    network: nn.Module, names: tuple[str, str], config: TrainConfig, training: dict[str, Any]
) -> ModelCard:
    """Write the part of a model card that the training knows.

    Parameters
    ----------
    network : nn.Module
    names : tuple of str
        The network's name in `NETWORKS`, and the preset's.
    config : TrainConfig
    training : dict
        `reference` (array in [0, 1]), `network_config`, `subjects`, `targets_sha256`, `held_out`,
        `command`, `device`, `start` (further entries of the card).
    """
    name, preset = names
    quantiles = brain_quantiles(training["reference"]).round(QUANTILE_DIGITS).tolist()
    return ModelCard(
        name=name,
        title=f"{name}, trained with the preset {preset!r}{_origin(training['start'])}",
        network=name,
        network_config=training["network_config"],
        n_parameters=count_parameters(network),
        preprocessing={
            "voxel_size_mm": training["voxel_size_mm"],
            "brain_extracted": True,
            "plane": "axial",
            "intensity_quantiles": quantiles,
        },
        synthesis=asdict(synthesis_config(config, "auto")),
        training={
            "subjects": training["subjects"],
            "targets_sha256": training["targets_sha256"],
            "held_out": training["held_out"],
            "preset": preset,
            "command": training["command"],
            "settings": asdict(config),
            "hardware": training["device"],
            "date": datetime.now(UTC).date().isoformat(),
            **training["start"],
        },
        metrics={},
        intended_use=INTENDED_USE,
        sha256="",
    )


def _origin(start: dict[str, Any]) -> str:
    """Say in a title from whose weights a training started, where they were not drawn."""
    return f", from the weights of {start['started_from']['model']}" if start else ""


def summarize_figures(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Average the figures of held-out subjects: n, mean, standard deviation (None of one), time.

    The deviation is that of the subjects themselves (divided by n), as in all tables.
    """
    summary: dict[str, Any] = {
        "n_held_out": len(figures),
        "subjects": [entry["subject"] for entry in figures],
        "seconds": round(median(entry["seconds"] for entry in figures), 2),
        "hardware": figures[0].get("hardware", ""),
    }
    for method in ("source", "estimate"):
        for region in ("brain", "whole"):
            for metric in figures[0][method][region]:
                values = [entry[method][region][metric] for entry in figures]
                spread = round(pstdev(values), 5) if len(values) > 1 else None
                summary.setdefault(method, {}).setdefault(region, {})[metric] = {
                    "mean": round(fmean(values), 5),
                    "std": spread,
                }
    return summary


def read_figures(folders: list[Path]) -> list[dict[str, Any]]:
    """Read the figures of all folds that have them."""
    paths = [folder / METRICS_FILE for folder in folders]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


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
