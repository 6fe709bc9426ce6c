"""Results in a BIDS derivative: their names, sidecars and the description of the dataset.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import napari_mri7t
from napari_mri7t.engine.atomic import read_object, write_content, write_json
from napari_mri7t.engine.datasets.files import ESTIMATE, IGNORE_FILE, LARGEST_IGNORE
from napari_mri7t.engine.datasets.names import (
    ENTITIES,
    allowed_label,
    anatomical_suffix,
    entities,
)
from napari_mri7t.engine.errors import Mri7tError, unreadable
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.system import container_facts
from napari_mri7t.engine.volumes.brain import is_brain_extracted
from napari_mri7t.engine.volumes.digests import file_digests
from napari_mri7t.engine.volumes.files.dicom import DicomSeries, digest_of
from napari_mri7t.engine.volumes.files.sidecars import NAME
from napari_mri7t.engine.volumes.provenance import NOTICE, describe_source
from napari_mri7t.engine.volumes.volume import Volume, load_dicom, load_volume

BIDS_VERSION = "1.10.0"
DESCRIPTION_FILE = "dataset_description.json"
SOURCE_LINK = "source"  # the input dataset, in BIDS URIs
DESCRIPTIONS = {
    "synthesize": ESTIMATE,
    "uncertainty": f"{ESTIMATE}Uncertainty",
    "simulate": "pseudo3T",
}
AS_OPENED = "input"
MNI_SPACE = "MNI152NLin6Asym"  # BIDS's name of FSL's template, on which the models were trained
LOG_FOLDER, FIGURE_FOLDER = "logs", "figures"
SUMMARY_FILE = "batch.json"  # in the folder of logs: the outcome of each scan
QUALITY_PAGE, QUALITY_TABLE = "quality.html", "group_quality.tsv"
IGNORED = (
    f"{LOG_FOLDER}/",
    FIGURE_FOLDER,
    QUALITY_PAGE,
    "group_quality.*",
    "*_xfm.*",
    "*_desc-biasfield*",
)
LABELS = {  # after desc-
    ESTIMATE: f"Synthetic 7T-like image, made from a 3T scan. {NOTICE}",
    DESCRIPTIONS["uncertainty"]: "Uncertainty of such an image: half of the width of the 90 % "
    "interval around each voxel, in the image's intensities.",
    DESCRIPTIONS["simulate"]: "Simulated 3T image, made from a 7T scan.",
    AS_OPENED: "Scan as it was opened.",
    "brain": "Brain mask of the scan.",
    "biasfield": "Bias field of the scan, by which its intensities were divided.",
}
LABELS_FILE = "descriptions"
README = f"""Volumes written by {NAME}
{"=" * len(f"Volumes written by {NAME}")}

desc-{ESTIMATE}: synthetic 7T-like brain volumes, made from 3T scans. {NOTICE}
desc-{DESCRIPTIONS["uncertainty"]}: how uncertain such a volume is, voxel by voxel.
desc-{DESCRIPTIONS["simulate"]}: simulated 3T volumes, made from 7T scans.
desc-{AS_OPENED}: scans as they were opened.
ses-3T and ses-7T, without desc-: pairs of scans on one grid, ready for training; desc-brain: their
common mask.

{QUALITY_PAGE} and the folders {FIGURE_FOLDER} show how each scan was prepared: look at them first.
The JSON file beside a computed volume names the scan and the model it was made from, by their
SHA-256, and every setting. Computed volumes share the grid of their scan.
"""


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
    dicom : DicomSeries, optional
        The series that is converted; `path` is then its folder, which may be named after the
        patient: messages name the scan by `name` alone.
    where : str
        Where its folder is, in words that tell no patient; empty if `name` tells it.
    """

    path: Path
    name: str
    output: str
    dicom: DicomSeries | None = None
    where: str = ""


def source_uri(scan: Scan) -> str | None:
    """Return the BIDS URI of a scan within the input; None for one that is converted."""
    if scan.dicom is not None:
        return None
    return f"bids:{SOURCE_LINK}:{quote(scan.name, errors='surrogateescape')}"


def load_scan(scan: Scan | Path, index: int | None) -> Volume:
    """Load a scan that may be 3-D or 4-D.

    Parameters
    ----------
    scan : Scan or Path
        A path as for `load_volume`.
    index : int or None
        Which volume of a 4-D file or DICOM series, from 0; ignored where there is one.

    Raises
    ------
    FileNotFoundError, VolumeError
        As `load_volume`.
    """
    if isinstance(scan, Scan) and scan.dicom is not None:
        return load_dicom(scan.dicom, index=index, or_only=True)
    return load_volume(scan.path if isinstance(scan, Scan) else scan, index=index, or_only=True)


def scan_digests(scan: Scan) -> list[str]:
    """Return the SHA-256 of what a scan consists of, as its sidecars record it.

    Returns
    -------
    list of str
        One a file; one for all files of a DICOM series.

    Raises
    ------
    FileNotFoundError, VolumeError
        If a file is missing or cannot be read.
    """
    if scan.dicom is not None:
        return [digest_of(scan.dicom)]
    return file_digests(scan.path)


