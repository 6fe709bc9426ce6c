"""How long work takes on this computer: measured in the background by a short piece of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest


class TimeLabel(TextLabel):
    """One line; the pace is measured once for each kind of work.

    Parameters
    ----------
    title : str
        Of the measurement.
    measure : callable
        Takes a kind of work, as it is given to `tell`; returns it and its pace.
    """

    def __init__(self, title: str, measure: Callable[[Any], tuple[Any, Any]]) -> None:
        super().__init__()
        self.setWordWrap(True)
        self._measure = measure
        self._asked: tuple[Any, Callable[[Any], str]] = (None, str)
        self._under_way: Any = None  # the kind that is being measured, or could not be
        self.pace: tuple[Any, Any] | None = None  # the kind that was measured last, and its pace
        self._measuring = Latest(title, self)
        self._measuring.answered.connect(self._keep)
        self.tell(None)

    def tell(self, kind: Any, describe: Callable[[Any], str] = str) -> None:
        """Show how long work takes; None: nothing can be done now.

        `describe`: returns the line for a pace.
        """
        self._asked = kind, describe
        if kind is None:
            self._measuring.drop()
            self._under_way = None
            self.show_or_hide("")
        elif self.pace is not None and self.pace[0] == kind:
            self.show_or_hide(describe(self.pace[1]))
        else:
            self.blank()
            if kind != self._under_way:
                self._under_way = kind
                self._measuring.ask(self._measure, kind)

    def _keep(self, pace: tuple[Any, Any]) -> None:
        self.pace, self._under_way = pace, None
        self.tell(*self._asked)
