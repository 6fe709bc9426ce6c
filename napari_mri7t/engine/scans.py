"""Scans in a folder or a BIDS dataset, and where their estimates go in a BIDS derivative.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari_mri7t
from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.bids import BIDS_VERSION, DESCRIPTION_FILE
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.files.streams import extension_of, stem_of
from napari_mri7t.engine.provenance import NAME, NOTICE

DESCRIPTION = "synth7T"  # the label after desc-
DEFAULT_SUFFIX = "T1w"
SOURCE_LINK = "source"  # the input dataset, in BIDS URIs
ANATOMICAL_SUFFIXES = (
    "T1w", "T2w", "T2star", "FLAIR", "PDw", "PDT2", "inplaneT1", "inplaneT2", "UNIT1", "MP2RAGE",
    "MPRAGE", "MEGRE", "T1map", "defacemask",
)  # fmt: skip
ENTITIES = (
    "sub", "ses", "sample", "task", "acq", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo",
    "flip", "inv", "mt", "part", "proc", "hemi", "space", "split", "chunk", "res", "den", "label",
)  # fmt: skip  # in the order of the specification; desc is ours


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
    chosen = [
        path
        for path in volumes
        if _is_among(_entities(path).get("sub"), "sub-", wanted.participants)
        and _is_among(_entities(path).get("ses"), "ses-", wanted.sessions)
        and _is_among(stem_of(path).split("_")[-1] if is_bids else _suffix(path), "", suffixes)
    ]
    if not chosen:
        raise Mri7tError(
            f"{root}: none of its {len(volumes)} volumes is asked for: check --participant, "
            f"--session and --suffix ({volumes[0].name} is one that is there)"
        )
    scans = [Scan(p, p.relative_to(root).as_posix(), output_name(p)) for p in chosen]
    _refuse_equal_outputs(scans)
    return scans


def output_name(path: Path) -> str:
    """Name the estimate of a scan within a BIDS derivative.

    Parameters
    ----------
    path : Path
        The scan.

    Returns
    -------
    str
        E.g. "sub-01/ses-2/anat/sub-01_ses-2_desc-synth7T_T1w.nii.gz".
    """
    found = _entities(path)
    label = found.get("sub") or re.sub(r"[^0-9A-Za-z]", "", stem_of(path)) or "unnamed"
    known = {"sub": label} | {key: found[key] for key in ENTITIES[1:] if key in found}
    name = "_".join(f"{key}-{value}" for key, value in known.items())
    session = [f"ses-{known['ses']}"] if "ses" in known else []
    folders = "/".join([f"sub-{label}", *session, "anat"])
    return f"{folders}/{name}_desc-{DESCRIPTION}_{_suffix(path)}.nii.gz"


def start_derivative(folder: str | Path, source: str | Path) -> None:
    """Make a folder a BIDS derivative of ours, unless it is one already.

    Parameters
    ----------
    folder : str or Path
        Of the derivative; made where missing.
    source : str or Path
        The dataset it derives from: of this, only its DOI is named.

    Raises
    ------
    Mri7tError
        If the folder is the source, or holds another dataset.
    """
    place = Path(folder)
    if place.resolve() == Path(source).resolve():
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
    facts = _describe(_read_description(Path(source)).get("DatasetDOI"))
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    if not (place / "README").exists():
        write_atomically(place / "README", lambda file: file.write(_README.encode()))
    write_atomically(place / DESCRIPTION_FILE, lambda file: file.write(text.encode()))


_README = f"""Synthetic 7T-like T1w brain volumes
===================================

{NOTICE}

Made by {NAME} from 3T scans. The JSON file beside each volume names the scan and the
model it was made from, by their SHA-256, and every setting. Voxels lie where the scan's do.
"""


def _describe(doi: object) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "Name": "Synthetic 7T-like brain volumes",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": NAME, "Version": napari_mri7t.__version__, "Description": NOTICE}],
    }
    if isinstance(doi, str) and doi:
        url = _as_url(doi)
        facts |= {"SourceDatasets": [{"URL": url}], "DatasetLinks": {SOURCE_LINK: url}}
    return facts


def _as_url(doi: str) -> str:
    bare = re.sub(r"^(doi:|https?://(dx\.)?doi\.org/)", "", doi.strip(), flags=re.IGNORECASE)
    return f"https://doi.org/{bare}"


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION_FILE
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mri7tError(f"{path}: cannot be read ({error}): mend or remove it") from error
    if not isinstance(found, dict):
        raise Mri7tError(f"{path}: holds no description of a dataset: mend or remove it")
    return found


def _volumes(root: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in root.glob(pattern)
        if extension_of(path)
        and not extension_of(path).startswith(".img")  # a pair counts as its .hdr
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and f"desc-{DESCRIPTION}" not in path.name
        and path.is_file()
    )


def _entities(path: Path) -> dict[str, str]:
    """Read key-label pairs from a name; what is not of that form is passed over."""
    found = re.findall(r"(?:^|_)([a-z]+)-([0-9A-Za-z+]+)(?=_|$)", stem_of(path))
    return {key: label for key, label in found if key in ENTITIES}


def _suffix(path: Path) -> str:
    """Find what kind of image a name says it is."""
    parts = stem_of(path).split("_")
    return next((part for part in reversed(parts) if part in ANATOMICAL_SUFFIXES), DEFAULT_SUFFIX)


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
