"""The files of one image: two for a pair of header and voxels, and what tells that they changed."""

from pathlib import Path

from napari_mri7t.engine.volumes.files.streams import check_readable, extension_of, is_compressed


def files_of(path: Path) -> tuple[Path, Path]:
    """Return the files of header and voxels, which are two only for a pair.

    Parameters
    ----------
    path : Path
        Image, or either file of a pair.

    Returns
    -------
    tuple of Path
        Header, voxels.

    Raises
    ------
    FileNotFoundError
        If one file of a pair is missing.
    """
    if not extension_of(path).startswith((".hdr", ".img")):
        return path, path
    return _partner(path, ".hdr"), _partner(path, ".img")


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what changes with the files of an image: their sizes and times.

    Parameters
    ----------
    path : Path
        As for `files_of`.

    Returns
    -------
    tuple of int
        Empty if a file is missing.
    """
    try:
        found = [file.stat() for file in files_of(path)]
    except (OSError, ValueError):  # of no file's name; reading it says so
        return ()
    return tuple(n for each in found for n in (each.st_size, each.st_mtime_ns))


def _partner(path: Path, kind: str) -> Path:
    """Return the .hdr or .img of a pair, compressed or not, in upper or lower case."""
    extension = extension_of(path)
    if extension.startswith(kind):
        return path
    stem = path.name[: -len(extension)]
    plain, folded = [kind, kind.upper()], [f"{kind}.gz", f"{kind}.GZ", f"{kind}.gz".upper()]
    for suffix in folded + plain if is_compressed(path) else plain + folded:
        candidate = path.with_name(stem + suffix)
        if candidate.exists():
            check_readable(candidate)
            return candidate
    missing = path.with_name(stem + kind)
    raise FileNotFoundError(f"{missing}: is missing beside {path.name}: both files are needed")
