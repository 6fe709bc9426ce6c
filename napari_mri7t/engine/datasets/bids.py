"""Scans in a folder or BIDS dataset, and results in a BIDS derivative.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import napari_mri7t
from napari_mri7t.engine.atomic import read_json, write_content, write_json
from napari_mri7t.engine.datasets.files import ESTIMATE, find_volumes
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.brain import is_brain_extracted
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.provenance import NAME, NOTICE
from napari_mri7t.engine.volumes.volume import Volume, load_volume

BIDS_VERSION = "1.10.0"
DESCRIPTION_FILE = "dataset_description.json"
SOURCE_LINK = "source"  # the input dataset, in BIDS URIs
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
)  # fmt: skip  # in the order of the specification; desc is added here
README = f"""Volumes written by {NAME}
{"=" * len(f"Volumes written by {NAME}")}

desc-{ESTIMATE}: synthetic 7T-like brain volumes, made from 3T scans. {NOTICE}
desc-{DESCRIPTIONS["simulate"]}: simulated 3T volumes, made from 7T scans.
desc-{AS_OPENED}: scans as they were opened.

The JSON file beside a computed volume names the scan and the model it was made from, by their
SHA-256, and every setting. Computed volumes share the grid of their scan.
"""


@dataclass(frozen=True)
class ScanFilter:
    """Which scans of a dataset to select; empty means all.

    Parameters
    ----------
    participants, sessions : tuple of str
        Labels, with or without `sub-` and `ses-`.
    suffixes : tuple of str
        E.g. "T1w", the default in a BIDS dataset.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """A 3T scan to synthesise from.

    Parameters
    ----------
    path : Path
        The 3T volume.
    name : str
        Its path within the input folder, for messages.
    output : str
        Path of the estimate within the derivative, with "/".
    """

    path: Path
    name: str
    output: str


def find_scans(folder: str | Path, wanted: ScanFilter = ScanFilter()) -> list[Scan]:
    """Find the scans of a BIDS dataset, or of a plain folder of volumes.

    The results of a plain folder get BIDS names, as `derivative_path` makes them.

    Parameters
    ----------
    folder : str or Path
        A BIDS dataset has folders `sub-*`.
    wanted : ScanFilter

    Returns
    -------
    list of Scan
        Sorted by path.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    Mri7tError
        If it holds no such scan, or two scans would get the same name in the derivative.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder: choose a folder of volumes or BIDS")
    in_subjects = find_volumes(root, "sub-*/**/*")
    is_bids = bool(in_subjects)
    volumes = in_subjects or find_volumes(root)
    if not volumes:
        raise Mri7tError(
            f"{root}: holds no volume: choose a folder of NIfTI files or a BIDS dataset"
        )
    suffixes = wanted.suffixes or ((DEFAULT_SUFFIX,) if is_bids else ())
    chosen = []
    for path in volumes:
        stem = stem_of(path)
        suffix = stem.split("_")[-1] if is_bids else anatomical_suffix(stem)
        if (
            _is_among(entities(stem).get("sub"), "sub-", wanted.participants)
            and _is_among(entities(stem).get("ses"), "ses-", wanted.sessions)
            and _is_among(suffix, "", suffixes)
        ):
            chosen.append(path)
    if not chosen:
        raise Mri7tError(
            f"{root}: none of its {len(volumes)} volumes matches ({volumes[0].name} is one of "
            "them): check the participants, sessions and suffixes",
            argument="participant",
        )
    scans = [
        Scan(p, p.relative_to(root).as_posix(), str(derivative_path(stem_of(p), "synthesize")))
        for p in chosen
    ]
    _refuse_equal_outputs(scans)
    return scans


def _is_among(label: str | None, prefix: str, wanted: Sequence[str]) -> bool:
    return not wanted or label in {text.removeprefix(prefix) for text in wanted}


def _refuse_equal_outputs(scans: Sequence[Scan]) -> None:
    first: dict[str, Scan] = {}
    for scan in scans:
        other = first.setdefault(scan.output.lower(), scan)  # some disks ignore case
        if other is not scan:
            raise Mri7tError(
                f"{scan.name} and {other.name}: both would become {scan.output}: choose one by "
                "participant, session or suffix, or rename one",
                argument="participant",
            )


def load_scan(path: Path, index: int | None) -> Volume:
    """Load a scan that may be 3-D or 4-D.

    Parameters
    ----------
    path : Path
    index : int or None
        Which volume of a 4-D file, from 0; ignored for a 3-D file.

    Raises
    ------
    FileNotFoundError, VolumeError
        As `load_volume`.
    """
    if index is None:
        return load_volume(path)
    header, _ = read_header(path)
    return load_volume(path, index=index if header.n_volumes > 1 else None)


def derivative_path(
    name: str, made_by: str | None = None, taken: Collection[PurePosixPath] = ()
) -> PurePosixPath:
    """Return the path of a volume within a BIDS derivative.

    Parameters
    ----------
    name : str
        Of a layer, or of a file without its extension. Its BIDS entities and suffix are preserved;
        without `sub-`, its letters and digits become the participant label.
    made_by : str, optional
        What made it ("synthesize", "simulate"); None for a volume as it was opened.
    taken : collection of PurePosixPath
        Paths in use; the description gets a number to avoid them.

    Examples
    --------
    >>> str(derivative_path("sub-01_ses-2_T1w", "synthesize"))
    'sub-01/ses-2/anat/sub-01_ses-2_desc-synth7T_T1w.nii.gz'
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
    """Return the BIDS entities in a name, and ignore the rest.

    Returns
    -------
    dict of str to str
        Key to label.

    Examples
    --------
    >>> entities("sub-01_ses-2_T1w")
    {'sub': '01', 'ses': '2'}
    """
    found = re.findall(r"(?:^|_)([a-z]+)-([0-9A-Za-z+]+)(?![0-9A-Za-z+-])", name)
    return {key: label for key, label in found if key in ENTITIES}


