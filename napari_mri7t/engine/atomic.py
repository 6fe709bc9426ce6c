"""Files written whole or not at all: beside their target, synced, then renamed.

A temporary file is locked while its process lives; the next writer into its folder removes those
that nobody holds any more. Everything the package writes (volumes, sidecars, checkpoints,
histories, reports) goes through `write_atomically`, or `write_together` for files that belong
together. JSON is written strictly; reading it raises ValueError for any fault, since it may have
been edited by hand.
"""

import contextlib
import errno
import json
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from napari_mri7t.engine.errors import Mri7tError, reason_of
from napari_mri7t.engine.regular import read_regular, why_annexed
from napari_mri7t.engine.texts import to_json

try:
    import fcntl
except ImportError:  # Windows: no locks, and a file that is open cannot be renamed
    fcntl = None  # type: ignore[assignment]

LARGEST_JSON = 16 << 20  # bytes; sidecars, cards and studies have up to some 100,000
TEMPORARY_PREFIX = ".mri7t-"  # without the target's name, which may be 255 bytes long
TEMPORARY_SUFFIX = ".tmp"
N_HEX = 16
PROBE_BYTES = 4096
TEMPORARIES = f"{TEMPORARY_PREFIX}{'[0-9a-f]' * N_HEX}{TEMPORARY_SUFFIX}"
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


def expanded(place: str) -> Path:
    """Return a path with the home folder in the place of ``~``, if there is such a user.

    Examples
    --------
    >>> expanded("models/mine").as_posix()
    'models/mine'
    """
    path = Path(place)
    try:
        return path.expanduser()
    except RuntimeError:  # no such user: the path is reported as it was typed
        return path


def write_atomically(path: str | Path, writer: Writer, *, overwrite: bool = True) -> Path:
    """Write one file whole or not at all.

    Parameters
    ----------
    path : str or Path
        Target. A symbolic link stays, and the file it points to is replaced, unless it is a
        content of git-annex.
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
        If the folder is missing, the target exists or is locked by git-annex, or the system refuses
        (disk full, no permission, input/output error). The old file is then untouched and no
        temporary is left.
    """
    return write_together([(path, writer)], overwrite=overwrite)[0]


def write_together(
    parts: Sequence[tuple[str | Path, Writer]], *, overwrite: bool = True
) -> list[Path]:
    """Write several files: all of them, or none.

    All are complete and synced under temporary names before the first is renamed. They are written
    from the last to the first, so that the first may hold a digest of the last, and renamed in the
    order given, so that the one that marks the whole as complete comes last.

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
    for folder in {target.parent for target in targets}:
        remove_leftovers(folder)
    with _Temporaries() as used:
        written: dict[int, Path] = {}
        for index in reversed(range(len(parts))):
            with _failures_in_words(targets[index]):
                written[index] = _write_temporary(used, targets[index], parts[index][1])
        _place_all(used, [written[index] for index in range(len(parts))], targets, overwrite)
    return [Path(path) for path, _ in parts]


def write_content(path: str | Path, content: str | bytes, *, overwrite: bool = True) -> Path:
    """Write a small file whole or not at all.

    Parameters
    ----------
    path : str or Path
    content : str or bytes
        Text becomes UTF-8; the undecodable bytes of a file name become escapes.
    overwrite : bool
        As for `write_atomically`.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    return write_atomically(path, lambda file: file.write(data), overwrite=overwrite)


