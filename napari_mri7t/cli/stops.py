"""Signals that end a command: SIGTERM and SIGHUP unwind as Ctrl-C does, with their own exit code.

Imports nothing slow: it is there before the rest of the command line.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

STDERR = 2  # file descriptor
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
Handler = Callable[[int, FrameType | None], Any]
_received = [int(signal.SIGINT)]


def exit_code() -> int:
    """Return the exit code of a command that the last signal ended."""
    return 128 + _received[-1]


@contextlib.contextmanager
def handled_by(handler: Handler) -> Iterator[bool]:
    """Let a function handle the signals that are not ignored.

    Yields
    ------
    bool
        False in a thread, or if Ctrl-C is ignored, as in a job in the background.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return

    def handle(number: int, frame: FrameType | None) -> None:
        _received[:] = [number]
        handler(number, frame)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, old in before.items():
        if old not in (signal.SIG_IGN, None):
            signal.signal(number, handle)
    try:
        yield before[signal.SIGINT] not in (signal.SIG_IGN, None)
    finally:
        for number, old in before.items():
            if old is not None:
                signal.signal(number, old)


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def exit_at_once(number: int = 0, frame: FrameType | None = None) -> NoReturn:
    """End the process without unwinding: an interrupted import may end in any error.

    Files are written whole or not at all, so that this costs no more than a kill.
    """
    with contextlib.suppress(OSError, ValueError):  # a closed pipe
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(STDERR, b"stopped\n")
    os._exit(exit_code())
