"""UserError, the one exception that a user can cause, and the help that goes with it.

`UserError` is printed without a traceback and ends the command with exit code 2. Its text says what was given, what
was expected and what to do. `suggest` adds "Did you mean ...?"; `FaultList` collects all faults of one input, so that
they are shown together; `format_error` shortens the errors of libraries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from sde_ray.safe_text import mask_values


class UserError(Exception):
    """Error in what the user wrote; the message is the whole explanation: what is wrong, what to do.

    Values of secrets are masked in it: it quotes libraries and servers, and ends on a terminal or in a notebook.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(mask_values(str(message)))


def suggest(word: object, names: Iterable[str]) -> str:
    """Suggestion for a misspelt word: ' Did you mean "x"?' with the nearest name, or an empty string."""
    near = difflib.get_close_matches(str(word), [str(name) for name in names], n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def unknown(what: str, word: object, names: Iterable[str]) -> str:
    """Error message for a name that does not exist, with the names that do."""
    names = sorted(str(name) for name in names)
    return f'Unknown {what} "{word}".{suggest(word, names)} Known: {", ".join(names)}.'


class FaultList:
    """Collector of all faults of one input, raised as one `UserError`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.faults: list[str] = []

    def add(self, fault: str) -> None:
        """Add a fault: a sentence with its remedy."""
        self.faults.append(fault)

    def raise_if_any(self) -> None:
        """Raise `UserError` with all faults, if there are any."""
        if len(self.faults) == 1:
            raise UserError(f"{self.title}: {self.faults[0]}")
        if self.faults:
            raise UserError("\n".join([f"{self.title}: {len(self.faults)} faults", *(f"  - {f}" for f in self.faults)]))


def format_error(error: Exception) -> str:
    """One line for an error of a library; pydantic's findings with the place of each, three at most."""
    from pydantic import ValidationError  # not at the top: `sde-ray --help` imports this module

    if isinstance(error, ValidationError):
        findings = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        return "; ".join(findings[:3])
    return (str(error).splitlines() or [""])[0] or type(error).__name__
