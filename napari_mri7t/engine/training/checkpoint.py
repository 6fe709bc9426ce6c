"""The state of a training on disk: tensors and JSON in one safetensors file, never a pickle.

The last two states are kept: if one is damaged, only the steps since the one before are lost.
"""

import csv
import errno
import json
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from napari_mri7t.engine.atomic import write_atomically, write_content
from napari_mri7t.engine.errors import StateError, reason_of
from napari_mri7t.engine.models.weights import LARGEST_FILE, TensorFile, read_tensors
from napari_mri7t.engine.regular import NotRegularError, read_regular
from napari_mri7t.engine.texts import as_read, to_json

CURRENT = "state.safetensors"
PREVIOUS = "state.previous.safetensors"
HISTORY = "history.csv"  # beside the states, for people and plots
DIGEST_KEY = "digest"
FACTS_KEY = "facts"
LARGEST_HISTORY = 64 << 20  # bytes; some 40 a row
_DAMAGES = (ValueError, KeyError, TypeError, RecursionError, SafetensorError)
_log = logging.getLogger(__name__)


def save_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state of a training; the previous one stays as a fallback.

    The new state is on the disk before the current one takes the previous one's place, and a
    damaged one never does: at every moment at least one state is whole.

    Parameters
    ----------
    folder : Path
        Folder of the fold.
    tensors : mapping of str to Tensor
    facts : mapping
        JSON: step, network, settings; compared when the training is resumed.
    """
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    written = as_read(facts)
    noted = {**written, DIGEST_KEY: _digest(plain, written)}
    metadata = {FACTS_KEY: to_json(noted, indent=None)}  # several entries have no fixed order
    content = save(plain, metadata)
    current = folder / CURRENT

    def write(file: BinaryIO) -> None:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if _is_whole(current):
            os.replace(current, folder / PREVIOUS)

    write_atomically(current, write)


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
        If all states are damaged, or one cannot be read now, for lack of memory or permission.
    """
    found = _newest_whole(folder)
    return None if found is None else found[1:]


def has_state(folder: Path) -> bool:
    """Return whether a fold has a state, damaged or not."""
    return any((folder / name).exists() for name in (CURRENT, PREVIOUS))


def copy_state(source: Path, folder: Path) -> None:
    """Copy the newest undamaged state of a fold, and its history, to the folder of another.

    Raises
    ------
    StateError
        If there is none.
    """
    found = _newest_whole(source)
    if found is None:
        raise StateError(f"{source}: has no checkpoint to copy; train the fold again")
    history = source / HISTORY
    if history.exists():
        write_content(folder / HISTORY, read_regular(history, LARGEST_HISTORY))
    # Last: it makes the copy complete.
    write_content(folder / CURRENT, read_regular(found[0], LARGEST_FILE))


def _newest_whole(folder: Path) -> tuple[Path, dict[str, Tensor], dict[str, Any]] | None:
    problems = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        try:
            return path, *_read(path)
        except FileNotFoundError:
            continue
        except _DAMAGES as error:
            problems.append(f"{path}: {reason_of(error)}")
            _log.warning("%s: damaged (%s); trying the previous checkpoint", path, error)
    if problems:
        raise StateError(
            f"{problems[0]}: the checkpoint is damaged and there is no earlier one to resume from; "
            "delete the fold's folder to train it from the start"
        )
    return None


def _is_whole(path: Path) -> bool:
    try:
        _read(path)
    except (FileNotFoundError, *_DAMAGES):
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found = _read_file(path)
    tensors = found.tensors()
    facts: dict[str, Any] = json.loads(found.metadata[FACTS_KEY])
    if not isinstance(facts, dict):
        raise ValueError("it has no metadata")
    if facts.pop(DIGEST_KEY) != _digest(tensors, facts):
        raise ValueError("its checksum does not match")
    return tensors, facts


def _read_file(path: Path) -> TensorFile:
    """Read the file of a state; only a damaged one is a ValueError, and makes way for another."""
    try:
        return read_tensors(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = reason_of(error)
        if isinstance(error, NotRegularError) or error.errno == errno.EIO:
            raise ValueError(reason) from error
        raise StateError(
            f"{path}: cannot be read now ({reason}): free memory, or make the file readable, and "
            "try again; the checkpoint is kept"
        ) from error


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

    Raises
    ------
    StateError
        If it is damaged.
    """
    try:
        lines = read_regular(path, LARGEST_HISTORY).decode("utf-8").splitlines()
        rows = [(float(row["step"]), float(row["loss"])) for row in csv.DictReader(lines)]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise StateError(
            f"{path}: no readable loss curve ({reason_of(error)}); delete the file"
        ) from error
    steps, losses = np.array(rows).reshape(-1, 2).T
    return steps, losses


def has_history(path: Path) -> bool:
    """Return whether a training has a readable loss curve; a damaged one is left out of plots."""
    try:
        read_history(path)
    except StateError as error:
        if path.exists():
            _log.warning("%s", error)
        return False
    return True
