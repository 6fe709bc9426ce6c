"""Where the brain is: deepbet's network, the scan's own zeros, or the user's mask.

References
----------
.. [1] Fisch et al., deepbet: fast brain extraction of T1-weighted MRI using convolutional neural
   networks, Computers in Biology and Medicine 179:108845, 2024.
   DOI 10.1016/j.compbiomed.2024.108845. Its wheel includes the weights.
"""

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.optional import in_background, optional
from napari_mri7t.engine.preparation.steps import EXTRACTION, running
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.volumes.brain import BRAIN_LITRES, brain_litres
from napari_mri7t.engine.volumes.volume import Volume, same_grid

THRESHOLD = 0.5  # of deepbet's probability, its default


def extract_brain(scan: Volume, report: Report = ignore) -> np.ndarray:
    """Find the brain of a scan that shows the whole head.

    Parameters
    ----------
    scan : Volume
        T1w, any grid.
    report : callable
        Called every 0.2 s; what it raises ends the wait, while deepbet finishes in the background.

    Returns
    -------
    ndarray of bool, shape (I, J, K)
        One component without holes.

    Raises
    ------
    Mri7tError
        If deepbet is missing.
    VolumeError
        If no brain is found.
    """
    bet = optional("deepbet.bet", EXTRACTION)
    import torch  # which deepbet has loaded

    n_threads = torch.get_num_threads()  # of a new thread, it may change with what others do

    def run() -> np.ndarray:
        torch.set_num_threads(n_threads)
        network = bet.BrainExtraction(no_gpu=True)
        try:
            probability = network.run_model(np.ascontiguousarray(scan.array))
            found = network.postprocess(probability > THRESHOLD)
        except (AssertionError, ValueError) as error:  # deepbet's way to say: nothing found
            raise VolumeError(
                f"{scan.name}: no brain was found: is it a T1w scan of a head?"
            ) from error
        return np.asarray(found) > 0

    return in_background(run, report, running(EXTRACTION))


def mask_of(mask: Volume, scan: Volume) -> np.ndarray:
    """Return the user's brain mask, which must lie on the scan's grid; above 0 is brain.

    Raises
    ------
    GridError
        If it lies on another grid.
    """
    same_grid(scan, mask)
    return mask.array > 0


def check_mask(scan: Volume, mask: np.ndarray) -> None:
    """Check that a brain mask has the volume of an adult's brain.

    Raises
    ------
    VolumeError
        If the brain is too small or too large.
    """
    litres = brain_litres(scan, mask)
    low, high = BRAIN_LITRES
    if not low <= litres <= high:
        raise VolumeError(
            f"{scan.name}: the brain mask holds {litres:.2f} litres, an adult brain {low} to "
            f"{high}: check the mask and the size of the voxels, or provide another mask; if the "
            "mask is correct, skip the preparation",
            argument="mask",
        )
