"""The files of an export in memory, and how they are put on disk: all of them, or none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.storage.files import write_atomic


@dataclass(frozen=True)
class Export:
    """Files by name, what is to be known of them in sentences, and the commands that use them."""

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = field(default=())


def jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def indented(value: Any) -> str:
    """A value as a JSON file that people read."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def write_files(folder: Path, files: Mapping[str, str], force: bool = False) -> None:
    """Write the files into a folder. Raises UserError where it holds others, unless `force`."""
    present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Give a folder for the export: --out DIR.")
    if present and not force:
        raise UserError(
            f"{folder} is not empty ({', '.join(present[:3])}{', ...' if len(present) > 3 else ''}). Give another "
            "folder with --out, or write over its files with --force."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomic(folder / name, text)
