"""Files written whole or not at all: beside their target, synced, then renamed.

Everything the package writes (volumes, sidecars, checkpoints, histories, reports) goes through
`write_atomically`, or `write_together` for files that belong together. JSON is written strictly;
reading it raises ValueError for any fault, since it may have been edited by hand.
"""

import contextlib
import errno
import json
import logging
import math
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_mri7t.engine.errors import Mri7tError

TEMPORARY_PREFIX = ".mri7t-"  # without the target's name, which may be 255 bytes long
TEMPORARY_SUFFIX = ".tmp"
Writer = Callable[[BinaryIO], object]
_EXISTS = "already exists: choose another name, or allow overwriting"
_ADVICE = {
    "ENOSPC": "free some space or choose another disk",
    "EDQUOT": "free some space or choose another disk",
    "EFBIG": "the file system or a limit does not allow a file of this size",
    "EROFS": "choose a folder that can be written to",
    "EACCES": "choose a folder that you may write to",
    "EPERM": "choose a folder that you may write to",
    "ENOENT": "the folder no longer exists; create it again",
    "ENAMETOOLONG": "choose a shorter name",
    "EIO": "check the disk",
}
_log = logging.getLogger(__name__)


def write_atomically(path: str | Path, writer: Writer, *, overwrite: bool = True) -> Path:
    """Write one file whole or not at all.

    Parameters
    ----------
    path : str or Path
        Target. A symbolic link stays, and the file it points to is replaced.
    writer : callable
        Writes the content to the open binary file it is given.
    overwrite : bool
        False refuses an existing target, even one that appears while writing.

    Returns
    -------
    Path
        The target.

    Raises
    ------
    Mri7tError
        If the folder is missing, the target exists, or the system refuses (disk full, no
        permission, input/output error). The old file is then untouched and no temporary is left.
    """
    return write_together([(path, writer)], overwrite=overwrite)[0]


def write_together(
    parts: Sequence[tuple[str | Path, Writer]], *, overwrite: bool = True
) -> list[Path]:
    """Write several files: all of them, or none.

    All are complete and synced under temporary names before the first is renamed. They are renamed
    in the order given, so the one that marks the whole as complete comes last.

    Parameters
    ----------
    parts : sequence of (path, writer)
        As for `write_atomically`.
    overwrite : bool
        False refuses if any target exists.

    Returns
    -------
    list of Path
        The targets, in the order given.

    Raises
    ------
    Mri7tError
        As `write_atomically`; every old file is then restored.
    """
    targets = [check_target(path, overwrite=overwrite) for path, _ in parts]
    temporaries: list[Path] = []
    try:
        for target, (_, writer) in zip(targets, parts, strict=True):
            temporaries.append(_temporary_beside(target))
            with _failures_in_words(target):
                _write_temporary(temporaries[-1], target, writer)
        _place_all(temporaries, targets, overwrite)
    finally:
        for temporary in temporaries:
            _remove(temporary)
    return [Path(path) for path, _ in parts]


def write_content(path: str | Path, content: str | bytes) -> Path:
    """Write a small file whole or not at all.

    Parameters
    ----------
    path : str or Path
    content : str or bytes
        Text becomes UTF-8; the undecodable bytes of a file name become escapes.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    return write_atomically(path, lambda file: file.write(data))


def write_json(path: str | Path, content: Any) -> Path:
    """Write strict JSON, indented, as `write_content`; see `to_json`."""
    return write_content(path, to_json(content, ascii_only=False) + "\n")


def to_json(content: Any, *, indent: int | None = 2, ascii_only: bool = True) -> str:
    """Return strict JSON, which has no infinity and no NaN.

    They become the strings ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``, which ``float()`` in
    Python and ``Number()`` in JavaScript read back. NumPy numbers become plain ones.

    Parameters
    ----------
    content : Any
        Mappings, lists, strings and numbers.
    indent : int, optional
        Of the text; None for one line.
    ascii_only : bool
        True escapes every other character, for a terminal that may not support it.

    Examples
    --------
    >>> to_json({"psnr": float("inf")}, indent=None)
    '{"psnr": "Infinity"}'
    """
    return json.dumps(_strict(content), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _strict(value: object) -> object:
    """Replace what JSON cannot express by its name."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Returns
    -------
    Any
        Plain values, as `json.loads` returns them.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not JSON, not UTF-8, or nested too deeply to be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # editors may add a byte order mark
    except RecursionError as error:  # is a RuntimeError, which napari's worker swallows
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8") from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes killed while writing.

    Parameters
    ----------
    folder : Path
        To which no other process writes: the caller holds its lock.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
        _remove(path)


