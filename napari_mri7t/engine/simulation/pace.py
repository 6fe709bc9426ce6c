"""How long a simulation takes on this machine, measured on a part of a brain."""

import tempfile
from pathlib import Path

from napari_mri7t.engine.metrics.pace import timed
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.volumes.volume import Volume

SIDE = 128  # voxels, of the cube that is timed


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
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "source.nii.gz", Path(folder) / "target.nii.gz"

        def simulate(cube: Volume) -> None:
            reference = cube.with_array(cube.array**2) if has_reference else None
            pair = simulate_3t(cube, reference=reference, config=config)
            if saves:
                pair.save(*paths, overwrite=True)

        return timed(simulate, SIDE)
