"""Long work reports its progress by a plain call, which may wait (pause) or raise (cancel)."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """Progress of long work.

    Parameters
    ----------
    done, total : float
        Steps done and in all; a total of 0 means that the end is unknown.
    message : str
        What is being done.
    """

    done: float
    total: float
    message: str


Report = Callable[[Progress], None]


class Cancelled(BaseException):
    """Raised by a report to stop the work; no `except Exception` on its way may catch it."""


def ignore(progress: Progress) -> None:
    """Ignore the progress: the default report of every function."""


def part(report: Report, done: float, total: float, message: str = "", share: float = 1) -> Report:
    """Return the report of a part of a larger whole.

    Parameters
    ----------
    report : callable
        Of the whole.
    done, total : float
        Steps of the whole that are done when the part begins, and all of them.
    message : str
        Shown in place of the part's own, if given.
    share : float
        Steps of the whole that the part accounts for.

    Returns
    -------
    callable
        What the part reports to; where it does not know its end, the whole stays where it is.

    Examples
    --------
    >>> seen = []
    >>> second_of_four = part(seen.append, 1, 4, "second scan")
    >>> second_of_four(Progress(5, 10, "slices"))
    >>> seen
    [Progress(done=1.5, total=4, message='second scan')]
    """
    step = 0.0

    def report_part(progress: Progress) -> None:
        nonlocal step
        if progress.total:
            step = share * progress.done / progress.total
        text = message or progress.message
        report(replace(progress, done=done + step, total=total, message=text))

    return report_part


def with_loading(report: Report) -> tuple[Report, Report]:
    """Return the report of some work, and one for the loading within it: the bar stays."""
    latest = Progress(0, 1, "")

    def report_work(now: Progress) -> None:
        nonlocal latest
        latest = now
        report(now)

    def report_loading(now: Progress) -> None:
        report(replace(latest, message=now.message))

    return report_work, report_loading
