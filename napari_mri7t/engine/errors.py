"""Errors for the user: each message says what is wrong, where, and what to do.

None derives from RuntimeError, which napari's worker swallows as the sign of a deleted widget: the
progress bar would never end.
"""

import errno

# Torch has a class for CUDA only; errors of the CPU, MPS and cuDNN have these words in common.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "ALLOC_FAILED",
    "can't start new thread",
)


class Mri7tError(Exception):
    """Base of every error this package raises on purpose, besides ValueError and TypeError.

    Parameters
    ----------
    message : str
        What was expected, what was found, where, and what to do, without command-line options.
    argument : str
        The argument that helps, such as "overwrite"; the command line names its option.
    """

    def __init__(self, message: str, *, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


class VolumeError(Mri7tError):
    """A file or an array is not a usable volume."""


class GridError(Mri7tError):
    """Two volumes that must share one grid do not."""


class ModelError(Mri7tError):
    """A model folder is missing, damaged or of another architecture."""


class SubjectError(Mri7tError):
    """A folder of subjects cannot be used as a training set."""


class StateError(Mri7tError):
    """A run folder or checkpoint does not match the request."""


class DeviceError(Mri7tError):
    """A device is missing, or its memory is too small."""


class Mri7tWarning(UserWarning):
    """Something unusual that does not stop the work; it is also recorded in the sidecar."""


ADVICE = {  # by the system's error
    "EEXIST": "choose another place",
    "ENOTDIR": "choose a folder, not a file",
    "EISDIR": "choose a file, not a folder",
    "EROFS": "choose a folder that can be written to",
}


def reason_of(error: BaseException) -> str:
    """Return what went wrong, without the number and the file that Python puts into it.

    Examples
    --------
    >>> reason_of(PermissionError(13, "Permission denied", "scan.nii"))
    'Permission denied'
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def nameless_reason(error: OSError) -> str:
    """Return as `reason_of`, but no words of a library: they may quote a file's name.

    Files and folders of DICOM are often named after the patient.
    """
    return error.strerror or type(error).__name__


def unreadable(path: object, error: BaseException, advice: str = "mend or remove it") -> str:
    """Return the message of a file that was found but cannot be read."""
    return f"{path}: cannot be read ({reason_of(error)}): {advice}"


def in_words(error: BaseException) -> str:
    """Return an error as one sentence; of the system's errors with the file, and what may help.

    Examples
    --------
    >>> in_words(NotADirectoryError(20, "Not a directory", "scan.nii"))
    'scan.nii: Not a directory: choose a folder, not a file'
    >>> in_words(Mri7tError("scan.nii: is empty"))
    'scan.nii: is empty'
    """
    file = getattr(error, "filename", None)
    if file is None or not isinstance(error, OSError):
        return str(error)
    advice = ADVICE.get(errno.errorcode.get(error.errno or 0, ""))
    return ": ".join(map(str, filter(None, (file, reason_of(error), advice))))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on any device."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"  # torch's own
        or any(words in str(error) for words in OUT_OF_MEMORY)
    )
