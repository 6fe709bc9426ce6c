"""A folder of results as a BIDS derivative: names from names, and what describes the dataset.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html

Scans in a folder or a BIDS dataset, and where their estimates go in a BIDS derivative.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import napari_mri7t
from napari_mri7t.engine.atomic import read_json, write_atomically
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.brain import is_brain_extracted
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of
from napari_mri7t.engine.volumes.provenance import NAME, NOTICE
from napari_mri7t.engine.volumes.volume import Volume, load_volume

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


@dataclass(frozen=True)
class ScanFilter:
    """Which scans of a dataset are wanted; empty means any.

    Parameters
    ----------
    participants, sessions : tuple of str
        Labels, with or without `sub-` and `ses-`.
    suffixes : tuple of str
        E.g. "T1w"; of a BIDS dataset, empty means that one.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """A volume to be synthesised.

    Parameters
    ----------
    path : Path
        The 3T volume.
    name : str
        Its path within the input folder, for people.
    output : str
        Path of the estimate within the derivative, with "/".
    """

    path: Path
    name: str
    output: str


def find_scans(folder: str | Path, wanted: ScanFilter = ScanFilter()) -> list[Scan]:
    """Find the scans of a BIDS dataset, or of a plain folder of volumes.

    A plain folder's names become BIDS names: what they hold of entities (`sub-01_ses-2_...`) is
    kept, otherwise the letters and digits of the name are the participant's label.

    Parameters
    ----------
    folder : str or Path
        A BIDS dataset has folders `sub-*`.
    wanted : ScanFilter

    Returns
    -------
    list of Scan
        In the order of their names.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    Mri7tError
        If it holds no such scan, or two scans would have one name in the derivative.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder: give a folder of volumes or BIDS")
    volumes = _volumes(root, "sub-*/**/*")
    is_bids = bool(volumes)
    if not is_bids:
        volumes = _volumes(root, "*")
    if not volumes:
        raise Mri7tError(f"{root}: holds no volume: give a folder of NIfTI files or a BIDS dataset")
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
            f"{root}: none of its {len(volumes)} volumes is asked for: check --participant, "
            f"--session and --suffix ({volumes[0].name} is one that is there)"
        )
    scans = [
        Scan(p, p.relative_to(root).as_posix(), str(derivative_path(stem_of(p), "synthesize")))
        for p in chosen
    ]
    _refuse_equal_outputs(scans)
    return scans


def load_scan(path: Path, index: int | None) -> Volume:
    """Load a scan of which it is not known whether it is 4-D.

    Parameters
    ----------
    path : Path
    index : int or None
        Which volume of a 4-D file, from 0; of a 3-D file it decides nothing.

    Returns
    -------
    Volume

    Raises
    ------
    FileNotFoundError, VolumeError
        As `load_volume`.
    """
    if index is None:
        return load_volume(path)
    header, _ = read_header(path)
    return load_volume(path, index=index if header.n_volumes > 1 else None)


def _volumes(root: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in root.glob(pattern)
        if extension_of(path)
        and not extension_of(path).startswith(".img")  # a pair counts as its .hdr
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and f"desc-{ESTIMATE}" not in path.name
        and path.is_file()
    )


def _is_among(label: str | None, prefix: str, wanted: Sequence[str]) -> bool:
    return not wanted or label in {text.removeprefix(prefix) for text in wanted}


def _refuse_equal_outputs(scans: Sequence[Scan]) -> None:
    first: dict[str, Scan] = {}
    for scan in scans:
        other = first.setdefault(scan.output.lower(), scan)  # some disks ignore case
        if other is not scan:
            raise Mri7tError(
                f"{scan.name} and {other.name}: both would give {scan.output}: choose one with "
                "--participant, --session or --suffix, or rename one"
            )
