"""The coarse anatomy of a brain, by which it is known again when it was resaved under another name.

Neither a linear scale nor rounding, weak noise, cropping, padding or a mirror changes it much.
"""

import base64
import binascii
from dataclasses import replace

import numpy as np
from scipy.ndimage import find_objects

from napari_mri7t.engine.volumes.scale import border_of, zeroed
from napari_mri7t.engine.volumes.volume import Volume

EDGE = 0.05  # of the range of intensities: what the box around the brain leaves out
CELLS, FEWER_CELLS = 16, 8  # along each axis of that box; fewer of a small volume or in an old card
#: Correlation of two brains that are one, by the number of cells. Copies that were rounded, padded
#: or given a bias field of 5 % reach 0.9997; two of TELL's people 0.991 (of fewer cells 0.995), and
#: after SyN onto the template 0.998 (0.9991).
SAME = {CELLS: 0.999, FEWER_CELLS: 0.9985}


def around_brain(volume: Volume) -> Volume:
    """Return a volume cut to the box around what differs from its border."""
    difference = np.abs(volume.array - np.float32(border_of(volume.array)[0]))
    foreground = difference > EDGE * difference.max()
    box = find_objects(foreground.astype(np.uint8))
    return replace(volume, array=np.ascontiguousarray(volume.array[box[0]])) if box else volume


def fingerprint(volume: Volume) -> str:
    """Return the means of 16 x 16 x 16 cells of the box around a brain, as text.

    Parameters
    ----------
    volume : Volume
        On any linear scale.

    Returns
    -------
    str
        Base64 of 4096 float16, mean 0 and norm 1; of 8 x 8 x 8 cells where a side of the box has
        fewer than 16 voxels; empty where it has fewer than 8, and for a constant volume.

    Examples
    --------
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> brain = load_template()
    >>> are_one_brain(fingerprint(brain), fingerprint(brain.with_array(3 * brain.array + 7)))
    True
    """
    means = around_brain(zeroed(volume)).array.astype(np.float64)
    n_cells = next((n for n in SAME if min(means.shape) >= n), 0)
    if not n_cells:
        return ""
    for axis in range(means.ndim):
        starts = np.linspace(0, means.shape[axis], n_cells, endpoint=False).round().astype(int)
        counts = np.diff([*starts, means.shape[axis]])
        sums = np.add.reduceat(means, starts, axis=axis)
        means = np.moveaxis(np.moveaxis(sums, axis, -1) / counts, -1, axis)
    means -= means.mean()
    norm = np.linalg.norm(means)
    return base64.b64encode((means / norm).astype("<f2").tobytes()).decode() if norm else ""


def are_one_brain(first: str, second: str) -> bool:
    """Return whether two fingerprints are of one brain, be it mirrored; False if one is none.

    Parameters
    ----------
    first, second : str
        From `fingerprint`; a card may hold any text.
    """
    here, there = _cells_of(first), _cells_of(second)
    if here is None or there is None:
        return False
    n_cells = min(len(here), len(there))
    here, there = (_merged(cells, n_cells) for cells in (here, there))
    return bool(max((here * there).sum(), (here[::-1] * there).sum()) > SAME[n_cells])


def _cells_of(text: str) -> np.ndarray | None:
    try:
        cells = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float64)
    except (ValueError, binascii.Error):
        return None
    n_cells = next((n for n in SAME if n**3 == cells.size), None)
    if n_cells is None or not np.isfinite(cells).all() or not cells.any():
        return None
    return cells.reshape(n_cells, n_cells, n_cells)


def _merged(cells: np.ndarray, n_cells: int) -> np.ndarray:
    """Return the means of neighbouring cells, with mean 0 and norm 1."""
    n = len(cells) // n_cells
    merged: np.ndarray = cells.reshape(n_cells, n, n_cells, n, n_cells, n).mean(axis=(1, 3, 5))
    merged -= merged.mean()
    return merged / (np.linalg.norm(merged) or 1)
