"""Faults of a data file in one message: the same fault of many records is one line, with a count and the first places.

reviews.jsonl: 76 faults of 2 kinds
  - 74 lines (3, 9, 12, ...): "food" has the unknown label "postive". Did you mean "positive"?
  - line 5: the key "text" is missing
Repair these records, or the task's slots and labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sde_ray.errors import UserError

SHOWN_FAULTS, SHOWN_PLACES = 10, 3
_VALUE = re.compile(r""" "[^"]*" | '[^']*' | \d+ """, re.VERBOSE)

PlacedFault = tuple[str, str]
"""Where ("line 3") and what."""


def raise_faults(title: str, faults: Sequence[PlacedFault], remedy: str) -> None:
    """Raise one `UserError` with the faults by kind, the commonest first (ten kinds are shown, all faults counted).

    Raises UserError: if there are any, with the remedy as its last line.
    """
    if not faults:
        return
    kinds = _by_kind(faults)
    lines = [f"{_places(kinds[fault])}: {fault}" for fault in sorted(kinds, key=lambda fault: -len(kinds[fault]))]
    more = [f"... and {len(lines) - SHOWN_FAULTS} more"] if len(lines) > SHOWN_FAULTS else []
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    of_kinds = f" of {len(kinds)} kind{'s' * (len(kinds) > 1)}" if len(kinds) < len(faults) else ""
    shown = "\n".join(f"  - {line}" for line in [*lines[:SHOWN_FAULTS], *more])
    raise UserError(f"{title}: {count}{of_kinds}\n{shown}\n{remedy}")


def _by_kind(faults: Sequence[PlacedFault]) -> dict[str, list[str]]:
    """Places by fault. Where there are more than can be shown, those that differ in a quoted value only are one."""
    kinds: dict[str, list[str]] = {}
    for place, fault in faults:
        kinds.setdefault(fault, []).append(place)
    if len(kinds) <= SHOWN_FAULTS:
        return kinds
    alike: dict[str, list[str]] = {}
    for fault in kinds:
        alike.setdefault(_VALUE.sub("…", fault), []).append(fault)
    merged: dict[str, list[str]] = {}
    for same in alike.values():
        name = same[0] if len(same) == 1 else f"{same[0]} ({len(same) - 1} more such values)"
        merged[name] = [place for fault in same for place in kinds[fault]]
    return merged


def _places(places: Sequence[str]) -> str:
    """`line 3` alone; `74 lines (3, 9, 12, ...)` of one file; `2 records (a.json line 3, b.json line 1)` of several."""
    if len(places) == 1:
        return places[0]
    words = {place.rpartition(" ")[0] for place in places}
    more = ", ..." if len(places) > SHOWN_PLACES else ""
    if len(words) == 1 and " " not in (unit := words.pop()):
        return f"{len(places)} {unit}s ({_listed(place.rpartition(' ')[2] for place in places)}{more})"
    return f"{len(places)} records ({_listed(places)}{more})"


def _listed(places: Iterable[str]) -> str:
    return ", ".join(list(places)[:SHOWN_PLACES])
