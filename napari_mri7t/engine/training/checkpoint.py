"""The state of a training on disk: tensors and JSON in one safetensors file, never a pickle.

The last two states are kept: if one is damaged, only the steps since the one before are lost.
"""

import csv
import json
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.errors import StateError

CURRENT = "state.safetensors"
PREVIOUS = "state.previous.safetensors"
HISTORY = "history.csv"  # beside the states, for people and plots
DIGEST_KEY = "digest"
FACTS_KEY = "facts"
_log = logging.getLogger(__name__)


def save_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state of a training; the previous one stays as a fallback.

    Parameters
    ----------
    folder : Path
        Folder of the fold.
    tensors : mapping of str to Tensor
    facts : mapping
        JSON: step, network, settings; compared when the training is resumed.
    """
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    noted = {**facts, DIGEST_KEY: _digest(plain, facts)}
    content = save(plain, {FACTS_KEY: json.dumps(noted)})  # several entries have no fixed order
    if (folder / CURRENT).exists():
        os.replace(folder / CURRENT, folder / PREVIOUS)
    write_content(folder / CURRENT, content)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest undamaged state.

    Parameters
    ----------
    folder : Path
        Folder of the fold.

    Returns
    -------
    tuple of (tensors, facts), or None
        None if nothing was saved yet.

    Raises
    ------
    StateError
        If all states are damaged.
    """
    problems = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            problems.append(f"{path}: {error}")
            _log.warning("%s: damaged (%s); trying the previous checkpoint", path, error)
    if problems:
        raise StateError(
            f"{problems[0]}: the checkpoint is damaged and there is no earlier one to resume from; "
            "delete the fold's folder to train it from the start"
        )
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    facts: dict[str, Any] = json.loads(metadata[FACTS_KEY])
    if not isinstance(facts, dict):
        raise ValueError("it has no metadata")
    if facts.pop(DIGEST_KEY) != _digest(tensors, facts):
        raise ValueError("its checksum does not match")
    return tensors, facts


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Return a checksum of names and bytes: safetensors notices truncation, not flipped bits."""
    checksum = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    for key in sorted(tensors):
        checksum = zlib.crc32(key.encode(), checksum)
        data = tensors[key].contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        checksum = zlib.crc32(data, checksum)
    return f"{checksum:08x}"


def read_history(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the loss curve of a training.

    Parameters
    ----------
    path : Path
        A file `HISTORY`.

    Returns
    -------
    steps, losses : ndarray of float, shape (N,)
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    steps, losses = np.array(rows).reshape(-1, 2).T
    return steps, losses
