"""A head for the preparation of raw scans."""

import numpy as np
import pytest

from napari_mri7t.engine.volume import Volume, save_volume

HEAD_SHAPE = (44, 54, 42)  # of 4 mm: a head in 0.1 million voxels
HEAD_MM = 4.0


@pytest.fixture
def head():
    """An uneven brain of 1.3 litres with a skull around it, in voxels of 4 mm; no symmetry."""
    axes = [np.arange(n) * HEAD_MM for n in HEAD_SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    x, y, z = x - 86, y - 106, z - 82
    radius = np.sqrt((x / 62) ** 2 + (y / 78) ** 2 + (z / 62) ** 2)
    brain = (radius < 1) * (600 + 200 * np.sin(x / 9) * np.cos(y / 13 + z / 11) + y + 2 * z)
    skull = 300.0 * ((radius > 1.15) & (radius < 1.25))
    affine = np.diag([HEAD_MM] * 3 + [1.0])
    affine[:3, 3] = (-86, -126, -72)
    return Volume(brain + skull, affine, name="head"), radius < 1


@pytest.fixture
def brain(head):
    scan, mask = head
    return scan.with_array(scan.array * mask, name="brain")


@pytest.fixture
def mask_file(head, tmp_path):
    scan, mask = head
    return save_volume(scan.with_array(mask), tmp_path / "mask.nii.gz")
