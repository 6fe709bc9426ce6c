"""Which DICOM series is the T1w: 3-D, by what its header says of sequence and image.

Descriptions are typed by people, in each hospital in another way; where they leave a doubt, the
series are listed, and one is asked for. Image types: DICOM PS3.3, C.7.6.1.1.2 and C.8.13.3.1.1.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.dicom import HERE, DicomSeries, find_series, list_series

T1W = re.compile(
    r"mp2?_?-?rage|(?<![a-z])s?t1(?![0-9])|spgr|bravo|(?<![a-z])(?:[3ft]*tfe|fsgr|mdeft)(?![a-z])"
    r"|tfl3d|fl3d1|unit1",
    re.IGNORECASE,
)
OTHER = re.compile(
    r"(?<![a-z])(?:s?t2\*?(?:w|star)?|dwi|dti|diff\w*|adc|trace\w*|b0|b1|pd|stir|dir|swi|swan|qsm"
    r"|tof|mra|mrv|angio\w*|bold|epi|ep2d|fmri|perf\w*|p?c?asl|dsc|dce|fmap|mrs|spectro\w*|svs|csi"
    r"|cine|loc|locali[sz]er|scout|survey|aahead\w*|smartbrain|asset|calib\w*|phase|pha|mip|minip"
    r"|reformat\w*|subtract\w*|maps?|inv.?[12]|t1.?(?:images?|values?)|t1rho|spine|cervical|knee"
    r"|mask|report)(?![a-z])|flair|dark.?fluid|field.?map|gre.?field|3.?plane",
    re.IGNORECASE,
)  # words that name another contrast, a map, or another part of the body
NO_MAGNITUDE = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY MAP"}
MAGNITUDE = {"M", "MAGNITUDE"}
NO_SCAN = {  # computed from others
    "LOCALIZER", "PROJECTION IMAGE", "MIP", "MNIP", "MIN_IP", "MPR", "CSA REFORMAT", "REFORMATTED",
    "ADC", "FA", "TRACEW", "TRACE", "EXP", "DIFFUSION", "T1 MAP", "T2 MAP", "T1MAP", "T2MAP", "MAP",
    "R1 MAP", "SUBTRACTION", "MOSAIC", "PERFUSION", "SCREEN SAVE", "POSDISP", "FMRI", "SE_MAP",
}  # fmt: skip
RANKS = ("NORM", "DIS3D", "DIS2D")  # of two reconstructions, the corrected one
MANY_SLICES = 60  # which no 2-D series has that does not record its kind of acquisition


def not_magnitude(image_type: Sequence[str] | frozenset[str]) -> str:
    """Return which part of a complex image, or which map, an image type tells; empty for a scan.

    Parameters
    ----------
    image_type : collection of str
        Values of `ImageType`, as DICOM and the sidecars of BIDS record it.

    Examples
    --------
    >>> not_magnitude(["ORIGINAL", "PRIMARY", "P", "ND"]), not_magnitude(["ORIGINAL", "M", "NORM"])
    ('P', '')
    """
    kinds = {kind.strip().upper() for kind in image_type}
    if MAGNITUDE & kinds:
        return ""
    return next(iter(sorted(NO_MAGNITUDE & kinds)), "")


def is_other(series: DicomSeries) -> bool:
    """Return whether a header tells that a series is no T1w image: another contrast, or a map."""
    traits = series.traits
    text = " ".join(traits.texts).replace("_", " ")
    is_part = bool(not_magnitude(traits.image_type))
    is_named = OTHER.search(text) is not None
    return not traits.is_mr or is_part or is_named or bool(NO_SCAN & traits.image_type)


def other_contrast(description: str) -> str:
    """Return the word of a series' description that names no T1w image; empty without one.

    Examples
    --------
    >>> other_contrast("Sag 3D FLAIR"), other_contrast("t1_mprage_sag")
    ('FLAIR', '')
    """
    found = OTHER.search(description.replace("_", " "))
    return found.group() if found else ""


def looks_t1w(series: DicomSeries) -> bool:
    """Return whether a series is a 3-D T1w, as far as its header tells."""
    text = " ".join(series.traits.texts).replace("_", " ")
    if is_other(series) or not T1W.search(text):
        return False
    kind = series.traits.acquisition
    return kind == "3D" or (not kind and series.n_slices >= MANY_SLICES)


def choose_t1w(series: Sequence[DicomSeries], wanted: int | str | None = None) -> DicomSeries:
    """Return the series that is asked for, or else the only T1w.

    Of two reconstructions of one acquisition, the corrected one is taken, with a warning.

    Parameters
    ----------
    series : sequence of DicomSeries
        From `find_series`.
    wanted : int or str, optional
        Number of the series, or its key.

    Raises
    ------
    VolumeError
        If there is no such series, or several, or none or several look like a T1w; the message
        lists them.
    """
    if wanted not in (None, ""):
        return _wanted(series, str(wanted))
    if len({one.patient for one in series}) > 1:
        raise VolumeError(
            f"{HERE}: holds series of {len({one.patient for one in series})} patients: put those "
            f"of each into a folder of its own, or choose one of {list_series(series)}",
            argument="series",
        )
    if len(series) == 1 and not is_other(series[0]):
        return series[0]
    found = [one for one in series if looks_t1w(one)]
    found = [one for one in found if "SECONDARY" not in one.traits.image_type] or found
    found = [one for one in found if "DERIVED" not in one.traits.image_type] or found
    found = _without_twins(found)
    if len(found) == 1:
        return found[0]
    told = f"{len(found)} series look like" if found else "no series looks like"
    raise VolumeError(
        f"{HERE}: {told} a 3-D T1w: choose one of {list_series(found or series)}",
        argument="series",
    )


def _wanted(series: Sequence[DicomSeries], wanted: str) -> DicomSeries:
    found = [one for one in series if wanted in (str(one.number), one.key)]
    if len(found) == 1:
        return found[0]
    if found:
        raise VolumeError(
            f"{HERE}: has {len(found)} series {wanted}: choose by key one of {list_series(found)}",
            argument="series",
        )
    raise VolumeError(
        f"{HERE}: has no such series: choose one of {list_series(series)}", argument="series"
    )


def _without_twins(series: Sequence[DicomSeries]) -> list[DicomSeries]:
    """Return one reconstruction of each acquisition, where one is corrected and the others not."""
    twins = defaultdict(list)
    for one in series:
        own = "" if one.traits.is_dated else one.key  # nothing says that two are of one time
        twins[one.study, one.n_slices, one.traits.settings, own].append(one)
    kept = []
    for group in twins.values():
        ranks = {tuple(rank in one.traits.image_type for rank in RANKS) for one in group}
        if len(group) == 1 or len(ranks) < len(group):
            kept += group
            continue
        best = max(group, key=lambda one: tuple(rank in one.traits.image_type for rank in RANKS))
        others = ", ".join(str(one.number) for one in group if one is not best)
        gain = next(rank for rank in RANKS if rank in best.traits.image_type)
        note = f"series {best.number} ({gain}) was used, not {others} of the same acquisition"
        kept.append(replace(best, warnings=(*best.warnings, note)))
    return kept


def find_one(path: Path, wanted: int | str | None) -> DicomSeries:
    """Return the series of a file, or that of a folder which is wanted, or its only T1w."""
    found = find_series(path)
    is_file = not path.is_dir() and len(found) == 1 and wanted in (None, "")
    return found[0] if is_file else choose_t1w(found, wanted)


def refuse_series(path: Path, series: int | str | None) -> None:
    """Refuse to choose a series where there is none."""
    if series not in (None, ""):
        raise VolumeError(f"{path}: holds no DICOM series: choose none", argument="series")
