"""Pieces of one computation in parallel lanes of few threads, which never wait for each other.

Torch splits every single operation over all cores and waits for the slowest; a lane takes a piece
from beginning to end on cores of its own.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

import torch

START_SECONDS = 60  # until every lane has begun
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
        Of one lane. If torch may use no more in all, this thread is the only lane.

    Yields
    ------
    Result
        Of every item; closing the generator waits for those being computed.
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
    """Set every lane's threads; torch's setting is the thread's own, but new ones inherit it."""
    everyone = Barrier(n_lanes)
    n_inherited = torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()  # a thread's first call takes torch's setting over
        torch.set_num_threads(n_threads)
        everyone.wait(START_SECONDS)  # or a lane that begins at once takes another one's turn

    def abort_if_failed(lane: Future[None]) -> None:
        if lane.exception():
            everyone.abort()  # here, since `begin` may fail before its first line

    begun: list[Future[None]] = []
    try:
        for _ in range(n_lanes):
            begun.append(pool.submit(begin))
            begun[-1].add_done_callback(abort_if_failed)
    except BaseException:
        everyone.abort()
        raise
    finally:
        wait(begun)  # or one that begins late changes torch's setting once more
        torch.set_num_threads(n_inherited)
    failures = [error for lane in begun if (error := lane.exception())]
    for error in sorted(failures, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
