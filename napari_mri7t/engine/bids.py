"""A folder of results as a BIDS derivative: names from names, and the dataset's description.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html
"""

import json
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import napari_mri7t
from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.provenance import NAME, NOTICE

BIDS_VERSION = "1.10.0"
DESCRIPTION_FILE = "dataset_description.json"
ENTITIES = ("sub", "ses", "acq", "ce", "rec", "run")  # in the order that BIDS wants, then desc
DESCRIPTIONS = {"synthesize": "synthetic7T", "simulate": "pseudo3T"}
AS_OPENED = "input"


def derivative_path(
    name: str, made_by: str | None = None, taken: Collection[PurePosixPath] = ()
) -> PurePosixPath:
    """Name a T1w volume within a BIDS derivative.

    Parameters
    ----------
    name : str
        Of a file or layer: the BIDS entities in it are kept; a name without `sub-` becomes the
        subject's label.
    made_by : str, optional
        What made it ("synthesize", "simulate"); None for a volume as it was opened.
    taken : collection of PurePosixPath
        Paths given already; the description gets a number where the path is one of them.

    Returns
    -------
    PurePosixPath
        E.g. ``sub-01/anat/sub-01_desc-synthetic7T_T1w.nii.gz``.
    """
    found = dict(re.findall(rf"(?<![0-9A-Za-z])({'|'.join(ENTITIES)})-([0-9A-Za-z]+)", name))
    found.setdefault("sub", re.sub(r"[^0-9A-Za-z]", "", name) or "unnamed")
    stem = "_".join(f"{key}-{found[key]}" for key in ENTITIES if key in found)
    folder = PurePosixPath(f"sub-{found['sub']}")
    if "ses" in found:
        folder /= f"ses-{found['ses']}"
    description = AS_OPENED if made_by is None else DESCRIPTIONS.get(made_by, made_by)
    number = 1
    while True:
        label = description if number == 1 else f"{description}{number}"
        path = folder / "anat" / f"{stem}_desc-{label}_T1w.nii.gz"
        if path not in taken:
            return path
        number += 1


def write_description(folder: Path) -> Path:
    """Describe a derivative dataset; a description that is there already stays.

    Parameters
    ----------
    folder : Path
        Of the dataset; must exist.

    Returns
    -------
    Path
        The description.
    """
    path = folder / DESCRIPTION_FILE
    if path.exists():
        return path
    content = {
        "Name": "Volumes written by napari-mri7t",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": NAME, "Version": napari_mri7t.__version__}],
        "HowToAcknowledge": NOTICE,
    }
    text = json.dumps(content, indent=2) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))
