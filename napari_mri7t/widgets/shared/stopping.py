"""How a thread is asked to stop, and made to where a single step of its work takes too long.

The engine stops between two records. One slab of slices through a large network on a busy
processor takes seconds, though; then an exception is raised between two Python instructions of that
thread, as Ctrl+C does in the main one, and the engine cleans up as after any exception.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: How long the engine may take to its next record, seconds; with what follows less than 2.
PATIENCE_S = 0.7


class Cancelled(BaseException):
    """Raised inside the thread that shall stop; no `except Exception` on its way may take it."""


class Stop:
    """A request to stop, for one thread."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._free = threading.Event()  # superqt's own pause forgets a resume that comes early
        self._free.set()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._timer: threading.Timer | None = None

    @property
    def is_requested(self) -> bool:
        """Whether to stop."""
        return self._requested.is_set()

    def request(self) -> None:
        """Ask once; insist after `PATIENCE_S` if the thread is in an interruptible step then."""
        if self._requested.is_set():
            return
        self._requested.set()
        self._free.set()
        self._timer = threading.Timer(PATIENCE_S, self._insist)
        self._timer.daemon = True
        self._timer.start()

    @property
    def is_held(self) -> bool:
        """Whether the thread shall rest before its next step."""
        return not self._free.is_set()

    def hold(self) -> None:
        """Have the thread rest before its next step."""
        if not self.is_requested:
            self._free.clear()

    def let_go(self) -> None:
        """End the rest."""
        self._free.set()

    def rest(self) -> None:
        """Wait in the thread while it is held."""
        self._free.wait()

    def forget(self) -> None:
        """End the waiting: the thread has stopped."""
        if self._timer is not None:
            self._timer.cancel()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Mark a step of the calling thread that may be broken off."""
        thread = threading.get_ident()
        with self._lock:
            self._thread = thread
        try:
            yield
        finally:
            with self._lock:
                self._thread = None
                _raise_in(thread, None)  # one that was sent and has not arrived yet

    def _insist(self) -> None:
        with self._lock:
            if self._thread is not None:
                _raise_in(self._thread, Cancelled)


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    sent = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), sent)
