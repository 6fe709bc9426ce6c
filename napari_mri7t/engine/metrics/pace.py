"""How long scoring takes on this machine, measured on a part of a brain."""

import time

from napari_mri7t.engine.metrics.scoring import score
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume

SMALL, LARGE = (  # blocks of the template: brain, and some around it
    tuple(slice(centre - n // 2, centre + n // 2) for centre in (98, 112, 92)) for n in (32, 80)
)


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
    template = load_template()
    seconds, size = 0.0, 1
    for part in (SMALL, LARGE):  # the first one loads what is needed
        real = Volume(template.array[part], template.affine, "real")
        brain = real.with_array(real.array > 0)
        since = time.perf_counter()
        score(real, real.with_array(0.9 * real.array), mask=brain, data_range=1.0)
        seconds, size = time.perf_counter() - since, real.array.size
    return seconds / size
