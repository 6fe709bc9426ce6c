"""How long work on a volume takes on this machine, measured on a part of a brain: scoring."""

import time
from collections.abc import Callable

from napari_mri7t.engine.metrics.scoring import score
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume

CENTRE = (98, 112, 92)  # of the template's brain, voxels
WARM_UP, SIDE = 32, 80  # voxels, of a first cube, for which libraries are loaded, and of the timed


def seconds_per_voxel() -> float:
    """Measure how long every metric takes for one voxel, by a part of a brain.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    >>> seconds_per_voxel() > 0
    True
    """

    def score_cube(real: Volume) -> None:
        brain = real.with_array(real.array > 0)
        score(real, real.with_array(0.9 * real.array), mask=brain, data_range=1.0)

    return timed(score_cube, SIDE)


def timed(work: Callable[[Volume], object], side: int) -> float:
    """Measure how long some work takes for one voxel of a cube of the template.

    Parameters
    ----------
    work : callable
        Gets the cube, brain with some air around it; first a small one, which does not count.
    side : int
        Of the cube, voxels.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    >>> timed(lambda cube: cube.array.sum(), 40) > 0
    True
    """
    template, seconds = load_template(), 0.0
    for n in (WARM_UP, side):
        part = tuple(slice(centre - n // 2, centre + n // 2) for centre in CENTRE)
        cube = Volume(template.array[part], template.affine, "cube")
        since = time.perf_counter()
        work(cube)
        seconds = time.perf_counter() - since
    return seconds / side**3
