"""The file that `sde-ray memory` writes: the memory level of every fact that was measured, on one model.

levels = read_levels("runs/qa_memory/memory.json", "words")      {"P36.train:1": 2, ...} of the train split
digest_of_levels("runs/qa_memory/memory.json", "words")          what of it decides a trial
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash, read_json
from sde_ray.storage.remote import fetch_file

MISSING = "not measured"  # the digest of a file that is not there: the plan says what to do
MEASURE = "Measure them first: sde-ray memory SWEEP.yaml."


def read_levels(location: str, rule: str) -> Mapping[str, int]:
    """Memory levels of the training facts, by id. Raises UserError where there is no such file, or another one."""
    path = fetch_file(location)
    try:
        stat = path.stat()
    except (OSError, ValueError):
        raise UserError(f"There are no memory levels at {location}. {MEASURE}") from None
    return _read(str(path), rule, stat.st_mtime_ns, stat.st_size)


def read_model(location: str) -> str:
    """The model that was measured."""
    return str(_content(fetch_file(location)).get("model"))


@lru_cache(maxsize=16)
def _read(path: str, rule: str, modified: int, size: int) -> Mapping[str, int]:
    try:
        facts = _content(Path(path))["facts"]
        levels = {str(name): row["level"][rule] for name, row in facts.items() if row["split"] == "train"}
        if not all(level in (0, 1, 2, 3, 4) for level in levels.values()):
            raise ValueError("levels go from 0 to 4")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold memory levels: {error}. {MEASURE}") from None
    return levels


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}. {MEASURE}") from None
    return content if isinstance(content, dict) else {}


def digest_of_levels(location: str, rule: str) -> str:
    """Content hash of what decides a trial: which training facts have which level."""
    try:
        return content_hash(dict(read_levels(location, rule)))
    except UserError:
        return MISSING
