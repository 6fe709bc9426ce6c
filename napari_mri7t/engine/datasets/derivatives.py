"""Masks and transforms of a scan in BIDS derivatives, by their names.

https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from napari_mri7t.engine.datasets.bids import MNI_SPACE, Scan, check_derivative
from napari_mri7t.engine.datasets.field_strength import without_field
from napari_mri7t.engine.datasets.files import ESTIMATE, FETCH
from napari_mri7t.engine.datasets.names import DEFAULT_SUFFIX, clean_stem, without_t1w
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.files.geometry import ras_grid
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.volume import GRID_TOLERANCE_MM, load_dicom

DERIVATIVES = "derivatives"  # of a dataset, in the dataset
MASK_ENDS = (".nii.gz", ".nii")
TRANSFORM_ENDS = (".txt", ".tfm", ".mat")  # linear ones; .h5 holds a warp
NOT_LINEAR = ".h5"  # as fMRIPrep writes transforms
TO_TARGET = "_from-3T_to-7T_mode-image_xfm"  # the end of a transform's name, in a derivative
NAME = re.compile(rf"(?P<entities>.+?)(_desc-{ESTIMATE}(?P<mark>[^_]*))?_(?P<suffix>[^_]+)")


@dataclass(frozen=True)
class ResultNames:
    """What the results of a scan's preparation are called, without extension.

    Parameters
    ----------
    folder : PurePosixPath
        Within a derivative.
    mask, bias_field, transform : str
    """

    folder: PurePosixPath
    mask: str
    bias_field: str
    transform: str


def result_names(path: str) -> ResultNames:
    """Return the names of what is derived from a scan.

    Parameters
    ----------
    path : str
        Of the scan in its dataset, or of its estimate in a derivative, with "/".

    Examples
    --------
    >>> names = result_names("sub-01/anat/sub-01_run-2_T1w.nii.gz")
    >>> names.mask, names.transform
    ('sub-01_run-2_desc-brain_mask', 'sub-01_run-2_from-T1w_to-MNI152NLin6Asym_mode-image_xfm')
    """
    place = PurePosixPath(path)
    stem = stem_of(Path(place.name))
    known = NAME.fullmatch(stem)
    entities, mark, suffix = known.group("entities", "mark", "suffix") if known else (stem, "", "")
    mark, suffix = mark or "", suffix or DEFAULT_SUFFIX
    other = "" if suffix == DEFAULT_SUFFIX else suffix
    told_apart = f"_desc-{mark}" if mark else ""
    return ResultNames(
        folder=place.parent,
        mask=f"{entities}_desc-brain{other}{mark}_mask",
        bias_field=f"{entities}_desc-biasfield{mark}_{suffix}",
        transform=f"{entities}_from-{suffix}_to-{MNI_SPACE}_mode-image{told_apart}_xfm",
    )


def derivatives_of(dataset: Path) -> tuple[Path, ...]:
    """Return the derivatives in a dataset's own folder, but for those of this package.

    Subjects in no folder of a program, as in `derivatives/sub-01`, are a derivative, too.
    """
    place = dataset / DERIVATIVES
    if not place.is_dir():
        return ()
    subjects = {*place.glob("sub-*")}
    found = sorted({*place.iterdir()} - subjects)
    return tuple(folder for folder in ([place] * bool(subjects) + found) if _is_of_others(folder))


def named_derivatives(given: Sequence[Path]) -> tuple[Path, ...]:
    """Return the folders of derivatives that were asked for.

    Parameters
    ----------
    given : sequence of Path
        Folders, or `name=folder` as BIDS Apps take them; the name is not used.

    Raises
    ------
    Mri7tError
        If there is no such folder.
    """
    found = []
    for each in given:
        name, sign, rest = str(each).partition("=")
        is_named = sign and not each.is_dir() and not set(name) & {"/", "\\"}
        folder = Path(rest) if is_named and rest else each
        if not folder.is_dir():
            raise Mri7tError(
                f"{folder}: no such folder: choose a BIDS derivative", argument="derivatives"
            )
        found.append(folder)
    return tuple(found)


def _is_of_others(folder: Path) -> bool:
    try:
        return folder.is_dir() and not check_derivative(folder)
    except Mri7tError:  # described by another program
        return True


def find_own(
    scan: Scan, name: str, folders: Sequence[Path]
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Find the mask and the linear transform to MNI space of a scan in derivatives.

    Parameters
    ----------
    scan : Scan
        On whose grid a mask must lie; one of DICOM files is converted to know it.
    name : str
        As for `result_names`.
    folders : sequence of Path
        Derivatives; the first that holds a file counts.

    Returns
    -------
    found : dict of str to Path
        "mask" and "transform", as far as they are there.
    notes : tuple of str
        What is there and cannot be used.
    """
    found: dict[str, Path] = {}
    notes: list[str] = []
    names = result_names(name)
    wanted = {
        "mask": [names.folder / f"{names.mask}{end}" for end in MASK_ENDS],
        "transform": [names.folder / f"{names.transform}{end}" for end in TRANSFORM_ENDS],
    }
    stem = without_t1w(clean_stem(Path(scan.name)))
    if not stem.startswith("sub-"):  # as S1_3T_desc-brain_mask of a plain folder
        wanted["mask"] += [PurePosixPath(f"{stem}_desc-brain_mask{end}") for end in MASK_ENDS]
    for folder in folders:
        for what, files in wanted.items():
            paths = [folder / file for file in files]
            path = next((path for path in paths if os.path.lexists(path)), None)
            if path is None or what in found:
                continue
            if why := _why_unusable(path, scan, what):
                notes.append(f"{path.name} of a derivative is not used: {why}")
            else:
                found[what] = path
    warp = names.folder / f"{names.transform}{NOT_LINEAR}"
    if "transform" not in found and any((folder / warp).exists() for folder in folders):
        notes.append(f"{warp.name} of a derivative is not used: it is not linear")
    return found, tuple(notes)