def write_json(path: str | Path, content: Any, *, overwrite: bool = True) -> Path:
    """Write strict JSON, indented, as `write_content`; see `to_json`."""
    return write_content(path, to_json(content, ascii_only=False) + "\n", overwrite=overwrite)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Returns
    -------
    Any
        Plain values, as `json.loads` returns them.

    Raises
    ------
    OSError
        If the file cannot be read, is not a regular file, or is larger than `LARGEST_JSON`.
    ValueError
        If it is not JSON, not UTF-8, or nested too deeply to be read.
    """
    content = read_regular(path, LARGEST_JSON)
    try:
        return json.loads(content.decode("utf-8-sig"))  # editors may add a byte order mark
    except RecursionError as error:  # is a RuntimeError, which napari's worker swallows
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8") from error


def read_object(path: Path, advice: str, error: type[Mri7tError] = Mri7tError) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Parameters
    ----------
    path : Path
    advice : str
        What to do if it cannot be read, or holds something else.
    error : type
        Of the exception that is raised then.

    Raises
    ------
    Mri7tError
        Of that type; a missing file is one that cannot be read.
    """
    try:
        found = read_json(path)
    except (OSError, ValueError) as failure:
        raise error(f"{path}: cannot be read ({reason_of(failure)}): {advice}") from failure
    if not isinstance(found, dict):
        raise error(f"{path}: is no JSON object: {advice}")
    return found


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes killed while writing; others may be writing.

    Parameters
    ----------
    folder : Path
        Files stay where their lock cannot be asked for: on Windows, on some network disks.
    """
    if fcntl is None:
        return
    for path in folder.glob(TEMPORARIES):
        with contextlib.suppress(OSError):  # is held, or another program's
            mode = os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY  # NFS asks for the first
            with os.fdopen(os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def check_folder(folder: Path) -> None:
    """Raise before the work, not after it, if no file can be written into a folder.

    Parameters
    ----------
    folder : Path
        Permissions do not tell for an administrator, a read-only or a full disk: a small file is
        written and removed. A folder that does not exist yet is judged by the one to hold it.

    Raises
    ------
    Mri7tError
        With the reason of the system.
    """
    place = Path(os.path.abspath(folder))
    place = next(above for above in (place, *place.parents) if os.path.lexists(above))
    with _Temporaries() as used:
        try:
            _write_temporary(used, place / "probe", lambda file: file.write(bytes(PROBE_BYTES)))
        except OSError as error:
            reason, advice = _reason_of(error)
            raise Mri7tError(f"{folder}: cannot be written into: {reason}: {advice}") from error


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
        If the folder is missing, or something is in the way; as `refuse_annexed`.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        has_folder = target.parent.is_dir()
    except (OSError, ValueError) as error:
        raise Mri7tError(f"{path}: cannot be written: {reason_of(error)}") from error
    if mode is not None and stat.S_ISDIR(mode):
        raise Mri7tError(f"{path}: is a folder: choose a file name")
    if mode is not None and not stat.S_ISREG(mode):
        raise Mri7tError(f"{path}: is not a regular file: choose another name")
    if mode is not None and not overwrite:
        raise Mri7tError(f"{path}: {_EXISTS}", argument="overwrite")
    refuse_annexed(path)
    if not has_folder:
        raise Mri7tError(f"{path}: the folder {target.parent} does not exist: create it first")
    return target


def refuse_annexed(path: str | Path) -> None:
    """Refuse to write through a link of git-annex, which would change the content behind its key.

    Parameters
    ----------
    path : str or Path
        Where a file is to be written.

    Raises
    ------
    Mri7tError
        If it leads to a content of git-annex, present or not.

    Examples
    --------
    >>> refuse_annexed("estimate.nii.gz")
    """
    if told := why_annexed(path):
        raise Mri7tError(f"{path}: {told}")


@contextlib.contextmanager
def _failures_in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise Mri7tError(f"{target}: {_EXISTS}", argument="overwrite") from error
    except OSError as error:
        reason, advice = _reason_of(error)
        raise Mri7tError(f"{target}: {reason}: {advice}; the file was not written") from error


def _reason_of(error: OSError) -> tuple[str, str]:
    """Return what the system says, and what to do."""
    reason = reason_of(error)
    return reason, _ADVICE.get(errno.errorcode.get(error.errno or 0, ""), "choose another place")


class _Temporaries:
    """The temporary files of one call: locked until it ends, and then removed."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._held: list[int] = []

    def __enter__(self) -> "_Temporaries":
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            _remove(path)
        while self._held:
            os.close(self._held.pop())

    def new_name(self, target: Path) -> Path:
        """Return a name beside the target, noted before anything has it."""
        name = f"{TEMPORARY_PREFIX}{secrets.token_hex(N_HEX // 2)}{TEMPORARY_SUFFIX}"
        self._paths.append(target.parent / name)
        return self._paths[-1]

    def hold(self, descriptor: int, path: Path) -> bool:
        """Lock a file that was just made; False if another process took it for a leftover."""
        if fcntl is None:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # two processes may replace one file
            self._held.append(os.dup(descriptor))
        except OSError:  # a file system without locks
            return True
        return os.path.lexists(path)


def _write_temporary(used: _Temporaries, target: Path, writer: Writer) -> Path:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        temporary = used.new_name(target)
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            if not used.hold(file.fileno(), temporary):
                continue
            writer(file)
            _keep_mode(file.fileno(), target)
            file.flush()
            os.fsync(file.fileno())
        return temporary


def _keep_mode(descriptor: int, target: Path) -> None:
    """Copy the mode of the old file; a file system without modes refuses, which is no error."""
    if not (target.exists() and hasattr(os, "fchmod")):
        return
    try:
        os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        _log.warning("%s: its mode could not be preserved: %s", target, error)


def _place_all(
    used: _Temporaries, temporaries: list[Path], targets: list[Path], overwrite: bool
) -> None:
    begun: list[tuple[Path, Path, Path | None]] = []
    try:
        for number, (temporary, target) in enumerate(zip(temporaries, targets, strict=True), 1):
            backup = None
            with _failures_in_words(target):
                if number < len(targets) and target.exists():  # nothing fails after the last
                    backup = _second_name(used, target)
                begun.append((temporary, target, backup))
                _place(temporary, target, overwrite)
    except BaseException:  # an interrupt too, which may come between any two instructions
        if not _is_placed(temporaries[-1], targets[-1]):
            for temporary, target, backup in reversed(begun):
                if _is_placed(temporary, target):
                    _put_back(target, backup)
        raise
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


def _second_name(used: _Temporaries, target: Path) -> Path:
    while True:
        backup = used.new_name(target)
        try:
            os.link(target, backup)
        except OSError:
            shutil.copy2(target, backup)
        try:
            with backup.open("rb") as file:
                if used.hold(file.fileno(), backup):
                    return backup
        except FileNotFoundError:  # taken for a leftover
            continue
        except OSError:  # may not be read: nor by whoever looks for leftovers
            return backup


def _put_back(target: Path, backup: Path | None) -> None:
    with contextlib.suppress(OSError):
        target.unlink() if backup is None else os.replace(backup, target)


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
