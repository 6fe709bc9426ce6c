"""What the name and the description of a scan tell against it, before it is synthesised."""

from napari_mri7t.engine.datasets.field_strength import field_warnings, nearest_field
from napari_mri7t.engine.datasets.names import (
    DEFAULT_SUFFIX,
    T1W_LIKE,
    anatomical_suffix,
    clean_stem,
    why_no_image,
)
from napari_mri7t.engine.volumes.files.dicom_t1w import T1W, other_contrast
from napari_mri7t.engine.volumes.files.sidecars import description_beside
from napari_mri7t.engine.volumes.volume import Volume


def scan_doubts(volume: Volume) -> tuple[str, ...]:
    """Return warnings of a scan that is no 3T T1w by its name, its JSON files or DICOM header.

    Parameters
    ----------
    volume : Volume
        As it was read; what was computed has no file that describes it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_mri7t.engine.volumes.volume import load_volume, save_volume
    >>> path = Path(tempfile.mkdtemp()) / "sub-01_ses-3T_FLAIR.nii.gz"
    >>> _ = save_volume(Volume(np.random.default_rng(0).random((9, 9, 9)), np.eye(4)), path)
    >>> scan_doubts(load_volume(path))
    ('this is no T1w scan by its name (FLAIR), and the models are for T1w scans',)
    """
    file = volume.geometry
    if file is None or file.computed:
        return ()
    if file.dicom is not None:
        said_by, what = "DICOM header", _other_series(file.dicom.description)
        is_7t = nearest_field(file.dicom.tesla or 0) == "7"
        field = ("this is a 7T scan by its DICOM header, and the models are for 3T scans",) * is_7t
    elif file.path is not None:
        said_by, what = "name", _other_kind(clean_stem(file.path))
        if not what:
            said_by, what = "JSON file", _other_series(description_beside(file.path))
        field = field_warnings(file.path, "3")
    else:
        return ()
    told = f"this is no T1w scan by its {said_by} ({what}), and the models are for T1w scans"
    return (told, *field) if what else field


def _other_series(description: str) -> str:
    """Return the word of a series' description that names no T1w image, where none names one."""
    return "" if T1W.search(description.replace("_", " ")) else other_contrast(description)


def _other_kind(name: str) -> str:
    """Return the word of a name that says another kind of image than a T1w; empty without one."""
    if why := why_no_image(name):
        return why.partition(":")[0].removesuffix(" in its name").strip('"')
    suffix = anatomical_suffix(name)
    return "" if suffix in (DEFAULT_SUFFIX, *T1W_LIKE) else suffix
