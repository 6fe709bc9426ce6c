"""How long a simulation takes on this machine, measured on a part of a brain."""

import tempfile
import time
from pathlib import Path

from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume

SMALL, LARGE = (  # blocks of the template: brain, and some around it
    tuple(slice(centre - n // 2, centre + n // 2) for centre in (98, 112, 92)) for n in (32, 128)
)


def seconds_per_voxel(
    config: SimulationConfig, *, has_reference: bool = False, saves: bool = False
) -> float:
    """Measure how long a simulation works on one voxel, by a part of a brain: about a second.

    Parameters
    ----------
    config : SimulationConfig
    has_reference : bool
        Whether both images are matched to the histogram of another volume.
    saves : bool
        Include writing both images, compressed.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    >>> seconds_per_voxel(SimulationConfig()) > 0
    True
    """
    template = load_template()
    seconds, size = 0.0, 1
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "source.nii.gz", Path(folder) / "target.nii.gz"
        for part in (SMALL, LARGE):  # the first one loads what is needed
            block = Volume(template.array[part], template.affine, "block")
            reference = block.with_array(block.array**2) if has_reference else None
            since = time.perf_counter()
            pair = simulate_3t(block, reference=reference, config=config)
            if saves:
                pair.save(*paths, overwrite=True)
            seconds, size = time.perf_counter() - since, block.array.size
    return seconds / size