def derivative_path(
    name: str,
    made_by: str | None = None,
    taken: Collection[PurePosixPath] = (),
    mark: str = "",
) -> PurePosixPath:
    """Return the path of a volume within a BIDS derivative.

    Parameters
    ----------
    name : str
        Of a layer, or of a file without its extension. Its BIDS entities and suffix are preserved;
        without `sub-`, its letters and digits become the participant label, as ASCII, and so do
        those of a label that BIDS does not allow, as in `sub-Müller` or `ses-pre-op`. Where some
        have no likeness in ASCII, `mark_of` the name is added.
    made_by : str, optional
        What made it ("synthesize", "simulate"); None for a volume as it was opened.
    taken : collection of PurePosixPath
        Paths in use, whatever their case; the description gets a number to avoid them.
    mark : str
        Letters and digits that tell the name from others; they follow a label made from the name,
        or the description.

    Examples
    --------
    >>> str(derivative_path("sub-01_ses-2_T1w", "synthesize"))
    'sub-01/ses-2/anat/sub-01_ses-2_desc-synth7T_T1w.nii.gz'
    """
    found = entities(name)
    description = AS_OPENED if made_by is None else DESCRIPTIONS.get(made_by, made_by)
    if "sub" in found:
        description += mark
    else:
        own = re.match(r"sub-([^_]+)", name)
        found["sub"] = allowed_label(own[1] if own else name, mark) or "unnamed"
    odd = re.findall(r"(?:^|_)([a-z]+)-([^_\s.()\[\]]+)", name)
    found |= {
        key: label for key, text in odd if key not in found and (label := allowed_label(text))
    }
    stem = "_".join(f"{key}-{found[key]}" for key in ENTITIES if key in found)
    folder = PurePosixPath(f"sub-{found['sub']}")
    if "ses" in found:
        folder /= f"ses-{found['ses']}"
    known = {str(path).casefold() for path in taken}
    number = 1
    while True:
        label = description if number == 1 else f"{description}{number}"
        path = folder / "anat" / f"{stem}_desc-{label}_{anatomical_suffix(name)}.nii.gz"
        if str(path).casefold() not in known:
            return path
        number += 1


def in_space(path: str, space: str) -> str:
    """Return the path of a volume within a derivative, with the space it was resampled to.

    The space that the name had before follows the description: another scan may differ in it alone.

    Examples
    --------
    >>> in_space("sub-01/anat/sub-01_space-T2w_desc-synth7T_T1w.nii.gz", MNI_SPACE)
    'sub-01/anat/sub-01_space-MNI152NLin6Asym_desc-synth7TT2w_T1w.nii.gz'
    >>> in_space("sub-01/anat/sub-01_run-1_desc-synth7T_T1w.nii.gz", MNI_SPACE)
    'sub-01/anat/sub-01_run-1_space-MNI152NLin6Asym_desc-synth7T_T1w.nii.gz'
    """
    known = PurePosixPath(path)
    stem, _, rest = known.name.partition("_desc-")
    label, _, suffix = rest.partition("_")
    found = entities(stem)
    label += found.get("space", "")
    found["space"] = space
    name = "_".join(f"{key}-{found[key]}" for key in ENTITIES if key in found)
    return str(known.with_name(f"{name}_desc-{label}_{suffix}"))


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
    extracted = is_brain_extracted(volume)
    if facts is None:
        return {
            "Description": "A scan as it was opened",
            "SkullStripped": extracted,
            "SourceFiles": describe_source(volume),
        }
    rest = {key: value for key, value in facts.items() if key != "Sources"}
    return rest | {
        "Description": facts.get("Description", facts["Notice"]),
        "SkullStripped": extracted,
        **({} if uri is None else {"Sources": [uri]}),
        "SourceFiles": facts["Sources"],
    }


def start_derivative(folder: str | Path, source: str | Path | None = None) -> None:
    """Create a BIDS derivative of this package, unless the folder is one already.

    The `.bidsignore` of such a derivative around it lists it: BIDS knows no dataset there.

    Parameters
    ----------
    folder : str or Path
        Of the derivative; created if missing.
    source : str or Path, optional
        The input dataset, of which the authors and the DOI are recorded.

    Raises
    ------
    Mri7tError
        If the folder is the source or a file, or holds a dataset made by other software.
    """
    place = Path(folder)
    if not check_derivative(place, source):
        place.mkdir(parents=True, exist_ok=True)
        facts = _describe({} if source is None else _read_description(Path(source)))
        if not (place / "README").exists():
            write_content(place / "README", README)
        write_json(place / DESCRIPTION_FILE, facts)
    _describe_labels(place)
    ignore_own_files(place)
    whole = place.resolve()
    for around in whole.parents:
        if _is_derivative(around):
            _ignore(around, [f"{whole.relative_to(around).as_posix()}/"])


