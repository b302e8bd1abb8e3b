"""The one error a user can cause, and the help that goes with it.

`UserError` is printed without a traceback and ends the command with exit code 2. Its text says what was given, what
was expected and what to do. `suggest` adds "Did you mean ...?"; `FaultList` collects all faults of one input, so that
they are shown together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave cannot be used; the message is the whole explanation."""


def suggest(word: object, known: Iterable[str]) -> str:
    """Return ' Did you mean "x"?' for the known word nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def unknown(what: str, word: object, known: Iterable[str]) -> str:
    """One sentence for a name that does not exist, with the names that do."""
    names = sorted(str(k) for k in known)
    return f'Unknown {what} "{word}".{suggest(word, names)} Known: {", ".join(names)}.'


class FaultList:
    """All faults of one input, raised as one `UserError`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.faults: list[str] = []

    def add(self, fault: str) -> None:
        self.faults.append(fault)

    def raise_if_any(self) -> None:
        if len(self.faults) == 1:
            raise UserError(f"{self.title}: {self.faults[0]}")
        if self.faults:
            raise UserError("\n".join([f"{self.title}: {len(self.faults)} faults", *(f"  - {f}" for f in self.faults)]))
