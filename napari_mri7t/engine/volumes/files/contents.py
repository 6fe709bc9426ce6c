"""What a file is by its first bytes, whatever its name, and what to do with it.

Signatures are those of the formats' own specifications, as in the database of file(1).
"""

import zlib
from pathlib import Path

GZIP = b"\x1f\x8b"
_CONTROLS = {*range(32), 127} - set(b"\t\n\r\f")  # bytes that no text holds
LEAST_TEXT = 4  # bytes
GZIP_WINDOW = 31  # zlib's wbits for a gzip header
_UNPACK = "unpack it, and use the image in it"
_DECOMPRESS = "decompress it, and use the image in it"
_CONVERT = "convert it to NIfTI"
_FROM_DICOM = "convert it to NIfTI with dcm2niix"
_NO_IMAGE = "check its name, and use the image itself"
_AGAIN = "copy or download the image again"
# Byte offset, signature, what it is, what to do.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", _AGAIN),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "compressed by xz", f"{_DECOMPRESS} (xz -d)"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", f"{_DECOMPRESS} (zstd -d)"),
    (0, b"BZh", "compressed by bzip2", f"{_DECOMPRESS} (bzip2 -d)"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4", f"{_DECOMPRESS} (lz4 -d)"),
    (0, b"LZIP", "compressed by lzip", f"{_DECOMPRESS} (lzip -d)"),
    (0, b"\x5d\0\0\x80", "compressed by lzma", f"{_DECOMPRESS} (xz -d)"),
    (0, b"\x5d\0\0\x10", "compressed by lzma", f"{_DECOMPRESS} (xz -d)"),
    (0, b"\x1f\x9d", "compressed by compress (.Z)", f"{_DECOMPRESS} (gunzip)"),
    (128, b"DICM", "a DICOM file", _FROM_DICOM),
    (0, b"MATLAB 5.0 MAT-file", "a MATLAB file", f"export the image from it, or {_CONVERT}"),
    (0, b"MATLAB 7.3 MAT-file", "a MATLAB file", f"export the image from it, or {_CONVERT}"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (MINC?)", f"{_CONVERT}, MINC with mnc2nii"),
    (0, b"CDF\x01", "a NetCDF file (MINC?)", f"{_CONVERT}, MINC with mnc2nii"),
    (0, b"CDF\x02", "a NetCDF file (MINC?)", f"{_CONVERT}, MINC with mnc2nii"),
    (0, b"NRRD", "an NRRD image", _CONVERT),
    (0, b"\x93NUMPY", "a NumPy array, without a position in space", _CONVERT),
    (0, b"\x80\x02", "a Python pickle", _NO_IMAGE),
    (0, b"\x80\x03", "a Python pickle", _NO_IMAGE),
    (0, b"\x80\x04", "a Python pickle", _NO_IMAGE),
    (0, b"\x80\x05", "a Python pickle", _NO_IMAGE),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", _NO_IMAGE),
    (0, b"\xff\xd8\xff", "a JPEG picture", _NO_IMAGE),
    (0, b"GIF8", "a GIF picture", _NO_IMAGE),
    (0, b"II*\0", "a TIFF picture", _NO_IMAGE),
    (0, b"MM\0*", "a TIFF picture", _NO_IMAGE),
    (8, b"WEBP", "a WebP picture", _NO_IMAGE),
    (0, b"%PDF", "a PDF document", _NO_IMAGE),
    (0, b"%!PS", "a PostScript document", _NO_IMAGE),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document", _NO_IMAGE),
    (0, b"SQLite format 3", "a SQLite database", _NO_IMAGE),
    (0, b"\0\x05\x16\x07", "what macOS keeps beside a file (._...)", _NO_IMAGE),
    (0, b"\x7fELF", "a program", _NO_IMAGE),
)
# Beginning of a text in lower case, what it is, what to do.
_TEXTS: tuple[tuple[str, str, str], ...] = (
    (
        "version https://git-lfs",
        "a Git LFS pointer, not the image",
        "fetch the image with 'git lfs pull'",
    ),
    ("version https://hawser", "a Git LFS pointer, not the image", "fetch it with 'git lfs pull'"),
    ("<!doctype html", "a web page, not an image", "download the file again"),
    ("<html", "a web page, not an image", "download the file again"),
    ("<", "a web page or XML, not an image", "download the file again"),
    ("{", "JSON text, not an image", _AGAIN),
    ("[", "JSON text, not an image", _AGAIN),
    ("nrrd", "an NRRD header", _CONVERT),
    ("objecttype", "a MetaImage header", _CONVERT),
    ("ndims =", "a MetaImage header", _CONVERT),
    ("type =", "an AFNI header", f"{_CONVERT} with 3dAFNItoNIFTI"),
    ("# === data description", "a PAR header of Philips", f"{_CONVERT} with dcm2niix"),
)
_ANNEX = "a git-annex pointer, not the image"
_FETCH_ANNEX = "fetch the image with 'git annex get' or 'datalad get'"


def what_is_it(block: bytes, path: Path, *, unfolded: bool) -> str:
    """Return what a file holds instead of what its name promises, and what to do.

    Parameters
    ----------
    block : bytes
        The first bytes of the file, some 500.
    path : Path
        Its name, for the advice.
    unfolded : bool
        True if the bytes are those of a gzip stream, decompressed.

    Returns
    -------
    str
        "is ...: ...", to follow the path.

    Examples
    --------
    >>> what_is_it(b"BZh91AY&SY", Path("scan.nii.gz"), unfolded=False)
    'is compressed by bzip2: decompress it, and use the image in it (bzip2 -d)'
    """
    promised = "MGH" if path.name.lower().endswith((".mgh", ".mgz", ".mgh.gz")) else "NIfTI"
    if block.startswith(GZIP):
        return _gzip(block, path, unfolded)
    is_folded = path.name.lower().endswith("gz")
    if image := image_kind(block):
        name = renamed(path, image, folded=unfolded)
        if is_folded and not unfolded:
            return (
                f"is not compressed, although its name ends in {path.suffix}: rename it to {name}"
            )
        if image == promised:
            return f"is cut short: it ends in its header: {_AGAIN}"
        return f"is a file of the format {image}: rename it to {name}"
    if found := foreign_kind(block):
        return f"is {found[0]}: {found[1]}"
    if is_folded and not unfolded:
        return f"is named as gzip-compressed but is not: {_AGAIN}"
    if len(block) < 348:
        return f"holds only {len(block)} bytes, less than a {promised} header: {_AGAIN}"
    return f"is not a file of the format {promised}: use a .nii, .nii.gz, .hdr/.img or .mgz file"


def image_kind(block: bytes) -> str:
    """Return "NIfTI" or "MGH" if a file begins as an image of that format, else nothing.

    Parameters
    ----------
    block : bytes
        Decompressed.
    """
    for size, place in ((348, 344), (540, 4)):
        is_sized = size in (int.from_bytes(block[:4], order) for order in ("little", "big"))
        if is_sized and block[place : place + 3] in (b"n+1", b"ni1", b"n+2", b"ni2"):
            return "NIfTI"
    is_mgh = block[:4] == b"\0\0\0\1" and block[4:6] == b"\0\0" and block[6] + block[7] > 0
    return "MGH" if len(block) >= 24 and is_mgh and block[20:23] == b"\0\0\0" else ""


def foreign_kind(block: bytes) -> tuple[str, str] | None:
    """Return what a file is that is no image read here, and what to do; None if it is not known.

    Parameters
    ----------
    block : bytes
        Its first bytes.
    """
    for offset, mark, kind, advice in _SIGNATURES:
        if block[offset : offset + len(mark)] == mark:
            return kind, advice
    if block[:2] == b"\x08\0" and block[2:4] in (b"\0\0", b"\x01\0", b"\x05\0", b"\x08\0"):
        return "a DICOM file", _FROM_DICOM  # an old one, without the 128 bytes in front
    if len(block) >= 16 and not any(block):
        return (
            "not a NIfTI file, since it begins with zeros only",
            f"a copy or download did not end; {_AGAIN}",
        )
    text = _text(block)
    return _text_kind(text) if text is not None else None


def _gzip(block: bytes, path: Path, unfolded: bool) -> str:
    if unfolded:
        return (
            "is gzip-compressed more than once: decompress it until it no longer is, and use the "
            "image in it"
        )
    try:
        inside = zlib.decompressobj(GZIP_WINDOW).decompress(block)
    except zlib.error:
        return "is a damaged gzip file: copy or download it again"
    found = None if image_kind(inside) or inside.startswith(GZIP) else foreign_kind(inside)
    if found:
        return f"is gzip-compressed, and in it is {found[0]}: {found[1]}"
    return (
        "is gzip-compressed but its name does not end in .gz: rename it to "
        f"{renamed(path, image_kind(inside) or 'NIfTI', folded=True)}"
    )


def renamed(path: Path, kind: str, *, folded: bool) -> str:
    """Return the name that a file should have.

    Parameters
    ----------
    path : Path
        Its present name.
    kind : str
        "NIfTI" or "MGH".
    folded : bool
        Whether it is gzip-compressed.

    Examples
    --------
    >>> renamed(Path("scan.nii"), "NIfTI", folded=True)
    'scan.nii.gz'
    """
    name = path.name
    for ending in (".nii.gz", ".mgh.gz", ".nii", ".mgz", ".mgh", ".gz"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
            break
    if name.lower().endswith((".hdr", ".img")):
        return f"{name}.gz" if folded else name
    if kind == "MGH":
        return f"{name}.mgz" if folded else f"{name}.mgh"
    return f"{name}.nii.gz" if folded else f"{name}.nii"


def _text(block: bytes) -> str | None:
    """Return the block as text in lower case, None if it holds anything else."""
    if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return block[: len(block) // 2 * 2].decode("utf-16", "replace").strip().lower()
    is_text = len(block) >= LEAST_TEXT and not any(byte in _CONTROLS for byte in block)
    return block.decode("utf-8-sig", "replace").strip().lower() if is_text else None


def _text_kind(text: str) -> tuple[str, str]:
    if text.startswith(("/annex/", "../", ".git/")) and "annex" in text:
        return _ANNEX, _FETCH_ANNEX
    for start, kind, advice in _TEXTS:
        if text.startswith(start):
            return kind, advice
    return (
        "a text file, not an image",
        "check that it was downloaded or copied whole, and use the image itself",
    )
