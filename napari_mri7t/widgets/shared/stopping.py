"""How a thread is asked to stop, and forced to where one step of its work takes too long.

The engine stops at a report. One slab of slices through a large network on a busy processor takes
seconds, though; then an exception is raised between two Python instructions of that thread, as
Ctrl+C does in the main one, and the engine cleans up as after any exception.
"""

from __future__ import annotations

import ctypes
import threading
import time
from contextlib import suppress

from napari_mri7t.engine.progress import Cancelled

#: How long the engine may take to its next report, seconds; with what follows less than 2.
PATIENCE_S = 0.7


class Stop:
    """A request to stop or to pause, for one thread."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._free = threading.Event()
        self._free.set()
        self._lock = threading.RLock()
        self._thread: int | None = None  # while it may be interrupted
        self._is_sent = False
        self._timer: threading.Timer | None = None

    @property
    def is_requested(self) -> bool:
        """Whether to stop."""
        return self._requested.is_set()

    def request(self) -> None:
        """Ask once; interrupt the thread if it may be interrupted `PATIENCE_S` later."""
        if self._requested.is_set():
            return
        self._requested.set()
        self._free.set()
        self._timer = threading.Timer(PATIENCE_S, self._interrupt)
        self._timer.daemon = True
        self._timer.start()

    @property
    def is_held(self) -> bool:
        """Whether the thread waits at its next report."""
        return not self._free.is_set()

    def hold(self) -> None:
        """Have the thread wait at its next report."""
        if not self.is_requested:
            self._free.clear()

    def let_go(self) -> None:
        """End the wait."""
        self._free.set()

    def rest(self) -> None:
        """Wait in the thread while it is held; raise `Cancelled` in it if it is to stop."""
        self._free.wait()
        if self.is_requested:
            raise Cancelled

    def allow_interrupt(self) -> None:
        """Let the calling thread be interrupted until it calls `forbid_interrupt`."""
        with self._lock:
            self._thread = threading.get_ident()

    def forbid_interrupt(self) -> None:
        """Let the calling thread reach its next report undisturbed."""
        with self._lock:
            self._thread = None
            is_sent, self._is_sent = self._is_sent, False
        if is_sent:
            _let_arrive()

    def forget(self) -> None:
        """Send no interrupt any more: the thread has stopped."""
        if self._timer is not None:
            self._timer.cancel()

    def _interrupt(self) -> None:
        with self._lock:
            if self._thread is not None:
                self._is_sent = True
                _raise_in(self._thread)


def _raise_in(thread: int) -> None:
    sent = ctypes.py_object(Cancelled)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), sent)


def _let_arrive() -> None:
    """End an interrupt that was sent to the calling thread and may not have arrived yet.

    Python could take it back, but would go on looking for it: all code would run more slowly, and
    under a profiler, in Python 3.11, not at all.
    """
    with suppress(Cancelled):
        _raise_in(threading.get_ident())
        while True:
            time.sleep(0)
