"""Where the brain is: deepbet's network, the scan's own zeros, or the user's mask.

References
----------
.. [1] Fisch et al., deepbet: fast brain extraction of T1-weighted MRI using convolutional neural
   networks, Computers in Biology and Medicine 179:108845, 2024.
   DOI 10.1016/j.compbiomed.2024.108845. Its weights come in its wheel.
"""

from collections.abc import Generator

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.optional import in_background, optional
from napari_mri7t.engine.volumes.brain import BRAIN_LITRES, brain_litres
from napari_mri7t.engine.volumes.volume import Volume, same_grid

THRESHOLD = 0.5  # of deepbet's probability, its default


def extract_brain(volume: Volume) -> Generator[None, None, np.ndarray]:
    """Find the brain of a scan with its skull on.

    Parameters
    ----------
    volume : Volume
        T1w, any grid; RAS+, as every volume in memory.

    Returns
    -------
    ndarray of bool, shape (I, J, K)
        One piece without holes.

    Raises
    ------
    Mri7tError
        If deepbet is missing.
    VolumeError
        If there is no brain to be found.
    """
    bet = optional("deepbet.bet", "brain extraction")

    def run() -> np.ndarray:
        network = bet.BrainExtraction(no_gpu=True)
        try:
            probability = network.run_model(np.ascontiguousarray(volume.array))
            found = network.postprocess(probability > THRESHOLD)
        except (AssertionError, ValueError) as error:  # deepbet's ways to say: nothing found
            raise VolumeError(
                f"{volume.name}: no brain was found: is it a T1w scan of a head?"
            ) from error
        return np.asarray(found) > 0

    mask = yield from in_background(run)
    return mask


def mask_of(mask: Volume, scan: Volume) -> np.ndarray:
    """Take the user's brain mask, which must lie on the scan's grid; non-zero is brain.

    Raises
    ------
    GridError
        If it lies on another grid.
    """
    same_grid(scan, mask)
    return mask.array > 0


def check_mask(volume: Volume, mask: np.ndarray) -> None:
    """Refuse a brain that no adult has.

    Raises
    ------
    VolumeError
        If the brain is too small or too large.
    """
    litres = brain_litres(volume, mask)
    low, high = BRAIN_LITRES
    if not low <= litres <= high:
        raise VolumeError(
            f"{volume.name}: the brain mask holds {litres:.2f} litres, an adult brain {low} to "
            f"{high}: check the scan, or give a brain mask"
        )
