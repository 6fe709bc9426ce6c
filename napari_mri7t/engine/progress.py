"""Long work is a generator that yields progress and returns its result."""

from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")
Step = TypeVar("Step")
Record = TypeVar("Record")


def run_to_end(steps: Generator[object, None, Result]) -> Result:
    """Run a generator to its end and give what it returns, for callers without a progress bar."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


def with_records(
    steps: Generator[Step, None, Result], record: Callable[[Step], Record]
) -> Generator[Record, None, Result]:
    """Yield `record(step)` for every step of a generator, and return what it returns.

    Closing this closes the inner generator, so that a cancel reaches the work itself.
    """
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            yield record(step)
    finally:
        steps.close()
