"""The alias table of closed-book answers: further names that count as a hit, {"Czech Republic": ["Czechia"]}.

    aliases = read_aliases("aliases.json")       {"Czech Republic": ("Czechia",)}

One JSON object, or one a line. An answer is written as the data write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from sde_ray.data.faults import PlacedFault, raise_faults
from sde_ray.data.records import read_text
from sde_ray.safe_json import read_json
from sde_ray.storage.remote import fetch_file

Aliases = Mapping[str, tuple[str, ...]]
REMEDY = 'Write {"answer": ["alias", ...], ...}, as one JSON object or one a line.'


def read_aliases(location: str) -> Aliases:
    """Aliases by answer; none where no file is named. Raises UserError: with all faults of the file at once."""
    if not location:
        return {}
    path = fetch_file(location)
    text = read_text(path)
    return _read(str(path), text)


@lru_cache(maxsize=8)
def _read(title: str, text: str) -> Aliases:
    aliases: dict[str, tuple[str, ...]] = {}
    faults: list[PlacedFault] = []
    for place, entry in _entries(text):
        if not isinstance(entry, Mapping):
            faults.append((place, f"it is {_shown(entry)}, expected an object of answers"))
            continue
        for answer, names in entry.items():
            found = _faults_of(answer, names)
            if not found and answer in aliases:
                found = [f'the answer "{answer}" has stood before']
            faults += [(place, fault) for fault in found]
            if not found:
                aliases[answer] = tuple(dict.fromkeys(names))
    raise_faults(title, faults, REMEDY)
    return aliases


def _entries(text: str) -> Iterator[tuple[str, Any]]:
    """The objects of the file with their places; a line that is no JSON comes as itself."""
    try:
        yield "line 1", read_json(text)
        return
    except ValueError:
        pass
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield f"line {number}", read_json(line)
            except ValueError:
                yield f"line {number}", line


def _faults_of(answer: str, names: Any) -> list[str]:
    if not answer.strip():
        return ["an answer is empty"]
    if not isinstance(names, list) or not names or not all(isinstance(one, str) and one.strip() for one in names):
        return [f'the aliases of "{answer}" are {_shown(names)}, expected a list of one text or more']
    return []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
