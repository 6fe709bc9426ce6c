"""The state of a training on disk: tensors and JSON in one safetensors file, never a pickle.

Two are kept, so that a damaged one costs only the steps since the one before.
"""

import json
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.errors import StateError

CURRENT = "state.safetensors"
PREVIOUS = "state.previous.safetensors"
HISTORY = "history.csv"  # beside them, for people and plots
DIGEST_KEY = "digest"
FACTS_KEY = "facts"
_log = logging.getLogger(__name__)


def save_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state; the one before stays as the fallback.

    Parameters
    ----------
    folder : Path
        Of the fold.
    tensors : mapping of str to Tensor
    facts : mapping
        JSON: step, network, settings; compared when the training is taken up again.
    """
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    noted = {**facts, DIGEST_KEY: _digest(plain, facts)}
    # One entry only: safetensors writes several in any order, and the same run the same bytes.
    content = save(plain, {FACTS_KEY: json.dumps(noted)})
    if (folder / CURRENT).exists():
        os.replace(folder / CURRENT, folder / PREVIOUS)
    write_atomically(folder / CURRENT, lambda file: file.write(content))


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest state that is whole.

    Returns
    -------
    tuple of (tensors, facts), or None
        None where nothing was saved yet.

    Raises
    ------
    StateError
        If there are states and none is whole.
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
            f"{problems[0]}: the checkpoint is damaged and there is no whole one before it; "
            "delete the fold's folder to train it from the start"
        )
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    facts: dict[str, Any] = json.loads(metadata[FACTS_KEY])
    if not isinstance(facts, dict):
        raise ValueError("its facts are none")
    is_old = DIGEST_KEY in metadata  # until 2026-11-22 it stood apart, and held for tensors only
    digest = metadata[DIGEST_KEY] if is_old else facts.pop(DIGEST_KEY)
    if digest != _digest(tensors, None if is_old else facts):
        raise ValueError("the content does not fit its digest")
    return tensors, facts


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None) -> str:
    """Checksum names and bytes: safetensors itself notices truncation, not flipped bits."""
    checksum = 0 if facts is None else zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    for key in sorted(tensors):
        checksum = zlib.crc32(key.encode(), checksum)
        data = tensors[key].contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        checksum = zlib.crc32(data, checksum)
    return f"{checksum:08x}"