def check_derivative(folder: str | Path, source: str | Path | None = None) -> bool:
    """Return whether a folder is a derivative of this package; refuse what cannot become one.

    Parameters
    ----------
    folder, source
        As for `start_derivative`; nothing is written.

    Raises
    ------
    Mri7tError
        As `start_derivative`.
    """
    place = Path(folder)
    if source is not None:
        check_not_input(place, source)
    nearest = next((each for each in (place, *place.parents) if each.exists()), place)
    if nearest.exists() and not nearest.is_dir():
        raise Mri7tError(f"{nearest}: is a file: choose another name for the folder of the results")
    description = _read_description(place)
    if description and not _is_own(description):
        raise Mri7tError(
            f"{place / DESCRIPTION_FILE}: describes a dataset that {NAME} did not create: "
            "choose another folder"
        )
    ours = (QUALITY_PAGE, QUALITY_TABLE, f"{LOG_FOLDER}/{SUMMARY_FILE}")
    there = [place / name for name in ours if os.path.lexists(place / name)]
    if there and not description:
        raise Mri7tError(
            f"{there[0]}: would be replaced, and {NAME} has not made it: choose another folder"
        )
    return bool(description)


def check_not_input(folder: str | Path, source: str | Path) -> None:
    """Refuse to put results among the scans, as one folder would be both from then on.

    Parameters
    ----------
    folder : str or Path
        Of results.
    source : str or Path
        Of the scans.

    Raises
    ------
    Mri7tError
        If these are one folder.
    """
    if Path(folder).resolve() == Path(source).resolve():
        raise Mri7tError(f"{folder}: is the input: choose another folder for the results")


def _describe_labels(folder: Path) -> None:
    """Write what each label after `desc-` means, unless there is such a table."""
    table, words = (folder / f"{LABELS_FILE}{end}" for end in (".tsv", ".json"))
    if table.exists():
        return
    rows = "".join(f"desc-{label}\t{text}\n" for label, text in LABELS.items())
    columns = {
        "desc_id": {"Description": "Label after desc-; digits after it tell equal names apart"},
        "description": {"Description": "What such a file holds"},
    }
    if not words.exists():
        write_json(words, {"Description": "Labels of this dataset's files", **columns})
    write_content(table, f"desc_id\tdescription\n{rows}")


def ignore_own_files(folder: Path) -> None:
    """List in a derivative's `.bidsignore` what BIDS has no names for; other lines stay.

    Parameters
    ----------
    folder : Path
        Of the derivative; exists.
    """
    _ignore(folder, IGNORED)


def _ignore(folder: Path, lines: Sequence[str]) -> None:
    text = read_ignore_file(folder)
    missing = [line for line in lines if line not in text.split("\n")]
    if missing:
        start = text if not text or text.endswith("\n") else f"{text}\n"
        whole = start + "".join(f"{line}\n" for line in missing)
        write_ignore_file(folder, whole)


def read_ignore_file(folder: Path) -> str:
    """Return the text of a derivative's `.bidsignore`, empty if there is none.

    Raises
    ------
    Mri7tError
        If it cannot be read.
    """
    path = folder / IGNORE_FILE
    try:
        return read_regular(path, LARGEST_IGNORE).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Mri7tError(unreadable(path, error)) from error


def write_ignore_file(folder: Path, text: str) -> None:
    """Replace a derivative's `.bidsignore` by a text as `read_ignore_file` returns it."""
    write_content(folder / IGNORE_FILE, text.encode("utf-8", "surrogateescape"))


def check_dataset(folder: Path) -> None:
    """Refuse a folder that does not say that it is a BIDS dataset.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    Mri7tError
        If its description is missing or cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder: check the path")
    if not _read_description(folder):
        raise Mri7tError(
            f"{folder / DESCRIPTION_FILE}: is missing, so this is no BIDS dataset: add "
            "it, or process the folder as one without BIDS"
        )


def _describe(source: dict[str, Any]) -> dict[str, Any]:
    version = napari_mri7t.__version__
    maker: dict[str, Any] = {"Name": NAME, "Version": version, "Description": NOTICE}
    if container := container_facts():
        maker["Container"] = container
    facts: dict[str, Any] = {
        "Name": f"Volumes written by {NAME}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [maker],
    }
    authors = source.get("Authors")  # their images are in these
    if isinstance(authors, list) and authors and all(isinstance(each, str) for each in authors):
        facts["Authors"] = authors
    doi = source.get("DatasetDOI")
    if isinstance(doi, str) and doi:
        bare = re.sub(r"^(doi:|https?://(dx\.)?doi\.org/)", "", doi.strip(), flags=re.IGNORECASE)
        url = f"https://doi.org/{bare}"
        facts |= {"SourceDatasets": [{"URL": url}], "DatasetLinks": {SOURCE_LINK: url}}
    return facts


def _is_derivative(folder: Path) -> bool:
    try:
        return _is_own(_read_description(folder))
    except Mri7tError:  # what cannot be read is not ours
        return False


def _is_own(description: Mapping[str, Any]) -> bool:
    makers = description.get("GeneratedBy")
    if not isinstance(makers, list):
        return False
    return any(isinstance(maker, dict) and maker.get("Name") == NAME for maker in makers)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION_FILE
    return read_object(path, "mend or remove it") if path.exists() else {}