def check_target(path: str | Path, *, overwrite: bool) -> Path:
    """Return the file that `path` leads to, or refuse one that cannot be written.

    Parameters
    ----------
    path : str or Path
        Where a file is to be written.
    overwrite : bool
        False refuses an existing file.

    Returns
    -------
    Path
        Absolute, without symbolic links.

    Raises
    ------
    Mri7tError
        If the folder is missing, or something is in the way.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        has_folder = target.parent.is_dir()
    except (OSError, ValueError) as error:
        raise Mri7tError(f"{path}: cannot be written: {error}") from error
    if mode is not None and stat.S_ISDIR(mode):
        raise Mri7tError(f"{path}: is a folder: choose a file name")
    if mode is not None and not stat.S_ISREG(mode):
        raise Mri7tError(f"{path}: is not a regular file: choose another name")
    if mode is not None and not overwrite:
        raise Mri7tError(f"{path}: {_EXISTS}", argument="overwrite")
    if not has_folder:
        raise Mri7tError(f"{path}: the folder {target.parent} does not exist: create it first")
    return target


@contextlib.contextmanager
def _failures_in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise Mri7tError(f"{target}: {_EXISTS}", argument="overwrite") from error
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        advice = _ADVICE.get(errno.errorcode.get(error.errno or 0, ""), "choose another place")
        raise Mri7tError(f"{target}: {reason}: {advice}; the file was not written") from error


def _temporary_beside(target: Path) -> Path:
    return target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"


def _write_temporary(temporary: Path, target: Path, writer: Writer) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
        writer(file)
        _keep_mode(file.fileno(), target)
        file.flush()
        os.fsync(file.fileno())


def _keep_mode(descriptor: int, target: Path) -> None:
    """Copy the mode of the old file; a file system without modes refuses, which is no error."""
    if not (target.exists() and hasattr(os, "fchmod")):
        return
    try:
        os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        _log.warning("%s: its mode could not be preserved: %s", target, error)


def _place_all(temporaries: list[Path], targets: list[Path], overwrite: bool) -> None:
    begun: list[tuple[Path, Path, Path | None]] = []
    backups: list[Path] = []
    try:
        for number, (temporary, target) in enumerate(zip(temporaries, targets, strict=True), 1):
            backup = None
            with _failures_in_words(target):
                if number < len(targets) and target.exists():  # nothing fails after the last
                    backup = _temporary_beside(target)
                    backups.append(backup)
                    _second_name(target, backup)
                begun.append((temporary, target, backup))
                _place(temporary, target, overwrite)
    except BaseException:  # an interrupt too, which may come between any two instructions
        if not _is_placed(temporaries[-1], targets[-1]):
            for temporary, target, backup in reversed(begun):
                if _is_placed(temporary, target):
                    _put_back(target, backup)
        raise
    finally:
        for backup in backups:
            _remove(backup)
    for folder in {target.parent for target in targets}:
        _sync_folder(folder)


def _place(temporary: Path, target: Path, overwrite: bool) -> None:
    """Rename the temporary file; without `overwrite`, never over another file."""
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike a rename, this fails if a file has appeared by now
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        os.replace(temporary, target)


def _is_placed(temporary: Path, target: Path) -> bool:
    """Return whether the target is what was written here, not the file of another process."""
    try:
        return target.exists() and (not temporary.exists() or os.path.samefile(temporary, target))
    except OSError:
        return False


def _second_name(target: Path, backup: Path) -> None:
    try:
        os.link(target, backup)
    except OSError:
        shutil.copy2(target, backup)


def _put_back(target: Path, backup: Path | None) -> None:
    with contextlib.suppress(OSError):
        if backup is None:
            target.unlink()
        else:
            os.replace(backup, target)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; failing is no error, since the content is synced already."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _log.warning("%s: the folder could not be synced: %s", folder, error)
