"""The MNI152 T1w template that nilearn includes: a real brain without a download."""

import numpy as np

from napari_mri7t.engine.volumes.volume import Volume

VOXEL_SIZE_MM = 1


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
