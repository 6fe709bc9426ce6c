"""Pieces of one computation side by side: lanes of few threads never wait for each other.

Torch shares every single operation out to all cores and waits for the last; a lane takes a piece
from beginning to end on cores of its own.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

import torch

START_SECONDS = 60
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_lanes(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int
) -> Generator[Result, None, None]:
    """Map items in their order, several at once on the cores that torch may use.

    Parameters
    ----------
    function : callable
        Called in a lane's thread; what it raises is raised here, at its item's turn.
    items : iterable
        Taken as lanes become free.
    n_threads : int
        Of one lane. Where there are no more in all, this thread is the only lane.

    Yields
    ------
    Result
        Of every item; closing the generator waits for those under way.
    """
    n_lanes = torch.get_num_threads() // n_threads
    if n_lanes < 2:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(n_lanes, "lane")
    waiting: deque[Future[Result]] = deque()
    try:
        _set_threads(pool, n_lanes, n_threads)
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > n_lanes:  # one more than there are lanes, so that none is idle
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _set_threads(pool: ThreadPoolExecutor, n_lanes: int, n_threads: int) -> None:
    """Give every lane its threads; torch's setting is the thread's own, but new ones inherit it."""
    everyone = Barrier(n_lanes)
    n_inherited = torch.get_num_threads()

    def begin() -> None:
        try:
            torch.get_num_threads()  # a thread's first call takes torch's setting over
            torch.set_num_threads(n_threads)
            everyone.wait(START_SECONDS)  # for ever, if one of them could not be started
        except BaseException:
            everyone.abort()
            raise

    begun: list[Future[None]] = []
    try:
        begun.extend(pool.submit(begin) for _ in range(n_lanes))
    except BaseException:
        everyone.abort()
        raise
    finally:
        wait(begun)  # or one that begins late changes torch's setting once more
        torch.set_num_threads(n_inherited)
    failures = [error for lane in begun if (error := lane.exception())]
    for error in sorted(failures, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