def _why_unusable(path: Path, scan: Scan, what: str) -> str:
    if not path.exists():
        return f"it is a link that leads nowhere: {FETCH}"
    if what != "mask":
        return ""  # reading it is the first thing that is done with it
    try:
        return "" if is_on_grid(path, scan) else "it is on another grid"
    except (Mri7tError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")


def transforms_of(scan: Scan, derivatives: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Find the linear transforms to the 7T that have the name of a 3T scan.

    Parameters
    ----------
    scan : Scan
    derivatives : sequence of Path
        In BIDS, any folder of the person counts.

    Returns
    -------
    found : list of Path
    notes : list of str
        Which others of the person are not used, and why.
    """
    place, pattern = PurePosixPath(scan.name), f"*{TO_TARGET}.*"
    if is_bids := _is_in_bids(place):
        known = [p for folder in derivatives for p in (folder / place.parts[0]).rglob(pattern)]
    else:
        known = [p for folder in derivatives for p in (folder / place.parent).glob(pattern)]
    found, notes = [], []
    for path in sorted(known):
        if not _is_of(path.name.split(TO_TARGET)[0], scan):
            why = "its name does not begin like that of the 3T scan" if is_bids else ""
        elif path.suffix not in TRANSFORM_ENDS:
            why = f"a linear transform has the extension {', '.join(TRANSFORM_ENDS)}"
        else:
            found.append(path)
            continue
        notes += [f"{path.name} of a derivative is not used: {why}"] if why else []
    return found, notes


def _is_in_bids(place: PurePosixPath) -> bool:
    return len(place.parts) > 1 and place.parts[0].startswith("sub-")


def _is_of(start: str, scan: Scan) -> bool:
    """Return whether the start of a file's name is that of a scan.

    In BIDS some of its entities are enough; in a flat folder are other people's files, too.
    """
    stem, folders = clean_stem(Path(scan.name)), PurePosixPath(scan.name).parts
    if _is_in_bids(PurePosixPath(scan.name)):
        parts = start.split("_")
        return parts[0] == folders[0] and {*parts} <= {*stem.split("_"), *folders}
    names = (stem, without_field(Path(scan.name)))
    return start in {*names, *map(without_t1w, names)}


def is_on_grid(mask: Path, scan: Scan) -> bool:
    """Return whether a mask has the grid of a scan, whatever the order of their voxels.

    Parameters
    ----------
    mask : Path
    scan : Scan
        Only headers are read, but for DICOM files, whose grid is known once they are converted.

    Raises
    ------
    FileNotFoundError, Mri7tError
        As `read_header` and `load_dicom`.
    """
    one, shape = _grid_of(mask)
    if scan.dicom is None:
        other, other_shape = _grid_of(scan.path)
    else:
        volume = load_dicom(scan.dicom, index=0)
        other, other_shape = volume.affine, volume.shape
    return shape == other_shape and bool(np.abs(one - other).max() <= GRID_TOLERANCE_MM)


def _grid_of(path: Path) -> tuple[np.ndarray, tuple[int, ...]]:
    form = read_header(path)[0].geometry
    return ras_grid(form.affine, form.shape)
