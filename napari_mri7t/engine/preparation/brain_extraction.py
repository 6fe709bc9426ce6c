"""Where the brain is: deepbet's network, the scan's own zeros, or the user's mask.

References
----------
.. [1] Fisch et al., deepbet: fast brain extraction of T1-weighted MRI using convolutional neural
   networks, Computers in Biology and Medicine 179:108845, 2024.
   DOI 10.1016/j.compbiomed.2024.108845. Its weights come in its wheel.
"""

from collections.abc import Generator

import numpy as np
from scipy.ndimage import binary_fill_holes, binary_opening, label

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.harmonization import background_of
from napari_mri7t.engine.preparation.native import in_background, optional
from napari_mri7t.engine.volume import Volume, same_grid

LEAST_ZEROS = 0.4  # part of an extracted brain's volume that is exactly background
BRAIN_LITRES = (0.8, 2.4)  # adult brains with cerebrospinal fluid
THRESHOLD = 0.5  # of deepbet's probability, its default
WHOLE = 0.98  # part of the foreground that its largest piece has in a clean extraction


def looks_extracted(volume: Volume) -> bool:
    """Tell whether a scan's background is exactly 0 around no more than a brain.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    bool
        True if at least 40 % of the voxels have exactly the background's value and the others
        fill less than the largest plausible brain.
    """
    foreground = volume.array > background_of(volume.array)
    return is_mostly_background(foreground) and brain_litres(volume, foreground) < (BRAIN_LITRES[1])


def is_mostly_background(foreground: np.ndarray) -> bool:
    """Tell by the part of its background whether a scan may show the brain alone.

    Parameters
    ----------
    foreground : ndarray of bool
        What lies above the background.

    Returns
    -------
    bool
    """
    return bool(1 - foreground.mean() >= LEAST_ZEROS)


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


def foreground_mask(volume: Volume) -> np.ndarray:
    """Take the mask of a brain-extracted scan from its zeros.

    Parameters
    ----------
    volume : Volume
        Extracted; single voxels of noise in the background do no harm.

    Returns
    -------
    ndarray of bool, shape (I, J, K)
        One piece without holes.
    """
    foreground = volume.array > background_of(volume.array)
    largest = _largest_piece(foreground)
    if largest.sum() < WHOLE * foreground.sum():
        largest = _largest_piece(binary_opening(foreground, iterations=2))
    filled: np.ndarray = binary_fill_holes(largest)
    return filled


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


def brain_litres(volume: Volume, mask: np.ndarray) -> float:
    """Measure a mask's volume; litres."""
    return float(mask.sum() * abs(np.linalg.det(volume.affine[:3, :3])) / 1e6)


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces, n_pieces = label(mask)
    if n_pieces < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: np.ndarray = pieces == sizes.argmax()
    return largest
