"""What the name of a file says: BIDS entities, kind of image, and a label made from it.

https://bids-specification.readthedocs.io/en/stable/appendices/entities.html
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from anyascii import anyascii

from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of

DEFAULT_SUFFIX = "T1w"
ANATOMICAL_SUFFIXES = (
    "T1w", "T2w", "T2star", "T2starw", "FLAIR", "FLASH", "PDw", "PD", "PDT2", "PDT2w", "inplaneT1",
    "inplaneT2", "angio", "UNIT1", "MP2RAGE", "MEGRE", "MESE", "VFA", "MPM", "MTS", "T1map",
    "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap", "MTRmap", "MTsat", "T1rho",
    "Chimap", "S0map", "M0map", "MWFmap", "defacemask", "SWI", "swi", "bold", "sbref", "dwi", "asl",
    "epi", "pet",
)  # fmt: skip
T1W_LIKE = ("UNIT1", "MP2RAGE", "FLASH")  # may stand in for a T1w
SUFFIXES_BY_NAME = {suffix.casefold(): suffix for suffix in reversed(ANATOMICAL_SUFFIXES)}
# What names outside BIDS say, as any of their parts.
CONTRASTS = SUFFIXES_BY_NAME | {"t2": "T2w", "t2*": "T2starw", "tof": "angio"}
# As any part but the first, which may be somebody's label, behind whatever sign.
LATER_CONTRASTS = CONTRASTS | {
    word: word
    for word in (
        "adc", "b0map", "ct", "dti", "fieldmap", "haste", "localiser", "localizer", "mra", "mrv",
        "qsm", "scout", "stir", "tirm", "tse",
    )
}  # fmt: skip
# Patients with Parkinson's disease or mesial temporal sclerosis by their numbers, and no contrast
PATIENT = re.compile(
    r"^(?:(?:pat(?:ient)?|pt|subj?(?:ect)?|participant|case|group)s?[\W_]*)?(?:pd|mts)[\W_]*\d+"
    r"(?![^\W_]|[.]\d)",
    re.IGNORECASE,
)
NUMBERED_CONTRAST = re.compile(r"^(?:t[12]w?|flair|mprage)[\W_]*\d+(?![^\W_])", re.IGNORECASE)
GLUED_T2 = re.compile(r"t2(?:w|tse|space|star|flair|fse|haste|blade|tirm)")
ENTITIES = (
    "sub", "ses", "sample", "task", "acq", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo",
    "flip", "inv", "mt", "part", "proc", "hemi", "space", "split", "chunk", "res", "den", "label",
)  # fmt: skip  # in the order of the specification; desc is not among them
LOOKS_T1W = re.compile(
    r"(?<![a-z])(?:3d)?t1w|(?<![a-z])(?:3d)?t1(?:c|ce|gd)?(?![a-z0-9])|t1[ _-]?weighted"
    r"|mp2?rage|unit1|bravo|spgr|(?<![a-z])tfl3?d?(?![a-z])",
    re.I,
)
NO_ANATOMY = frozenset(("bold", "sbref", "dwi", "asl", "epi", "pet"))  # of those above
OTHER_MODALITIES = frozenset(
    ("func", "dwi", "perf", "fmap", "pet", "eeg", "meg", "ieeg", "beh", "nirs", "mrs", "motion")
)  # folders of BIDS beside anat
ENDS_OF_MASKS = (
    "mask", "dseg", "probseg", "segmentation", "labels", "labelmap", "parcellation", "posteriors",
    "thickness", "biasfield",
)  # fmt: skip
NO_IMAGES = frozenset(
    (
        "seg", "pveseg", "pve", "label", "aseg", "aparc", "ribbon", "inv1", "inv2", "warp",
        "jacobian", "prob", "pha", "lesion", "wmparc", "pvc",
    )
)  # fmt: skip  # as any part of a name
PHASE = re.compile(r"pha|phase(?:\d*|map|diff)")
BIAS_FIELD = re.compile(r"(?:^|_)desc-biasfield(?:[0-9a-f]{6})?(?=_|$)")  # as `result_names`
# c1sub-01, smwc1sub-01; of CAT12 p0sub01, mwp1sub01, but not the first patient's p1t1w
SPM_TISSUE = re.compile(
    r"^(?:(?:s?m?w|r)*c[1-6]|(?:s?m?0?w|r)+p[0-6]|p0|p[1-6](?=s))(?![Tt]1)(?=[A-Za-z])"
)
FREESURFERS_BRAIN = "brainmask"  # no mask, but the extracted T1w
LAST_PARTS = frozenset(("ph", "real", "imag", "imaginary", "wm", "gm", "csf"))
PARTS = ("phase", "real", "imag")  # of the entity part-: no magnitudes
MARK_LENGTH = 6
LONGEST_LABEL = 80  # characters; it occurs twice in a path, and a name may have 255


def clean_stem(path: Path) -> str:
    """Return a file's name without extensions, also repeated ones, and without blanks around it.

    Examples
    --------
    >>> clean_stem(Path("sub-01_T1w.nii.nii.gz"))
    'sub-01_T1w'
    """
    stem = stem_of(path).strip()
    while extension_of(Path(stem)) and stem_of(Path(stem)):
        stem = stem_of(Path(stem)).strip()
    return stem


def entities(name: str) -> dict[str, str]:
    """Return the BIDS entities in a name, and ignore the rest.

    A label that BIDS does not allow, as in `sub-ctrl-01` or `sub-Müller`, is none.

    Returns
    -------
    dict of str to str
        Key to label.

    Examples
    --------
    >>> entities("sub-01_ses-2_T1w")
    {'sub': '01', 'ses': '2'}
    """
    found = re.findall(r"(?:^|_)([a-z]+)-([0-9A-Za-z+]+)(?=[_\s.()\[\]]|$)", name)
    return {key: label for key, label in found if key in ENTITIES}


def other_agent(source: Path, target: Path) -> str:
    """Return a warning if the contrast agents in the names of a 3T and a 7T differ.

    Examples
    --------
    >>> other_agent(Path("sub-1_ses-3T_ce-gad_T1w.nii"), Path("sub-1_ses-7T_T1w.nii"))
    'contrast agents differ by name (3T: gad, 7T: none): pair scans of one contrast'
    """
    one, other = (entities(clean_stem(path)).get("ce", "none") for path in (source, target))
    if one.casefold() == other.casefold():
        return ""
    return f"contrast agents differ by name (3T: {one}, 7T: {other}): pair scans of one contrast"


def last_suffix(name: str) -> str:
    """Return the last part of a name, in the spelling of BIDS where it is a suffix.

    Examples
    --------
    >>> last_suffix("sub-01_t1w"), last_suffix("sub-01_T1w_brain")
    ('T1w', 'brain')
    """
    last = name.split("_")[-1]
    return SUFFIXES_BY_NAME.get(last.casefold(), last)


def anatomical_suffix(name: str) -> str:
    """Return the BIDS suffix in a name, e.g. "T2w"; "T1w" without one.

    Parameters
    ----------
    name : str
        E.g. "sub-01_T2w".

    Examples
    --------
    >>> anatomical_suffix("sub-01_PD"), anatomical_suffix("PD_01")
    ('PD', 'T1w')
    """
    name = PATIENT.sub("", name)
    parts = [part.casefold() for part in re.split(r"[_ .]", name)]
    found = [CONTRASTS[part] for part in reversed(parts) if part in CONTRASTS]
    words = re.split(r"[\W_]+", _without_labels(name).casefold())  # the first is "" behind a label
    later = [word for word in words[:0:-1] if word]
    found += [LATER_CONTRASTS[word] for part in later if (word := _word(part)) in LATER_CONTRASTS]
    found += ["T2w" for part in later if GLUED_T2.match(part)]
    return next(iter(found), DEFAULT_SUFFIX)


def suffix_beside(name: str, others: Iterable[str]) -> str:
    """Return the BIDS suffix in the name of a file of a plain folder.

    Parameters
    ----------
    name : str
        As `anatomical_suffix` takes it.
    others : iterable of str
        Names of all files there: beside T1_001, PD_001 is a contrast and no patient.

    Examples
    --------
    >>> suffix_beside("PD_001", ["HC_001.nii"]), suffix_beside("PD_001", ["T1_001.nii"])
    ('T1w', 'PD')
    """
    if PATIENT.match(name) and any(map(NUMBERED_CONTRAST.match, others)):
        name = f"_{name}"  # a part as any other
    return anatomical_suffix(name)


def _word(part: str) -> str:
    """Return a part of a name without the number of a repetition, as in flair1."""
    word = re.sub(r"\d{1,2}$", "", part)
    return word if len(word) > 2 and part not in LATER_CONTRASTS else part


def why_no_image(name: str) -> str:
    """Return why a name is not that of an image to synthesise from or to train on.

    Masks, label and probability maps, bias fields, and phase, real and imaginary parts are none.

    Parameters
    ----------
    name : str
        Without extension.

    Returns
    -------
    str
        Empty if nothing in the name says so.

    Examples
    --------
    >>> why_no_image("sub-01_part-phase_T1w")
    'part-phase: no magnitude image'
    """
    if name.lower() == FREESURFERS_BRAIN:
        return ""
    found = entities(name)
    if found.get("part", "") in PARTS:
        return f"part-{found['part']}: no magnitude image"
    if found.get("inv") and last_suffix(name) != "MP2RAGE":
        return f"inv-{found['inv']}: one inversion of several"
    if BIAS_FIELD.search(name):
        return "desc-biasfield: a bias field"
    for key in ("label", "hemi", "den"):
        if key in found:
            return f"{key}-{found[key]}: no image of a whole head"
    for key in ("acq", "rec"):
        if PHASE.fullmatch(found.get(key, "").lower()):
            return f"{key}-{found[key]}: no magnitude image"
    if tissue := SPM_TISSUE.match(name):
        return f'"{tissue[0]}" before its name: a map of a tissue'
    words = [word for word in re.split(r"[^0-9a-z]+", _without_labels(name).lower()) if word]
    mask = next((word for word in words if _tells_a_map(word)), "")
    if not mask and words and words[-1] in LAST_PARTS:
        mask = words[-1]
    return f'"{mask}" in its name: a mask, a map or a part of an image' if mask else ""


def _tells_a_map(word: str) -> bool:
    is_mask = word.rstrip("0123456789").endswith(ENDS_OF_MASKS)
    return is_mask or word in NO_IMAGES or PHASE.fullmatch(word) is not None


def _without_labels(name: str, others: str = "", ends: str = r"_\s.") -> str:
    keys = f"sub|ses|acq|run|rec|task{others}"
    return re.sub(rf"(?:^|_)(?:{keys})-[^{ends}]+", "_", name)


def why_misfiled(path: Path, *, needs_label: bool = True) -> str:
    """Return what contradicts the name of a BIDS scan; empty if nothing does.

    Parameters
    ----------
    path : Path
        Within the dataset.
    needs_label : bool
        Whether the name must begin with `sub-`.

    Examples
    --------
    >>> why_misfiled(Path("sub-01/anat/sub-02_T1w.nii.gz"))
    'is sub-02 by its name, and sub-01 by its folder'
    """
    stem = clean_stem(path)
    found = entities(stem)
    for key in ("sub", "ses"):
        above = next((part for part in path.parts[:-1] if part.startswith(f"{key}-")), "")
        own = f"{key}-{found[key]}" if key in found else ""
        if key == "sub":
            if unicodedata.normalize("NFC", stem).startswith(
                unicodedata.normalize("NFC", f"{above}_")
            ):
                continue
            if not stem.startswith("sub-") and needs_label:
                return f"a BIDS name begins with sub-, as in {above}_T1w.nii.gz"
            own = own or (stem.split("_")[0] if stem.startswith("sub-") else "")
        if own and above and own != above:
            return f"is {own} by its name, and {above} by its folder"
    return ""


def looks_t1w(path: Path) -> bool:
    """Return whether somebody may take a file for a T1w image, by its name and folder."""
    name = _without_labels(clean_stem(path), "|space|from|to|desc", r"-_\s.")  # sub-01-T1w, too
    return path.parent.name not in OTHER_MODALITIES and LOOKS_T1W.search(name) is not None


def is_misnamed_t1w(path: Path) -> bool:
    """Return whether a volume of a BIDS dataset looks like a T1w, but has no suffix of BIDS."""
    stem = clean_stem(path)
    is_odd = last_suffix(stem) not in SUFFIXES_BY_NAME.values()
    return is_odd and not why_no_image(stem) and looks_t1w(path)


def without_t1w(name: str) -> str:
    """Return a name without its suffix, if that is of a T1w or of what may stand in for it.

    Examples
    --------
    >>> without_t1w("S1_T1w"), without_t1w("S1_UNIT1"), without_t1w("S1_T2w")
    ('S1', 'S1', 'S1_T2w')
    """
    start, _, last = name.rpartition("_")
    return start if start and last_suffix(last) in (DEFAULT_SUFFIX, *T1W_LIKE) else name


def person_of(name: str) -> str:
    """Return what the names of one person's images have in common, whatever their case.

    Examples
    --------
    >>> person_of("sub-A_ses-1"), person_of("sub-a_ses-2_run-1"), person_of("S1_ses-2")
    ('sub-a', 'sub-a', 's1')
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    keys = "|".join((*ENTITIES[1:], "desc"))
    rest = re.sub(rf"(?:^|[_ ]+)(?:{keys})-[^_ ]+", "", plain).strip("_ ")
    if rest.startswith("sub-"):  # the suffix, and what programs put behind it
        rest = re.sub(r"(?:_(?:t1w|unit1|mp2rage|flash)(?:_[^\W\d_]+)*|_brain)$", "", rest)
    return without_t1w(rest)


