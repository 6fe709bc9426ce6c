"""The errors that reach a user: each message says what is wrong, where, and what to do.

None derives from RuntimeError: napari's worker takes any RuntimeError for a deleted widget and
swallows it, so such an error would leave a progress bar that never ends.
"""

# Of CUDA alone torch has an error of its own for it; the CPU, MPS and cuDNN say it in these words.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "ALLOC_FAILED",
    "can't start new thread",
)


class Mri7tError(Exception):
    """Base of every error this package raises on purpose, beside ValueError and TypeError.

    Parameters
    ----------
    message : str
        What was expected, what came, where, and what to do; no word of a command line.
    argument : str
        Name of the argument that helps, such as "overwrite"; the command line names its option.
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
    """A folder of subjects cannot serve as a training set."""


class StateError(Mri7tError):
    """A run folder or checkpoint does not fit what is asked of it."""


class DeviceError(Mri7tError):
    """A device is not there, or its memory does not suffice."""


class Mri7tWarning(UserWarning):
    """Something unusual that does not stop the work; it is recorded in the sidecar too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory, on whatever device, from every other error; torch is not imported."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"  # torch's own
        or any(words in str(error) for words in OUT_OF_MEMORY)
    )
