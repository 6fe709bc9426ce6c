"""Long work is a generator that yields progress and returns its result."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def run_to_end(steps: Generator[object, None, Result]) -> Result:
    """Run a generator to its end and give what it returns, for callers without a progress bar."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
