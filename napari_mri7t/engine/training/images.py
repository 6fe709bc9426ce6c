"""Whether an image may be trained on: a scan, not what a model made of one, and no empty one."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_mri7t.engine.errors import SubjectError
from napari_mri7t.engine.volumes.brain import background_of
from napari_mri7t.engine.volumes.intensity import check_peak
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.provenance import made_instead
from napari_mri7t.engine.volumes.volume import Volume

LEAST_FOREGROUND = 0.01  # part of the voxels; a brain fills 0.05 to 0.4 of a scan


def check_image(path: Path, field: str, volume: Volume) -> None:
    """Check that an image can be trained on as the 3T or the 7T of a subject.

    Parameters
    ----------
    path : Path
    field : {"3T", "7T"}
    volume : Volume
        As loaded.

    Raises
    ------
    SubjectError
        If a model has made it, it is a pseudo-3T in the place of a 7T, or it is almost empty.
    VolumeError
        If it is no scan, as `check_t1w`, or has voxels that outshine it, as `check_peak`.
    """
    _refuse_made(path, field)
    _refuse_empty(path, volume)
    named = replace(volume, name=str(path))
    check_t1w(named)
    check_peak(named)


def _refuse_made(path: Path, field: str) -> None:
    """Refuse what a model has made, and a pseudo-3T in the place of a 7T scan."""
    if what := made_instead(path, field):
        raise SubjectError(f"{path}: is {what}, and no {field} scan: use the scan itself")


def _refuse_empty(path: Path, volume: Volume) -> None:
    share = np.mean(volume.array != background_of(volume.array))
    if share < LEAST_FOREGROUND:
        raise SubjectError(
            f"{path}: is almost empty: {100 * share:.2g} % of its voxels are not background; use "
            "an image of a brain"
        )
