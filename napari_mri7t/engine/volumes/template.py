"""MNI space: the T1w template that nilearn includes, and the grid of the models."""

import numpy as np

from napari_mri7t.engine.volumes.volume import Volume

VOXEL_SIZE_MM = 1
MODEL_SHAPE = (182, 218, 182)  # FSL's MNI152 grid of 1 mm, on which the models were trained
MODEL_ORIGIN_MM = (-91.0, -126.0, -72.0)  # of the voxel (0, 0, 0), turned to RAS+


def load_template() -> Volume:
    """Load the MNI152 T1w template: brain-extracted, 1 mm.

    Returns
    -------
    Volume
        Shape (197, 233, 189), RAS+, intensities in [0, 1], background 0.

    References
    ----------
    .. [1] V. Fonov et al., Unbiased average age-appropriate atlases for pediatric studies,
       NeuroImage 54(1):313-327, 2011. DOI 10.1016/j.neuroimage.2010.07.033.

    Examples
    --------
    >>> load_template().voxel_size
    (1.0, 1.0, 1.0)
    """
    from nilearn.datasets import load_mni152_template  # two seconds: not at import

    image = load_mni152_template(resolution=VOXEL_SIZE_MM)
    array = np.asarray(image.dataobj, dtype=np.float32)
    return Volume(array, image.affine, name="MNI152")


def model_grid() -> Volume:
    """Return the empty grid of the models' space: 1 mm, MNI, RAS+."""
    affine = np.eye(4)
    affine[:3, 3] = MODEL_ORIGIN_MM
    return Volume(np.zeros(MODEL_SHAPE, np.float32), affine, name="MNI152")
