"""Errors for the user: each message says what is wrong, where, and what to do.

None derives from RuntimeError, which napari's worker swallows as the sign of a deleted widget: the
progress bar would never end.
"""

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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on any device."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"  # torch's own
        or any(words in str(error) for words in OUT_OF_MEMORY)
    )
