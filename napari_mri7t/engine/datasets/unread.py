"""What is no volume by its name, but may be one or hold some: why it is not read, what helps."""

import contextlib
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from napari_mri7t.engine.datasets.names import (
    NO_ANATOMY,
    OTHER_MODALITIES,
    anatomical_suffix,
    clean_stem,
    looks_t1w,
    why_no_image,
)
from napari_mri7t.engine.regular import open_regular, read_regular
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.volumes.files.contents import GZIP, GZIP_WINDOW, image_kind
from napari_mri7t.engine.volumes.files.streams import (
    EXTENSIONS,
    PARTIAL,
    UNLOADED,
    extension_of,
    is_unfinished,
)

OTHER_IMAGES = frozenset(
    (
        ".nrrd", ".nhdr", ".mnc", ".mha", ".mhd", ".head", ".brik", ".par", ".rec", ".v", ".nifti",
        ".mif", ".mih",
    )
)  # fmt: skip
ARCHIVES = frozenset(
    (".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".z")
)
OTHER_EXTENSIONS = OTHER_IMAGES | ARCHIVES | PARTIAL | {".gz", ".dcm", ".ima", ""}
CHECKSUMS = frozenset(
    (".md5", ".sha1", ".sha224", ".sha256", ".sha384", ".sha512", ".b2", ".b3", ".crc32", ".sfv")
)
TEXTS = CHECKSUMS | {".json", ".txt", ".tsv", ".csv", ".md", ".html", ".log", ".asc"}
# The name of a file, in that of its signature, checksum, backup by an editor or pointer by DVC
OF_ANOTHER = re.compile(
    rf"#(.+)#|(.+?)(?:~|[.]~\d+~|[.](?:sig|minisig|par2|dvc|(?:bak|backup|old|orig|save)\d*)"
    rf"|{'|'.join(map(re.escape, sorted(CHECKSUMS)))})",
    re.IGNORECASE,
)
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".webp", ".tif", ".tiff"))
MADE = frozenset(  # from an image or for it: transforms, surfaces, tracts, tables, programs
    (
        ".mat", ".lta", ".xfm", ".tfm", ".h5", ".gii", ".stl", ".vtk", ".trk", ".tck", ".bval",
        ".bvec", ".npy", ".npz", ".pkl", ".xlsx", ".docx", ".yaml", ".yml", ".xml", ".py", ".sh",
        ".m",
    )
)  # fmt: skip
NO_VOLUMES = TEXTS | PICTURES | MADE
UNKNOWN_EXTENSION = "unknown extension: convert or rename it to .nii or .nii.gz"
DECOMPRESS = "is compressed: decompress it, and use the image in it"
UNPACK = "is an archive: unpack it to use what is in it"
IN_THE_CLOUD = "is in iCloud, not on this disk: choose 'Download Now' in the Finder, then run again"
UNFINISHED = "is an unfinished copy: copy the file again, then remove this one"
NO_FOLDER = "is a file, not a folder: put the folder in its place, or remove it"
BIDS_FOLDER = re.compile(r"(?:sub|ses)-[^_.]+|anat")
HIDDEN = re.compile(r"\.(?!_)(.+)\.([A-Za-z0-9]{6})")  # by macOS (icloud) or rsync (random letters)
MANGLED = re.compile(r"nii[\W_]*gz(?:ip)?[\W_]*$|(?<![a-z0-9])nii[\W_]*$", re.IGNORECASE)
LINK_BYTES = 4096  # that a path may have
START_BYTES = 512
WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff")  # byte order marks of UTF-16, a text that holds zeros


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, by its name.

    Examples
    --------
    >>> is_archive(Path("sub-01.tar.gz")), is_archive(Path("sub-01.nii.gz"))
    (True, False)
    """
    return path.suffix.lower() in ARCHIVES or path.name.lower().endswith(".tar.gz")


def why_placeholder(path: Path) -> str:
    """Return why a scan is not, or not wholly, there that a hidden file stands for.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        With what helps; empty for any other file.

    Examples
    --------
    >>> why_placeholder(Path("._S1.nii.gz")), why_placeholder(Path(".S1.nii.gz.Ab3dEf"))
    ('', 'is an unfinished copy: copy the file again, then remove this one')
    """
    found = HIDDEN.fullmatch(path.name)
    if found is None or not extension_of(Path(found[1])):
        return ""
    if not _may_be_scan(path.with_name(found[1])):
        return ""
    return IN_THE_CLOUD if found[2].lower() == "icloud" else UNFINISHED


def _may_be_scan(path: Path) -> bool:
    """Return whether a volume may be anatomical and no mask, by its name and folder."""
    stem = clean_stem(path)
    is_other = path.parent.name in OTHER_MODALITIES or anatomical_suffix(stem) in NO_ANATOMY
    return not (is_other or why_no_image(stem))


def is_of_volume(path: Path) -> bool:
    """Return whether a file is the signature, checksum or backup of a volume beside it, by name."""
    found = OF_ANOTHER.fullmatch(path.name)
    name = (found[1] or found[2]) if found else ""
    return bool(extension_of(Path(name))) and os.path.lexists(path.with_name(name))


def why_unread(path: Path, *, is_bids: bool) -> str:
    """Return why a file that is no volume by its extension, but may be one, is not read.

    Parameters
    ----------
    path : Path
    is_bids : bool
        Whether it lies in a BIDS dataset, in which names say what is a T1w.

    Returns
    -------
    str
        With what helps; empty for a volume, and for what is none.

    Examples
    --------
    >>> why_unread(Path("S1_nii.gz"), is_bids=False)
    'unknown extension: convert or rename it to .nii or .nii.gz'
    """
    if extension_of(path) or is_of_volume(path):
        return ""
    if path.name.startswith("."):
        return why_placeholder(path)
    name, end = path.name.lower(), other_extension(path)
    if is_unfinished(path):
        return UNLOADED if _may_be_scan(path.with_suffix("")) else ""
    is_image = any(f"{part}." in f"{name}." for part in EXTENSIONS) or MANGLED.search(name)
    if is_image and (end not in TEXTS or _is_no_text(path)):
        return DECOMPRESS if end in ARCHIVES else UNKNOWN_EXTENSION
    if is_archive(path):
        is_named = looks_t1w(path) or BIDS_FOLDER.fullmatch(path.name.split(".")[0])
        return UNPACK if not is_bids or is_named else ""
    if is_bids and BIDS_FOLDER.fullmatch(path.name):
        return why_no_folder(path) or NO_FOLDER
    is_odd = _is_odd_t1w(path) if is_bids else _is_odd_volume(path)
    if not is_odd:
        return ""
    return UNLOADED if end in PARTIAL else UNKNOWN_EXTENSION


def may_be_t1w(path: Path) -> bool:
    """Return whether a file of an unknown extension is named as a T1w.

    Examples
    --------
    >>> may_be_t1w(Path("S1_T1w.vmr")), may_be_t1w(Path("S1_T1w.txt"))
    (True, False)
    """
    is_shown = not path.name.startswith(".")
    return is_shown and looks_t1w(path) and other_extension(path) not in NO_VOLUMES


def other_extension(path: Path) -> str:
    """Return the extension of what may be no volume, in lower case, without .gz behind a known one.

    Examples
    --------
    >>> [other_extension(Path(name)) for name in ("S1.MIF.gz", "S1.gz", "S1")]
    ['.mif', '.gz', '']
    """
    end = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if end == ".gz" and inner in OTHER_IMAGES | NO_VOLUMES else end


def _is_odd_t1w(path: Path) -> bool:
    """Return whether a file of a BIDS dataset may be a T1w of another extension."""
    return other_extension(path) in OTHER_EXTENSIONS and looks_t1w(path)


def _is_odd_volume(path: Path) -> bool:
    """Return whether a file of a plain folder may be a volume of another extension."""
    end = other_extension(path)
    if end in NO_VOLUMES or not _may_be_scan(path):
        return False
    is_named = end in OTHER_IMAGES or (end in {"", ".gz"} | PARTIAL and looks_t1w(path))
    return is_named or _holds_image(path)


def why_no_folder(path: Path) -> str:
    """Return why a small file named like a folder of BIDS is none; empty for any other file.

    Git stores a link as its text where links are not possible or not allowed.

    Parameters
    ----------
    path : Path
    """
    if not BIDS_FOLDER.fullmatch(path.name):
        return ""
    try:
        text = read_regular(path, LINK_BYTES).decode().strip()
    except (OSError, ValueError):
        return ""
    if "/" not in text or not text.isprintable():
        return NO_FOLDER
    return (
        f"is a text file that holds {brief(text)} in place of a link: clone the dataset again with "
        "core.symlinks=true, or put a copy of the folder in its place"
    )


def unread_in(files: Iterable[Path], *, is_bids: bool) -> dict[str, list[Path]]:
    """Return the files that may be volumes and are not read, by the reason; see `why_unread`."""
    found: dict[str, list[Path]] = {}
    for path in files:
        if why := why_unread(path, is_bids=is_bids):
            found.setdefault(why, []).append(path)
    return found


def _is_no_text(path: Path) -> bool:
    """Return whether a file named as a text holds none."""
    start = _start_of(path)
    return start.startswith(GZIP) or (b"\0" in start and not start.startswith(WIDE_TEXT))


def _holds_image(path: Path) -> bool:
    """Return whether a file begins as an image that is read here, whatever its name."""
    start = _start_of(path)
    if start.startswith(GZIP):
        with contextlib.suppress(zlib.error):
            start = zlib.decompressobj(GZIP_WINDOW).decompress(start)
    return bool(image_kind(start))


def _start_of(path: Path) -> bytes:
    """Return the first bytes of a file; none where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(START_BYTES)
    except OSError:
        return b""
