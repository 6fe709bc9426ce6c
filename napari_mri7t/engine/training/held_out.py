"""What a finished fold leaves behind: the held-out estimate, its figures, weights and card."""

import json
from collections.abc import Generator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import torch
from torch import nn

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.cards import ModelCard
from napari_mri7t.engine.devices import device_name
from napari_mri7t.engine.evaluation.metrics import compare
from napari_mri7t.engine.networks import count_parameters
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.preparation.harmonization import brain_quantiles
from napari_mri7t.engine.synthesis import Synthesis, SynthesisProgress, synthesize
from napari_mri7t.engine.synthesis_config import SynthesisConfig
from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar
from napari_mri7t.engine.training.patches import TrainingSubject
from napari_mri7t.engine.training.presets import TrainConfig
from napari_mri7t.engine.volume import Volume, save_volume

ESTIMATE_FILE = "estimate.nii.gz"
METRICS_FILE = "metrics.json"
INTENDED_USE = "Research on image synthesis from brain-extracted, bias-corrected T1w volumes."
QUANTILE_DIGITS = 6


def synthesis_config(config: TrainConfig, device: str) -> SynthesisConfig:
    """Take the settings of the held-out estimate from those of the training."""
    return SynthesisConfig(
        device=device,
        precision=config.precision,
        step=config.inference_step,
        end_slices=config.inference_end_slices,
        planes=config.inference_planes,
        flips=config.inference_flips,
        crop=config.inference_crop,
    )


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
    result: Synthesis = yield from synthesize(source, model, config)
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
