"""The optional libraries for raw scans, and blocking work in a thread that can be abandoned."""

import importlib
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from napari_mri7t.engine.errors import Mri7tError, is_out_of_memory
from napari_mri7t.engine.progress import Progress, Report

POLL_SECONDS = 0.2  # between two reports while work runs in the background
INSTALL = "pip install 'napari-mri7t[native]'"
#: Modules of the extra `native`, and their libraries.
NATIVE = {"SimpleITK": "SimpleITK", "deepbet.bet": "deepbet"}
LIBRARIES = (*NATIVE.values(), "scipy")  # whose versions decide a preparation
ITK_OUT_OF_MEMORY = ("out of memory", "allocate memory", "bad_alloc")
Result = TypeVar("Result")
_itk_lock = threading.Lock()
_working: set[threading.Thread] = set()


def optional(module: str, purpose: str) -> Any:
    """Import a library of the extra `native`.

    Parameters
    ----------
    module : str
        "SimpleITK", "deepbet.bet".
    purpose : str
        What it is needed for, as the subject of a sentence.

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


def in_background(
    work: Callable[[], Result],
    report: Report,
    now: Progress,
    stop: Callable[[], object] | None = None,
) -> Result:
    """Do blocking work in a thread, reporting while it lasts.

    The libraries for raw scans compute for seconds without a break, but release the interpreter.
    If the report raises, this returns at once: `stop` asks the work to end, and work that cannot
    be stopped finishes in the background, its result unused.

    Parameters
    ----------
    work : callable
        Called once, without arguments.
    report : callable
        Called every `POLL_SECONDS`.
    now : Progress
        What is reported.
    stop : callable, optional
        Called while `work` runs, if the report raises.

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
        finally:
            _working.discard(thread)

    thread = threading.Thread(target=run, name="mri7t-preparation", daemon=False)
    _working.add(thread)
    thread.start()
    try:
        while thread.is_alive():
            report(now)
            thread.join(POLL_SECONDS)
    finally:
        if thread.is_alive() and stop is not None:
            stop()
    if outcome:
        return outcome[0]
    error = failure[0] if failure else MemoryError()  # without any, a thread ends before `run`
    if is_out_of_memory(error) or _is_itk_out_of_memory(error):
        raise Mri7tError(
            "preparation: not enough memory: close other programs, or provide your own mask and "
            "transform"
        ) from error
    if isinstance(error, RuntimeError):
        raise Mri7tError(
            f"preparation failed: {_words_of(error)}: check that the scan shows a whole head and "
            "its header is correct, or provide your own mask and transform"
        ) from error
    raise error


def unfinished_work() -> list[threading.Thread]:
    """Return the threads of cancelled work that could not be stopped and are still running."""
    return [thread for thread in list(_working) if thread.is_alive()]


def in_one_itk_thread(
    sitk: Any,
    work: Callable[[], Result],
    report: Report,
    now: Progress,
    stop: Callable[[], object],
) -> Result:
    """Run ITK in the background and in one thread, so that its result is reproducible bit for bit.

    `SetNumberOfThreads` of N4 and of a registration does not reach the filters and the metric
    within, which sum in threads too: those ask for the default of the process, set back after.

    Parameters
    ----------
    sitk : module
    work, report, now, stop
        As for `in_background`; `work` does not begin once the report has raised.

    Returns
    -------
    object
        As `in_background`.
    """
    is_cancelled = threading.Event()

    def alone() -> Result:
        with _itk_lock:
            if is_cancelled.is_set():
                raise Mri7tError("cancelled before it began")  # nobody waits for it
            before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
            try:
                return work()
            finally:
                sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)

    def cancel() -> None:
        is_cancelled.set()
        stop()

    return in_background(alone, report, now, cancel)


def _words_of(error: BaseException) -> str:
    """Return what an error says, of one of ITK without where in its source it arose."""
    text = re.sub(r".*ITK ERROR: (?:\w+\(0x[0-9a-f]+\): )?", "", str(error), flags=re.DOTALL)
    return text.rstrip(". \n")


def _is_itk_out_of_memory(error: BaseException) -> bool:
    """Return whether ITK ran out of memory; its message differs from torch's."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in ITK_OUT_OF_MEMORY)