def identifying_words(name: str) -> set[str]:
    """Return the words of a name that may tell its person from others: those with digits, if any.

    Examples
    --------
    >>> sorted(identifying_words("sub-01_ses-2_T1w_mask")), sorted(identifying_words("Anna_mask"))
    (['01'], ['anna', 'mask'])
    """
    plain = SPM_TISSUE.sub("", name)
    words = {word for word in re.split(r"[\W_]+", person_of(plain)) if word}
    words -= {*SUFFIXES_BY_NAME, "t1", "t2"}
    return {word for word in words if re.search(r"\d", word)} or words


def label_of(name: str) -> tuple[str, bool]:
    """Return a BIDS label made of a name, and whether other names may well have the same.

    Other scripts are written in Latin letters, which different names may share.

    Examples
    --------
    >>> label_of("Müller_1"), label_of("Иван_1")
    (('Muller1', False), ('Ivan1', True))
    """
    plain = unicodedata.normalize("NFKC", name)
    kinds = [unicodedata.category(sign) for sign in plain]
    spelt = "".join(sign for sign, kind in zip(plain, kinds, strict=True) if kind[0] != "S")
    is_ambiguous = any(
        kind == "Cs" or (sign.isalnum() and not _is_latin(sign))
        for sign, kind in zip(plain, kinds, strict=True)
    )
    return re.sub(r"[^0-9A-Za-z]", "", anyascii(spelt)), is_ambiguous


