"""What `batch` and `pair` share: where they run, and what they say of many scans."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_mri7t.cli.console import has_option, option_of, say

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.cluster import Place
    from napari_mri7t.engine.workflows.summary import BatchSummary

EXIT_SOME_FAILED = 1
Run = Callable[..., "BatchSummary"]


class Collected:
    """The outcomes so far, for the summary of a run that is stopped."""

    def __init__(self) -> None:
        from napari_mri7t.engine.workflows.summary import BatchSummary

        self.summary = BatchSummary()

    def note(self, outcome: "BatchSummary") -> None:
        """Add an outcome."""
        self.summary = self.summary.with_other(outcome)


def on_cluster(place: "Place", run: Run) -> Run:
    """Return a function that runs on a cluster what it is given."""

    def there(items: Any, job: Any, report: Any, note: Any) -> "BatchSummary":
        from napari_mri7t.engine.workflows.cluster import open_client

        with open_client(place) as client:
            return run(items, job, client, place, report, note)

    return there


def say_left_out(summary: "BatchSummary", command: Callable[..., None]) -> None:
    """Print what was skipped and what failed, with the option of the command that may help."""
    for name, reason in summary.skipped.items():
        say(f"skipped: {name}: {reason}", err=True)
    for name, reason in summary.failed.items():
        argument = summary.arguments.get(name, "")
        hint = option_of(argument) if has_option(command, argument) else ""
        say(f"failed: {name}: {reason}{hint}", err=True)


def in_numbers(summary: "BatchSummary", digits: int) -> str:
    """Return how many were made, known and failed, with the seconds of each made one."""
    made = "stopped: " * summary.stopped + f"{len(summary.written)} written"
    if summary.written and summary.seconds:
        made += f" ({summary.seconds / len(summary.written):.{digits}f} s each)"
    return f"{made}, {len(summary.known)} already done, {len(summary.failed)} failed"
