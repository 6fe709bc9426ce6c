"""Which files of a folder are volumes."""

from pathlib import Path

from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of

ESTIMATE = "synth7T"  # the label after desc- of what this package synthesises


def find_volumes(folder: Path, pattern: str = "*") -> list[Path]:
    """Find the volumes of a folder: no hidden files, no estimates of this package.

    Only names are checked. Links to files count. A pair counts as its .hdr, or as its .img where
    the .hdr is missing, so that reading it reports this.

    Parameters
    ----------
    folder : Path
    pattern : str
        As `Path.glob` takes it, e.g. "sub-*/**/*"; the files of the folder itself by default.

    Returns
    -------
    list of Path
        Sorted.
    """
    found = [
        path
        for path in sorted(folder.glob(pattern))
        if extension_of(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and f"desc-{ESTIMATE}" not in path.name
        and path.is_file()
    ]
    headers = {
        path.with_name(stem_of(path)) for path in found if extension_of(path).startswith(".hdr")
    }
    return [
        path
        for path in found
        if not extension_of(path).startswith(".img") or path.with_name(stem_of(path)) not in headers
    ]