def _is_latin(sign: str) -> bool:
    return sign.isascii() or unicodedata.name(sign, "").startswith("LATIN ")


def mark_of(name: str) -> str:
    """Return a few hexadecimal digits that tell a name from others, the same on every computer."""
    plain = unicodedata.normalize("NFC", name)
    return hashlib.sha256(os.fsencode(plain)).hexdigest()[:MARK_LENGTH]


def allowed_label(text: str, mark: str = "") -> str:
    """Return a label that BIDS allows; a mark is added, or made of the text where it needs one.

    Examples
    --------
    >>> allowed_label("pre-op"), allowed_label("pre-op", "0a1b2c")
    ('preop', 'preop0a1b2c')
    """
    label, is_ambiguous = label_of(text)
    is_ambiguous |= not label and not text.isascii()
    if not mark and (is_ambiguous or len(label) > LONGEST_LABEL):
        mark = mark_of(text)
    return f"{label[:LONGEST_LABEL]}{mark}"


def labels_of(names: Iterable[str]) -> dict[str, str]:
    """Return the BIDS labels, with `sub-`, of subjects of any names, whatever their order.

    Where two names share a label, or are in another script and may, a mark made from the name is
    added.

    Parameters
    ----------
    names : iterable of str
        With or without `sub-`. Names that differ in case alone are one subject's.

    Examples
    --------
    >>> labels_of(["sub-01", "Volunteer 7", "S1_1", "S11"])
    {'sub-01': 'sub-01', 'Volunteer 7': 'sub-Volunteer7', 'S1_1': 'sub-S1126e01a', 'S11': 'sub-S11'}
    """
    plain = {name: label_of(name.removeprefix("sub-")) for name in names}
    sharing: dict[str, set[str]] = {}
    for name, (label, _) in plain.items():
        sharing.setdefault(label.casefold(), set()).add(name.casefold().removeprefix("sub-"))
    found = {}
    for name, (label, is_ambiguous) in plain.items():
        is_shared = len(sharing[label.casefold()]) > 1 and label != name.removeprefix("sub-")
        mark = mark_of(name) if is_ambiguous or is_shared or not label else ""
        found[name] = f"sub-{label}{mark}"
    return found


def without_parts(path: Path) -> tuple[object, ...]:
    """Return what the images of an MP2RAGE have in common: folder and entities.

    Examples
    --------
    >>> uniform, first = Path("sub-1_UNIT1.nii"), Path("sub-1_inv-1_part-mag_MP2RAGE.nii")
    >>> without_parts(uniform) == without_parts(first)
    True
    """
    labels = entities(stem_of(path))
    return (path.parent, *((k, v) for k, v in labels.items() if k not in ("inv", "part", "proc")))
