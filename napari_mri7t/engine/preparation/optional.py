"""The optional libraries behind raw scans, and work that runs beside its generator."""

import importlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from napari_mri7t.engine.errors import Mri7tError, is_out_of_memory

POLL_SECONDS = 0.2  # between two looks at work in the background: a cancel waits no longer
THREAD_NAME = "mri7t-preparation"
INSTALL = "pip install 'napari-mri7t[native]'"
LIBRARIES = ("SimpleITK", "deepbet", "scipy")  # what decides a preparation
ITK_OUT_OF_MEMORY = ("out of memory", "allocate memory", "bad_alloc")
Result = TypeVar("Result")
_itk_is_ours = threading.Lock()


@dataclass(frozen=True)
class PreparationProgress:
    """How many steps are done, of how many, and what is being done."""

    done: int
    total: int
    message: str


def optional(module: str, purpose: str) -> Any:
    """Import a library of the extra `native`.

    Parameters
    ----------
    module : str
        "SimpleITK", "deepbet.bet".
    purpose : str
        What it is needed for, as the subject of a sentence.

    Returns
    -------
    module

    Raises
    ------
    Mri7tError
        If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise Mri7tError(f"{purpose} needs {library}, which is missing: {INSTALL}") from error


def library_versions() -> dict[str, str]:
    """Return the versions of what decides a preparation, without importing it.

    Returns
    -------
    dict
        Name to version, "not installed" for what is missing.
    """
    return {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def in_background(
    work: Callable[[], Result], stop: Callable[[], object] | None = None
) -> Generator[None, None, Result]:
    """Do blocking work in a thread, yielding while it lasts.

    The libraries behind raw scans compute for seconds without a break, but free the interpreter.
    Closing the generator returns at once: `stop` asks the work to end, and what cannot be
    stopped ends by itself, its result unused.

    Parameters
    ----------
    work : callable
        Called once, without arguments.
    stop : callable, optional
        Called from another thread while `work` runs, if the generator is closed.

    Returns
    -------
    object
        What `work` returned; what it raised is raised here, a RuntimeError as `Mri7tError`.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # handed over to the thread that waits
            failure.append(error)

    thread = threading.Thread(target=run, name=THREAD_NAME)
    thread.start()
    try:
        while thread.is_alive():
            yield
            thread.join(POLL_SECONDS)
    finally:
        if thread.is_alive() and stop is not None:
            stop()
    if not outcome:
        error = failure[0] if failure else MemoryError()  # without any, a thread ends before `run`
        if is_out_of_memory(error) or _says_so(error):
            raise Mri7tError(
                "preparation: not enough memory: close other programs, or give your own mask and "
                "transform"
            ) from error
        if isinstance(error, RuntimeError):
            raise Mri7tError(f"preparation failed: {error}") from error
        raise error
    return outcome[0]


def in_one_itk_thread(
    sitk: Any, work: Callable[[], Result], stop: Callable[[], object]
) -> Generator[None, None, Result]:
    """Do work of ITK in the background and in one thread of ITK's, so that its bits repeat.

    `SetNumberOfThreads` of N4 and of a registration does not reach the filters and the metric
    within, which sum in threads too: those ask for the default of the process, set back after.

    Parameters
    ----------
    sitk : module
    work, stop : callable
        As for `in_background`; `work` is not begun once the generator is closed.

    Returns
    -------
    object
        As `in_background`.
    """
    is_closed = threading.Event()

    def alone() -> Result:
        with _itk_is_ours:
            if is_closed.is_set():
                raise Mri7tError("closed before it began")  # told to nobody
            before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
            try:
                return work()
            finally:
                sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)

    def end() -> None:
        is_closed.set()
        stop()

    return (yield from in_background(alone, end))


def _says_so(error: BaseException) -> bool:
    """Tell a lack of memory by ITK's words for it, which differ from torch's."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in ITK_OUT_OF_MEMORY)
