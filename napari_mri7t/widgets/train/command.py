"""The `mri7t` line of the widget "Train"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.training.config import FINAL, network_settings
from napari_mri7t.widgets.shared.command import command_line, model_option
from napari_mri7t.widgets.train.jobs import Request

if TYPE_CHECKING:
    from napari_mri7t.engine.training.study import Study


def train_line(request: Request, changes: dict[str, str], study: Study | None) -> str:
    """Return the line that trains the chosen folds.

    `changes`: of the preset's settings. `study`: that of the run folder, whose reference and start
    have no field in the widget.

    Raises
    ------
    ValueError
        If the preset gives the network an argument that the widget left out.
    """
    preset = network_settings(request.network, request.preset)
    if missing := sorted(set(preset) - set(request.network_config)):
        raise ValueError(f"{missing[0]}: is set by the preset: give it a value, not none")
    numbers = [k for k in request.folds if k != FINAL]
    start = None if request.start is None else model_option(request.start)
    return command_line(
        "train",
        request.dataset.absolute(),
        request.run.absolute(),
        network=request.network,
        preset=request.preset,
        folds=",".join(map(str, numbers)) or "none",
        final=FINAL in request.folds,
        device=None if request.device == "auto" else request.device,
        set=[f"{name}={text}" for name, text in changes.items()],
        set_network=_arguments(request.network_config, preset),
        reference=None if study is None else study.settings.reference,
        start_from=start if study is None else study.settings.start_from or None,
    )


def _arguments(asked: dict[str, Any], preset: dict[str, Any]) -> list[str]:
    return [f"{k}={json.dumps(v)}" for k, v in asked.items() if preset.get(k, ...) != v]
