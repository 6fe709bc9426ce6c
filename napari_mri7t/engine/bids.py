"""A folder of results as a BIDS derivative: names from names, and what describes the dataset.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html
"""

import json
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

import napari_mri7t
from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.domain import is_brain_extracted
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.json_files import read_json
from napari_mri7t.engine.provenance import NAME, NOTICE
from napari_mri7t.engine.volume import Volume

BIDS_VERSION = "1.10.0"
DESCRIPTION_FILE = "dataset_description.json"
SOURCE_LINK = "source"  # the input dataset, in BIDS URIs
ESTIMATE = "synth7T"  # the label after desc-
DESCRIPTIONS = {"synthesize": ESTIMATE, "simulate": "pseudo3T"}
AS_OPENED = "input"
DEFAULT_SUFFIX = "T1w"
ANATOMICAL_SUFFIXES = (
    "T1w", "T2w", "T2star", "FLAIR", "PDw", "PDT2", "inplaneT1", "inplaneT2", "UNIT1", "MP2RAGE",
    "MPRAGE", "MEGRE", "T1map", "defacemask",
)  # fmt: skip
ENTITIES = (
    "sub", "ses", "sample", "task", "acq", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo",
    "flip", "inv", "mt", "part", "proc", "hemi", "space", "split", "chunk", "res", "den", "label",
)  # fmt: skip  # in the order of the specification; desc is ours


def derivative_path(
    name: str, made_by: str | None = None, taken: Collection[PurePosixPath] = ()
) -> PurePosixPath:
    """Name a volume within a BIDS derivative.

    Parameters
    ----------
    name : str
        Of a layer, or of a file without its extension: the BIDS entities and the suffix in it are
        kept; without `sub-` its letters and digits become the subject's label.
    made_by : str, optional
        What made it ("synthesize", "simulate"); None for a volume as it was opened.
    taken : collection of PurePosixPath
        Paths given already; the description gets a number where the path is one of them.

    Returns
    -------
    PurePosixPath
        E.g. ``sub-01/ses-2/anat/sub-01_ses-2_desc-synth7T_T1w.nii.gz``.
    """
    found = entities(name)
    found.setdefault("sub", re.sub(r"[^0-9A-Za-z]", "", name) or "unnamed")
    stem = "_".join(f"{key}-{found[key]}" for key in ENTITIES if key in found)
    folder = PurePosixPath(f"sub-{found['sub']}")
    if "ses" in found:
        folder /= f"ses-{found['ses']}"
    description = AS_OPENED if made_by is None else DESCRIPTIONS.get(made_by, made_by)
    number = 1
    while True:
        label = description if number == 1 else f"{description}{number}"
        path = folder / "anat" / f"{stem}_desc-{label}_{anatomical_suffix(name)}.nii.gz"
        if path not in taken:
            return path
        number += 1


def entities(name: str) -> dict[str, str]:
    """Read the BIDS entities in a name; what is not of that form is passed over.

    Parameters
    ----------
    name : str
        E.g. "sub-01_ses-2_T1w".

    Returns
    -------
    dict of str to str
        Key to label, e.g. {"sub": "01", "ses": "2"}.
    """
    found = re.findall(r"(?:^|_)([a-z]+)-([0-9A-Za-z+]+)(?![0-9A-Za-z+-])", name)
    return {key: label for key, label in found if key in ENTITIES}


def anatomical_suffix(name: str) -> str:
    """Find what kind of image a name says it is.

    Parameters
    ----------
    name : str
        E.g. "sub-01_T2w".

    Returns
    -------
    str
        E.g. "T2w"; "T1w" where the name does not say.
    """
    parts = re.split(r"[_ ]", name)
    return next((part for part in reversed(parts) if part in ANATOMICAL_SUFFIXES), DEFAULT_SUFFIX)


def bids_sidecar(
    facts: dict[str, Any] | None, volume: Volume, uri: str | None = None
) -> dict[str, Any]:
    """Say of an image what BIDS asks for in a derivative: the sources' digests stand apart.

    Parameters
    ----------
    facts : dict or None
        As `provenance.sidecar` gives; None for a volume as it was opened.
    volume : Volume
        The image.
    uri : str, optional
        Of the source, where it lies in a dataset.

    Returns
    -------
    dict
    """
    extracted = is_brain_extracted(volume.array)
    if facts is None:
        return {"Description": "A scan as it was opened", "SkullStripped": extracted}
    rest = {key: value for key, value in facts.items() if key != "Sources"}
    return rest | {
        "Description": facts["Notice"],
        "SkullStripped": extracted,
        **({} if uri is None else {"Sources": [uri]}),
        "SourceFiles": facts["Sources"],
    }


def start_derivative(folder: str | Path, source: str | Path | None = None) -> None:
    """Make a folder a BIDS derivative of ours, unless it is one already.

    Parameters
    ----------
    folder : str or Path
        Of the derivative; made where missing.
    source : str or Path, optional
        The dataset it derives from, where it is one: of this, only its DOI is named.

    Raises
    ------
    Mri7tError
        If the folder is the source, or holds another dataset.
    """
    place = Path(folder)
    if source is not None and place.resolve() == Path(source).resolve():
        raise Mri7tError(f"{place}: is the input: give another folder for the estimates")
    description = _read_description(place)
    if description:
        makers = description.get("GeneratedBy")
        names = [maker.get("Name") for maker in makers] if isinstance(makers, list) else []
        if NAME not in names:
            raise Mri7tError(
                f"{place / DESCRIPTION_FILE}: describes a dataset that {NAME} did not make: give "
                "another folder"
            )
        return
    place.mkdir(parents=True, exist_ok=True)
    facts = _describe({} if source is None else _read_description(Path(source)))
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    if not (place / "README").exists():
        write_atomically(place / "README", lambda file: file.write(_README.encode()))
    write_atomically(place / DESCRIPTION_FILE, lambda file: file.write(text.encode()))


_README = f"""Volumes written by {NAME}
{"=" * len(f"Volumes written by {NAME}")}

desc-{ESTIMATE}: synthetic 7T-like brain volumes, made from 3T scans. {NOTICE}
desc-{DESCRIPTIONS["simulate"]}: simulated 3T volumes, made from 7T scans.
desc-{AS_OPENED}: scans as they were opened.

The JSON file beside a computed volume names the scan and the model it was made from, by their
SHA-256, and every setting. Voxels lie where the scan's do.
"""


def _describe(source: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "Name": f"Volumes written by {NAME}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": NAME, "Version": napari_mri7t.__version__, "Description": NOTICE}],
    }
    doi = source.get("DatasetDOI")
    if isinstance(doi, str) and doi:
        bare = re.sub(r"^(doi:|https?://(dx\.)?doi\.org/)", "", doi.strip(), flags=re.IGNORECASE)
        url = f"https://doi.org/{bare}"
        facts |= {"SourceDatasets": [{"URL": url}], "DatasetLinks": {SOURCE_LINK: url}}
    return facts


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION_FILE
    if not path.exists():
        return {}
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise Mri7tError(f"{path}: cannot be read ({error}): mend or remove it") from error
    if not isinstance(found, dict):
        raise Mri7tError(f"{path}: holds no description of a dataset: mend or remove it")
    return found
