"""Scans in a folder or a BIDS dataset, and where their estimates go in a BIDS derivative."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mri7t.engine.bids import (
    DEFAULT_SUFFIX,
    ESTIMATE,
    anatomical_suffix,
    derivative_path,
    entities,
)
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.files.opening import read_header
from napari_mri7t.engine.files.streams import extension_of, stem_of
from napari_mri7t.engine.volume import Volume, load_volume


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