def anatomical_suffix(name: str) -> str:
    """Return the BIDS suffix in a name, e.g. "T2w"; "T1w" without one.

    Parameters
    ----------
    name : str
        E.g. "sub-01_T2w".
    """
    parts = re.split(r"[_ ]", name)
    return next((part for part in reversed(parts) if part in ANATOMICAL_SUFFIXES), DEFAULT_SUFFIX)


def bids_sidecar(
    facts: dict[str, Any] | None, volume: Volume, uri: str | None = None
) -> dict[str, Any]:
    """Return the sidecar of an image in a BIDS derivative.

    BIDS requires URIs as `Sources`, so the digests of the source files become `SourceFiles`.

    Parameters
    ----------
    facts : dict or None
        From `provenance.sidecar`; None for a volume as it was opened.
    volume : Volume
        The image.
    uri : str, optional
        Of the source, if it is part of a dataset.
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
    """Create a BIDS derivative of this package, unless the folder is one already.

    Parameters
    ----------
    folder : str or Path
        Of the derivative; created if missing.
    source : str or Path, optional
        The input dataset, of which only the DOI is recorded.

    Raises
    ------
    Mri7tError
        If the folder is the source, or holds a dataset made by other software.
    """
    place = Path(folder)
    if source is not None and place.resolve() == Path(source).resolve():
        raise Mri7tError(f"{place}: is the input: choose another folder for the results")
    description = _read_description(place)
    if description:
        makers = description.get("GeneratedBy")
        names = [maker.get("Name") for maker in makers] if isinstance(makers, list) else []
        if NAME not in names:
            raise Mri7tError(
                f"{place / DESCRIPTION_FILE}: describes a dataset that {NAME} did not create: "
                "choose another folder"
            )
        return
    place.mkdir(parents=True, exist_ok=True)
    facts = _describe({} if source is None else _read_description(Path(source)))
    if not (place / "README").exists():
        write_content(place / "README", README)
    write_json(place / DESCRIPTION_FILE, facts)


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
        raise Mri7tError(f"{path}: cannot be read ({error}): fix or remove it") from error
    if not isinstance(found, dict):
        raise Mri7tError(f"{path}: is not a description of a dataset: fix or remove it")
    return found
