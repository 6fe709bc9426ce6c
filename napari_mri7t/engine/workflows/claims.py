"""Locks that keep two batches on one derivative apart, estimate by estimate.

The lock files lie in the derivative's folder of logs, which the BIDS validator ignores, and are
removed when they are released. The system releases the locks of a killed process.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from napari_mri7t.engine.datasets.bids import LOG_FOLDER, ignore_own_files
from napari_mri7t.engine.errors import Mri7tError, StateError

WAIT_SECONDS = 60  # for what takes another process milliseconds


class ClaimedError(StateError):
    """Another process is at an estimate."""


def log_folder(folder: Path) -> Path:
    """Make the folder of logs in a derivative, where the BIDS validator ignores it.

    Parameters
    ----------
    folder : Path
        Of the derivative; created if missing.
    """
    place = folder / LOG_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    ignore_own_files(folder)
    return place


@contextlib.contextmanager
def lock_derivative(folder: Path) -> Iterator[Path]:
    """Keep other processes from what all batches on a derivative write; yields its log folder.

    Raises
    ------
    StateError
        If another process holds the lock for a minute.
    """
    place = log_folder(folder)
    lock = _acquire(place / "derivative.lock", WAIT_SECONDS)
    try:
        yield place
    finally:
        _release(lock)


class Claims:
    """The estimates that this process is at; no other process writes them meanwhile.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock | None] = {}

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        for output in list(self._held):
            self.release(output)

    def take(self, output: str) -> None:
        """Lock an estimate.

        Parameters
        ----------
        output : str
            Its path within the derivative.

        Raises
        ------
        ClaimedError
            If another process is at it.
        """
        name = hashlib.sha256(output.casefold().encode("utf-8", "surrogateescape")).hexdigest()
        try:
            self._held[output] = _acquire(log_folder(self._folder) / f"{name[:16]}.lock", 0)
        except StateError as error:
            raise ClaimedError(
                f"{self._folder / output}: another process is at this estimate"
            ) from error

    def release(self, output: str) -> None:
        """Let go of an estimate, if it is held."""
        _release(self._held.pop(output, None))


def _acquire(path: Path, seconds: float) -> FileLock | None:
    """Return a lock that any thread may release; None where the file system has no locks."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise StateError(f"{path}: is held by another process: wait for it, or stop it") from error
    except (OSError, NotImplementedError) as error:
        if not path.parent.is_dir():
            raise Mri7tError(f"{path.parent}: the folder no longer exists") from error
        return None
    return lock


def _release(lock: FileLock | None) -> None:
    if lock is None:
        return
    with contextlib.suppress(OSError):  # removed first: a waiting process sees that it is gone
        Path(lock.lock_file).unlink()
    lock.release()
