"""What an interrupted copy leaves in a file: zeros where slices were."""

import numpy as np

LEAST_VOXELS = 10_000  # that are not 0; fewer may be lesions, which end where they like
LEAST_AREA = 0.3  # of the largest slice: more shows that an image does not end there by itself


def empty_slices(values: np.ndarray, shape: tuple[int, ...]) -> str:
    """Return which slices are 0 though the image goes on there; empty if there are none.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Of one volume, its first axis fastest, as the file has it.
    shape : tuple of int
        (I, J, K) of the volume.

    Examples
    --------
    >>> ball = np.indices((41, 41, 41)) - 20.0
    >>> values = (np.square(ball).sum(axis=0) < 324).astype(np.float32)
    >>> empty_slices(values.ravel(), (41, 41, 41))
    ''
    >>> values[30:] = 0
    >>> empty_slices(values.ravel(), (41, 41, 41))
    'the last 11 of 41 slices are 0, and the image ends abruptly at them'
    """
    areas = np.count_nonzero(values.reshape(shape[::-1]), axis=(1, 2))
    (shown,) = np.nonzero(areas)
    if areas.sum() < LEAST_VOXELS:
        return ""
    first, last = int(shown[0]), int(shown[-1])
    is_large = areas > LEAST_AREA * areas.max()
    steps = np.flatnonzero(np.diff(shown) > 1)  # a cut need not lie between two slices
    beside = [shown[np.clip([n - 1, n + 2], 0, len(shown) - 1)] for n in steps]
    if is_large[np.array(beside, int)].any():
        n_between = last - first + 1 - len(shown)
        return f"{n_between} of {shape[2]} slices are 0, and the image ends abruptly at them"
    n_after = shape[2] - 1 - last
    begins = first == 0 or not is_large[first]  # else something was put around a part
    if n_after and begins and is_large[last - 1]:
        return f"the last {n_after} of {shape[2]} slices are 0, and the image ends abruptly at them"
    return ""
