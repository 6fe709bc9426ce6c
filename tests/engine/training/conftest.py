"""A study small enough to train in seconds: three phantoms that differ in contrast."""

import nibabel
import numpy as np
import pytest


@pytest.fixture
def dataset(phantom, tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        array = (255 * phantom.array**power).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, phantom.affine), folder / f"{name}.nii.gz")
    return folder
