"""A row of the tables of scans and people: a name, how far it is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class State:
    """How far a row is: a word, an icon, and its place in the order of urgency."""

    word: str
    icon: str
    rank: int


FAILED = State("failed", "cross", 0)
REFUSED = State("refused", "cross", 1)
RUNNING = State("running", "start", 2)
WAITING = State("waiting", "wait", 3)
WRITTEN = State("written", "check", 4)
DONE = State("already done", "check", 5)
SKIPPED = State("skipped", "dash", 6)


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table.

    `key`: unique, such as a path. `title` and `about`: two lines. `doing`: what is being done, in
    place of the state's word. `reason`: why it failed or was skipped. `notes`: warnings.
    `picture`: grey values 0 to 255, uint8, (height, width). `figures`: of the further columns,
    None where not measured; `details`: further sentences.
    """

    key: str
    title: str
    state: State
    about: str = ""
    doing: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    picture: np.ndarray | None = None
    figures: tuple[float | None, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def warnings(self) -> str:
        """How many notes, warnings most of them, there are; empty without any."""
        count = len(self.notes)
        return "" if not count else "1 note" if count == 1 else f"{count} notes"

    def describe(self) -> str:
        """Return everything that is known, a sentence a line."""
        state = self.doing or self.state.word
        head = f"{self.key}: {state}{f': {self.reason}' if self.reason else ''}"
        return "\n".join([head, *filter(None, [self.about]), *self.details, *self.notes])
