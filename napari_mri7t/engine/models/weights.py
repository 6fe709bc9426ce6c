"""Files of tensors, whose header is checked against their size before anything is read.

https://huggingface.co/docs/safetensors: eight bytes of length, a JSON header, the numbers.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from napari_mri7t.engine.regular import open_regular
from napari_mri7t.engine.system import available_memory

LARGEST_HEADER = 4 << 20  # bytes; some 100 a tensor
LARGEST_FILE = 4 << 30
COPIES = 3  # in memory while the file is read: its bytes, its tensors, their float32
_LENGTH = 8


@dataclass(frozen=True, eq=False)
class TensorFile:
    """A file of tensors.

    Attributes
    ----------
    content : bytes
        All of it.
    metadata : dict
        Texts of its header.
    n_tensors, n_values : int
        How many there are by its header, and of how many numbers together.
    """

    content: bytes
    metadata: dict[str, str]
    n_tensors: int
    n_values: int

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, as they are stored.

        Raises
        ------
        SafetensorError
            If the header does not describe the file.
        """
        found: dict[str, Tensor] = load(self.content)
        return found


def read_tensors(path: Path) -> TensorFile:
    """Read a safetensors file, its header first.

    Parameters
    ----------
    path : Path

    Returns
    -------
    TensorFile

    Raises
    ------
    OSError
        If it cannot be read, is not a regular file, or does not fit into memory.
    ValueError
        If it is no safetensors file, or has another size than its header declares.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        n_header = int.from_bytes(file.read(_LENGTH), "little")
        if not 2 <= n_header <= min(size - _LENGTH, LARGEST_HEADER):
            raise ValueError("not a safetensors file, or cut short")
        start = file.read(n_header)
        header = _header(start)
        metadata = header.pop("__metadata__", {})
        ends, counts = zip(*(_extent(entry) for entry in header.values()), strict=True)
        if _LENGTH + n_header + max(ends) != size:
            raise ValueError(f"its header declares another size than its {size:,} bytes")
        _check_memory(size)
        rest = file.read(max(ends) + 1)
    if len(rest) != max(ends):
        raise ValueError("its size changed while it was read")
    content = n_header.to_bytes(_LENGTH, "little") + start + rest
    return TensorFile(content, _texts(metadata), len(counts), min(sum(counts), size))


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("not a safetensors file: its header is damaged") from error
    if not isinstance(header, dict) or not set(header) - {"__metadata__"}:
        raise ValueError("a safetensors file without tensors")
    return header


def _extent(entry: Any) -> tuple[int, int]:
    """Return where a tensor ends and how many numbers it has."""
    try:
        (begin, end), shape = entry["data_offsets"], entry["shape"]
        sizes = [begin, end, *shape]
        if not all(type(size) is int for size in sizes) or min(sizes) < 0 or len(shape) > 8:
            raise ValueError
        return end, math.prod(shape)
    except (LookupError, TypeError, ValueError):
        raise ValueError("not a safetensors file: its header is damaged") from None


def _texts(metadata: object) -> dict[str, str]:
    entries = metadata.items() if isinstance(metadata, Mapping) else ()
    return {str(key): value for key, value in entries if isinstance(value, str)}


def _check_memory(size: int) -> None:
    available = available_memory()
    if size > LARGEST_FILE or (available is not None and COPIES * size > available):
        raise OSError(f"has {size:,} bytes, which do not fit into the memory")
